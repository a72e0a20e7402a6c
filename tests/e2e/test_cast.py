#!/usr/bin/env python3
"""screenshots/session.cast is a recording of this program: played into a terminal of its size it begins with the screen the
program shows today, and the story comes to its end. `sh screenshots/make.sh session` records it anew."""
import json
import os
import subprocess
import sys
import time

import tui

CAST = os.path.join(tui.TESTS, "..", "screenshots", "session.cast")
LANDMARKS = ["would load:  NO", "map model.0.conv.weight", "why, and what to do", "the repair", "would load:  YES",
             "weight_fake_quant.scale", "SQNR", "signal to noise", "plan  2 actions", "save the result", "read back and verified"]


def read_cast():
    with open(CAST, encoding="utf-8") as f:
        head, *events = [json.loads(line) for line in f]
    assert head["version"] == 2 and head["width"] >= 80 and head["height"] >= 24, head
    times = [e[0] for e in events]
    assert times == sorted(times) and 30 < times[-1] < 120, "%.0f seconds" % times[-1]
    assert all(kind == "o" and len(e) == 3 for e in events for kind in [e[1]])
    return head, events


def today(t, head):
    """The first screen of the program on the same files."""
    demo = os.path.join(t.dir, "demo")
    subprocess.run([tui.QATSCOPE, "demo", "--write-only", demo], check=True, stdout=subprocess.DEVNULL)
    files = ["yolov8n-float.pt", "yolov8n-qat.pt", "-m", "yolov8n-qat.json"]
    size = "%dx%d" % (head["width"], head["height"])
    r = subprocess.run([tui.QATSCOPE, *files, "--screen", size], cwd=demo, check=True, stdout=subprocess.PIPE)
    return [line[:-1].rstrip() for line in r.stdout.decode().splitlines() if line.endswith("|")]


def play(t, events):
    """The screens after each event; the last leaves the program."""
    pipe = os.path.join(t.dir, "pipe")
    os.mkfifo(pipe)
    t.tmux("respawn-pane", "-k", "stty raw -echo; cat %s; sleep 100" % pipe)
    with open(pipe, "w", encoding="utf-8") as f:
        for i, (_, _, data) in enumerate(events):
            f.write(data + "\033]2;event %d\033\\" % i)  # tmux knows the title once it has drawn all before it
            f.flush()
            end = time.time() + tui.WAIT
            while t.tmux("display-message", "-p", "#{pane_title}").strip() != "event %d" % i:
                assert time.time() < end, "event %d is not drawn" % i
                time.sleep(0.01)
            yield t.screen()


def main():
    tui.need()
    head, events = read_cast()
    left = list(LANDMARKS)
    with tui.Tui(w=head["width"], h=head["height"]) as t:
        for i, screen in enumerate(play(t, events)):
            if i == 0:
                lines, wanted = [line.rstrip() for line in screen.splitlines()], today(t, head)
                for y in (0, 1, 2, len(wanted) - 1):
                    assert lines[y] == wanted[y], "recorded: %s\n  today: %s" % (lines[y], wanted[y])
            while left and left[0] in screen:
                left.pop(0)
    assert not left, "the recording does not come to: " + left[0]
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""The explorer on a real pseudo terminal: start, sizes, job control, a lost terminal, character sets, no terminal."""
import glob
import os
import signal
import subprocess
import sys

import tui

PAIR = [tui.fixture("float.pt"), tui.fixture("qat.pt"), "-m", tui.fixture("model.json")]


def start_and_quit():
    with tui.Tui() as t:
        t.run("echo", "before")
        t.until("before")
        t.open(*PAIR)
        t.keys("q")
        t.until("before", gone=["would load:", "Module / key"])  # the shell's screen is back
        t.run("stty", "-a")
        settings = t.until("icanon")
        assert "-icanon" not in settings and " echo " in settings.replace("\n", " "), settings


def resize():
    with tui.Tui(100, 30) as t:
        t.open(*PAIR)
        t.until("B qat.pt", "f filter")
        for w, h, wanted, gone in [(60, 20, "Module / key", ["│ B"]), (30, 8, "needs 40 columns", []),
                                   (120, 40, "Diagnosis", ["needs 40"]), (80, 24, "Model", [])]:
            t.tmux("resize-window", "-x", str(w), "-y", str(h))
            t.until(wanted, gone=gone)
        t.keys("q")


def stop_and_continue():
    with tui.Tui() as t:
        t.open(*PAIR)
        t.keys("j", "j")
        t.keys("C-z")
        t.until("Stopped", gone=["Module / key"])
        t.run("echo", "meanwhile")
        t.until("meanwhile")
        t.run("fg")
        t.until("Module / key", "would load:", "model.0.conv  ", gone=["meanwhile"])  # the cursor is where it was
        os.kill(t.pid(), signal.SIGTSTP)  # the same from outside
        t.until("Stopped")
        t.run("fg")
        t.until("Module / key")
        t.keys("q")


def lost_terminal():
    with tui.Tui() as t:
        t.open(*PAIR)
        t.keys("F", "Enter")
        t.until("would load:  YES")
        os.kill(t.pid(), signal.SIGHUP)
        t.until("ready>", gone=["would load:"])
        saved = glob.glob(os.path.join(t.dir, "state", "qatscope", "lost-*.json"))
        assert len(saved) == 1, saved
        t.open(*PAIR)
        t.until("a lost session")
        t.keys("l")
        t.until("would load:  YES", "plan: 2 actions")
        assert not os.path.exists(saved[0])
        t.keys("q")
        t.until("not saved")  # the plan is nowhere else now
        t.keys("q")
        t.until("ready>", gone=["Module / key"])
        t.open(*PAIR)
        t.until("plan: 0 actions", gone=["a lost session"])
        t.keys("q")


def nothing_lost_without_changes():
    with tui.Tui() as t:
        t.open(*PAIR)
        os.kill(t.pid(), signal.SIGTERM)
        t.until("ready>", gone=["would load:"])
        assert not os.path.exists(os.path.join(t.dir, "state"))


def mouse():
    with tui.Tui() as t:
        t.type("export TERM=xterm-256color\n")  # reports the mouse in the form typed below
        t.open(*PAIR)
        lines = t.until("▸ 1 ").splitlines()
        row = [i for i, line in enumerate(lines) if "▸ 1 " in line][0]
        # A click on the fold glyph, as a terminal reports it.
        x = lines[row].index("▸")
        for end in "Mm":
            t.type("\033[<0;%d;%d%s" % (x + 1, row + 1, end))
        t.until("▾ 1 ")
        t.keys("q")


def character_sets():
    for env, wanted, unwanted in [({"LC_ALL": "C"}, "v model", "│"), ({"LC_ALL": "C.UTF-8"}, "▾ model", "v model")]:
        with tui.Tui(env=env) as t:
            screen = t.open(*PAIR)
            assert wanted in screen and unwanted not in screen, screen
            t.keys("q")
    with tui.Tui() as t:
        assert "v model" in t.open("--ascii", *PAIR)
        t.keys("q")


def terminal_types():
    for term in ["vt100", "linux", "xterm-mono", "xterm", "xterm-256color"]:
        if not subprocess.run(["infocmp", term], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
            continue
        with tui.Tui() as t:
            t.type("export TERM=%s\n" % term)
            t.open(*PAIR)
            t.keys("j", "j", "j")
            t.until("model.0.conv.weight")
            t.keys("q")
            t.until("ready>", gone=["? help"])  # some have no second screen to come back from


def settings():
    with tui.Tui() as t:
        os.makedirs(os.path.join(t.dir, "config", "qatscope"))
        with open(os.path.join(t.dir, "config", "qatscope", "keymap"), "w") as f:
            f.write("bind tree z last\nunbind tree q\nbind tree Y nonsense\n")
        t.open(*PAIR)
        t.until('settings: keymap:3: no command is called "nonsense"')
        t.keys("q")
        t.until("q does nothing here")
        t.keys(":")
        t.type("theme light\n")
        t.until("theme light: darker")
        t.type(":quit\n")
        t.until("ready>", gone=["Module / key"])
        for what in ["keymap", "theme"]:  # what is printed is what is in force, and reads back
            command = [tui.QATSCOPE, "--print-config", what]
            first = subprocess.run(command, env=t.env, stdout=subprocess.PIPE, check=True).stdout
            with open(os.path.join(t.dir, what), "wb") as f:
                f.write(first)
            again = subprocess.run(command + ["--config", t.dir], env=t.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
            assert again.stdout == first and not again.stderr, again
        assert b"unbind tree q" in open(os.path.join(t.dir, "keymap"), "rb").read()


def hostile_names():
    with tui.Tui() as t:
        t.open(tui.fixture("odd_a.pt"), tui.fixture("odd_b.pt"))
        t.keys("E")
        # the escape in the name did not clear the screen
        t.until("\\x1b[2J\\x07bell", "量化层", "\\u202egnp", "would load:")
        t.keys("q")


def no_terminal():
    for stdin, stdout in [(subprocess.DEVNULL, subprocess.PIPE), (None, subprocess.PIPE)]:
        done = subprocess.run([tui.QATSCOPE] + PAIR, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
        assert done.returncode == 1 and b"Missing key(s)" in done.stdout, done
    with tui.Tui() as t:
        t.type("export TERM=no-such-terminal\n")
        t.run(tui.QATSCOPE, *PAIR)
        t.until("no-such-terminal", "need no terminal")


def main():
    tui.need()
    tests = [start_and_quit, resize, stop_and_continue, lost_terminal, nothing_lost_without_changes, mouse, settings, character_sets,
             terminal_types, hostile_names, no_terminal]
    for test in tests:
        print(test.__name__, flush=True)
        test()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""record.py OUT COLUMNSxROWS COMMAND...: a session of the real program as an asciicast (version 2), for `asciinema play OUT`.
Keys are typed into a pty of their own; what each shows is stamped with the time a person would have taken to it, so that a
recording takes seconds, and two of the same program are the same."""
import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios

PATIENCE, QUIET = 20, 0.4  # seconds until the first output, and without more: the screen is complete
DOWN, ENTER = "\x1bOB", "\r"
# (seconds before the keys, keys): what is typed letter by letter is a list
STORY = [
    (2.5, DOWN), (0.5, DOWN), (0.5, DOWN),  # to a key that is unexpected
    (2.0, "m"), (3.0, "\x1b"),              # the names it could have
    (1.5, "y"), (4.0, "q"),                 # why, and what to do
    (1.5, "F"), (3.5, ENTER),               # the repair, previewed and applied
    (3.0, "/"), (0.5, list("weight_fake.*scale")), (0.8, ENTER),
    (2.5, ENTER), (5.0, "q"),               # a scale: the weight over its grid
    (1.5, "W"), (2.0, "h"), (0.7, "h"), (1.5, "l"), (0.7, "l"), (1.5, "q"),  # the same weight in fewer bits
    (1.5, "p"), (3.0, "q"),                 # the plan
    (1.5, "w"), (3.0, ENTER),               # saved, read back, verified
    (4.0, "q"),
]
LETTER = 0.09


def read_all(fd):
    out = b""
    while select.select([fd], [], [], QUIET if out else PATIENCE)[0]:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        out += data
    return out.decode("utf-8")


def steps():
    for pause, keys in STORY:
        for i, key in enumerate(keys if isinstance(keys, list) else [keys]):
            yield (LETTER if i else pause), key


def record(columns, rows, command):
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", LC_ALL="C.UTF-8")
        os.read(0, 1)  # until the size is set
        os.execv(command[0], command)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    tty = termios.tcgetattr(fd)
    tty[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(fd, termios.TCSANOW, tty)
    os.write(fd, b" ")
    events, now = [], 0.0
    events.append([now, "o", read_all(fd)])
    for pause, key in steps():
        now += pause
        os.write(fd, key.encode())
        events.append([round(now, 2), "o", read_all(fd)])
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the program ended with %d: the story does not fit it any more" % status
    return events


def main():
    out, size, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    columns, rows = (int(n) for n in size.split("x"))
    events = record(columns, rows, command)
    head = {"version": 2, "width": columns, "height": rows, "env": {"TERM": "xterm-256color"},
            "title": "qatscope: a float YOLOv8n repaired into its QAT twin"}
    with open(out, "w", encoding="utf-8") as f:
        for line in [head] + events:
            f.write(json.dumps(line, ensure_ascii=False) + "\n")


main()

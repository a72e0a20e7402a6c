#!/usr/bin/env python3
"""Bytes a key sends to the terminal at 100x30: wire.py BINARY A [B] [-m M]. By hand. Then the same over a line of 5 kB/s
and 300 ms, with 60 keys typed ahead: how long until the last frame is there. A move draws two rows of the tree and the
details of the key it comes to."""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time


def start(args):
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", LC_ALL="C.UTF-8", XDG_STATE_HOME="/nonexistent", XDG_CONFIG_HOME="/nonexistent")
        time.sleep(0.2)  # until the size is set
        os.execv(args[0], args)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    return pid, fd


def drain(fd, quiet=0.4, rate=None):
    """Bytes until nothing comes for `quiet` seconds; with a rate no faster than that."""
    n = 0
    while select.select([fd], [], [], quiet)[0]:
        try:
            data = os.read(fd, 64 if rate else 65536)
        except OSError:
            break
        if not data:
            break
        n += len(data)
        if rate:
            time.sleep(len(data) / rate)
    return n


def main():
    args = sys.argv[1:]
    pid, fd = start(args)
    print("%-28s %6d bytes (budget 6000)" % ("first frames", drain(fd, 1.0)))
    for name, keys, n, budget in [("cursor down", b"j", 8, 800), ("open all", b"E", 1, 6000), ("down, scrolling", b"j", 40, 850),
                                  ("page down", b"\x06", 5, 5000), ("page up", b"\x02", 5, 5000), ("next problem", b"]", 8, 1200),
                                  ("help", b"?", 1, 6000), ("leave it", b"q", 1, 6000), ("search, each key", b"/con", 1, 400),
                                  ("leave it", b"\x1b", 1, 800), ("a key without meaning", b"\x14", 2, 250)]:
        total = 0
        for _ in range(n):
            os.write(fd, keys)
            total += drain(fd)
        per = total / n
        print("%-28s %6.0f bytes a time, budget %5d%s" % (name, per, budget, "  OVER" if per > budget else ""))
    os.write(fd, b"g")
    drain(fd)
    t = time.time()
    for _ in range(60):
        os.write(fd, b"j")
        time.sleep(1 / 30)
    n = drain(fd, 0.6, 5000)
    print("60 keys at 30 a second, 5 kB/s: %d bytes, the last frame %.1f s after the last key (with 0.3 s on the way)"
          % (n, time.time() - t - 2 - 0.6 + 0.3))
    os.write(fd, b"q")
    time.sleep(0.3)
    drain(fd)
    os.close(fd)


main()

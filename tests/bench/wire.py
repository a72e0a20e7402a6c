#!/usr/bin/env python3
"""Bytes a key sends to the terminal at 100x30: wire.py BINARY A [B] [-m M]. By hand. A move draws two rows of the tree and,
in the pause after it, the details of the key it comes to; a held key draws the rows alone. Then a key held for two seconds
over an ssh line of 5 kB/s and 300 ms: how long until the last frame is there."""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time


def start(args, **more):
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", LC_ALL="C.UTF-8", XDG_STATE_HOME="/nonexistent", XDG_CONFIG_HOME="/nonexistent", **more)
        time.sleep(0.2)  # until the size is set
        os.execv(args[0], args)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    return pid, fd


def drain(fd, quiet=0.4):
    """Bytes until nothing comes for `quiet` seconds."""
    n = 0
    while select.select([fd], [], [], quiet)[0]:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        n += len(data)
    return n


def hold(fd, key, times, per_second, rate=None):
    """Bytes until the last frame, and seconds from the last key to it, read no faster than the line is."""
    n, begin, last, idle = 0, time.time(), 0.0, time.time()
    for i in range(times * 1000):
        if i < times:
            os.write(fd, key)
            last = time.time()
        until = begin + (i + 1) / per_second
        while time.time() < until:
            if rate and n > (time.time() - begin) * rate:
                time.sleep(0.002)
            elif select.select([fd], [], [], max(0, until - time.time()))[0]:
                n += len(os.read(fd, 64 if rate else 65536))
                idle = time.time()
        if i >= times and time.time() - idle > 0.6:
            break
    return n, idle - last


def main():
    args = sys.argv[1:]
    pid, fd = start(args)
    print("%-28s %6d bytes (budget 6000)" % ("first frames", drain(fd, 1.0)))
    for name, keys, n, budget in [("cursor down", b"j", 8, 700), ("open all", b"E", 1, 6000), ("down, scrolling", b"j", 40, 750),
                                  ("page down", b"\x06", 5, 3000), ("page up", b"\x02", 5, 3000), ("next problem", b"]", 8, 1000),
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
    n, _ = hold(fd, b"j", 60, 30)
    print("%-28s %6.0f bytes a key, budget %5d%s" % ("down, held", n / 60, 375, "  OVER" if n / 60 > 375 else ""))
    os.write(fd, b"q")
    drain(fd)
    os.close(fd)
    pid, fd = start(args, SSH_TTY="/dev/pts/0")
    drain(fd, 1.0)
    os.write(fd, b"E")
    drain(fd)
    n, late = hold(fd, b"j", 60, 30, 5000)
    print("60 keys at 30 a second, 5 kB/s: %d bytes, the last frame %.1f s after the last key (with 0.3 s on the way)"
          % (n, late + 0.3))
    os.write(fd, b"q")
    time.sleep(0.3)
    drain(fd)
    os.close(fd)


main()

#!/usr/bin/env python3
"""The explorer in a raw pseudo-terminal, as it comes: windows resized a hundred times between keys, long pastes, ^Z inside a
dialog, bytes that are no keys. It stays alive, loses no action, and leaves with status 0. SEED=N is another storm."""
import fcntl
import os
import pty
import random
import select
import signal
import struct
import sys
import tempfile
import termios
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tui

tui.need()
SEED = int(os.environ.get("SEED", str(int(time.time()))))


class Pty:
    def __init__(self, *args, w=80, h=24):
        self.out, self.status = b"", None
        self.dir = tempfile.mkdtemp(prefix="qatscope-pty-")
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            env = dict(os.environ, TERM="xterm-256color", LC_ALL="C.UTF-8", HOME=self.dir, XDG_STATE_HOME=self.dir, XDG_CONFIG_HOME=self.dir)
            os.execve(tui.QATSCOPE, ["qatscope", *args], env)
        self.size(w, h)

    def size(self, w, h):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", h, w, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def send(self, data):
        for i in range(0, len(data), 512):
            os.write(self.fd, data[i:i + 512])
            self.drain(0)

    def drain(self, seconds):
        end = time.time() + seconds
        while True:
            ready = select.select([self.fd], [], [], max(0, end - time.time()))[0]
            if ready:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    return
                if not data:
                    return
                self.out = (self.out + data)[-400000:]
            elif time.time() >= end:
                return

    def until(self, text, seconds=20):
        end = time.time() + seconds
        while text not in self.out:
            assert time.time() < end, "waited for %r; the end of what came: %r" % (text, self.out[-3000:])
            self.drain(0.05)
        return self

    def redraw(self, w=100, h=30):
        """All of the screen again, alone in self.out."""
        self.drain(0.3)
        self.size(w - 1, h)
        self.drain(0.3)
        self.out = b""
        self.size(w, h)
        self.drain(0.5)
        return self.out

    def alive(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status is None

    def leave(self, keys):
        self.send(keys)
        end = time.time() + 20
        while self.alive():
            assert time.time() < end, "does not leave: %r" % self.out[-2000:]
            self.drain(0.05)
        os.close(self.fd)
        assert self.status == 0, "left with %r: %r" % (self.status, self.out[-2000:])


FILES = [tui.fixture("float.pt"), tui.fixture("qat.pt"), "-m", tui.fixture("model.json")]
ESC = b"\x1b"


def storm():
    """Every key that changes nothing outside, in windows of every size; F and u so that there is a plan to keep."""
    rng = random.Random(SEED)
    p = Pty(*FILES).until(b"would load:")
    keys = [bytes([c]) for c in b"jkhlgGEC123/nNf=toaVFmbMicdupvyDIexTWQL?+-]["] + \
           [b"\t", b"\r", b" ", ESC, b"\x1b[A", b"\x1b[B", b"\x1b[5~", b"\x1b[6~", b"\x1b[<0;5;7M", b"\x1b[<64;5;7M", b"\xc3\xa9", b"\xff", b"\x1b[99~"]
    for i in range(100):
        p.size(rng.choice([1, 2, 10, 39, 40, 79, 80, 120, 200, 300]), rng.choice([1, 2, 9, 10, 24, 40, 60, 100]))
        p.send(b"".join(rng.choice(keys) for _ in range(rng.randrange(6))))
        p.drain(0.01)
        assert p.alive(), "seed %d: died after resize %d, status %r: %r" % (SEED, i, p.status, p.out[-2000:])
    p.size(100, 30)
    for _ in range(8):  # out of whatever is open
        p.send(ESC)
        p.drain(0.15)
    assert b"qatscope" in p.redraw() or p.alive()
    os.kill(p.pid, signal.SIGTERM)
    end = time.time() + 10
    while p.alive() and time.time() < end:
        p.drain(0.05)
    assert p.status is not None, "does not heed SIGTERM"


def paste():
    """Ten thousand pasted bytes fire no keys in the tree, and are text in a prompt."""
    p = Pty(*FILES).until(b"would load:")
    p.send(b"\x1b[200~" + b"qFdu\rwy" * 1500 + b"\x1b[201~")
    assert p.alive() and b"plan: 0 actions" in p.redraw(), p.out[-2000:]
    p.send(b"M")
    p.send(b"\x1b[200~" + b"layer.q" * 1500 + b"\x1b[201~")
    assert p.alive() and b"layer.q" in p.redraw()
    p.send(ESC)
    assert b"plan: 0 actions" in p.redraw()
    p.leave(b"q")


def stopped_in_a_dialog():
    """^Z where a dialog is open, fg: the dialog is there still, and Enter does what it says."""
    with tui.Tui() as t:
        t.open(*FILES)
        t.keys("F")
        t.until("the repair")
        for _ in range(2):
            t.keys("C-z")
            t.until("Stopped", gone=("Module / key",))
            t.run("fg")
            t.until("the repair")
        t.keys("Enter")
        t.until("YES")
        t.keys("q", "q")
        t.until("ready>", gone=("would load",))


def typed_ahead():
    """Keys typed before the first frame are not lost."""
    p = Pty(*FILES, w=100, h=30)
    p.send(b"F\r")
    p.until(b"would load:")
    p.until(b"YES")
    os.kill(p.pid, signal.SIGHUP)
    end = time.time() + 10
    while p.alive() and time.time() < end:
        p.drain(0.05)
    assert p.status is not None
    kept = [f for _, _, files in os.walk(p.dir) for f in files]
    assert kept, "the plan was not kept for the next start"


def main():
    print("seed", SEED)
    for f in (paste, stopped_in_a_dialog, typed_ahead, storm):
        f()
        print(f.__name__, "ok")


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""A save that is watched and cancelled: in a real terminal a big file is saved, the progress is read from the screen, Esc
leaves nothing, and the next save is whole. The program is stopped (SIGSTOP) whenever the test looks, so that no machine is
too fast or too slow for it."""
import os
import signal
import subprocess
import sys
import tempfile
import time

import mini
import tui

MIB = 1 << 20
TENSORS, EACH = 24, 8 * MIB  # zeros, left as holes: nothing on the disk, and all of it is copied
# By the clock, while the program stands still: what is quicker has no progress, and how long none looks for a key.
NO_PROGRESS, UNASKED = 0.6, 0.2


def make(path):
    storages = []
    tensors = {"t.%d" % i: mini.Tensor([], shape=(EACH // 4,), numel=EACH // 4) for i in range(TENSORS)}
    data = mini.pickle_of({"model": tensors}, storages)
    with mini.TorchZip(path) as z:
        z.add("data.pkl", data)
        for i in sorted(map(str, range(TENSORS))):
            z.add("data/" + i, EACH)
        z.add("version", b"3\n")


def state(path):
    st = os.stat(path)
    return st.st_size, st.st_mtime_ns, st.st_ino


def wait(what, probe):
    end = time.monotonic() + tui.WAIT
    while not probe():
        if time.monotonic() > end:
            raise AssertionError("waited for " + what)


class Stopped:
    """A process that runs only in step()."""

    def __init__(self, pid):
        self.pid = pid

    def stop(self):
        os.kill(self.pid, signal.SIGSTOP)
        wait("the process to stop", self.is_stopped)

    def is_stopped(self):
        with open("/proc/%d/stat" % self.pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "T"

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)

    def step(self):
        self.go_on()
        self.stop()


def begin_save(t, process, folder, out):
    """Presses Enter and stops the process while it writes; False if it was quicker."""
    before = set(os.listdir(folder))
    t.keys("w")
    t.until("save the result")
    t.keys("C-u")
    t.type(out)
    t.until(os.path.basename(out))
    t.keys("Enter")
    wait("a file", lambda: set(os.listdir(folder)) != before)
    process.stop()
    return not os.path.exists(out)


def watch(t, process, out):
    """Lets it write bit by bit until its progress is on the screen; what is there, or None if it was quicker."""
    time.sleep(NO_PROGRESS)
    while not os.path.exists(out):
        process.step()
        screen = t.screen()
        if "saving" in screen and "%" in screen:
            return screen
    return None


def cancel(t, process, folder, out):
    for _ in range(10):
        screen = watch(t, process, out) if begin_save(t, process, folder, out) else None
        if screen:
            t.keys("Escape")
            time.sleep(UNASKED)
            process.go_on()
            t.until("cancelled; nothing was written")
            return screen
        process.go_on()
        t.until("read back and verified")
        os.unlink(out)
    raise AssertionError("ten saves were done before they could be watched")


def rename_all(t):
    t.keys("M")
    t.until("rename by rule")
    t.keys("C-u")
    t.type("t.")
    t.keys("Tab", "C-u")
    t.type("moved.")
    t.until("0 collisions")
    t.keys("Enter")
    t.until("%d keys renamed" % TENSORS, "plan: 1 action")


def save(t, out):
    t.keys("w")
    t.until("save the result")
    t.keys("C-u")
    t.type(out)
    t.until(os.path.basename(out))
    t.keys("Enter")
    t.until("read back and verified")


def must_be_saved(out):
    run = lambda *args: subprocess.run([tui.QATSCOPE, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    verified, listed = run("verify", out), run("ls", out)
    assert verified.returncode == 0 and "the file is whole" in verified.stdout, verified.stdout
    keys = [line.split("\t")[0] for line in listed.stdout.splitlines() if line.startswith("moved.")]
    assert keys == ["moved.%d" % i for i in range(TENSORS)], listed.stdout


def main():
    tui.need()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="qatscope-watch-", dir=memory) as folder, tui.Tui() as t:
        source, out = os.path.join(folder, "in.pt"), os.path.join(folder, "out.pt")
        make(source)
        before = state(source)
        # under a shell that does not ask for the terminal when what it runs is stopped
        t.run("sh", "-c", '"$0" "$1"; true', tui.QATSCOPE, source)
        t.until("24 in A", "plan: 0 actions")
        rename_all(t)
        screen = cancel(t, Stopped(t.pid()), folder, out)
        assert "Esc cancels" in screen and "MB/s" in screen, screen
        assert os.listdir(folder) == ["in.pt"], os.listdir(folder)
        t.keys("Escape")
        t.until("▾ moved", "plan: 1 action", gone=["save the result"])
        save(t, out)
        must_be_saved(out)
        assert state(source) == before, "the input was touched"
        assert sorted(os.listdir(folder)) == ["in.pt", "out.pt"], os.listdir(folder)
        t.keys("q")
        t.until("ready>", gone=["plan:"])
    print("a save was watched, cancelled, and made again")
    return 0


if __name__ == "__main__":
    sys.exit(main())

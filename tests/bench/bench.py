#!/usr/bin/env python3
"""Budgets, as ratios against a named peer in the same run (the machines are shared and noisy). Not a test: run by hand.

    python3 tests/bench/bench.py BINARY [--real DIR] [--big]

Figures are the best of several runs; CPU is user + system of the child, RSS its peak.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import mini


def measure(args, runs=5, stdout=subprocess.DEVNULL, env=None):
    """(wall s, cpu s, peak RSS KiB, status), the best of `runs`."""
    best = None
    for _ in range(runs):
        t = time.perf_counter()
        p = subprocess.Popen(args, stdout=stdout, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=env)
        _, status, ru = os.wait4(p.pid, 0)
        wall = time.perf_counter() - t
        got = (wall, ru.ru_utime + ru.ru_stime, ru.ru_maxrss, os.waitstatus_to_exitcode(status))
        if best is None or got[0] < best[0]:
            best = got
    return best


def in_child(make, *args):
    """Run make(*args) in a process of its own: a child's peak RSS counts what its parent held when it forked, so this
    process must stay small."""
    pid = os.fork()
    if pid == 0:
        make(*args)
        os._exit(0)
    os.waitpid(pid, 0)


def line(name, got, extra=""):
    print("%-46s wall %8.1f ms  cpu %8.1f ms  rss %8.1f MiB  exit %d  %s"
          % (name, got[0] * 1e3, got[1] * 1e3, got[2] / 1024, got[3], extra))


def real(binary, folder):
    a, b = (os.path.join(folder, "yolov8n-sparseml-%s.pt" % k) for k in ("float", "qat"))
    m = os.path.join(folder, "qat.truth.json")
    line("check A -m M (real pair)", measure([binary, "check", a, "-m", m]))
    # the explorer with one key, q, on a pseudo terminal: opening, comparing and the first frame
    cmd = "stty rows 40 cols 120; exec %s %s %s -m %s --keys q" % (binary, a, b, m)
    env = dict(os.environ, TERM="xterm-256color", LC_ALL="C.UTF-8", XDG_STATE_HOME="/nonexistent")
    best = None
    import pty
    for _ in range(5):
        pid, fd = pty.fork()
        if pid == 0:
            os.execvpe("sh", ["sh", "-c", cmd], env)
        t = time.perf_counter()
        n = 0
        while True:
            try:
                data = os.read(fd, 65536)
            except OSError:
                break
            if not data:
                break
            n += len(data)
        _, status, ru = os.wait4(pid, 0)
        os.close(fd)
        got = (time.perf_counter() - t, ru.ru_utime + ru.ru_stime, ru.ru_maxrss, os.waitstatus_to_exitcode(status))
        best = got if best is None or got[1] < best[1] else best
    line("explorer A B -m M, q", best, "%d bytes drawn; with sh, stty and the diagnosis; budget of the first frame "
         "30 ms CPU, 32 MiB" % n)


def many(binary, work, n=100000):
    path = os.path.join(work, "many.pt")
    in_child(lambda: mini.save({"layer.%d.weight" % i: mini.Tensor([float(i)]) for i in range(n)}, path))
    got = measure([binary, "ls", path], 3)
    line("ls of %d tensors" % n, got)
    peer = measure(["/usr/bin/python3", "-c", "import torch,time,sys\nt=time.perf_counter()\ntorch.load(sys.argv[1])\n"
                    "open(sys.argv[2],'w').write(str(time.perf_counter()-t))", path, path + ".t"], 1)
    if peer[3] == 0:
        t = float(open(path + ".t").read())
        print("%-46s %8.1f ms: ratio 1/%.0f (budget 1/40)" % ("  torch.load of the same file", t * 1e3, t / got[0]))


def make_big(path):
    import zipfile
    block = os.urandom(16 << 20)
    storages = []
    tensors = {"t.%d" % i: mini.Tensor([], shape=((16 << 20) // 4,), numel=(16 << 20) // 4) for i in range(64)}
    data = mini.pickle_of({"model": tensors}, storages)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr("archive/data.pkl", data)
        for i in range(len(storages)):
            z.writestr("archive/data/%d" % i, block)
        z.writestr("archive/version", "3\n")


def saving(binary, work):
    path, out = os.path.join(work, "big.pt"), os.path.join(work, "out.pt")
    in_child(make_big, path)
    plan = os.path.join(work, "plan.json")
    open(plan, "w").write('{"format": "qatscope-plan", "version": 1, "actions": '
                          '[{"op": "rule", "kind": "prefix", "pattern": "t.", "replacement": "u."}]}')
    cp = measure(["cp", path, out], 3)
    os.unlink(out)
    best = None
    for _ in range(3):
        got = measure([binary, "apply", plan, path, "-o", out], 1)
        if os.path.exists(out):
            os.unlink(out)
        best = got if best is None or got[0] < best[0] else best
    line("save 1 GiB with renames", best, "cp %.0f ms: ratio %.2f (budget 1.2; ours verifies and fsyncs)"
         % (cp[0] * 1e3, best[0] / cp[0]))


def make_weight(path, shape=(4096, 4096)):
    import array
    import json
    import random
    import struct
    block = array.array("f", (random.gauss(0, 0.02) for _ in range(1 << 18))).tobytes()
    n = shape[0] * shape[1] * 4
    head = json.dumps({"w": {"dtype": "F32", "shape": list(shape), "data_offsets": [0, n]}}).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for _ in range(n // len(block)):
            f.write(block)


def sliders(binary, work):
    """One move of a slider on 16 M elements: the difference between a run that makes MOVES of them and one that makes none."""
    path, moves = os.path.join(work, "weight.safetensors"), 48
    in_child(make_weight, path)
    keys = "W " + " ".join(["h h j l j l j h k k k l"] * (moves // 8))
    still, moved = (measure([binary, path, "--keys", k, "--screen", "80x24"]) for k in ("W", keys))
    line("W on a weight of 16 M elements, all of its ranges", still)
    print("%-46s wall %8.1f ms  cpu %8.1f ms  (budget 50)" % (
        "  one move of a slider", (moved[0] - still[0]) * 1e3 / moves, (moved[1] - still[1]) * 1e3 / moves))
    os.unlink(path)


def main():
    binary = os.path.abspath(sys.argv[1])
    work = tempfile.mkdtemp()
    try:
        if "--real" in sys.argv:
            real(binary, sys.argv[sys.argv.index("--real") + 1])
        many(binary, work)
        sliders(binary, work)
        if "--big" in sys.argv:
            saving(binary, work)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Budgets, as ratios against a named peer in the same run (the machines are shared and noisy). Not a test: run by hand.

    python3 tests/bench/bench.py BINARY [--real DIR] [--big]

Figures are the best of several runs; CPU is user + system of the child, RSS its peak.
"""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import mini
import ui_files


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


def torch_load(path):
    """(wall s, cpu s) of torch.load alone, the best of three; None without torch."""
    code = ("import sys, time\nimport torch\nbest = (9e9, 9e9)\nfor _ in range(3):\n"
            "    w, c = time.perf_counter(), time.process_time()\n    torch.load(sys.argv[1])\n"
            "    best = min(best, (time.perf_counter() - w, time.process_time() - c))\nprint(*best)")
    p = subprocess.run(["/usr/bin/python3", "-c", code, path], capture_output=True, text=True)
    return tuple(map(float, p.stdout.split())) if p.returncode == 0 else None


def within(got, entries, pickle_bytes):
    budget = entries / 1024 + pickle_bytes / 2**20
    return "%.2f KiB an entry and the pickle (budget 1)" % ((got[2] - pickle_bytes / 1024) / entries) + \
        ("" if got[2] / 1024 <= budget else " EXCEEDED")


def pickle_size(path):
    code = "import sys, zipfile\nprint(max(i.file_size for i in zipfile.ZipFile(sys.argv[1]).infolist() if i.filename.endswith('/data.pkl')))"
    return int(subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True).stdout)


def many(binary, work, n=100000):
    """As many tensors as records, printed; torch.load of the same file beside it."""
    path = os.path.join(work, "many.pt")
    in_child(lambda: mini.save({"layer.%d.weight" % i: mini.Tensor([float(i)]) for i in range(n)}, path))
    got = measure([binary, "ls", path], 7)
    line("ls of %d tensors in as many records" % n, got, within(got, n, pickle_size(path)))
    peer = torch_load(path)
    if peer:
        print("%-46s wall %8.1f ms  cpu %8.1f ms: ratio 1/%.0f, of cpu 1/%.0f (budget 1/40)" % (
            "  torch.load of the same file", peer[0] * 1e3, peer[1] * 1e3, peer[0] / got[0], peer[1] / got[1]))


def million(binary, work, n=1000000):
    in_child(ui_files.main, work, n)
    path = os.path.join(work, "a.pt")
    got = measure([binary, "ls", path], 3)
    line("ls of %d tensors in one record" % n, got, within(got, n, pickle_size(path)))


def make_sparse(path, records, size):
    """An archive of holes, larger than the disk need be: zip64 throughout."""
    storages = []
    tensors = {"t.%d" % i: mini.Tensor([], shape=(size // 4,), numel=size // 4) for i in range(records)}
    data = mini.pickle_of(tensors, storages)
    central, at = b"", 0
    with open(path, "wb") as f:
        for name, content, n in [("a/data.pkl", data, len(data))] + [("a/data/%d" % i, b"", size) for i in range(records)] + \
                [("a/version", b"3\n", 2)]:
            crc, name = zlib.crc32(content), name.encode()
            f.seek(at)
            f.write(struct.pack("<IHHHHHIIIHH", 0x04034B50, 45, 0, 0, 0, 0, crc, 2**32 - 1, 2**32 - 1, len(name), 20) + name +
                    struct.pack("<HHQQ", 1, 16, n, n) + content)
            central += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 45, 45, 0, 0, 0, 0, crc, 2**32 - 1, 2**32 - 1, len(name), 28,
                                   0, 0, 0, 0, 2**32 - 1) + name + struct.pack("<HHQQQ", 1, 24, n, n, at)
            at += 50 + len(name) + n
        f.seek(at)
        f.write(central + struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, records + 2, records + 2, len(central), at) +
                struct.pack("<IIQI", 0x07064B50, 0, at + len(central), 1) +
                struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0))


def sparse(binary, work):
    path = os.path.join(work, "sparse.pt")
    in_child(make_sparse, path, 20, 1 << 30)
    st = os.stat(path)
    line("ls of a sparse file of %.0f GiB" % (st.st_size / 2**30), measure([binary, "ls", path]),
         "%.0f KiB on the disk" % (st.st_blocks / 2))
    os.unlink(path)


RENAMES = 1000


def make_big(path, records=1024):
    """1 GiB as torch.save lays it out."""
    size = 2**30 // records
    block, storages = os.urandom(size), []
    tensors = {"t.%d" % i: mini.Tensor([], shape=(size // 4,), numel=size // 4) for i in range(records)}
    data, crc = mini.pickle_of({"model": tensors}, storages), zlib.crc32(block)
    with mini.TorchZip(path) as z:
        z.add("data.pkl", data)
        for i in sorted(map(str, range(records))):
            z.add("data/" + i, block, crc)
        z.add("version", b"3\n")


def make_loose(path):
    """The same by a writer that aligns nothing, and has headers of its own."""
    block, storages = os.urandom(1 << 20), []
    tensors = {"t.%d" % i: mini.Tensor([], shape=(1 << 18,), numel=1 << 18) for i in range(1024)}
    data = mini.pickle_of({"model": tensors}, storages)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr("archive/data.pkl", data)
        for i in range(len(storages)):
            z.writestr("archive/data/%d" % i, block)
        z.writestr("archive/version", "3\n")


def write_renames(plan, old, new):
    with open(plan, "w") as f:
        json.dump({"format": "qatscope-plan", "version": 1, "actions": [
            {"op": "rename", "pairs": [["%s.%d" % (old, i), "%s.%d" % (new, i)] for i in range(RENAMES)]}]}, f)


def alternate(jobs, out, replace, runs=7):
    """For each job its measurements, one of each round, in any order: what disturbs one disturbs the others. Each begins with a
    disk that has nothing else to write, and writes a new file or replaces the last one's."""
    all_of = [[] for _ in jobs]
    for _ in range(runs):
        for got, job in random.sample(list(zip(all_of, jobs)), len(jobs)):
            if os.path.exists(out) and not replace:
                os.unlink(out)
            os.sync()
            got.append(measure(job, 1))
    return all_of


def median(values):
    return sorted(values)[len(values) // 2]


def against_cp(name, binary, plan, path, out, replace=False):
    """A new file against cp, which syncs nothing either; a replaced one against cp and sync. The medians of both, and of the
    ratio within a round; where the machine is busy those of the best runs and of the CPU say more. Returns our peak RSS, KiB."""
    if replace:
        shutil.copyfile(path, out)
    cp = ["sh", "-c", 'cp "$0" "$1" && sync "$1"', path, out] if replace else ["cp", path, out]
    peer, ours = alternate([cp, [binary, "apply", plan, path, "-o", out, "-q"]], out, replace)
    if any(got[3] for got in peer + ours):
        sys.exit("%s: failed" % name)
    ratio, cpu = (median([b[i] / a[i] for a, b in zip(peer, ours)]) for i in (0, 1))
    best, peak = min(ours)[0] / min(peer)[0], max(b[2] for b in ours)
    print("%-46s wall %8.1f ms  %s %.1f ms: ratio %.2f (budget 1.2)%s, of the best %.2f, of cpu %.2f  rss %.1f MiB"
          % (name, median([b[0] for b in ours]) * 1e3, "cp and sync" if replace else "cp", median([a[0] for a in peer]) * 1e3,
             ratio, " EXCEEDED" if ratio > 1.2 else "", best, cpu, peak / 1024))
    return peak


def saving(binary, work):
    path, loose, small, ours, out, plan = (os.path.join(work, n) for n in ("big.pt", "loose.pt", "small.pt", "ours.pt", "out.pt",
                                                                           "plan.json"))
    in_child(make_big, path)
    in_child(make_loose, loose)
    in_child(make_big, small, 16384)
    write_renames(plan, "t", "layer")
    for replace in (False, True):
        peak = against_cp("save 1 GiB, %d renames, %s" % (RENAMES, "replacing a file" if replace else "a new file"), binary, plan, path,
                          out, replace)
        print("%-46s %.1f MiB (budget 64)" % ("  memory beyond that of ls", (peak - measure([binary, "ls", path], 3)[2]) / 1024))
    against_cp("  of records that are not aligned", binary, plan, loose, out)
    against_cp("  of 16384 records", binary, plan, small, out)
    subprocess.run([binary, "apply", plan, path, "-o", ours, "-q"], check=True)
    write_renames(plan, "layer", "stage")
    against_cp("rename again what it wrote", binary, plan, ours, out)


def make_weight(path, shape=(4096, 4096)):
    import array
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
        million(binary, work)
        sparse(binary, work)
        sliders(binary, work)
        if "--big" in sys.argv:
            saving(binary, work)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()

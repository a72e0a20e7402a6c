#!/usr/bin/env python3
"""What follows an archive in its file: padding of a download, another archive, half an end record. Where torch loads, so does
qatscope, and both see the same; where qatscope opens a file, torch does. SEED=N makes other ones."""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

QATSCOPE = os.environ.get("QATSCOPE", "")
SEED = int(os.environ.get("SEED", "1"))
COUNT = 60
try:
    import torch
except ImportError:
    print("torch is not installed")
    sys.exit(77)
if not QATSCOPE or not os.path.exists(QATSCOPE):
    print("no qatscope binary: set QATSCOPE")
    sys.exit(77)


def archive(rng, folder):
    """Large enough that torch's reader, looking for the end in steps of 4 KiB, never seeks before the file's beginning."""
    path = os.path.join(folder, "x.pt")
    torch.save({"k%d" % rng.randrange(1000): torch.zeros(rng.randint(1, 9)) for _ in range(rng.randint(1, 4))} | {"large": torch.zeros(40000)}, path)
    with open(path, "rb") as f:
        return f.read()


def tail(rng, folder):
    """Bytes to append, and whether an archive is still the last thing that looks like one."""
    noise = bytes(rng.choice(b"\0\0\0PKabc\1\2\3\4") for _ in range(rng.choice([1, 21, 22, 300, 5000])))
    kind = rng.choice(["zeros", "noise", "end", "cut end", "archive", "far"])
    if kind == "zeros":
        return kind, b"\0" * rng.choice([1, 22, 511, 4096, 65513, 69561, 69562, 69563, 69580])
    if kind == "noise":
        return kind, noise.replace(b"PK\5\6", b"")
    if kind == "end":  # of an archive of nothing
        return kind, noise + b"PK\5\6" + b"\0" * 18
    if kind == "cut end":
        return kind, b"PK\5\6" + b"\0" * rng.randrange(18)
    if kind == "archive":
        return kind, archive(rng, folder)
    return kind, b"\0" * 70000


def keys_of(path):
    done = subprocess.run([QATSCOPE, "ls", "--json", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20)
    if done.returncode:
        assert done.returncode == 3 and path in done.stderr, done
        return None
    return [x["key"] for x in json.loads(done.stdout)["entries"]]


def loaded(path):
    try:
        return list(torch.load(path))
    except Exception:  # torch raises RuntimeError, UnpicklingError ...
        return None


def main():
    opened = 0
    with tempfile.TemporaryDirectory() as folder:
        for i in range(COUNT):
            rng = random.Random(SEED * 1000 + i)
            kind, more = tail(rng, folder)
            path = os.path.join(folder, "t.pt")
            with open(path, "wb") as f:
                f.write(archive(rng, folder) + more)
            ours, theirs = keys_of(path), loaded(path)
            what = "SEED=%d case %d, %s of %d bytes" % (SEED, i, kind, len(more))
            if kind == "archive":  # a reader of another kind may see either
                assert ours is None, what
            else:
                assert ours == theirs, (what, ours, theirs)
            opened += ours is not None
            if ours is not None:
                done = subprocess.run([QATSCOPE, "verify", path], stdout=subprocess.PIPE, text=True)
                assert done.returncode == 0 and "%d bytes behind the archive" % len(more) in done.stdout, (what, done.stdout)
        # a comment that is longer than the file
        data = bytearray(archive(random.Random(SEED), folder))
        data[-2:] = struct.pack("<H", 5)
        with open(path, "wb") as f:
            f.write(data)
        assert keys_of(path) is None
    assert opened > COUNT // 5, opened
    print("SEED=%d: %d tails, %d archives opened in spite of them" % (SEED, COUNT, opened))


if __name__ == "__main__":
    sys.exit(main())

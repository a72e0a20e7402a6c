#!/usr/bin/env python3
"""Archives with some bytes of their headers and directory changed, against torch: what both read is equal, value by value,
and what torch's reader refuses we refuse. Python's zipfile as a writer, deflated and stored, beside torch's own.

    SEED=1 COUNT=400 test_zip.py"""
import collections
import io
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib

BIN = os.environ.get("QATSCOPE")
SEED = int(os.environ.get("SEED", "1"))
COUNT = int(os.environ.get("COUNT", "400"))
if not BIN:
    print("QATSCOPE is not set: no binary to test")
    sys.exit(77)
try:
    import torch
except ImportError:
    print("no torch here")
    sys.exit(77)
warnings.simplefilter("ignore")


def archives(rng):
    """As torch writes it, and the same records in another order by zipfile."""
    buf = io.BytesIO()
    torch.save(collections.OrderedDict((k, torch.arange(i + 1, dtype=torch.float32)) for i, k in enumerate("abc")), buf)
    yield buf.getvalue()
    with zipfile.ZipFile(buf) as z:
        records = [(i.filename, z.read(i)) for i in z.infolist()]
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", compression) as z:
            for name, data in rng.sample(records, len(records)):
                z.writestr(zipfile.ZipInfo(name), data, compression)
        yield out.getvalue()


def places(data):
    """Bytes at and after each signature: headers, names, and the first of what they lead to."""
    return [i for m in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x06\x07)", data)
            for i in range(m.start(), min(m.start() + 60, len(data)))]


def change(rng, data):
    b = bytearray(data)
    where = places(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        at, how = rng.choice(where), rng.randrange(4)
        if how == 0:
            b[at] = rng.randrange(256)
        elif how == 1:
            b[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            other = rng.choice(where)
            b[at:at + 4] = b[other:other + 4]
        else:
            b[at:at + 2] = struct.pack("<H", rng.choice([0, 1, 8, 0x10, 0xffff, len(b) & 0xffff, 0x800]))
    return bytes(b)


def rewritten(data, name=lambda n: n, attributes=0, pickle=lambda p: p):
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as z, zipfile.ZipFile(out, "w") as to:
        for i in z.infolist():
            info = zipfile.ZipInfo(name(i.filename))
            info.external_attr = attributes if i.filename.endswith("/data/0") else 0
            to.writestr(info, pickle(z.read(i)) if i.filename.endswith("data.pkl") else z.read(i))
    return out.getvalue()


def twice(p):
    """The state dict is given the key a again, with the value of c."""
    return p.replace(b"X\x01\0\0\0c", b"X\x01\0\0\0a", 1)


def known(base):
    """(what, archive, what our refusal says or None where we read it, too): torch loads each of them."""
    for old, new in (("data.pkl", "DATA.PKL"), ("/data/0", "/Data/0"), ("version", "Version")):
        yield new, rewritten(base, lambda n: n.replace(old, new)), "minds no capitals"
    yield "a record that is a folder", rewritten(base, attributes=0x10), "marked as a folder"
    yield "a key given twice", rewritten(base, pickle=twice), None


def load(data):
    """(state dict or None, what torch says)"""
    try:
        t = torch.load(io.BytesIO(data))
        return (t, "") if isinstance(t, dict) else (None, "no dict")
    except Exception as e:
        return None, str(e)


def main():
    rng = random.Random(SEED)
    bases = list(archives(rng))
    failures, seen = 0, collections.Counter()
    with tempfile.TemporaryDirectory(prefix="qatscope-zip-") as folder:
        path = os.path.join(folder, "a.pt")
        for what, data, refusal in known(bases[0]):
            with open(path, "wb") as f:
                f.write(data)
            want, says = load(data)
            p = subprocess.run([BIN, "ls", path], capture_output=True, text=True)
            lines = [line.split("\t")[:2] for line in p.stdout.splitlines()]
            right = p.returncode == 3 and refusal in p.stderr if refusal else want is not None and lines == [
                [k, "x".join(map(str, v.shape))] for k, v in want.items()]
            if want is None or not right:
                failures += 1
                print("FAIL %s: torch %s, we %s %s" % (what, says or "loads it", p.stderr, lines))
        for i in range(COUNT + len(bases)):
            data = bases[i] if i < len(bases) else change(rng, rng.choice(bases))
            want, says = load(data)
            with open(path, "wb") as f:
                f.write(data)
            p = subprocess.run([BIN, "ls", "--json", "--values", path], capture_output=True)
            opened = p.returncode == 0
            why = None
            if p.returncode not in (0, 3):
                why = "exit %d %s" % (p.returncode, p.stderr[-300:])
            elif opened and re.search("failed (reading zip archive|retrieving file meta-data)", says):
                why = "torch refuses it: %s" % says[:200]
            elif opened and want is not None:
                got = [(e["key"], tuple(e["shape"]), e["crc32"]) for e in json.loads(p.stdout)["entries"]]
                ours = [(k, tuple(v.shape), zlib.crc32(v.numpy().tobytes())) for k, v in want.items()]
                same = len(got) == len(ours) and all(g[:2] == o[:2] and g[2] in (None, o[2]) for g, o in zip(got, ours))
                why = None if same else "%s, torch has %s" % (got, ours)
                seen["read by both"] += 1
            if i < len(bases) and not (opened and want is not None):
                why = "unchanged, and not read"
            seen["opened" if opened else "refused"] += 1
            if why:
                failures += 1
                print("FAIL case %d (seed %d): %s" % (i, SEED, why))
    print("%s (seed %d)" % (dict(seen), SEED))
    if seen["read by both"] < COUNT // 50:
        failures += 1
        print("FAIL: too few are read by both")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

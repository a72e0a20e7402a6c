#!/usr/bin/env python3
"""Legacy torch files: what qatscope reads from them equals what torch holds, what it saves from them loads equal, under
torch 1.13 and, where their roots are at hand, 1.7, 2.6 and 2.14; made-up files for what torch no longer writes."""
import collections
import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]
from test_read import QATSCOPE, check, compare, failures, have_root, ls

SEED = int(os.environ.get("QS_SEED", "20260613"))
PER_TORCH = 300
MAGIC = 0x1950a86a20f9469cfc6c


def run_torch(name, command):
    d = tempfile.mkdtemp(prefix="qatscope-legacy-")
    try:
        script = os.path.join(HERE, "legacy_cases.py")
        r = subprocess.run([*command, script, d, str(SEED), str(PER_TORCH)], capture_output=True, text=True)
        if not os.path.exists(os.path.join(d, "expected.json")):
            print(f"SKIP {name}: {r.stderr.strip().splitlines()[-1] if r.stderr.strip() else 'no torch'}")
            return 0
        with open(os.path.join(d, "expected.json")) as f:
            expected = json.load(f)
        with open(os.path.join(d, "empty.json"), "w") as f:
            json.dump({"format": "qatscope-plan", "version": 1, "actions": []}, f)
        entries = 0
        for case in expected["cases"]:
            where = f"torch {expected['torch']} {os.path.basename(case['file'])} (QS_SEED {SEED})"
            got, error = ls(case["file"], "--values")
            if not check(got is not None, f"{where}: {error}"):
                continue
            compare(case, got, where, expected["torch"])
            entries += len(case["entries"])
            r = subprocess.run([QATSCOPE, "apply", os.path.join(d, "empty.json"), case["file"], "-o",
                                case["file"] + ".zip.pt"], capture_output=True, text=True)
            check(r.returncode == 0, f"{where}: saving: {r.stderr}")
        print(f"torch {expected['torch']}: {len(expected['cases'])} legacy files, {entries} entries compared")
        r = subprocess.run([*command, script, "compare", d], capture_output=True, text=True)
        check(r.returncode == 0, f"{name}: {r.stdout} {r.stderr[-800:]}")
        print(r.stdout.strip())
        return len(expected["cases"])
    finally:
        shutil.rmtree(d)


# ---- files that no torch at hand writes ----

class Persistent:
    def __init__(self, *pid):
        self.pid = pid


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Persistent) else None


def legacy_bytes(obj, storages, protocol=1001, keys=None):
    """storages: {key: (numel, bytes)}"""
    f = io.BytesIO()
    for x in (MAGIC, protocol, {"protocol_version": 1001, "little_endian": True,
                                "type_sizes": {"short": 2, "int": 4, "long": 4}}):
        pickle.dump(x, f, 2)
    Pickler(f, 2).dump(obj)
    pickle.dump(sorted(storages) if keys is None else keys, f, 2)
    for k in sorted(storages) if keys is None else keys:
        numel, data = storages[k]
        f.write(struct.pack("<q", numel) + data)
    return f.getvalue()


def made_up(torch):
    """(name, bytes, expected tensors or None, words of the refusal)"""
    floats = struct.pack("<8f", *range(8))
    whole = Persistent("storage", torch.FloatStorage, "100", "cpu", 8, None)
    view = Persistent("storage", torch.FloatStorage, "100", "cpu", 8, ("101", 3, 4))

    class Rebuild:
        def __init__(self, *args):
            self.args = args

        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, self.args

    def tensor(storage, offset, n):
        return Rebuild(storage, offset, (n,), (1,), False, collections.OrderedDict())

    both = {"all": tensor(whole, 0, 8), "part": tensor(view, 1, 2)}
    yield "view", legacy_bytes(both, {"100": (8, floats)}), {"all": list(range(8)), "part": [4, 5]}, None
    yield "view first", legacy_bytes(dict(reversed(list(both.items()))), {"100": (8, floats)}), \
        {"all": list(range(8)), "part": [4, 5]}, None
    module = Persistent("module", torch.nn.modules.linear.Linear, "linear.py", "class Linear: pass")
    # NEWOBJ of a class given by a 'module' persistent id: opcodes by hand around a pickled state
    state = io.BytesIO()
    Pickler(state, 2).dump({"_parameters": collections.OrderedDict(weight=tensor(whole, 0, 8)),
                            "_buffers": collections.OrderedDict(), "_modules": collections.OrderedDict()})
    pid = io.BytesIO()
    Pickler(pid, 2).dump(module)
    body = b"\x80\x02" + pid.getvalue()[2:-1] + b")\x81" + rebase(state.getvalue()[2:-1], 50) + b"b."
    raw = legacy_bytes(None, {"100": (8, floats)})
    marker = b"\x80\x02N."
    assert raw.count(marker) == 1
    yield "class with source", raw.replace(marker, body), {"weight": list(range(8))}, None
    yield "protocol 999", legacy_bytes(both, {"100": (8, floats)}, protocol=999), None, "protocol 999"
    yield "wrong size", legacy_bytes(both, {"100": (7, floats[:28])}), None, "declared with 8"
    yield "unused key", legacy_bytes(both, {"100": (8, floats), "77": (1, b"abcd")}), None, "nothing in the file uses it"
    yield "cut short", legacy_bytes(both, {"100": (8, floats)})[:-5], "bad", None
    yield "no storages", legacy_bytes(both, {"100": (8, floats)})[:-40], "bad", None


def rebase(code, by):
    """The memo numbers of a pickle made to stand behind another's: BINPUT and BINGET only, checked by pickletools."""
    import pickletools
    out, at = bytearray(code), 0
    for op, arg, pos in pickletools.genops(code + b"."):
        if op.name in ("BINPUT", "BINGET"):
            out[pos + 1] = arg + by
        assert not op.name.startswith("LONG_BIN"), "too long for this"
    return bytes(out)


def run_made_up():
    try:
        import torch
    except ImportError:
        print("SKIP made-up files: no torch")
        return 0
    d, count = tempfile.mkdtemp(prefix="qatscope-legacy-"), 0
    for name, data, want, words in made_up(torch):
        path = os.path.join(d, "made.pt")
        with open(path, "wb") as f:
            f.write(data)
        got, error = ls(path, "--values")
        count += 1
        if words:
            check(got is None and words in error, f"{name}: {error!r}")
        elif want == "bad":
            if check(got is not None, f"{name}: {error}"):
                check(all("bad" in e for e in got["entries"]), f"{name}: {got['entries']}")
        elif check(got is not None, f"{name}: {error}"):
            import zlib
            crcs = {k: zlib.crc32(struct.pack("<%df" % len(v), *v)) for k, v in want.items()}
            check({e["key"]: e.get("crc32") for e in got["entries"]} == crcs, f"{name}: {got['entries']}")
            held = torch.load(path, weights_only=False) if name.startswith("view") else None
            for k in want if held else ():
                check(held[k].tolist() == want[k], f"{name}: torch itself reads {held[k].tolist()}")
    shutil.rmtree(d)
    print(f"{count} made-up files")
    return count


def main():
    if not QATSCOPE or not os.path.exists(QATSCOPE):
        print("SKIP: no qatscope binary (QATSCOPE)")
        return 77
    print("seed", SEED, "(QS_SEED)")
    done = run_made_up()
    done += run_torch("torch of this system", [sys.executable])
    for suite, version in (("bullseye", "1.7"), ("trixie", "2.6"), ("sid", "2.14")):
        if have_root(suite):
            done += run_torch(f"torch {version}", [os.path.join(HERE, "torch-at"), suite])
        else:
            print(f"SKIP torch {version}: needs root and an unpacked {suite} (tests/oracle/torch-at {suite} --install)")
    if failures:
        print(len(failures), "failures")
        return 1
    return 0 if done else 77


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""`qatscope audit` and `verify` against real Python and real torch: every pickle that makes Python run a marker is
reported, names on torch's own weights_only list are not, damage is found."""
import io
import json
import os
import pathlib
import pickle
import pickletools
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile

BIN = os.environ.get("QATSCOPE")
HERE = os.path.dirname(os.path.abspath(__file__))
if not BIN:
    print("QATSCOPE is not set: no binary to test")
    sys.exit(77)
try:
    import torch
except ImportError:
    print("no torch here")
    sys.exit(77)

sys.path.insert(0, HERE)
import evil_cases  # noqa: E402

LIST_NAMES = """
import torch
from torch import _weights_only_unpickler as w
print("\\n".join(sorted(w._get_allowed_globals())))
"""


def run(*args):
    p = subprocess.run([BIN, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


def audit(path):
    code, out, err = run("audit", "--json", path)
    if not out:
        raise AssertionError("no output, exit %d: %s" % (code, err))
    return code, json.loads(out)


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Call:
    """Pickles as a call of a function."""

    def __init__(self, fn, *args):
        self.fn, self.args = fn, args

    def __reduce__(self):
        return self.fn, self.args


def text(s):
    b = s.encode()
    return b"X" + len(b).to_bytes(4, "little") + b


class Base(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="qatscope-audit-")
        self.marker = os.path.join(self.dir, "ran")

    def tearDown(self):
        shutil.rmtree(self.dir)

    def path(self, name, data=None):
        p = os.path.join(self.dir, name)
        if data is not None:
            with open(p, "wb") as f:
                f.write(data)
        return p

    def zip_of(self, data, name="evil.pt"):
        p = self.path(name)
        with zipfile.ZipFile(p, "w") as z:
            z.writestr("archive/data.pkl", data)
            z.writestr("archive/version", "3\n")
        return p


class Code(Base):
    def payloads(self):
        """Pickles that create the marker file when Python loads them."""
        m = self.marker
        touch = "open(%r, 'w').close()" % m
        import functools
        import operator
        import subprocess as sp
        for proto in (0, 2, 4):
            yield pickle.dumps(Call(os.system, "touch " + m), proto)
            yield pickle.dumps(Call(eval, touch), proto)
            yield pickle.dumps(Call(exec, touch), proto)
            yield pickle.dumps(Call(sp.call, ["touch", m]), proto)
            yield pickle.dumps({"a": [1, (2, {"b": Call(os.mkdir, m)})]}, proto)
            yield pickle.dumps(Call(pickle.loads, pickle.dumps(Call(os.mkdir, m))), proto)
            yield pickle.dumps(Call(functools.partial(os.mkdir, m)), proto)
            yield pickle.dumps(Call(os.makedirs, m), proto)
            yield pickle.dumps(Call(operator.methodcaller("mkdir"), pathlib.Path(m)), proto)
        head = b"\x80\x02"
        call = text("touch " + m) + b"\x85R"
        yield head + b"cos\nsystem\n" + call + b"."
        yield head + b"cposix\nsystem\n" + call + b"0N."                 # thrown away
        yield head + b"cos\nsystem\n" + call + b"\xff"                   # then no opcode at all
        yield head + b"cos\nsystem\n" + call                             # then nothing
        yield head + b"cos\nsystem\n" + call + b"cunfinished"
        yield b"\x80\x04" + text("os") + text("system") + b"\x93" + call + b"."
        yield b"\x80\x04" + text("torch.serialization") + text("os.system") + b"\x93" + call + b"."
        yield b"(" + text("touch " + m) + b"ios\nsystem\n."               # INST
        yield b"(cos\nsystem\n" + text("touch " + m) + b"o."              # OBJ
        yield (head + b"cbuiltins\ngetattr\n" + b"ctorch.serialization\nos\n" + text("system") + b"\x86R" + call + b".")
        yield (head + b"cbuiltins\n__import__\n" + text("os") + b"\x85R0" + b"cos\nsystem\n" + call + b".")
        yield b"\x80\x02N0" + b"c__builtin__\neval\n" + text(touch) + b"\x85R."
        # the memo is filled with the function, which is called much later
        yield head + b"cos\nsystem\nq\x05" + b"0]" * 50 + b"h\x05" + call + b"."

    def test_everything_python_runs_is_reported(self):
        for i, data in enumerate(self.payloads()):
            ran = subprocess.run([sys.executable, "-c", "import pickle, sys\ntry: pickle.loads(open(sys.argv[1], 'rb').read())\n"
                                  "except BaseException: pass", self.path("p.pkl", data)], stderr=subprocess.DEVNULL)
            self.assertEqual(ran.returncode, 0)
            self.assertTrue(os.path.exists(self.marker), "the payload %d does nothing: %r" % (i, data))
            os.rmdir(self.marker) if os.path.isdir(self.marker) else os.remove(self.marker)
            for path in (self.path("p.pkl"), self.zip_of(data)):
                code, out = audit(path)
                self.assertEqual((code, out["runs_code"]), (1, True), (i, data, out))
            self.assertFalse(os.path.exists(self.marker), "qatscope ran it")

    def test_nothing_hides_behind_what_python_takes(self):
        seed = int(os.environ.get("SEED", "21000"))
        count = int(os.environ.get("COUNT", "1500"))
        called = 0
        for i in range(seed, seed + count):
            data = evil_cases.make(i)
            if not evil_cases.run(data):
                continue
            called += 1
            code, out, err = run("audit", self.path("p.pkl", data))
            self.assertEqual(code, 1, ("seed %d" % i, data, out, err))
        print("%d of %d pickles (seed %d) call the marker" % (called, count, seed))
        self.assertGreater(called, count // 10)

    def test_pickles_longer_than_what_is_read_at_once(self):
        body = b"N0" * 200000 + evil_cases.CALLS[0] + b"."
        for data in (b"\x80\x04" + body, b"\x80\x04\x95" + len(body).to_bytes(8, "little") + body,
                     b"\x80\x04X" + (300000).to_bytes(4, "little") + b"a" * 300000 + b"0" + body):
            self.assertTrue(evil_cases.run(data))
            self.assertEqual(audit(self.path("p.pkl", data))[0], 1)

    def test_what_was_not_read_is_said(self):
        many = b"\x80\x02" + b"N0" * 200 + b"cos\nsystem\n)R."
        p = self.path("p.pkl", many)
        code, out, err = run("audit", "--limit", "pickle-ops=100", p)
        self.assertEqual((code, err), (3, ""))
        self.assertIn("not read further at byte 101", out)
        self.assertIn("what follows is not known", out)
        self.assertNotIn("no code", out)
        code, out, err = run("audit", "--json", "--limit", "pickle-ops=100", p)
        self.assertEqual((json.loads(out)["runs_code"], json.loads(out)["cut"]), (False, True))
        self.assertEqual(run("audit", p)[0], 1)
        code, out, err = run("audit", self.path("q.pkl", b"\x80\x02}q\x00."[:-1]))
        self.assertEqual(code, 3)
        self.assertIn("breaks off", out)
        self.assertIn("the file is damaged", out)

    def test_the_pickle_torch_loads_is_among_those_looked_at(self):
        p = self.path("many.pt")
        with zipfile.ZipFile(p, "w") as z:
            for i in range(100):
                z.writestr("archive/%d.pkl" % i, b"\x80\x02}.")
            z.writestr("archive/data.pkl", pickle.dumps(Call(os.mkdir, self.marker), 2))
            z.writestr("archive/version", "3\n")
        self.assertEqual(audit(p)[0], 1)
        with zipfile.ZipFile(p, "w") as z:
            z.writestr("archive/data.pkl", b"\x80\x02}.")
            for i in range(100):
                z.writestr("archive/%d.pkl" % i, b"\x80\x02}.")
            z.writestr("archive/version", "3\n")
        code, out, err = run("audit", p)
        self.assertEqual(code, 3)
        self.assertIn("more may follow", out)

    def tar_of(self, evil):
        f = io.BytesIO()
        with tarfile.open(fileobj=f, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name, data in (("storages", evil), ("tensors", b"K\0."), ("pickle", b"}.")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return f.getvalue()

    def header(self, name, size):
        """A tar header without a magic, as of the first tars."""
        h = bytearray(512)
        h[:len(name)] = name
        h[100:148] = b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
        h[148:157] = b" " * 8 + b"0"
        h[148:156] = b"%06o\0 " % sum(h)
        return bytes(h)

    def pickles_of(self, legacy):
        f = io.BytesIO(legacy)
        starts = [0]
        for _ in range(5):
            for _ in pickletools.genops(f):
                pass
            starts.append(f.tell())
        return [legacy[a:b] for a, b in zip(starts, starts[1:] + [len(legacy)])]

    def test_a_tar_is_what_it_is_to_torch(self):
        evil = pickle.dumps(Call(os.mkdir, self.marker), 2)
        buf = io.BytesIO()
        torch.save({"w": torch.ones(3)}, buf, _use_new_zipfile_serialization=False)
        number, version, info, *rest = self.pickles_of(buf.getvalue())
        # the same bytes as a tar header, and as the first pickles of an honest legacy file
        name = number + version + b"\x80\x02T"
        name += (512 - len(name) - 4).to_bytes(4, "little")
        body = b"0" + info[2:] + b"".join(rest)
        both = self.header(name, len(body)) + body + bytes(-len(body) % 512) + self.tar_of(evil)
        for data in (self.tar_of(evil), self.header(b"a", 0) + self.tar_of(evil), both):
            p = self.path("t.pt", data)
            try:
                torch.load(p)
            except Exception:
                pass
            self.assertTrue(os.path.isdir(self.marker), "torch does not unpickle it")
            os.rmdir(self.marker)
            code, out = audit(p)
            self.assertEqual((code, out["runs_code"], out["cut"]), (1, True, True))
            code, out, err = run("ls", p)
            self.assertEqual(code, 3)
            self.assertIn("is a tar archive", err)
        code, out, err = run("audit", self.path("h.pt", self.tar_of(b"}.")))
        self.assertEqual(code, 3)
        self.assertIn("what follows is not known", out)

    def safetensors_and_pickle(self, call):
        """A valid file of safetensors, whose first bytes are also X and the length of a string that ends in its header.
        There begins another one, as long as the line; what follows are the bytes of its tensor."""
        n = 100
        length = ord("X") + 256 * n
        head = '{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]},"__metadata__":{"a":"' % (len(call), len(call))
        head += "x" * (n - 3 - len(head)) + "V"
        head += "y" * (length - len(head) - 4) + '"\n}}'
        return length.to_bytes(8, "little") + head.encode() + call

    def test_the_magic_of_another_format_is_no_shelter(self):
        call = b"cos\nmkdir\n" + text(self.marker) + b"\x85R."
        files = {"safetensors": self.safetensors_and_pickle(call), "GGUF": b"GGUF" + bytes(5) + call,
                 "text": b"Vfree text\n" + call, "LFS": b"Version https://git-lfs.github.com/\n" + call}
        for name, data in files.items():
            p = self.path("m.bin", data)
            with self.assertRaises(Exception, msg=name):
                torch.load(p)
            self.assertTrue(os.path.isdir(self.marker), name)
            os.rmdir(self.marker)
            code, out = audit(p)
            self.assertEqual((code, out["runs_code"]), (1, True), name)
        p = self.path("m.safetensors", files["safetensors"])
        self.assertEqual(run("ls", "-q", p)[1], "w\t%d\tuint8\n" % len(call))
        honest = self.path("h.safetensors", self.safetensors_and_pickle(bytes(8)))
        self.assertEqual(run("audit", honest)[:2], (0, "no pickle in this file: there is nothing that could run\n"))

    def test_legacy_files_are_looked_through(self):
        p = self.path("legacy.pt")
        torch.save({"w": torch.ones(3), "x": Call(os.mkdir, self.marker)}, p, _use_new_zipfile_serialization=False)
        code, out = audit(p)
        self.assertEqual((code, len(out["pickles"])), (1, 5))
        self.assertFalse(os.path.exists(self.marker))


class Harmless(Base):
    def test_state_dicts(self):
        m = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
        opt = torch.optim.AdamW(m.parameters())
        m(torch.ones(1, 3, 8, 8)).sum().backward()
        opt.step()
        for new in (True, False):
            p = self.path("sd.pt")
            torch.save({"model": m.state_dict(), "optimizer": opt.state_dict(), "epoch": 3, "f8": [1.5, None, b"x"]}, p,
                       _use_new_zipfile_serialization=new)
            code, out = audit(p)
            self.assertEqual((code, out["worst"], out["broken"]), (0, "torch", False), out)

    def test_modules_need_their_library(self):
        p = self.path("module.pt")
        for new in (True, False):
            torch.save(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), p, _use_new_zipfile_serialization=new)
            code, out = audit(p)
            self.assertEqual((code, out["worst"]), (0, "library"), out)
            self.assertIn("Conv2d", [x["name"] for x in out["names"] if x["news"]])

    def test_plain_data(self):
        import argparse
        import collections
        import datetime
        values = [argparse.Namespace(a=1), collections.defaultdict(list, {"a": [1]}), datetime.date(2024, 1, 1),
                  pathlib.Path("/tmp"), {1, 2}, frozenset([3]), bytearray(b"x"), 3 + 4j, slice(1, 2), type(None), range(3)]
        try:
            import numpy
            values += [numpy.arange(3), numpy.float32(1.5), numpy.dtype("int8")]
        except ImportError:
            pass
        for proto in range(2, 6):
            for v in values:
                code, out = audit(self.path("data.pkl", pickle.dumps({"v": v}, proto)))
                self.assertEqual((code, out["runs_code"]), (0, False), (v, out))
                self.assertIn(out["worst"], ("torch", "data"), (v, out))

    def test_torchs_own_list(self):
        script = self.path("names.py", LIST_NAMES.encode())
        checked = 0
        for suite in ("bookworm", "trixie", "sid"):
            p = subprocess.run([os.path.join(HERE, "torch-at"), suite, script], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, timeout=600)
            if p.returncode:
                continue
            names = p.stdout.decode().split()
            body = b"".join(b"c%s\n%s\n0" % tuple(n.rsplit(".", 1)[k].encode() for k in (0, 1)) for n in names)
            code, out = audit(self.path("names.pkl", b"\x80\x02" + body + b"N."))
            wrong = [x for x in out["names"] if x["class"] != "torch"]
            self.assertEqual((code, wrong), (0, []), suite)
            checked += len(names)
        print("names on torch's lists: %d" % checked)


class Verify(Base):
    def save(self, name="v.pt", **kw):
        p = self.path(name)
        torch.manual_seed(1)
        torch.save({"a.weight": torch.randn(64, 65), "b.weight": torch.randn(7), "n": torch.tensor(3)}, p, **kw)
        return p

    def verify(self, path):
        code, out, err = run("verify", "--json", path)
        return code, json.loads(out) if out else err

    def test_a_whole_file(self):
        code, out = self.verify(self.save())
        self.assertEqual((code, out["ok"], out["crc"]["wrong"], out["tensors"]), (0, True, 0, 3), out)
        self.assertGreater(out["crc"]["right"], 3)

    def test_each_flipped_byte_of_a_storage(self):
        p = self.save()
        seed = int(os.environ.get("QS_SEED", "7"))
        print("seed %d (QS_SEED)" % seed)
        rng = random.Random(seed)
        data = read(p)
        with zipfile.ZipFile(p) as z:
            infos = [i for i in z.infolist() if i.file_size > 16]
        for _ in range(20):
            info = rng.choice(infos)
            at = info.header_offset + 30 + int.from_bytes(data[info.header_offset + 26:info.header_offset + 28], "little") \
                + int.from_bytes(data[info.header_offset + 28:info.header_offset + 30], "little") + rng.randrange(info.file_size)
            bad = bytearray(data)
            bad[at] ^= 1 << rng.randrange(8)
            code, out = self.verify(self.path("bad.pt", bytes(bad)))
            if info.filename.endswith("data.pkl"):
                self.assertIn(code, (1, 3), (info, at, out))
            else:
                self.assertEqual(code, 1, (info, at, out))
                self.assertIn(info.filename.split("/", 1)[1], [x["where"] for x in out["problems"]])

    def test_crc_switched_off_is_said_and_fine(self):
        p = self.save()
        with zipfile.ZipFile(p) as z:
            data = bytearray(read(p))
            for i in z.infolist():  # in the directory, where torch writes 0 then
                at = data.find(i.filename.encode(), z.start_dir) - 46
                data[at + 16:at + 20] = bytes(4)
        code, out = self.verify(self.path("off.pt", bytes(data)))
        self.assertEqual((code, out["ok"], out["crc"]["right"]), (0, True, 0), out)
        self.assertGreater(out["crc"]["off"], 3)
        self.assertTrue(any("switched off" in x["what"] for x in out["notes"]))

    def test_a_record_that_is_too_short(self):
        p, q = self.save(), self.path("short.pt")
        with zipfile.ZipFile(p) as z, zipfile.ZipFile(q, "w") as w:
            for i in z.infolist():
                content = z.read(i)
                w.writestr(i.filename, content[:-4] if i.filename.endswith("data/0") else content)
        code, out = self.verify(q)
        self.assertEqual(code, 1)
        self.assertIn("a.weight", [x["where"] for x in out["problems"]], out)

    def test_compressed_storages_are_noted(self):
        p, q = self.save(), self.path("deflated.pt")
        with zipfile.ZipFile(p) as z, zipfile.ZipFile(q, "w", zipfile.ZIP_DEFLATED) as w:
            for i in z.infolist():
                w.writestr(i.filename, z.read(i))
        code, out = self.verify(q)
        self.assertEqual((code, out["deflated"]), (0, 3), out)


if __name__ == "__main__":
    unittest.main()

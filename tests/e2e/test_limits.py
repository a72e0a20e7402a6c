#!/usr/bin/env python3
"""Every limit of --limit: what exceeds it is refused with a message that names the flag, and doing what the message says
opens the file. Every command that opens files has the flag."""
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mini

BIN = os.environ.get("QATSCOPE")
if not BIN:
    print("QATSCOPE is not set: no binary to test")
    sys.exit(77)


def run(*args, stdin=None):
    p = subprocess.run([BIN, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                       **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}))
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


def limit_names():
    rc, out, _ = run("ls", "--limit", "help")
    assert rc == 0
    return [line.split()[0] for line in out.splitlines()]


def zip_of(path, records, compressed=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        for name, data in records:
            z.writestr("archive/" + name, data,
                       zipfile.ZIP_DEFLATED if name in compressed else zipfile.ZIP_STORED)
    return path


def safetensors(path, names):
    header = json.dumps({n: {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i, n in enumerate(names)})
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header.encode() + bytes(len(names)))
    return path


def modules(depth):
    """A pickled module in a module in a module."""
    p = b"cm\nA\n)\x81}(V_parameters\n}V_buffers\n}V_modules\n}ub"
    for _ in range(depth - 1):
        p = b"cm\nA\n)\x81}(V_parameters\n}V_buffers\n}V_modules\n}Vx\n" + p + b"sub"
    return p + b"."


class Limits(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def good(self, name="good.pt"):
        mini.save({"a.weight": mini.Tensor(range(6), (2, 3)), "a.bias": mini.Tensor([0, 1])}, self.path(name))
        return self.path(name)

    def follow(self, name, low, *args, refused=3):
        """With a low limit refused, naming the flag; with what it names (some limits are found by and by) not. Returns
        the value that would do."""
        value = low
        for _ in range(24):
            rc, out, err = run(*args, "--limit", "%s=%d" % (name, value))
            if rc == 0:
                break
            self.assertEqual(rc, refused, (value, out, err))
            said = re.search(r"--limit %s=(\d+)" % name, out + err)
            self.assertTrue(said, (value, out, err))
            self.assertGreater(int(said.group(1)), value)
            value = int(said.group(1))
        self.assertEqual(rc, 0, (value, out, err))
        self.assertGreater(value, low, "it was not refused")
        return value

    def exactly(self, name, needed, *args):
        self.assertEqual(self.follow(name, needed - 1, *args), needed)

    def test_zip(self):
        f = self.good()
        self.exactly("zip-entries", 4, "ls", f)
        self.exactly("zip-name", len("archive/data.pkl"), "ls", f)
        names = ["archive/" + n for n in ("data.pkl", "data/0", "data/1", "version")]
        self.exactly("zip-directory", sum(46 + len(n) for n in names), "ls", f)

    def test_unpacked(self):
        storages = []
        data = mini.pickle_of({"w": mini.Tensor([0] * 100000)}, storages)
        f = zip_of(self.path("z.pt"), [("data.pkl", data), ("data/0", storages[0].bytes()), ("version", "3\n")],
                   compressed=["data/0"])
        rc, out, err = run("verify", f, "--limit", "unpacked-bytes=399999")
        self.assertEqual(rc, 1, (out, err))
        self.assertIn("--limit unpacked-bytes=400000 ", out)
        self.assertEqual(run("verify", f, "--limit", "unpacked-bytes=400000")[0], 0)
        # data.pkl has a limit of its own
        f = zip_of(self.path("p.pt"), [("data.pkl", data), ("data/0", storages[0].bytes()), ("version", "3\n")],
                   compressed=["data.pkl"])
        self.exactly("pickle-bytes", len(data), "ls", f)

    def test_pickle(self):
        f = self.good()
        with zipfile.ZipFile(f) as z:
            data = z.read("archive/data.pkl")
        self.exactly("pickle-bytes", len(data), "ls", f)
        for name in ("pickle-ops", "pickle-memo", "pickle-globals", "pickle-stack", "pickle-marks"):
            with self.subTest(name):
                self.follow(name, 1, "ls", f)
        self.exactly("string-bytes", len("a.weight"), "ls", f)
        with zipfile.ZipFile(f) as z:
            records = [(i.filename[len("archive/"):], z.read(i)) for i in z.infolist()]
        records = [(n, b"L" + b"7" * 40 + b"L\n0L-" + b"9" * 39 + b"\n0" + d if n == "data.pkl" else d) for n, d in records]
        self.follow("number-digits", 50, "ls", zip_of(self.path("digits.pt"), records))

    def test_nesting(self):
        f = zip_of(self.path("m.pt"), [("data.pkl", modules(5)), ("version", "3\n")])
        self.follow("nesting", 2, "ls", f)
        deep = []
        for _ in range(20):
            deep = [deep]
        mini.save({"model": {"w": mini.Tensor([1])}, "deep": deep}, self.path("deep.pt"))
        self.follow("nesting", 5, "convert", self.path("deep.pt"), "-o", self.path("out.pt"))

    def test_dimensions(self):
        mini.save({"w": mini.Tensor([1], (1, 1, 1))}, self.path("d.pt"))
        rc, out, _ = run("verify", self.path("d.pt"), "--limit", "dimensions=2")
        self.assertEqual(rc, 1)
        self.assertIn("--limit dimensions", out)
        self.assertEqual(run("verify", self.path("d.pt"), "--limit", "dimensions=3")[0], 0)

    def test_header(self):
        f = safetensors(self.path("s.safetensors"), ["a", "b"])
        with open(f, "rb") as s:
            n, = struct.unpack("<Q", s.read(8))
        self.exactly("header-bytes", n, "ls", f)

    def test_json(self):
        f = self.good()
        rc, manifest, _ = run("manifest", f)
        self.assertEqual(rc, 0)
        with open(self.path("m.json"), "w") as m:
            m.write(manifest)
        self.follow("json-bytes", 10, "check", f, "-m", self.path("m.json"))
        self.follow("json-bytes", len(manifest) - 1, "check", f, "-m", self.path("m.json"))
        with open(self.path("plan.json"), "w") as p:
            p.write('{"format": "qatscope-plan", "version": 1, "actions": []}')
        self.follow("json-bytes", 10, "apply", self.path("plan.json"), f, "-n")

    def test_files(self):
        names = ["x-%d.safetensors" % i for i in range(3)]
        for i, n in enumerate(names):
            safetensors(self.path(n), ["k%d" % i])
        with open(self.path("x.safetensors.index.json"), "w") as f:
            json.dump({"metadata": {}, "weight_map": {"k%d" % i: n for i, n in enumerate(names)}}, f)
        self.follow("files", 1, "ls", self.path("x.safetensors.index.json"))

    def test_each_limit_has_its_test(self):
        with open(__file__) as f:
            text = f.read().split("def test_zip")[1].split("def test_each_limit")[0]
        for name in limit_names():
            self.assertTrue('"%s"' % name in text or '"%s=' % name in text, name)

    def test_every_command(self):
        f, g, out = self.good(), self.good("b.pt"), self.path("o.pt")
        with open(self.path("plan.json"), "w") as p:
            p.write('{"format": "qatscope-plan", "version": 1, "actions": []}')
        plan = self.path("plan.json")
        for args in (["ls", f], ["check", f, g], ["fix", f, g, "-o", out], ["diff", f, g], ["apply", plan, f, "-o", out],
                     ["audit", f], ["verify", f], ["manifest", f], ["convert", f, "-o", out], ["plan", plan, f],
                     [f], [f, g], [f, "--screen", "80x24"]):
            with self.subTest(args):
                rc, said, err = run(*args, "--limit", "pickle-ops=3", "--limit", "zip-entries=100")
                self.assertNotEqual(rc, 0)
                self.assertIn("--limit pickle-ops=6 ", said + err)
                rc, said, err = run(*args, "--limit", "pickle-ops=1K", "--limit", "pickle-memo=1M")
                self.assertEqual(rc, 0, (said, err))

    def test_what_is_typed(self):
        f = self.good()
        for arg, words in (("pickle-opz=3", "did you mean pickle-ops"), ("what=3", "--limit help"),
                           ("pickle-ops", "wants a number from 1 to"), ("pickle-ops=", "wants a number"),
                           ("pickle-ops=0", "wants a number"), ("pickle-ops=x", "wants a number"),
                           ("dimensions=65", "from 1 to 64"), ("\x1b[2J=1", "there is no limit"), ("", "help")):
            with self.subTest(arg):
                rc, out, err = run("ls", f, "--limit", arg)
                self.assertEqual((rc, out), (2, ""), err)
                self.assertIn(words, err)
                self.assertNotIn("\x1b", err)
        rc, out, err = run("ls", "--limit", "help")
        self.assertEqual((rc, err), (0, ""))
        self.assertRegex(out, r"pickle-ops +64M ")
        man = run("--man")[1].replace("\\-", "-")
        for name in limit_names():
            self.assertIn(name + "=", run("--completion")[1])
            self.assertRegex(man, r"(?m)^ +%s " % name)


if __name__ == "__main__":
    unittest.main()

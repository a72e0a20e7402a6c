#!/usr/bin/env python3
"""safetensors: random files are read as they were written, what is saved from them loads in torch, broken ones are
refused with the reason."""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import safetensors_cases

BIN = os.environ.get("QATSCOPE")
if not BIN:
    print("QATSCOPE is not set: no binary to test")
    sys.exit(77)
SEED = int(os.environ.get("QS_SEED", "20260612"))
COUNT = 60


def run(*args):
    p = subprocess.run([BIN, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


class Safetensors(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="qatscope-st-")
        with open(self.path("empty.json"), "w") as f:
            json.dump({"format": "qatscope-plan", "version": 1, "actions": []}, f)

    def tearDown(self):
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def read_and_save(self, newer):
        safetensors_cases.main_write(self.dir, SEED, COUNT, newer)
        with open(self.path("expected.json")) as f:
            expected = json.load(f)
        for case in expected:
            code, out, err = run("ls", case["file"], "--json", "--values")
            if not case["entries"]:
                continue  # nothing in it: whatever is said, it is said without a crash
            self.assertEqual(code, 0, (case["file"], err))
            got = json.loads(out)["entries"]
            for have, want in zip(got, case["entries"]):
                self.assertEqual({k: have.get(k) for k in want}, want, case["file"])
                self.assertNotIn("bad", have)
            self.assertEqual(len(got), len(case["entries"]))
            code, out, err = run("apply", self.path("empty.json"), case["file"], "-o",
                                 case["file"].replace(".safetensors", ".pt"))
            self.assertEqual(code, 0, (case["file"], err))
            code, out, err = run("verify", case["file"])
            self.assertEqual(code, 0, (case["file"], out, err))

    def compare(self, *command):
        p = subprocess.run([*command, os.path.join(HERE, "safetensors_cases.py"), "compare", self.dir],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
        self.assertEqual(p.returncode, 0, p.stderr.decode())
        print(p.stdout.decode().strip())

    def test_types_of_every_torch(self):
        print("seed %d (QS_SEED)" % SEED)
        self.read_and_save(newer=False)
        self.compare(sys.executable)

    def test_newer_types(self):
        self.read_and_save(newer=True)
        base = os.environ.get("TORCH_ROOTS", os.path.join(os.path.expanduser("~"), ".cache", "torch-roots"))
        if os.geteuid() != 0 or not os.path.isdir(os.path.join(base, "sid")):
            self.skipTest("torch 2.14 is not unpacked here (tests/oracle/torch-at sid --install)")
        self.compare(os.path.join(HERE, "torch-at"), "sid")

    def refused(self, header, data=b"", size=None, words=""):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        with open(self.path("bad.safetensors"), "wb") as f:
            f.write(struct.pack("<Q", len(text) if size is None else size) + text + data)
        code, out, err = run("ls", self.path("bad.safetensors"))
        self.assertEqual(code, 3, (header, out, err))
        self.assertIn(words, err, header)

    def test_broken_files(self):
        t = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        eight = bytes(8)
        self.refused({"a": t}, bytes(4), words="cut short")
        self.refused({"a": t}, bytes(12), words="described")
        self.refused({"a": dict(t, shape=[3])}, eight, words="does not fit")
        self.refused({"a": dict(t, shape=[1 << 62, 8])}, eight, words="shape")
        self.refused({"a": dict(t, shape=[-1])}, eight, words="whole number")
        self.refused({"a": dict(t, shape=[1.5])}, eight, words="whole number")
        self.refused({"a": dict(t, shape=2)}, eight, words="list of sizes")
        self.refused({"a": dict(t, dtype="F33")}, eight, words="nobody knows")
        self.refused({"a": dict(t, data_offsets=[8, 0])}, eight, words="offset")
        self.refused({"a": dict(t, data_offsets=[4, 12])}, bytes(12), words="does not begin")
        self.refused({"a": t, "b": t}, eight, words="does not begin")
        self.refused({"a": {"dtype": "F32", "shape": [2]}}, eight, words="data_offsets")
        self.refused({"a": t, "__metadata__": {"x": 1}}, eight, words="a string")
        self.refused(b'{"a":' + json.dumps(t).encode() + b',"a":' + json.dumps(t).encode() + b"}", eight, words="once")
        self.refused(b'{"a":' + json.dumps(t).encode() + b"} x", eight, words="nothing more")
        self.refused(b'{"a":' + json.dumps(t).encode(), eight, words="comma or the end")
        self.refused(b'{"\xff":' + json.dumps(t).encode() + b"}", eight, words="UTF-8")
        self.refused({"a": t}, eight, size=1 << 62)
        self.refused({"a": t}, eight, size=200)

    def test_every_truncation_is_refused(self):
        safetensors_cases.write(self.path("t.safetensors"), [("a", "F32", [2], bytes(8)), ("b", "I64", [], bytes(8))],
                                {"format": "pt"}, __import__("random").Random(1))
        with open(self.path("t.safetensors"), "rb") as f:
            data = f.read()
        for n in range(1, len(data), 7):
            with open(self.path("cut.safetensors"), "wb") as f:
                f.write(data[:n])
            self.assertEqual(run("ls", self.path("cut.safetensors"))[0], 3, n)

    def test_saved_from_torch_files(self):
        """Random checkpoints of the torch at hand: views, tied tensors, every type; what the format cannot hold is named."""
        r = subprocess.run([sys.executable, os.path.join(HERE, "read_cases.py"), self.dir, str(SEED), "60"],
                           capture_output=True)
        if r.returncode:
            self.skipTest("no torch")
        with open(self.path("expected.json")) as f:
            cases = json.load(f)["cases"]
        saved = refused = 0
        for case in cases:
            out = case["file"].replace(".pt", ".safetensors")
            code, _, err = run("apply", self.path("empty.json"), case["file"], "-o", out)
            misfits = [e["key"] for e in case["entries"]
                       if not e["tensor"] or e["kind"] != "dense" or e["dtype"] not in safetensors_cases.TORCH.values()]
            if misfits:
                refused += 1
                self.assertNotEqual(code, 0, (case["file"], misfits))
                self.assertIn("%d of the entries" % len(misfits), err)
                self.assertFalse(os.path.exists(out))
                continue
            if not case["entries"]:
                continue
            self.assertEqual(code, 0, (case["file"], err))
            got, metadata = safetensors_cases.read(out)
            self.assertEqual(metadata, {"format": "pt"})
            self.assertEqual(sorted(got), sorted(e["key"] for e in case["entries"]))
            for e in case["entries"]:
                dtype, shape, data = got[e["key"]]
                self.assertEqual((safetensors_cases.TORCH[dtype], shape, zlib.crc32(data)),
                                 (e["dtype"], e["shape"], e["crc32"]), (case["file"], e["key"]))
            saved += 1
        print("%d saved as safetensors, %d refused" % (saved, refused))
        self.assertGreater(saved, 10)
        self.assertGreater(refused, 5)

    def test_saved_again(self):
        safetensors_cases.main_write(self.dir, SEED + 1, 30, True)
        with open(self.path("expected.json")) as f:
            cases = json.load(f)
        for case in cases:
            if not case["entries"]:
                continue
            out = case["file"].replace(".safetensors", ".again.safetensors")
            code, _, err = run("apply", self.path("empty.json"), case["file"], "-o", out)
            self.assertEqual(code, 0, err)
            before, metadata = self.lenient_read(case["file"])
            after, kept = safetensors_cases.read(out)
            self.assertEqual(before, after)
            self.assertEqual(kept, metadata or {"format": "pt"})

    def test_saved_in_place(self):
        safetensors_cases.main_write(self.dir, SEED + 2, 6, False)
        with open(self.path("expected.json")) as f:
            case = next(c for c in json.load(f) if c["entries"])
        before, _ = self.lenient_read(case["file"])
        code, _, err = run("apply", self.path("empty.json"), case["file"], "--in-place")
        self.assertEqual(code, 0, err)
        self.assertEqual(safetensors_cases.read(case["file"])[0], before)
        self.assertEqual(self.lenient_read(case["file"] + ".bak")[0], before)

    def lenient_read(self, path):
        with open(path, "rb") as f:
            data = f.read()
        n = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:8 + n])
        metadata = header.pop("__metadata__", None)
        return {k: (t["dtype"], t["shape"], data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]])
                for k, t in header.items()}, metadata

    def test_metadata_is_kept_but_no_obstacle(self):
        safetensors_cases.write(self.path("m.safetensors"), [("a", "F32", [2], bytes(8))], {"format": "pt", "x": "y"},
                                __import__("random").Random(2))
        self.assertEqual(run("apply", self.path("empty.json"), self.path("m.safetensors"), "-o", self.path("m.pt"))[0], 0)
        try:
            import torch
        except ImportError:
            self.skipTest("no torch")
        got = torch.load(self.path("m.pt"), weights_only=True)
        self.assertEqual(got.__dict__["__metadata__"], {"format": "pt", "x": "y"})


if __name__ == "__main__":
    unittest.main()

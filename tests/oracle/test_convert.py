#!/usr/bin/env python3
"""qatscope convert and --cpu: real torch and (where installed) the real safetensors library read what is written."""
import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
BIN = os.environ.get("QATSCOPE")
if not BIN:
    print("QATSCOPE is not set: no binary to test")
    sys.exit(77)
try:
    import torch
except ImportError:
    print("no torch here")
    sys.exit(77)
import safetensors_cases
from deep_equal import deep_equal
from read_cases import bytes_of


def run(*args):
    p = subprocess.run([BIN, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


class Folder(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="qatscope-convert-")
        self.addCleanup(shutil.rmtree, self.dir)
        torch.manual_seed(5)

    def path(self, name):
        return os.path.join(self.dir, name)

    def convert(self, source, out, *args, code=0):
        rc, stdout, err = run("convert", self.path(source), "-o", self.path(out), *args)
        self.assertEqual(rc, code, err)
        return stdout + err

    def state(self):
        d = collections.OrderedDict(("layer.%d.weight" % i, torch.randn(i + 2, 3)) for i in range(6))
        d["layer.0.view"] = d["layer.0.weight"].t()
        d["layer.1.tied"] = d["layer.1.weight"]
        d["half"] = torch.randn(5).half()
        d["count"] = torch.tensor(7)
        d["none"] = torch.zeros(0, 4)
        return d

    def same(self, got, want, order=True):
        if order:
            self.assertEqual(list(got), list(want))
        self.assertEqual(sorted(got), sorted(want))
        for k, t in want.items():
            self.assertEqual((got[k].dtype, got[k].shape), (t.dtype, t.shape), k)
            self.assertTrue(torch.equal(got[k], t), k)


class Convert(Folder):
    def test_there_and_back(self):
        want = self.state()
        torch.save({"model": want, "epoch": 3}, self.path("a.pt"))
        said = self.convert("a.pt", "b.safetensors")
        self.assertIn("state dict alone", said)
        self.convert("b.safetensors", "c.pt")
        self.same(torch.load(self.path("c.pt"), weights_only=True), want, order=False)
        got, _ = safetensors_cases.read(self.path("b.safetensors"))
        self.assertEqual({k: v[2] for k, v in got.items()}, {k: bytes_of(t) for k, t in want.items()})

    def test_the_whole_file_stays(self):
        d = self.state()
        d._metadata = collections.OrderedDict([("", {"version": 1}), ("layer", {"version": 2})])
        whole = {"state_dict": d, "again": d, "views": [d["half"][1:3], d["half"]], "args": {"steps": 10, "n": None}}
        torch.save(whole, self.path("a.pt"))
        torch.save(whole, self.path("old.pt"), _use_new_zipfile_serialization=False)
        for source in ("a.pt", "old.pt"):
            self.convert(source, "b.pth")
            self.assertIsNone(deep_equal(torch.load(self.path(source)), torch.load(self.path("b.pth"))), source)
            self.assertEqual(torch.load(self.path("b.pth"), weights_only=True)["args"], whole["args"])

    def test_a_subset_of_the_file(self):
        torch.save({"model": {"a": torch.ones(2)}, "ema": {"a": torch.zeros(2)}}, self.path("a.pt"))
        for root, value in (("model", 1), ("ema", 0)):
            self.convert("a.pt", "b.safetensors", "--root", root)
            self.convert("b.safetensors", "b.pt")
            self.assertEqual(torch.load(self.path("b.pt"))["a"].tolist(), [value] * 2)

    def test_what_does_not_fit(self):
        torch.save({"w": torch.ones(3), "x._extra_state": {"a": 1}, "s": torch.eye(3).to_sparse()}, self.path("a.pt"))
        said = self.convert("a.pt", "b.safetensors", code=3)
        self.assertIn("does not fit: x._extra_state (no tensor)", said)
        self.assertIn("does not fit: s (not a dense tensor)", said)
        self.assertIn("2 of the entries", said)
        self.assertEqual(os.listdir(self.dir), ["a.pt"])
        self.assertIn("without 2", self.convert("a.pt", "b.safetensors", "--drop-misfits"))
        self.assertEqual(list(safetensors_cases.read(self.path("b.safetensors"))[0]), ["w"])
        self.assertEqual(json.loads(self.convert("a.pt", "c.safetensors", "--drop-misfits", "--json", "-q")),
                         {"output": self.path("c.safetensors"), "entries": 1, "drops": 2})


class Cpu(Folder):
    def setUp(self):
        super().setUp()
        tag = torch.serialization.location_tag
        torch.serialization.location_tag = lambda storage: "cuda:0"
        try:
            self.want = {"w": torch.randn(4), "q": torch.quantize_per_channel(torch.randn(2, 3), torch.ones(2),
                                                                             torch.zeros(2, dtype=torch.int64), 0, torch.qint8)}
            self.want["view"] = self.want["w"][1:3]
            torch.save({"model": self.want, "other": torch.ones(3)}, self.path("gpu.pt"))
            torch.save({"model": self.want, "other": torch.ones(3)}, self.path("old.pt"), _use_new_zipfile_serialization=False)
        finally:
            torch.serialization.location_tag = tag

    def loads_on_a_cpu(self, name):
        if torch.cuda.is_available():
            self.skipTest("this machine has the device")
        try:
            return torch.load(self.path(name))
        except RuntimeError as e:
            self.assertIn("CUDA", str(e))
            return None

    def test_locations_become_cpu(self):
        for source in ("gpu.pt", "old.pt"):
            self.assertIsNone(self.loads_on_a_cpu(source))
            self.convert(source, "kept.pt")
            self.assertIsNone(self.loads_on_a_cpu("kept.pt"))
            self.convert(source, "cpu.pt", "--cpu")
            self.assertIsNone(deep_equal(torch.load(self.path(source), map_location="cpu"), self.loads_on_a_cpu("cpu.pt")))

    def test_with_a_plan_and_in_place(self):
        with open(self.path("plan.json"), "w") as f:
            json.dump({"format": "qatscope-plan", "version": 1, "actions": [{"op": "rename", "pairs": [["w", "v"]]}]}, f)
        rc, _, err = run("apply", self.path("plan.json"), self.path("gpu.pt"), "--in-place", "--cpu")
        self.assertEqual(rc, 0, err)
        got = self.loads_on_a_cpu("gpu.pt")
        self.assertEqual(list(got["model"]), ["v", "q", "view"])
        self.assertTrue(torch.equal(got["model"]["v"], self.want["w"]))
        self.assertEqual(got["model"]["view"].storage().data_ptr(), got["model"]["v"].storage().data_ptr())


if __name__ == "__main__":
    unittest.main()

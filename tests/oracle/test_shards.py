#!/usr/bin/env python3
"""Sharded checkpoints opened as one: real torch and safetensors files behind an index; broken and missing pieces."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zlib

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
import random

import safetensors_cases
from read_cases import bytes_of


def run(*args):
    p = subprocess.run([BIN, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


class Shards(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="qatscope-shards-")
        torch.manual_seed(3)
        self.tensors = {"layer.%d.weight" % i: torch.randn(i + 1, 3) for i in range(7)}

    def tearDown(self):
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, kind, count=3):
        keys, weight_map = list(self.tensors), {}
        for i in range(count):
            mine = keys[i::count]
            name = "model-%05d-of-%05d.%s" % (i + 1, count, "safetensors" if kind == "safetensors" else "bin")
            if kind == "safetensors":
                rows = [(k, "F32", list(self.tensors[k].shape), bytes_of(self.tensors[k])) for k in mine]
                safetensors_cases.write(self.path(name), rows, {"format": "pt"}, random.Random(i))
            else:
                torch.save({k: self.tensors[k] for k in mine}, self.path(name),
                           _use_new_zipfile_serialization=kind != "legacy")
            weight_map.update({k: name for k in mine})
        return self.index({k: weight_map[k] for k in keys})

    def index(self, weight_map):
        with open(self.path("model.index.json"), "w") as f:
            json.dump({"metadata": {"total_size": 1}, "weight_map": weight_map}, f)
        return self.path("model.index.json")

    def entries(self, path):
        code, out, err = run("ls", path, "--json", "--values")
        self.assertEqual(code, 0, err)
        return json.loads(out)["entries"]

    def check(self, entries, missing=()):
        self.assertEqual([e["key"] for e in entries], list(self.tensors))
        for e in entries:
            if e["key"] in missing:
                self.assertFalse(e["tensor"], e)
                continue
            t = self.tensors[e["key"]]
            self.assertEqual((e["shape"], e["dtype"], e["crc32"]), (list(t.shape), "float32", zlib.crc32(bytes_of(t))), e)

    def test_each_kind(self):
        for kind in ("safetensors", "zip", "legacy"):
            path = self.write(kind)
            self.check(self.entries(path))
            with open(self.path("empty.json"), "w") as f:
                json.dump({"format": "qatscope-plan", "version": 1, "actions": []}, f)
            code, out, err = run("apply", self.path("empty.json"), path, "-o", self.path(kind + ".pt"))
            self.assertEqual(code, 0, err)
            got = torch.load(self.path(kind + ".pt"), weights_only=True)
            self.assertEqual(list(got), list(self.tensors))
            for k, t in self.tensors.items():
                self.assertTrue(torch.equal(got[k], t), (kind, k))
            self.assertEqual(run("verify", path)[0], 0)

    def test_a_folder(self):
        """As from_pretrained takes it: the index, else the one file with the well-known name."""
        os.rename(self.write("zip"), self.path("pytorch_model.bin.index.json"))
        self.check(self.entries(self.dir))
        os.remove(self.path("pytorch_model.bin.index.json"))
        self.assertEqual(run("ls", self.dir)[0], 3)
        torch.save(self.tensors, self.path("pytorch_model.bin"))
        self.check(self.entries(self.dir))

    def test_a_missing_piece(self):
        path = self.write("safetensors")
        os.remove(self.path("model-00002-of-00003.safetensors"))
        self.check(self.entries(path), missing=list(self.tensors)[1::3])
        self.assertIn("model-00002-of-00003.safetensors", run("ls", path)[1])

    def test_a_broken_piece(self):
        for kind, ext in (("safetensors", "safetensors"), ("zip", "bin"), ("legacy", "bin")):
            path = self.write(kind)
            with open(self.path("model-00003-of-00003." + ext), "wb") as f:
                f.write(b"<html>404</html>")
            self.check(self.entries(path), missing=list(self.tensors)[2::3])

    def test_a_key_that_is_not_there(self):
        path = self.write("zip")
        with open(path) as f:
            weight_map = json.load(f)["weight_map"]
        weight_map["extra.key"] = weight_map["layer.0.weight"]
        entries = self.entries(self.index(weight_map))
        self.assertFalse(entries[-1]["tensor"])

    def test_names_that_lead_elsewhere(self):
        self.write("zip")
        for name in ("../x.bin", "/etc/passwd", "a/b.bin", "..", "", ".", "a\\..\\b"):
            code, out, err = run("ls", self.index({"a": name}))
            self.assertEqual(code, 3, (name, out))
            self.assertIn("index", err, name)
        code, out, err = run("ls", self.index({"a": "model.index.json"}))  # itself
        self.assertEqual(code, 3, out)

    def test_other_json(self):
        for text in ('{"a": 1}', "[1]", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', '{"weight_map": {'):
            with open(self.path("x.json"), "w") as f:
                f.write(text)
            self.assertEqual(run("ls", self.path("x.json"))[0], 3, text)


if __name__ == "__main__":
    unittest.main()

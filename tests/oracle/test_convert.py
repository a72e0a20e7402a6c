#!/usr/bin/env python3
"""qatscope convert and --cpu: real torch and (where installed) the real safetensors library read what is written."""
import collections
import json
import os
import random
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

SEED = int(os.environ.get("SEED", "20260311"))


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


class Dropped(Folder):
    """Bytes that only dropped entries reached are not written."""

    def drop(self, what, *keys, empty=False):
        torch.save(what, self.path("a.pt"))
        with open(self.path("plan.json"), "w") as f:
            json.dump({"format": "qatscope-plan", "version": 1, "actions": [] if empty else [
                {"op": "drop", "scope": {"keys": list(keys)}}]}, f)
        rc, _, err = run("apply", self.path("plan.json"), self.path("a.pt"), "-o", self.path("b.pt"))
        self.assertEqual(rc, 0, err)
        self.assertEqual(run("verify", self.path("b.pt"))[0], 0)
        return torch.load(self.path("b.pt"))

    def test_views_of_a_large_storage(self):
        big = torch.randn(1000, 1000)
        model = {"big": big, "row": big[500, 3:9], "column": big[490:510, 7], "empty": big[600:600], "other": torch.ones(2)}
        whole = {"model": model, "row again": model["row"], "param": torch.nn.Parameter(big[495:497].t())}
        kept = self.drop(whole, empty=True)
        self.assertIsNone(deep_equal(torch.load(self.path("a.pt")), kept))
        got = self.drop(whole, "big")
        self.assertLess(os.path.getsize(self.path("b.pt")), 500000)
        self.assertEqual(list(got["model"]), ["row", "column", "empty", "other"])
        for k in got["model"]:
            self.assertTrue(torch.equal(got["model"][k], model[k]), k)
            self.assertEqual(got["model"][k].stride(), model[k].stride(), k)
        self.assertIs(got["row again"], got["model"]["row"])
        self.assertTrue(torch.equal(got["param"], whole["param"]) and got["param"].requires_grad)
        got["model"]["row"].fill_(7)  # still one memory
        self.assertEqual(float(got["model"]["column"][10]), 7.0)
        self.assertEqual(got["param"].storage().data_ptr(), got["model"]["row"].storage().data_ptr())

    def test_what_is_shared_with_the_rest_of_the_file(self):
        big = torch.randn(100000)
        got = self.drop({"model": {"big": big, "v": big[5:7]}, "storage": big.storage()}, "big")
        self.assertEqual(len(got["storage"]), 100000)
        self.assertEqual(got["model"]["v"].storage_offset(), 5)
        got = self.drop({"model": {"big": big, "v": big[5:7]}, "optimizer": [big]}, "big")
        self.assertTrue(torch.equal(got["optimizer"][0], big))
        self.assertEqual(got["model"]["v"].storage().data_ptr(), got["optimizer"][0].storage().data_ptr())

    def test_dead_storages(self):
        got = self.drop({"a": torch.randn(100000), "b": torch.ones(3)}, "a")
        self.assertEqual(list(got), ["b"])
        self.assertLess(os.path.getsize(self.path("b.pt")), 3000)

    def test_random_views(self):
        rng = random.Random(SEED)
        for case in range(40):
            base = torch.arange(rng.randint(20, 200)).to(rng.choice([torch.int64, torch.float32, torch.uint8, torch.float16]))
            model = {"base": base}
            for i in range(rng.randint(1, 5)):
                begin = rng.randint(0, len(base) - 1)
                v = base[begin:rng.randint(begin, len(base)):rng.randint(1, 3)]
                model["v%d" % i] = v[:len(v) // 2 * 2].reshape(-1, 2).t() if rng.random() < 0.4 and v.stride(0) == 1 else v
            got = self.drop(model, "base")
            used = [v for k, v in model.items() if k != "base" and v.numel()]
            for k, v in model.items():
                if k != "base":
                    self.assertTrue(torch.equal(got[k], v) and got[k].stride() == v.stride(), "seed %d case %d %s" % (SEED, case, k))
            ends = [v.storage_offset() + sum((n - 1) * s for n, s in zip(v.shape, v.stride())) + 1 for v in used]
            if len(used) == len(model) - 1:
                want = max(ends) - min(v.storage_offset() for v in used)
                self.assertEqual(len(got["v0"].storage()), want, "seed %d case %d" % (SEED, case))


class Shards(Folder):
    def setUp(self):
        super().setUp()
        self.want = self.state()
        torch.save(self.want, self.path("a.pt"))

    def files(self):
        return sorted(os.listdir(self.dir))

    def contents(self):
        found = {}
        for name in self.files():
            with open(self.path(name), "rb") as f:
                found[name] = f.read()
        return found

    def read(self, stem, sizes):
        """What the index says, held against the files, each read by an independent reader (and the library if it is here)."""
        with open(self.path(stem + ".safetensors.index.json")) as f:
            index = json.load(f)
        self.assertEqual(index["metadata"], {"total_size": sum(t.numel() * t.element_size() for t in self.want.values())})
        self.assertEqual(list(index["weight_map"]), list(self.want))
        got, files = {}, list(dict.fromkeys(index["weight_map"].values()))
        self.assertEqual(files, ["%s-%05d-of-%05d.safetensors" % (stem, i + 1, sizes) for i in range(sizes)])
        for name in files:
            tensors, metadata = safetensors_cases.read(self.path(name))
            self.assertEqual(metadata, {"format": "pt"})
            self.assertEqual(sorted(tensors), sorted(k for k, v in index["weight_map"].items() if v == name))
            got.update({k: v[2] for k, v in tensors.items()})
        self.assertEqual(got, {k: bytes_of(t) for k, t in self.want.items()})
        return files

    def test_sizes(self):
        bytes_in_all = sum(t.numel() * t.element_size() for t in self.want.values())
        for size, stem in ((1, "each"), (100, "some"), (bytes_in_all - 1, "two"), (bytes_in_all, "one"), ("5GB", "big")):
            self.convert("a.pt", stem + ".safetensors.index.json", "--shard-size", size)
            # as transformers splits: in order, a tensor that is too large alone
            count, filled = 0, 0
            for t in self.want.values():
                n, limit = t.numel() * t.element_size(), size if size != "5GB" else 5 * 10 ** 9
                fits = count and filled + n <= limit
                count, filled = (count, filled + n) if fits else (count + 1, n)
            files = self.read(stem, count)
            self.assertEqual([f for f in self.files() if f.startswith(stem)], [*files, stem + ".safetensors.index.json"])
            self.convert(stem + ".safetensors.index.json", stem + ".pt", "--cpu")
            self.same(torch.load(self.path(stem + ".pt"), weights_only=True), self.want)

    def test_nothing_is_replaced_by_halves(self):
        self.convert("a.pt", "m.safetensors.index.json", "--shard-size", "100")
        before = self.contents()
        # a set in the way of itself
        said = self.convert("m.safetensors.index.json", "m.safetensors.index.json", "--in-place", code=3)
        self.assertIn("not saved in place", said)
        os.link(self.path("m-00001-of-%05d.safetensors" % (len(before) - 2)), self.path("n-00001-of-00001.safetensors"))
        self.assertIn("is a file that was opened", self.convert("m.safetensors.index.json", "n.safetensors.index.json", code=3))
        os.unlink(self.path("n-00001-of-00001.safetensors"))
        os.mkdir(self.path("n-00001-of-00001.safetensors"))
        self.assertIn("regular file", self.convert("a.pt", "n.safetensors.index.json", code=3))
        os.rmdir(self.path("n-00001-of-00001.safetensors"))
        self.assertEqual(self.contents(), before)
        # another set of the same name takes its place
        self.want = {k: t + 1 if t.numel() else t for k, t in self.want.items()}
        torch.save(self.want, self.path("a.pt"))
        os.chmod(self.path("m-00001-of-%05d.safetensors" % (len(before) - 2)), 0o640)
        self.convert("a.pt", "m.safetensors.index.json", "--shard-size", "100")
        self.read("m", len(before) - 2)
        self.assertEqual(self.files(), sorted(before))
        self.assertEqual(os.stat(self.path("m-00001-of-%05d.safetensors" % (len(before) - 2))).st_mode & 0o777, 0o640)

    def test_sizes_that_are_none(self):
        for size in ("", "x", "5XB", "-1", "0", "1e30"):
            self.assertIn("--shard-size", self.convert("a.pt", "m.safetensors.index.json", "--shard-size=" + size, code=2))
        self.convert("a.pt", "m.safetensors.index.json", "--shard-size", "0.0005MB")
        self.assertIn("save as NAME.pt", self.convert("a.pt", "m.json", code=3))


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

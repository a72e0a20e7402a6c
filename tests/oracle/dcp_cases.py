"""Writes random distributed checkpoints with the torch at hand (2.6 or newer), and what torch reads back from them.

usage: dcp_cases.py DIR SEED COUNT      (run under torch by test_dcp.py)

DIR/N are the checkpoints; DIR/expected.json is a list of {dir, how, entries: [{key, shape, dtype, crc32}], objects}.
Three ways of writing: torch.distributed.checkpoint.save in one process; the same of sharded DTensors in three; and
torch's own metadata classes filled by hand, with every tensor cut into random boxes.
"""
import io
import json
import os
import pickle
import random
import sys
import warnings
import zlib

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint import metadata as md
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from read_cases import NEWER, PLAIN, bytes_of, random_tensor

warnings.filterwarnings("ignore")
NAMES = [n for n in PLAIN + NEWER if hasattr(torch, n) and "complex32" not in n]


def random_state(rng):
    model = {}
    for i in range(rng.randint(1, 8)):
        t = random_tensor(rng, NAMES)
        model["layer.%d.%s" % (i, rng.choice(["weight", "bias", "a b"]))] = t.t() if t.dim() == 2 and rng.random() < 0.3 else t
    state = {"model": model}
    if rng.random() < 0.7:
        state["epoch"] = rng.randint(0, 99)
        state["args"] = {"lr": 0.5, "names": ["a", "b"], "none": None}
    if rng.random() < 0.5:
        state["optim"] = {"state": {"0": {"exp_avg": torch.randn(2, 2), "step": torch.tensor(3.0)}},
                          "param_groups": [{"lr": 0.1, "params": ["0"]}]}
    return state


def cut(rng, lo, hi):
    """[lo, hi) in all dimensions as random boxes that make it up."""
    wide = [d for d in range(len(lo)) if hi[d] - lo[d] > 1]
    if not wide or rng.random() < 0.3:
        return [(lo, hi)]
    d = rng.choice(wide)
    at = rng.randint(lo[d] + 1, hi[d] - 1)
    return cut(rng, lo, hi[:d] + [at] + hi[d + 1:]) + cut(rng, lo[:d] + [at] + lo[d + 1:], hi)


def write_boxes(rng, path, model):
    os.makedirs(path)
    files = [io.BytesIO() for _ in range(rng.randint(1, 4))]
    what, where = {}, {}
    for key, t in model.items():
        boxes = cut(rng, [0] * t.dim(), list(t.shape))
        rng.shuffle(boxes)
        chunks = []
        for n, (lo, hi) in enumerate(boxes):
            k = rng.randrange(len(files))
            part = t[tuple(slice(a, b) for a, b in zip(lo, hi))].clone()
            if part.dim() > 1 and rng.random() < 0.4:  # as torch keeps a transposed tensor
                part = part.transpose(0, 1).contiguous().transpose(0, 1)
            start = files[k].tell()
            one = io.BytesIO()
            torch.save(part, one)
            files[k].write(one.getvalue())
            chunk = md.ChunkStorageMetadata(torch.Size(lo), torch.Size([b - a for a, b in zip(lo, hi)]))
            chunks.append(chunk)
            info = filesystem._StorageInfo("__%d_0.distcp" % k, start, files[k].tell() - start)
            where[md.MetadataIndex(key, chunk.offsets, n)] = info
        what[key] = md.TensorStorageMetadata(md.TensorProperties(dtype=t.dtype), t.shape, chunks)
    for k, f in enumerate(files):
        with open(os.path.join(path, "__%d_0.distcp" % k), "wb") as out:
            out.write(f.getvalue())
    with open(os.path.join(path, ".metadata"), "wb") as f:
        pickle.dump(md.Metadata(what, {}, where), f)


def worker(rank, world, seed, path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method="file://" + path + ".init", rank=rank, world_size=world)
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh
    mesh = init_device_mesh("cpu", (world,))
    rng = random.Random(seed)
    torch.manual_seed(seed)
    model = {}
    for i in range(6):
        t = torch.randn([rng.randint(1, 9) for _ in range(rng.randint(1, 3))])
        how = rng.choice([Shard(0), Shard(t.dim() - 1), Replicate()])
        model["layer.%d.weight" % i] = distribute_tensor(t, mesh, [how])
    dcp.save({"model": model, "step": 7}, checkpoint_id=path)
    dist.destroy_process_group()


def write(rng, i, count, path):
    if i % 3 == 0:
        state = random_state(rng)
        dcp.save(state, checkpoint_id=path)
        return "one process"
    if i == 1 and count > 10:  # starting them takes a while
        torch.multiprocessing.start_processes(worker, args=(3, rng.randrange(1 << 20), path), nprocs=3, start_method="fork")
        return "three processes"
    write_boxes(rng, path, random_state(rng)["model"])
    return "boxes"


def flatten(value, prefix, out, objects):
    for k, v in value.items() if isinstance(value, dict) else enumerate(value):
        name = "%s.%s" % (prefix, k) if prefix else str(k)
        if torch.is_tensor(v):
            out.append({"key": name, "shape": list(v.shape), "dtype": str(v.dtype)[6:], "crc32": zlib.crc32(bytes_of(v))})
        elif isinstance(v, (dict, list)):
            flatten(v, name, out, objects)
        else:
            objects[name] = repr(v)


def main():
    out, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    cases = []
    for i in range(count):
        rng = random.Random("%d/%d" % (seed, i))
        torch.manual_seed(rng.randrange(1 << 30))
        path = os.path.join(out, str(i))
        how = write(rng, i, count, path)
        whole = os.path.join(out, "whole.pt")
        dcp_to_torch_save(path, whole)  # torch's own way to put it together
        entries, objects = [], {}
        flatten(torch.load(whole, weights_only=False), "", entries, objects)
        cases.append({"dir": path, "how": how, "entries": entries, "objects": objects})
    with open(os.path.join(out, "expected.json"), "w") as f:
        json.dump({"torch": torch.__version__, "cases": cases}, f)


if __name__ == "__main__":
    main()

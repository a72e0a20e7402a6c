"""Writes random TorchScript archives with the torch at hand, and the state dict torch.jit.load gives of them.

usage: torchscript_cases.py DIR SEED COUNT      N.pt and expected.json
"""
import json
import os
import random
import sys
import warnings
import zlib

import torch
import torch.nn as nn

from read_cases import VERSION, bytes_of

warnings.filterwarnings("ignore")


class Leaf(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n, 2))
        self.nothing = None
        self.plain = torch.randn(3)  # an attribute: neither parameter nor buffer
        self.register_buffer("stat", torch.randn(n))
        self.register_buffer("hidden", torch.ones(2), persistent=False)
        self.names = ["a", "b"]
        self.k = 3

    def forward(self, x):
        return x + self.stat.sum() + self.weight.sum()


class Node(nn.Module):
    def __init__(self, rng, depth):
        super().__init__()
        self.first = Leaf(rng.randint(1, 4))
        self.conv = nn.Conv2d(2, 2, 1, bias=rng.random() < 0.5)
        self.seq = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.BatchNorm1d(2))
        self.list = nn.ModuleList([nn.Linear(2, 1) for _ in range(rng.randint(0, 3))])
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.down = Node(rng, depth - 1) if depth else nn.Identity()
        self.late = nn.Parameter(torch.randn(2).half())
        self.tied = self.first if rng.random() < 0.4 else Leaf(2)

    def forward(self, x):
        return self.down(self.first(x)) * self.scale


def main():
    out, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    cases = []
    for i in range(count):
        rng = random.Random("%d/%d" % (seed, i))
        torch.manual_seed(rng.randrange(1 << 30))
        net = Node(rng, rng.randint(0, 3)).eval()
        old = VERSION < (1, 8)  # Debian's 1.7 cannot script under its Python 3.9
        made = torch.jit.script(net) if rng.random() < 0.6 and not old else torch.jit.trace(net, torch.randn(2))
        if rng.random() < 0.3 and not old:
            made = torch.jit.freeze(torch.jit.script(net), preserved_attrs=["scale"])
        path = os.path.join(out, "%d.pt" % i)
        made.save(path)
        sd = torch.jit.load(path).state_dict()
        cases.append({"file": path, "entries": [{"key": k, "shape": list(v.shape), "dtype": str(v.dtype)[6:],
                                                 "crc32": zlib.crc32(bytes_of(v))} for k, v in sd.items()]})
    with open(os.path.join(out, "expected.json"), "w") as f:
        json.dump({"torch": torch.__version__, "cases": cases}, f)


if __name__ == "__main__":
    main()

"""Load errors of the torch at hand, in logs, and what they say.

usage: log_cases.py DIR SEED COUNT

DIR/N.log is a training log, DIR/N.want what is to be read from it: lines "model NAME", "missing KEY", "unexpected KEY",
"mismatch KEY CHECKPOINT-SHAPE MODEL-SHAPE" (shapes as 3x4, "[]" for a scalar), and "printed N", the missing keys with
repetitions.
"""
import collections
import os
import random
import re
import sys
import traceback

import torch
import torch.nn as nn

VERSION = tuple(int(x) for x in torch.__version__.split("+")[0].split("a")[0].split(".")[:2])


class Block(nn.Module):
    def __init__(self, rng, depth):
        super().__init__()
        c = rng.randint(1, 4)
        self.conv = nn.Conv2d(c, c, 1, bias=rng.random() < 0.5)
        self.bn = nn.BatchNorm2d(c)
        for i in range(rng.randint(0, 2) if depth else 0):
            self.add_module(rng.choice(["cv%d", "m_%d", "layer-%d"]) % i, Block(rng, depth - 1))


def qat(net):
    q = torch.ao.quantization if VERSION >= (1, 11) else torch.quantization
    net = q.QuantWrapper(net)
    net.qconfig = q.get_default_qat_qconfig("fbgemm")
    net.train()
    q.prepare_qat(net, inplace=True)
    return net


def damage(rng, sd):
    out = collections.OrderedDict()
    for k, v in sd.items():
        chance = rng.random()
        if chance < 0.15:
            continue
        if chance < 0.25:
            k = rng.choice(["module.", "model.", "x_"]) + k
        elif chance < 0.35 and v.dim():
            v = torch.zeros([d + 1 for d in v.shape], dtype=v.dtype)
        out[k] = v
    out._metadata = getattr(sd, "_metadata", None)
    return out


def shape(s):
    return "x".join(str(d) for d in s) or "[]"


def case(rng):
    """The text of a failure, and its parts taken from where torch keeps them."""
    torch.manual_seed(rng.randrange(1 << 30))
    net = Block(rng, 3)
    sd = net.state_dict()
    if rng.random() < 0.4:
        net = qat(Block(rng, 2))
    sd = damage(rng, net.state_dict() if rng.random() < 0.5 else sd)
    parts = {}

    def spy(module, errors):
        missing, unexpected, errs = [], [], []
        metadata = getattr(sd, "_metadata", None)

        def load(m, prefix=""):
            local = {} if metadata is None else metadata.get(prefix[:-1], {})
            m._load_from_state_dict(sd.copy(), prefix, local, True, missing, unexpected, errs)
            for name, child in m._modules.items():
                if child is not None:
                    load(child, prefix + name + ".")
        load(module)
        return missing, unexpected, errs

    try:
        net.load_state_dict(sd)
        return None
    except RuntimeError:
        text = traceback.format_exc()
    parts = spy(net, None)
    return type(net).__name__, parts, text


def log_of(rng, text):
    head = "".join("epoch %d: loss %.4f, saved to runs/%d\n" % (i, rng.random(), i) for i in range(rng.randint(0, 40)))
    tail = rng.choice(["", "\n", "Killed\n", "wandb: ended \"run\"\nE  note, that 'x' is...\n"])
    return head + text + tail


def main():
    out, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    made = 0
    for i in range(count * 3):
        rng = random.Random("%d/%d/%s" % (seed, i, VERSION))
        found = case(rng)
        if not found or made == count:
            continue
        model, (missing, unexpected, errors), text = found
        # torch says unexpected keys relative to the whole dict when it recurses; the text is the judge of which
        want = ["model " + model, "printed %d" % len(missing)]
        want += ["missing " + k for k in collections.OrderedDict.fromkeys(missing)]
        listed = re.search(r"Unexpected key\(s\) in state_dict: (.*)\. ?$", text, re.M)
        want += ["unexpected " + k for k in re.findall(r'"([^"]*)"', listed.group(1))] if listed else []
        for e in errors:
            m = re.match(r"size mismatch for (\S+): .*?Size\(\[([^]]*)\]\).*Size\(\[([^]]*)\]\)", e)
            if m:
                a, b = (shape([int(d) for d in m.group(g).split(",") if d.strip()]) for g in (2, 3))
                want.append("mismatch %s %s %s" % (m.group(1), a, b))
        with open(os.path.join(out, "%d.log" % made), "w") as f:
            f.write(log_of(rng, text))
        with open(os.path.join(out, "%d.want" % made), "w") as f:
            f.write("\n".join(want) + "\n")
        made += 1
    print("torch %s: %d failing loads" % (torch.__version__, made))


if __name__ == "__main__":
    main()

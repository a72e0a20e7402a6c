#!/usr/bin/env python3
"""Real state dicts, corrupted at random and up to four times over, are repaired back to a strict load by `qatscope fix`, and
no tensor ends up under a wrong name: every one has values of its own. CORRUPTIONS=200 makes as many, SEED=N others."""
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
import warnings

QATSCOPE = os.environ.get("QATSCOPE", "")
COUNT = int(os.environ.get("CORRUPTIONS", "40"))
SEED = int(os.environ.get("SEED", "1"))

try:
    import torch
    import torch.ao.quantization as tq
    from torch import nn
except ImportError:
    print("torch is not installed")
    sys.exit(77)
if not QATSCOPE or not os.path.exists(QATSCOPE):
    print("no qatscope binary: set QATSCOPE")
    sys.exit(77)
warnings.filterwarnings("ignore")
VERSION = ".".join(torch.__version__.split(".")[:2])  # the judge's


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        self.conv2, self.bn2 = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(x + self.bn2(self.conv2(self.act(self.bn1(self.conv1(x))))))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.layer1 = nn.Sequential(*[Block(8) for _ in range(3)])
        self.down = nn.Conv2d(8, 16, 1)
        self.layer2 = nn.Sequential(*[Block(16) for _ in range(4)])
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(self.layer2(self.down(self.layer1(self.stem(x)))).mean((2, 3)))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 5)
        self.head = nn.Linear(16, 20)


def make_net(rng):
    kind = rng.choice(["residual", "residual QAT", "transformer"])
    net = (Transformer if kind == "transformer" else Residual)()
    if kind == "residual QAT":
        net.train()
        net.qconfig = tq.get_default_qat_qconfig(rng.choice(["fbgemm", "qnnpack"]))
        net = tq.prepare_qat(net)
        net(torch.randn(2, 3, 12, 12))
    return kind, net


def with_own_values(state):
    """The same keys and shapes; every tensor of numbers has values no other has."""
    out = collections.OrderedDict()
    for n, (key, value) in enumerate(state.items()):
        if value.is_floating_point() and value.numel() and not key.endswith(("scale", "eps", "min_val", "max_val")):
            value = value + torch.randn_like(value) * 0.01
        elif key.endswith("scale"):
            value = value * (1 + 0.001 * n)
        out[key] = value.clone()
    out._metadata = state._metadata
    return out


class Corrupted:
    """A state dict on its way down, and the name every entry had (None: it never had one)."""

    def __init__(self, state):
        self.state, self.was, self.log = state, list(state), []

    def rename(self, f):
        out = collections.OrderedDict((f(k), v) for k, v in self.state.items())
        assert len(out) == len(self.state)
        if hasattr(self.state, "_metadata"):
            out._metadata = collections.OrderedDict((f(k + ".")[:-1] if k else k, v) for k, v in self.state._metadata.items())
        self.state = out

    def keep(self, wanted):
        pairs = [(k, w) for k, w in zip(self.state, self.was) if wanted(k)]
        out = collections.OrderedDict((k, self.state[k]) for k, _ in pairs)
        if hasattr(self.state, "_metadata"):
            out._metadata = self.state._metadata
        self.state, self.was = out, [w for _, w in pairs]

    def modules(self):
        return sorted({".".join(k.split(".")[:i]) for k in self.state for i in range(1, k.count(".") + 1)})


def prefix(c, rng):
    p = rng.choice(["module.", "_orig_mod.", "model.", "module._orig_mod.", "net.", "ema.module.", "backbone."])
    c.rename(lambda k: p + k)
    return p


def infix(c, rng):
    m, w = rng.choice(c.modules() or [""]), rng.choice(["module", "wrapped", "_fsdp_wrapped_module", "inner"])
    if m:
        c.rename(lambda k: m + "." + w + k[len(m):] if k.startswith(m + ".") else k)
    return m + "." + w


def renumber(c, rng):
    lists = sorted({k[:k.index("." + p + ".")] for k in c.state for p in k.split(".") if p.isdigit() and "." + p + "." in k})
    if not lists:
        return None
    m, step, start = rng.choice(lists), rng.choice([1, 2]), rng.choice([0, 1, 2])

    def f(k):
        parts = k[len(m) + 1:].split(".")
        if not k.startswith(m + ".") or not parts[0].isdigit():
            return k
        return ".".join([m, str(int(parts[0]) * step + start)] + parts[1:])
    c.rename(f)
    return "%s.N -> N*%d+%d" % (m, step, start)


def drop_quantizers(c, rng):
    def is_quant(k):
        return "fake_quant" in k or "activation_post_process" in k
    below = rng.choice([""] + sorted({".".join(k.split(".")[:2]) + "." for k in c.state if is_quant(k) and k.count(".") > 1}))
    c.keep(lambda k: not (is_quant(k) and k.startswith(below)))
    return below


def lose_metadata(c, rng):
    c.state = collections.OrderedDict(c.state.items())
    return ""


def underscores(c, rng):
    if len({k.replace(".", "_") for k in c.state}) == len(c.state):
        c.rename(lambda k: k.replace(".", "_"))
    return ""


def rename_module(c, rng):
    tops = sorted({k.split(".")[0] for k in c.state if "." in k})
    if not tops:
        return None
    old, new = rng.choice(tops), rng.choice(["enc", "body", "features", "trunk"])
    if not any(k.startswith(new + ".") for k in c.state):
        c.rename(lambda k: new + k[len(old):] if k.startswith(old + ".") else k)
    return old + " -> " + new


def drop_counters(c, rng):
    c.keep(lambda k: not k.endswith("num_batches_tracked"))
    return ""


def profile(c, rng):
    if "total_ops" not in c.state:
        c.was.append(None)
    c.state["total_ops"] = torch.zeros(1, dtype=torch.float64)
    return ""


KINDS = [prefix, infix, renumber, drop_quantizers, lose_metadata, underscores, rename_module, drop_counters, profile]


def same(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(torch.nan_to_num(a.double()), torch.nan_to_num(b.double()))


def case(folder, seed):
    """None when repaired, else (how it failed, is that a wrong repair, ...)."""
    rng = random.Random(seed)
    random.seed(seed)
    torch.manual_seed(seed)
    kind, net = make_net(rng)
    target = net.state_dict()
    source = with_own_values(target)
    c = Corrupted(source)
    for _ in range(rng.randint(1, 4)):
        how = rng.choice(KINDS)
        c.log.append("%s %s" % (how.__name__, how(c, rng)))
    a, b, out = (os.path.join(folder, n) for n in ("a.pt", "b.pt", "out.pt"))
    torch.save(c.state, a)
    torch.save(target, b)
    done = subprocess.run([QATSCOPE, "fix", a, b, "-o", out, "--force", "--json", "--torch", VERSION], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    assert done.returncode in (0, 1), done
    report = json.loads(done.stdout)
    got = torch.load(out)
    os.unlink(out)
    what = "seed %d, %s: %s; %s" % (seed, kind, ", ".join(c.log), report["diagnosis"])
    present = {w for w in c.was if w}
    wrong = [k for k in got if k in present and not same(got[k], source[k])]
    if wrong:
        return "WRONG %s (%d)" % (wrong[0], len(wrong)), True, what
    try:
        net.load_state_dict(got, strict=True)
    except RuntimeError as e:
        return "does not load: " + str(e)[:120].replace("\n", " "), False, what
    return None


def by_values(folder, seed):
    """Names that tell nothing, and B of the same values: those decide, but for two tensors that are equal."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    net = Residual()
    target = net.state_dict()
    for v in target.values():
        if v.is_floating_point():
            v.copy_(torch.randn_like(v))
    twins = ["layer2.1.bn1.bias", "layer2.2.bn2.bias"]
    target[twins[0]].copy_(target[twins[1]])
    keys = [k for k in target if not k.endswith("num_batches_tracked")]
    names = ["tensor%03d" % i for i in range(len(keys))]
    rng.shuffle(names)
    source = collections.OrderedDict(sorted((n, target[k].clone()) for n, k in zip(names, keys)))
    a, b, plan = (os.path.join(folder, n) for n in ("va.pt", "vb.pt", "vp.json"))
    torch.save(source, a)
    torch.save(target, b)
    done = subprocess.run([QATSCOPE, "fix", a, b, "-n", "--json", "--plan-out", plan], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    report = json.loads(done.stdout)
    with open(plan) as f:
        pairs = [p for x in json.load(f)["actions"] if x["op"] == "rename" for p in x["pairs"]]
    assert len(pairs) == len(keys) - 2 and report["after"]["unexpected"] == 2, (len(pairs), len(keys), report)
    wrong = [p for p in pairs if keys[names.index(p[0])] != p[1] or p[1] in twins]
    assert not wrong, wrong


def main():
    failed = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for i in range(5):
            by_values(folder, SEED * 1000 + i)
        for i in range(COUNT):
            problem = case(folder, SEED * 100000 + i)
            if problem:
                failed += 1
                wrong += problem[1]
                print("%s\n    %s" % (problem[0], problem[2]))
    print("seeds from %d: %d of %d repaired, %d wrongly" % (SEED * 100000, COUNT - failed, COUNT, wrong))
    assert wrong == 0, "a tensor under a wrong name"
    assert (COUNT - failed) * 100 >= COUNT * 95, "less than 95 % repaired"


if __name__ == "__main__":
    sys.exit(main())

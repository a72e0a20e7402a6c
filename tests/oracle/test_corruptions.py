#!/usr/bin/env python3
"""Real state dicts, corrupted at random and up to four times over, are repaired back to a strict load by `qatscope fix`, and
no tensor ends up under a wrong name: every one has values of its own. CORRUPTIONS=N makes as many, SEED=N others."""
import collections
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import warnings

QATSCOPE = os.environ.get("QATSCOPE", "")
COUNT = int(os.environ.get("CORRUPTIONS", "200"))
SEED = int(os.environ.get("SEED", "1"))

try:
    import torch
except ImportError:
    print("torch is not installed")
    sys.exit(77)
if not QATSCOPE or not os.path.exists(QATSCOPE):
    print("no qatscope binary: set QATSCOPE")
    sys.exit(77)
warnings.filterwarnings("ignore")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import corruption_cases as cases  # noqa: E402

VERSION = ".".join(torch.__version__.split(".")[:2])  # the judge's


def fix(folder, source, target, *args):
    """The exit code, the report, and what was saved: what was given, if nothing was."""
    a, b, out = (os.path.join(folder, n) for n in ("a.pt", "b.pt", "out.pt"))
    torch.save(source, a)
    torch.save(target, b)
    done = subprocess.run([QATSCOPE, "fix", a, b, "-o", out, "--json", "--torch", VERSION, *args], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)
    assert done.returncode in (0, 1), done
    report = json.loads(done.stdout)
    got = torch.load(out if report["saved"] else a)
    if report["saved"]:
        os.unlink(out)
    return done.returncode, report, got


def same(a, b):
    if a.dim() != b.dim() and a.numel() == b.numel() == 1:
        a = a.reshape(b.shape)
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(torch.nan_to_num(a.double()), torch.nan_to_num(b.double()))


def tells(key, value):
    """Has no other tensor the same values?"""
    return value.is_floating_point() and value.numel() > 3 and not key.endswith(("scale", "zero_point", "eps", "min_val", "max_val"))


def wrong_names(got, target, c):
    """Keys of the model that hold another tensor of the file, which the repair put there."""
    origin = collections.defaultdict(list)
    for was, (name, value) in zip(c.was, c.state.items()):
        if tells(name, value):
            origin[tuple(value.shape), float(value.double().sum())].append((was, name))
    wrong = []
    for key, value in got.items():
        if key in target and tells(key, value):
            hits = origin[tuple(value.shape), float(value.double().sum())]
            if hits and not any(key in (was, name) for was, name in hits):
                wrong.append(key)
    return wrong


def case(folder, seed):
    """None when repaired, else (how it failed, is that a wrong repair, ...)."""
    rng = random.Random(seed)
    random.seed(seed)
    torch.manual_seed(seed)
    kind = rng.choice(sorted(cases.NETS))
    net = cases.NETS[kind](rng)
    target = net.state_dict()
    c = cases.Corrupted(cases.with_own_values(target))
    for _ in range(rng.randint(1, 4)):
        how = rng.choice(cases.KINDS)
        c.log.append("%s %s" % (how.__name__, how(c, rng)))
    if not any(c.was):
        return None
    code, report, got = fix(folder, c.state, target, "--force")
    what = "seed %d, %s: %s; %s" % (seed, kind, ", ".join(c.log), report["diagnosis"])
    wrong = wrong_names(got, target, c)
    if wrong:
        return "WRONG %s (%d)" % (wrong[0], len(wrong)), True, what
    try:
        net.load_state_dict(got, strict=True)
    except RuntimeError as e:
        if code == 0:
            return "said to load, and does not: " + str(e)[:120].replace("\n", " "), True, what
        return ("does not load: " + str(e)[:120].replace("\n", " "), False, what) if c.whole else None
    for was, value in zip(c.was, c.state.values()):
        if was and not same(value, got[was]) and value.shape == got[was].shape:
            return "WRONG and loads: " + was, True, what
    return None


def by_values(folder, seed):
    """Names that tell nothing, and B of the same values: those decide, but for two tensors that are equal."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    target = cases.Residual().state_dict()
    for v in target.values():
        if v.is_floating_point():
            v.copy_(torch.randn_like(v))
    twins = ["layer2.1.bn1.bias", "layer2.2.bn2.bias"]
    target[twins[0]].copy_(target[twins[1]])
    keys = [k for k in target if not k.endswith("num_batches_tracked")]
    names = ["tensor%03d" % i for i in range(len(keys))]
    rng.shuffle(names)
    source = collections.OrderedDict(sorted((n, target[k].clone()) for n, k in zip(names, keys)))
    plan = os.path.join(folder, "plan.json")
    _, report, _ = fix(folder, source, target, "-n", "--plan-out", plan)
    with open(plan) as f:
        pairs = [p for x in json.load(f)["actions"] if x["op"] == "rename" for p in x["pairs"]]
    assert len(pairs) == len(keys) - 2 and report["after"]["unexpected"] == 2, (len(pairs), len(keys), report)
    wrong = [p for p in pairs if keys[names.index(p[0])] != p[1] or p[1] in twins]
    assert not wrong, wrong


def copies(folder, seed):
    """The model twice: which is meant, no name tells. Asked for one, or with its values in B, fix takes that, and all of it."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    kind = rng.choice(sorted(cases.NETS))
    target = cases.NETS[kind](rng).state_dict()
    one, other = cases.with_own_values(target), cases.with_own_values(target)
    names = rng.choice([("model.", "ema."), ("student.", "teacher."), ("module.encoder_q.", "module.encoder_k."),
                        ("online_network.", "target_network.")])
    both = collections.OrderedDict([(names[0] + k, v) for k, v in one.items()] + [(names[1] + k, v) for k, v in other.items()])
    what = "seed %d, %s, %s" % (seed, kind, names)
    code, report, _ = fix(folder, both, target)
    assert code == 1 and report["renames"] == report["drops"] == report["initialises"] == 0, (what, report)
    assert report["causes"][0]["id"] == "several-copies" and all(n in report["diagnosis"] for n in names), (what, report)
    code, report, got = fix(folder, both, target, "--copy", names[1])
    assert not report["before"]["loads"] and report["before"]["entries"] == len(both) == report["before"]["unexpected"], report
    assert code == 0 and set(got) == set(target) and all(same(got[k], other[k]) for k in target), (what, report)
    # what is alike in both copies tells nothing; weights do
    code, report, got = fix(folder, both, one, "--force")
    weights = [k for k in target if tells(k, target[k])]
    assert all(k in got and same(got[k], one[k]) for k in weights), (what, report)


def other_projects(folder, seed):
    """What is only likely is left to a person, who may ask for it; then place and shape find all of it here."""
    torch.manual_seed(seed)
    for kind, rules in sorted(cases.OTHER_PROJECTS.items()):
        target = cases.NETS[kind](random.Random(seed)).state_dict()
        c = cases.Corrupted(cases.with_own_values(target))
        names = {}
        for k in c.state:
            name = k
            for pattern, new in rules:
                name = re.sub(pattern, new, name)
            names[k] = name
        c.rename(lambda k: names.get(k, k))
        code, report, got = fix(folder, c.state, target, "--force")
        assert code == 1 and report["guesses"] == 0 and report["likely"] > len(target) // 2, (kind, report)
        assert not wrong_names(got, target, c), kind
        code, report, got = fix(folder, c.state, target, "--guess")
        assert code == 0 and report["guesses"] > len(target) // 2 and not wrong_names(got, target, c), (kind, report)


def numbers(state):
    """The weights by their values, and whether they are a BatchNorm's statistics."""
    return sorted((tuple(v.shape), float(v.double().sum()), "running" in k) for k, v in state.items()
                  if v.is_floating_point() and v.numel() > 3 and not cases.is_quant(k))


def ways(folder, seed):
    """From every way of quantizing a model into every other: all weights go along, the quantizers' names decide what is kept
    of them, the rest is made."""
    torch.manual_seed(seed)
    made = cases.ways_to_quantize(random.Random(seed))
    for a, b in ((a, b) for a in made for b in made if a != b and ("mobilenet" in a) == ("mobilenet" in b)):
        source = cases.with_own_values(made[a].state_dict())
        code, report, got = fix(folder, source, made[b].state_dict())
        assert code == 0, (seed, a, b, report)
        made[b].load_state_dict(got, strict=True)
        assert numbers(source) == numbers(got), (seed, a, b, report)
        for key in got:
            if key in source and tells(key, got[key]):
                assert same(got[key], source[key]), (seed, a, b, key)


def main():
    failed = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for i in range(5):
            by_values(folder, SEED * 1000 + i)
            copies(folder, SEED * 1000 + i)
            other_projects(folder, SEED * 1000 + i)
        ways(folder, SEED)
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

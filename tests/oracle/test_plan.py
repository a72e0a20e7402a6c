#!/usr/bin/env python3
"""Plans on random state dicts in real torch: what `apply` saves equals what the Python of `plan --python` saves and what
a model of the actions in Python says; the inverse plan brings the first file back; preconditions hold on the file they
were made from and name every key that another file changed; --partial leaves out exactly what did not apply.
PLAN_CASES asks for more."""
import collections
import json
import os
import random
import re
import runpy
import subprocess
import sys
import tempfile

BIN = os.environ.get("QATSCOPE")
try:
    import torch
except ImportError:
    print("no torch")
    sys.exit(77)
if not BIN:
    print("QATSCOPE is not set")
    sys.exit(77)

SEED = int(os.environ.get("PLAN_SEED", "5"))
CASES = int(os.environ.get("PLAN_CASES", "30"))


def run(*args, ok=(0,)):
    p = subprocess.run([BIN, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert p.returncode in ok, (args, p.returncode, p.stdout[-2000:], p.stderr[-2000:])
    return p


def state_of(path):
    return torch.load(path)["model"]


def equal(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def same_state(a, b, order=True):
    keys = list(a) == list(b) if order else sorted(a) == sorted(b)
    return keys and all(equal(a[k], b[k]) for k in a)


def differing(a, b):
    return {k: (a[k].dtype, a[k].shape, b[k].dtype, b[k].shape) for k in a if k in b and not equal(a[k], b[k])}


def random_state(rng, extra=0):
    s = collections.OrderedDict()
    for layer in range(rng.randrange(2, 6)):
        names = ["conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean", "fq.scale"]
        for name in sorted(rng.sample(names, 4), key=names.index):
            shape = [rng.randrange(1, 5) for _ in range(rng.randrange(0, 4))]
            dtype = rng.choice([torch.float32, torch.float16, torch.int64, torch.float64])
            s["model.%d.%s" % (layer, name)] = (torch.rand(shape) * 100).to(dtype)
    for i in range(extra):
        s["extra.%d" % i] = torch.rand(3)
    s._metadata = collections.OrderedDict({"": {"version": 1}})
    for k in s:
        s._metadata[k.rpartition(".")[0]] = {"version": rng.randrange(1, 4)}
    return s


def glob_regex(pattern):
    out = ""
    for part in re.split(r"(\*\*|\*|\?)", pattern):
        out += {"**": "(.*)", "*": "([^.]*)", "?": "([^.])"}.get(part, re.escape(part))
    return out


# ---- the actions, in Python ----

def rename(s, names):
    out = collections.OrderedDict((names.get(k, k), v) for k, v in s.items())
    return out if len(out) == len(s) else None


def rule_names(s, a):
    if a["kind"] == "prefix":
        return {k: a["replacement"] + k[len(a["pattern"]):] for k in s if k.startswith(a["pattern"])}
    regex = re.compile(a["pattern"] if a["kind"] == "regex" else glob_regex(a["pattern"]), re.S)
    to = re.sub(r"\$(\d)", r"\\g<\1>", a["replacement"])
    return {k: regex.fullmatch(k).expand(to) for k in s if regex.fullmatch(k)}


def scope_keys(keys, scope):
    kind, what = next(iter(scope.items()))
    if kind == "key":
        return [what]
    if kind == "keys":
        return what
    if kind == "subtree":
        return [k for k in keys if k.startswith(what + ".") or not what]
    return [k for k in keys if re.fullmatch(what, k)]


def converted(v, want, a):
    """As torch does it, from what the file holds, or None if the action refuses to."""
    source = getattr(v, "source", v)
    dtype, shape = v.dtype, v.shape
    if a["op"] == "cast":
        dtype = getattr(torch, a["dtype"]) if "dtype" in a else want.dtype
        if not dtype.is_floating_point and not torch.equal(source.double(), source.double().round()):
            return None
    else:
        shape = torch.Size(a["shape"]) if "shape" in a else want.shape
    n = shape.numel()
    if v.numel() not in (1, n) or (v.numel() == 1 and n == 0):
        return None
    new = source.to(dtype).reshape(-1).expand(n).reshape(shape).clone()
    new.source = source
    return new


def convert(s, b, a):
    named = next(iter(a["scope"])) in ("key", "keys")
    out = collections.OrderedDict(s)
    for k in scope_keys(list(s), a["scope"]):
        told = "dtype" in a or "shape" in a or k in b
        new = converted(s[k], b.get(k), a) if told else None
        if new is None and (named or (told and a["op"] == "cast")):
            return None  # a value that does not fit is found while saving
        if new is not None and not equal(new, s[k]):
            out[k] = new
    return out


def act(s, b, a):
    """The state after one action, or None if it cannot apply."""
    if a["op"] in ("rename", "rule"):
        names = dict(a["pairs"]) if a["op"] == "rename" else rule_names(s, a)
        return rename(s, names) if names else None
    if a["op"] in ("cast", "reshape"):
        return convert(s, b, a)
    keys = scope_keys(list(s) if a["op"] == "drop" else list(b), a["scope"])
    out = collections.OrderedDict(s)
    if not keys:
        return None
    for k in keys:
        if a["op"] == "drop":
            del out[k]
        elif k not in out or a.get("replace"):
            out[k] = b[k]
    return out


def random_action(rng, s, b):
    keys = list(s)
    op = rng.choice(["rename", "rename", "rule", "rule", "drop", "copy", "cast", "reshape"])
    if op == "rename":
        some = rng.sample(keys, min(len(keys), rng.randrange(1, 5)))
        to = some[1:] + some[:1] if rng.random() < 0.5 and len(some) > 1 else ["n%d.%s" % (rng.randrange(99), k) for k in some]
        return {"op": op, "pairs": [list(x) for x in zip(some, to)]}
    if op == "rule":
        pattern = rng.choice([("prefix", "model.", "net."), ("prefix", "", "w."), ("glob", "model.*.bn.*", "model.$1.conv.bn.$2"),
                              ("glob", "**.weight", "$1.w"), ("regex", r"(.*)\.bn\.(\w+)", "$1.norm.$2"),
                              ("regex", r"(?:net|model)\.(\d+)\.(.*)", "layers.$1.$2"), ("glob", "net.?.*.bias", "net.$1.$2.b")])
        return {"op": op, "kind": pattern[0], "pattern": pattern[1], "replacement": pattern[2]}
    names = list(b) if op == "copy" else keys
    scope = rng.choice([{"key": rng.choice(names)}, {"keys": rng.sample(names, min(2, len(names)))}, {"subtree": "model.%d" % rng.randrange(4)},
                        {"regex": r".*\.(bias|b)"}])
    a = {"op": op, "scope": scope}
    if op == "copy":
        a["replace"] = True
    if op == "cast" and rng.random() < 0.7:
        a["dtype"] = rng.choice(["float32", "float16", "bfloat16", "float64", "int32", "int64", "uint8"])
    if op == "reshape" and rng.random() < 0.7:
        n = s[rng.choice(keys)].numel()
        a["shape"] = rng.choice([[n], [1, n], [n, 1, 1], [3, 2], []])
    return a


def random_plan(rng, s, b):
    """Actions that apply, and the state they end in."""
    actions = []
    while len(actions) < 5 and s:
        a = random_action(rng, s, b)
        after = act(s, b, a)
        if after is None or [(k, id(v)) for k, v in after.items()] == [(k, id(v)) for k, v in s.items()]:
            continue
        if rng.random() < 0.3:
            a["comment"] = "because \u00e4 \"%d\"" % rng.randrange(9)
        actions.append(a)
        s = after
    return actions, s


def write(path, actions, **more):
    with open(path, "w") as f:
        json.dump(dict({"format": "qatscope-plan", "version": 1}, actions=actions, **more), f)


def python_gives(script, out):
    old = sys.argv
    sys.argv = [script, out]
    try:
        runpy.run_path(script)
    finally:
        sys.argv = old
    return state_of(out)


def case(rng, d):
    path = {n: os.path.join(d, n) for n in ("a.pt", "b.pt", "out.pt", "back.pt", "py.pt", "p.json", "inv.json", "e.json", "s.py")}
    a, b = random_state(rng), random_state(rng, extra=3)
    actions, want = random_plan(rng, a, b)
    torch.save({"model": a, "epoch": 3}, path["a.pt"])
    torch.save({"model": b}, path["b.pt"])
    write(path["p.json"], actions, comment="a plan")
    docs = [path["a.pt"], "-b", path["b.pt"]]
    run("apply", path["p.json"], *docs, "-o", path["out.pt"], ok=(0, 1))
    got = state_of(path["out.pt"])
    assert same_state(want, got, order=False), (actions, set(want) ^ set(got), differing(want, got))
    # Python alone
    run("plan", path["p.json"], *docs, "--python", "-o", path["s.py"])
    script = python_gives(path["s.py"], path["py.pt"])
    assert same_state(got, script), actions
    assert list(script._metadata.items()) == list(got._metadata.items()), (script._metadata, got._metadata)
    assert torch.load(path["py.pt"])["epoch"] == 3
    # the inverse, with the original as B
    run("plan", path["p.json"], *docs, "--inverse", "-o", path["inv.json"], "-q")
    run("apply", path["inv.json"], path["out.pt"], "-b", path["a.pt"], "-o", path["back.pt"])
    back = state_of(path["back.pt"])
    assert same_state(a, back), (actions, list(a), list(back))
    # preconditions, on the same file and on one with other values and another shape
    expectations(rng, a, actions, docs, path)


def expectations(rng, a, actions, docs, path):
    run("plan", path["p.json"], *docs, "--expect", "content", "-o", path["e.json"])
    with open(path["e.json"]) as f:
        plan = json.load(f)
    assert plan["comment"] == "a plan"
    assert [x.get("comment") for x in plan["actions"]] == [x.get("comment") for x in actions]
    assert json.loads(run("plan", path["e.json"], *docs, "--json").stdout)["applies"]
    expected = {x["key"] for x in plan["actions"][0].get("expect", [])}
    changed = collections.OrderedDict((k, v.clone()) for k, v in a.items())
    touched = rng.sample(sorted(expected), min(len(expected), 2))
    for k in touched:
        changed[k] = changed[k] + 1 if rng.random() < 0.5 else changed[k].reshape(-1, 1, 1, 1, 1)
    torch.save({"model": changed}, path["a.pt"])
    p = run("apply", path["e.json"], *docs, "-o", os.path.join(os.path.dirname(path["a.pt"]), "no.pt"), "--json",
            ok=(1,) if touched else (0, 1))
    report = json.loads(p.stdout)
    assert {x["key"] for x in report["plan"][0]["failed"]} == set(touched), (report["plan"][0], touched)
    assert (report["output"] is None) == (report["failed"] > 0)


def partial(d):
    a, plan, out = (os.path.join(d, n) for n in ("pa.pt", "pp.json", "po.pt"))
    s = collections.OrderedDict((k, torch.rand(2)) for k in "abcdef")
    torch.save(s, a)
    # c stays (no such name d to give way), so b cannot get c's name, nor a b's
    write(plan, [{"op": "rename", "pairs": [["a", "b"], ["b", "c"], ["c", "d"], ["e", "x"], ["gone", "y"], ["f", "x"]]},
                 {"op": "rule", "kind": "prefix", "pattern": "module.", "replacement": ""},
                 {"op": "drop", "scope": {"keys": ["d", "nope"]}}])
    report = json.loads(run("apply", plan, a, "-o", out, "--json", ok=(1,)).stdout)
    assert not os.path.exists(out) and report["failed"] == 7
    assert sorted(x["key"] for x in report["plan"][0]["failed"]) == ["a", "b", "c", "f", "gone"]
    assert [x["key"] for x in report["plan"][1]["failed"]] == [None]
    assert [x["key"] for x in report["plan"][2]["failed"]] == ["nope"]
    text = run("apply", plan, a, "-o", out, ok=(1,)).stdout
    assert text.count("not applied:") == 7 and "--partial" in text
    run("apply", plan, a, "-o", out, "--partial")
    got = torch.load(out)
    assert list(got) == ["a", "b", "c", "x", "f"] and equal(got["x"], s["e"]) and equal(got["b"], s["b"])
    run("apply", plan, a, "--dry-run", "--partial")


def versions(d):
    """The model's versions where A has none, under the names of the end; torch reads them back."""
    a, b, plan, out = (os.path.join(d, n) for n in ("va.pt", "vb.pt", "vp.json", "vo.pt"))
    s = collections.OrderedDict((k, torch.rand(2)) for k in ("m.x.w", "m.y.w", "n.w"))
    want = collections.OrderedDict(s)
    want._metadata = collections.OrderedDict([("", {"version": 1}), ("m.x", {"version": 3}), ("m.y", {"version": 2}), ("n", {"version": 4})])
    torch.save(want, b)
    rename = {"op": "rule", "kind": "prefix", "pattern": "module.", "replacement": ""}
    for has, scope, replace, found in [
            (None, {"subtree": ""}, False, {"": 1, "m.x": 3, "m.y": 2, "n": 4}),
            (None, {"subtree": "m"}, False, {"m.x": 3, "m.y": 2}),
            (None, {"regex": r"m\..|n"}, False, {"m.x": 3, "m.y": 2, "n": 4}),
            ({"m.x": 1}, {"keys": ["m.x", "n"]}, False, {"m.x": 1, "n": 4}),
            ({"m.x": 1}, {"key": "m.x"}, True, {"m.x": 3})]:
        # the version of what is renamed is the model's in any case
        mine = collections.OrderedDict((k if has else "module." + k, v) for k, v in s.items())
        if has:
            mine._metadata = collections.OrderedDict((k, {"version": v, "kept": "too"}) for k, v in has.items())
        torch.save(mine, a)
        act = {"op": "metadata", "scope": scope}
        write(plan, [dict(act, replace=True) if replace else act] + ([] if has else [rename]))
        run("apply", plan, a, "-b", b, "-o", out, ok=(0, 1))
        meta = torch.load(out)._metadata
        for k, v in found.items():
            assert meta[k]["version"] == v, (scope, k, meta)
            assert ("kept" in meta[k]) == bool(has and k in has), (scope, k, meta)
        if not has:
            assert all(k in found or k in ("m.x", "m.y", "n") for k in meta), (scope, meta)
        os.unlink(out)
    report = json.loads(run("apply", plan, out if os.path.exists(out) else a, "-o", out, "--json", ok=(1,)).stdout)
    assert "versions are taken from a model" in str(report["plan"][0]["failed"]), report
    assert not os.path.exists(out)


def refusals(d):
    """Values that another type cannot hold stop the save and leave nothing behind."""
    a, plan, out = (os.path.join(d, n) for n in ("ra.pt", "rp.json", "ro.pt"))
    for value, dtype, says in [(torch.tensor([1.5]), "int32", "which int32 cannot"), (torch.tensor([300]), "uint8", "which uint8 cannot"),
                               (torch.tensor([-1.0]), "uint8", "which uint8 cannot"), (torch.tensor([float("nan")]), "int64", "which int64 cannot"),
                               (torch.tensor([2 ** 60]), "float64", "beyond 2^53"), (torch.tensor([1 + 2j]), "float32", "only real numbers")]:
        torch.save(collections.OrderedDict(w=value, v=torch.rand(2)), a)
        write(plan, [{"op": "cast", "scope": {"key": "w"}, "dtype": dtype}])
        p = run("apply", plan, a, "-o", out, ok=(1, 2, 3))
        assert says in p.stdout + p.stderr and "w" in p.stdout + p.stderr, (dtype, p.stdout, p.stderr)
        assert os.listdir(d).count("ro.pt") == 0
    torch.save(collections.OrderedDict(w=torch.rand(3), v=torch.rand(2)), a)
    for action, says in [({"op": "reshape", "scope": {"key": "w"}, "shape": [2]}, "another number of elements"),
                         ({"op": "reshape", "scope": {"key": "w"}}, "no such key to take the shape from"),
                         ({"op": "cast", "scope": {"key": "nope"}, "dtype": "int8"}, "there is no such key"),
                         ({"op": "cast", "scope": {"top": "w"}, "dtype": "int8"}, "only a drop")]:
        write(plan, [action])
        p = run("apply", plan, a, "-o", out, ok=(1, 2, 3))
        assert says in p.stdout + p.stderr, (action, p.stdout, p.stderr)
    # a cast to floats dequantizes, as torch does
    for q in (torch.quantize_per_tensor(torch.randn(40, 50), 0.0371, 11, torch.quint8),
              torch.quantize_per_channel(torch.randn(6, 5, 3), torch.rand(5, dtype=torch.float64), torch.arange(5), 1, torch.qint8),
              torch.quantize_per_tensor(torch.randn(7), 1e-6, -3, torch.qint32)):
        torch.save(collections.OrderedDict(w=q, v=torch.rand(2)), a)
        for dtype in (torch.float32, torch.float64, torch.float16):
            write(plan, [{"op": "cast", "scope": {"key": "w"}, "dtype": str(dtype)[6:]}])
            run("apply", plan, a, "-o", out)
            assert equal(torch.load(out)["w"], q.dequantize().to(dtype)), (q.dtype, dtype)
            os.unlink(out)
    # a cast of a large tensor is written in pieces, and into safetensors as into .pt
    big = torch.randn(300, 1000)
    torch.save(collections.OrderedDict(w=big.t(), v=big[0]), a)
    write(plan, [{"op": "cast", "scope": {"subtree": ""}, "dtype": "float16"}])
    run("apply", plan, a, "-o", out)
    got = torch.load(out)
    assert equal(got["w"], big.t().half()) and equal(got["v"], big[0].half()) and os.path.getsize(out) < 700000
    st = os.path.join(d, "ro.safetensors")
    run("apply", plan, a, "-o", st)
    with open(st, "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        header = json.loads(f.read(n))
        f.seek(8 + n + header["w"]["data_offsets"][0])
        assert f.read(600000) == big.t().half().contiguous().numpy().tobytes()


def main():
    print("seed", SEED, "cases", CASES)
    with tempfile.TemporaryDirectory() as d:
        for i in range(CASES):
            torch.manual_seed(SEED * 1000 + i)
            case(random.Random(SEED * 1000 + i), d)
        partial(d)
        versions(d)
        refusals(d)


if __name__ == "__main__":
    main()

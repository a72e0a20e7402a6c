"""qatscope fix and apply against real PyTorch: random float nets into their QAT twins, back, and under prefixes; the
real YOLOv8n pair where it is at hand. Every tensor of the result is compared with the twin that torch made."""
import collections
import copy
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "oracle"))
sys.path.insert(0, HERE)
BINARY = os.environ.get("QATSCOPE", "")
try:
    import torch
except ImportError:
    print("skipped: no torch")
    sys.exit(77)
if not BINARY or not os.path.exists(BINARY):
    print("skipped: QATSCOPE is not set")
    sys.exit(77)

import deep_equal
import fix_nets as nets

REAL = os.environ.get("QATSCOPE_REAL", os.path.join(HERE, "..", "..", "..", "shared", "real"))
TORCH_AT = os.path.join(HERE, "..", "oracle", "torch-at")
CASES = int(os.environ.get("QATSCOPE_CASES", "40"))
SEED = int(os.environ.get("QATSCOPE_SEED", "1"))


def run(*args, ok=(0,)):
    p = subprocess.run([BINARY] + [str(a) for a in args], capture_output=True, text=True, timeout=60)
    if p.returncode not in ok:
        raise AssertionError("qatscope %s: exit %d\n%s%s" % (" ".join(map(str, args)), p.returncode, p.stdout, p.stderr))
    return p


def save(path, state, **more):
    torch.save(dict({"epoch": 7, "best": 0.25, "args": {"lr": [0.1, 0.01]}, "model": state}, **more), path)


def load_state(path):
    return torch.load(path, map_location="cpu")["model"]


def with_prefix(state, prefix):
    """As DataParallel and friends would have saved it, `_metadata` too."""
    out = collections.OrderedDict((prefix + k, v) for k, v in state.items())
    out._metadata = collections.OrderedDict((("%s%s" % (prefix, k)).rstrip("."), v) for k, v in state._metadata.items())
    return out


def exporter(folder):
    with open(os.path.join(folder, "exporter.py"), "w") as f:
        f.write(run("manifest", "--exporter").stdout)
    sys.path.insert(0, folder)
    import exporter as module
    return module.export


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def check_values(state, twin, what):
    """Whatever is under a weight's name must be that weight."""
    want = twin.state_dict()
    for key, value in state.items():
        if key in want and not nets.is_quant_key(key):
            assert same(value, want[key]), "%s: %s holds another tensor" % (what, key)


def observed_blocks(twin):
    """What torch's own quantizers make of their weights: prefix -> state."""
    out = {}
    for name, m in twin.named_modules():
        if not hasattr(m, "weight_fake_quant"):
            continue
        weight = m.weight
        if hasattr(m, "bn"):
            std = torch.sqrt(m.bn.running_var + m.bn.eps)
            weight = weight * (m.bn.weight / std).reshape([-1] + [1] * (weight.dim() - 1))
        block = copy.deepcopy(m.weight_fake_quant)
        with torch.no_grad():
            block(weight)
        out[name + ".weight_fake_quant."] = block.state_dict()
    return out


def check_observed(state, twin, what):
    for prefix, block in observed_blocks(twin).items():
        for leaf, want in block.items():
            got = state[prefix + leaf]
            assert same(got, want), "%s: %s%s is %r, torch has %r" % (what, prefix, leaf, got, want)


def expect_load(twin_fresh, state, what):
    try:
        twin_fresh.load_state_dict(state, strict=True)
    except Exception as e:
        raise AssertionError("%s: torch refuses it: %s" % (what, str(e)[:500]))


def certain(model):
    """Nets whose every BatchNorm can be placed by name or order: there the repair must be complete."""
    scrambled = [m for m in model.modules() if isinstance(m, nets.Oddly) and list(m._modules) == ["a", "b", "x", "y"]]
    return not scrambled


def float_into_qat(folder, export, seed):
    model, twin, qconfig, rng = nets.random_case(seed)
    what = "seed %d (%s)" % (seed, qconfig)
    prefix = rng.choice(["", "", "module.", "_orig_mod.", "module._orig_mod.", "model.", "student."])
    a, b, m, out = (os.path.join(folder, n) for n in ("a.pt", "b.pt", "m.json", "out.pt"))
    source = model.state_dict()
    save(a, with_prefix(source, prefix) if prefix else source)
    fresh = copy.deepcopy(twin)
    if rng.random() < 0.5:
        save(b, fresh.state_dict())
        target = [b]
    else:
        export(fresh, m)
        target = ["-m", m]
    p = run("fix", a, *target, "-o", out, "--force", "--bn-eps", "1e-5", "--json", ok=(0, 1))
    report = json.loads(p.stdout)
    state = load_state(out)
    check_values(state, twin, what + " prefix " + repr(prefix))
    if certain(model):
        assert p.returncode == 0, "%s prefix %r: not repaired: %s\n%s" % (what, prefix, report["diagnosis"], run(
            "check", out, *target, ok=(0, 1)).stdout[:600])
    if p.returncode == 0:
        assert list(state) == list(twin.state_dict()), what + ": keys or order"
        blank = copy.deepcopy(fresh)
        expect_load(blank, state, what)
        check_values(blank.state_dict(), twin, what)
        check_observed(state, twin, what)
    else:
        assert not report["after"]["loads"]
    whole, before = torch.load(out), torch.load(a)
    for key in ("epoch", "best", "args"):
        assert whole[key] == before[key], what + ": " + key
    return p.returncode == 0


def qat_into_float(folder, seed):
    """The way back: unwrap, unfold, drop the quantizers."""
    model, twin, qconfig, rng = nets.random_case(seed)
    a, b, out = (os.path.join(folder, n) for n in ("qat.pt", "float.pt", "back.pt"))
    save(a, twin.state_dict())
    blank = copy.deepcopy(model)
    save(b, blank.state_dict())
    p = run("fix", a, b, "-o", out, "--force", "--json", ok=(0, 1))
    state = load_state(out)
    what = "back, seed %d (%s)" % (seed, qconfig)
    for key, value in model.state_dict().items():
        assert key not in state or same(state[key], value), what + ": " + key
    if certain(model):
        assert p.returncode == 0, what + ": " + json.loads(p.stdout)["diagnosis"]
        expect_load(blank, state, what)
    return p.returncode == 0


def prefixes(folder):
    """A wrapper's prefix alone, both ways: one rule in the plan."""
    model, _, _, _ = nets.random_case(3)
    plain = model.state_dict()
    for n, prefix in enumerate(["module.", "_orig_mod.", "model.", "module.model.", "architecture.net.", "ema."]):
        for strip in (True, False):
            a, b, out, plan = (os.path.join(folder, x) for x in ("pa.pt", "pb.pt", "po.pt", "pp.json"))
            save(a, with_prefix(plain, prefix) if strip else plain)
            save(b, plain if strip else with_prefix(plain, prefix))
            run("fix", a, b, "-o", out, "--plan-out", plan, "--quiet")
            want = torch.load(b)["model"]
            state = load_state(out)
            assert list(state) == list(want) and all(same(state[k], want[k]) for k in want), prefix
            with open(plan) as f:
                actions = json.load(f)["actions"]
            assert [x["op"] for x in actions] == ["rule"] and actions[0]["kind"] == "prefix", actions
            if strip:  # `_metadata` moved along, also that of modules without tensors
                for k, v in plain._metadata.items():
                    assert state._metadata[k] == v, (prefix, k)
            # the plan replays on the same file
            again = os.path.join(folder, "again.pt")
            run("apply", plan, a, "-o", again, "--quiet")
            assert deep_equal.deep_equal(deep_equal.load(out), deep_equal.load(again)) is None


def other_models_stay(folder):
    """A different model gets no rename that fits by chance."""
    g = torch.Generator().manual_seed(5)
    a = collections.OrderedDict((("enc.%d.weight" % i), torch.randn(4, 4, generator=g)) for i in range(6))
    b = collections.OrderedDict((("dec.%d.weight" % i), torch.randn(4, 4, generator=g)) for i in range(6))
    pa, pb, plan = (os.path.join(folder, x) for x in ("oa.pt", "ob.pt", "oo.json"))
    save(pa, a)
    save(pb, b)
    p = run("fix", pa, pb, "--dry-run", "--plan-out", plan, "--json", ok=(1,))
    assert json.loads(p.stdout)["renames"] == 0
    with open(plan) as f:
        assert json.load(f)["actions"] == []
    # nothing is saved unless forced
    out = os.path.join(folder, "oo.pt")
    run("fix", pa, pb, "-o", out, ok=(1,))
    assert not os.path.exists(out)


def empty_plan_is_identity(folder):
    """Opening and saving changes nothing torch can see: aliasing, views, `_metadata`, other entries."""
    model, twin, _, _ = nets.random_case(4)
    state = twin.state_dict()
    tied = torch.randn(6, 4)
    state["tied.a"], state["tied.b"] = tied, tied
    state["view"] = tied.t()
    a, out, plan = (os.path.join(folder, x) for x in ("ea.pt", "eo.pt", "ep.json"))
    save(a, state, optimizer={"state": {0: {"step": 3, "exp_avg": tied}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
         nothing=None, nested=(1, 2.5, "x", [True, None]))
    with open(plan, "w") as f:
        json.dump({"format": "qatscope-plan", "version": 1, "actions": []}, f)
    run("apply", plan, a, "-o", out, "--quiet")
    difference = deep_equal.deep_equal(deep_equal.load(a), deep_equal.load(out))
    assert difference is None, difference
    loaded = torch.load(out)["model"]
    assert loaded["tied.a"] is loaded["tied.b"]
    assert loaded["view"].data_ptr() == loaded["tied.a"].data_ptr() and loaded["view"].stride() == (1, 4)
    assert loaded._metadata == state._metadata


def plans_by_hand(folder):
    """One layer with single actions, as in the explorer; and what must be refused."""
    g = torch.Generator().manual_seed(9)
    a, b, out, plan = (os.path.join(folder, x) for x in ("ha.pt", "hb.pt", "ho.pt", "hp.json"))
    sa = collections.OrderedDict(x=torch.randn(3, generator=g), y=torch.randn(3, generator=g), z=torch.randn(2, generator=g))
    sb = collections.OrderedDict(x=torch.zeros(3), w=torch.randn(4, generator=g))
    save(a, sa)
    save(b, sb)

    def apply(*actions, ok=(0,), with_b=True):
        with open(plan, "w") as f:
            json.dump({"format": "qatscope-plan", "version": 1, "actions": list(actions)}, f)
        if os.path.exists(out):
            os.unlink(out)
        return run("apply", plan, a, *(["-b", b] if with_b else []), "-o", out, ok=ok)

    apply({"op": "rename", "pairs": [["x", "y"], ["y", "x"]]}, with_b=False)  # change places
    s = load_state(out)
    assert list(s) == ["y", "x", "z"] and same(s["y"], sa["x"]) and same(s["x"], sa["y"])
    apply({"op": "copy", "scope": {"key": "w"}}, {"op": "drop", "scope": {"keys": ["y", "z"]}})
    s = load_state(out)
    assert sorted(s) == ["w", "x"] and same(s["w"], sb["w"]) and same(s["x"], sa["x"])
    apply({"op": "copy", "scope": {"key": "x"}, "replace": True}, ok=(0, 1))
    assert same(load_state(out)["x"], sb["x"])
    refused = [
        ([{"op": "rename", "pairs": [["x", "y"]]}], "x: cannot be renamed to y: collides"),
        ([{"op": "rename", "pairs": [["x", "q"], ["y", "q"]]}], "collides with x"),
        ([{"op": "rename", "pairs": [["nope", "q"]]}], "nope"),
        ([{"op": "rule", "kind": "regex", "pattern": "[xy]", "replacement": "same"}], "collides"),
        ([{"op": "copy", "scope": {"key": "x"}}], "already"),
        ([{"op": "copy", "scope": {"key": "z"}, "replace": True}], "B has no such key"),
        ([{"op": "drop", "scope": {"key": "x"}}, {"op": "drop", "scope": {"key": "x"}}], "not applied: x: cannot be dropped"),
        ([{"op": "init", "scope": {"key": "w"}, "source": "fresh"}], "w: "),
    ]
    for actions, words in refused:
        p = apply(*actions, ok=(1,))
        assert words in p.stdout and "saved: nothing" in p.stdout, (words, p.stdout)
        assert not os.path.exists(out), words
    p = apply({"op": "rule", "kind": "regex", "pattern": "(a", "replacement": ""}, ok=(3,))
    assert "pattern" in p.stderr and not os.path.exists(out)


def options_and_exits(folder):
    """Sources, refusals, exit codes, in-place saving, diff."""
    model, twin, _, _ = nets.random_case(2)
    a, b, out, plan = (os.path.join(folder, x) for x in ("ca.pt", "cb.pt", "co.pt", "cp.json"))
    save(a, model.state_dict())
    with torch.no_grad():  # a trained twin: its quantizers hold numbers of their own
        for k, v in twin.state_dict().items():
            if k.endswith("scale"):
                v.fill_(0.125)
    save(b, twin.state_dict())
    run("fix", a, b, "-o", out, "--init", "copy", "--quiet")
    state = load_state(out)
    assert all(same(v, twin.state_dict()[k]) for k, v in state.items()) and len(state) == len(twin.state_dict())
    run("fix", a, b, "-o", out, "--init", "fresh", "--quiet")
    state = load_state(out)
    assert all(v.eq(1).all() for k, v in state.items() if k.endswith("fake_quant.scale"))
    for args, words in [(("fix", a, "-o", out), "nothing to fit it to"), (("fix", a, b), "where to?"),
                        (("fix", a, b, "-o", out, "--init", "best"), "--init"), (("fix", a, b, "-o", out, "--bn-eps", "0"), "--bn-eps"),
                        (("fix", a, "-m", b, "-o", out, "--init", "copy"), "--init copy"), (("apply", plan, a), "where to?"),
                        (("fix", a, b, "-o", out, "--torch", "new"), "--torch")]:
        p = run(*args, ok=(2,))
        assert words in p.stderr, (args, p.stderr)
    os.unlink(out)
    run("fix", a, b, "-o", out, "--dry-run", "--plan-out", plan)
    assert not os.path.exists(out) and os.path.exists(plan)
    run("fix", a, b, "-o", a, ok=(3,))  # never over the input unasked
    before = open(a, "rb").read()
    run("fix", a, b, "--in-place", "--quiet")
    assert open(a + ".bak", "rb").read() == before and list(load_state(a)) == list(twin.state_dict())
    run("fix", a, b, "-o", out)  # loads already: saved as it is
    assert deep_equal.deep_equal(deep_equal.load(a), deep_equal.load(out)) is None
    run("diff", a, out, "--values", "--quiet")
    p = run("diff", a, b, "--values", "--json", ok=(1,))
    report = json.loads(p.stdout)
    scales = [k for k in twin.state_dict() if k.endswith("scale")]
    assert not report["same"] and {x["key"] for x in report["entries"]} >= set(scales[:1])
    assert all(x["kind"] in ("values", "shape") for x in report["entries"])
    run("diff", a, a + ".bak", ok=(1,))
    run("diff", a, os.path.join(folder, "none.pt"), ok=(3,))


def torch_at(suite, script, *args):
    roots = os.environ.get("TORCH_ROOTS", os.path.expanduser("~/.cache/torch-roots"))
    if not os.path.isdir(os.path.join(roots, suite)):
        return False
    p = subprocess.run([TORCH_AT, suite, script] + list(args), capture_output=True, text=True, timeout=300)
    assert p.returncode == 0, p.stdout + p.stderr
    return True


NEWER = """
import sys, torch
for mmap in (False, True):
    c = torch.load(sys.argv[1], weights_only=True, mmap=mmap)
    assert len(c["model"]) == int(sys.argv[2]), len(c["model"])
    assert all(torch.isfinite(t.float()).all() or k.endswith(("min_val", "max_val")) for k, t in c["model"].items())
"""


def real_observed(state):
    """Every weight quantizer's numbers from torch's own observer over the BatchNorm-scaled weight (YOLO's eps)."""
    n = 0
    for key in [k for k in state if k.endswith(".weight_fake_quant.scale")]:
        block = key[:-len("scale")]
        owner = block[:-len("weight_fake_quant.")]
        w = state[owner + "weight"]
        if owner + "bn.weight" in state:
            std = torch.sqrt(state[owner + "bn.running_var"] + 1e-3)
            w = w * (state[owner + "bn.weight"] / std).reshape([-1, 1, 1, 1])
        obs = torch.ao.quantization.MovingAverageMinMaxObserver(
            averaging_constant=0.01, dtype=torch.qint8, qscheme=torch.per_tensor_symmetric, quant_min=-128, quant_max=127)
        obs(w)
        scale, zero_point = obs.calculate_qparams()
        for leaf, want in (("scale", scale), ("zero_point", zero_point), ("activation_post_process.min_val", obs.min_val),
                           ("activation_post_process.max_val", obs.max_val)):
            assert torch.equal(state[block + leaf], want.to(state[block + leaf].dtype)), block + leaf
        n += 1
    return n


def real_pair(folder):
    if not os.path.isdir(REAL):
        return "real pair: not here"
    a, b, truth = (os.path.join(REAL, n) for n in ("yolov8n-sparseml-float.pt", "yolov8n-sparseml-qat.pt", "qat.truth.json"))
    out, plan = os.path.join(folder, "yolo.pt"), os.path.join(folder, "yolo.json")
    before = torch.load(a)
    made = os.path.join(folder, "made.json")
    run("manifest", b, "-o", made)
    for target in (["-m", truth], [b], ["-m", made]):
        report = json.loads(run("fix", a, *target, "-o", out, "--plan-out", plan, "--json").stdout)
        assert (report["renames"], report["initialises"]) == (348, 1428), report
        after = torch.load(out)
        state, qat = after["model"], torch.load(b)["model"]
        assert list(state) == list(qat), "keys or order"
        assert all(state[k].shape == qat[k].shape and state[k].dtype == qat[k].dtype for k in qat)
        with open(plan) as f:
            pairs = json.load(f)["actions"][0]["pairs"]
        assert len(pairs) == 348 and all(same(before["model"][x], state[y]) for x, y in pairs)
        kept = set(before["model"]) - {x for x, _ in pairs}
        assert len(kept) == 7 and all(same(before["model"][k], state[k]) for k in kept)
        assert list(after) == list(before)
        assert all(after[k] == before[k] for k in before if k != "model")
        assert real_observed(state) == 63
        for k, v in state._metadata.items():
            assert v == qat._metadata[k], (k, v)
        again = os.path.join(folder, "yolo2.pt")
        run("apply", plan, a, *(["-b", b] if target == [b] else target), "-o", again, "--quiet")
        assert deep_equal.deep_equal(deep_equal.load(out), deep_equal.load(again)) is None
    # the log of the failure is enough: names without shapes, and what torch makes itself left out
    log = os.path.join(folder, "log.pt")
    run("fix", a, "--log", os.path.join(REAL, "float-into-qat.torch113.log"), "-o", log, "--quiet")
    run("check", log, "-m", truth, "--quiet")
    state = load_state(log)
    assert all(same(before["model"][x], state[y]) for x, y in pairs) and real_observed(state) == 63
    # half of it is not, and is said to be half: nothing is renamed into what is left by chance
    with open(os.path.join(REAL, "float-into-qat.torch113.log")) as f:
        text = f.read()
    for part in (text[:60000], text[60000:]):
        said = subprocess.run([BINARY, "fix", a, "--log", "-", "-n"], input=part, capture_output=True, text=True)
        assert said.returncode == 1 and "cut off: more is missing" in said.stderr, said
        assert "diagnosis: the log is cut off" in said.stdout and "rename" not in said.stdout.split("cause")[0], said.stdout
    script = os.path.join(folder, "newer.py")
    with open(script, "w") as f:
        f.write(NEWER)
    newer = [s for s in ("trixie",) if torch_at(s, script, out, "1783")]
    # back again: the float checkpoint, bit for bit
    back = os.path.join(folder, "back.pt")
    run("fix", out, a, "-o", back, "--quiet")
    state = load_state(back)
    assert list(state) == list(before["model"]) and all(same(state[k], v) for k, v in before["model"].items())
    for name in ("yolov8n-sparseml-float.pt", "yolov8n-sparseml-qat.pt", "yolov8n-ultralytics-module-fp16.pt"):
        with open(plan, "w") as f:
            json.dump({"format": "qatscope-plan", "version": 1, "actions": []}, f)
        run("apply", plan, os.path.join(REAL, name), "-o", out, "--quiet")
        difference = deep_equal.deep_equal(deep_equal.load(os.path.join(REAL, name)), deep_equal.load(out))
        assert difference is None, name + ": " + difference
    return "real pair: 348 renames, 1428 values; torch 2.6: %s" % ("loads it" if newer else "not here")


def main():
    with tempfile.TemporaryDirectory() as folder:
        export = exporter(folder)
        plans_by_hand(folder)
        empty_plan_is_identity(folder)
        prefixes(folder)
        other_models_stay(folder)
        options_and_exits(folder)
        full = sum(float_into_qat(folder, export, SEED + i) for i in range(CASES))
        back = sum(qat_into_float(folder, SEED + 1000 + i) for i in range(CASES // 2))
        print("seeds from %d: %d of %d float -> QAT complete, %d of %d QAT -> float; no tensor in a wrong place" %
              (SEED, full, CASES, back, CASES // 2))
        print(real_pair(folder))


main()

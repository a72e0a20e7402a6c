"""What `qatscope explain` says about torch, run by torch: every QS_FACT of src/teach/explain.def (dtype, shape, fresh
value, by version), that no key of such a module lacks a fact, and the statements of the texts.

    test_explain.py                  the test, under every torch that is here; exit 77 when there is none
    test_explain.py --worker FACTS   under some torch
"""
import json, math, os, re, subprocess, sys, tempfile, warnings

HERE = os.path.dirname(os.path.abspath(__file__))
NOT_RUN = set()  # `in`s of frameworks that are not installed


def read_facts(path):
    facts = []
    number = r"\s*(\d+)\s*"
    text = r'\s*"([^"]*)"\s*'
    for row in re.findall(r"^QS_FACT\((.*)\)$", open(path).read(), re.M):
        m = re.fullmatch(",".join([text, text, number, number, text, text, text]), row)
        assert m, "a fact the test cannot read: " + row
        f = dict(zip(("id", "in", "since", "until", "dtype", "shape", "fresh"), m.groups()))
        f["since"], f["until"] = int(f["since"]), int(f["until"])
        facts.append(f)
    assert len(facts) > 50
    return facts


# ---- the worker: runs under the torch that is asked ----

def worker(path):
    warnings.filterwarnings("ignore")
    import torch
    import torch.nn as nn
    try:
        import torch.ao.quantization as q
        import torch.ao.quantization._learnable_fake_quantize as lfq
    except ImportError:
        import torch.quantization as q
        import torch.quantization._learnable_fake_quantize as lfq
    torch.set_num_threads(1)
    torch.manual_seed(int(os.environ.get("SEED", "7")))
    major, minor = (int(x) for x in re.match(r"(\d+)\.(\d+)", torch.__version__).groups())
    version = 100 * major + minor
    C = 4
    MA, PC = q.MovingAverageMinMaxObserver, q.MovingAveragePerChannelMinMaxObserver
    channel = dict(observer=PC, quant_min=-128, quant_max=127, dtype=torch.qint8, qscheme=torch.per_channel_symmetric, ch_axis=0)
    plain = lambda: q.FakeQuantize(observer=MA, quant_min=0, quant_max=255)
    by_channel = lambda: q.FakeQuantize(**channel)
    fused = lambda: q.FusedMovingAvgObsFakeQuantize(observer=MA, quant_min=0, quant_max=255)
    fused_channel = lambda: q.FusedMovingAvgObsFakeQuantize(**channel)

    def after(make, x):
        def build():
            m = make()
            m(x)
            return m
        return build

    def converted(module, x):
        w = q.QuantWrapper(nn.Sequential(module, nn.ReLU()))
        w.qconfig = q.get_default_qconfig("fbgemm")
        q.prepare(w, inplace=True)
        w(x)
        return q.convert(w)

    conv = lambda: converted(nn.Conv2d(2, 3, 1), torch.randn(1, 2, 4, 4))
    build = {
        "FakeQuantize": plain,
        "FakeQuantize, per channel": by_channel,
        "FakeQuantize, per channel, after a forward": after(by_channel, torch.randn(C, 3)),
        "FusedMovingAvgObsFakeQuantize": fused,
        "FusedMovingAvgObsFakeQuantize, per channel": fused_channel,
        "FusedMovingAvgObsFakeQuantize, per channel, after a forward": after(fused_channel, torch.randn(C, 3)),
        "FakeQuantize with HistogramObserver": lambda: q.FakeQuantize(observer=q.HistogramObserver, quant_min=0, quant_max=255),
        "FixedQParamsFakeQuantize of a sigmoid": lambda: q.default_fixed_qparams_range_0to1_fake_quant(),
        "FixedQParamsFakeQuantize of a tanh": lambda: q.default_fixed_qparams_range_neg1to1_fake_quant(),
        "_LearnableFakeQuantize": lambda: lfq._LearnableFakeQuantize(observer=MA, quant_min=0, quant_max=255),
        "_LearnableFakeQuantize, per channel": lambda: lfq._LearnableFakeQuantize(channel_len=C, **channel),
        "MinMaxObserver": lambda: q.MinMaxObserver(),
        "PerChannelMinMaxObserver": lambda: q.PerChannelMinMaxObserver(),
        "BatchNorm2d": lambda: nn.BatchNorm2d(C),
        "converted QuantStub": lambda: conv().quant,
        "converted Conv2d": lambda: conv().module[0],
        "dynamic Linear": lambda: q.quantize_dynamic(nn.Sequential(nn.Linear(2, 3)), {nn.Linear})[0],
    }
    # Which keys of a state_dict an explanation speaks of: the globs of explain.def, for one module.
    keys_of = {
        "weight-scale": ["scale"], "activation-scale": ["scale"], "int8-scale": ["scale"],
        "weight-zero-point": ["zero_point"], "activation-zero-point": ["zero_point"], "int8-zero-point": ["zero_point"],
        "nested-scale": ["activation_post_process.scale"], "nested-zero-point": ["activation_post_process.zero_point"],
        "fake-quant-enabled": ["fake_quant_enabled"], "observer-enabled": ["observer_enabled"],
        "static-enabled": ["static_enabled"], "learning-enabled": ["learning_enabled"],
        "eps": ["activation_post_process.eps", "eps"], "histogram": ["activation_post_process.histogram"],
        "weight-range": ["activation_post_process.min_val", "activation_post_process.max_val"],
        "activation-range": ["activation_post_process.min_val", "activation_post_process.max_val", "min_val", "max_val"],
        "old-channel-range": ["activation_post_process.min_vals", "activation_post_process.max_vals", "min_vals", "max_vals"],
        "int8-weight": ["weight"], "running-mean": ["running_mean"], "running-var": ["running_var"],
        "num-batches-tracked": ["num_batches_tracked"], "bn-weight": ["weight"], "bn-bias": ["bias"],
    }
    problems, count = [], 0

    def problem(*words):
        problems.append("torch %s: " % torch.__version__ + " ".join(str(w) for w in words))

    def same_value(t, want, which):
        """want: one number for all elements, or a pair for the two ends of a range."""
        parts = want.split()
        number = float(parts[which % len(parts)])
        return all(v == number or (math.isnan(v) and math.isnan(number)) for v in t.double().flatten().tolist())

    facts = json.load(open(path))
    spoken = {}
    for f in facts:
        if f["in"] in NOT_RUN: continue
        if f["in"] not in build:
            problem("no way to build a", f["in"])
            continue
        if not (f["since"] <= version and (f["until"] == 0 or version <= f["until"])): continue
        try:
            state = build[f["in"]]().state_dict()
        except Exception as e:
            problem(f["in"], "cannot be built:", e)
            continue
        found = [k for k in keys_of[f["id"]] if k in state]
        spoken.setdefault(f["in"], set()).update(found)
        if not found: problem(f["id"], "is no key of a", f["in"])
        for which, k in enumerate(found):
            t = state[k]
            shape = str(list(t.shape)).replace(str(C), "C") if f["shape"] in ("[C]",) else str(list(t.shape))
            if str(t.dtype) != "torch." + f["dtype"]: problem(f["in"], k, "is", t.dtype, "and not", f["dtype"])
            if shape != f["shape"]: problem(f["in"], k, "has shape", list(t.shape), "and not", f["shape"])
            if f["fresh"] and not same_value(t, f["fresh"], which): problem(f["in"], k, "holds", t, "and not", f["fresh"])
            count += 1
    # A range that was never observed has length 0, and nothing else to say of it.
    for name in ("FakeQuantize", "FusedMovingAvgObsFakeQuantize", "FixedQParamsFakeQuantize of a sigmoid", "_LearnableFakeQuantize",
                 "FakeQuantize with HistogramObserver", "MinMaxObserver", "BatchNorm2d"):
        if name not in spoken: continue
        for k in build[name]().state_dict():
            leaf_told = any(k.endswith(s) for s in spoken[name]) or any(
                k in keys for i, keys in keys_of.items() if any(f["id"] == i for f in facts))
            if not leaf_told: problem("nothing is said of", k, "in", name)

    # ---- the statements of the texts ----
    x = torch.tensor([[-1.3, 0.2, 0.6, 3.4]])
    whole = torch.tensor([[0.0, 0.0, 1.0, 3.0]])  # x rounded to whole numbers, not below 0

    def frozen(m):
        m.observer_enabled[0] = 0
        return m

    def load(make, drop=(), metadata=True, **change):
        """A new module from the state_dict of another, less `drop`, with `change` (__ for .)."""
        state = make().state_dict()
        for k in drop: del state[k]
        for k, v in change.items(): state[k.replace("__", ".")] = v
        if not metadata: del state._metadata
        m = make()
        m.load_state_dict(state)
        return m

    def message(f):
        try:
            f()
        except Exception as e:
            return str(e)
        return ""

    def claim(text, truth):
        nonlocal count
        count += 1
        if not truth: problem("not so:", text)

    def switched_off(make):
        m = make()
        m.fake_quant_enabled[0] = 0
        return torch.equal(m(x), x) and m.activation_post_process.max_val.item() == x.max().item()

    def moving():
        m = plain()
        m(x)
        first = m.activation_post_process.max_val.item()
        m(2 * x)
        second = m.activation_post_process.max_val.item()
        return first == x.max().item() and abs(second - (first + 0.01 * (2 * first - first))) < 1e-5

    def round_trip():
        m = plain()
        y = m(x)
        s, z = m.scale.item(), m.zero_point.item()
        by_hand = (torch.clamp(torch.round(x / s) + z, 0, 255) - z) * s
        lo, hi = x.min().item(), x.max().item()
        return (torch.allclose(y, by_hand, atol=1e-6) and abs(s - (hi - lo) / 255) < 1e-7 and z == -round(lo / s))

    def symmetric():
        m = q.FakeQuantize(observer=MA, quant_min=-128, quant_max=127, dtype=torch.qint8, qscheme=torch.per_tensor_symmetric)
        m(x)
        return abs(m.scale.item() - x.abs().max().item() / 127.5) < 1e-8 and m.zero_point.item() == 0

    missing = lambda make, key, **kw: message(lambda: load(make, drop=[key], **kw))
    claim("the switch at 0 passes on, and goes on observing", switched_off(plain))
    claim("frozen while fresh, plain: whole numbers, no message", torch.equal(frozen(plain())(x), whole))
    claim("with the observer off min and max stay", (lambda m: (m(x), math.isinf(m.activation_post_process.max_val.item())))(frozen(plain()))[1])
    claim("moving average: the first exactly, then v + 0.01 * (new - v)", moving())
    claim("affine: (max - min) / 255 and the zero point", round_trip())
    claim("symmetric: largest magnitude / 127.5, zero point 0", symmetric())
    for k in ("scale", "zero_point"):
        claim(k + " is listed twice", missing(plain, k).count('"%s"' % k) == 2)
    for k in plain().state_dict():
        claim(k + " missing: a strict load fails", '"%s"' % k in missing(plain, k))
    claim("eps is filled in without _metadata", missing(plain, "activation_post_process.eps", metadata=False) == "")
    if version >= 113:
        claim("per channel a missing eps is not asked for", missing(by_channel, "activation_post_process.eps") == "")
        claim("per channel a missing range fails", missing(by_channel, "activation_post_process.min_val") != "")
    # made anew each time: torch 1.7 takes over the tensors of the state_dict and resizes them
    three = lambda: load(plain, scale=torch.ones(3), zero_point=torch.zeros(3, dtype=torch.int32))
    claim("a wrong length loads", message(three) == "")
    claim("a wrong length is mended by the observer", three()(x) is not None)
    claim("a wrong length fails in a frozen forward", message(lambda: frozen(three())(x)) != "")
    claim("scale 0 gives 0", torch.equal(frozen(load(plain, scale=torch.zeros(1)))(x), torch.zeros_like(x)))
    claim("scale NaN gives NaN", torch.isnan(frozen(load(plain, scale=torch.full((1,), float("nan"))))(x)).all())
    outside = lambda: frozen(load(plain, zero_point=torch.tensor([300])))(x)
    if version < 108: claim("a zero point outside raises", "zero_point" in message(outside))
    else: claim("a zero point outside clamps to one value", len(set(outside().flatten().tolist())) == 1)
    long = load(plain, zero_point=torch.tensor([3])).zero_point.dtype
    claim("an int64 zero point is kept up to 1.9 and cast later", long == (torch.int64 if version < 110 else torch.int32))
    backwards = dict(activation_post_process__min_val=torch.tensor(2.0), activation_post_process__max_val=torch.tensor(-2.0))
    claim("min above max fails at the next observation", "should be less than" in message(lambda: load(plain, **backwards)(x)))
    claim("BatchNorm's counter is filled in without _metadata", missing(lambda: nn.BatchNorm1d(2), "num_batches_tracked", metadata=False) == "")
    claim("BatchNorm's counter is asked for with version 2", missing(lambda: nn.BatchNorm1d(2), "num_batches_tracked") != "")
    negative = nn.BatchNorm1d(2).eval()
    negative.running_var.fill_(-1)
    claim("a negative running_var gives NaN", torch.isnan(negative(torch.ones(1, 2))).all())
    claim("a histogram's sum is the number of values", after(q.HistogramObserver, torch.linspace(-1, 1, 5000))().histogram.sum().item() == 5000)
    claim("a stub's fake quantize has a version of 1, BatchNorm 2",
          plain().state_dict()._metadata[""]["version"] == 1 and nn.BatchNorm1d(2).state_dict()._metadata[""]["version"] == 2)
    learnable = build["_LearnableFakeQuantize"]()
    learnable(x)
    claim("while static the learnable scale is the observer's", abs(learnable.scale.item() - 4.7 / 255) < 1e-6)
    learnable.static_enabled[0], learnable.learning_enabled[0] = 0, 1
    learnable.scale.data.fill_(0.5)
    learnable(x).sum().backward()
    claim("while learning its scale has a gradient and is left alone", learnable.scale.grad is not None and learnable.scale.item() == 0.5)
    if version >= 110:
        claim("fused: the switch at 0 passes on, and goes on observing", switched_off(fused))
        claim("fused and frozen while fresh: raises", message(lambda: frozen(fused())(x)) != "")
        m = fused()
        m(x)
        s = m.scale.item()
        frozen(m).scale[0] = 7.0
        m(x)
        claim("fused: scale is made again from the range, even frozen", m.scale.item() == s)
        m = fused_channel()
        m(torch.tensor([[1.0, 2.0], [-1.0, -2.0], [-1.0, 2.0]]))
        claim("fused: a channel of one sign has zero point -128 or 127", m.zero_point.tolist() == [-128, 127, 0])
    if version >= 113:
        claim("converted: int64 zero point", conv().module[0].state_dict()["zero_point"].dtype == torch.int64)
        qconv = conv().module[0].state_dict()["weight"]
        claim("an int8 weight does not load into a float one", "quantized" in message(
            lambda: (lambda m: m.load_state_dict({"weight": qconv, "bias": torch.zeros(3)}))(nn.Conv2d(2, 3, 1))))
        packed = build["dynamic Linear"]().state_dict()
        claim("packed dtype is no tensor", isinstance(packed["_packed_params.dtype"], torch.dtype))
        claim("packed params are a tuple of weight and bias", isinstance(packed["_packed_params._packed_params"], tuple)
              and packed["_packed_params._packed_params"][0].is_quantized)
    claim("prepared for post-training quantization the observer stands alone",
          "quant.activation_post_process.min_val" in q.prepare((lambda w: (setattr(w, "qconfig", q.default_qconfig), w)[1])(
              q.QuantWrapper(nn.Sequential(nn.Conv2d(2, 3, 1))))).state_dict())

    # ConvBn: the weight that the quantizer sees.
    try:
        import torch.ao.nn.intrinsic.qat as qat
    except ImportError:
        import torch.nn.intrinsic.qat as qat
    config = q.QConfig(activation=q.default_fake_quant, weight=q.FakeQuantize.with_args(
        observer=q.MinMaxObserver, dtype=torch.qint8, quant_min=-128, quant_max=127, qscheme=torch.per_tensor_symmetric))
    m = qat.ConvBn2d(2, C, 1, eps=1e-3, qconfig=config).train()
    m.bn.running_var.uniform_(0.5, 2.0)
    var = m.bn.running_var.clone()
    m(torch.randn(2, 2, 3, 3))
    seen = (m.weight * (m.bn.weight / torch.sqrt(var + 1e-3)).reshape(-1, 1, 1, 1)).abs().max().item()
    claim("ConvBn: the observer sees w * gamma / sqrt(running_var + eps)", abs(m.weight_fake_quant.scale.item() - seen / 127.5) < 1e-7)

    # ---- what the lessons say beside that (src/teach/lessons) ----
    bn = nn.BatchNorm2d(2)
    claim("02: weight and bias are parameters, the other three buffers", [n for n, _ in bn.named_parameters()] == ["weight", "bias"]
          and [n for n, _ in bn.named_buffers()] == ["running_mean", "running_var", "num_batches_tracked"])
    claim("02: _metadata is lost in a plain dict", not hasattr(dict(bn.state_dict()), "_metadata") and bn.state_dict()._metadata[""]["version"] == 2)
    claim("03: seven keys", len(plain().state_dict()) == 7)
    m = q.FakeQuantize(observer=MA, quant_min=-128, quant_max=127, dtype=torch.qint8)
    m(torch.tensor([0.0, 5.1]))
    claim("04: a range of 0 .. 5.1 has scale 0.02, and zero point -128", abs(m.scale.item() - 0.02) < 1e-8 and m.zero_point.item() == -128)
    m = q.FakeQuantize(observer=MA, quant_min=0, quant_max=255)
    m(torch.tensor([1.0, 5.1]))
    claim("04: the range is widened to contain 0", abs(m.scale.item() - 0.02) < 1e-8 and m.zero_point.item() == 0)
    m = q.FakeQuantize(observer=MA, quant_min=-128, quant_max=127, dtype=torch.qint8, qscheme=torch.per_tensor_symmetric)
    m(torch.tensor([-0.255, 0.1]))
    claim("04: 0.255 gives 0.002", abs(m.scale.item() - 0.002) < 1e-8)
    m = plain()
    m(torch.tensor([0.0, 2.0]))
    m(torch.tensor([0.0, 4.0]))
    claim("05: 2.0, then a batch to 4.0, is 2.02", abs(m.activation_post_process.max_val.item() - 2.02) < 1e-6)
    claim("05: 0.6 becomes 1", frozen(plain())(torch.tensor([0.6])).item() == 1)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(2, C, 1), nn.BatchNorm2d(C)

        def forward(self, x):
            return self.bn(self.conv(x))

    net = Net().train()
    net.qconfig = config
    fused_net = (getattr(q, "fuse_modules_qat", None) or q.fuse_modules)(net, ["conv", "bn"])
    net = q.prepare_qat(fused_net)
    names = list(net.state_dict())
    claim("06: the BatchNorm moves below the convolution", "conv.bn.running_var" in names and "bn.running_var" not in names)
    claim("06: and leaves an Identity without keys", isinstance(net.bn, nn.Identity) and not net.bn.state_dict())
    claim("06: eps is in no checkpoint; 1e-5 by default", not any(n.endswith("bn.eps") for n in names) and nn.BatchNorm2d(1).eps == 1e-5)
    wrapped = q.QuantWrapper(nn.Conv2d(2, C, 1))
    wrapped.qconfig = config
    wrapped = q.prepare_qat(wrapped.train())
    names = list(wrapped.state_dict())
    claim("06: a wrapped layer's weight is at module.weight, its input's quantizer at quant.activation_post_process",
          "module.weight" in names and "quant.activation_post_process.scale" in names and wrapped.module.weight.shape == (C, 2, 1, 1))
    claim("07: strict=False forgives missing and unexpected", nn.Linear(2, 2).load_state_dict({"weight": torch.zeros(2, 2), "x": torch.zeros(1)}, strict=False) is not None)
    claim("07: and no size mismatch", "size mismatch" in message(lambda: nn.Linear(2, 2).load_state_dict({"weight": torch.zeros(3, 2)}, strict=False)))
    claim("07: another dtype is cast without a word", message(lambda: bn.load_state_dict(nn.BatchNorm2d(2).double().state_dict())) == ""
          and bn.weight.dtype == torch.float32)
    m = by_channel()
    before = {k: list(v.shape) for k, v in m.state_dict().items()}
    m(torch.randn(64, 3))
    after_it = {k: list(v.shape) for k, v in m.state_dict().items()}
    low = "activation_post_process.min_val" + ("" if version >= 110 else "s")
    claim("09: per channel, before and after: scale [1] and [C], range [0] and [C]",
          (before["scale"], before[low], after_it["scale"], after_it["zero_point"], after_it[low]) == ([1], [0], [64], [64], [64]))
    claim("09: version 2 up to 1.9, then 3", m.activation_post_process.state_dict()._metadata[""]["version"] == (3 if version >= 110 else 2))
    if version >= 110:
        old = by_channel()
        old(torch.randn(4, 3))
        state = old.state_dict()
        for k in ("min_val", "max_val"):
            state["activation_post_process.%ss" % k] = state.pop("activation_post_process." + k)
        state._metadata["activation_post_process"]["version"] = 2
        m = by_channel()
        claim("09: old names with an old version: success is reported", message(lambda: m.load_state_dict(state)) == "")
        claim("old names are looked for without a version up to 2.2",
              ("min_vals" in missing(by_channel, "activation_post_process.min_val", metadata=False)) == (version < 203))
        claim("09: and the shape is taken over", list(m.activation_post_process.min_val.shape) == [4])
        claim("10: the default QAT config is fused", type(q.get_default_qat_qconfig("fbgemm").weight()).__name__ == "FusedMovingAvgObsFakeQuantize")
        m = q.FusedMovingAvgObsFakeQuantize(observer=MA, quant_min=-128, quant_max=127, dtype=torch.qint8, qscheme=torch.per_tensor_symmetric)
        m(torch.tensor([-1.28, 1.0]))
        claim("10: -1.28 .. 1.0 has the fused symmetric scale 0.01", abs(m.scale.item() - 0.01) < 1e-8)
    else:
        claim("10: torch 1.7 has no fused module", not hasattr(q, "FusedMovingAvgObsFakeQuantize"))
    if version >= 113:
        # any output: the scale of a converted module is that of its output
        w = q.QuantWrapper(nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU()))
        w.qconfig = q.get_default_qconfig("fbgemm")
        w = q.prepare(w)
        w(torch.randn(4, 2, 8, 8))
        want_scale = w.module[0].activation_post_process.calculate_qparams()[0].item()
        c8 = q.convert(w)
        claim("11: scale and zero_point of a converted module are those of its output", abs(c8.module[0].scale - want_scale) < 1e-7)
        claim("11: int64 [] in a converted Conv2d, a qint8 weight", c8.module[0].state_dict()["zero_point"].shape == ()
              and c8.module[0].state_dict()["weight"].dtype == torch.qint8)
        claim("11: observers and fake quantizers are gone", not any("activation_post_process" in k for k in c8.state_dict()))
    claim("12: DataParallel puts module. before every key", list(nn.DataParallel(nn.Linear(1, 1)).state_dict()) == ["module.weight", "module.bias"])
    if version >= 210:
        os.environ.setdefault("USER", "nobody")
        claim("12: torch.compile puts _orig_mod. before every key",
              list(torch.compile(nn.Linear(1, 1), backend="eager").state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"])

    for p in problems: print(p)
    print("torch %s: %d facts and statements, %d not so" % (torch.__version__, count, len(problems)))
    sys.stdout.flush()
    os._exit(1 if problems else 0)  # torch 1.7 may abort when its threads end after Python


# ---- the test ----

def main():
    facts = read_facts(os.path.join(HERE, "..", "..", "src", "teach", "explain.def"))
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "facts.json")
        json.dump(facts, open(path, "w"))
        roots = os.environ.get("TORCH_ROOTS", os.path.expanduser("~/.cache/torch-roots"))
        runs = [["bash", os.path.join(HERE, "torch-at"), s] for s in ("bullseye", "trixie", "sid") if os.path.isdir(os.path.join(roots, s))]
        if subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode == 0:
            runs.insert(0, [sys.executable])
        if not runs:
            print("no torch here")
            return 77
        bad = 0
        for run in runs:
            r = subprocess.run(run + [os.path.abspath(__file__), "--worker", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            out = r.stdout.decode()
            print(out, end="")
            if run[0] == "bash" and "facts and statements" not in out and re.search(r"unshare|chroot|mount", out):
                continue  # no rights to enter the other roots; the local torch has been asked
            bad += r.returncode != 0
        return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(worker(sys.argv[2]) if sys.argv[1:2] == ["--worker"] else main())

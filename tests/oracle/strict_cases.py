"""Random pairs of a model and a state dict, and what torch says when the one is loaded into the other.

    strict_cases.py OUT SEED COUNT     (run by test_strict.py under each torch; exporter.py lies beside it)

Writes OUT/N.pt, OUT/N.json (the exporter's manifest) and OUT/cases.json: options and torch's words.
"""
import collections
import copy
import json
import random
import sys
import warnings

import torch
from torch import nn

import exporter
import strict_layers

warnings.filterwarnings("ignore")
try:
    import torch.ao.quantization as tq
    import torch.ao.nn.intrinsic.qat as nniqat
    import torch.ao.nn.qat as nnqat
    import torch.ao.nn.intrinsic.quantized as nniq
    import torch.ao.nn.quantizable as nnquantizable
    import torch.ao.nn.quantized as nnq
    import torch.ao.nn.quantized.dynamic as nnqd
    import torch.ao.nn.quantized.reference as reference
except ImportError:
    try:
        import torch.ao.quantization as tq
    except ImportError:
        import torch.quantization as tq
    import torch.nn.intrinsic.qat as nniqat
    import torch.nn.intrinsic.quantized as nniq
    import torch.nn.qat as nnqat
    import torch.nn.quantized as nnq
    import torch.nn.quantized.dynamic as nnqd
    nnquantizable = reference = None
try:
    from torch.ao.quantization import observer as tobs
except ImportError:
    from torch.quantization import observer as tobs

VERSION = tuple(int(x) for x in torch.__version__.split("+")[0].split("a")[0].split(".")[:2])
R = random.Random()


class Scaled(nn.Module):
    """Parameters and buffers of every sort."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.gain = nn.Parameter(torch.ones(R.choice([1, 4])))
        self.register_parameter("absent", None)
        self.register_buffer("step", torch.tensor(R.randrange(9)))
        self.register_buffer("hidden", torch.zeros(2), persistent=False)
        self.register_buffer("nothing", None)
        self.register_buffer("mask", torch.ones(3, dtype=torch.bool))
        self.add_module("child", None if R.random() < 0.5 else nn.Linear(2, 2))


class Keeper(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))

    def get_extra_state(self):
        return {"n": 3}

    def set_extra_state(self, state):
        pass


class MyBatchNorm(nn.BatchNorm2d):
    pass


class MyFakeQuantize(tq.FakeQuantize):
    pass


class MyObserver(tobs.MinMaxObserver):
    pass


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1, bias=R.random() < 0.5)
        self.bn = nn.BatchNorm2d(c)
        self.relu = nn.ReLU()
        self.add_module("downsample", None)

    def forward(self, x):
        return self.relu(self.bn(self.conv(x)))


class Float(nn.Module):
    """What prepare_qat is made for."""

    def __init__(self):
        super().__init__()
        self.quant = tq.QuantStub()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.block = Residual(4)
        self.fc = nn.Linear(4, R.choice([2, 5]))
        self.dequant = tq.DeQuantStub()

    def forward(self, x):
        x = self.block(self.relu(self.bn(self.conv(self.quant(x)))))
        return self.dequant(self.fc(x.mean((2, 3))))


def plain_fq(**kw):
    return tq.FakeQuantize.with_args(**kw)


def qconfigs():
    weight_t = plain_fq(observer=tobs.MovingAverageMinMaxObserver, quant_min=-128, quant_max=127, dtype=torch.qint8,
                        qscheme=torch.per_tensor_symmetric, reduce_range=False)
    weight_c = plain_fq(observer=tobs.MovingAveragePerChannelMinMaxObserver, quant_min=-128, quant_max=127,
                        dtype=torch.qint8, qscheme=torch.per_channel_symmetric, reduce_range=False, ch_axis=0)
    act = plain_fq(observer=tobs.MovingAverageMinMaxObserver, quant_min=0, quant_max=255, reduce_range=False)
    act_h = plain_fq(observer=tobs.HistogramObserver, quant_min=0, quant_max=255, reduce_range=False)
    out = [tq.QConfig(activation=a, weight=w) for a in (act, act_h) for w in (weight_t, weight_c)]
    out.append(tq.get_default_qat_qconfig("fbgemm"))
    out.append(tq.get_default_qat_qconfig("qnnpack"))
    return out


def prepared():
    model = Float()
    model.train()
    pairs = [["conv", "bn", "relu"], ["block.conv", "block.bn", "block.relu"]]
    if R.random() < 0.3:
        pairs = [["conv", "bn"]]
    if R.random() < 0.8:
        fuse = getattr(tq, "fuse_modules_qat", None) or tq.fuse_modules
        model = fuse(model, pairs)
    model.qconfig = R.choice(qconfigs())
    tq.prepare_qat(model, inplace=True)
    if R.random() < 0.5:
        model(torch.randn(2, 3, 8, 8))
    return model


def prepared_fx():
    model = Float().train()
    model.dequant, model.quant = nn.Identity(), nn.Identity()
    from torch.quantization import quantize_fx as fx
    qconfig = {"": R.choice(qconfigs())}
    if VERSION < (1, 8):
        from torch import _fx
        return fx.prepare_qat_fx(_fx.symbolic_trace(model), qconfig)
    try:
        return fx.prepare_qat_fx(model, qconfig, (torch.randn(2, 3, 8, 8),))
    except TypeError:
        return fx.prepare_qat_fx(model, qconfig)


def fake_quantizer():
    per_channel = R.random() < 0.4
    base = R.choice([tq.FakeQuantize, tq.FakeQuantize, MyFakeQuantize] +
                    ([tq.FusedMovingAvgObsFakeQuantize] if hasattr(tq, "FusedMovingAvgObsFakeQuantize") else []))
    if per_channel:
        fq = base(observer=tobs.MovingAveragePerChannelMinMaxObserver, quant_min=-128, quant_max=127,
                  dtype=torch.qint8, qscheme=torch.per_channel_symmetric, ch_axis=0)
    else:
        observer = tobs.MovingAverageMinMaxObserver
        if base is not getattr(tq, "FusedMovingAvgObsFakeQuantize", None) and R.random() < 0.4:
            observer = R.choice([tobs.MinMaxObserver, tobs.HistogramObserver])
        fq = base(observer=observer, quant_min=0, quant_max=255)
    if R.random() < 0.5:
        fq(torch.randn(R.choice([2, 4]), 3))
    return fq


def observer():
    o = R.choice([tobs.MinMaxObserver, tobs.MovingAverageMinMaxObserver, tobs.PerChannelMinMaxObserver, MyObserver,
                  tobs.MovingAveragePerChannelMinMaxObserver, tobs.HistogramObserver, tobs.PlaceholderObserver,
                  tobs.NoopObserver])()
    if R.random() < 0.4:
        o(torch.randn(4, 3))
    return o


def learnable():
    name = "torch.ao.quantization._learnable_fake_quantize" if VERSION >= (1, 10) else \
        "torch.quantization._learnable_fake_quantize"
    module = __import__(name, fromlist=["x"])
    try:
        return module._LearnableFakeQuantize(tobs.MovingAverageMinMaxObserver, 0, 255)
    except Exception:
        return Scaled()


def fixed():
    cls = getattr(tq, "FixedQParamsFakeQuantize", None)
    if cls is None:
        return fake_quantizer()
    try:
        return tq.default_fixed_qparams_range_0to1_fake_quant()
    except AttributeError:
        return fake_quantizer()


def qat_layer():
    q = R.choice(qconfigs())
    kind = R.randrange(6)
    if kind == 0:
        return nnqat.Linear(3, 4, qconfig=q)
    if kind == 1:
        return nnqat.Conv2d(3, 4, 1, qconfig=q)
    if kind == 2 and hasattr(nniqat, "LinearBn1d"):
        return nniqat.LinearBn1d(3, 4, qconfig=q)
    if kind == 3:
        return nniqat.ConvReLU2d(3, 4, 1, qconfig=q)
    if kind == 4:
        return nniqat.ConvBnReLU2d(3, 4, 1, bias=R.random() < 0.5, qconfig=q)
    return nniqat.ConvBn2d(3, 4, 1, qconfig=q)


def wrapped():
    m = tq.QuantWrapper(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()))
    m.qconfig = R.choice(qconfigs())
    m.train()
    return tq.prepare_qat(m)


def quantized():
    some = [lambda: nnq.Linear(3, 4), lambda: nnq.Conv2d(3, 4, 1), nnq.QFunctional, lambda: nnqd.Linear(3, 4),
            lambda: nnq.Embedding(4, 3), lambda: nnqd.LSTM(2, 2), lambda: nnqd.LSTMCell(2, 2)]
    return R.choice(some if R.random() < 0.5 else strict_layers.rare(R, nnq, nniq, nnquantizable, reference))()


def converted():
    engines = [e for e in torch.backends.quantized.supported_engines if e in ("fbgemm", "qnnpack")]
    return strict_layers.converted(R, tq, Float, R.choice(engines)) if engines else Float()


def parametrized():
    layer = nn.Linear(3, 4)
    kind = R.randrange(3)
    if kind == 0 and VERSION >= (1, 10):
        return nn.utils.parametrizations.spectral_norm(layer)
    if kind == 1 and VERSION >= (2, 1):
        return nn.utils.parametrizations.weight_norm(layer)
    return nn.utils.weight_norm(layer) if VERSION < (2, 10) else nn.Linear(4, 3)


def norm():
    c = R.choice([2, 4])
    kind = R.randrange(6)
    if kind == 0:
        return nn.BatchNorm1d(c, affine=R.random() < 0.7)
    if kind == 1:
        return nn.BatchNorm2d(c, track_running_stats=R.random() < 0.7)
    if kind == 2:
        return nn.InstanceNorm2d(c, affine=R.random() < 0.5, track_running_stats=R.random() < 0.5)
    if kind == 3:
        return MyBatchNorm(c)
    return nn.LayerNorm(c) if kind == 4 else nn.GroupNorm(2, c)


def any_layer():
    simple = [lambda: nn.Linear(3, R.choice([2, 4]), bias=R.random() < 0.7), lambda: nn.Conv2d(3, 4, 1), norm, norm,
              lambda: nn.Embedding(3, 2), nn.PReLU, nn.ReLU, Scaled, Keeper, lambda: nn.LSTM(2, 2),
              lambda: nn.MultiheadAttention(4, 2), parametrized, lambda: Residual(2),
              lambda: nn.ParameterList([nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(()))])]
    quant = [fake_quantizer, observer, observer, learnable, fixed, qat_layer, qat_layer, wrapped]
    roll = R.random()
    if roll < 0.5:
        return R.choice(simple + strict_layers.simple(R))()
    if roll < 0.75:
        return R.choice(quant)()
    if roll < 0.94:
        return R.choice(strict_layers.quantizers(R, tq, nnqat, nniqat, tobs, qconfigs))()
    return quantized()


def layer():
    try:
        return any_layer()
    except (AttributeError, RuntimeError, TypeError, AssertionError):  # this torch lacks it, or an engine for it
        return nnq.QFunctional() if R.random() < 0.5 else Scaled()


def nested(depth):
    kind = R.randrange(3)
    children = [layer() if depth == 0 or R.random() < 0.7 else nested(depth - 1) for _ in range(R.randrange(1, 4))]
    if R.random() < 0.1:
        children.append(children[0])
    if kind == 0:
        return nn.Sequential(*children)
    if kind == 1:
        return nn.ModuleList(children)
    names = R.sample(["conv", "bn", "a-b", "weight", "module", "quant", "schlüssel", 'qu"ote', "x y"], len(children))
    return nn.ModuleDict(collections.OrderedDict(zip(names, children)))


def model():
    roll = R.random()
    if roll < 0.3:
        return prepared()
    if roll < 0.38:
        return prepared_fx()
    if roll < 0.42:
        return converted()
    if roll < 0.44 and strict_layers.has_pt2e():
        return strict_layers.prepared_pt2e(R)
    if roll < 0.5:
        return Float()
    if roll < 0.6:
        return layer()
    return nested(2)


def usable():
    """A model that can be saved: some engines pack weights and cannot unpack them."""
    while True:
        made = model()
        try:
            made.state_dict()
            return made
        except RuntimeError:
            pass


def near(key, keys):
    """A name that almost fits."""
    parts = key.split(".")
    k = R.randrange(9)
    if k == 0:
        return "module." + key
    if k == 1:
        return ".".join(parts[:-1] + [parts[-1] + R.choice(["s", "_orig", ".x", "_g", "_v"])])
    if k == 2:
        parts.insert(R.randrange(len(parts)), R.choice(["module", "0", "bn", "conv"]))
    if k == 3 and len(parts) > 1:
        del parts[R.randrange(len(parts))]
    if k == 4:
        return R.choice(list(keys) or [key]) + R.choice([".bar", ".0.weight", "_"])
    if k == 5:
        parts[-1] = R.choice(["_extra_state", "eps", "min_vals", "max_vals", "min_val", "gamma", "beta", "weight",
                              "running_mean", "running_var", "num_batches_tracked", "scale", "child", "absent", "hidden"])
    if k == 6:
        return ".".join(parts[:-1]) or "top"
    if k == 7:
        return R.choice(["", "epoch", "a.b.c", "_extra_state", "model." + key])
    if k == 8:
        parts[-1] = {"min_val": "min_vals", "max_val": "max_vals", "bn.weight": "gamma"}.get(parts[-1], parts[-1] + "2")
    return ".".join(parts)


def value(old):
    shapes = [(), (1,), (0,), (2,), (4,), (3, 1), (2, 3), (4, 3, 1, 1)]
    roll = R.random()
    if roll < 0.7 or not isinstance(old, torch.Tensor):
        return torch.zeros(R.choice(shapes))
    if roll < 0.85:
        return torch.zeros((2,) if is_lazy(old) else old.shape, dtype=R.choice([torch.float16, torch.int64, torch.float64, torch.uint8, torch.bool]))
    if roll < 0.88 and hasattr(nn.parameter, "UninitializedBuffer"):
        return R.choice([nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer])()
    if roll < 0.94:
        return R.choice([[1, 2], 3, None, {"a": 1}, (1,), 2.5, True, torch.float32])
    return torch.quantize_per_tensor(torch.zeros((1,) if is_lazy(old) else old.shape or (1,)), 0.1, 0, torch.qint8)


def metadata(state):
    meta = getattr(state, "_metadata", None)
    roll = R.random()
    if meta is None or roll < 0.3:
        return
    if roll < 0.5:
        del state._metadata
        return
    new = collections.OrderedDict()
    for prefix, info in meta.items():
        info = dict(info)
        if R.random() < 0.3:
            continue
        if R.random() < 0.4:
            info["version"] = R.choice([1, 2, 3, 4])
        new[prefix] = info
    state._metadata = new


def old_convbn(state):
    """The names of a version 1 ConvBn."""
    table = {"bn.weight": "gamma", "bn.bias": "beta", "bn.running_mean": "running_mean", "bn.running_var": "running_var",
             "bn.num_batches_tracked": "num_batches_tracked"}
    for key in list(state):
        for new, old in table.items():
            if key.endswith("." + new) and R.random() < 0.9:
                state[key[:-len(new)] + old] = state.pop(key)


def is_packed(key, old):
    """Payloads of quantized modules, biases too: what torch says of another one comes from its engines."""
    return not isinstance(old, torch.Tensor) or is_lazy(old) or old.is_quantized or "_packed_params" in key or key.endswith("bias")


def old_weight_norm(state):
    """The names of nn.utils.weight_norm."""
    for key in list(state):
        for new, old in (("parametrizations.weight.original0", "weight_g"), ("parametrizations.weight.original1", "weight_v")):
            if key.endswith(new) and R.random() < 0.9:
                state[key[:-len(new)] + old] = state.pop(key)


def is_lazy(v):
    return "Uninitialized" in type(v).__name__


def edit(state, packed):
    meta = getattr(state, "_metadata", None)
    state = collections.OrderedDict((k, v.clone() if isinstance(v, torch.Tensor) and not is_lazy(v) and not v.is_quantized else v)
                                    for k, v in state.items())
    if meta is not None:
        state._metadata = copy.deepcopy(meta)
    metadata(state)
    if R.random() < 0.1:
        old_convbn(state)
    if R.random() < 0.5:
        old_weight_norm(state)
    if R.random() < 0.1:
        for key in list(state):
            if key.endswith(("min_val", "max_val")):
                state[key + "s"] = state.pop(key)
    for _ in range(R.choice([0, 0, 1, 1, 2, 4, 8])):
        if not state:
            break
        key, what = R.choice(list(state)), R.randrange(4)
        if packed and what >= 1 and (what < 3 or is_packed(key, state[key])):
            what = 0
        if what == 0:
            del state[key]
        elif what == 1:
            state[near(key, state)] = state.pop(key)
        elif what == 2:
            state[near(key, state)] = value(state[key])
        else:
            state[key] = value(state[key])
    if R.random() < 0.1:
        keys = list(state)
        R.shuffle(keys)
        for key in keys:
            state.move_to_end(key)
    if R.random() < 0.05:
        bare = collections.OrderedDict(("module." + k, v) for k, v in state.items())
        return bare
    return state


class Asked:
    """A state dict that notes which of its keys Module._load_from_state_dict asks for; hooks ask for others."""

    def __init__(self, state, walk):
        self.state, self.walk = state, walk

    def __contains__(self, key):
        if sys._getframe(1).f_code.co_name == "_load_from_state_dict":
            self.walk.append(["ask", key])
        return key in self.state

    def __getitem__(self, key):
        return self.state[key]

    def __setitem__(self, key, value):
        self.state[key] = value

    def __delitem__(self, key):
        del self.state[key]

    def __iter__(self):
        return iter(self.state)

    def __getattr__(self, name):
        return getattr(self.state, name)


def watched(target, state, options):
    """What load_state_dict says, and the way it takes: modules entered, keys asked for, unexpected keys found."""
    walk, plain = [], nn.Module._load_from_state_dict

    def load(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors):
        walk.append(["enter", prefix[:-1]])
        before = len(unexpected)
        result = plain(self, Asked(state_dict, walk), prefix, local_metadata, strict, missing, unexpected, errors)
        walk.extend(["unexpected", key] for key in unexpected[before:])
        return result

    nn.Module._load_from_state_dict = load
    try:
        return words(target, state, options) + (walk,)
    finally:
        nn.Module._load_from_state_dict = plain


def words(target, state, options):
    try:
        result = target.load_state_dict(state, **options)
    except Exception as e:
        if isinstance(e, RuntimeError) and str(e).startswith("Error(s) in"):
            return False, str(e)
        return False, "%s: %s" % (type(e).__name__, e)
    return True, repr(result)


def case(out, i, seed):
    R.seed(seed)
    torch.manual_seed(seed)
    target = usable()
    source = target if R.random() < 0.75 else usable()
    if R.random() < 0.2 and isinstance(source, Float):
        source = prepared() if R.random() < 0.5 else Float()
    packed = any(".quantized." in type(m).__module__ for x in (target, source) for m in x.modules())
    state = edit(source.state_dict(), packed)
    if not any(isinstance(v, torch.Tensor) for v in state.values()):
        state["extra"] = torch.zeros(2)  # a file without tensors is no checkpoint
    options = {}
    if R.random() < 0.12:
        options["strict"] = False
    if VERSION >= (2, 1) and R.random() < 0.12:
        options["assign"] = True
    return judged(target, state, options, out, i, seed, packed)


def judged(target, state, options, out, i, seed, packed=False):
    """Files for qatscope, and what torch makes of the pair."""
    torch.save(state, "%s/%d.pt" % (out, i))
    exporter.export(target, "%s/%d.json" % (out, i))
    loads, text, walk = watched(target, state, options)
    return {"i": i, "seed": seed, "options": options, "loads": loads, "text": text, "packed": packed, "walk": walk}


def main(make=case):
    out, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    cases = []
    for i in range(count):
        cases.append(make(out, i, seed + i))
    with open(out + "/cases.json", "w") as f:
        json.dump({"torch": torch.__version__, "cases": cases}, f)


if __name__ == "__main__":
    main()

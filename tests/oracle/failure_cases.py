"""One failing pair for each of the load failures people report, by the numbers of the list the project works from. A case is
(checkpoint object or bytes, model, what fix must name, how it ends); where a library is not in Debian its modules are made with
the names, shapes and dtypes it documents."""
import collections
import copy
import pickle

import torch
import torch.ao.quantization as tq
from torch import nn

REPAIRED, EXPLAINED = "repaired", "explained"
CASES = {}


def case(*numbers):
    def add(f):
        for n in numbers:
            CASES.setdefault(n, []).append(f)
        return f
    return add


class Net(nn.Module):
    """What most cases fail to load."""

    def __init__(self, classes=5, bias=False):
        super().__init__()
        self.stem = nn.Sequential(collections.OrderedDict(conv=nn.Conv2d(3, 8, 3, bias=bias), bn=nn.BatchNorm2d(8), act=nn.ReLU()))
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3))
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class Tensors(nn.Module):
    """A module of buffers with these dotted names: what another library's state_dict looks like."""

    def __init__(self, **entries):
        super().__init__()
        for name, value in entries.items():
            self.put(name.replace("__", "."), value)

    def put(self, name, value):
        at = self
        *path, leaf = name.split(".")
        for part in path:
            if part not in at._modules:
                at.add_module(part, nn.Module())
            at = at._modules[part]
        if isinstance(value, nn.Parameter):
            at.register_parameter(leaf, value)
        else:
            at.register_buffer(leaf, value)

    @classmethod
    def of(cls, state):
        out = cls()
        for k, v in state.items():
            out.put(k, v)
        return out


def qat(net=None, **kw):
    net = net or Net()
    net.train()
    net.qconfig = kw.get("qconfig") or tq.get_default_qat_qconfig("fbgemm")
    return tq.prepare_qat(net)


def renamed(state, f):
    out = collections.OrderedDict((f(k), v) for k, v in state.items())
    if hasattr(state, "_metadata"):
        out._metadata = collections.OrderedDict((f(k + ".")[:-1] if k else k, v) for k, v in state._metadata.items())
    return out


def under(prefix):
    return lambda k: prefix + k


def plus(state, **more):
    out = collections.OrderedDict(state)
    out._metadata = getattr(state, "_metadata", None)
    if out._metadata is None:
        del out._metadata
    for k, v in more.items():
        out[k.replace("__", ".")] = v
    return out


def f(*shape):
    return torch.randn(*shape)


@case(1)
def data_parallel():
    return renamed(Net().state_dict(), under("module.")), Net(), ["ddp-prefix"], REPAIRED


@case(1)
def data_parallel_around_quant_wrapper():
    """The leading module. goes, QuantWrapper's own stays."""
    model = tq.QuantWrapper(Net())
    return renamed(tq.QuantWrapper(Net()).state_dict(), under("module.")), model, ["ddp-prefix"], REPAIRED


@case(2)
def lightning_whole():
    saved = {"epoch": 3, "global_step": 100, "pytorch-lightning_version": "1.9.0", "state_dict": Net().state_dict()}
    return saved, Net(), ["nested"], "bare"


@case(3)
def pickled_module():
    return Net(), Net(), ["pickled-module"], "bare"


@case(4)
def float_into_qat():
    return Net().state_dict(), qat(), ["float-into-qat"], REPAIRED


@case(4)
def float_into_wrapped_qat():
    net = nn.Sequential(collections.OrderedDict(a=tq.QuantWrapper(nn.Conv2d(3, 4, 3)), b=nn.Linear(4, 4)))
    flat = renamed(net.state_dict(), lambda k: k.replace("a.module.", "a."))
    return flat, qat(net), ["float-into-qat", "quant-wrapper"], REPAIRED


@case(5)
def qat_into_float():
    return qat().state_dict(), Net(), ["qat-into-float"], REPAIRED


@case(5)
def openvino_qat_into_float():
    extra = {"body.0.activation_quantizer.scale": f(1), "body.0.weight_quantizer.scale": f(8)}
    return plus(Net().state_dict(), **{k.replace(".", "__"): v for k, v in extra.items()}), Net(), ["custom-quantizer"], REPAIRED


@case(6)
def class_count():
    return Net(classes=3).state_dict(), Net(classes=80), ["class-count"], EXPLAINED


@case(7)
def compiled():
    return renamed(Net().state_dict(), under("_orig_mod.")), Net(), ["compile-prefix"], REPAIRED


@case(7)
def compiled_inside_data_parallel():
    return renamed(Net().state_dict(), under("module._orig_mod.")), Net(), ["compile-prefix", "ddp-prefix"], REPAIRED


@case(7)
def into_a_compiled_model():
    return Net().state_dict(), Tensors.of(renamed(Net().state_dict(), under("_orig_mod."))), ["compile-prefix"], REPAIRED


@case(8)
def lightning_prefix():
    return {"state_dict": renamed(Net().state_dict(), under("model.")), "epoch": 1}, Net(), ["model-prefix", "nested"], REPAIRED


@case(9)
def ema_with_module():
    sd = {"state_dict": Net().state_dict(), "state_dict_ema": renamed(Net().state_dict(), under("module.")), "epoch": 2}
    return sd, Net(), ["ema", "ddp-prefix"], REPAIRED


@case(10)
def mmcv_ema():
    net = Net()
    ema = {"ema_" + k.replace(".", "_"): v.clone() for k, v in net.state_dict().items()}
    return plus(net.state_dict(), **{k.replace(".", "__"): v for k, v in ema.items()}), Net(), ["underscores"], REPAIRED


@case(10)
def mmcv_ema_alone():
    return collections.OrderedDict(("ema_" + k.replace(".", "_"), v) for k, v in Net().state_dict().items()), Net(), ["underscores"], REPAIRED


@case(11)
def counter_missing():
    sd = Net().state_dict()
    del sd["stem.bn.num_batches_tracked"]
    return sd, Net(), ["bn-counter"], REPAIRED


@case(11)
def counter_unexpected():
    model = Net()
    model.stem.bn = nn.BatchNorm2d(8, track_running_stats=True)
    del model.stem.bn._buffers["num_batches_tracked"]
    return Net().state_dict(), Tensors.of({k: v for k, v in Net().state_dict().items() if "num_batches" not in k}), ["bn-counter"], REPAIRED


@case(12)
def folded():
    fused = Net(bias=True)
    sd = collections.OrderedDict((k, v) for k, v in fused.state_dict().items() if ".bn." not in k)
    return sd, Net(), ["bn-folded"], EXPLAINED


def observed():
    net = qat()
    net(torch.randn(2, 3, 9, 9))
    return net


@case(13, 16)
def metadata_lost():
    return collections.OrderedDict(observed().state_dict().items()), qat(), ["no-metadata"], REPAIRED


@case(16)
def metadata_skipped_by_a_prefix_helper():
    return collections.OrderedDict(("module." + k, v) for k, v in observed().state_dict().items()), qat(), ["no-metadata", "ddp-prefix"], REPAIRED


@case(14)
def old_observers():
    def old(k):
        inside = "weight_fake_quant.activation_post_process." in k
        return k.replace("min_val", "min_vals").replace("max_val", "max_vals") if inside and k.endswith("_val") else k
    net = observed()
    sd = collections.OrderedDict((old(k), v) for k, v in net.state_dict().items())
    sd._metadata = collections.OrderedDict()
    for k, v in net.state_dict()._metadata.items():
        sd._metadata[k] = {"version": 2} if "weight_fake_quant.activation_post_process" in k else v
    # as they are torch still knows them; saved again by something that writes today's versions it does not
    for k in sd._metadata:
        sd._metadata[k] = {"version": 3} if "activation_post_process" in k else sd._metadata[k]
    return sd, qat(), ["observer-names"], REPAIRED


def int8():
    net = nn.Sequential(collections.OrderedDict(q=tq.QuantStub(), lin=nn.Linear(4, 4), out=tq.DeQuantStub())).eval()
    net.qconfig = tq.get_default_qconfig("fbgemm")
    net = tq.prepare(net)
    net(torch.randn(3, 4))
    return tq.convert(net)


def before_convert(training):
    net = nn.Sequential(collections.OrderedDict(q=tq.QuantStub(), lin=nn.Linear(4, 4), out=tq.DeQuantStub()))
    net.qconfig = tq.get_default_qat_qconfig("fbgemm")
    if training:
        net = tq.prepare_qat(net.train())
        net(torch.randn(3, 4))
    return net


@case(17)
def qat_into_converted():
    return before_convert(True).state_dict(), int8(), ["into-converted"], EXPLAINED


@case(17)
def float_into_converted():
    return before_convert(False).state_dict(), int8(), ["into-converted"], EXPLAINED


@case(17)
def converted_into_qat():
    return int8().state_dict(), before_convert(True), ["from-converted"], EXPLAINED


@case(15)
def int8_without_metadata():
    return collections.OrderedDict(int8().state_dict().items()), int8(), ["no-metadata"], REPAIRED


@case(17)
def quantized_into_float():
    w = torch.quantize_per_channel(f(8, 8, 3, 3), torch.rand(8).double() + 0.1, torch.zeros(8, dtype=torch.long), 0, torch.qint8)
    sd = plus(Net().state_dict())
    sd["body.0.weight"] = w
    return sd, Net(), ["quantized-tensor"], REPAIRED


def nvidia(per_channel=True):
    sd = Net().state_dict()
    for m, c in (("body.0", 8), ("body.2", 16)):
        sd[m + "._input_quantizer._amax"] = torch.tensor(2.0)
        sd[m + "._weight_quantizer._amax"] = torch.rand(c, 1, 1, 1) if per_channel else torch.tensor(1.0)
    return sd


@case(18)
def nvidia_missing():
    return Net().state_dict(), Tensors.of(nvidia()), ["nvidia-amax"], EXPLAINED  # an input's range wants data


@case(18)
def nvidia_unexpected():
    return nvidia(), Net(), ["nvidia-amax"], REPAIRED


@case(19)
def reparametrised():
    train = Tensors.of({"stage.0.rbr_dense.conv.weight": f(4, 4, 3, 3), "stage.0.rbr_1x1.conv.weight": f(4, 4, 1, 1), "head.weight": f(2, 4)})
    return {"stage.0.rbr_reparam.weight": f(4, 4, 3, 3), "stage.0.rbr_reparam.bias": f(4), "head.weight": f(2, 4)}, train, ["re-parametrised"], EXPLAINED


@case(20)
def scalar_or_vector():
    def made(shape):
        return {"%s.act_scaling_factor" % m: f(*shape) if shape else torch.tensor(0.3) for m in ("qact1", "blocks.0.qact2")}
    return plus(made(())), Tensors.of(made((1,))), ["scalar-or-vector"], REPAIRED


def brevitas(shape):
    return {"conv.weight": f(16, 8, 3, 3),
            "conv.weight_quant.tensor_quant.scaling_impl.value": torch.rand(*shape) if shape else torch.tensor(0.5),
            "act.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl.value": torch.tensor(1.0)}


@case(21)
def channel_into_tensor_scale():
    return plus(brevitas((16, 1, 1, 1))), Tensors.of(brevitas(())), ["granularity"], EXPLAINED


@case(21)
def tensor_into_channel_scale():
    return plus(brevitas(())), Tensors.of(brevitas((16, 1, 1, 1))), ["granularity"], REPAIRED


@case(22)
def brevitas_scales_missing():
    sd = {k: v for k, v in brevitas(()).items() if "scaling_impl" not in k}
    return plus(sd), Tensors.of(brevitas(())), ["learned-scales"], "any"


def nncf(prefix="nncf_module."):
    out = {prefix + k: v for k, v in Net().state_dict().items()}
    out["activation_quantizers.Net/Sequential[body]/ReLU[1]/relu_0.scale"] = f(1)
    out["activation_quantizers.Net/Sequential[body]/ReLU[1]/relu_0.enabled"] = torch.ones(1, dtype=torch.int32)
    return out


@case(23)
def nncf_wrapper():
    return Net().state_dict(), Tensors.of(nncf()), ["nncf-wrapper", "float-into-qat"], "any"


@case(24)
def nncf_axis():
    a, b = nncf(), nncf()
    a["nncf_module.body.0.pre_ops.0.op.scale"], b["nncf_module.body.0.pre_ops.0.op.scale"] = f(1, 8, 1, 1), f(8, 1, 1, 1)
    return plus(a), Tensors.of(b), ["channel-axis"], REPAIRED


@case(25)
def fixed_qparams_unexpected():
    model = qat()
    of = "stem.conv.activation_post_process."
    extra = {k.replace("conv.", "scale_activation."): v for k, v in model.state_dict().items() if k.startswith(of)}
    sd = plus(model.state_dict(), **{k.replace(".", "__"): v for k, v in extra.items()})
    return sd, qat(), ["quantizers-differ"], REPAIRED


@case(25)
def fixed_qparams_missing():
    model = qat()
    sd = model.state_dict()
    for k in [k for k in sd if k.startswith("body.2.activation_post_process.")]:
        del sd[k]
    return sd, qat(), ["quantizers-missing"], REPAIRED


@case(26)
def zero_point_int64():
    model = observed()
    sd = plus(model.state_dict())
    for k in sd:
        if k.endswith("zero_point"):
            sd[k] = sd[k].to(torch.int64)
    sd["new"] = f(1)
    return sd, model, ["zero-point-dtype"], "any"


@case(27)
def custom_qat():
    quant = {"body.quant_act1.alpha": f(1), "body.quant_act1.max_val": f(1), "body.conv.weight": f(4, 4, 3, 3)}
    return plus({"body.conv.weight": quant["body.conv.weight"]}), Tensors.of(quant), ["custom-quantizer"], EXPLAINED


@case(28)
def thop():
    extra = {m + n: torch.zeros(1, dtype=torch.float64) for m in ("", "stem.", "stem.conv.") for n in ("total_ops", "total_params")}
    return plus(Net().state_dict(), **{k.replace(".", "__"): v for k, v in extra.items()}), Net(), ["profiler-buffers"], REPAIRED


@case(29)
def loss_buffer():
    return plus(Net().state_dict(), criterion__pos_weight=f(5)), Net(), ["loss-buffers"], REPAIRED


@case(30)
def wrapper_prefix():
    return Net().state_dict(), Tensors.of(renamed(Net().state_dict(), under("architecture.model.backbone."))), ["wrapper-prefix"], REPAIRED


@case(31)
def fsdp_wrapped():
    def wrap(k):
        return "_fsdp_wrapped_module." + k.replace("body.", "body._fsdp_wrapped_module.")
    return renamed(Net().state_dict(), wrap), Net(), ["fsdp-wrapper"], REPAIRED


@case(31)
def fsdp_flat():
    return plus({"_fsdp_wrapped_module._flat_param": f(5000)}), Net(), ["fsdp-flat"], EXPLAINED


class Normed(nn.Module):
    def __init__(self, new):
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3)
        if new:
            self.conv = Tensors.of({"bias": nn.Parameter(f(8)), "parametrizations.weight.original0": nn.Parameter(f(8, 1, 1)),
                                    "parametrizations.weight.original1": nn.Parameter(f(8, 4, 3))})
        else:
            self.conv = nn.utils.weight_norm(self.conv)


@case(32)
def weight_norm_old_into_new():
    return Normed(False).state_dict(), Normed(True), ["weight-norm"], REPAIRED


@case(32)
def weight_norm_new_into_old():
    return Normed(True).state_dict(), Normed(False), ["weight-norm"], REPAIRED


@case(33)
def fx_constants():
    return plus(Net().state_dict(), _tensor_constant0=f(2), _tensor_constant1=f(3)), Net(), ["fx-constants"], REPAIRED


class WithState(Net):
    def get_extra_state(self):
        return {"scale": 3}

    def set_extra_state(self, state):
        pass


@case(34)
def extra_state_missing():
    return Net().state_dict(), WithState(), ["extra-state"], EXPLAINED


@case(34)
def extra_state_unexpected():
    return WithState().state_dict(), Net(), ["extra-state"], REPAIRED


@case(35)
def float_into_gptq():
    packed = {}
    for i in range(3):
        m = "model.layers.%d.k_proj." % i
        packed.update({m + "qweight": torch.zeros(8, 64, dtype=torch.int32), m + "qzeros": torch.zeros(1, 8, dtype=torch.int32),
                       m + "scales": f(1, 64).half(), m + "g_idx": torch.zeros(64, dtype=torch.int32)})
    sd = {"model.layers.%d.k_proj.weight" % i: f(64, 64) for i in range(3)}
    return plus(sd), Tensors.of(packed), ["gptq"], EXPLAINED


@case(36)
def nf4():
    sd, model = {}, {}
    for i in range(2):
        m = "layers.%d.fc.weight" % i
        sd.update({m: torch.zeros(2048, 1, dtype=torch.uint8), m + ".absmax": f(64), m + ".quant_map": f(16),
                   m + ".quant_state.bitsandbytes__nf4": torch.zeros(90, dtype=torch.uint8)})
        model[m] = nn.Parameter(f(64, 64))
    target = nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict({"fc": nn.Linear(64, 64, bias=False)}) for _ in range(2)])})
    return plus(sd), target, ["bitsandbytes"], EXPLAINED


@case(37)
def packed_int4():
    sd = {"layers.0.w1.weight": torch.zeros(512, 7, 32, 4, dtype=torch.int32), "norm.weight": f(8)}
    target = {"layers.0.w1.weight": f(4096, 896), "norm.weight": f(8)}
    return plus(sd), Tensors.of(target), ["packed-weight"], EXPLAINED


@case(38)
def modelopt():
    extra = {"body.0.input_quantizer._amax": torch.tensor(1.0), "body.0.weight_quantizer._amax": f(8, 1, 1, 1),
             "body.0.input_quantizer._pre_quant_scale": f(8)}
    return plus(Net().state_dict(), **{k.replace(".", "__"): v for k, v in extra.items()}), Net(), ["modelopt"], "any"


@case(39)
def compressed_scheme():
    float_ = {"layers.0.mlp.down_proj.weight": f(8, 8)}
    return plus(float_), Tensors.of(dict(float_, **{"layers.0.mlp.down_proj.weight_scale": f(8, 1)})), ["compressed-scheme"], "any"


@case(40)
def shadowed_names():
    sd = collections.OrderedDict((k.replace("weight", "_weight") if k.startswith("body.") else k, v) for k, v in Net().state_dict().items())
    return sd, Net(), ["old-names"], REPAIRED


@case(42)
def renumbered():
    def numbers(k):
        return k.replace("layers.2.", "layers.1.").replace("layers.4.", "layers.2.")
    def net():
        return nn.ModuleDict({"layers": nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))})
    return renamed(net().state_dict(), numbers), net(), ["renumbered"], REPAIRED


@case(1, 4, 8)
def three_at_once():
    """A DDP prefix on a Lightning checkpoint of a float model that goes into a QAT model."""
    sd = {"state_dict": renamed(Net().state_dict(), under("model.module.")), "epoch": 9}
    return sd, qat(), ["nested", "ddp-prefix", "model-prefix", "float-into-qat"], REPAIRED


# What is no checkpoint at all, and what opening it says (41).
def no_checkpoints():
    whole = pickle.dumps({"state": [1, 2, 3] * 50}, protocol=2)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 123456\n"
    page = b"<!DOCTYPE html>\n<html><head><title>Quota exceeded</title></head></html>\n"
    return {"pointer.pt": (pointer, ["Git LFS", "123456"]), "page.pt": (page, ["HTML"]), "cut.pt": (None, ["cut", "trunc", "central directory"]),
            "empty.pt": (b"", ["empty"]), "data.pkl": (whole, None)}

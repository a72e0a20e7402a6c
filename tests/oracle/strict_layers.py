"""Layers for strict_cases.py that few models have and that load in a way of their own: converted and reference modules,
pruning, old and new parametrizations, shared parameters, wrappers, every observer. What this torch lacks, or has no engine for,
raises when it is made; the caller takes another layer then."""
import collections
import copy
import os

import torch
from torch import nn
from torch.nn.utils import prune


def observers(tobs):
    """Every observer of this torch that can be made without arguments."""
    names = ("MinMaxObserver MovingAverageMinMaxObserver PerChannelMinMaxObserver MovingAveragePerChannelMinMaxObserver "
             "HistogramObserver PlaceholderObserver RecordingObserver NoopObserver MinMaxDynamicQuantObserver "
             "ReuseInputObserver FixedQParamsObserver").split()
    out = []
    for name in names:
        cls = getattr(tobs, name, None)
        if cls is None:
            continue
        if name == "FixedQParamsObserver":
            out.append(lambda cls=cls: cls(scale=0.5, zero_point=3))
        elif name.startswith("PerChannel") or "PerChannel" in name:
            out.append(lambda cls=cls: cls(ch_axis=1))
        else:
            out.append(cls)
    return out


class Exported(nn.Module):
    """What torch.export takes; prepare_qat_pt2e knows its convolution with the BatchNorm behind."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ModuleList([nn.Linear(4, 2)])

    def forward(self, x):
        return self.head[0](torch.relu(self.bn(self.conv(x))).mean((2, 3)))


def has_pt2e():
    """torch 2.1 to 2.8: then it moved to torchao."""
    try:
        from torch.ao.quantization.quantizer import xnnpack_quantizer  # noqa: F401
        return hasattr(torch.export, "export_for_training")
    except (ImportError, AttributeError):
        return False


PT2E = {}  # an export takes seconds


def prepared_pt2e(r):
    """The graph module of prepare_qat_pt2e, before its first batch or after it."""
    from torch.ao.quantization.quantize_pt2e import prepare_qat_pt2e
    from torch.ao.quantization.quantizer import xnnpack_quantizer as xnn
    kind = (r.random() < 0.5, r.random() < 0.5)
    if kind not in PT2E:
        os.environ.setdefault("USER", "nobody")  # torch asks for a name and a place for its cache
        batch = (torch.randn(2, 3, 8, 8),)
        graph = torch.export.export_for_training(Exported(), batch).module()
        config = xnn.get_symmetric_quantization_config(is_per_channel=kind[0], is_qat=True)
        PT2E[kind] = prepare_qat_pt2e(graph, xnn.XNNPACKQuantizer().set_global(config))
        if kind[1]:
            PT2E[kind](*batch)
    return copy.deepcopy(PT2E[kind])


class Old(nn.Module):
    """Spectral norm as a hook: it names its own version in the metadata."""

    def __init__(self):
        super().__init__()
        self.conv = nn.utils.spectral_norm(nn.Conv2d(2, 3, 1))
        self.bn = nn.BatchNorm2d(3)


class Negative(nn.Module):
    def forward(self, x):
        return -x

    def right_inverse(self, x):
        return -x


class Split(nn.Module):
    def forward(self, a, b):
        return a + b

    def right_inverse(self, x):
        return x, torch.zeros(1)


class Shared(nn.Module):
    """One parameter under two names, and one module in two places."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.again = nn.ModuleList([self.first, nn.BatchNorm1d(2)])


class Extra(nn.Module):
    """extra_state that is a tensor, of a module with children."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 1)

    def get_extra_state(self):
        return torch.zeros(3)

    def set_extra_state(self, state):
        pass


class Detector(nn.Module):
    """Names a quantizer could have, without being one."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("zero_point", torch.zeros(1))
        self.register_buffer("eps", torch.zeros(1))
        self.register_buffer("min_val", torch.zeros(0))
        self.activation_post_process_0 = nn.Identity()


def lazy(r):
    """Parameters and buffers whose shape the checkpoint brings."""
    layer = r.choice([nn.LazyBatchNorm1d, nn.LazyBatchNorm2d, lambda: nn.LazyLinear(3), lambda: nn.LazyConv2d(3, 1),
                      lambda: nn.LazyInstanceNorm2d(affine=True, track_running_stats=True)])()
    if r.random() < 0.5:
        if isinstance(layer, (nn.LazyConv2d, nn.LazyBatchNorm2d, nn.LazyInstanceNorm2d)):
            layer(torch.zeros(2, 4, 3, 3))
        else:
            layer(torch.zeros(2, 4))
    return layer


def checkpointed(r):
    """Activation checkpointing: the wrapper's own name is in the model's names and not in the state dict's."""
    from torch.distributed.algorithms._checkpoint import checkpoint_wrapper as wrappers
    inner = r.choice([lambda: nn.Linear(2, 3), lambda: nn.BatchNorm2d(3), lambda: Shared(), lambda: nn.Sequential(
        wrappers.CheckpointWrapper(nn.Linear(2, 2)), nn.BatchNorm1d(2))])()
    return wrappers.CheckpointWrapper(inner)


def pruned():
    layer = nn.Conv2d(2, 3, 1)
    prune.l1_unstructured(layer, "weight", 1)
    return layer


def parametrized(r):
    p = getattr(nn.utils, "parametrize", None)
    if p is None:
        return pruned()
    layer = nn.Linear(3, 3)
    p.register_parametrization(layer, "weight", r.choice([Negative, Split])())
    if r.random() < 0.3:
        p.register_parametrization(layer, "bias", Negative())
    return layer


def simple(r):
    c = r.choice([2, 4])
    out = [Old, pruned, Shared, Extra, Detector, lambda: parametrized(r), lambda: nn.EmbeddingBag(3, 2), lambda: nn.GRUCell(2, 3),
           lambda: nn.Bilinear(2, 2, 3), lambda: nn.ConvTranspose2d(2, c, 1), lambda: nn.Conv3d(1, c, 1),
           lambda: nn.TransformerEncoderLayer(4, 2, 3), lambda: nn.SyncBatchNorm(c), lambda: nn.BatchNorm3d(c, affine=False),
           lambda: nn.InstanceNorm1d(c, track_running_stats=True), lambda: nn.GRU(2, 2, bidirectional=True), nn.Identity,
           lambda: nn.ParameterDict({"a": nn.Parameter(torch.zeros(c)), "b.c".replace(".", "_"): nn.Parameter(torch.zeros(()))}),
           lambda: nn.DataParallel(nn.Linear(2, c)), lambda: nn.CrossEntropyLoss(weight=torch.ones(c)),
           lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 5, [2])]
    if hasattr(nn, "LazyLinear"):  # and CheckpointWrapper came before torch 1.13
        out += [lambda: lazy(r), lambda: checkpointed(r)]
    return out


def quantizers(r, tq, nnqat, nniqat, tobs, qconfigs):
    def embedding():
        fq = tq.FakeQuantize.with_args(observer=tobs.MovingAveragePerChannelMinMaxObserver, dtype=torch.quint8, quant_min=0,
                                       quant_max=255, qscheme=torch.per_channel_affine_float_qparams, ch_axis=0)
        return nnqat.Embedding(3, 2, qconfig=tq.QConfig(activation=tq.PlaceholderObserver, weight=fq))

    def of(module, name, *args, **kw):
        return getattr(module, name)(*args, qconfig=r.choice(qconfigs()), **kw)

    def dynamic():
        return nnqat.dynamic.Linear(2, 3, qconfig=tq.default_dynamic_qat_qconfig)

    return observers(tobs) + [
        embedding, dynamic,
        lambda: of(nniqat, "ConvBn1d", 2, 3, 1), lambda: of(nniqat, "ConvBnReLU3d", 2, 3, 1), lambda: of(nniqat, "ConvReLU3d", 2, 3, 1),
        lambda: of(nniqat, "LinearReLU", 2, 3), lambda: of(nniqat, "LinearBn1d", 2, 3), lambda: of(nnqat, "Conv3d", 2, 3, 1),
        lambda: nn.Sequential(collections.OrderedDict(activation_post_process_0=tq.FakeQuantize(), activation_post_process_1=tobs.MinMaxObserver())),
        lambda: tq.QuantWrapper(nn.Identity()), tq.QuantStub, tq.DeQuantStub]


def converted(r, tq, float_model, engine):
    """What convert makes of an observed model."""
    torch.backends.quantized.engine = engine
    model = float_model().eval()
    if r.random() < 0.7:
        model = tq.fuse_modules(model, [["conv", "bn", "relu"]])
    model.qconfig = tq.get_default_qconfig(engine)
    tq.prepare(model, inplace=True)
    if r.random() < 0.5:
        return model
    for m in model.modules():
        if hasattr(m, "calculate_qparams"):
            m(torch.randn(2, 4, 3, 3))
    return tq.convert(model)


def rare(r, nnq, nniq, nnquantizable, reference):
    """Quantized modules."""
    def of(module, name, *args, **kw):
        return getattr(module, name)(*args, **kw)

    return [lambda: of(nnq, "ConvTranspose2d", 2, 3, 1), lambda: of(nnq, "Conv3d", 2, 3, 1), lambda: of(nnq, "Conv1d", 2, 3, 1),
            lambda: of(nnq, "EmbeddingBag", 3, 4), lambda: of(nnq, "BatchNorm2d", 3), lambda: of(nnq, "BatchNorm3d", 3),
            lambda: of(nnq, "LayerNorm", 3, torch.ones(3), torch.zeros(3), 1.0, 0), lambda: of(nnq, "GroupNorm", 1, 3, torch.ones(3), torch.zeros(3), 1.0, 0),
            lambda: of(nnq, "InstanceNorm2d", 3, torch.ones(3), torch.zeros(3), 1.0, 0), lambda: of(nnq, "ELU", 1.0, 0),
            lambda: of(nnq, "Hardswish", 1.0, 0), lambda: of(nnq, "LeakyReLU", 1.0, 0), lambda: of(nnq, "PReLU", 1.0, 0), nnq.FloatFunctional,
            lambda: of(nnq, "Quantize", 1.0, 0, torch.quint8), nnq.DeQuantize, lambda: of(nniq, "ConvReLU2d", 2, 3, 1),
            lambda: of(nniq, "LinearReLU", 2, 3), lambda: of(nniq, "BNReLU2d", 3), lambda: of(nnquantizable, "LSTM", 2, 3),
            lambda: of(nnquantizable, "MultiheadAttention", 4, 2), lambda: of(reference, "Linear", 2, 3),
            lambda: of(reference, "Conv2d", 2, 3, 1), lambda: of(reference, "Embedding", 3, 2)]

"""Random float nets and their QAT twins for test_fix.py, made by torch itself: fused, wrapped and prepared as PyTorch's
eager mode and SparseML do. The twin's own weights are the truth every rename is checked against."""
import copy
import random
import warnings

import torch
from torch import nn
from torch.ao import quantization as tq

warnings.filterwarnings("ignore")


class Pair(nn.Module):
    """A conv and its BatchNorm under names people use."""

    def __init__(self, cin, cout, conv, bn, bias):
        super().__init__()
        setattr(self, conv, nn.Conv2d(cin, cout, 3, bias=bias))
        setattr(self, bn, nn.BatchNorm2d(cout))
        self.act = nn.ReLU()
        self.pairs = [(conv, bn)]


class Twice(nn.Module):
    """conv1 bn1 conv2 bn2, in this order or convs first."""

    def __init__(self, c, convs_first):
        super().__init__()
        self.conv1 = nn.Conv2d(c, c, 1)
        if not convs_first:
            self.bn1 = nn.BatchNorm2d(c)
        self.conv2 = nn.Conv2d(c, c, 3)
        if convs_first:
            self.bn1 = nn.BatchNorm2d(c)
        self.bn2 = nn.BatchNorm2d(c)
        self.pairs = [("conv1", "bn1"), ("conv2", "bn2")]


class Oddly(nn.Module):
    """Names that say nothing; only the order does, and it may mislead."""

    def __init__(self, c, scrambled):
        super().__init__()
        self.a = nn.Conv2d(c, c, 1)
        if scrambled:
            self.b = nn.Conv2d(c, c, 1)
            self.x = nn.BatchNorm2d(c)
        else:
            self.x = nn.BatchNorm2d(c)
            self.b = nn.Conv2d(c, c, 1)
        self.y = nn.BatchNorm2d(c)
        self.pairs = [("a", "x"), ("b", "y")]


def random_block(rng):
    c = rng.choice([4, 6, 8])
    kind = rng.randrange(6)
    if kind == 0:
        conv, bn = rng.choice([("conv", "bn"), ("conv", "norm"), ("conv_dw", "bn_dw"), ("linear_conv", "linear_bn")])
        return Pair(3, c, conv, bn, rng.random() < 0.5)
    if kind == 1:
        seq = nn.Sequential(nn.Conv2d(3, c, 3), nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, c, 1))
        seq.pairs = [("0", "1")]
        return seq
    if kind == 2:
        return Twice(c, rng.random() < 0.4)
    if kind == 3:
        return Oddly(c, rng.random() < 0.5)
    if kind == 4:
        return nn.Sequential(nn.Linear(c, c), nn.ReLU(), nn.Linear(c, 3))
    return nn.Sequential(nn.Conv2d(3, c, 1), Pair(c, c, "conv", "bn", False))


class Net(nn.Module):
    def __init__(self, rng):
        super().__init__()
        self.stem = Pair(3, 8, "conv", "bn", False)
        self.layers = nn.Sequential(*[random_block(rng) for _ in range(rng.randrange(2, 7))])
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)


def scatter(model, seed):
    """Different numbers everywhere, so that a tensor in the wrong place is seen."""
    g = torch.Generator().manual_seed(seed)
    for t in model.state_dict().values():
        if t.is_floating_point():
            t.copy_(torch.rand(t.shape, generator=g) + 0.1 if t.dim() < 2 else torch.randn(t.shape, generator=g))
        else:
            t.fill_(int(torch.randint(1, 9999, (1,), generator=g)))


def plain_qconfig():
    """What SparseML uses: FakeQuantize with moving averages, one scale a tensor."""
    act = tq.FakeQuantize.with_args(observer=tq.MovingAverageMinMaxObserver, quant_min=0, quant_max=255,
                                    dtype=torch.quint8, qscheme=torch.per_tensor_affine, reduce_range=False)
    weight = tq.FakeQuantize.with_args(observer=tq.MovingAverageMinMaxObserver, quant_min=-128, quant_max=127,
                                       dtype=torch.qint8, qscheme=torch.per_tensor_symmetric, reduce_range=False)
    return tq.QConfig(activation=act, weight=weight)


def channel_qconfig():
    plain = plain_qconfig()
    weight = tq.FakeQuantize.with_args(observer=tq.MovingAveragePerChannelMinMaxObserver, quant_min=-128, quant_max=127,
                                       dtype=torch.qint8, qscheme=torch.per_channel_symmetric, reduce_range=False, ch_axis=0)
    return tq.QConfig(activation=plain.activation, weight=weight)


QCONFIGS = {
    "plain": plain_qconfig,
    "channel": channel_qconfig,
    "fbgemm": lambda: tq.get_default_qat_qconfig("fbgemm"),
    "qnnpack": lambda: tq.get_default_qat_qconfig("qnnpack"),
}


def parent_of(model, path):
    for part in path.split(".")[:-1]:
        model = getattr(model, part)
    return model


def qat_twin(model, qconfig, wrap, fold):
    """wrap(name), fold(name): which layers are wrapped, which BatchNorms are folded into their conv."""
    twin = copy.deepcopy(model).train()
    for name, m in list(twin.named_modules()):
        for conv, bn in getattr(m, "pairs", []):
            prefix = name + "." if name else ""
            if fold(prefix + conv):
                tq.fuse_modules_qat(twin, [[prefix + conv, prefix + bn]], inplace=True)
    twin.qconfig = qconfig
    fused = [name for name, m in twin.named_modules() if isinstance(m, torch.nn.intrinsic.ConvBn2d)]
    for name, m in list(twin.named_modules()):
        inside = name.rpartition(".")[0] in fused
        if isinstance(m, (nn.Conv2d, nn.Linear, torch.nn.intrinsic.ConvBn2d)) and not inside and wrap(name):
            wrapped = tq.QuantWrapper(m)
            wrapped.qconfig = wrapped.quant.qconfig = m.qconfig = qconfig
            setattr(parent_of(twin, name), name.rpartition(".")[2], wrapped)
    return tq.prepare_qat(twin, inplace=True)


def is_quant_key(key):
    return "fake_quant" in key or "activation_post_process" in key


def random_case(seed):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    model = Net(rng)
    scatter(model, seed)
    wrap_share, fold_share = rng.choice([0, 0.5, 1]), rng.choice([0.5, 1, 1])
    chosen = {}

    def choose(kind, share):
        return lambda name: chosen.setdefault((kind, name), rng.random() < share)

    name = rng.choice(sorted(QCONFIGS))
    twin = qat_twin(model, QCONFIGS[name](), choose("wrap", wrap_share), choose("fold", fold_share))
    return model, twin, name, rng

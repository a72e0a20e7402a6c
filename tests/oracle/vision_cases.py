"""Pairs for test_strict_vision.py: torchvision's modules that bring old names up to date when they load, in random nests, and
state dicts with their old names, versions that are lost, and the edits of strict_cases.py.

    vision_cases.py OUT SEED COUNT"""
import collections
import sys

import torch
from torch import nn
from torchvision.models import vision_transformer
from torchvision.models.detection import mask_rcnn, retinanet, rpn
from torchvision.models.quantization import mobilenetv3
from torchvision.ops import FeaturePyramidNetwork, misc

import strict_cases
from strict_cases import R, tq


class Frozen(misc.FrozenBatchNorm2d):
    """Somebody's own, by inheritance alone."""


class Stripping(nn.Linear):
    """Does what no manifest tells; what a manifest tells is that it does something."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        super()._load_from_state_dict(state_dict, prefix, *args)


def squeeze():
    m = mobilenetv3.QuantizableSqueezeExcitation(4, 2)
    if R.random() < 0.7:
        m.qconfig = R.choice(strict_cases.qconfigs())
        m = tq.prepare_qat(m.train()) if R.random() < 0.7 else tq.prepare(m.eval())
    return m


def pyramid():
    return FeaturePyramidNetwork(R.choice([[2], [2, 4], [4, 2, 4]]), 4)


def piece():
    kind = R.randrange(9)
    if kind == 0:
        return R.choice([misc.FrozenBatchNorm2d, Frozen])(3)
    if kind == 1:
        return pyramid()
    if kind == 2:
        return vision_transformer.MLPBlock(3, 4, 0.0)
    if kind == 3:
        return rpn.RPNHead(2, 3, conv_depth=R.choice([1, 2]))
    if kind == 4:
        return mask_rcnn.MaskRCNNHeads(2, R.choice([[2], [2, 4, 2]]), 1)
    if kind == 5:
        return retinanet.RetinaNetClassificationHead(2, 1, 2)
    if kind == 6:
        return retinanet.RetinaNetRegressionHead(2, 1)
    return squeeze() if kind == 7 else Stripping(2, 3)


def nest():
    parts = [piece() for _ in range(R.randrange(1, 4))]
    if len(parts) == 1 and R.random() < 0.5:
        return parts[0]
    return nn.Sequential(*parts) if R.random() < 0.5 else nn.ModuleDict(zip("abc", parts))


def old_names(m):
    """New leaf -> old leaf of a module before it was at version 2."""
    both = []
    if isinstance(m, FeaturePyramidNetwork):
        both = [("%s.%d.0" % (b, i), "%s.%d" % (b, i)) for b in ("inner_blocks", "layer_blocks") for i in range(len(m.inner_blocks))]
    elif isinstance(m, vision_transformer.MLPBlock):
        both = [("0", "linear_1"), ("3", "linear_2")]
    elif isinstance(m, rpn.RPNHead):
        both = [("conv.0.0", "conv")]
    elif isinstance(m, mask_rcnn.MaskRCNNHeads):
        both = [("%d.0" % i, "mask_fcn%d" % (i + 1)) for i in range(len(m))]
    elif isinstance(m, (retinanet.RetinaNetClassificationHead, retinanet.RetinaNetRegressionHead)):
        both = [("conv.%d.0" % i, "conv.%d" % (2 * i)) for i in range(4)]
    return [(new + "." + leaf, old + "." + leaf) for new, old in both for leaf in ("weight", "bias")]


def aged(model, state):
    """As an older torchvision would have written it."""
    meta = state._metadata
    out = collections.OrderedDict(state)
    for name, m in model.named_modules():
        if R.random() < 0.3:
            continue
        dot = name + "." if name else ""
        for new, old in old_names(m):
            if dot + new in out and R.random() < 0.95:
                out[dot + old] = out.pop(dot + new)
        if isinstance(m, misc.FrozenBatchNorm2d):
            out[dot + "num_batches_tracked"] = torch.tensor(3)
        if name in meta and R.random() < 0.8:
            meta[name] = R.choice([{}, {"version": 1}])
    if R.random() < 0.5:
        out._metadata = meta
    return out


def case(out, i, seed):
    R.seed(seed)
    torch.manual_seed(seed)
    target = nest()
    state = aged(target, (target if R.random() < 0.8 else nest()).state_dict())
    if R.random() < 0.5:
        state = strict_cases.edit(state, False)
    if not state:
        state["extra"] = torch.zeros(2)
    options = {"strict": False} if R.random() < 0.1 else {}
    return strict_cases.judged(target, state, options, out, i, seed)


if __name__ == "__main__":
    strict_cases.main(case)

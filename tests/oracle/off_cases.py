"""Quantizers whose observer is off, with ranges and scales of every sort, and what torch's forward makes of them.

    off_cases.py OUT SEED COUNT     (run by test_strict_forward.py; exporter.py and strict_cases.py lie beside it)
"""
import json
import random
import sys

import torch
from torch import nn

import exporter
from strict_cases import tobs, tq

R = random.Random()
C = 4
INF, NAN = float("inf"), float("nan")


def quantizer(fused, per_channel):
    base = tq.FusedMovingAvgObsFakeQuantize if fused else tq.FakeQuantize
    if per_channel:
        return base(observer=tobs.MovingAveragePerChannelMinMaxObserver, quant_min=-128, quant_max=127, dtype=torch.qint8,
                    qscheme=torch.per_channel_symmetric, ch_axis=0)
    return base(observer=tobs.MovingAverageMinMaxObserver, quant_min=-128, quant_max=127, dtype=torch.qint8,
                qscheme=torch.per_tensor_symmetric)


def outcome(net):
    x = torch.rand(C, 3) * 2 + 0.1
    try:
        y = net(x)
    except Exception:
        return "raises"
    if torch.isnan(y).any():
        return "NaN"
    if (y == 0).all():
        return "zeros"
    return "whole" if (y == y.round()).all() else "fine"


def spoil(values, kind):
    """One element of a per-channel tensor, or all."""
    values = values.clone()
    at = R.randrange(values.numel()) if values.dim() and R.random() < 0.5 else slice(None)
    values.reshape(-1)[at] = kind
    return values


def case(out, i, seed):
    R.seed(seed)
    torch.manual_seed(seed)
    fused = hasattr(tq, "FusedMovingAvgObsFakeQuantize") and R.random() < 0.5
    per_channel = R.random() < 0.5
    net = nn.Sequential(quantizer(fused, per_channel))
    observed = per_channel or R.random() < 0.7
    if observed:
        net(torch.randn(C, 3))
    exporter.export(net, "%s/%d.json" % (out, i))
    saved = net.state_dict()
    state = type(saved)((k, v.clone()) for k, v in saved.items())
    state._metadata = saved._metadata
    state["0.observer_enabled"][0] = R.choice([0, 0, 0, 0, 1])
    state["0.fake_quant_enabled"][0] = R.choice([1, 1, 1, 0])
    names = ["0.activation_post_process." + n for n in ("min_val", "max_val", "min_vals", "max_vals")]
    low, high = [n for n in names if n in state]
    roll = R.random()
    if observed and roll < 0.3:
        state[low], state[high] = torch.full_like(state[low], INF), torch.full_like(state[high], -INF)
        if not per_channel and R.random() < 0.5:
            state["0.scale"].fill_(1)
            state["0.zero_point"].fill_(0)
    elif observed and roll < 0.4:
        state[low] = spoil(state[low], R.choice([NAN, 9.0, INF]))
    elif observed and roll < 0.5:
        state[low], state[high] = torch.zeros(0), torch.zeros(0)
    if R.random() < 0.3:
        state["0.scale"] = spoil(state["0.scale"], R.choice([0.0, NAN, INF]))
        if per_channel and fused and R.random() < 0.5:
            state["0.scale"] = torch.ones(C)
    torch.save(state, "%s/%d.pt" % (out, i))
    try:
        net.load_state_dict(state)
    except Exception:
        return {"i": i, "seed": seed, "outcome": "refused"}
    observes = bool(state["0.observer_enabled"][0])
    return {"i": i, "seed": seed, "fused": fused, "observes": observes, "outcome": "fine" if observes else outcome(net)}


def main():
    out, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    cases = [case(out, i, seed + i) for i in range(count)]
    with open(out + "/cases.json", "w") as f:
        json.dump({"torch": torch.__version__, "cases": cases}, f)


if __name__ == "__main__":
    main()

"""Weight and activation quantizers filled with tensors of every length and dtype, and what torch's forward does then.

    forward_cases.py OUT SEED COUNT     (run by test_strict_forward.py; exporter.py and strict_cases.py lie beside it)
"""
import json
import random
import sys

import torch
from torch import nn

import exporter
from strict_cases import VERSION, nnqat, tobs, tq

R = random.Random()
C = 4


def quantizer(fused, per_channel):
    base = tq.FusedMovingAvgObsFakeQuantize if fused else tq.FakeQuantize
    if per_channel:
        return base.with_args(observer=tobs.MovingAveragePerChannelMinMaxObserver, quant_min=-128, quant_max=127,
                              dtype=torch.qint8, qscheme=torch.per_channel_symmetric, ch_axis=0)
    return base.with_args(observer=tobs.MovingAverageMinMaxObserver, quant_min=-128, quant_max=127, dtype=torch.qint8,
                          qscheme=torch.per_tensor_symmetric)


def model(fused, per_channel):
    config = tq.QConfig(activation=tq.FakeQuantize, weight=quantizer(fused, per_channel))
    net = nn.Sequential(nnqat.Linear(3, C, qconfig=config))
    if R.random() < 0.7:
        net(torch.randn(2, 3))
    return net


def forward(net, state, observer, options, corrupts):
    """Whether forward raises with the observer on or off; None if the load itself does."""
    for key in state:
        if key.endswith("observer_enabled"):
            state[key][0] = observer
    try:
        net.load_state_dict(state, **options)
    except Exception:
        return None
    if corrupts:  # the kernel reads and writes past the end, and the process may die of it
        return True
    try:
        net(torch.randn(2, 3))
    except Exception:
        return True
    return False


def case(out, i, seed):
    R.seed(seed)
    torch.manual_seed(seed)
    fused = hasattr(tq, "FusedMovingAvgObsFakeQuantize") and R.random() < 0.5
    per_channel = R.random() < 0.6
    net = model(fused, per_channel)
    exporter.export(net, "%s/%d.json" % (out, i))
    state = net.state_dict()
    prefix = "0.weight_fake_quant."
    state = type(state)((k, v.clone()) for k, v in state.items())
    state._metadata = net.state_dict()._metadata
    shapes = [(), (0,), (1,), (1,), (2,), (C,), (C,), (1, 1)]
    zero = state[prefix + "zero_point"].dtype
    if R.random() < 0.8:
        state[prefix + "scale"] = torch.full(R.choice(shapes), 0.1)
        state[prefix + "zero_point"] = torch.zeros(R.choice(shapes), dtype=zero)
    if per_channel and R.random() < 0.4:
        names = ("min_vals", "max_vals") if VERSION < (1, 10) else ("min_val", "max_val")
        for name, bound in zip(names, (-1.0, 1.0)):
            state[prefix + "activation_post_process." + name] = torch.full((R.choice([0, 1, 2, C]),), bound)
    options = {}
    if VERSION >= (2, 1) and R.random() < 0.3:
        options["assign"] = True
        if R.random() < 0.5:
            key, dtype = R.choice([("scale", torch.float16), ("scale", torch.float64), ("zero_point", torch.int64)])
            state[prefix + key] = state[prefix + key].to(dtype)
    torch.save(state, "%s/%d.pt" % (out, i))
    ranges = [v.numel() for k, v in state.items() if k.startswith(prefix) and k.split(".")[-1][:4] in ("min_", "max_")]
    corrupts = fused and per_channel and ranges[0] > 0 and min(ranges) < C
    states = [type(state)((k, v.clone()) for k, v in state.items()) for _ in range(2)]
    for s in states:
        s._metadata = state._metadata
    return {"i": i, "seed": seed, "options": options, "fused": fused, "per_channel": per_channel,
            "on": forward(net, states[0], 1, options, corrupts), "off": forward(net, states[1], 0, options, corrupts), "ranges": ranges,
            "infinite": any(torch.isinf(v).any().item() for k, v in state.items() if k.startswith(prefix + "act"))}


def main():
    out, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    cases = [case(out, i, seed + i) for i in range(count)]
    with open(out + "/cases.json", "w") as f:
        json.dump({"torch": torch.__version__, "cases": cases}, f)


if __name__ == "__main__":
    main()

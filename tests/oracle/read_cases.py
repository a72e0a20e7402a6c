"""Writes random checkpoints with the torch at hand, and what torch itself holds in them.

usage: read_cases.py DIR SEED COUNT      (run under any torch from 1.7 on, by test_read.py)

DIR/N.pt are the files; DIR/expected.json is a list of {file, root, kind, entries, versions, classes}.
"""
import collections
import json
import os
import random
import sys
import warnings
import zlib

import torch
import torch.nn as nn

warnings.filterwarnings("ignore")
VERSION = tuple(int(x) for x in torch.__version__.split("+")[0].split("a")[0].split(".")[:2])
PLAIN = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
         "complex64", "complex128"]
NEWER = ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
         "float8_e8m0fnu", "complex32"]


class Net(nn.Module):
    """Everything state_dict() has rules for: None, non-persistent, shared, empty, nested."""

    def __init__(self, rng):
        super().__init__()
        self.register_parameter("nothing", None)
        self.register_buffer("none_buffer", None)
        self.register_buffer("kept", torch.arange(rng.randint(1, 5)))
        if VERSION >= (1, 6):
            self.register_buffer("hidden", torch.ones(2), persistent=False)
        self.scale = nn.Parameter(torch.tensor(rng.random()), requires_grad=rng.random() < 0.5)
        c = rng.randint(1, 6)
        self.body = nn.Sequential(nn.Conv2d(3, c, 3, bias=rng.random() < 0.5), nn.BatchNorm2d(c), nn.ReLU())
        self.twin = self.body[0]
        self.heads = nn.ModuleDict({"a": nn.Linear(c, 2), "b": nn.Identity(), "c": nn.LSTM(2, 3)})
        self.heads["a2"] = self.heads["a"]
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(2)) for _ in range(rng.randint(0, 3))])
        self.empty = None
        self.norms = nn.ModuleList([nn.InstanceNorm1d(2, affine=True, track_running_stats=True), nn.LayerNorm(c)])


def qat_net(rng):
    q = torch.ao.quantization if VERSION >= (1, 11) else torch.quantization
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    net.train()
    groups = rng.choice([[["0", "1", "2"]], [["0", "1"]], []])
    if groups:
        fuse = getattr(q, "fuse_modules_qat", None) or q.fuse_modules
        net = fuse(net, groups)
    net = q.QuantWrapper(net)
    net.qconfig = q.get_default_qat_qconfig(rng.choice(["fbgemm", "qnnpack"]))
    net.train()
    q.prepare_qat(net, inplace=True)
    for m in net.modules():  # some releases put functions there that do not pickle
        if hasattr(m, "qconfig"):
            m.qconfig = None
    if rng.random() < 0.7:
        net(torch.randn(2, 2, 5, 5))
    return net


def random_tensor(rng, names):
    dtype = getattr(torch, rng.choice(names))
    shape = [rng.choice([0, 1, 1, 2, 3, 5, 7]) for _ in range(rng.randint(0, 4))]
    base = torch.randn(shape) * rng.choice([1, 100])
    if dtype == torch.bool:
        return base > 0
    if dtype in (torch.complex64, torch.complex128):
        return torch.complex(base, torch.randn(shape)).to(dtype)
    if "float" not in str(dtype) and "complex" not in str(dtype):
        base = base.abs().floor()
    return base.to(dtype)


def random_view(rng, t):
    for _ in range(rng.randint(1, 3)):
        kind = rng.randint(0, 6)
        if kind == 0 and t.dim() > 1:
            order = list(range(t.dim()))
            rng.shuffle(order)
            t = t.permute(order)
        elif kind == 1 and t.dim() and t.shape[0] > 1:
            t = t[1:]
        elif kind == 2 and t.dim() and t.shape[-1] > 2:
            t = t[..., ::2]
        elif kind == 3:
            t = t.unsqueeze(0).expand(rng.randint(1, 4), *t.shape)
        elif kind == 4 and t.dim() and t.shape[0] > 0:
            t = t[rng.randrange(t.shape[0])]
        elif kind == 5 and t.dim() > 1:
            t = t.transpose(0, -1)
        elif kind == 6 and t.dim() > 2:
            t = t.unsqueeze(1).narrow(2, 0, max(1, t.shape[1] // 2)) if t.shape[1] else t
    return t


def flat_dict(rng, names, n=None):
    d = collections.OrderedDict() if rng.random() < 0.7 else {}
    keys = ["layer.%d.%s" % (i, rng.choice(["weight", "bias", "running_mean", "élan", "a b", 'q"', "x\n"]))
            for i in range(n or rng.randint(1, 12))]
    for k in keys:
        d[k] = random_tensor(rng, names)
    return d


def views_dict(rng, names):
    d = flat_dict(rng, names)
    for k in list(d):
        if rng.random() < 0.7:
            d[k + ".view"] = random_view(rng, d[k])
        if rng.random() < 0.3:
            d[k + ".tied"] = d[k]
        if rng.random() < 0.2:
            big = random_tensor(rng, names)
            d[k + ".part"] = random_view(rng, big)
    return d


def large_strided(rng, names):
    """Larger than one window of the reader, in every awkward direction."""
    a = torch.arange(300 * 410, dtype=torch.float32).reshape(300, 410)
    b = torch.arange(40 * 50 * 60, dtype=torch.int16).reshape(40, 50, 60)
    return {"t": a.t(), "cols": a[:, ::7], "rows": a[::5], "block": a[20:250, 30:400].t(), "perm": b.permute(2, 0, 1),
            "wide": a[:3].expand(3, 410).t(), "cl": torch.randn(8, 16, 9, 9).contiguous(memory_format=torch.channels_last),
            "far": a.flatten()[::4099], "one": a[:, 5:6], "rep": a[0].expand(200, 410), "rep2": a[:, 3:4].expand(300, 70)}


def quantized_dict(rng, names):
    d = collections.OrderedDict()
    for i in range(rng.randint(1, 4)):
        x = torch.randn(3, rng.randint(1, 5), 2)
        dt = rng.choice([torch.qint8, torch.quint8, torch.qint32])
        if rng.random() < 0.5:
            d["t%d" % i] = torch.quantize_per_tensor(x, rng.choice([0.1, 0.02]), rng.randint(0, 3), dt)
        else:
            axis = rng.randint(0, 1)
            scales = torch.rand(x.shape[axis]) + 0.01
            zps = torch.randint(0, 4, (x.shape[axis],))
            d["c%d" % i] = torch.quantize_per_channel(x, scales, zps, axis, rng.choice([torch.qint8, torch.quint8]))
        d["plain%d" % i] = x
    return d


def odd_dict(rng, names):
    """Parameters, attributes, lazy conjugation, sparse, meta, extra state."""
    d = collections.OrderedDict()
    d["param"] = nn.Parameter(torch.randn(3), requires_grad=rng.random() < 0.5)
    d["frozen.half"] = nn.Parameter(torch.randn(2, 2).half(), requires_grad=False)
    d["grad"] = torch.randn(2, requires_grad=True)
    marked = torch.randn(2)
    marked.note = "an attribute"
    d["marked"] = marked
    p = nn.Parameter(torch.randn(2))
    p.note = {"a": 1}
    d["marked_param"] = p
    if VERSION >= (1, 10):
        c = torch.complex(torch.randn(2, 3), torch.randn(2, 3))
        d["conj"] = c.conj()
        d["neg"] = torch.complex(torch.randn(2, 3), torch.randn(2, 3)).conj().imag
        d["conj.t"] = c.t().conj()
    d["sparse"] = torch.eye(3).to_sparse()
    if VERSION >= (1, 13):
        d["csr"] = torch.eye(4).to_sparse_csr()
        d["meta"] = torch.empty(3, 2, device="meta", dtype=torch.float16)
    d["layer._extra_state"] = {"version": 3, "names": ["a", None]}
    d["note"] = "text among tensors"
    return d


def bare_state_dict(rng, names):
    return "", flat_dict(rng, names)


def nested(rng, names):
    make = rng.choice([flat_dict, views_dict, quantized_dict, odd_dict])
    sd = make(rng, names)
    name = rng.choice(["model", "state_dict", "model_state_dict", "net", "module", "params_ema", "whatever"])
    top = {"epoch": 3, "loss": [1.5, None], name: sd, "args": {"lr": 0.1, "deep": {"x": (1, 2)}}}
    net = nn.Linear(3, 4)
    opt = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 3)).sum().backward()
    opt.step()
    top["optimizer"] = opt.state_dict()
    if rng.random() < 0.3:
        top["ema"] = None
    return name, top


def ema_wins(rng, names):
    ema = flat_dict(rng, names)
    return "ema", {"model": flat_dict(rng, names), "ema": ema}


def deep(rng, names):
    sd = flat_dict(rng, names, 4)
    return "outer.state_dict", {"outer": {"state_dict": sd, "meta": {"a": 1}}, "step": torch.tensor(3)} \
        if rng.random() < 0.3 else {"outer": {"state_dict": sd}, "version": "1"}


def module_state_dict(rng, names):
    net = Net(rng) if rng.random() < 0.5 else qat_net(rng)
    return "model", {"model": net.state_dict(), "epoch": 1}


def whole_module(rng, names):
    net = Net(rng) if rng.random() < 0.6 else qat_net(rng)
    if rng.random() < 0.3:
        net = net.half()
    if rng.random() < 0.4:
        return "", net
    if rng.random() < 0.5:
        return "ema", {"ema": net, "model": Net(rng), "date": "today"}
    return "model", {"epoch": -1, "ema": None, "model": net, "optimizer": None}


def dict_of(make):
    return lambda rng, names: ("", make(rng, names))


CASES = [bare_state_dict, dict_of(views_dict), nested, whole_module, dict_of(quantized_dict), dict_of(odd_dict),
         module_state_dict, ema_wins, deep, dict_of(large_strided)]


def bytes_of(t):
    if t.is_quantized:
        t = t.int_repr()
    t = t.detach()
    if hasattr(t, "resolve_conj"):
        t = t.resolve_conj()
    if hasattr(t, "resolve_neg"):
        t = t.resolve_neg()
    t = t.contiguous()
    name = str(t.dtype)
    if name == "torch.bfloat16":  # the upper halves of float32; old releases cannot reinterpret
        raw = t.float().numpy().tobytes()
        return b"".join(raw[i + 2:i + 4] for i in range(0, len(raw), 4))
    if name == "torch.uint16":
        t = t.view(torch.int16)
    elif name == "torch.complex32" or name == "torch.uint32":
        t = t.view(torch.int32)
    elif name == "torch.uint64":
        t = t.view(torch.int64)
    elif "float8" in name:
        t = t.view(torch.uint8)
    return t.numpy().tobytes()


def describe(key, v):
    if not isinstance(v, torch.Tensor):
        return {"key": key, "tensor": False}
    e = {"key": key, "tensor": True, "shape": list(v.shape), "dtype": str(v.dtype)[6:],
         "requires_grad": bool(v.requires_grad), "kind": "dense"}
    if v.layout != torch.strided:
        e["kind"], e["crc32"] = "sparse", None
    elif v.device.type == "meta":
        e["kind"], e["crc32"] = "meta", None
    else:
        e["kind"] = "quantized" if v.is_quantized else "dense"
        e["crc32"] = zlib.crc32(bytes_of(v))
        e["contiguous"] = v.is_contiguous()
        e["offset"] = v.storage_offset()
    return e


def classes(module, prefix=""):
    yield prefix, type(module).__module__ + "." + type(module).__qualname__
    for name, child in module._modules.items():
        if child is not None:
            yield from classes(child, prefix + "." + name if prefix else name)


def find(obj, path):
    for part in path.split(".") if path else []:
        obj = obj[part]
    return obj


def main():
    out, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    expected = []
    for i in range(count):
        rng = random.Random("%s/%d/%s" % (seed, i, VERSION))
        torch.manual_seed(rng.randrange(1 << 30))
        names = [n for n in PLAIN if not (VERSION < (1, 8) and "complex" in n)]
        if VERSION >= (2, 3) and rng.random() < 0.5:
            names = names + [n for n in NEWER if hasattr(torch, n)]
        path, obj = CASES[i % len(CASES)](rng, names)
        file = os.path.join(out, "%d.pt" % i)
        torch.save(obj, file, pickle_protocol=rng.choice([2, 2, 2, 3, 4, 5]) if VERSION < (2, 0) else 2)
        # What counts is what torch reads back: 1.13, say, loses the conjugate bit on the way.
        obj = torch.load(file, **({"weights_only": False} if VERSION >= (1, 13) else {}))
        root = find(obj, path)
        module = isinstance(root, nn.Module)
        if module:
            # state_dict() detaches; the file's own parameters still say whether they want gradients
            values = root.state_dict(keep_vars=True)
            values._metadata = root.state_dict()._metadata
        else:
            values = root
        meta = getattr(values, "_metadata", None)
        expected.append({
            "file": file, "root": path, "kind": "module" if module else "state_dict",
            "entries": [describe(k, v) for k, v in values.items()],
            "versions": {k: v.get("version") for k, v in meta.items()} if meta is not None else {},
            "classes": list(classes(root)) if module else [],
        })
    with open(os.path.join(out, "expected.json"), "w") as f:
        json.dump({"torch": torch.__version__, "cases": expected}, f)


if __name__ == "__main__":
    main()

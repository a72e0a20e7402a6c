"""Random checkpoints of everything torch.save takes, and what torch makes of them after qatscope saved them.

usage: save_cases.py make DIR SEED COUNT     writes DIR/N.pt
       save_cases.py check DIR               compares DIR/N.pt with DIR/N.same.pt (saved with an empty plan) and
                                             DIR/N.moved.pt (every key under "moved."), prints what differs
Run under any torch from 1.7 on, by test_save.py.
"""
import collections
import datetime
import glob
import os
import pathlib
import random
import sys
import warnings

import torch
import torch.nn as nn

warnings.filterwarnings("ignore")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from deep_equal import deep_equal, load  # noqa: E402

VERSION = tuple(int(x) for x in torch.__version__.split("+")[0].split("a")[0].split(".")[:2])
DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
          "complex128"]
NEWER = ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]


def values(rng, dtype, shape):
    n = 1
    for s in shape:
        n *= s
    d = getattr(torch, dtype)
    t = torch.tensor([rng.uniform(-100, 100) for _ in range(n)], dtype=torch.float64).reshape(shape)
    if dtype in ("uint16", "uint32", "uint64"):
        return t.abs().to(torch.int64).to(d)
    return t.to(d)


def tensor(rng, pool):
    """A new tensor, or a view or the whole of one in the pool."""
    how = rng.randrange(12)
    if pool and how == 0:
        return rng.choice(pool)
    if pool and how in (1, 2, 3):
        t = rng.choice(pool).detach()
        if t.dim() and t.numel() > 1:
            t = rng.choice([lambda: t.t() if t.dim() == 2 else t[..., 0], lambda: t[1:], lambda: t.reshape(-1)[::2],
                            lambda: t.unsqueeze(0).expand(3, *t.shape), lambda: t[:0]])()
            pool.append(t)
        return t
    names = DTYPES + (NEWER if VERSION >= (2, 4) else [])
    shape = [rng.randint(0, 4) if rng.random() < 0.1 else rng.randint(1, 4) for _ in range(rng.randint(0, 4))]
    t = values(rng, rng.choice(names), shape)
    if t.is_floating_point() and "float8" not in str(t.dtype) and rng.random() < 0.3:  # torch cannot load those back
        t = nn.Parameter(t, requires_grad=rng.random() < 0.5) if rng.random() < 0.5 else t.requires_grad_()
    if t.is_complex() and rng.random() < 0.5:
        t = t.conj()
    pool.append(t)
    return t


def odd_tensor(rng):
    x = torch.rand(3, 4)
    kind = rng.randrange(5)
    if kind == 0:
        return torch.quantize_per_tensor(x, 0.1, 3, rng.choice([torch.qint8, torch.quint8, torch.qint32]))
    if kind == 1:
        return torch.quantize_per_channel(x, torch.rand(3) + 0.1, torch.zeros(3, dtype=torch.int64), 0, torch.qint8)
    if kind == 2:
        return (x > 0.5).float().to_sparse()
    if kind == 3 and VERSION >= (1, 13):
        return (x > 0.5).float().to_sparse_csr()
    if kind == 4 and VERSION >= (2, 0):
        return torch.rand(2, 2, device="meta")
    return torch.tensor(1.5)


def thing(rng, pool, depth=0):
    """Something else a checkpoint holds."""
    leaf = [None, True, False, 0, -1, 255, 256, 65536, -2 ** 31, 2 ** 31, 2 ** 63, -2 ** 63 - 1, 10 ** 40, -10 ** 40, 0.1, float("inf"),
            float("nan"), "", "text", "\u00e9\U0001f600", "with\nline", b"", b"\x00\xff", bytearray(b"ab"), 1 + 2j, torch.float16,
            torch.Size([2, 3]), torch.device("cpu"), datetime.date(2024, 2, 29), pathlib.PurePosixPath("a/b"), collections.Counter("aab"),
            frozenset([1]), set(), {1, "x"}, range(3), slice(1, 2), int, len, torch.strided]
    if depth > 3 or rng.random() < 0.4:
        return tensor(rng, pool) if rng.random() < 0.3 else rng.choice(leaf)
    kind = rng.randrange(7)
    n = rng.choice([0, 1, 2, 3, 5])
    if kind == 0:
        return [thing(rng, pool, depth + 1) for _ in range(n)]
    if kind == 1:
        return tuple(thing(rng, pool, depth + 1) for _ in range(n))
    if kind == 2:
        return {"k%d" % i: thing(rng, pool, depth + 1) for i in range(n)}
    if kind == 3:
        return collections.OrderedDict((i, thing(rng, pool, depth + 1)) for i in range(n))
    if kind == 4:
        d = collections.defaultdict(list)
        d["x"].append(thing(rng, pool, depth + 1))
        return d
    if kind == 5:
        shared = [thing(rng, pool, depth + 1)]
        return [shared, shared, {"again": shared}]
    loop = [1]
    loop.append({"loop": loop})
    return loop


def state_dict(rng, pool):
    d = collections.OrderedDict() if rng.random() < 0.7 else {}
    for i in range(rng.randint(1, 12)):
        d["layer.%d.%s" % (i // 3, ["weight", "bias", "scale"][i % 3])] = tensor(rng, pool)
    d["layer.w"] = torch.rand(2, 3)
    if rng.random() < 0.2:  # long enough to be moved by whole pages, alone or with its neighbours
        for i in range(rng.randint(1, 3)):
            d["long.%d" % i] = torch.arange(rng.choice([20000, 150000, 300001]))
    if rng.random() < 0.3:
        d["odd"] = odd_tensor(rng)
    if rng.random() < 0.2:
        d["layer._extra_state"] = thing(rng, pool)
    if isinstance(d, collections.OrderedDict) and rng.random() < 0.7:
        d._metadata = collections.OrderedDict((p, {"version": rng.randint(1, 3)}) for p in ("", "layer", "layer.0", "layer.1"))
    return d


def net(rng):
    m = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    m[4].twin = m[0]
    return m


def checkpoint(rng):
    """(object, whether its state dict's entries can be renamed one by one)"""
    pool = []
    kind = rng.randrange(6)
    if kind == 0:
        return state_dict(rng, pool)
    if kind == 1:
        m = net(rng)
        o = torch.optim.AdamW(m.parameters())
        m(torch.rand(2, 3, 3, 3)).sum().backward()
        o.step()
        return {"model": m.state_dict(), "optimizer": o.state_dict(), "epoch": 3}
    if kind == 2:
        return {"epoch": rng.randint(0, 9), "model": net(rng), "ema": None}
    d = state_dict(rng, pool)
    top = {"before": thing(rng, pool), "state_dict": d, "after": thing(rng, pool)}
    if kind == 3:
        top["same"] = d
    if kind == 4:
        top["after"] = [top["after"], list(d.values()), odd_tensor(rng)]
    return top


def make(folder, seed, count):
    for i in range(count):
        rng = random.Random("%d/%d" % (seed, i))
        torch.manual_seed(i)
        try:
            torch.save(checkpoint(rng), os.path.join(folder, "%d.pt" % i), pickle_protocol=rng.choice([2, 2, 2, 3, 4, 5]))
        except Exception as e:  # some things cannot be pickled by some releases
            print("not written", i, e, file=sys.stderr)


def find_dict(x):
    if isinstance(x, dict):
        for name in ("ema", "model", "state_dict"):
            if x.get(name) is not None:
                return x[name]
    return x


def moved_difference(a, b):
    """Every key k of a's state dict is now moved.k and holds the same; versions went along."""
    da, db = find_dict(a), find_dict(b)
    if not isinstance(da, dict):
        if list(db) and all(k.startswith("moved.") for k in db):
            return None  # a module became its state dict
        return "keys of the module's state dict"
    if ["moved." + k for k in da] != list(db):
        return "keys %s / %s" % (list(da), list(db))
    why = deep_equal(list(da.values()), list(db.values()))
    if why or type(da) is not type(db):
        return why or "type"
    va, vb = getattr(da, "_metadata", {}), getattr(db, "_metadata", {})
    for k, v in va.items():
        if vb.get(("moved." + k) if k else "moved", vb.get(k)) != v:
            return "version of %r" % k
    return None


def weights_only(path, **kw):
    try:
        return True, torch.load(path, weights_only=True, **kw)
    except TypeError:
        return False, None
    except Exception as e:
        return False, e


def check(folder):
    done = 0
    for path in sorted(glob.glob(os.path.join(folder, "*.same.pt"))):
        origin, moved = path.replace(".same.pt", ".pt"), path.replace(".same.pt", ".moved.pt")
        before, after = load(origin), load(path)
        why = deep_equal(before, after)
        if why:
            print("DIFFERS", path, why)
        if os.path.exists(moved):
            why = moved_difference(before, load(moved))
            if why:
                print("MOVED", moved, why)
        could, x = weights_only(origin)
        can, y = weights_only(path)
        if could and (not can or deep_equal(x, y)):
            print("WEIGHTS_ONLY", path, y if not can else deep_equal(x, y))
        if could and VERSION >= (2, 1):
            mapped, z = weights_only(path, mmap=True)
            if not mapped or deep_equal(x, z):
                print("MMAP", path, z if not mapped else deep_equal(x, z))
        done += 1
    print("CHECKED", done, torch.__version__)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        check(sys.argv[2])

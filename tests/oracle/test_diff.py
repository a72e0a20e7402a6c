#!/usr/bin/env python3
"""`qatscope diff --values` against numpy (long double): every pair of dtypes, strides, NaNs, infinities, integers beyond
2^53, squares beyond double, float8 read from safetensors, epsilon. DIFF_CASES asks for more random cases."""
import json
import os
import struct
import subprocess
import sys
import tempfile

BIN = os.environ.get("QATSCOPE")
try:
    import numpy as np
    import torch
except ImportError:
    print("no torch or no numpy")
    sys.exit(77)
if not BIN:
    print("QATSCOPE is not set")
    sys.exit(77)

SEED = int(os.environ.get("DIFF_SEED", "20261127"))
CASES = int(os.environ.get("DIFF_CASES", "400"))
REAL = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool]
COMPLEX = [torch.complex64, torch.complex128]


def dequantized(t):
    """(q - zero point) in float32 times the scale, which of channels is a double; torch's own kernels may fuse the two, depending
    on the processor."""
    q = t.int_repr().numpy().astype(np.float32)
    if t.qscheme() == torch.per_tensor_affine:
        return (q - np.float32(t.q_zero_point())) * np.float32(t.q_scale())
    along = (-1,) + (1,) * (q.ndim - 1)
    scale = t.q_per_channel_scales().numpy().astype(np.float64).reshape(along)
    return ((q - t.q_per_channel_zero_points().numpy().astype(np.float32).reshape(along)) * scale).astype(np.float32)


def numbers(t):
    """A tensor as long doubles: every number exactly, complex ones as pairs."""
    if t.is_quantized:
        return dequantized(t).astype(np.longdouble).ravel()
    if t.is_complex():
        t = torch.view_as_real(t.resolve_conj().contiguous())
    if t.dtype == torch.bfloat16:
        t = t.float()
    return t.contiguous().numpy().astype(np.longdouble).ravel()


def expect(a, b, epsilon):
    finite = np.isfinite(a) & np.isfinite(b)
    equal_odd = (a == b) | (np.isnan(a) & np.isnan(b))
    odd = ~finite & ~equal_odd
    x, y = a[finite], b[finite]
    d = np.abs(x - y)
    most = d.max() if d.size else np.longdouble(0)
    size = max(np.abs(x).max(), np.abs(y).max()) if d.size else 0
    xx, yy, xy = (x * x).sum(), (y * y).sum(), (x * y).sum()
    cosine = 1 if most == 0 else xy / np.sqrt(xx) / np.sqrt(yy) if xx > 0 and yy > 0 else 0
    return {"n": a.size, "differ": int((d > epsilon).sum() + odd.sum()), "nonfinite_differ": int(odd.sum()),
            "nan_a": int(np.isnan(a).sum()), "nan_b": int(np.isnan(b).sum()), "max_abs": float(most),
            "max_rel": float(most / size) if size else 0.0, "cosine_distance": float(1 - cosine)}


def close(got, want, rel=1e-13, slack=0.0):
    return got == want or (got is None and not np.isfinite(want)) or abs(got - want) <= rel * abs(want) + slack


def fill(rng, shape, dtype):
    kind = rng.integers(0, 4)
    if dtype == torch.bool:
        return torch.from_numpy(rng.integers(0, 2, shape).astype(bool))
    if not (dtype.is_floating_point or dtype.is_complex):
        info = torch.iinfo(dtype)
        wide = kind == 0
        lo, hi = (info.min, info.max) if wide else (max(info.min, -3), min(info.max, 100))
        return torch.from_numpy(np.asarray(rng.integers(lo, hi, shape, dtype=np.int64, endpoint=True))).to(dtype)
    v = np.asarray(rng.standard_normal(shape))
    if kind == 1:
        v = v * 10.0 ** rng.uniform(-30, 30)
    if kind == 2 and dtype == torch.float64:
        v = v * 10.0 ** rng.choice([-300, -170, 170, 300])
    if dtype.is_complex:
        v = v + 1j * np.asarray(rng.standard_normal(shape))
    return torch.from_numpy(np.asarray(v)).to(dtype)


def spoil(rng, t):
    """NaNs, infinities and zeros here and there, of floats only."""
    if not t.dtype.is_floating_point or t.numel() == 0 or rng.integers(0, 3):
        return t
    flat = t.reshape(-1)
    for _ in range(int(rng.integers(1, 5))):
        flat[int(rng.integers(0, flat.numel()))] = float(rng.choice(["nan", "inf", "-inf", "0", "-0.0"]))
    return flat.reshape(t.shape)


def other(rng, a, dtype):
    """The second tensor: near the first, equal, its negative, all zero, or another one."""
    kind = rng.integers(0, 6)
    if kind == 0 or a.dtype.is_complex != dtype.is_complex:
        return fill(rng, tuple(a.shape), dtype)
    b = a.clone().to(dtype)
    if kind == 1:
        return b
    if kind == 2 and dtype not in (torch.bool, torch.uint8):
        return -b
    if kind == 3:
        return torch.zeros_like(b)
    if b.numel() and dtype.is_floating_point:
        b = (b.double() * (1 + 1e-3 * torch.from_numpy(rng.standard_normal(tuple(b.shape))))).to(dtype)
    return b


def strided(rng, t):
    if t.dim() >= 2 and rng.integers(0, 3) == 0:
        return t.transpose(0, 1).contiguous().transpose(0, 1)
    return t


def quantized(rng, shape):
    v = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    if len(shape) < 2 or rng.integers(0, 2):
        return torch.quantize_per_tensor(v, float(rng.uniform(0.01, 0.1)), int(rng.integers(-5, 5)), torch.qint8)
    scales = torch.from_numpy(rng.uniform(0.01, 0.1, shape[0]))
    return torch.quantize_per_channel(v, scales, torch.zeros(shape[0], dtype=torch.int64), 0, torch.qint8)


def pair(rng):
    shape = [(), (1,), (0, 3), (7,), (16, 3, 3, 3), (5, 2049), (2, 40000)][int(rng.integers(0, 7))]
    if rng.integers(0, 12) == 0 and shape and 0 not in shape:
        return quantized(rng, shape), quantized(rng, shape)
    family = COMPLEX if rng.integers(0, 10) == 0 else REAL
    da, db = (family[int(i)] for i in rng.integers(0, len(family), 2))
    a = spoil(rng, fill(rng, shape, da))
    return strided(rng, a), strided(rng, spoil(rng, other(rng, a, db)))


def diff(a, b, *options):
    p = subprocess.run([BIN, "diff", a, b, "--json", "--all", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode in (0, 1), (p.returncode, p.stderr)
    return p.returncode, json.loads(p.stdout)


def check(entry, a, b, epsilon, dtypes):
    want, got = expect(a, b, epsilon), entry["values"]
    for k in ("n", "differ", "nan_a", "nan_b", "nonfinite_differ"):
        assert got[k] == want[k], (entry, want)
    assert close(got["max_abs"], want["max_abs"]) and close(got["max_rel"], want["max_rel"]), (entry, want)
    assert close(got["cosine_distance"], want["cosine_distance"], 1e-6, 1e-12), (entry, want)
    same = "dtype" if dtypes[0] != dtypes[1] else "values" if want["differ"] else "same"
    assert entry["kind"] == same, (entry, want)


def check_place(entry, a, b, ta):
    at = entry["values"]["at"]
    if at is None:
        return
    shape = tuple(ta.shape) + ((2,) if ta.is_complex() else ())
    flat = int(np.ravel_multi_index(at, shape)) if shape else 0
    d = abs(a[flat] - b[flat])
    assert close(float(d), entry["values"]["max_abs"], 1e-8) or not np.isfinite(float(d)), (entry, d)


def random_pairs(d):
    rng = np.random.default_rng(SEED)
    pairs = {"k%d" % i: pair(rng) for i in range(CASES)}
    a, b = os.path.join(d, "a.pt"), os.path.join(d, "b.pt")
    torch.save({k: v[0] for k, v in pairs.items()}, a)
    torch.save({k: v[1] for k, v in pairs.items()}, b)
    for epsilon in (0.0, 0.01):
        rc, report = diff(a, b, "--epsilon", str(epsilon)) if epsilon else diff(a, b, "--values")
        assert rc == 1 and len(report["entries"]) == CASES
        for x in report["entries"]:
            ta, tb = pairs[x["key"]]
            na, nb = numbers(ta), numbers(tb)
            check(x, na, nb, epsilon, (ta.dtype, tb.dtype))
            check_place(x, na, nb, ta)


def safetensors(path, tensors):
    """name -> (dtype, shape, bytes)"""
    header, at = {}, 0
    for k, (dtype, shape, raw) in tensors.items():
        header[k] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(v[2] for v in tensors.values()))


def e4m3(bits):
    sign, exp, man = -1 if bits & 0x80 else 1, bits >> 3 & 15, bits & 7
    if exp == 15 and man == 7:
        return float("nan")
    return sign * (man / 8 * 2.0**-6 if exp == 0 else (1 + man / 8) * 2.0**(exp - 7))


def float8(d):
    a, b = os.path.join(d, "f8.safetensors"), os.path.join(d, "f32.safetensors")
    raw = bytes(range(256)) * 9
    values = np.array([e4m3(x) for x in raw], dtype=np.float32)
    moved = values.copy()
    moved[77] += 0.5
    safetensors(a, {"same": ("F8_E4M3", [2304], raw), "moved": ("F8_E4M3", [9, 256], raw)})
    safetensors(b, {"same": ("F32", [2304], values.tobytes()), "moved": ("F32", [9, 256], moved.tobytes())})
    rc, report = diff(a, b, "--ignore-dtype")
    found = {x["key"]: x for x in report["entries"]}
    assert rc == 1 and found["same"]["kind"] == "same" and found["same"]["values"]["nan_a"] == 18
    assert found["moved"]["kind"] == "values" and found["moved"]["values"]["differ"] == 1
    assert found["moved"]["values"]["max_abs"] == 0.5 and found["moved"]["values"]["at"] == [0, 77]
    assert diff(a, b, "--epsilon", "0.5", "--ignore-dtype")[0] == 0
    assert diff(a, b, "--epsilon", "0.5")[0] == 1  # the dtypes still differ


def uncompared(d):
    a = os.path.join(d, "sparse.pt")
    torch.save({"s": torch.eye(3).to_sparse(), "c": torch.ones(2, dtype=torch.complex64)}, a)
    b = os.path.join(d, "real.pt")
    torch.save({"s": torch.eye(3).to_sparse(), "c": torch.ones(2)}, b)
    rc, report = diff(a, b, "--values")
    found = {x["key"]: x for x in report["entries"]}
    assert rc == 1 and found["s"]["kind"] == "uncompared" and "sparse" in found["s"]["why"], report
    assert found["c"]["kind"] == "dtype" and "complex" in found["c"]["why"], report


def main():
    print("seed", SEED, "cases", CASES)
    with tempfile.TemporaryDirectory() as d:
        random_pairs(d)
        float8(d)
        uncompared(d)


if __name__ == "__main__":
    main()

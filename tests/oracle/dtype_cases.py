"""Element conversions of the torch at hand, as raw bytes.

usage: dtype_cases.py DIR       (by test_read_dtype.py)

DIR/NAME.values: float32 of every bit pattern of an 8-bit or 16-bit type; DIR/floats: float32 inputs;
DIR/NAME.bits: those inputs cast to the type.
"""
import os
import sys

import torch

NAMES = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]


def put(out, name, tensor):
    with open(os.path.join(out, name), "wb") as f:
        f.write(tensor.contiguous().numpy().tobytes())


def main():
    out = sys.argv[1]
    g = torch.Generator().manual_seed(7)
    bits = torch.randint(-2**31, 2**31 - 1, (200000,), generator=g, dtype=torch.int64).to(torch.int32)
    floats = bits.view(torch.float32)
    small = torch.randn(200000, generator=g) * torch.exp(torch.randn(200000, generator=g) * 8)
    edges = []
    for name in NAMES:
        if not hasattr(torch, name):
            continue
        dtype = getattr(torch, name)
        wide = torch.int16 if name in ("float16", "bfloat16") else torch.uint8
        all_bits = torch.arange(-32768, 32768).to(torch.int16) if wide == torch.int16 else torch.arange(256).to(torch.uint8)
        values = all_bits.view(dtype).float()
        put(out, name + ".values", values)
        v = values[torch.isfinite(values)].double().sort().values.unique()
        middle = (v[1:] + v[:-1]) / 2  # halfway points, and what lies just beside them
        for f in (middle.float(), v.float()):
            edges += [f, torch.nextafter(f, torch.tensor(float("inf"))), torch.nextafter(f, torch.tensor(-float("inf")))]
    floats = torch.cat([floats, small, torch.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan")])] + edges)
    put(out, "floats", floats)
    for name in NAMES:
        if hasattr(torch, name):
            wide = torch.int16 if name in ("float16", "bfloat16") else torch.uint8
            # One at a time through a strided tensor: the scalar cast, which is the documented one for NaN too.
            put(out, name + ".bits", floats.to(getattr(torch, name)).view(wide))


if __name__ == "__main__":
    main()

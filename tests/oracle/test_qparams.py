"""Ranges, scales, zero points and fake-quantized values of random weights: ours equal torch's own observers and
fake-quant modules, bit for bit, in every torch that tests/oracle/torch-at can run here.

    test_qparams.py                   the test; exit 77 when the calculator or every torch is missing
    test_qparams.py --worker DIR SEED N   under some torch: write DIR/in.bin (for unit_qparams --batch) and DIR/want.bin
"""
import os, struct, subprocess, sys, tempfile, warnings

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMES = ["", "per_tensor_affine", "per_tensor_symmetric", "per_channel_affine", "per_channel_symmetric",
           "per_channel_affine_float_qparams"]
DTYPES = ["qint8", "quint8", "qint32", "float32", "float16", "bfloat16"]


# ---- the worker: runs under the torch that is asked ----

def worker(out_dir, seed, count):
    warnings.filterwarnings("ignore")
    import random
    import numpy as np
    import torch
    try:
        import torch.ao.quantization.observer as obs
        import torch.ao.quantization.fake_quantize as fq
        import torch.ao.quantization._learnable_fake_quantize as lfq
    except ImportError:
        import torch.quantization.observer as obs
        import torch.quantization.fake_quantize as fq
        import torch.quantization._learnable_fake_quantize as lfq
    torch.set_num_threads(1)
    rng, np_rng = random.Random(seed), np.random.RandomState(seed % 2 ** 32)
    major, minor = (int(x) for x in torch.__version__.split(".")[:2])
    version = 100 * major + minor

    def values(n):
        kind = rng.randrange(18)
        x = np_rng.standard_normal(n).astype(np.float32)
        if kind == 0: x *= np.float32(10.0 ** rng.uniform(-8, 4))
        elif kind == 1: x[np_rng.rand(n) < 0.7] = 0
        elif kind == 2: x *= np.float32(1e-40)                      # denormals
        elif kind == 3: x = np.abs(x)                               # one-sided
        elif kind == 4: x = -np.abs(x) * np.float32(0.1)
        elif kind == 5 and n: x[:] = x[0]                                # constant
        elif kind == 6: x[:] = 0
        elif kind == 7: x *= np.float32(10.0 ** rng.uniform(30, 38)) # huge
        elif kind == 8: x *= np.float32(10.0 ** rng.uniform(-40, -30))
        elif kind == 9: x = np.round(x * 16) / 16                   # ties in the rounding
        elif kind == 10: x = x.astype(np.float16).astype(np.float32)
        elif kind == 11: x = torch.tensor(x).bfloat16().float().numpy()
        elif kind == 12: x = np.round(x * 40).astype(np.float32)
        elif kind == 13: x *= np.float32(0) * np.where(np_rng.rand(n) < 0.5, -1, 1).astype(np.float32)  # zeros of both signs
        elif kind == 14: x = np.sign(x) * np.float32(rng.choice([3.4028235e38, 1.7e38, 3e38]))  # the range may overflow
        elif kind == 15: x[np_rng.rand(n) < 0.5] = np.float32(rng.choice([1e-45, -1e-45, 1.17549435e-38]))
        elif kind == 16:
            y, x = x, np.zeros_like(x)                               # one element that is not zero
            at = np_rng.randint(n) if n else 0
            x[at:at + 1] = y[at:at + 1]
        else: x = x * np.float32(0.02) + np.float32(rng.uniform(-0.05, 0.05))
        if kind == 14: return x.astype(np.float32)
        return np.clip(np.nan_to_num(x, posinf=3e38, neginf=-3e38), -3e38, 3e38).astype(np.float32)

    def shape():
        dims = [rng.choice([1, 2, 3, 5, 8, 17]) for _ in range(rng.randint(1, 4))]
        if rng.random() < 0.02: dims = [rng.choice([7, 64]), 200]
        return dims

    def one(per_channel_ok=True):
        dims = shape()
        scheme = rng.randint(1, 5)
        if scheme >= 3 and len(dims) == 1: dims.append(3)  # torch refuses a vector per channel
        dtype = rng.choice(["qint8", "qint8", "quint8"])
        symmetric = scheme in (2, 4)
        reduce_range = rng.random() < 0.25 and not (symmetric and dtype == "quint8")
        custom = None
        if rng.random() < 0.6:
            lo, hi = (-128, 127) if dtype == "qint8" else (0, 255)
            custom = rng.choice([(lo, hi), (lo, hi), (-127, 127) if dtype == "qint8" else (0, 254), (-8, 7) if dtype == "qint8" else (0, 15),
                                 (-4, 3) if dtype == "qint8" else (0, 7), (-32, 31) if dtype == "qint8" else (0, 63),
                                 (-7, 7) if dtype == "qint8" else (0, 14), (-100, 90) if dtype == "qint8" else (0, 200)])
        if version >= 112 and scheme in (2, 4) and rng.random() < 0.03: dtype, custom, reduce_range = "qint32", None, False
        eps = rng.choice([None, None, None, 2.0 ** -12, 1e-3]) if version >= 112 else None
        axis = rng.randrange(len(dims)) if scheme >= 3 else -1
        mode = rng.choice(["observer", "plain", "fused", "learnable"])
        if mode == "fused" and (scheme == 5 or version < 110): mode = "plain"
        if mode == "learnable" and (scheme == 5 or version < 110): mode = "observer"
        if mode == "plain" and scheme == 5 and version < 110: mode = "observer"
        if dtype == "qint32": mode = "observer"
        if mode == "fused" and scheme >= 3: axis = 0  # the kernel takes no other
        if mode == "observer" and scheme <= 2 and version >= 113 and rng.random() < 0.05:
            dims[rng.randrange(len(dims))] = 0  # an empty weight leaves the range as it was
        if mode in ("fused", "learnable") and custom is None:
            custom = (-128, 127) if dtype == "qint8" else (0, 255)
        moving = mode == "fused" or rng.random() < 0.5
        cls = getattr(obs, ("MovingAverage" if moving else "") + ("PerChannel" if scheme >= 3 else "") +
                      "MinMaxObserver")
        kw = dict(dtype=getattr(torch, dtype), qscheme=getattr(torch, SCHEMES[scheme]), reduce_range=reduce_range)
        if scheme >= 3: kw["ch_axis"] = axis
        if eps is not None: kw["eps"] = eps
        rangekw = dict(quant_min=custom[0], quant_max=custom[1]) if custom else {}
        if version < 110 and mode == "plain":  # torch 1.7: the module's range only clamps, and has defaults
            lo, hi = (-128, 127) if dtype == "qint8" else (0, 255)
            rangekw, custom_observer = dict(quant_min=lo, quant_max=hi), None
        else:
            custom_observer = custom
        w = torch.tensor(values(int(np.prod(dims)))).reshape(dims)
        seen_dtype = torch.float32
        if mode == "observer" and rng.random() < 0.1:  # the observer rounds a double before it looks
            w, seen_dtype = w.double() * (1 + 1e-8 * rng.random()), torch.float64
        float_dtype = "float32"
        if mode == "plain" and version >= 206 and scheme <= 2 and rng.random() < 0.2:
            float_dtype = rng.choice(["float16", "bfloat16"])  # module.half()
            w = w.clamp(-6e4, 6e4).to(getattr(torch, float_dtype))
        factor = None
        if rng.random() < 0.3 and float_dtype == "float32" and w.numel() and seen_dtype is torch.float32 and mode in ("observer", "plain", "fused"):
            g = torch.tensor(np_rng.standard_normal(dims[0]).astype(np.float32))
            var = torch.tensor(np.abs(np_rng.standard_normal(dims[0])).astype(np.float32))
            factor = g / torch.sqrt(var + 1e-3)
            seen = w * factor.reshape([-1] + [1] * (len(dims) - 1))
            if not bool(torch.isfinite(seen).all()): factor, seen = None, w
        else:
            seen = w
        if mode == "observer":
            m = cls(**kw, **rangekw)
            m(seen)
            scale, zp = m.calculate_qparams()
            o, fqd = m, None
            lo, hi = getattr(m, "quant_min", None), getattr(m, "quant_max", None)
        else:
            if mode == "plain": m = fq.FakeQuantize(observer=cls, **kw, **rangekw)
            elif mode == "fused": m = fq.FusedMovingAvgObsFakeQuantize(observer=cls, **kw, **rangekw)
            else:
                m = lfq._LearnableFakeQuantize(observer=cls, channel_len=dims[axis] if scheme >= 3 else -1, **kw,
                                               **rangekw)
            if float_dtype != "float32": m = m.to(getattr(torch, float_dtype))
            fqd = m(seen).detach()
            scale, zp, o = m.scale.detach(), m.zero_point.detach(), m.activation_post_process
            lo, hi = m.quant_min, m.quant_max
            if version >= 110: lo, hi = (o.quant_min, o.quant_max)
        if factor is not None or mode == "learnable" or float_dtype != "float32": fqd = None  # only the plain kernels
        n = dims[axis] if scheme >= 3 else 1
        has_custom = getattr(o, "has_customized_qrange", False)
        if version < 110 and mode != "plain":
            lo, hi = custom_observer if custom_observer else (0, 0)
        head = struct.pack("<10i3qfi", scheme, DTYPES.index(dtype), mode == "fused", bool(has_custom), reduce_range,
                           version, DTYPES.index(float_dtype), len(dims), factor is not None, 0, lo, hi, axis,
                           float(torch.tensor(eps if eps is not None else torch.finfo(torch.float32).eps)),
                           mode == "learnable")
        inp = head + struct.pack("<%dq" % len(dims), *dims) + w.float().numpy().tobytes()
        if factor is not None: inp += factor.numpy().tobytes()
        note = f"{mode} {cls.__name__} {SCHEMES[scheme]} {dtype} {float_dtype} range {custom} reduce {reduce_range}" \
               f" axis {axis} shape {dims} factor {factor is not None} eps {eps}".encode()
        flat = lambda t: t.detach().float().reshape(-1).numpy().astype(np.float32)
        want = struct.pack("<3i", n, fqd is not None, len(note)) + note
        want += flat(o.min_val if hasattr(o, "min_val") else o.min_vals).tobytes()
        want += flat(o.max_val if hasattr(o, "max_val") else o.max_vals).tobytes()
        want += flat(scale).tobytes() + zp.detach().double().reshape(-1).numpy().tobytes()
        want += struct.pack("<i", w.numel())
        if fqd is not None: want += flat(fqd).tobytes()
        return inp, want

    with open(os.path.join(out_dir, "in.bin"), "wb") as fi, open(os.path.join(out_dir, "want.bin"), "wb") as fw:
        for _ in range(count):
            inp, want = one()
            fi.write(inp)
            fw.write(want)
    print(torch.__version__)


# ---- the comparison: plain Python and numpy ----

def compare(out_dir, label):
    import numpy as np
    want = open(os.path.join(out_dir, "want.bin"), "rb").read()
    got = open(os.path.join(out_dir, "out.bin"), "rb").read()
    at = [0, 0]

    def take(which, data, fmt):
        size = np.dtype(fmt[0]).itemsize * fmt[1]
        part = data[at[which]:at[which] + size]
        assert len(part) == size, "the two files do not line up"
        at[which] += size
        return np.frombuffer(part, fmt[0])

    cases = bad = quantized = 0
    while at[0] < len(want):
        n, has_fq, note_len = take(0, want, ("<i4", 3))
        note = take(0, want, ("u1", note_len)).tobytes().decode()
        mn, mx, scale = (take(0, want, ("<f4", n)) for _ in range(3))
        zp = take(0, want, ("<f8", n))
        numel = take(0, want, ("<i4", 1))[0]
        fqd = take(0, want, ("<f4", numel)) if has_fq else None
        status, count = take(1, got, ("<i4", 2))
        cases += 1
        if status != 0 or count != n:
            print(f"{label}: case {cases}: refused (code {status}): {note}")
            bad += 1
            continue
        our_mn, our_mx = (take(1, got, ("<f4", n)) for _ in range(2))
        q = take(1, got, (np.dtype([("s", "<f4"), ("z", "<i4"), ("zf", "<f4")]), n))
        our_fq = take(1, got, ("<f4", numel))
        our_zp = q["zf"].astype("f8") if "float_qparams" in note else q["z"].astype("f8")
        problems = []
        for name, a, b in (("min", mn, our_mn), ("max", mx, our_mx), ("zero_point", zp, our_zp)):
            if not (a == b).all(): problems.append((name, a, b))  # -0.0 equals 0.0 here
        if scale.tobytes() != np.ascontiguousarray(q["s"]).tobytes(): problems.append(("scale", scale, q["s"]))
        if has_fq:
            quantized += 1
            same = (fqd == our_fq) | (np.isnan(fqd) & np.isnan(our_fq))
            if not same.all(): problems.append(("fake quant", fqd[~same][:3], our_fq[~same][:3]))
        if problems:
            bad += 1
            if bad < 8: print(f"{label}: case {cases}: {note}: torch, ours: {problems}")
    print(f"{label}: {cases} weights, {quantized} of them fake-quantized, {bad} differ")
    return cases if not bad else -1


def calculator():
    build = os.path.dirname(os.environ["QATSCOPE"]) if os.environ.get("QATSCOPE") else os.getcwd()
    for d in (os.environ.get("QATSCOPE_TEST_BIN", ""), os.path.join(build, "tests"), os.getcwd()):
        path = os.path.join(d, "unit_qparams")
        if d and os.access(path, os.X_OK): return path
    return None


def main():
    program = calculator()
    if not program:
        print("SKIP: unit_qparams is not built")
        return 77
    seed = int(os.environ.get("SEED", "20240607"))
    print("seed", seed)
    total = ran = 0
    for suite, count in (("bookworm", 6000), ("bullseye", 1500), ("trixie", 2500), ("sid", 2500)):
        with tempfile.TemporaryDirectory() as d:
            args = [os.path.abspath(__file__), "--worker", d, str(seed + ran), str(count)]
            command = [sys.executable] + args if suite == "bookworm" else [os.path.join(HERE, "torch-at"), suite] + args
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["?"])[-1]
                if suite == "bookworm" and "No module named" not in last or os.path.exists(os.path.join(d, "in.bin")):
                    print(done.stderr)
                    return 1
                print(f"SKIP torch of {suite}: {last}")
                continue
            subprocess.run([program, "--batch", os.path.join(d, "in.bin"), os.path.join(d, "out.bin")], check=True)
            cases = compare(d, "torch " + done.stdout.strip().splitlines()[-1])
            if cases < 0: return 1
            total += cases
            ran += 1
    print(f"{total} weights in {ran} versions of torch: all equal")
    return 0 if ran else 77


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--worker":
        worker(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        sys.exit(0)
    sys.exit(main())

"""The numbers behind the sliders of `W` (what rounding does to a weight) are torch's: ranges and scales of MinMaxObserver
and PerChannelMinMaxObserver, then torch.fake_quantize_per_tensor_affine and torch.fake_quantize_per_channel_affine on the
same data, for every setting, under every torch that is here.

    test_see.py                the test; exit 77 when the calculator or every torch is missing.  SEED, COUNT
    test_see.py --worker DIR SEED COUNT   under some torch: DIR/weights.safetensors and DIR/want.json
"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
BINS = 24


def worker(folder, seed, count):
    warnings.filterwarnings("ignore")
    import numpy as np
    import torch
    try:
        import torch.ao.quantization.observer as obs
    except ImportError:
        import torch.quantization.observer as obs
    torch.set_num_threads(1)
    rng, values = random.Random(seed), np.random.RandomState(seed % 2 ** 32)

    def weight():
        shape = [rng.choice([2, 3, 8, 17])] + [rng.choice([1, 2, 3, 5]) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.15:
            shape = [rng.choice([5, 64])]
        w = values.standard_normal(shape).astype(np.float32) * np.float32(10 ** rng.uniform(-3, 1))
        kind = rng.randrange(6)
        if kind == 0: w.flat[0] *= 30                                         # an outlier
        elif kind == 1: w *= (10.0 ** values.uniform(-2, 0, [shape[0]] + [1] * (len(shape) - 1))).astype(np.float32)
        elif kind == 2: w = np.abs(w)
        elif kind == 3: w = -np.abs(w) - np.float32(0.1)
        elif kind == 4: w = np.round(w * 8) / 8                               # ties
        return torch.from_numpy(np.ascontiguousarray(w, dtype=np.float32))

    def measure(w, bits, affine, per_channel, keep):
        lo, hi = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        per_channel = per_channel and w.dim() > 1
        scheme = getattr(torch, "per_%s_%s" % ("channel" if per_channel else "tensor", "affine" if affine else "symmetric"))
        if per_channel:
            flat = w.reshape(w.shape[0], -1)
            small, large = flat.min(1)[0], flat.max(1)[0]
        else:
            small, large = w.min().reshape(1), w.max().reshape(1)
        small, large = small * torch.tensor(keep), large * torch.tensor(keep)
        # what calculate_qparams of the two observers does with such a range, for any bits (they take 8 in torch 1.7)
        neg, pos, zero = torch.min(small, torch.zeros_like(small)), torch.max(large, torch.zeros_like(large)), None
        eps = torch.tensor([torch.finfo(torch.float32).eps])
        if affine:
            scale = torch.max((pos - neg) / float(hi - lo), eps)
            zero = torch.clamp(lo - torch.round(neg / scale).to(torch.int), lo, hi)
        else:
            scale = torch.max(torch.max(-neg, pos) / (float(hi - lo) / 2), eps)
            zero = torch.zeros_like(scale, dtype=torch.int)
        if bits == 8:
            kind = obs.PerChannelMinMaxObserver if per_channel else obs.MinMaxObserver
            o = kind(dtype=torch.qint8, qscheme=scheme)
            o(w)
            if keep == 1:
                s, z = o.calculate_qparams()
                assert torch.equal(s.flatten(), scale) and torch.equal(z.flatten().int(), zero.int())
        zero = zero.to(torch.long if torch.__version__.startswith("1.7") else torch.int32)
        if per_channel:
            rounded = torch.fake_quantize_per_channel_affine(w, scale, zero, 0, lo, hi)
        else:
            rounded = torch.fake_quantize_per_tensor_affine(w, float(scale), int(zero), lo, hi)
        channels = w.shape[0] if w.dim() > 1 else 1
        error = (w - rounded).double().reshape(channels, -1)
        big = scale if per_channel else scale.expand(channels)
        grid = torch.round(w.reshape(channels, -1) * (1.0 / big).reshape(-1, 1)) + (zero if per_channel else zero.expand(channels)).reshape(-1, 1)
        lo_w, hi_w = float(w.min()), float(w.max())
        r = rounded.double().flatten().numpy()
        r = r[(r >= lo_w) & (r <= hi_w)]
        at = np.minimum(((r - lo_w) * (BINS / (hi_w - lo_w) if hi_w > lo_w else 0)).astype(np.int64), BINS - 1)
        return {"scale": float(scale.max()), "least": float(scale.min()), "zero": int(zero[scale.argmax()]),
                "mse": float((error ** 2).mean()), "max": float(error.abs().max()),
                "clipped": float(((grid < lo) | (grid > hi)).double().mean()), "first": float(rounded.flatten()[0]),
                "channels": (error ** 2).mean(1).tolist(), "bins": np.bincount(at, minlength=BINS).tolist()}

    header, data, want = {}, b"", {}
    for i in range(count):
        w = weight()
        raw = w.numpy().tobytes()
        header["w%d" % i] = {"dtype": "F32", "shape": list(w.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
        for bits in range(2, 9):
            for affine in (0, 1):
                for per_channel in (0, 1):
                    for keep in (1, 0.85, 0.3):
                        want["w%d %d %d %d %g" % (i, bits, affine, per_channel, keep)] = measure(w, bits, affine, per_channel, keep)
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "weights.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
    with open(os.path.join(folder, "want.json"), "w") as f:
        json.dump({"torch": torch.__version__, "want": want}, f)
    sys.stdout.flush()
    os._exit(0)  # torch 1.7 may abort when its threads end after Python


def near(a, b):
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b)) + 1e-300


def compare(line, want):
    words = line.split()
    key, x = " ".join(words[:5]), words[5:]
    w = want.pop(key)
    n = int(x[7])
    numbers = [float(v) for v in x[8:8 + n]]
    # floats are equal bit for bit, sums of squares up to the order of adding
    same = (float(x[0]) == float("%.9g" % w["scale"]) and float(x[1]) == float("%.9g" % w["least"])
            and int(x[2]) in (w["zero"],) and near(float(x[3]), float("%.12g" % w["mse"]) if w["mse"] else 0)
            and float(x[4]) == float("%.9g" % w["max"]) and near(float(x[5]), w["clipped"]) and float(x[6]) == float("%.9g" % w["first"])
            and n == len(w["channels"]) and all(near(a, float("%.12g" % b)) for a, b in zip(numbers, w["channels"]))
            and [int(v) for v in x[8 + n:]] == w["bins"])
    return None if same else "%s: ours %s, torch's %s" % (key, x, w)


def run(command, calculator, seed, count):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command + [os.path.abspath(__file__), "--worker", folder, str(seed), str(count)], cwd=folder,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        if not os.path.exists(os.path.join(folder, "want.json")):
            if command[0] == "bash" and "Traceback" not in done.stdout:
                print("not run: %s" % done.stdout.strip()[-200:])
                return None
            print(done.stdout)
            return 1
        told = json.load(open(os.path.join(folder, "want.json")))
        ours = subprocess.run([calculator, "--numbers", os.path.join(folder, "weights.safetensors")], stdout=subprocess.PIPE,
                              universal_newlines=True)
        want, wrong = told["want"], []
        total = len(want)
        for line in ours.stdout.splitlines():
            wrong += [x for x in [compare(line, want)] if x]
        for x in wrong[:3]:
            print(x)
        print("torch %s: %d settings of %d weights, %d differ, %d not told (seed %d)" % (
            told["torch"], total, count, len(wrong), len(want), seed))
        return len(wrong) + len(want) + (ours.returncode != 0)


def main():
    build = os.path.dirname(os.environ.get("QATSCOPE", ""))
    calculator = os.environ.get("QATSCOPE_SEE", os.path.join(build, "tests", "unit_lesson_see"))
    if not os.path.exists(calculator):
        print("SKIPPED: no unit_lesson_see")
        return 77
    seed, count = int(os.environ.get("SEED", "20261127")), int(os.environ.get("COUNT", "5"))
    roots = os.environ.get("TORCH_ROOTS", os.path.expanduser("~/.cache/torch-roots"))
    runs = [["bash", os.path.join(HERE, "torch-at"), s] for s in ("bullseye", "trixie", "sid") if os.path.isdir(os.path.join(roots, s))]
    if subprocess.run([sys.executable, "-c", "import torch"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
        runs.insert(0, [sys.executable])
    results = [run(r, calculator, seed, count) for r in runs]
    if all(r is None for r in results):
        return 77
    return 1 if any(results) else 0


if __name__ == "__main__":
    sys.exit(worker(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])) if sys.argv[1:2] == ["--worker"] else main())

"""Files of torch.save that hold tensors and no state dict (optimizers, lists, single tensors) are listed whole, each tensor by
the path to it; rewritten they are equal, and as safetensors they hold the same bytes.  LOOSE_SEED and LOOSE_COUNT choose."""
import json
import os
import random
import subprocess
import sys
import tempfile
import zlib

BIN = os.environ.get("QATSCOPE", "")
if not BIN or not os.path.exists(BIN):
    print("SKIPPED: no qatscope binary")
    sys.exit(77)
try:
    import torch
except ImportError:
    print("SKIPPED: python3-torch is not installed")
    sys.exit(77)
import deep_equal
from read_cases import bytes_of

SEED = int(os.environ.get("LOOSE_SEED", "20261127"))
COUNT = int(os.environ.get("LOOSE_COUNT", "60"))
R = random.Random(SEED)
DTYPES = [torch.float32, torch.float16, torch.int64, torch.bool, torch.bfloat16, torch.uint8]


def tensor():
    shape = [R.randrange(4) for _ in range(R.randrange(3))]
    t = (torch.rand(shape) * 9).to(R.choice(DTYPES))
    return torch.nn.Parameter(t) if t.is_floating_point() and R.random() < 0.2 else t


def optimizer():
    model = torch.nn.Sequential(*[torch.nn.Linear(2, R.randrange(1, 4)) for _ in range(R.randrange(1, 3))])
    made = R.choice([torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad, lambda p: torch.optim.SGD(p, 0.1, 0.9)])(model.parameters())
    for p in model.parameters():
        p.grad = torch.rand_like(p)
    made.step()
    return made.state_dict()


def thing(depth, seen):
    """seen: containers that may be met again."""
    roll = R.random()
    if seen and roll < 0.05:
        return R.choice(seen)
    if depth == 0 or roll < 0.3:
        return tensor() if R.random() < 0.7 else R.choice([None, 3, "x", 2.5, True])
    if roll < 0.5:
        made = [thing(depth - 1, seen) for _ in range(R.randrange(4))]
    elif roll < 0.6:
        return tuple(thing(depth - 1, seen) for _ in range(R.randrange(3)))
    else:
        # a key that is no string keeps a dict from being a state dict
        keys = [7] + R.sample(["a", "a.b", "weight", 3, 4, 17, -1, "7"], R.randrange(4))
        made = {k: thing(depth - 1, seen) for k in keys}
    seen.append(made)
    return made


def walk(value, path, out, seen):
    """What shall be listed: a container where it is met first."""
    if isinstance(value, torch.Tensor):
        key, n = path or "tensor", len(out) + 1
        while key in out:
            key, n = "%s#%d" % (path or "tensor", n), n + 1
        out[key] = value
    elif isinstance(value, (list, tuple, dict)):
        if id(value) in seen:
            return
        seen.add(id(value))
        for k, v in value.items() if isinstance(value, dict) else enumerate(value):
            walk(v, "%s%s%s" % (path, "." if path else "", k), out, seen)


def run(*args):
    p = subprocess.run([BIN] + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return p.returncode, p.stdout.decode("utf-8"), p.stderr.decode("utf-8")


def describe(t):
    return [list(t.shape), str(t.dtype).replace("torch.", ""), zlib.crc32(bytes_of(t.detach()))]


def check(folder, value):
    path, out, st = (os.path.join(folder, n) for n in ("a.pt", "b.pt", "c.safetensors"))
    torch.save(value, path)
    value = torch.load(path)  # empty tuples and short strings are one object there
    want = {}
    walk(value, "", want, set())
    code, said, errors = run("ls", path, "--json", "--values")
    if not want:
        return None if code == 3 and "no state dict" in errors else "nothing is in it, yet: %s %s" % (code, errors)
    if code:
        return errors
    shown = json.loads(said)
    got = {e["key"]: [e["shape"], e["dtype"], e["crc32"]] for e in shown["entries"]}
    if list(got.items()) != [(k, describe(t)) for k, t in want.items()]:
        return "listed %s, it holds %s" % (list(got), list(want))
    code, _, errors = run("convert", path, "-o", out)
    if code:
        return errors
    why = deep_equal.deep_equal(value, torch.load(out))
    if why:
        return "rewritten: " + why
    if run("verify", path)[0] or run("check", path, path)[0] != 3:
        return "verify or check"
    code, _, errors = run("convert", path, "-o", st)
    if code == 0:
        there = {e["key"]: [e["shape"], e["dtype"], e["crc32"]] for e in json.loads(run("ls", st, "--json", "--values")[1])["entries"]}
        if there != got:
            return "as safetensors: %s" % there
    elif "more elements than" not in errors and "share" not in errors:
        return errors
    return None


def main():
    bad = shown = 0
    with tempfile.TemporaryDirectory() as folder:
        for i in range(COUNT):
            value = optimizer() if i % 4 == 0 else tensor() if i % 10 == 1 else [thing(3, [])] if i % 2 else {5: thing(3, []), "x": tensor()}
            why = check(folder, value)
            bad += why is not None
            if why and shown < 3:
                shown += 1
                print("case %d: %s\n  %r" % (i, why, value))
    print("%d files, %d differ (seed %d)" % (COUNT, bad, SEED))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

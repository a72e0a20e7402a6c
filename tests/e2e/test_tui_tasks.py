#!/usr/bin/env python3
"""What a person comes for, each done by keys alone, in a real terminal, in under ten keystrokes after opening (they are
counted), and checked on what was saved: by `qatscope` itself and, where it is installed, by torch."""
import json
import math
import os
import subprocess
import sys

import mini
import tui

MOST = 9
A, QAT, M, TRAIN, FORWARD = (tui.fixture(n) for n in ("float.pt", "qat.pt", "model.json", "train.pt", "forward.pt"))


class Task(tui.Tui):
    """Counts what is typed once the files are open."""

    def __init__(self, name, **kw):
        super().__init__(**kw)
        self.name, self.pressed = name, 0

    def press(self, *names):
        self.pressed += len(names)
        self.keys(*names)

    def __exit__(self, *why):
        if why[0] is None:
            print("%-45s %d keys" % (self.name, self.pressed))
            assert self.pressed <= MOST, "%s took %d keys" % (self.name, self.pressed)
        super().__exit__(*why)


def qatscope(*args):
    return subprocess.run([tui.QATSCOPE, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def loads(path, *model):
    r = qatscope("check", path, *model)
    assert r.returncode == 0, r.stdout.decode() + r.stderr.decode()


def entries(path):
    return [line.split("\t")[0] for line in qatscope("ls", path).stdout.decode().splitlines()]


def torch_or_none():
    try:
        import torch
        return torch
    except ImportError:
        return None


def save(path, obj):
    mini.save(obj, path)


def copy(t, path):
    """Beside what is saved, so that the name proposed for it is in the test's own folder."""
    to = os.path.join(t.dir, os.path.basename(path))
    with open(path, "rb") as f, open(to, "wb") as g:
        g.write(f.read())
    return to


def repair():
    with Task("repair float -> QAT") as t:
        t.open(copy(t, A), "-m", M)
        t.press("F", "Enter", "w", "Enter")
        t.until("read back and verified; PyTorch would load it")
        out = os.path.join(t.dir, "float-fixed.pt")
        loads(out, "-m", M)
        torch = torch_or_none()
        if torch:
            was, now, twin = (torch.load(p)["model"] for p in (A, out, QAT))
            assert list(now) == list(twin) and all(now[k].shape == twin[k].shape for k in now)
            assert torch.equal(was["model.2.weight"], now["model.2.module.weight"])


def strip_prefix():
    with Task("strip a DDP prefix") as t:
        path = os.path.join(t.dir, "ddp.pt")
        names = ["layer.weight", "layer.bias", "head.weight"]
        save(path, {"module." + n: mini.Tensor([i, 1.0]) for i, n in enumerate(names)})
        t.run(tui.QATSCOPE, path)
        t.until("no model to compare with")
        t.press("M", "Tab", "C-u", "Enter")
        t.until("3 keys renamed")
        t.press("w", "Enter")
        t.until("read back and verified")
        assert entries(os.path.join(t.dir, "ddp-fixed.pt")) == names


def bind():
    with Task("bind two differently named layers") as t:
        a, b = os.path.join(t.dir, "a.pt"), os.path.join(t.dir, "b.pt")
        shared = {"body.%d.weight" % i: mini.Tensor([1.0] * 6, (2, 3)) for i in range(3)}
        save(a, dict(shared, **{"neck.weight": mini.Tensor([5.0] * 4, (2, 2)), "neck.bias": mini.Tensor([1.0, 2.0])}))
        save(b, dict(shared, **{"projection.weight": mini.Tensor([0.0] * 4, (2, 2)),
                                      "projection.bias": mini.Tensor([0.0, 0.0])}))
        t.open(a, b)
        t.press("b")
        t.until("neck.weight", "projection.weight")
        t.press("Enter", "Enter")
        t.until("would load:  YES")
        t.press("q", "w", "Enter")
        t.until("read back and verified; PyTorch would load it")
        out = os.path.join(t.dir, "a-fixed.pt")
        loads(out, b)
        torch = torch_or_none()
        if torch:
            assert torch.load(out)["projection.weight"].tolist() == [[5.0, 5.0], [5.0, 5.0]]


def copy_block():
    """The block is missing, and B has it."""
    with Task("initialise one missing block from B") as t:
        a = os.path.join(t.dir, "a.pt")
        plan = os.path.join(t.dir, "plan.json")
        with open(plan, "w") as f:
            json.dump({"format": "qatscope-plan", "version": 1,
                       "actions": [{"op": "drop", "scope": {"subtree": "model.1.conv.weight_fake_quant"}}]}, f)
        r = qatscope("apply", plan, QAT, "-o", a)
        assert r.returncode in (0, 1), r.stderr.decode()
        t.open(a, QAT)
        t.press("]", "P", "c")
        t.until("keys copied from B", "would load:  YES")
        t.press("w", "Enter")
        t.until("read back and verified; PyTorch would load it")
        out = os.path.join(t.dir, "a-fixed.pt")
        loads(out, QAT)
        assert qatscope("diff", "--values", out, QAT).returncode == 0


def drop_optimizer():
    with Task("drop optimizer state, save as safetensors") as t:
        path = os.path.join(t.dir, "run.pt")
        model = {"a.weight": mini.Tensor([1.0, 2.0, 3.0, 4.0], (2, 2)), "a.bias": mini.Tensor([0.5, 0.25])}
        state = {0: {"momentum": mini.Tensor([0.1] * 4)}}
        save(path, {"epoch": 3, "model": model, "args": {"lr": 0.1}, "optimizer": {"state": state}})
        t.run(tui.QATSCOPE, path)
        t.until("no model to compare with")
        t.press("D")
        t.until("all of A", "optimizer")
        t.press("]", "d")
        t.until("1 key dropped")
        t.press("w", "Tab", "Space", "Enter")
        t.until("read back and verified")
        out = os.path.join(t.dir, "run-fixed.safetensors")
        assert sorted(entries(out)) == sorted(model)
        with open(out, "rb") as f:
            head = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        assert sorted(k for k in head if k != "__metadata__") == sorted(model)
    with Task("the same as a torch file") as t:
        path = copy(t, TRAIN)
        t.run(tui.QATSCOPE, path)
        t.until("no model to compare with")
        t.press("D")
        t.until("all of A", "optimizer")
        t.press("]", "]", "d", "w", "Enter")
        t.until("read back and verified")
        torch = torch_or_none()
        if torch:
            was, now = torch.load(path), torch.load(os.path.join(t.dir, "train-fixed.pt"))
            assert [k for k in was if k != "optimizer"] == list(now)
            assert was["train_args"] == now["train_args"] and was["recipe"] == now["recipe"]
            assert all(torch.equal(was["model"][k], now["model"][k]) for k in ("0.weight", "tied.row", "flag"))
            assert now["model"]["tied.weight"].data_ptr() == now["model"]["2.weight"].data_ptr()


def sqnr(torch, w, scale, low, high):
    q = torch.clamp(torch.round(w / scale), low, high) * scale
    return 10 * math.log10(float((w.double() ** 2).sum()) / float(((w - q).double() ** 2).sum()))


def largest_error():
    with Task("find the tensor with the largest error") as t:
        worst = "head.weight"
        path = os.path.join(t.dir, "w.pt")
        values = {"a.weight": [math.sin(i) for i in range(64)], "b.weight": [math.cos(i * 3) for i in range(64)],
                  worst: [math.sin(i) * 0.01 for i in range(63)] + [1.0]}
        save(path, {k: mini.Tensor(v, (8, 8)) for k, v in values.items()})
        t.run(tui.QATSCOPE, path)
        t.until("no model to compare with")
        t.press("Q")
        screen = t.until("what rounding costs", "3 weights as int8")
        first = screen.splitlines()[3]
        torch = torch_or_none()
        if torch:
            db = {k: sqnr(torch, torch.tensor(v), max(abs(x) for x in v) / 127.5, -128, 127) for k, v in values.items()}
            assert min(db, key=db.get) == worst
            assert "%.1f dB" % db[worst] in first, (first, db)
        assert worst in first, screen
        t.press("Enter")
        t.until(worst + "  ")


def fails_in_forward():
    with Task("see why it loads and fails in forward") as t:
        t.open(FORWARD, "-m", M)
        t.until("YES, but forward fails")
        t.press("v")
        t.until("model.1.conv.weight_fake_quant.scale", "scale is 8", "forward raises")
        torch = torch_or_none()
        if torch:  # what torch says to these shapes
            x, s, z = torch.randn(8, 4), torch.full((8,), 0.01), torch.zeros(8, dtype=torch.int32)
            try:
                torch.fake_quantize_per_tensor_affine(x, s, z, -128, 127)
            except RuntimeError:
                return
            raise AssertionError("torch took it")


def main():
    tui.need()
    for task in (repair, strip_prefix, bind, copy_block, drop_optimizer, largest_error, fails_in_forward):
        task()
    return 0


if __name__ == "__main__":
    sys.exit(main())

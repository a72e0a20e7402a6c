"""Opens the demo's checkpoints with the torch at hand and compares every quantizer with torch's own observer.

usage: demo_check.py DIR        (by test_demo.py); exits 0 if all is well
"""
import json
import os
import sys

import torch

VERSION = tuple(int(x) for x in torch.__version__.split("+")[0].split("a")[0].split(".")[:2])
wrong = []


def check(ok, what):
    if not ok:
        wrong.append(what)
        if len(wrong) < 10:
            print("FAIL", what)


def load(path):
    if VERSION < (1, 13):
        return [torch.load(path)]
    if VERSION < (2, 1):
        return [torch.load(path, weights_only=True)] if "qat" not in path else [torch.load(path)]
    return [torch.load(path, weights_only=True), torch.load(path, weights_only=True, mmap=True)]


def observe(observer, values, scale, zero_point, low, high, what):
    observer(values)
    s, z = observer.calculate_qparams()
    check(float(s) == float(scale), f"{what}: scale {float(scale)!r}, torch computes {float(s)!r}")
    check(int(z) == int(zero_point), f"{what}: zero point {int(zero_point)}, torch computes {int(z)}")
    check(float(observer.min_val) == float(low), f"{what}: min {float(low)!r}, torch observes {float(observer.min_val)!r}")
    check(float(observer.max_val) == float(high), f"{what}: max {float(high)!r}, torch observes {float(observer.max_val)!r}")


def check_quantizers(sd, modules):
    q = torch.ao.quantization if VERSION >= (1, 11) else torch.quantization
    count = 0
    for name, m in modules.items():
        if not m["class"].endswith(".FakeQuantize"):
            continue
        count += 1
        scale, zero, low, high = (sd[name + "." + leaf] for leaf in (
            "scale", "zero_point", "activation_post_process.min_val", "activation_post_process.max_val"))
        scheme = getattr(torch, m["qscheme"])
        observer = q.MovingAverageMinMaxObserver(dtype=torch.qint8, qscheme=scheme, quant_min=m["quant_min"],
                                                 quant_max=m["quant_max"], averaging_constant=m["averaging_constant"])
        if name.endswith(".weight_fake_quant"):
            conv = name[:-len(".weight_fake_quant")]
            w = sd[conv + ".weight"]
            if conv + ".bn.weight" in sd:
                factor = sd[conv + ".bn.weight"] / torch.sqrt(sd[conv + ".bn.running_var"] + modules[conv]["bn_eps"])
                w = w * factor.reshape(-1, 1, 1, 1)
            observe(observer, w, scale, zero, low, high, name)
        elif torch.isfinite(low):
            observe(observer, torch.stack([low, high]), scale, zero, low, high, name)
        else:
            check((float(scale), int(zero), float(high)) == (1.0, 0, -float("inf")), name + ": not as fresh")
    check(count == 204, f"{count} quantizers")


def main():
    folder = sys.argv[1]
    manifest = json.load(open(os.path.join(folder, "yolov8n-qat.json")))
    for d in load(os.path.join(folder, "yolov8n-float.pt")):
        check(len(d["model"]) == 355 and d["ema"] is None and d["source"] == "sparseml", "float: top level")
        check(len(d["model"]._metadata) == 281, "float: _metadata")
    for d in load(os.path.join(folder, "yolov8n-qat.pt")):
        sd = d["model"]
        got = [(k, list(v.shape), str(v.dtype)[6:]) for k, v in sd.items()]
        check(got == [(e["key"], e["shape"], e["dtype"]) for e in manifest["state_dict"]], "qat: entries")
        check({k: v["version"] for k, v in sd._metadata.items()} ==
              {k: m["version"] for k, m in manifest["modules"].items()}, "qat: versions")
        check(all(torch.isfinite(v).all() for k, v in sd.items() if "_val" not in k), "qat: values")
        check_quantizers(sd, manifest["modules"])
    print("torch", torch.__version__, "opens the demo;", len(wrong), "differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

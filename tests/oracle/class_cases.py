"""Saves a module that holds an empty instance of every nn.Module class of torch, and their _version.

usage: class_cases.py DIR      (under any torch from 1.7 on, by test_read_classes.py)
"""
import importlib
import json
import os
import pickle
import pkgutil
import sys
import warnings

import torch
import torch.nn as nn

warnings.filterwarnings("ignore")
PACKAGES = ["torch.nn", "torch.nn.modules", "torch.nn.quantized", "torch.nn.qat", "torch.nn.intrinsic",
            "torch.quantization", "torch.ao.nn", "torch.ao.quantization"]


def modules():
    for name in PACKAGES:
        try:
            package = importlib.import_module(name)
        except Exception:
            continue
        yield package
        for info in pkgutil.walk_packages(package.__path__, name + "."):
            try:
                yield importlib.import_module(info.name)
            except BaseException:  # some need compilers or other libraries
                pass


def main():
    out = sys.argv[1]
    classes = {v for m in list(modules()) for v in vars(m).values()
               if isinstance(v, type) and issubclass(v, nn.Module) and v.__module__.startswith("torch.")}
    top, versions = nn.Module(), {}
    for i, cls in enumerate(sorted(classes, key=lambda c: (c.__module__, c.__qualname__))):
        if "." in cls.__qualname__ or "__getstate__" in vars(cls) or "jit" in cls.__module__:
            continue
        try:
            child = cls.__new__(cls)  # fails for abstract ones
            nn.Module.__init__(child)
            state = nn.Module.__getstate__(child) if hasattr(nn.Module, "__getstate__") else child.__dict__
            if "_modules" not in state or cls.__reduce_ex__ is not object.__reduce_ex__ or "__reduce__" in vars(cls):
                continue
            pickle.dumps(child, 2)
        except Exception:
            continue
        top._modules["c%d" % i] = child
        versions["c%d" % i] = [cls.__module__ + "." + cls.__qualname__, cls._version]
    torch.save(top, os.path.join(out, "classes.pt"))
    with open(os.path.join(out, "expected.json"), "w") as f:
        json.dump({"torch": torch.__version__, "versions": versions}, f)


if __name__ == "__main__":
    main()

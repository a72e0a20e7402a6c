"""Two checkpoints compared as torch loads them: values, types, sharing of objects and of storages.

deep_equal(a, b) gives None or a line saying where they differ. load(path) works without the classes a file names:
unknown ones become stubs that keep what they were given. Runs under any torch from 1.7 on.
"""
import collections
import io
import pickle
import reprlib
import types

import torch


class Stub:
    """An object of a class that is not installed."""

    def __new__(cls, *args, **kwargs):
        self = object.__new__(cls)
        self.__dict__["_stub_args"] = (args, kwargs)
        return self

    def __init__(self, *args, **kwargs):
        pass

    @reprlib.recursive_repr()
    def __repr__(self):
        # sets are compared in the order of their reprs: it must tell stubs apart, and not by their addresses
        cls = type(self)
        return "<%s.%s %s %r>" % (cls.__module__, cls.__name__, getattr(cls, "key", ""), self.__dict__.get("_stub_args"))

    def __setstate__(self, state):
        self.__dict__["_stub_state"] = state

    def append(self, item):
        self.__dict__.setdefault("_stub_items", []).append(item)

    def extend(self, items):
        self.__dict__.setdefault("_stub_items", []).extend(items)

    def __setitem__(self, key, value):
        self.__dict__.setdefault("_stub_pairs", []).append((key, value))


_stubs = {}


class StubUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        keep = module.split(".")[0] in ("torch", "collections", "builtins", "__builtin__", "_codecs", "copyreg", "copy_reg", "numpy", "pathlib", "datetime")
        if keep and not module.startswith("torch.nn.modules"):
            try:
                return super().find_class(module, name)
            except Exception:
                pass
        return _stubs.setdefault((module, name), type(name, (Stub,), {"__module__": module}))


_pickle = types.ModuleType("stub_pickle")
_pickle.__dict__.update({k: v for k, v in pickle.__dict__.items() if not k.startswith("__")})
_pickle.Unpickler = StubUnpickler
_pickle.load = lambda f, **kw: StubUnpickler(f, **kw).load()
_pickle.loads = lambda b, **kw: StubUnpickler(io.BytesIO(b), **kw).load()


def load(path):
    kept = torch.serialization.pickle
    torch.serialization.pickle = _pickle  # torch 1.13 ignores pickle_module
    try:
        return torch.load(path, map_location="cpu", pickle_module=_pickle, weights_only=False)
    except TypeError:  # torch before 1.13 has no weights_only
        return torch.load(path, map_location="cpu", pickle_module=_pickle)
    finally:
        torch.serialization.pickle = kept


def storage_ptr(t):
    try:
        return t.untyped_storage().data_ptr(), t.untyped_storage().nbytes()
    except AttributeError:
        s = t.storage()
        return s.data_ptr(), len(s) * s.element_size()


def tensor_difference(a, b, storages):
    for name in ("dtype", "shape", "requires_grad", "layout", "is_quantized", "device"):
        if getattr(a, name) != getattr(b, name):
            return "%s %s / %s" % (name, getattr(a, name), getattr(b, name))
    if a.layout != torch.strided or a.device.type == "meta":
        return None
    if a.stride() != b.stride() or a.storage_offset() != b.storage_offset():
        return "layout %s %s / %s %s" % (a.stride(), a.storage_offset(), b.stride(), b.storage_offset())
    (pa, na), (pb, nb) = storage_ptr(a), storage_ptr(b)
    if na != nb or (na and storages.setdefault(pa, pb) != pb):
        return "storage"
    if a.is_quantized:
        if a.qscheme() != b.qscheme() or not torch.equal(a.int_repr(), b.int_repr()):
            return "quantized value"
        if "channel" in str(a.qscheme()):
            same = torch.equal(a.q_per_channel_scales(), b.q_per_channel_scales())
            return None if same and torch.equal(a.q_per_channel_zero_points(), b.q_per_channel_zero_points()) else "scales"
        return None if (a.q_scale(), a.q_zero_point()) == (b.q_scale(), b.q_zero_point()) else "scale"
    if a.is_complex():
        a, b = torch.view_as_real(a.detach().resolve_conj() if hasattr(a, "resolve_conj") else a.detach()), torch.view_as_real(
            b.detach().resolve_conj() if hasattr(b, "resolve_conj") else b.detach())
    x, y = a.detach().contiguous(), b.detach().contiguous()
    size = x.element_size()
    as_int = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
    if x.dtype != torch.bool and x.numel():
        try:
            x, y = x.view(as_int), y.view(as_int)
        except Exception:
            pass
    return None if torch.equal(x, y) else "values"


ATOMS = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, type, types.FunctionType,
         types.BuiltinFunctionType)


def parts(x):
    """Name and value of everything an object holds."""
    if isinstance(x, dict):
        for i, (k, v) in enumerate(x.items()):
            yield "key %d" % i, k
            yield "[%r]" % (k,), v
    elif isinstance(x, (list, tuple, collections.deque)):
        for i, v in enumerate(x):
            yield "[%d]" % i, v
    elif isinstance(x, (set, frozenset)):
        for i, v in enumerate(sorted(x, key=repr)):
            yield "{%d}" % i, v
    if hasattr(x, "__dict__") and not isinstance(x, (torch.Tensor, type)):
        for k, v in x.__dict__.items():
            yield "." + k, v
    elif isinstance(x, torch.Tensor):
        for k, v in getattr(x, "__dict__", {}).items():
            yield "." + k, v
    if type(x).__module__ == "__main__":
        for k in getattr(type(x), "__slots__", ()):
            if hasattr(x, k):
                yield "." + k, getattr(x, k)


def deep_equal(a, b):
    todo, seen, back, storages, alive = [("", a, b)], {}, {}, {}, []
    while todo:
        path, x, y = todo.pop()
        if type(x) is not type(y):
            return "%s: %s / %s" % (path, type(x), type(y))
        if isinstance(x, ATOMS):
            if not (x == y or (x != x and y != y)) or repr(x) != repr(y):
                return "%s: %r / %r" % (path, x, y)
            continue
        if not isinstance(x, tuple) or x:
            if seen.setdefault(id(x), id(y)) != id(y) or back.setdefault(id(y), id(x)) != id(x):
                return "%s: shared differently" % path
            alive.append((x, y))  # ids must not be reused
            if len(alive) != len(seen):
                alive.pop()
                continue
        if isinstance(x, torch.Tensor):
            why = tensor_difference(x, y, storages)
            if why:
                return "%s: %s" % (path, why)
        px, py = list(parts(x)), list(parts(y))
        if [n for n, _ in px] != [n for n, _ in py]:
            return "%s: holds other things" % path
        if not px and type(x).__eq__ is not object.__eq__ and not isinstance(x, (torch.Tensor, dict, list, tuple)) and x != y:
            return "%s: %r / %r" % (path, x, y)
        todo.extend((path + n, v, w) for (n, v), (_, w) in zip(px, py))
    return None


if __name__ == "__main__":
    import sys

    difference = deep_equal(load(sys.argv[1]), load(sys.argv[2]))
    print(difference or "equal")
    sys.exit(difference is not None)

"""Writes checkpoints as torch.save does, without torch: for tests that must run everywhere and for files torch would
refuse to write."""
import collections
import io
import os
import pickle
import struct
import sys
import types
import zipfile
import zlib

SIZES = {"Float": ("f", 4), "Double": ("d", 8), "Long": ("q", 8), "Int": ("i", 4), "Byte": ("B", 1), "Half": ("e", 2)}


def _fake_torch():
    """Modules and classes whose only use is to be pickled by name."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in SIZES:
        cls = type(name + "Storage", (), {"__module__": "torch"})
        cls.__qualname__ = name + "Storage"
        setattr(torch, name + "Storage", cls)

    def _rebuild_tensor_v2(*args):
        return args

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    return torch, utils


class Tensor:
    """values: a flat list; numel: what the storage claims to hold, if that is to be a lie."""

    def __init__(self, values, shape=None, kind="Float", numel=None, offset=0, stride=None):
        self.values, self.kind, self.offset = list(values), kind, offset
        self.shape = tuple(shape if shape is not None else (len(self.values),))
        self.numel = len(self.values) if numel is None else numel
        if stride is None:
            stride, step = [], 1
            for d in reversed(self.shape):
                stride.insert(0, step)
                step *= d
        self.stride = tuple(stride)

    def bytes(self):
        code, _ = SIZES[self.kind]
        return struct.pack("<%d%s" % (len(self.values), code), *self.values)


class _Storage:
    def __init__(self, tensor, key):
        self.tensor, self.key = tensor, key


class _Reduce:
    def __init__(self, fn, args):
        self.fn, self.args = fn, args

    def __reduce__(self):
        return self.fn, self.args


def pickle_of(obj, storages):
    """Pickle `obj` (dicts, lists, Tensors ...); the tensors are appended to `storages`."""
    torch, utils = _fake_torch()
    saved = {n: sys.modules.get(n) for n in ("torch", "torch._utils")}
    sys.modules["torch"], sys.modules["torch._utils"] = torch, utils
    seen = {}

    def convert(o):
        if isinstance(o, Tensor):
            if id(o) not in seen:
                key = str(len(storages))
                storages.append(o)
                seen[id(o)] = _Reduce(utils._rebuild_tensor_v2, (_Storage(o, key), o.offset, o.shape, o.stride, False,
                                                                 collections.OrderedDict()))
            return seen[id(o)]
        if isinstance(o, dict):
            return type(o)((k, convert(v)) for k, v in o.items())
        if isinstance(o, (list, tuple)):
            return type(o)(convert(v) for v in o)
        return o

    class Pickler(pickle._Pickler):
        def persistent_id(self, o):
            if isinstance(o, _Storage):
                return ("storage", getattr(torch, o.tensor.kind + "Storage"), o.key, "cpu", o.tensor.numel)
            return None

    try:
        out = io.BytesIO()
        Pickler(out, protocol=2).dump(convert(obj))
        return out.getvalue()
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def save(obj, path, prefix="archive"):
    storages = []
    data = pickle_of(obj, storages)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr(prefix + "/data.pkl", data)
        for i, t in enumerate(storages):
            z.writestr("%s/data/%d" % (prefix, i), t.bytes())
        z.writestr(prefix + "/version", "3\n")
    return os.path.getsize(path)


class TorchZip:
    """An archive byte for byte as torch lays it out: every content at a multiple of 64 bytes, padded in the header's extra
    field, its checksum and sizes behind it. Under 4 GiB."""

    def __init__(self, path, prefix="archive"):
        self.f, self.prefix, self.central, self.count = open(path, "wb"), prefix, b"", 0

    def __enter__(self):
        return self

    def add(self, name, content, crc=None):
        """content: bytes, or how many zeros, left as a hole."""
        name, at = ("%s/%s" % (self.prefix, name)).encode(), self.f.tell()
        size = content if isinstance(content, int) else len(content)
        if crc is None:
            crc = zlib.crc32(bytes(content))
        pad = -(at + 34 + len(name)) % 64
        flags = 0x0808 if size else 0x0800
        self.f.write(struct.pack("<IHHHHHIIIHH", 0x04034B50, 0, flags, 0, 0, 0, 0, 0, 0, len(name), pad + 4) + name +
                     struct.pack("<HH", 0x4246, pad) + b"Z" * pad)
        if isinstance(content, int):
            self.f.seek(content, 1)
        else:
            self.f.write(content)
        if size:
            self.f.write(struct.pack("<IIII", 0x08074B50, crc, size, size))
        self.central += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 0, 0, flags, 0, 0, 0, crc, size, size, len(name), 0, 0, 0, 0, 0,
                                    at) + name
        self.count += 1

    def __exit__(self, *_):
        at = self.f.tell()
        self.f.write(self.central + struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, self.count, self.count,
                                                len(self.central), at) +
                     struct.pack("<IIQI", 0x07064B50, 0, at + len(self.central), 1) +
                     struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, min(self.count, 0xFFFF), min(self.count, 0xFFFF),
                                 len(self.central), at, 0))
        self.f.close()

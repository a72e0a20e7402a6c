"""Writes safetensors files from nothing but the format's description, and checks what qatscope saved from them.

usage: safetensors_cases.py write DIR SEED COUNT [newer]     N.safetensors and expected.json
       safetensors_cases.py compare DIR                      N.pt, loaded by the torch at hand, against expected.json
"""
import json
import os
import random
import struct
import sys
import zlib

SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "F64": 8, "I64": 8, "C64": 8}
NEWER = {"U16": 2, "U32": 4, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1, "F8_E8M0": 1}
TORCH = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "F16": "float16", "BF16": "bfloat16", "I32": "int32",
         "F32": "float32", "F64": "float64", "I64": "int64", "C64": "complex64", "U16": "uint16", "U32": "uint32",
         "U64": "uint64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz",
         "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu"}
WORDS = ["weight", "bias", "running_mean", "élan", "a b", 'q"', "x\n", "\U0001f600", "back\\slash", "tab\t"]


def write(path, tensors, metadata, rng, order=None):
    """tensors: [(name, dtype, shape, bytes)], in the order of their data; `order` is the header's."""
    header, at = {}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    items = [(n, header[n]) for n in (order or header)]
    if metadata is not None:
        items.insert(rng.randrange(len(items) + 1), ("__metadata__", metadata))
    text = json.dumps(dict(items), ensure_ascii=rng.random() < 0.5,
                      separators=rng.choice([(",", ":"), (", ", ": ")])).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(t[3] for t in tensors))


def make(rng, sizes):
    tensors = []
    for i in range(rng.choice([0, 1, 2, 5, 20])):
        dtype = rng.choice(list(sizes))
        shape = [rng.choice([0, 1, 2, 3, 7, 16]) for _ in range(rng.randint(0, 4))]
        n = 1
        for d in shape:
            n *= d
        if dtype == "BOOL":
            data = bytes(rng.randrange(2) for _ in range(n))
        else:
            data = bytes(rng.randrange(256) for _ in range(n * sizes[dtype]))
        tensors.append(("layer.%d.%s" % (i, rng.choice(WORDS)), dtype, shape, data))
    return tensors


def read(path):
    """The reference reader's rules. {name: (dtype, shape, bytes)} in the order of the data, and the metadata."""
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    assert n <= 100000000 and n % 8 == 0 and data[8:9] == b"{", "header"
    pairs = json.loads(data[8:8 + n].decode(), object_pairs_hook=list)
    assert len(dict(pairs)) == len(pairs), "a name twice"
    header = {k: dict(v) for k, v in pairs}
    metadata = header.pop("__metadata__", None)
    at, out = 0, {}
    for name, t in sorted(header.items(), key=lambda x: x[1]["data_offsets"]):
        begin, end = t["data_offsets"]
        numel = 1
        for d in t["shape"]:
            numel *= d
        size = dict(SIZES, **NEWER)[t["dtype"]]
        assert begin == at and end - begin == numel * size and (8 + n + begin) % size == 0, name
        out[name] = (t["dtype"], t["shape"], data[8 + n + begin:8 + n + end])
        at = end
    assert 8 + n + at == len(data), "size"
    return out, metadata


def main_write(out, seed, count, newer):
    expected = []
    for i in range(count):
        rng = random.Random("%s/%d" % (seed, i))
        tensors = make(rng, dict(SIZES, **NEWER) if newer else SIZES)
        order = [t[0] for t in tensors]
        if rng.random() < 0.5:
            rng.shuffle(order)
        metadata = rng.choice([None, {}, {"format": "pt"}, {"a": "ü\n", "step": "3"}])
        path = os.path.join(out, "%d.safetensors" % i)
        write(path, tensors, metadata, rng, order)
        by_name = {t[0]: t for t in tensors}
        expected.append({"file": path, "entries": [
            {"key": n, "shape": by_name[n][2], "dtype": TORCH[by_name[n][1]], "crc32": zlib.crc32(by_name[n][3]),
             "tensor": True, "kind": "dense"} for n in order]})
    with open(os.path.join(out, "expected.json"), "w") as f:
        json.dump(expected, f)


def main_compare(out):
    import torch
    from read_cases import bytes_of
    with open(os.path.join(out, "expected.json")) as f:
        expected = json.load(f)
    count = 0
    for case in expected:
        path = case["file"].replace(".safetensors", ".pt")
        if not case["entries"]:
            continue
        got = torch.load(path, weights_only=True)
        assert list(got) == [e["key"] for e in case["entries"]], path
        for e in case["entries"]:
            t = got[e["key"]]
            assert list(t.shape) == e["shape"] and str(t.dtype)[6:] == e["dtype"], (path, e)
            assert zlib.crc32(bytes_of(t)) == e["crc32"], (path, e)
            count += 1
    print("torch %s loads %d tensors of them" % (torch.__version__, count))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        main_write(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), len(sys.argv) > 5)
    else:
        main_compare(sys.argv[2])

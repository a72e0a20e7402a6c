#!/usr/bin/env python3
"""Two checkpoints of a million entries (or N) that differ in every tenth layer, for bench_ui: ui_files.py DIR [N]"""
import os
import struct
import sys
import zipfile

NAMES = ["conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked",
         "quant.scale", "quant.zero_point", "out.weight"]


def pickle_of(keys):
    """A dict of 1-element views of one storage: what torch.save writes, made by hand because pickle is slow at this."""
    out = [b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x000",
           b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQq\x010",
           b"ccollections\nOrderedDict\n)Rq\x020}("]
    for key in keys:
        name = key.encode()
        out.append(b"X" + struct.pack("<I", len(name)) + name + b"h\x00(h\x01K\x00K\x04\x85K\x01\x85\x89h\x02tR")
    out.append(b"u.")
    return b"".join(out)


def save(path, keys):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr("a/data.pkl", pickle_of(keys))
        z.writestr("a/data/0", struct.pack("<16f", *range(16)))
        z.writestr("a/version", "3\n")


def main(folder, n=1000000):
    def keys(wrapped):
        for i in range(n):
            layer, block, name = i // 1000, i // 10 % 100, NAMES[i % 10]
            inner = "module." if wrapped and layer % 10 == 3 else ""
            yield "model.%d.block.%d.%s%s" % (layer, block, inner, name)
    save(os.path.join(folder, "a.pt"), keys(False))
    save(os.path.join(folder, "b.pt"), keys(True))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))

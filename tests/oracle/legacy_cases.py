"""The random checkpoints of read_cases.py in the format of torch 0.1.10 to 1.5, which every torch can still write.

usage: legacy_cases.py DIR SEED COUNT      N.pt and expected.json, as read_cases.py writes them
       legacy_cases.py compare DIR         N.pt against N.pt.zip.pt, which qatscope saved from it
"""
import glob
import os
import sys

import torch

import read_cases

_save = torch.save


def save(obj, f, pickle_protocol=2, **kw):
    return _save(obj, f, pickle_protocol=pickle_protocol, _use_new_zipfile_serialization=False)


def compare(folder):
    import deep_equal
    count = 0
    for saved in sorted(glob.glob(os.path.join(folder, "*.zip.pt"))):
        why = deep_equal.deep_equal(deep_equal.load(saved[:-len(".zip.pt")]), deep_equal.load(saved))
        if why:
            print("%s: %s" % (os.path.basename(saved), why))
            sys.exit(1)
        count += 1
    print("torch %s: %d files saved from legacy ones are equal" % (torch.__version__, count))


if __name__ == "__main__":
    torch.save = save
    read_cases.NEWER = []  # types without a storage class: torch cannot write them to this format
    if sys.argv[1] == "compare":
        compare(sys.argv[2])
    else:
        read_cases.main()

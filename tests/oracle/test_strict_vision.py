"""`qatscope check` says what torch says of models made of torchvision's modules, which rename old keys while they load, and
names the classes whose own code it cannot follow.  STRICT_SEED and STRICT_COUNT as in test_strict.py."""
import json
import os
import subprocess
import sys
import tempfile

import test_strict

OWN = """
import functools, sys
import torch
from torch import nn
import exporter

def strip(state, prefix, *rest):
    for key in [k for k in state if k.startswith(prefix + "old_")]:
        state[prefix + key[len(prefix) + 4:]] = state.pop(key)

class Mine(nn.BatchNorm1d):
    def _load_from_state_dict(self, *args):
        super()._load_from_state_dict(*args)

class Top(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = Mine(2), nn.Linear(2, 2), nn.utils.weight_norm(nn.Linear(2, 2))
        self.b._register_load_state_dict_pre_hook(strip)
        self.register_load_state_dict_post_hook(functools.partial(lambda *a: None))

    def load_state_dict(self, *args, **kw):
        return super().load_state_dict(*args, **kw)

top = Top()
exporter.export(top, sys.argv[1] + "/m.json")
state = top.state_dict()
state["b.old_weight"] = state.pop("b.weight")
torch.save(state, sys.argv[1] + "/a.pt")
print(top.load_state_dict(state))
"""


def own_code():
    """What runs besides torch is named, by the module that brings it; weight_norm's is torch's."""
    with tempfile.TemporaryDirectory() as folder:
        env = dict(os.environ, PYTHONPATH=os.path.join(test_strict.ROOT, "src", "model"))
        torch = subprocess.run([sys.executable, "-c", OWN, folder], env=env, stdout=subprocess.PIPE, universal_newlines=True, check=True)
        done = subprocess.run([test_strict.QATSCOPE, "check", folder + "/a.pt", "-m", folder + "/m.json", "--json"], stdout=subprocess.PIPE)
        said = json.loads(done.stdout.decode("utf-8"))
        own = {f["key"]: f["note"].partition("cannot follow: ")[2] for f in said["findings"] if f["kind"] == "own code"}
        want = {"": "__main__.Top.load_state_dict, __main__.Top.__init__.<locals>.<lambda>", "a": "__main__.Mine._load_from_state_dict",
                "b": "__main__.strip"}
        print("own code: %s" % own)
        # torch loads it, by a hook nobody here can know; the answer says that it may be wrong
        return 0 if own == want and "matched" in torch.stdout and not said["loads"] else 1


def main():
    if not test_strict.QATSCOPE or not os.path.exists(test_strict.QATSCOPE):
        print("SKIPPED: no qatscope binary")
        return 77
    if subprocess.run([sys.executable, "-c", "import torchvision"], stderr=subprocess.DEVNULL).returncode:
        print("SKIPPED: python3-torchvision is not installed")
        return 77
    seed, count = int(os.environ.get("STRICT_SEED", 20261127)), int(os.environ.get("STRICT_COUNT", "200"))
    wrong = test_strict.run("1.13", seed, count, "vision_cases.py")
    return 1 if own_code() or wrong or wrong is None else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""TorchScript archives: the entries are those of torch.jit.load(...).state_dict(), in its order, with its values; they are
looked at, checked and audited, and never written."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from test_read import QATSCOPE, check, failures, have_root, ls

SEED = os.environ.get("QS_SEED", "20260615")
COUNT = "15"


def refused_to_write(path, d):
    plan, out = os.path.join(d, "empty.json"), os.path.join(d, "out.pt")
    with open(plan, "w") as f:
        json.dump({"format": "qatscope-plan", "version": 1, "actions": []}, f)
    r = subprocess.run([QATSCOPE, "apply", plan, path, "-o", out], capture_output=True, text=True)
    return r.returncode != 0 and "TorchScript" in r.stderr and not os.path.exists(out)


def run_cases(name, command):
    d = tempfile.mkdtemp(prefix="qatscope-script-")
    try:
        r = subprocess.run([*command, os.path.join(HERE, "torchscript_cases.py"), d, SEED, COUNT], capture_output=True,
                           text=True)
        if not os.path.exists(os.path.join(d, "expected.json")):
            print(f"SKIP {name}: {r.stderr.strip().splitlines()[-1] if r.stderr.strip() else 'no torch'}")
            return 0
        with open(os.path.join(d, "expected.json")) as f:
            expected = json.load(f)
        entries = 0
        for case in expected["cases"]:
            where = f"torch {expected['torch']} {os.path.basename(case['file'])} (QS_SEED {SEED})"
            got, error = ls(case["file"], "--values")
            if not case["entries"]:
                continue
            if check(got is not None, f"{where}: {error}"):
                have = [{k: e.get(k) for k in ("key", "shape", "dtype", "crc32")} for e in got["entries"]]
                check(have == case["entries"], f"{where}: {have}\nwanted {case['entries']}")
                entries += len(have)
            for command_name in ("verify", "audit"):
                r = subprocess.run([QATSCOPE, command_name, case["file"]], capture_output=True, text=True)
                check(r.returncode == 0, f"{where}: {command_name}: {r.stdout} {r.stderr}")
            check(refused_to_write(case["file"], d), f"{where}: was written")
        print(f"torch {expected['torch']}: {len(expected['cases'])} archives, {entries} entries compared")
        return len(expected["cases"])
    finally:
        shutil.rmtree(d)


def main():
    if not QATSCOPE or not os.path.exists(QATSCOPE):
        print("SKIP: no qatscope binary (QATSCOPE)")
        return 77
    print("seed", SEED, "(QS_SEED)")
    done = run_cases("torch of this system", [sys.executable])
    for suite, version in (("bullseye", "1.7"), ("trixie", "2.6"), ("sid", "2.14")):
        if have_root(suite):
            done += run_cases(f"torch {version}", [os.path.join(HERE, "torch-at"), suite])
        else:
            print(f"SKIP torch {version}: needs root and an unpacked {suite} (tests/oracle/torch-at {suite} --install)")
    return 1 if failures else 0 if done else 77


if __name__ == "__main__":
    sys.exit(main())

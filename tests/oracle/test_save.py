"""What qatscope saves, torch loads: equal with an empty plan (values, types, sharing, strides, `_metadata`), renamed with
a rule, by weights_only and mmap wherever the original could be. Under torch 1.13 and, where their roots are at hand,
1.7, 2.6 and 2.14."""
import glob
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
QATSCOPE = os.environ.get("QATSCOPE", "")
SEED = int(os.environ.get("SEED", "20240917"))
COUNT = int(os.environ.get("COUNT", "60"))
# Every save is synced: in memory that costs nothing. torch-at makes the current folder visible inside.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
PLANS = {
    "same": [],
    "moved": [{"op": "rule", "kind": "prefix", "pattern": "", "replacement": "moved."}],
}
failures = []


def fail(what):
    failures.append(what)
    if len(failures) < 20:
        print("FAIL", what)


def save_all(folder):
    for name, actions in PLANS.items():
        with open(os.path.join(folder, name + ".json"), "w") as f:
            json.dump({"format": "qatscope-plan", "version": 1, "actions": actions}, f)
    for path in sorted(glob.glob(os.path.join(folder, "*.pt"))):
        for name in PLANS:
            out = path[:-3] + "." + name + ".pt"
            r = subprocess.run([QATSCOPE, "apply", os.path.join(folder, name + ".json"), path, "-o", out, "-q"],
                               capture_output=True, text=True)
            if r.returncode not in (0, 1) or not os.path.exists(out):
                fail(f"{os.path.basename(path)} {name} (seed {SEED}): exit {r.returncode} {r.stderr.strip()}")


def run_cases(name, command):
    with tempfile.TemporaryDirectory(prefix="qatscope-save-", dir=MEMORY) as d:
        script = os.path.join(HERE, "save_cases.py")
        r = subprocess.run([*command, script, "make", d, str(SEED), str(COUNT)], capture_output=True, text=True, cwd=d)
        if not glob.glob(os.path.join(d, "*.pt")):
            print(f"SKIP {name}: {(r.stderr.strip().splitlines() or ['no torch'])[-1]}")
            return 0
        save_all(d)
        r = subprocess.run([*command, script, "check", d], capture_output=True, text=True, cwd=d)
        lines = r.stdout.splitlines()
        for line in lines:
            if not line.startswith("CHECKED"):
                fail(f"{name} (seed {SEED}): {line}")
        if not lines or not lines[-1].startswith("CHECKED"):
            fail(f"{name}: the check did not finish: {r.stderr[-500:]}")
            return 0
        count, release = int(lines[-1].split()[1]), lines[-1].split()[2]
        print(f"torch {release}: {count} files saved twice and compared")
        return count


def have_root(suite):
    base = os.environ.get("TORCH_ROOTS", os.path.join(os.path.expanduser("~"), ".cache", "torch-roots"))
    return os.geteuid() == 0 and os.path.isdir(os.path.join(base, suite))


def main():
    if not QATSCOPE:
        return 77
    done = run_cases("this python", [sys.executable])
    for suite in ("bullseye", "trixie", "sid"):
        if have_root(suite):
            done += run_cases(suite, [os.path.join(HERE, "torch-at"), suite])
        else:
            print(f"SKIP {suite}: its root is not unpacked (or not root)")
    if failures:
        print(f"{len(failures)} failures")
        return 1
    return 0 if done else 77


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Load errors of real torch read back from logs: the names, their order and the shapes. The reading is done by the unit
test program, which takes the cases from QS_LOG_CASES."""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
QATSCOPE = os.environ.get("QATSCOPE", "")
UNIT = os.path.join(os.path.dirname(QATSCOPE), "tests", "unit_error_log")
SEED = os.environ.get("QS_SEED", "20260614")
COUNT = "60"


def have_root(suite):
    base = os.environ.get("TORCH_ROOTS", os.path.join(os.path.expanduser("~"), ".cache", "torch-roots"))
    return os.geteuid() == 0 and os.path.isdir(os.path.join(base, suite))


def run_cases(name, command):
    d = tempfile.mkdtemp(prefix="qatscope-log-")
    try:
        r = subprocess.run([*command, os.path.join(HERE, "log_cases.py"), d, SEED, COUNT], capture_output=True, text=True)
        if r.returncode or not os.listdir(d):
            print(f"SKIP {name}: {r.stderr.strip().splitlines()[-1] if r.stderr.strip() else 'nothing made'}")
            return 0, 0
        print(r.stdout.strip())
        r = subprocess.run([UNIT], env=dict(os.environ, QS_LOG_CASES=d), capture_output=True, text=True)
        if r.returncode:
            print((r.stdout + r.stderr)[-3000:])
        return 1, r.returncode != 0
    finally:
        shutil.rmtree(d)


def main():
    if not os.path.exists(UNIT):
        print("SKIP: no unit_error_log beside the binary (QATSCOPE)")
        return 77
    print("seed", SEED, "(QS_SEED)")
    done, failed = run_cases("torch of this system", [sys.executable])
    for suite, version in (("bullseye", "1.7"), ("trixie", "2.6"), ("sid", "2.14")):
        if have_root(suite):
            ran, bad = run_cases(f"torch {version}", [os.path.join(HERE, "torch-at"), suite])
            done, failed = done + ran, failed + bad
        else:
            print(f"SKIP torch {version}: needs root and an unpacked {suite} (tests/oracle/torch-at {suite} --install)")
    return 1 if failed else 0 if done else 77


if __name__ == "__main__":
    sys.exit(main())

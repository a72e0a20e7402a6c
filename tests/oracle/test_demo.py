"""The demo's files open in torch (weights_only and mmap where it knows them), and every weight quantizer holds what
torch's observer computes from the weight times its BatchNorm factor."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
QATSCOPE = os.environ.get("QATSCOPE", "")


def main():
    if not QATSCOPE or not os.path.exists(QATSCOPE):
        print("SKIP: no qatscope binary (QATSCOPE)")
        return 77
    base = os.environ.get("TORCH_ROOTS", os.path.join(os.path.expanduser("~"), ".cache", "torch-roots"))
    with tempfile.TemporaryDirectory(prefix="qatscope-demo-") as d:
        subprocess.run([QATSCOPE, "demo", "--write-only", d], check=True, stderr=subprocess.DEVNULL)
        here = subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode == 0
        commands = [[sys.executable]] if here else []
        if not here:
            print("SKIP torch of this system: there is none")
        for suite, version in (("bullseye", "1.7"), ("trixie", "2.6"), ("sid", "2.14")):
            if os.geteuid() == 0 and os.path.isdir(os.path.join(base, suite)):
                commands.append([os.path.join(HERE, "torch-at"), suite])
            else:
                print(f"SKIP torch {version}: needs root and an unpacked {suite} (tests/oracle/torch-at {suite} --install)")
        bad = sum(subprocess.run([*c, os.path.join(HERE, "demo_check.py"), d]).returncode != 0 for c in commands)
    return 1 if bad else 0 if commands else 77


if __name__ == "__main__":
    sys.exit(main())

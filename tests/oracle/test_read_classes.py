"""module_class.def against torch: the _version of every nn.Module class of the oldest and the newest torch at hand."""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
QATSCOPE = os.environ.get("QATSCOPE", "")


def compare(name, command):
    with tempfile.TemporaryDirectory(prefix="qatscope-classes-") as d:
        r = subprocess.run([*command, os.path.join(HERE, "class_cases.py"), d], capture_output=True, text=True)
        if not os.path.exists(os.path.join(d, "expected.json")):
            print(f"SKIP {name}: {(r.stderr.strip().splitlines() or ['no torch'])[-1]}")
            return 0, 0
        with open(os.path.join(d, "expected.json")) as f:
            expected = json.load(f)
        r = subprocess.run([QATSCOPE, "ls", os.path.join(d, "classes.pt"), "--json"], capture_output=True)
        if r.returncode:
            print(f"FAIL {name}: {r.stderr.decode()}")
            return 1, 1
        got = json.loads(r.stdout.decode())
    names = {m["name"]: m["class"] for m in got["modules"]}
    wrong = 0
    for child, (cls, version) in expected["versions"].items():
        # Up to 1.7 observers were version 2, under the path that later releases used for 3.
        ok = got["versions"].get(child) == version or (
            expected["torch"].startswith("1.7") and ".observer." in cls and version == 2)
        if names.get(child) != cls or not ok:
            wrong += 1
            print(f"FAIL torch {expected['torch']}: {cls} is version {version}, ls says {got['versions'].get(child)}")
    special = sum(v != 1 for _, v in expected["versions"].values())
    print(f"torch {expected['torch']}: {len(expected['versions'])} classes, {special} of them not version 1")
    return wrong + (special < 20), 1


def main():
    if not QATSCOPE or not os.path.exists(QATSCOPE):
        print("SKIP: no qatscope binary (QATSCOPE)")
        return 77
    base = os.environ.get("TORCH_ROOTS", os.path.join(os.path.expanduser("~"), ".cache", "torch-roots"))
    wrong, ran = compare("torch of this system", [sys.executable])
    for suite, version in (("bullseye", "1.7"), ("sid", "2.14")):
        if os.geteuid() != 0 or not os.path.isdir(os.path.join(base, suite)):
            print(f"SKIP torch {version}: needs root and an unpacked {suite} (tests/oracle/torch-at {suite} --install)")
            continue
        w, r = compare(f"torch {version}", [os.path.join(HERE, "torch-at"), suite])
        wrong, ran = wrong + w, ran + r
    return 1 if wrong else 0 if ran else 77


if __name__ == "__main__":
    sys.exit(main())

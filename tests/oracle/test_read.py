"""What ls reads from random checkpoints equals what torch holds in them: keys, order, shapes, types, values,
versions, module classes. Under torch 1.13 and, where their roots are at hand, 1.7, 2.6 and 2.14."""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
QATSCOPE = os.environ.get("QATSCOPE", "")
SEED = int(os.environ.get("SEED", "20240611"))
# For the torch of this system, for each other. QATSCOPE_READ_FILES=N makes N of each.
HERE_FILES = int(os.environ.get("QATSCOPE_READ_FILES", "120"))
THERE_FILES = int(os.environ.get("QATSCOPE_READ_FILES", "40"))
SHARED = os.path.join(HERE, "..", "..", "..", "shared", "real")
failures = []


def ls(path, *args):
    r = subprocess.run([QATSCOPE, "ls", path, "--json", *args], capture_output=True)
    if r.returncode:
        return None, r.stderr.decode()
    return json.loads(r.stdout.decode()), ""


def check(ok, what):
    if not ok:
        failures.append(what)
        if len(failures) < 20:
            print("FAIL", what)
    return ok


def compare(case, got, where, release):
    check(got["root"]["path"] == case["root"], f"{where}: root {got['root']['path']!r}, torch has {case['root']!r}")
    check(got["root"]["kind"] == case["kind"], f"{where}: root kind {got['root']['kind']}")
    keys = [e["key"] for e in got["entries"]]
    if not check(keys == [e["key"] for e in case["entries"]], f"{where}: keys or their order differ"):
        return
    for want, have in zip(case["entries"], got["entries"]):
        for field, value in want.items():
            check(have.get(field) == value, f"{where}: {want['key']}: {field} is {have.get(field)!r}, torch says {value!r}")
        check("bad" not in have, f"{where}: {want['key']}: {have.get('bad')}")
    origin, true = got["provenance"], version_of(release)
    # the old format says nothing of its writer: every torch can still be asked for it
    check(got["kind"].startswith("legacy") or origin["torch_from"] or origin["torch_to"],
          f"{where}: nothing inferred of the torch that wrote it")
    check((not origin["torch_from"] or version_of(origin["torch_from"]) <= true) and
          (not origin["torch_to"] or true <= version_of(origin["torch_to"])), f"{where}: inferred {origin}")
    if release.startswith("1.7") and case["kind"] == "module":
        # Observers were version 2 then, under the same class names as the 3 of later releases (module_class.def).
        for k, v in case["versions"].items():
            case["versions"][k] = 3 if v == 2 and got["versions"].get(k) == 3 else v
    check(got["versions"] == case["versions"], f"{where}: versions differ: {diff(got['versions'], case['versions'])}")
    check([[m["name"], m["class"]] for m in got["modules"]] == case["classes"], f"{where}: module classes differ")


def version_of(text):
    return tuple(int(x) for x in text.split("+")[0].split("a")[0].split(".")[:2])


def diff(a, b):
    return [(k, a.get(k), b.get(k)) for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k)][:4]


def run_cases(name, command, count):
    with tempfile.TemporaryDirectory(prefix="qatscope-read-") as d:
        r = subprocess.run([*command, os.path.join(HERE, "read_cases.py"), d, str(SEED), str(count)],
                           capture_output=True, text=True)
        if not os.path.exists(os.path.join(d, "expected.json")):
            print(f"SKIP {name}: {r.stderr.strip().splitlines()[-1] if r.stderr.strip() else 'no torch'}")
            return 0
        with open(os.path.join(d, "expected.json")) as f:
            expected = json.load(f)
        entries = 0
        for case in expected["cases"]:
            where = f"torch {expected['torch']} {os.path.basename(case['file'])} (seed {SEED})"
            got, error = ls(case["file"], "--values")
            if check(got is not None, f"{where}: {error}"):
                compare(case, got, where, expected["torch"])
                entries += len(case["entries"])
        print(f"torch {expected['torch']}: {len(expected['cases'])} files, {entries} entries compared")
        return len(expected["cases"])


def have_root(suite):
    base = os.environ.get("TORCH_ROOTS", os.path.join(os.path.expanduser("~"), ".cache", "torch-roots"))
    return os.geteuid() == 0 and os.path.isdir(os.path.join(base, suite))


def check_real():
    files = [("yolov8n-sparseml-float.pt", "float", None), ("yolov8n-sparseml-qat.pt", "qat", None),
             ("yolov8n-ultralytics-module-fp16.pt", "float", "float16")]
    for name, truth, half in files:
        path = os.path.join(SHARED, name)
        if not os.path.exists(path):
            print(f"SKIP {name}: not here")
            continue
        with open(os.path.join(SHARED, truth + ".truth.json")) as f:
            want = json.load(f)
        got, error = ls(path)
        if not check(got is not None, f"{name}: {error}"):
            continue
        expected = [(e["key"], e["shape"], half if half and e["dtype"] == "float32" else e["dtype"])
                    for e in want["state_dict"]]
        check([(e["key"], e["shape"], e["dtype"]) for e in got["entries"]] == expected, f"{name}: entries differ")
        for m in want["modules"]:
            check(got["versions"].get(m["name"]) == m["version"], f"{name}: version of {m['name']!r}")
        print(f"{name}: {len(got['entries'])} entries as in {truth}.truth.json")


def main():
    if not QATSCOPE or not os.path.exists(QATSCOPE):
        print("SKIP: no qatscope binary (QATSCOPE)")
        return 77
    print("seed", SEED)
    check_real()
    done = run_cases("torch of this system", [sys.executable], HERE_FILES)
    for suite, version in (("bullseye", "1.7"), ("trixie", "2.6"), ("sid", "2.14")):
        if have_root(suite):
            done += run_cases(f"torch {version}", [os.path.join(HERE, "torch-at"), suite], THERE_FILES)
        else:
            print(f"SKIP torch {version}: needs root and an unpacked {suite} (tests/oracle/torch-at {suite} --install)")
    if failures:
        print(len(failures), "failures")
        return 1
    return 0 if done else 77


if __name__ == "__main__":
    sys.exit(main())

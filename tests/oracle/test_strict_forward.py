"""What `qatscope check` warns of (it loads, and fails in forward) does fail in torch's forward, and what it does not warn
of runs.  STRICT_SEED, STRICT_COUNT and STRICT_TORCH as in test_strict.py."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import test_strict

CHANNELS = 4


def warnings_of(folder, version, case):
    base = os.path.join(folder, "out", str(case["i"]))
    command = [test_strict.QATSCOPE, "check", base + ".pt", "-m", base + ".json", "--torch", version, "--json"]
    done = subprocess.run(command + (["--assign"] if case.get("options", {}).get("assign") else []), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    said = json.loads(done.stdout.decode("utf-8"))
    return said["loads"], [f["key"] + ": " + f["note"] for f in said["findings"] if f["kind"] == "forward"]


def verdict(case, notes):
    """None if the warnings fit what torch did, else what is wrong with them."""
    past = [n for n in notes if "reads past" in n]
    notes = [n for n in notes if n not in past]
    always = any(n.endswith("forward raises") or ": forward raises, it" in n for n in notes)
    on = always or any(n.endswith("observer is on") for n in notes)
    off = always or any(n.endswith("observer is off") for n in notes)
    fresh = 0 in case["ranges"] or case["infinite"]
    if past:  # undefined values: torch may raise or not
        return None if case["fused"] and case["ranges"][0] and min(case["ranges"]) < CHANNELS else "nothing is read past an end here"
    if case["on"] != on:
        return "observer on: forward %s" % ("raises" if case["on"] else "runs")
    # what a fresh quantizer does with its observer off is a matter of values, not of shapes
    if case["off"] != off and not fresh:
        return "observer off: forward %s" % ("raises" if case["off"] else "runs")
    return "observer off: forward runs" if off and not case["off"] else None


def foretold(notes):
    """What the warnings about a quantizer whose observer is off say of its forward."""
    for words, outcome in (("forward raises", "raises"), ("gives NaN", "NaN"), ("gives zeros", "zeros"), ("whole number", "whole")):
        if any(words in n for n in notes):
            return outcome
    return "fine"


def verdict_off(case, notes):
    said, did = foretold(notes), case["outcome"]
    # a spoilt channel shows as NaN or as zeros in its own rows only
    same = said == did or (said == "zeros" and did == "fine")
    return None if same else "observer off: torch %s, qatscope %s" % (did, said)


def run(version, seed, count, script="forward_cases.py"):
    folder = tempfile.mkdtemp(prefix="qatscope-forward-")
    off = script == "off_cases.py"
    try:
        shutil.copy(os.path.join(test_strict.HERE, script), folder)
        why = test_strict.generate(version, folder, seed, count, script)
        if why:
            print("torch %s: SKIPPED, %s" % (version, why))
            return None
        wrong, warned = 0, 0
        cases = json.load(open(os.path.join(folder, "out", "cases.json")))["cases"]
        for case in cases:
            loads, notes = warnings_of(folder, version, case)
            problem = None
            if off and loads != (case["outcome"] != "refused"):
                problem = "torch: %s" % case["outcome"]
            elif off and loads:
                problem = verdict_off(case, notes)
            elif off:
                pass
            elif loads != (case["on"] is not None):
                problem = "torch %s it" % ("loads" if case["on"] is not None else "does not load")
            elif loads:
                problem = verdict(case, notes)
            warned += bool(notes)
            if problem:
                wrong += 1
                if wrong < 5:
                    print("torch %s, seed %d: %s\n  %s\n  %s" % (version, case["seed"], problem, notes, case))
        print("torch %s: %d quantizers%s, %d warned of, %d wrong (seed %d)" % (
            version, len(cases), " with the observer off" if off else "", warned, wrong, seed))
        return wrong or not 0 < warned < len(cases)
    finally:
        shutil.rmtree(folder)


def main():
    if not test_strict.QATSCOPE or not os.path.exists(test_strict.QATSCOPE):
        print("SKIPPED: no qatscope binary")
        return 77
    seed = int(os.environ.get("STRICT_SEED", 20261123))
    count = int(os.environ.get("STRICT_COUNT", "150"))
    versions = os.environ.get("STRICT_TORCH", "1.13 1.7 2.6 2.14").split()
    results = [run(v, seed, count, script) for v in versions for script in os.environ.get("FORWARD_SCRIPT", "forward_cases.py off_cases.py").split()]
    if all(r is None for r in results):
        return 77
    return 1 if any(results) else 0


if __name__ == "__main__":
    sys.exit(main())

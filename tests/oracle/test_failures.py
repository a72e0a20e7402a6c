#!/usr/bin/env python3
"""Every load failure of the list people report, made in real torch: `qatscope fix` names the cause, and repairs the file so that
torch loads it with strict=True, or says why there is no repair. CASE=NAME runs one; the numbers are of failures.md."""
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings

QATSCOPE = os.environ.get("QATSCOPE", "")
HERE = os.path.dirname(os.path.abspath(__file__))
try:
    import torch
except ImportError:
    print("torch is not installed")
    sys.exit(77)
if not QATSCOPE or not os.path.exists(QATSCOPE):
    print("no qatscope binary: set QATSCOPE")
    sys.exit(77)
warnings.filterwarnings("ignore")
sys.path[:0] = [HERE, os.path.join(os.path.dirname(os.path.dirname(HERE)), "src", "model")]
import exporter  # noqa: E402
import failure_cases  # noqa: E402

VERSION = ".".join(torch.__version__.split(".")[:2])
LISTED = 42  # failures in the list


def run(*args):
    return subprocess.run([QATSCOPE, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)


def inner(saved):
    """What a user of the saved file passes to load_state_dict."""
    for name in ("state_dict_ema", "state_dict", "model"):
        if isinstance(saved, dict) and isinstance(saved.get(name), dict):
            return saved[name]
    return saved


def strict_error(model, state):
    try:
        model.load_state_dict(state, strict=True)
    except Exception as e:  # torch raises RuntimeError, KeyError, TypeError ...
        return "%s: %s" % (type(e).__name__, str(e)[:300])
    return None


def check(name, f, d):
    torch.manual_seed(1)
    saved, model, causes, ends = f()
    a, m, out = os.path.join(d, "a.pt"), os.path.join(d, "m.json"), os.path.join(d, "out.pt")
    if os.path.exists(out):
        os.unlink(out)
    torch.save(saved, a)
    with open(m, "w") as file:
        json.dump(exporter.manifest(model), file)
    fails = strict_error(model, saved if not isinstance(saved, torch.nn.Module) else [saved])
    assert fails, "%s: torch loads it, there is no failure to repair" % name
    bare = ["--bare"] if ends == "bare" else []
    p = run("fix", a, "-m", m, "-o", out, "--json", "--torch", VERSION, *bare)
    assert p.returncode in (0, 1), (name, p.stderr)
    report = json.loads(p.stdout)
    named = [c["id"] for c in report["causes"]]
    problem = [c for c in causes if c not in named]
    assert not problem, "%s: %s not named, but %s; %s" % (name, problem, named, report["diagnosis"])
    assert named, "%s: no cause at all; %s" % (name, report["diagnosis"])
    assert all(c["advice"] and c["what"] for c in report["causes"])
    if p.returncode == 0:
        state = torch.load(out)
        left = strict_error(model, inner(state) if not bare else state)
        assert not left, "%s: repaired, yet torch says: %s" % (name, left)
    else:
        assert not os.path.exists(out), name
    repaired = p.returncode == 0
    if ends in (failure_cases.REPAIRED, "bare"):
        assert repaired, "%s: not repaired: %s; %s" % (name, report["diagnosis"], named)
    if ends == failure_cases.EXPLAINED:
        assert not repaired, "%s: %s" % (name, report["diagnosis"])
        assert report["after"]["missing"] or report["after"]["unexpected"] or report["after"]["shape"] or report["after"]["fatal"]
    return "%-36s %s, %s" % (name, "repaired" if repaired else "explained", ", ".join(named))


def check_no_checkpoints(d):
    buffer = io.BytesIO()
    torch.save({"w": torch.rand(1000)}, buffer)
    for name, (content, says) in failure_cases.no_checkpoints().items():
        path = os.path.join(d, name)
        with open(path, "wb") as file:
            file.write(buffer.getvalue()[:2000] if content is None else content)
        p = run("fix", path, path, "-n")
        assert p.returncode not in (0, 1) and p.stderr.startswith("qatscope: "), (name, p)
        if says:
            assert any(s.lower() in p.stderr.lower() for s in says), (name, p.stderr)
        yield "%-36s %s" % (name, p.stderr.strip())


def main():
    only = os.environ.get("CASE")
    seen, failed = set(), []
    with tempfile.TemporaryDirectory() as d:
        for number in sorted(failure_cases.CASES):
            for f in failure_cases.CASES[number]:
                if only and f.__name__ != only:
                    continue
                try:
                    print("%2d %s" % (number, check(f.__name__, f, d)))
                except AssertionError as e:
                    failed.append(str(e))
                    print("%2d FAILED %s" % (number, e))
                seen.add(number)
        for line in check_no_checkpoints(d):
            print("41", line)
    assert not failed, "%d cases failed" % len(failed)
    if not only:
        assert seen | {41} == set(range(1, LISTED + 1)), "no case of %s" % (set(range(1, LISTED + 1)) - seen - {41})


if __name__ == "__main__":
    sys.exit(main())

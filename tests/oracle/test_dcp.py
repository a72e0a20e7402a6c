"""Distributed checkpoints opened as one document: entries, shapes, types and values equal what torch puts together;
missing, broken and forged pieces are told and the rest is shown. Under torch 2.6 and 2.14."""
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
QATSCOPE = os.environ.get("QATSCOPE", "")
SEED = int(os.environ.get("SEED", "20261127"))
COUNT = int(os.environ.get("QATSCOPE_DCP_FILES", "5"))
failures = []


def check(ok, what):
    if not ok:
        failures.append(what)
        print("FAIL", what)
    return ok


def run(*args):
    p = subprocess.run([QATSCOPE, *map(str, args)], capture_output=True, timeout=60)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


def listing(path, *args):
    code, out, err = run("ls", path, "--json", "--values", *args)
    check(code == 0, "%s: %s" % (path, err))
    return json.loads(out) if code == 0 else {"entries": []}


def full_entries(path):
    """Entries of every root, by their key from the top."""
    found = {}
    for root in listing(path)["roots"]:
        for e in listing(path, "--root", root["path"])["entries"]:
            if e["tensor"]:
                found[root["path"] + "." + e["key"] if root["path"] else e["key"]] = e
    return found


def compare(case, where):
    got = full_entries(case["dir"])
    # What is in the optimizer's state is no state dict, so no root: torch's lists may be longer.
    for want in case["entries"]:
        have = got.pop(want["key"], None)
        if have is None:
            check(want["key"].startswith("optim."), "%s: %s is not there" % (where, want["key"]))
            continue
        for field, value in want.items():
            if field != "key":
                check(have[field] == value, "%s: %s: %s is %r, torch says %r" % (where, want["key"], field, have[field], value))
        volume = 1
        for n in want["shape"]:
            volume *= n
        boxes = sum(product(c["sizes"]) for c in have["chunks"])
        check(boxes == volume, "%s: %s: its chunks hold %d elements of %d" % (where, want["key"], boxes, volume))
    check(not got, "%s: torch has no %s" % (where, list(got)))
    for command in ("verify", "audit"):
        code, out, err = run(command, case["dir"])
        check(code == 0, "%s: %s: %s%s" % (where, command, out, err))
    check(run("diff", case["dir"], os.path.join(case["dir"], ".metadata"), "--values")[0] == 0, where + ": differs from itself")


def product(sizes):
    n = 1
    for s in sizes:
        n *= s
    return n


def check_broken(case, where):
    """A piece taken away or spoilt: shapes stay, values do not, and the reason is told."""
    d = case["dir"] + "-broken"
    shutil.copytree(case["dir"], d)
    victim = max((f for f in os.listdir(d) if f.endswith(".distcp")), key=lambda f: os.path.getsize(os.path.join(d, f)))
    os.remove(os.path.join(d, victim))
    got, hurt = full_entries(d), False
    for e in case["entries"]:
        have = got.get(e["key"])
        hit = have and any(c["file"] == victim for c in have["chunks"])
        if hit and product(e["shape"]):
            hurt = True
            check(have["shape"] == e["shape"] and have["dtype"] == e["dtype"], where + ": %s lost its shape" % e["key"])
            check(victim in have.get("bad", ""), where + ": %s: bad is %r" % (e["key"], have.get("bad")))
        elif have and not hit:
            check(have["crc32"] == e["crc32"], where + ": %s: value lost though its piece is there" % e["key"])
    check(not hurt or run("verify", d)[0] == 1, where + ": verify is content with a missing piece")
    with open(os.path.join(case["dir"], victim), "rb") as f:
        content = bytearray(f.read())
    for spoilt in (content[:len(content) // 2], b"x" * len(content), b"PK\3\4" + content[4:100]):
        with open(os.path.join(d, victim), "wb") as f:
            f.write(spoilt)
        code, out, err = run("ls", d, "--values")
        check(code in (0, 3), where + ": ls of a spoilt piece: %d %s" % (code, err))
        check(not hurt or run("verify", d)[0] in (1, 3), where + ": verify is content with a spoilt piece")
    code, out, err = run("ls", os.path.join(case["dir"], victim))
    check(code == 3 and "open the folder" in err, where + ": a piece alone: %d %s" % (code, err))
    plan = os.path.join(os.path.dirname(d), "empty.json")
    with open(plan, "w") as f:
        json.dump({"format": "qatscope-plan", "version": 1, "actions": []}, f)
    for target in (".metadata", victim):
        code, out, err = run("apply", plan, case["dir"], "-o", os.path.join(case["dir"], target), "--in-place")
        check(code != 0, where + ": saved over " + target)
    shutil.rmtree(d)


def forged(names_and_places):
    """A .metadata of objects with those (file, offset, length), in plain protocol-2 bytes."""
    def text(s):
        b = s.encode()
        return b"X" + len(b).to_bytes(4, "little") + b

    def obj(module, cls, fields):
        body = b"".join(text(k) + v for k, v in fields.items())
        return b"c%s\n%s\n)\x81}(%sub" % (module.encode(), cls.encode(), body)

    def num(n):
        return pickle.dumps(n, 2)[2:-1]
    m = "torch.distributed.checkpoint.metadata"
    what = b"}(" + b"".join(text(k) + obj(m, "BytesStorageMetadata", {}) for k, *_ in names_and_places) + b"u"
    where = b"}(" + b"".join(
        obj(m, "MetadataIndex", {"fqn": text(k), "offset": b"N", "index": b"N"}) +
        obj("torch.distributed.checkpoint.filesystem", "_StorageInfo", {"relative_path": text(f), "offset": num(a), "length": num(n)})
        for k, f, a, n in names_and_places) + b"u"
    return b"\x80\x02" + obj(m, "Metadata", {"state_dict_metadata": what, "storage_data": where}) + b"."


def check_forged(d):
    os.mkdir(d)
    path = os.path.join(d, ".metadata")
    for places, reason in [([("a", "../x.distcp", 0, 9)], "beside"), ([("a", "/etc/passwd", 0, 9)], "beside"),
                           ([("a", "x", 0, 9), ("b", "x", 8, 9)], "same bytes"), ([("a", "x", -1, 9)], "cannot"),
                           ([("a", "x", 0, 0)], "cannot"), ([("a", "x", 0, 1 << 62)], "state dict"),
                           ([("a", ".metadata", 0, 40)], "state dict")]:
        with open(path, "wb") as f:
            f.write(forged(places))
        code, out, err = run("ls", d)
        check(code == 3 and reason in err, "forged %r: %d %s" % (places, code, err))
        check(run("audit", d)[0] in (0, 3), "forged %r: audit" % (places,))


def have_root(suite):
    base = os.environ.get("TORCH_ROOTS", os.path.join(os.path.expanduser("~"), ".cache", "torch-roots"))
    return os.geteuid() == 0 and os.path.isdir(os.path.join(base, suite))


def start(top, suite):
    """Begins to write the cases under that torch: (its folder, the process)."""
    d = os.path.join(top, suite)
    os.mkdir(d)
    with open(d + ".log", "w") as log:
        return d, subprocess.Popen([os.path.join(HERE, "torch-at"), suite, os.path.join(HERE, "dcp_cases.py"), d, str(SEED),
                                    str(COUNT)], stdout=log, stderr=log)


def compare_all(d):
    """How many checkpoints of that folder were compared."""
    if not os.path.exists(os.path.join(d, "expected.json")):
        with open(d + ".log") as log:
            check(False, d + ": " + log.read()[-800:])
        return 0
    with open(os.path.join(d, "expected.json")) as f:
        expected = json.load(f)
    for i, case in enumerate(expected["cases"]):
        where = "torch %s %d, %s (seed %d)" % (expected["torch"], i, case["how"], SEED)
        compare(case, where)
        if i < 5:
            check_broken(case, where)
    print("torch %s: %d distributed checkpoints compared" % (expected["torch"], len(expected["cases"])))
    return len(expected["cases"])


def main():
    if not QATSCOPE or not os.path.exists(QATSCOPE):
        print("SKIP: no qatscope binary (QATSCOPE)")
        return 77
    print("seed", SEED)
    done, writers = 0, []
    with tempfile.TemporaryDirectory(prefix="qatscope-dcp-") as top:
        for suite in ("trixie", "sid"):
            if have_root(suite):
                writers.append(start(top, suite))  # each waits for its torch to start: both at a time
            else:
                print("SKIP %s: needs root and tests/oracle/torch-at %s --install" % (suite, suite))
        check_forged(os.path.join(top, "forged"))
        for d, process in writers:
            process.wait()
            done += compare_all(d)
    if failures:
        print(len(failures), "failures")
        return 1
    return 0 if done else 77


if __name__ == "__main__":
    sys.exit(main())

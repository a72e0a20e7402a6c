"""The forms of `qatscope ls`: plain lines for pipes, tree, roles, JSON, roots, hostile names, exit codes."""
import json
import os
import subprocess
import sys
import tempfile
import zipfile

QATSCOPE = os.environ.get("QATSCOPE", "")
failures = []


def run(*args, **kw):
    r = subprocess.run([QATSCOPE, *args], capture_output=True, **kw)
    return r.returncode, r.stdout.decode("utf-8", "backslashreplace"), r.stderr.decode("utf-8", "backslashreplace")


def check(ok, what):
    if not ok:
        failures.append(what)
        print("FAIL", what)


def tensor(storage, offset=0, size=(2,), stride=(1,), cls="FloatStorage", numel=4, location="cpu"):
    ints = lambda v: "(" + "".join(f"I{i}\n" for i in v) + "t"
    return (f"ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\n{cls}\nV{storage}\nV{location}\nI{numel}\ntQ"
            f"I{offset}\n{ints(size)}{ints(stride)}I00\nccollections\nOrderedDict\n)RtR")


def dict_of(pairs):
    """pairs: key (as a pickle UNICODE line) -> pickled value"""
    return "}(" + "".join(f"V{k}\n{v}" for k, v in pairs) + "u"


def save(path, pickle, records=(("data/0", 16),)):
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("archive/data.pkl", pickle + ".")
        z.writestr("archive/version", "3\n")
        for name, size in records:
            z.writestr("archive/" + name, bytes(range(size)))


def check_plain(d):
    f = os.path.join(d, "a.pt")
    save(f, dict_of([("w", tensor("0", size=(2, 2), stride=(2, 1))), ("t", tensor("0", size=(2, 2), stride=(1, 2))),
                     ("gpu", tensor("1", location="cuda:0")), ("broken", tensor("0", size=(9,))),
                     ("scalar", tensor("0", 3, (), ())), ("note", "Vhi\n")]), (("data/0", 16), ("data/1", 16)))
    code, out, err = run("ls", f)
    check(code == 0, f"plain: exit {code}")
    want = ["w\t2x2\tfloat32", "t\t2x2\tfloat32\tstride 1,2, shares storage with w", "gpu\t2\tfloat32\ton cuda:0",
            "broken\t9\tfloat32\tshares storage with w, BROKEN: needs 36 bytes, storage 0 has 16",
            "scalar\t[]\tfloat32\toffset 3, shares storage with w", "note\t-\t'hi'"]
    check(out.splitlines() == want, f"plain: {out!r}")
    check("state dict at the top level, 6 entries" in err, f"header: {err!r}")
    check(run("ls", f, "--quiet")[2] == "", "--quiet still speaks")
    data = json.loads(run("ls", f, "--json", "--values")[1])
    entries = {e["key"]: e for e in data["entries"]}
    check(entries["t"]["stride"] == [1, 2] and entries["t"]["alias_of"] == "w", f"json: {entries['t']}")
    check(entries["broken"]["crc32"] is None and "36 bytes" in entries["broken"]["bad"], f"json: {entries['broken']}")
    check(entries["note"] == {"key": "note", "tensor": False, "value": "'hi'"}, f"json: {entries['note']}")
    check(data["root"] == {"path": "", "kind": "state_dict"} and data["modules"] == [], "json: root")
    code, out, _ = run("ls", f, "--values")
    check(all("crc32" in line for line in out.splitlines()[:3]), "--values: no crc32")


def check_hostile_names(d):
    f = os.path.join(d, "h.pt")
    save(f, dict_of([("a\\u001b[2Jb", tensor("0")), ("tab\\u0009x", tensor("0")), ("line\\u000abreak", tensor("0")),
                     ("\\u202ertl", tensor("0")), ("\\u00e9", tensor("0")), ("x" * 500, tensor("0"))]))
    for args in ([], ["--tree"], ["--quant"], ["--json"]):
        code, out, err = run("ls", f, *args)
        check(code == 0, f"hostile {args}: exit {code} {err}")
        check("\x1b" not in out and "\u202e" not in out or args == ["--json"], f"hostile {args}: raw control bytes")
        check("\x1b" not in out, f"hostile {args}: an escape")
    lines = run("ls", f)[1].splitlines()
    check(len(lines) == 6 and all(line.count("\t") in (2, 3) for line in lines), f"hostile: {lines!r}")
    keys = [e["key"] for e in json.loads(run("ls", f, "--json")[1])["entries"]]
    check(keys[:3] == ["a\x1b[2Jb", "tab\tx", "line\nbreak"] and keys[5] == "x" * 500, f"hostile json: {keys!r}")


def check_roots(d):
    f = os.path.join(d, "r.pt")
    sd = dict_of([("w", tensor("0"))])
    save(f, dict_of([("model", sd), ("ema", sd), ("epoch", "I3\n"), ("deep", dict_of([("net", sd)]))]))
    code, out, err = run("ls", f)
    check(code == 0 and "state dict ema, 1 entries" in err and "model (1)" in err and "deep.net (1)" in err, f"roots: {err!r}")
    check("epoch 3" in err, f"top level: {err!r}")
    check(json.loads(run("ls", f, "--json", "--root", "deep.net")[1])["root"]["path"] == "deep.net", "--root deep.net")
    code, out, err = run("ls", f, "--root", "nope")
    check(code == 2 and out == "" and "choose from: model, ema, deep.net" in err, f"--root nope: {code} {err!r}")


def check_demo(d):
    code, _, err = run("demo", "--write-only", d)
    check(code == 0, f"demo: {err}")
    qat = os.path.join(d, "yolov8n-qat.pt")
    lines = run("ls", qat, "--quant")[1].splitlines()
    check(len(lines) == 1783, f"--quant: {len(lines)} lines")
    roles = {}
    for line in lines:
        roles[line[0]] = roles.get(line[0], 0) + 1
    check(roles.get("Z") == 204 and roles.get("S") == 204 and roles.get("F") == 408 and roles.get("O") == 612 and
          roles.get("W") == 63, f"roles: {roles}")
    entries = json.loads(run("ls", qat, "--quant", "--json")[1])["entries"]
    scale = next(e for e in entries if e["key"] == "model.0.conv.module.weight_fake_quant.scale")
    check(scale["role"] == "weight scale" and scale["block"] == "model.0.conv.module.weight_fake_quant", f"{scale}")
    tree = run("ls", qat, "--tree", "--color", "never")[1].splitlines()
    check("  0" in tree and sum(line.strip().startswith("scale ") for line in tree) == 204, "--tree")
    check("\x1b[" in run("ls", qat, "--tree", "--color", "always")[1], "--color always")
    with open("/dev/full", "wb") as full:
        r = subprocess.run([QATSCOPE, "ls", qat, "--json"], stdout=full, stderr=subprocess.PIPE)
        check(r.returncode == 4, f"/dev/full: exit {r.returncode}")
    code, _, err = run("ls", os.path.join(d, "yolov8n-qat.json"))
    check(code == 3 and err, f"a JSON file: exit {code}")
    check(run("ls", os.path.join(d, "none.pt"))[0] == 3 and run("ls")[0] == 2, "exit codes")


def main():
    if not QATSCOPE or not os.path.exists(QATSCOPE):
        print("SKIP: no qatscope binary (QATSCOPE)")
        return 77
    with tempfile.TemporaryDirectory(prefix="qatscope-ls-") as d:
        for part in (check_plain, check_hostile_names, check_roots, check_demo):
            part(d)
    print("ls:", len(failures), "failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""`qatscope explain` from the outside: texts, JSON, Markdown, the cheat sheet, wrong use."""
import json, os, subprocess, sys

Q = os.environ.get("QATSCOPE")
if not Q or not os.path.exists(Q):
    print("SKIP: no qatscope binary")
    sys.exit(77)


def run(*args):
    r = subprocess.run([Q, "explain"] + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    return r.returncode, r.stdout, r.stderr


def ok(*args):
    code, out, err = run(*args)
    assert (code, err) == (0, ""), (args, code, err)
    return out


KEY = "model.0.conv.module.weight_fake_quant.scale"
text = ok(KEY)
assert text.startswith("Scale of a weight quantizer\n"), text
assert "listed" in text or "lists the key twice" in text
assert all(len(line) <= 80 for line in text.splitlines()), text
assert text.isascii()

one = json.loads(ok(KEY, "--json"))
assert one["id"] == "weight-scale" and one["facts"][0]["dtype"] == "float32"
several = json.loads(ok("scale", "--json"))
assert isinstance(several, list) and len(several) > 3
every = json.loads(ok("--all", "--json"))
ids = [x["id"] for x in every]
assert len(ids) == len(set(ids)) > 50 and set(x["id"] for x in several) < set(ids)

plain, markdown = ok("--all"), ok("--all", "--markdown")
assert markdown.startswith("# ") and markdown.count("\n### ") == len(ids)
flat = " ".join(plain.split())
for x in every:
    assert x["title"] in flat, x["title"]
    assert "### " + x["title"] + "\n" in markdown

sheet = ok("--cheatsheet")
assert 30 < len(sheet.splitlines()) <= 60 and max(map(len, sheet.splitlines())) <= 80
assert sheet in ok("--cheatsheet", "--markdown")

# A name nobody knows is still answered; control bytes do not get through.
assert "knows nothing special" in " ".join(ok("model.anchors").split())
assert "\x1b" not in ok("evil\x1b[2J.weight_fake_quant.scale")

for args in ([], [KEY, "--all"], ["--all", "--cheatsheet"], ["--cheatsheet", "--json"], [KEY, "--json", "--markdown"], ["a", "b"]):
    code, out, err = run(*args)
    assert code == 2 and out == "" and err, (args, code, out, err)
print("%d explanations" % len(ids))

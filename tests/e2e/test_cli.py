#!/usr/bin/env python3
"""The command line for a demanding shell: help is enough and is true, wrong usage is told with a hint, many files and
patterns give one line each and the worst status, data on stdout and words on stderr, no colour in a pipe, a full or
closed stdout is no success."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mini

BIN = os.environ.get("QATSCOPE")
if not BIN:
    print("QATSCOPE is not set: no binary to test")
    sys.exit(77)
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def run(*args, **kw):
    kw.setdefault("stdout", subprocess.PIPE)
    if "input" not in kw:
        kw["stdin"] = subprocess.DEVNULL
    p = subprocess.run([BIN, *map(str, args)], stderr=subprocess.PIPE, text=True, timeout=60, **kw)
    return p.returncode, p.stdout, p.stderr


def commands():
    out = run("--help")[1]
    return [line.split()[0] for line in out.split("commands:\n")[1].split("\n\n")[0].splitlines()]


def options(command):
    """name -> does it take an argument, as --help has it."""
    args = [command] if command else []
    # the explorer's own help: reached with a file before it, as `qatscope --help` is about all commands
    out = run(*(args or ["x.pt"]), "--help")[1]
    found = {}
    for line in out.split("options:\n")[1].split("\n\n")[0].splitlines():
        m = re.match(r"  +(?:-(\w), )?--([\w-]+)( [A-Za-z=]+)?  ", line)
        assert m, line
        found[m[2]] = (m[1], bool(m[3]))
    return found


def json_paths(x, path, out):
    """The paths of json.def: "a.b[].c"; of an empty list only that it is there."""
    if isinstance(x, dict):
        for k, v in x.items():
            json_paths(v, "%s.%s" % (path, k) if path else k, out)
    elif isinstance(x, list):
        for v in x:
            json_paths(v, path + "[]", out)
    else:
        out[path] = x


KINDS = {"text": str, "bool": bool, "number": (int, float), "list": (int, float)}


class Json(unittest.TestCase):
    def check(self, command, *args):
        """Every field that is printed is listed, with its type; returns the rows that were seen."""
        rows = [(line[2:38].rstrip(), line[39:54].rstrip()) for line in run(command, "--help=json")[1].splitlines()]
        out = run(command, *args, "--json")
        found = {}
        json_paths(json.loads(out[1]), "", found)
        seen = set()
        for path, value in found.items():
            path = path[3:] if path.startswith("[].") else path
            fits = [r for r in rows if r[0] == path or (r[0].endswith(".*") and path.startswith(r[0][:-1])) or
                    (r[1].startswith("list") and r[0] + "[]" == path)]
            self.assertTrue(fits, "%s --json prints %s, which json.def does not list" % (command, path))
            kinds = fits[0][1].split(" or ")
            if fits[0][1]:
                self.assertTrue((value is None and "null" in kinds) or isinstance(value, KINDS[kinds[0]]), (command, path, value))
            seen.add(fits[0][0])
        return {r[0] for r in rows}, seen

    def test_what_is_printed_is_what_is_listed(self):
        ui = os.path.join(TOP, "tests", "fixtures", "ui")
        a, b, m, train, odd, odd_b = (os.path.join(ui, n) for n in ("float.pt", "qat.pt", "model.json", "train.pt", "odd_a.pt", "odd_b.pt"))
        with tempfile.TemporaryDirectory() as d:
            plan, out = os.path.join(d, "p.json"), os.path.join(d, "o.pt")
            run("fix", a, "-m", m, "-n", "--plan-out", plan)
            log = os.path.join(d, "train.log")
            with open(log, "w") as f:
                f.write("Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"model.2.weight\", \"x")
            said = json.loads(run("fix", a, b, "-n", "--log", log, "--json")[1])["log"]
            self.assertEqual(said, {"model": "Net", "line": 1, "missing": 1, "unexpected": 0, "shape": 0, "cut_off": True,
                                    "fitted_later": False, "against_file": 1, "against_model": 0})
            for command, runs in {
                    "check": [[a, "-m", m, "--trace"], [a, b], [b, b]], "fix": [[a, "-m", m, "-n"], [b, a, "-n"], [a, b, "-o", out],
                                                                               [a, b, "-n", "--log", log]],
                    "apply": [[plan, a, "-m", m, "-o", out], [plan, b, "-n"]], "convert": [[a, "-o", out]],
                    "plan": [[plan, a, "-m", m], [plan, b]], "ls": [[a, "--quant"], [odd, "--values"], [train], [a, b]],
                    "diff": [[a, b, "--values"], [odd, odd_b, "--values"], [train, b, "--values"]],
                    "explain": [["model.0.conv.module.weight_fake_quant.scale"]], "audit": [[a], [a, b]], "verify": [[a], [a, b]]}.items():
                listed, seen = set(), set()
                for args in runs:
                    rows, some = self.check(command, *args)
                    listed, seen = listed | rows, seen | some
                self.assertGreater(len(seen), len(listed) * 0.6, "of %s's list only %s were seen" % (command, sorted(seen)))


class Help(unittest.TestCase):
    def test_readme_has_the_table(self):
        with open(os.path.join(TOP, "src", "cli", "commands.def")) as f:
            rows = re.findall(r'QS_COMMAND\((\w+), "([^"]*)", "([^"]*)"\)', f.read())
        with open(os.path.join(TOP, "README.md")) as f:
            listed = re.findall(r"^qatscope (\w+) (.*?) {2,}(.*)$|^qatscope (check) (.*?\)) +(.*)$",
                                f.read().split("## The command line")[1].split("```")[1], re.M)
        listed = [tuple(x for x in row if x) for row in listed]
        self.assertEqual([tuple(r) for r in rows], [r for r in listed if r[0] != "A"])
        self.assertEqual([r[0] for r in rows], commands())

    def test_h_is_help(self):
        for c in commands():
            self.assertEqual(run(c, "-h"), run(c, "--help"), c)

    def test_every_command_has_examples_and_exit_codes(self):
        for c in commands():
            rc, out, err = run(c, "--help")
            self.assertEqual((rc, err), (0, ""))
            self.assertIn("usage: qatscope %s " % c, out)
            self.assertRegex(out, r"examples:\n  .*qatscope %s" % c)
            self.assertRegex(out, r"exit status: 0 .*2 usage, 3 bad input, 4 I/O\n$")

    def test_examples_use_options_that_exist(self):
        for c in commands():
            known = options(c)
            letters = {"-" + v[0] for v in known.values() if v[0]}
            for line in re.findall(r"^  (\S.*qatscope %s .*)$" % c, run(c, "--help")[1].split("examples:")[1], re.M):
                mine = line.split("qatscope %s " % c)[1].split("|")[0].split(">")[0]
                for word in re.findall(r"(?<!\S)(--?[a-z][\w-]*)", mine):
                    self.assertTrue(word in letters or word[2:] in known, (c, word))

    def test_what_help_names_is_accepted_and_nothing_else(self):
        for c in commands() + [None]:
            for name, (letter, arg) in options(c).items():
                for o in ["--" + name] + (["-" + letter] if letter else []):
                    if name == "help":
                        continue
                    # --help after it ends the parsing well, if the option was taken
                    value = [{"color": "never", "limit": "files=1"}.get(name, "1")] if arg else []
                    rc, out, err = run(*([c] if c else ["x.pt"]), o, *value, "--help")
                    self.assertEqual((rc, err), (0, ""), (c, o))
            rc, out, err = run(*([c] if c else ["x.pt"]), "--no-such-thing")
            self.assertEqual(rc, 2)
            self.assertIn("there is no option --no-such-thing", err)

    def test_man_page_and_completion_know_every_option(self):
        man, words = run("--man")[1].replace("\\-", "-"), run("--completion")[1]
        for c in commands():
            self.assertIn("qatscope %s " % c, man)
            line = re.search(r"^    %s\) words='(.*)'" % c, words, re.M)[1].split()
            self.assertEqual(sorted(line), sorted("--" + o for o in options(c)))
            for o in options(c):
                self.assertTrue(o == "help" or "--" + o in man, (c, o))
        self.assertNotRegex(man, r"(?m)^'")
        if shutil.which("bash"):
            script = words + "\nCOMP_WORDS=(qatscope check --no); COMP_CWORD=2; _qatscope; echo ${COMPREPLY[@]}"
            out = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, text=True, check=True).stdout
            self.assertEqual(out.split(), ["--no-strict"])


class Usage(unittest.TestCase):
    def wrong(self, *args, words=()):
        rc, out, err = run(*args)
        self.assertEqual((rc, out), (2, ""), (args, err))
        for w in words:
            self.assertIn(w, err)

    def test_wrong_usage_says_what_and_gives_a_hint(self):
        self.wrong("chekc", "a.pt", words=["did you mean check?"])
        self.wrong("-x", words=["there is no option -x", "usage: qatscope"])
        self.wrong("vreify", words=["did you mean verify?"])
        self.wrong("ls", "--jsno", "a.pt", words=["did you mean --json?", "usage: qatscope ls"])
        self.wrong("ls", "-z", "a.pt", words=["no option -z"])
        self.wrong("ls", "--root", words=["--root wants an argument"])
        self.wrong("fix", "a.pt", "-m", words=["-m wants an argument"])
        self.wrong("ls", "--json=yes", "a.pt", words=["--json takes no argument"])
        self.wrong("ls", words=["an argument is missing", "ls --help tells more"])
        self.wrong("diff", "a", "b", "c", "d", words=["one argument too many: 'c'"])
        self.wrong("diff", "a", "b", "--epsilon", "x", words=["a number"])
        self.wrong("diff", "a", "b", "--epsilon", "-1", words=["not negative"])
        self.wrong("ls", "a", "--color", "blue", words=["auto, always or never"])
        self.wrong("check", "a.pt", words=["nothing to check against"])
        self.wrong("check", "a.pt", "b.pt", "c.pt", words=["more than one file"])
        self.wrong("apply", "p.json", "a.pt", words=["where to?"])
        self.wrong("plan", "p.json", "a.pt", "--inverse", "--python", words=["one of"])
        self.wrong("plan", "p.json", "a.pt", "--expect", "all", words=["shape or content"])
        self.wrong("manifest", words=["--exporter"])
        self.wrong("explain", words=["KEY"])
        self.wrong("x.pt", "--screen", "big", words=["80x24"])


class Files(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        for run_name in "abc":
            os.mkdir(self.path(run_name))
            keys = ["w", "v"] if run_name != "b" else ["w", "x"]
            mini.save({k: mini.Tensor([1.0, 2.0]) for k in keys}, self.path(run_name, "best.pt"))
        self.manifest = self.path("m.json")
        with open(self.manifest, "w") as f:
            json.dump({"w": [2], "v": [2]}, f)
        self.pattern = self.path("?", "best.pt")

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def test_check_many(self):
        rc, out, err = run("check", self.pattern, "-m", self.manifest)
        self.assertEqual((rc, err), (1, ""))
        self.assertEqual([line.replace(self.dir, "") for line in out.splitlines()],
                         ["/a/best.pt: loads", "/b/best.pt: would not load: 1 missing, 1 unexpected", "/c/best.pt: loads"])
        self.assertEqual(run("check", self.path("a", "best.pt"), self.path("c", "best.pt"), "-m", self.manifest)[0], 0)
        rc, out, err = run("check", self.path("a", "best.pt"), self.path("none.pt"), "-m", self.manifest, "--json")
        self.assertEqual(rc, 3)
        answers = json.loads(out)
        self.assertEqual([x.get("loads") for x in answers], [True, None])
        self.assertIn("no such file", answers[1]["error"].lower())
        self.assertTrue(json.loads(run("check", self.path("a", "best.pt"), "-m", self.manifest, "--json")[1])["loads"])
        rc, out, err = run("check", self.path("z*.pt"), "-m", self.manifest)
        self.assertEqual(rc, 3)
        self.assertIn("z*.pt", err)

    def test_a_file_named_like_a_pattern(self):
        odd = self.path("we[ab]*.pt")
        shutil.copy(self.path("a", "best.pt"), odd)
        rc, out, err = run("check", odd, "-m", self.manifest, "-q")
        self.assertEqual((rc, out), (0, "<All keys matched successfully>\n"))

    def test_others_take_many(self):
        rc, out, err = run("verify", self.pattern)
        self.assertEqual((rc, [x[-5:] for x in out.splitlines()]), (0, ["whole"] * 3))
        self.assertEqual([x["ok"] for x in json.loads(run("verify", self.pattern, "--json")[1])], [True] * 3)
        rc, out, err = run("audit", self.pattern)
        self.assertEqual((rc, out.count("no code")), (0, 3))
        self.assertEqual([x["runs_code"] for x in json.loads(run("audit", self.pattern, "--json")[1])], [False] * 3)
        rc, out, err = run("ls", self.pattern, "-q")
        self.assertEqual((rc, err), (0, ""))
        self.assertEqual(out.splitlines()[:4], [self.path("a", "best.pt") + ":", "w\t2\tfloat32", "v\t2\tfloat32",
                                                self.path("b", "best.pt") + ":"])
        self.assertEqual(len(json.loads(run("ls", self.pattern, "--json")[1])), 3)

    def test_streams(self):
        a, b = self.path("a", "best.pt"), self.path("b", "best.pt")
        jobs = [("ls", a), ("ls", a, "--json"), ("ls", a, "--tree"), ("diff", a, b), ("diff", a, b, "--json"),
                ("check", a, b), ("check", a, "-m", self.manifest), ("verify", a), ("audit", a), ("manifest", a),
                ("manifest", "--exporter"), ("explain", "scale"), ("fix", a, b, "--dry-run"), ("--help",),
                ("ls", "--help"), ("--version",), ("--man",), ("--completion",)]
        for job in jobs:
            rc, out, err = run(*job, env=dict(os.environ, TERM="xterm-256color"))
            self.assertIn(rc, (0, 1), (job, err))
            self.assertNotIn("\x1b", out + err, job)
            if "--json" in job:
                json.loads(out)
            if "-q" not in job and job[0] not in ("--help", "--version", "--man", "--completion", "explain") and \
                    "--help" not in job:
                quiet = run(*job, "-q")
                self.assertEqual((quiet[0], quiet[2]), (rc, ""), job)
            if os.path.exists("/dev/full"):
                with open("/dev/full", "w") as full:
                    rc, out, err = run(*job, stdout=full)
                self.assertEqual(rc, 4, (job, err))
                self.assertEqual(err.lower().count("no space left"), 1, (job, err))
            closed, end = os.pipe()
            os.close(closed)
            rc, out, err = run(*job, stdout=end, restore_signals=True)
            os.close(end)
            self.assertEqual(rc, -13, job)  # killed by SIGPIPE, as a filter should be, and in silence
            self.assertNotIn("pipe", err.lower())

    def test_a_log_that_the_files_contradict(self):
        a = self.path("a", "best.pt")
        fits = "Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"u\". \n" \
               "\tUnexpected key(s) in state_dict: \"v\". \n"
        with open(self.manifest, "w") as f:
            json.dump({"w": [2], "u": [3]}, f)
        shape = "\tsize mismatch for w: copying a param with shape torch.Size([%s]) from checkpoint, the shape in " \
                "current model is torch.Size([%s])."
        cases = [(fits, []), (fits + shape % (2, 5), ["model, w"]), (fits.replace("u", "t", 1), ["model, t"]),
                 (fits.replace("v", "w"), ["model, v"]), (fits.replace("u", "w", 1), ["checkpoint, w"]),
                 (fits.replace("v", "gone"), ["checkpoint, gone", "model, v"]),
                 (fits + shape % (7, 2), ["checkpoint, w"]), (fits[:fits.index("Unex")] + "Unex", [])]
        for text, told in cases:
            for command in ("check", "fix"):
                job = [command, a, "-m", self.manifest, "--log", "-"] + ["-n"] * (command == "fix")
                rc, out, err = run(*job, input=text)
                lines = [line for line in err.splitlines() if line.startswith("log: ")]
                self.assertIn("log: standard input, line 1: Net:", lines[0], (text, err))
                said = [re.search(r"contradicts? (?:this|the) (\w+, \S+) among", line)[1] for line in lines[1:]]
                self.assertEqual(said, told, (command, text, err))
                self.assertNotIn("log: ", run(*job, "-q", input=text)[2])

    def test_texts_are_not_written_over_what_was_read(self):
        a, b, m, plan = self.path("a", "best.pt"), self.path("b", "best.pt"), self.manifest, self.path("plan.json")
        self.assertEqual(run("fix", a, b, "-n", "--plan-out", plan)[0], 1)
        log = self.path("train.log")
        with open(log, "w") as f:
            f.write("Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"u\". \n")
        link = self.path("link.json")
        os.symlink(a, link)
        jobs = [("manifest", a, "-o", a), ("manifest", a, "-o", link), ("fix", a, b, "-n", "--plan-out", a),
                ("fix", a, b, "-n", "--plan-out", b), ("fix", a, "-m", m, "-n", "--plan-out", m),
                ("fix", a, "--log", log, "-n", "--plan-out", log), ("plan", plan, a, "-b", b, "--python", "-o", a),
                ("plan", plan, a, "-b", b, "--inverse", "-o", b), ("plan", plan, a, "-m", m, "--inverse", "-o", m),
                ("plan", plan, a, "-b", b, "--inverse", "-o", plan)]
        model = self.path("model.pt")  # a manifest, whatever its name
        shutil.copy(m, model)
        jobs += [("fix", a, "-m", model, "-o", model, "--force"), ("apply", plan, a, "-m", model, "-o", model)]
        before = {}
        for name in (a, b, m, model, plan, log):
            with open(name, "rb") as f:
                before[name] = f.read()
        for job in jobs:
            rc, out, err = run(*job)
            self.assertEqual(rc, 3, (job, out, err))
            self.assertIn("choose another name", err, job)
        for name, content in before.items():
            with open(name, "rb") as f:
                self.assertEqual(f.read(), content, name)

    def test_plans_and_manifests_from_standard_input(self):
        a, out_pt = self.path("a", "best.pt"), self.path("out.pt")
        plan = {"format": "qatscope-plan", "version": 1, "actions": [{"op": "rename", "pairs": [["w", "q"]]}]}
        rc, out, err = run("apply", "-", a, "-o", out_pt, input=json.dumps(plan))
        self.assertEqual((rc, err), (0, ""))
        self.assertIn("q\t2", run("ls", out_pt)[1])
        with open(self.manifest) as f:
            self.assertEqual(run("check", a, "-m", "-", input=f.read())[0], 0)
        rc, out, err = run("apply", "-", a, "-n", input="{")
        self.assertEqual(rc, 3)
        self.assertIn("line 1, column", err)


if __name__ == "__main__":
    unittest.main(verbosity=1)

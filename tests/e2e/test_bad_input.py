#!/usr/bin/env python3
"""Wrong input says what it is and what to do, exits with 3 (4 when saving fails), and changes nothing."""
import json
import os
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


def read(path):
    with open(path, "rb") as f:
        return f.read()


def run(*args, **kw):
    p = subprocess.run([BIN, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                       timeout=60, **kw)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


class BadInput(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, name, data=None):
        p = os.path.join(self.dir, name)
        if data is not None:
            with open(p, "wb") as f:
                f.write(data)
        return p

    def good(self, name="good.pt", extra=None):
        d = {"model": {"a.weight": mini.Tensor([1, 2, 3, 4, 5, 6], (2, 3)), "a.bias": mini.Tensor([0, 1])}, "epoch": 3}
        d["model"].update(extra or {})
        mini.save(d, self.path(name))
        return self.path(name)

    def refused(self, path, *words, code=3):
        for args in (["ls", path], ["check", path, path], [path]):
            rc, out, err = run(*args)
            self.assertEqual(rc, code, (args, out, err))
            self.assertEqual(out, "")
            for w in words:
                self.assertIn(w.lower(), err.lower())
            self.assertEqual(err.count("\n"), 1, err)

    def test_no_such_file(self):
        self.refused(self.path("absent.pt"), "absent.pt", "no such file")

    def test_directory(self):
        self.refused(self.dir, "directory")

    def test_no_permission(self):
        p = self.good()
        os.chmod(p, 0)
        if os.geteuid() != 0:
            self.refused(p, "permission")
            return
        # root may read everything: ask as somebody else, from a folder they can enter
        os.chmod(self.dir, 0o755)
        drop = ("import os,sys\nos.setgid(65534); os.setuid(65534)\nos.execv(sys.argv[1], sys.argv[1:])")
        exe = shutil.copy(BIN, self.path("qatscope"))
        os.chmod(exe, 0o755)
        r = subprocess.run([sys.executable, "-c", drop, exe, "ls", p], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(r.returncode, 3, r.stderr)
        self.assertIn(b"permission", r.stderr.lower())

    def test_empty(self):
        self.refused(self.path("empty.pt", b""), "empty")

    def test_lfs_pointer(self):
        text = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 6549796\n" % (b"ab" * 32)
        self.refused(self.path("lfs.pt", text), "git lfs", "6549796")

    def test_html(self):
        self.refused(self.path("page.pt", b"<!DOCTYPE html>\n<html><body>404: Not Found</body></html>\n"), "html")

    def test_truncated_zip(self):
        data = read(self.good())
        for keep in (5, 40, len(data) // 2, len(data) - 1):
            rc, out, err = run("ls", self.path("cut.pt", data[:keep]))
            self.assertEqual(rc, 3, (keep, err))
            self.assertEqual(out, "")
        self.assertIn("truncated", run("ls", self.path("cut.pt", data[:len(data) // 2]))[2].lower())

    def test_zip_without_pickle(self):
        import zipfile
        p = self.path("other.zip")
        with zipfile.ZipFile(p, "w") as z:
            z.writestr("archive/readme.txt", "hello")
        self.refused(p, "data.pkl")

    def test_noise(self):
        self.refused(self.path("noise.pt", bytes((i * 197 + 13) % 251 for i in range(5000))))

    def test_cut_pickle(self):
        import zipfile
        storages = []
        data = mini.pickle_of({"model": {"w": mini.Tensor([1.0])}}, storages)
        p = self.path("cutpickle.pt")
        with zipfile.ZipFile(p, "w") as z:
            z.writestr("archive/data.pkl", data[:-20])
            z.writestr("archive/data/0", storages[0].bytes())
            z.writestr("archive/version", "3\n")
        self.refused(p, "data.pkl", "byte")

    def test_manifest_syntax_names_line_and_column(self):
        m = self.path("m.json", b'{\n  "format": "qatscope-manifest",\n  "version": 1,\n  oops\n}\n')
        rc, out, err = run("check", self.good(), "-m", m)
        self.assertEqual(rc, 3, err)
        self.assertIn("m.json", err)
        self.assertRegex(err, r"4:3|line 4")

    def test_manifest_missing_field(self):
        m = self.path("m.json", json.dumps({"format": "qatscope-manifest", "version": 1, "modules": {},
                                            "state_dict": [{"shape": [1], "dtype": "float32"}]}).encode())
        rc, out, err = run("check", self.good(), "-m", m)
        self.assertEqual(rc, 3, err)
        self.assertIn("state_dict[0]", err)
        self.assertIn("key", err)

    def test_tensor_outside_its_storage_can_be_seen_but_not_saved(self):
        p = self.good(extra={"bad": mini.Tensor([1.0, 2.0], shape=(4, 4))})
        before = read(p)
        rc, out, err = run("ls", p)
        self.assertEqual(rc, 0, err)
        self.assertIn("bad", out)
        plan = self.path("p.json", json.dumps({"format": "qatscope-plan", "version": 1, "actions": []}).encode())
        rc, out, err = run("apply", plan, p, "-o", self.path("out.pt"))
        self.assertEqual(rc, 3, err)
        self.assertIn("bad", err)
        self.assertFalse(os.path.exists(self.path("out.pt")))
        self.assertEqual(read(p), before)

    def test_strides_that_make_terabytes(self):
        p = self.good(extra={"huge": mini.Tensor([1.0], shape=(1 << 20, 1 << 20), stride=(0, 0)),
                             "some": mini.Tensor([2.0], shape=(1000,), stride=(0,))})
        listing = json.loads(run("ls", "--json", "--values", p)[1])
        entries = {e["key"]: e for e in listing["entries"]}
        self.assertIn("its strides make 1099511627776 elements of 4 bytes", entries["huge"]["bad"])
        self.assertNotIn("bad", entries["some"])
        for command in (["verify", p], ["diff", "--values", p, p], ["convert", p, "-o", self.path("x.safetensors")]):
            run(*command)
        self.assertFalse(os.path.exists(self.path("x.safetensors")))

    def test_a_key_of_a_hundred_thousand_parts(self):
        p = self.path("deep.pt")
        deep = "a." * 100000
        mini.save({deep + "x": mini.Tensor([1.0]), deep + "y": mini.Tensor([2.0])}, p)
        code, out, err = run("ls", "--tree", p)
        self.assertEqual(code, 0, err)
        self.assertLess(len(out), 50 << 20)

    def test_saving_where_nothing_may_be_written(self):
        p = self.good()
        plan = self.path("p.json", json.dumps({"format": "qatscope-plan", "version": 1, "actions": []}).encode())
        rc, out, err = run("apply", plan, p, "-o", os.path.join(self.dir, "nowhere", "out.pt"))
        self.assertEqual(rc, 4, err)
        self.assertIn("nowhere", err)
        before = read(p)
        rc, out, err = run("apply", plan, p, "-o", p)
        self.assertEqual(rc, 3, err)
        self.assertIn("in place", err)
        os.symlink(p, self.path("link.pt"))
        rc, out, err = run("apply", plan, p, "-o", self.path("link.pt"))
        self.assertEqual(rc, 3, err)
        self.assertEqual(read(p), before)
        self.assertEqual(sorted(os.listdir(self.dir)), ["good.pt", "link.pt", "p.json"])

    def test_a_file_over_the_size_limit_leaves_nothing(self):
        import resource
        import signal
        p = self.good(extra={"big": mini.Tensor([0.5] * 100000)})
        plan = self.path("p.json", json.dumps({"format": "qatscope-plan", "version": 1, "actions": []}).encode())

        def small():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))

        rc, out, err = run("apply", plan, p, "-o", self.path("out.pt"), preexec_fn=small)
        self.assertEqual(rc, 4, err)
        self.assertEqual(sorted(os.listdir(self.dir)), ["good.pt", "p.json"])

    def test_usage(self):
        for args in ([], ["check"], ["fix", "a", "--nonsense"], ["diff", "a", "b", "c"]):
            rc, out, err = run(*args)
            self.assertEqual(rc, 2, (args, err))

    def test_help_of_every_command(self):
        rc, out, err = run("--help")
        self.assertEqual(rc, 0)
        for line in out.split("commands:\n")[1].split("\n\n")[0].splitlines():
            rc, text, err = run(line.split()[0], "--help")
            self.assertEqual(rc, 0)
            self.assertIn("usage: qatscope " + line.split()[0], text)


if __name__ == "__main__":
    unittest.main(verbosity=1)

#!/usr/bin/env python3
"""Odd, malicious and broken files: no crash, no hang, no control byte on the terminal, bounded memory, and a verdict that
says what is wrong. ODD_SEED repeats a run of the mutations, ODD_COUNT is their number (1500; 400 under sanitizers, where a program takes long to start)."""
import json
import os
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import odd_files
from odd_files import BREAKS, OPENS, REFUSED

BIN = os.environ.get("QATSCOPE")
if not BIN:
    print("QATSCOPE is not set: no binary to test")
    sys.exit(77)

MEMORY = 384 << 20
SECONDS = 1.0  # of CPU, for a verdict
BATCH = 50
# C0 but tab and newline, DEL, C1, and what turns text around
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def bound_memory():
    """Of this process, for those it starts. False under sanitizers, which reserve terabytes of addresses."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    if subprocess.call([BIN, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
        return True
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, hard))
    return False


BOUNDED = bound_memory()


class Answer:
    def __init__(self, *args):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        p = subprocess.run([BIN, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                           timeout=120)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.code, self.args = p.returncode, args
        self.out, self.err = p.stdout.decode("utf-8", "surrogateescape"), p.stderr.decode("utf-8", "surrogateescape")


class OddFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp()

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    def path(self, name, data=None):
        p = os.path.join(self.dir, name)
        if data is not None:
            with open(p, "wb") as f:
                f.write(data)
        return p

    def ask(self, *args, files=1):
        a = Answer(*args)
        self.assertIn(a.code, (0, 1, 3), (args, a.out[-300:], a.err[-300:]))
        self.assertNotIn("out of memory", a.out + a.err, args)
        found = CONTROLS.search(a.out + a.err)
        self.assertFalse(found, (args, found))
        if BOUNDED:
            self.assertLess(a.seconds, SECONDS * files, args)
        return a

    def refusal(self, a, file):
        """One line that begins with the program, names the file and says something."""
        self.assertEqual(a.out, "", a.args)
        self.assertEqual(a.err.count("\n"), 1, (a.args, a.err))
        self.assertTrue(a.err.startswith("qatscope: "), a.err)
        self.assertIn(os.path.basename(file), a.err)
        self.assertGreater(len(a.err), len("qatscope: ") + len(file) + 10, a.err)

    def verdicts(self, file, verdict):
        ls = self.ask("ls", file)
        if ls.code:
            self.refusal(ls, file)
        if verdict != BREAKS:
            self.assertEqual(ls.code, 0 if verdict == OPENS else 3, (ls.out[:300], ls.err))
        shown = self.ask("ls", "--json", "--values", file)
        self.assertEqual(shown.code, ls.code)
        if ls.code == 0:
            json.loads(shown.out.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
        verify, audit = self.ask("verify", file), self.ask("audit", file)
        if verify.code == 0:
            self.assertEqual(ls.code, 0, "verify finds nothing wrong with a file that does not open")
        if ls.code == 0:
            self.assertEqual(self.ask(file, "--screen", "80x24").code, 0)
            check = self.ask("check", file, file)
            if check.code == 3:  # what has tensors and no state dict can be looked at
                self.assertIn("no state dict", check.err)
            else:
                self.assertIn(check.code, (0, 1))
            self.saves(file, True)
        return audit

    def saves(self, file, opens):
        """What can be saved opens, with the same entries; what cannot says why and leaves nothing."""
        out = self.path("saved.pt")
        a = self.ask("convert", file, "-q", "-o", out)
        if a.code == 0:
            self.assertTrue(opens)
            self.assertEqual(self.ask("diff", file, out, "-q").code, 0)
            os.unlink(out)
        else:
            self.refusal(a, file if not opens else "")
        self.assertEqual([n for n in os.listdir(self.dir) if "saved" in n], [])

    def test_crafted(self):
        names = set()
        for name, data, verdict in odd_files.crafted():
            self.assertNotIn(name, names)
            names.add(name)
            with self.subTest(name):
                file = self.path(name, data)
                audit = self.verdicts(file, verdict)
                if "calls-" in name or "pickle-call" in name or "pickle-is-" in name:
                    self.assertEqual(audit.code, 1, audit.out)
                os.unlink(file)
        self.assertGreater(len(names), 200)

    def one_by_one(self, args, files):
        for f in files:
            with self.subTest(os.path.basename(f)):
                self.ask(*args, f)

    def test_mutated(self):
        seed, count = int(os.environ.get("ODD_SEED", "20260")), int(os.environ.get("ODD_COUNT", "1500" if BOUNDED else "400"))
        print("ODD_SEED=%d ODD_COUNT=%d" % (seed, count))
        rng, good, opened = random.Random(seed), odd_files.seeds(), 0
        for start in range(0, count, BATCH):
            files = [self.path("%d" % i, odd_files.mutated(rng, good))
                     for i in range(start, min(start + BATCH, count))]
            for args in (["ls"], ["verify"], ["audit"], ["ls", "--json", "--values"]):
                try:
                    a = self.ask(*args, *files)
                except AssertionError:
                    self.one_by_one(args, files)
                    raise
                lines = [l for l in a.err.splitlines() if l.startswith("qatscope: ")]
                if args == ["ls"]:
                    opened += len(files) - len(lines)
            for f in files[:3]:
                with self.subTest(os.path.basename(f)):
                    self.saves(f, self.ask("ls", f).code == 0)
            for f in files:
                os.unlink(f)
        self.assertGreater(opened, count // 20)
        self.assertLess(opened, count * 19 // 20)

    def test_devices_and_folders(self):
        os.mkdir(self.path("folder.pt"))
        os.symlink(self.path("loop.pt"), self.path("loop.pt"))
        self.saves(self.path("broken.pt", odd_files.torch_zip(b"\x80\x02N.")), False)
        for file in ("/dev/zero", "/dev/null", self.path("folder.pt"), self.path("loop.pt")):
            with self.subTest(file):
                self.refusal(self.ask("ls", file), file)

    def test_beyond_4_gib(self):
        """A small tensor behind a hole of 5 GiB, whose place only zip64 can tell."""
        size, small = 5 << 30, struct.pack("<6f", *range(6))
        pickle = odd_files.state_dict(
            (odd_files.text("big"), b"}" + odd_files.text("z") +
             odd_files.tensor(size=(size // 4,), stride=(1,), numel=size // 4) + b"s"),
            (odd_files.text("model"), b"}" + odd_files.text("w") + odd_files.tensor(key=odd_files.text("1")) + b"s"))
        before = [odd_files.Entry("a/data.pkl", pickle)]
        head = odd_files.archive(before)[:30 + len("a/data.pkl") + len(pickle)]
        hole = 30 + len("a/data/0") + 20
        after = len(head) + hole + size
        local = lambda name, data: struct.pack("<IHHHHHIIIHH", 0x04034B50, 45, 0, 0, 0, 0, zlib.crc32(data), len(data),
                                               len(data), len(name), 0) + name + data
        tail = local(b"a/data/1", small) + local(b"a/version", b"3\n")
        central = b""
        for name, data, n, at in ((b"a/data.pkl", pickle, len(pickle), 0), (b"a/data/0", None, size, len(head)),
                                  (b"a/data/1", small, 24, after), (b"a/version", b"3\n", 2, after + 30 + 8 + 24)):
            big = struct.pack("<HHQQQ", 1, 24, n, n, at)
            central += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 45, 45, 0, 0, 0, 0, zlib.crc32(data) if data else 0,
                                   0xFFFFFFFF, 0xFFFFFFFF, len(name), len(big), 0, 0, 0, 0, 0xFFFFFFFF) + name + big
        start = after + len(tail)
        end = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 4, 4, len(central), start) + \
            struct.pack("<IIQI", 0x07064B50, 0, start + len(central), 1) + \
            struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, len(central), 0xFFFFFFFF, 0)
        file = self.path("big.pt", head)
        with open(file, "r+b") as f:
            f.seek(len(head))
            f.write(struct.pack("<IHHHHHIIIHH", 0x04034B50, 45, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 8, 20) +
                    b"a/data/0" + struct.pack("<HHQQ", 1, 16, size, size))
            try:
                f.seek(after)
                f.write(tail + central + end)
            except OSError as e:
                self.skipTest("no sparse files here: %s" % e)
        if os.stat(file).st_blocks * 512 > size // 2:
            os.unlink(file)
            self.skipTest("no sparse files here")
        shown = self.ask("ls", "--root", "model", "--values", file)
        self.assertEqual(shown.code, 0, shown.err)
        self.assertIn("%08x" % zlib.crc32(small), shown.out)
        self.assertEqual(self.ask("ls", "--root", "big", file).code, 0)
        os.unlink(file)


if __name__ == "__main__":
    unittest.main()

"""The pickle machine against Python's: random objects at protocols 0 to 5 come out of read and emit equal, sharing and
cycles included; of pickles with bytes changed, what Python loads we read, and it comes out equal; what can hurt is
refused, quickly."""
import codecs
import collections
import copyreg
import datetime
import decimal
import fractions
import inspect
import io
import os
import pickle
import pickletools
import random
import re
import resource
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
TOOL = os.path.join(os.path.dirname(os.environ.get("QATSCOPE", "")), "tests", "unit_pickle_tool")
SEED = int(os.environ.get("SEED", "11"))
COUNT = int(os.environ.get("COUNT", "400"))
failures = []


def fail(what):
    failures.append(what)
    if len(failures) < 20:
        print("FAIL", what)


class Thing:
    def __init__(self, **kw):
        self.__dict__.update(kw)


class Slots:
    __slots__ = ("a", "b")


class NewArgs:
    def __new__(cls, *a, **kw):
        self = object.__new__(cls)
        self.made = (a, kw)
        return self

    def __init__(self, *a, **kw):
        pass

    def __getnewargs_ex__(self):
        return self.made


class ListLike(list):
    pass


class DictLike(dict):
    pass


class Outer:
    class Inner:
        pass


ATOMS = [None, True, False, 0, 1, -1, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, -2 ** 31, -2 ** 31 - 1, 2 ** 63 - 1, -2 ** 63, 2 ** 63,
         10 ** 50, -10 ** 50, 2 ** 2039, 2 ** 2040, -2 ** 2039, 0.0, -0.0, 1.5, 1e300, float("inf"), float("-inf"), "", "a", "x" * 300,
         "\u00e9", "\ud800", "\U0001f600", "a\nb\\u0041'\"\r\x00", "\\", b"", b"a", b"\x00\xff\\'\"\n", b"z" * 300, 1 + 2j,
         datetime.datetime(2024, 1, 2, 3, 4, 5), decimal.Decimal("1.5"), fractions.Fraction(1, 3), range(3), slice(1, None), int, len,
         Outer.Inner, collections.OrderedDict]


def make(rng, depth, made):
    if made and rng.random() < 0.1:
        return rng.choice(made)
    if depth > 4 or rng.random() < 0.3:
        return rng.choice(ATOMS)
    n = rng.choice([0, 1, 1, 2, 3, 4, 6])
    sub = lambda: make(rng, depth + 1, made)  # noqa: E731
    kind = rng.randrange(14)
    if kind == 0:
        x = []
        made.append(x)  # may end up inside itself
        x.extend(sub() for _ in range(n))
        return x
    if kind == 1:
        x = {}
        made.append(x)
        x.update((rng.choice(["k", "l", 1, 2.5, (1, "x"), b"k", None]), sub()) for _ in range(n))
        return x
    if kind == 2:
        x = Thing()
        made.append(x)
        x.__dict__.update(("a%d" % i, sub()) for i in range(n))
        return x
    if kind == 3:
        x = (sub(),) * rng.choice([1, 2, 3, 4])
    elif kind == 4:
        x = tuple(sub() for _ in range(n))
    elif kind == 5:
        x = set(rng.sample([1, 2, 3, "a", b"b", (1, 2), None, frozenset([1])], n))
    elif kind == 6:
        x = frozenset(rng.sample([1, 2, 3, "a", b"b", (1, 2), None], n))
    elif kind == 7:
        x = bytearray(os.urandom(0) + bytes(rng.randrange(256) for _ in range(n * 10)))
    elif kind == 8:
        x = collections.OrderedDict((i, sub()) for i in range(n))
        if rng.random() < 0.5:
            x._metadata = sub()
    elif kind == 9:
        x = NewArgs(sub(), key=sub())
    elif kind == 10:
        x = Slots()
        x.a = sub()
    elif kind == 11:
        x = ListLike(sub() for _ in range(n))
        x.attribute = sub()
    elif kind == 12:
        x = DictLike((i, sub()) for i in range(n))
        x.attribute = sub()
    else:
        x = collections.deque([sub() for _ in range(n)], maxlen=9)
    made.append(x)
    return x


def dump(obj, protocol, rng):
    """By C's pickler or Python's, optimized or not."""
    f = io.BytesIO()
    pickler = rng.choice([pickle.Pickler, pickle._Pickler])(f, protocol)
    if rng.random() < 0.1 and protocol < 4:
        pickler.fast = False
    pickler.dump(obj)
    data = f.getvalue()
    if rng.random() < 0.2:
        data = pickletools.optimize(data)
    return data


def convert(folder, pickles):
    """Answers of the tool, and what it wrote, for a list of pickles."""
    paths = []
    for i, p in enumerate(pickles):
        paths.append(os.path.join(folder, "%d.pkl" % i))
        with open(paths[-1], "wb") as f:
            f.write(p)
    answers = []
    for i in range(0, len(paths), 500):
        r = subprocess.run([TOOL, *paths[i:i + 500]], capture_output=True)
        if r.returncode:
            fail(f"the tool died: {r.stderr[-300:]!r}")
        answers += r.stdout.decode("utf-8", "replace").splitlines()
    outs = []
    for path, a in zip(paths, answers):
        outs.append(open(path + ".out", "rb").read() if a.startswith("ok") else None)
        for p in (path, path + ".out"):
            if os.path.exists(p):
                os.unlink(p)
    return answers, outs


def test_objects(folder, deep_equal):
    rng = random.Random(SEED)
    cases = []
    for _ in range(COUNT):
        obj = make(rng, 0, [])
        protocol = rng.randrange(6)
        try:
            cases.append((protocol, dump(obj, protocol, rng)))
        except Exception:  # what Python cannot pickle: dotted names at low protocols, recursion through slots
            continue
    answers, outs = convert(folder, [c[1] for c in cases])
    for i, ((protocol, data), answer, out) in enumerate(zip(cases, answers, outs)):
        where = f"object {i} protocol {protocol} (seed {SEED})"
        if out is None:
            fail(f"{where}: {answer}")
            continue
        try:
            want, got = pickle.loads(data), pickle.loads(out)
        except Exception as e:
            fail(f"{where}: {type(e).__name__} {e}")
            continue
        why = deep_equal(want, got)
        if why:
            fail(f"{where}: {why}")
        used = {op.name for op, _, _ in pickletools.genops(out)}
        over = used - WEIGHTS_ONLY
        if over - {"LONG4", "POP", "POP_MARK", "BINSTRING"}:
            fail(f"{where}: emitted {over}")
    print(f"{len(cases)} objects")


def read_table():
    """Name -> (byte, protocol, weights_only) of src/format/pickle_ops.def."""
    path = os.path.join(HERE, "..", "..", "src", "format", "pickle_ops.def")
    rows = re.findall(r"^QS_PICKLE_OP\((.*), (\w+), (\d), (\d)\)", open(path).read(), re.M)
    return {name: (ord(byte[1]) if byte[0] == "'" else int(byte, 16), int(protocol), wo == "1") for byte, name, protocol, wo in rows}


TABLE = read_table()
WEIGHTS_ONLY = {name for name, row in TABLE.items() if row[2]}


def test_table():
    """The table of opcodes is Python's, and the list of torch's unpickler."""
    theirs = {op.name: (ord(op.code), op.proto) for op in pickletools.opcodes}
    ours = {name: row[:2] for name, row in TABLE.items()}
    if theirs != ours:
        fail(f"opcodes: {set(theirs.items()) ^ set(ours.items())}")
    from torch import _weights_only_unpickler as unpickler
    taken = set(re.findall(r"\b([A-Z][A-Z0-9_]+)\[0\]", inspect.getsource(unpickler.Unpickler.load)))
    # BINFLOAT came with torch 2.0.
    if taken | {"BINFLOAT"} != WEIGHTS_ONLY:
        fail(f"weights_only: {(taken | {'BINFLOAT'}) ^ WEIGHTS_ONLY}")


# What Python takes and we do not, and why that is right.
STRICTER = [
    "no list", "no dict", "no set",  # APPEND to anything with extend, SETITEM on a list: no checkpoint does
    "registry", "changes a class", "out-of-band", "takes no state", "neither a class", "not a tuple", "cannot be a key",
    "not a decimal number",  # INT in hex, with underscores
    "not a number", "module and name must be strings", "broken quotes", "no number below", "keyword arguments",
    "levels of objects", "line break", "in its frame", "not UTF-8", "is the file", "does not exist",
]


def mutate(rng, data):
    b = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.randrange(len(b))
        how = rng.randrange(5)
        if how == 0:
            b[at] = rng.randrange(256)
        elif how == 1:
            del b[at]
        elif how == 2:
            b.insert(at, rng.choice(b"(.012FIJKLMNPQRSTUVXabcd}egh]iljopqrst)uG\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x8f\x90\x91\x92\x93\x94"))
        elif how == 3:
            to = rng.randrange(len(b))
            b[to:to] = b[at:at + rng.randrange(8)]
        else:
            b[at] ^= 1 << rng.randrange(8)
        if not b:
            b = bytearray(b".")
    return bytes(b)


BUILTINS = {"set": set, "frozenset": frozenset, "bytes": bytes, "bytearray": bytearray}


def python_loads(d, data):
    """(loaded, object) by Python's C unpickler; names become stubs, nothing real is ever called."""

    def stub(module, name):
        return d._stubs.setdefault((module, name), type("Stub", (d.Stub,), {"__module__": repr(module), "key": (module, name)}))

    def stub_getattr(x, name):  # how protocol 2 says A.B
        return stub(x.key[0], x.key[1] + "." + name)

    class U(d.StubUnpickler):
        def find_class(self, module, name):
            if module in ("builtins", "__builtin__"):
                if name in BUILTINS:
                    return BUILTINS[name]
                if name == "getattr":
                    return stub_getattr
            if (module, name) == ("collections", "OrderedDict"):
                return collections.OrderedDict
            if (module, name) == ("_codecs", "encode"):
                return codecs.encode
            if (module, name) == ("copyreg", "__newobj_ex__"):
                return copyreg.__newobj_ex__
            return stub(module, name)

        def persistent_load(self, pid):
            raise pickle.UnpicklingError("persistent")

    try:
        return True, U(io.BytesIO(data), encoding="utf-8").load()
    except Exception:
        return False, None


def limit_memory():
    """A changed memo index makes Python's own unpickler take 32 GiB."""
    with open("/proc/self/statm") as f:
        size = int(f.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (256 << 20), resource.RLIM_INFINITY))


def test_changed_bytes(folder, d):
    rng = random.Random(SEED + 1)
    pickles = []
    while len(pickles) < 8 * COUNT:
        try:
            data = dump(make(rng, 2, []), rng.randrange(6), rng)
        except Exception:
            continue
        pickles += [mutate(rng, data) for _ in range(4)]
    answers, outs = convert(folder, pickles)
    limit_memory()
    both = 0
    for i, (data, answer, out) in enumerate(zip(pickles, answers, outs)):
        loaded, want = python_loads(d, data)
        where = f"changed {i} (seed {SEED}) {data[:200]!r}"
        if not loaded:
            continue
        if out is None:
            if not any(s in answer for s in STRICTER):
                fail(f"{where}: Python loads it, we say {answer}")
            continue
        again, got = python_loads(d, out)
        both += 1
        if not again:
            fail(f"{where}: what we wrote does not load: {out[:200]!r}")
            continue
        why = d.deep_equal(want, got)
        if why:
            fail(f"{where}: {why}")
    print(f"{len(pickles)} changed pickles, {both} of them loaded by both")


def test_hostile(folder):
    """Each must be answered within a second, and not with a crash."""
    cases = {
        "memo index 2^32-1": (b"\x80\x02K\x01r\xff\xff\xff\xff.", "ok"),
        "a get of 2^32-2": (b"\x80\x02K\x01r\xff\xff\xff\xffj\xfe\xff\xff\xff.", "memoised"),
        "billion laughs": (b"\x80\x02]" + b"2\x86" * 200 + b".", "ok"),
        "2M nested tuples": (b")" + b"\x85" * 2000000 + b".", "more than 1000 levels"),
        "2M nested lists": (b"]" * 2000000 + b"a" * 1999999 + b".", "more than 1000 levels"),
        "5M marks": (b"(" * 5000000 + b".", "open marks"),
        "5M on the stack": (b"N" * 5000000 + b".", "on a pickle's stack"),
        "tuple without mark": (b"t.", "MARK"),
        "setitem on a tuple": (b"\x80\x02)K\x01K\x02s.", "no dict"),
        "setitem on an int": (b"\x80\x02K\x00K\x01K\x02s.", "no dict"),
        "string of 4 GiB": (b"\x80\x02X\xff\xff\xff\xffabc.", "cut short"),
        "string of 2^64-1": (b"\x80\x04\x8d" + b"\xff" * 8 + b"abc.", "cut short"),
        "frame of 2^64-1": (b"\x80\x04\x95" + b"\xff" * 8 + b"N.", "frame"),
        "frame across an opcode": (b"\x80\x04\x95\x02" + b"\x00" * 7 + b"X\x01\x00\x00\x00a.", "in its frame"),
        "two frames": (b"\x80\x04\x95\x02" + b"\x00" * 7 + b"K\x05\x95\x02" + b"\x00" * 7 + b"0N.", "ok"),
        "one string folded often": (b"\x80\x02c_codecs\nencode\nq\x00X\x00\x00\x10\x00" + b"a" * 1048576 + b"q\x01X\x06\x00\x00\x00latin1\x86q\x02R0"
                                    + b"h\x00h\x02R0" * 100000 + b"N.", "ok"),
        "one list folded often": (b"\x80\x02c__builtin__\nset\nq\x00](" + b"K\x01" * 100000 + b"e\x85q\x02R0" + b"h\x00h\x02R0" * 100000 + b"N.", "ok"),
        "digits": (b"L" + b"9" * 5000 + b"L\n.", "4300 digits"),
        "many digits": ((b"L" + b"9" * 4300 + b"L\n0") * 1000 + b"N.", "ok"),
        "a list that grows beside another": (b"]q\x00]q\x01" + b"h\x00K\x01a0h\x01K\x01a0" * 200000 + b".", "ok"),
        "os.system": (b"cos\nsystem\n(X\x04\x00\x00\x00echotR.", "ok os.system('echo')"),
    }
    for name, (data, want) in cases.items():
        start = time.monotonic()
        answers, _ = convert(folder, [data])
        took = time.monotonic() - start
        if not answers or want not in answers[0]:
            fail(f"{name}: {answers}")
        if os.environ.get("VERBOSE"):
            print(f"{took:6.2f} s {name}")
        if took > 5:  # a second on an idle machine
            fail(f"{name}: {took:.1f} s")
    print(f"{len(cases)} hostile pickles")


def main():
    if not os.path.exists(TOOL):
        print("unit_pickle_tool is not built")
        return 77
    try:
        import deep_equal as d
    except ImportError as e:
        print(e)
        return 77
    with tempfile.TemporaryDirectory(prefix="qatscope-pickle-") as folder:
        test_table()
        test_hostile(folder)
        test_objects(folder, d.deep_equal)
        test_changed_bytes(folder, d)
    if failures:
        print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

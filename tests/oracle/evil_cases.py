"""Pickles that call a marker, behind whatever Python takes though no checkpoint has it. run(data) tells whether Python's
C unpickler, which is torch's, gets as far as calling it: nothing real is ever called."""
import collections
import io
import pickle
import random
import types

REAL = {(c.__module__, c.__name__): c for c in (collections.OrderedDict, collections.deque, collections.Counter, list, dict, set, bytearray,
                                                 str, int, object, types.SimpleNamespace)}
GLOBALS = [b"c%s\n%s\n" % (m.encode(), n.encode()) for m, n in REAL]
NINES = b"9" * 4301

ATOMS = [b"N", b"\x88", b"\x89", b"K\x05", b"M\x00\x01", b"J\xff\xff\xff\xff", b"G\x3f\xf8" + b"\0" * 6, b"X\x01\0\0\0a", b"X\x01\0\0\0\xff",
         b"U\x01a", b"U\x01\xff", b"C\x01a", b"\x8c\x01b", b"Va\n", b"S'a'\n", b'S"a\\x"\n', b"I5\n", b"I01\n", b"I0x10\n", b"I 7\n", b"I1_0\n",
         b"I-0\n", b"I010\n", b"I08\n", b"L5L\n", b"L5\n", b"L0x1fL\n", b"L010L\n", b"F1.5\n", b"F 1.5 \n", b"F1_0.5\n", b"Finfinity\n",
         b"\x8a\x01\x05", b"\x8a\x00", b"\x8b\x01\0\0\0\x05", b"\x8b\xff\xff\xff\xff", b"]", b"}", b")", b"(", b"\x8f", b"(\x91",
         b"\x96\x02\0\0\0\0\0\0\0ab", b"V\\u0041\\x\n", b"V\\ud800\n", b"V\\U00110000\n", b"L%sL\n" % NINES, b"I%s\n" % NINES,
         b"\x8e\x01\0\0\0\0\0\0\0a", b"\x8d\x01\0\0\0\0\0\0\0a", b"T\x01\0\0\0a", b"S'a\\\n'\n", b"Sa\n", b"S' a'  \n"]
STEPS = [b"0", b"1", b"2", b"(", b"t", b"\x85", b"\x86", b"\x87", b"l", b"d", b"a", b"e", b"s", b"u", b"\x90", b"\x91", b"R", b"b", b"o",
         b"\x81", b"\x92", b"\x93", b"Q", b"Pabc\n", b"P\xff\n", b"q\x01", b"q\x02", b"h\x01", b"h\x02", b"r\x05\0\0\0", b"j\x05\0\0\0", b"p1\n",
         b"p01\n", b"p 1\n", b"p+1\n", b"p1_0\n", b"g1\n", b"g10\n", b"\x94", b"\x95" + b"\0" * 8, b"\x95\x03" + b"\0" * 7, b"\x80\x02",
         b"\x80\x04", b"\x80\x05", b"\x82\x01", b"\x97", b"\x98", b"icollections\nOrderedDict\n"]
# What Python does to any object that lets it: {a} and {b} are values, {c} is a class.
DEEDS = ["{c})R", "{c})\x81", "{c}(tR", "{c})R{a}b", "{c})R{a}{b}s", "{c})R{a}a", "{c})R({a}e", "({c}o", "{a}{b}b", "{a}{b}a", "{a}{b}{a}s",
         "{a}({b}e", "{a}({b}{a}u", "{a}{b}R", "{a}({b}\x90", "{c}){a}\x92"]
CALLS = [b"cos\nsystem\nVx\n\x85R", b"(Vx\nios\nsystem\n", b"(cos\nsystem\nVx\no", b"\x8c\x02os\x8c\x06system\x93Vx\n\x85R",
         b"Vos\nVsystem\n\x93)R", b"cbuiltins\nstr\nVos\n\x85RVsystem\n\x93)R"]


def piece(rng):
    kind = rng.randrange(10)
    if kind < 4:
        return rng.choice(ATOMS)
    if kind < 8:
        return rng.choice(STEPS)
    if kind == 8:
        return rng.choice(GLOBALS)
    if rng.random() < 0.1:
        return b"\x95" + bytes([rng.randrange(12)]) + b"\0" * 7
    deed = rng.choice(DEEDS).encode("latin1")
    for name, values in ((b"{a}", ATOMS), (b"{b}", ATOMS), (b"{c}", GLOBALS)):
        deed = deed.replace(name, rng.choice(values))
    return deed


def make(seed):
    rng = random.Random(seed)
    data = b"".join(piece(rng) for _ in range(rng.randrange(1, 6))) + rng.choice(CALLS)
    data += b"".join(piece(rng) for _ in range(rng.randrange(3))) + b"."
    return b"\x80" + bytes([rng.choice([2, 2, 3, 4, 5])]) + data if rng.random() < 0.5 else data


def run(data):
    called = []

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            return (lambda *args: called.append(args)) if (module, name) == ("os", "system") else REAL[module, name]

        def persistent_load(self, pid):
            return pid

    for encoding in ("ASCII", "utf-8", "latin1"):
        try:
            Unpickler(io.BytesIO(data), encoding=encoding).load()
        except BaseException:  # whatever it was, the marker was called or not
            pass
    return bool(called)

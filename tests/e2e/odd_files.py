"""Odd and malicious files, made byte by byte: crafted() gives (name, bytes, what `ls` makes of it), seeds() good files of
every format to be mutated, mutate() breaks one."""
import json
import os
import struct
import sys
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mini

OPENS, REFUSED, BREAKS = "opens", "refused", "either"


# ---- zip archives ----

class Entry:
    """A record of a zip archive; what is not given is right."""

    def __init__(self, name, data=b"", deflate=False, **lies):
        self.name, self.data, self.deflate, self.lies = name, data, deflate, lies

    def stored(self):
        if not self.deflate:
            return self.data
        z = zlib.compressobj(9, zlib.DEFLATED, -15)
        return z.compress(self.data) + z.flush()


def archive(entries, zip64=False, comment=b"", before=b"", after=b"", gap=b"", **lies):
    out, central = bytearray(before), bytearray()
    for e in entries:
        name = e.name if isinstance(e.name, bytes) else e.name.encode()
        body, lie = e.stored(), e.lies
        method = lie.get("method", 8 if e.deflate else 0)
        crc = lie.get("crc", zlib.crc32(e.data))
        size, packed = lie.get("size", len(e.data)), lie.get("packed", len(body))
        flags, at = lie.get("flags", 0), lie.get("at", len(out))
        local_name = lie.get("local_name", name)
        out += struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, lie.get("local_flags", flags), lie.get("local_method", method),
                           0, 0, lie.get("local_crc", crc), lie.get("local_packed", packed) & 0xFFFFFFFF,
                           lie.get("local_size", size) & 0xFFFFFFFF, len(local_name), len(lie.get("local_extra", b"")))
        out += local_name + lie.get("local_extra", b"") + body + gap
        extra, field = lie.get("extra", b""), [packed, size, at]
        if lie.get("zip64"):
            extra += struct.pack("<HHQQQ", 1, 24, size, packed, at)
            field = [0xFFFFFFFF] * 3
        central += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, flags, method, 0, 0, crc, field[0] & 0xFFFFFFFF,
                               field[1] & 0xFFFFFFFF, len(name), len(extra), len(lie.get("comment", b"")),
                               lie.get("disk", 0), 0, 0, field[2] & 0xFFFFFFFF) + name + extra + lie.get("comment", b"")
    start, count = lies.get("start", len(out)), lies.get("count", len(entries))
    out += central
    if zip64:
        end64 = len(out)
        out += struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, lies.get("count64", count),
                           lies.get("count64", count), len(central), start)
        out += struct.pack("<IIQI", 0x07064B50, 0, lies.get("end64", end64), lies.get("disks", 1))
    out += struct.pack("<IHHHHIIH", 0x06054B50, lies.get("disk", 0), 0, count & 0xFFFF, count & 0xFFFF, len(central),
                       start & 0xFFFFFFFF, lies.get("comment_size", len(comment))) + comment
    return bytes(out + after)


def entries_of(obj=None, data=None, storages=None):
    if data is None:
        storages = []
        data = mini.pickle_of(obj, storages)
    blobs = [s if isinstance(s, bytes) else s.bytes() for s in storages or []]
    return ([Entry("a/data.pkl", data)] + [Entry("a/data/%d" % i, b) for i, b in enumerate(blobs)] +
            [Entry("a/version", b"3\n")])


def torch_zip(data, storages=()):
    return archive(entries_of(data=data, storages=storages))


def saved(obj):
    return archive(entries_of(obj))


def good():
    return {"w": mini.Tensor(range(6), (2, 3)), "b": mini.Tensor([0.5, 1])}


# ---- pickles ----

def text(s):
    s = s if isinstance(s, bytes) else s.encode()
    return b"X" + struct.pack("<I", len(s)) + s


def number(n):
    if -2 ** 31 <= n < 2 ** 31:
        return b"J" + struct.pack("<i", n)
    raw = n.to_bytes((n.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def numbers(values):
    return b"(" + b"".join(number(v) for v in values) + b"t"


def storage(kind="FloatStorage", key=text("0"), location=text("cpu"), numel=6):
    return b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + key + location + number(numel) + b"tQ"


def tensor(size=(2, 3), stride=(3, 1), offset=0, store=None, grad=b"\x89", fn=b"_rebuild_tensor_v2", more=b"", **kw):
    return (b"ctorch._utils\n" + fn + b"\n(" + (store or storage(**kw)) + number(offset) + numbers(size) + numbers(stride) +
            grad + b"ccollections\nOrderedDict\n)R" + more + b"tR")


def state_dict(*pairs):
    return b"\x80\x02}(" + b"".join(k + v for k, v in pairs) + b"u."


def with_w(*more):
    """A state dict with a good tensor and more."""
    return state_dict((text("w"), tensor()), *more)


FLOATS = [bytes(24)]
def modules_doubled(levels):
    """Every level holds the level below twice."""
    p = b"cm\nA\n)\x81p0\n}(V_parameters\n}Vw\n" + tensor() + b"sV_buffers\n}V_modules\n}ub"
    for i in range(levels):
        p += b"0cm\nA\n)\x81p%d\n}(V_parameters\n}V_buffers\n}V_modules\n}(Vl\ng%d\nVr\ng%d\nuub" % (i + 1, i, i)
    return p + b"."


GLOBAL_CALLS = {
    "os-system": b"cos\nsystem\n" + text("echo ran") + b"\x85R",
    "posix-system": b"cposix\nsystem\n" + text("echo ran") + b"\x85R",
    "eval": b"cbuiltins\neval\n" + text("1") + b"\x85R",
    "python2-eval": b"c__builtin__\neval\n" + text("1") + b"\x85R",
    "stack-global": text("os") + text("system") + b"\x93" + text("echo ran") + b"\x85R",
    "inst": b"(" + text("echo ran") + b"ios\nsystem\n",
    "obj": b"(cos\nsystem\n" + text("echo ran") + b"o",
    "newobj": b"csubprocess\nPopen\n" + text("true") + b"\x85\x81",
    "runpy": b"crunpy\n_run_code\n" + text("x") + b"}\x86R",
}


def pickles():
    """name, pickle, verdict; each in a good archive."""
    yield "tuples-200000-deep", b"\x80\x02)" + b"\x85" * 200000 + b".", REFUSED
    yield "value-200000-deep", with_w((text("x"), b")" + b"\x85" * 200000)), OPENS
    yield "lists-100000-deep", with_w((text("x"), b"]" * 100000 + b"a" * 99999)), OPENS
    laughs = b"]q\x00" + b"".join(b"0](h%ch%ceq%c" % (i, i, i + 1) for i in range(100))
    yield "billion-laughs", with_w((text("x"), laughs)), OPENS
    yield "billion-laughs-tuples", with_w((text("x"), laughs.replace(b"]", b")", 1).replace(b"](", b"(").replace(
        b"e", b"t"))), OPENS
    yield "billion-laughs-modules", modules_doubled(60), REFUSED
    yield "memo-2-32", b"\x80\x02}r\xff\xff\xff\xff" + with_w()[3:], OPENS
    yield "memo-text-2-63", b"}p9223372036854775808\n.", REFUSED
    yield "memo-unset", b"\x80\x02h\x07.", REFUSED
    yield "long1-255", with_w((text("x"), b"\x8a\xff" + b"\xff" * 254 + b"\x7f")), OPENS
    yield "long4-2-31", with_w((text("x"), b"\x8b\xff\xff\xff\x7f")), REFUSED
    yield "long4-negative", with_w((text("x"), b"\x8b\xff\xff\xff\xff")), REFUSED
    yield "text-2-32", with_w((text("x"), b"X\xff\xff\xff\xff")), REFUSED
    yield "text8-2-64", with_w((text("x"), b"\x8d" + b"\xff" * 8)), REFUSED
    yield "bytes8-2-62", with_w((text("x"), b"\x8e" + struct.pack("<Q", 1 << 62))), REFUSED
    yield "list-in-itself", with_w((text("x"), b"]q\x05h\x05a")), OPENS
    yield "dict-in-itself", b"\x80\x02}q\x00(" + text("w") + tensor() + text("me") + b"h\x00u.", OPENS
    yield "root-is-cyclic-list", b"\x80\x02]q\x00h\x00a.", REFUSED
    yield "module-in-itself", b"cm\nA\n)\x81p0\n}(V_parameters\n}V_buffers\n}V_modules\n}Vself\ng0\nsub.", REFUSED
    for name, call in GLOBAL_CALLS.items():
        yield "calls-" + name, with_w((text("x"), call)), OPENS
        yield "is-" + name, b"\x80\x02" + call + b".", REFUSED
    yield "empty", b"", REFUSED
    yield "no-stop", with_w()[:-1], REFUSED
    yield "stop-at-once", b".", REFUSED
    yield "two-objects-left", b"\x80\x02N" + with_w()[2:], OPENS
    yield "bytes-after-stop", with_w() + b"cos\nsystem\n(X", OPENS
    yield "tuple-without-mark", b"\x80\x02Nt.", REFUSED
    yield "setitem-on-none", b"\x80\x02NNNs.", REFUSED
    yield "append-to-dict", b"\x80\x02}Na.", REFUSED
    yield "setitems-odd", b"\x80\x02}(Nu.", REFUSED
    yield "build-on-int", b"\x80\x02K\x01}b.", REFUSED
    yield "reduce-without-tuple", b"\x80\x02cos\nsystem\nNR.", REFUSED
    yield "reduce-of-int", b"\x80\x02K\x01)R.", REFUSED
    yield "pop-nothing", b"\x80\x020.", REFUSED
    yield "pop-mark-nothing", b"\x80\x021.", REFUSED
    yield "dup-nothing", b"\x80\x022.", REFUSED
    yield "persid-as-text", b"Psome id\n.", REFUSED
    yield "extension", b"\x80\x02\x82\x01.", REFUSED
    yield "next-buffer", b"\x80\x05\x97.", REFUSED
    yield "frame-2-63", b"\x80\x04\x95" + struct.pack("<Q", 1 << 63) + b"N.", REFUSED
    yield "frame-over-an-opcode", b"\x80\x04\x95" + struct.pack("<Q", 3) + with_w()[2:], BREAKS
    yield "protocol-99", b"\x80\x63" + with_w()[2:], REFUSED
    yield "opcode-unknown", b"\x80\x02\xfeN.", REFUSED
    yield "text-no-utf8", state_dict((text(b"\xff\xfe"), tensor())), REFUSED
    yield "text-surrogate", state_dict((text(b"\xed\xa0\x80"), tensor())), BREAKS
    for name, key in (("escape", "\x1b[2J\x1b]0;title\x07"), ("newline", "a\nqatscope: all is well\nb"), ("nul", "a\0b"),
                      ("c1", "\x9b31mred\x9d"), ("bidi", "a\u202egnp.exe"), ("del", "a\x7f\x08\x08b"), ("empty", ""),
                      ("tab", "a\tb"), ("long", "k" * 100000)):
        yield "key-" + name, state_dict((text(key), tensor())), OPENS
    yield "key-int", state_dict((b"K\x01", tensor())), BREAKS
    yield "key-none", state_dict((b"N", tensor())), BREAKS
    yield "key-list", state_dict((b"]", tensor())), REFUSED
    yield "key-twice", state_dict((text("w"), tensor()), (text("w"), tensor())), OPENS
    yield "float-text", with_w((text("x"), b"Fnonsense\n")), REFUSED
    yield "int-5000-digits", with_w((text("x"), b"I" + b"9" * 5000 + b"\n")), REFUSED
    yield "int-hex", with_w((text("x"), b"I0x10\n")), REFUSED
    yield "string-no-quote", with_w((text("x"), b"S'abc\n")), REFUSED
    yield "marks-100001", b"\x80\x02" + b"(" * 100001 + b".", REFUSED
    yield "stack-300000", b"\x80\x02" + b"N" * 300000 + with_w()[2:], OPENS
    yield "global-controls", with_w((text("x"), b"c\x1b[2J\n\x07evil\n")), OPENS
    yield "persid-of-none", b"\x80\x02NQ.", REFUSED


def tensors():
    """What a tensor may say of itself: opened, and flagged."""
    for name, kw in (
            ("size-negative", dict(size=(-1, 3))), ("size-2-62", dict(size=(2 ** 62, 4))), ("size-2-64", dict(size=(2 ** 64,))),
            ("dims-65", dict(size=(1,) * 65, stride=(1,) * 65)), ("stride-negative", dict(stride=(-3, 1))),
            ("stride-2-62", dict(stride=(2 ** 62, 1))), ("stride-fewer", dict(stride=(1,))),
            ("stride-0-of-2-40", dict(size=(2 ** 20, 2 ** 20), stride=(0, 0))), ("offset-negative", dict(offset=-1)),
            ("offset-2-62", dict(offset=2 ** 62)), ("numel-negative", dict(numel=-6)), ("numel-2-60", dict(numel=2 ** 60)),
            ("numel-0", dict(numel=0)), ("outside", dict(size=(3, 3))), ("kind-unknown", dict(kind="EvilStorage")),
            ("key-elsewhere", dict(key=text("../../etc/passwd"))), ("key-missing", dict(key=text("7"))),
            ("key-number", dict(key=number(0))), ("key-controls", dict(key=text("\x1b[2J"))),
            ("location-none", dict(location=b"N")), ("location-controls", dict(location=text("cuda:\x1b[0m"))),
            ("grad-text", dict(grad=text("yes"))), ("more-arguments", dict(more=b"NNN")), ("storage-none", dict(store=b"N")),
            ("nothing-with-huge-stride", dict(size=(0, 3), stride=(2 ** 62, 2 ** 62))),
            ("function-unknown", dict(fn=b"_rebuild_evil")), ("v3-without-dtype", dict(fn=b"_rebuild_tensor_v3"))):
        yield name, state_dict((text("w"), tensor()), (text("t"), tensor(**kw))), BREAKS
    yield "one-storage-two-types", with_w((text("t"), tensor(kind="IntStorage"))), BREAKS
    yield "views-overlap", with_w((text("t"), tensor(size=(3, 3), stride=(1, 1)))), OPENS
    yield "parameter-of-none", with_w((text("t"), b"ctorch._utils\n_rebuild_parameter\n(N\x88ccollections\nOrderedDict\n)RtR")), \
        OPENS


def zips():
    data, blobs = mini_parts()
    base = lambda **kw: [Entry("a/data.pkl", data, **kw.get("pkl", {})), Entry("a/data/0", blobs[0], **kw.get("d0", {})),
                         Entry("a/data/1", blobs[1], **kw.get("d1", {})), Entry("a/version", kw.get("version", b"3\n"))]
    more = lambda *e, **kw: archive(base() + list(e), **kw)
    yield "twice-data-pkl", more(Entry("a/data.pkl", with_w())), REFUSED
    yield "twice-version", more(Entry("a/version", b"3\n")), REFUSED
    yield "other-case", more(Entry("a/DATA.PKL", with_w())), BREAKS
    yield "other-prefix", more(Entry("b/data.pkl", with_w())), REFUSED
    yield "no-prefix", archive([Entry("data.pkl", data), Entry("version", b"3\n")]), REFUSED
    yield "absolute", archive([Entry("/data.pkl", data), Entry("/version", b"3\n")]), BREAKS
    yield "up-and-away", more(Entry("a/../../etc/x", b"x")), BREAKS
    yield "name-nul", more(Entry(b"a/data\0/7", b"x")), REFUSED
    yield "name-controls", more(Entry(b"a/\x1b[2J", b"x")), OPENS
    yield "name-60000", more(Entry("a/" + "n" * 60000, b"x")), REFUSED
    yield "name-empty", more(Entry("", b"x")), REFUSED
    yield "folder", more(Entry("a/data/", b"")), BREAKS
    yield "names-differ", archive(base(pkl=dict(local_name=b"a/data.pkX"))), REFUSED
    yield "crc-off", archive(base(pkl=dict(crc=1), d0=dict(crc=2))), OPENS
    yield "crc-0", archive(base(pkl=dict(crc=0), d0=dict(crc=0), d1=dict(crc=0))), OPENS
    yield "local-crc-off", archive(base(d0=dict(local_crc=5))), BREAKS
    yield "local-size-off", archive(base(d0=dict(local_size=5, local_packed=5))), BREAKS
    yield "size-2-32", archive(base(d0=dict(size=0xFFFFFFFE, packed=0xFFFFFFFE))), REFUSED
    yield "sizes-differ", archive(base(d0=dict(size=8))), REFUSED
    yield "deflated-pickle", archive([Entry("a/data.pkl", data, True)] + base()[1:]), OPENS
    yield "deflated-all", archive([Entry(e.name, e.data, True) for e in base()]), OPENS
    yield "deflate-lies", archive([Entry("a/data.pkl", data, True, size=len(data) + 1)] + base()[1:]), REFUSED
    yield "deflate-noise", archive([Entry("a/data.pkl", data, method=8, size=len(data) * 2)] + base()[1:]), REFUSED
    yield "bomb", archive([Entry("a/data.pkl", bytes(30 << 20), True)] + base()[1:]), REFUSED
    yield "bomb-claims-4G", archive([Entry("a/data.pkl", bytes(1 << 20), True, size=0xFFFFFFF0)] + base()[1:]), REFUSED
    yield "method-99", archive(base(pkl=dict(method=99))), REFUSED
    yield "encrypted", archive(base(pkl=dict(flags=1))), REFUSED
    yield "encrypted-locally", archive(base(pkl=dict(local_flags=1))), BREAKS
    yield "order-shuffled", archive(base()[::-1]), OPENS
    yield "entries-overlap", archive(base(d1=dict(at=45 + len(data)))), REFUSED
    yield "entries-are-one", archive(base(d1=dict(at=0))), REFUSED
    yield "second-end", archive(base()) + archive([Entry("a/data.pkl", with_w())] + base()[1:]), REFUSED
    yield "end-in-comment", more(comment=b"PK\x05\x06" + bytes(18)), REFUSED
    yield "comment", more(comment=b"made by hand"), OPENS
    yield "comment-controls", more(comment=b"\x1b[2J"), OPENS
    yield "comment-cut", more(comment=b"abc", comment_size=400), REFUSED
    yield "zip64-no-need", more(zip64=True), OPENS
    yield "zip64-entries-no-need", archive(base(d0=dict(zip64=True), pkl=dict(zip64=True)), zip64=True), OPENS
    yield "zip64-elsewhere", more(zip64=True, end64=2 ** 60), REFUSED
    yield "zip64-count-off", more(zip64=True, count64=2 ** 40), REFUSED
    yield "zip64-extra-short", archive(base(d0=dict(extra=struct.pack("<HHQ", 1, 8, 1), size=0xFFFFFFFF,
                                                    packed=0xFFFFFFFF))), REFUSED
    yield "extra-cut", archive(base(d0=dict(extra=b"\x01\x00\xff\xff"))), BREAKS
    yield "disks", more(disk=3), REFUSED
    yield "entry-on-disk-7", archive(base(d0=dict(disk=7))), REFUSED
    yield "count-less", more(count=2), REFUSED
    yield "count-more", more(count=9), REFUSED
    yield "count-65535", more(count=65535), REFUSED
    yield "directory-elsewhere", more(start=1 << 30), REFUSED
    yield "bytes-before", more(before=b"#!/bin/sh\n"), REFUSED
    yield "bytes-after", more(after=b"tail"), BREAKS
    yield "gap", more(gap=b"hidden" * 10), BREAKS
    yield "empty-archive", archive([]), REFUSED
    for v in (b"", b"0\n", b"11\n", b"xx", b"-3", b"3" * 5000):
        yield "version-" + (v[:4].decode().strip() or "empty"), archive(base(version=v)), REFUSED
    yield "version-10", archive(base(version=b"10\n")), OPENS
    yield "version-missing", archive(base()[:-1]), REFUSED
    yield "byteorder-big", more(Entry("a/byteorder", b"big")), OPENS
    yield "byteorder-odd", more(Entry("a/byteorder", b"pdp\x1b[2J")), BREAKS
    yield "format-version", more(Entry("a/.format_version", b"1"), Entry("a/.storage_alignment", b"64")), OPENS
    yield "serialization-id", more(Entry("a/.data/serialization_id", b"0" * 40)), OPENS
    yield "torchscript", more(Entry("a/constants.pkl", b"\x80\x02).")), BREAKS
    yield "record-short", archive(base(d0={})[:1] + [Entry("a/data/0", blobs[0][:5])] + base()[2:]), OPENS
    yield "record-long", archive(base()[:1] + [Entry("a/data/0", blobs[0] + b"tail")] + base()[2:]), OPENS
    whole = archive(base(), zip64=True)
    for part in range(1, 20):
        yield "cut-%d" % part, whole[:len(whole) * part // 20], REFUSED
    for back in (1, 21, 22, 23, 42, 98, 99):
        yield "cut-end-%d" % back, whole[:-back], REFUSED


def mini_parts():
    storages = []
    data = mini.pickle_of(good(), storages)
    return data, [s.bytes() for s in storages]


def safe(header, data=b"", length=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def safetensors():
    t = lambda a, b, dtype="U8", shape=None: {"dtype": dtype, "shape": [b - a] if shape is None else shape,
                                              "data_offsets": [a, b]}
    yield "good", safe({"w": t(0, 4)}, bytes(4)), OPENS
    yield "length-0", safe(b""), REFUSED
    yield "length-2-63", safe({"w": t(0, 4)}, bytes(4), 1 << 63), REFUSED
    yield "length-over", safe({"w": t(0, 4)}, bytes(4), 5000), REFUSED
    yield "no-json", safe(b"{nonsense"), REFUSED
    yield "array", safe(b"[1]"), REFUSED
    yield "twice", safe(b'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],'
                        b'"data_offsets":[1,2]}}', bytes(2)), REFUSED
    yield "overlap", safe({"v": t(0, 4), "w": t(2, 6)}, bytes(6)), REFUSED
    yield "hole", safe({"v": t(0, 2), "w": t(4, 6)}, bytes(6)), REFUSED
    yield "backwards", safe({"w": t(4, 0, shape=[4])}, bytes(4)), REFUSED
    yield "negative", safe({"w": t(-4, 0)}, bytes(4)), REFUSED
    yield "fraction", safe(b'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0.5,1]}}', bytes(1)), REFUSED
    yield "dtype", safe({"w": t(0, 4, "EVIL\x1b[2J")}, bytes(4)), REFUSED
    yield "shape-off", safe({"w": t(0, 4, shape=[5])}, bytes(4)), REFUSED
    yield "shape-2-64", safe({"w": t(0, 4, shape=[2 ** 32, 2 ** 32, 4])}, bytes(4)), REFUSED
    yield "dims-1000", safe({"w": t(0, 1, shape=[1] * 1000)}, bytes(1)), REFUSED
    yield "metadata-number", safe({"__metadata__": {"a": 1}, "w": t(0, 4)}, bytes(4)), REFUSED
    yield "metadata-controls", safe({"__metadata__": {"a\x1b[2J": "\x1b[2J"}, "w": t(0, 4)}, bytes(4)), OPENS
    yield "nested", safe(b'{"w":' + b"[" * 100000), REFUSED
    yield "key-controls", safe({"\x1b[2J": t(0, 4)}, bytes(4)), OPENS
    yield "bytes-after", safe({"w": t(0, 4)}, bytes(9)), REFUSED
    yield "cut", safe({"w": t(0, 4)}, bytes(3)), REFUSED


MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def legacy_file(obj=None, keys=b"\x80\x02]X\x01\x00\x00\x000a.", numel=6, data=bytes(24), protocol=1001,
                info=b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s."):
    obj = obj or state_dict((text("w"), tensor(store=storage()[:-2] + b"NtQ")))
    return MAGIC + b"\x80\x02M" + struct.pack("<H", protocol) + b"." + info + obj + keys + struct.pack("<q", numel) + data


def legacies():
    yield "good", legacy_file(), OPENS
    yield "magic-only", MAGIC, REFUSED
    yield "protocol", legacy_file(protocol=7), REFUSED
    yield "info-cut", (MAGIC + b"\x80\x02M\xe9\x03.\x80\x02}X"), REFUSED
    yield "info-list", legacy_file(info=b"\x80\x02]."), BREAKS
    yield "keys-none", legacy_file(keys=b"\x80\x02]."), BREAKS
    yield "keys-others", legacy_file(keys=b"\x80\x02]X\x01\x00\x00\x00za."), BREAKS
    yield "keys-dict", legacy_file(keys=b"\x80\x02}."), REFUSED
    yield "numel-negative", legacy_file(numel=-1), REFUSED
    yield "numel-2-62", legacy_file(numel=1 << 62), REFUSED
    yield "numel-other", legacy_file(numel=5, data=bytes(20)), BREAKS
    yield "cut", legacy_file(data=bytes(23)), OPENS  # and is flagged
    yield "source", legacy_file(obj=state_dict((text("m"), b"(" + text("module") + b"cm\nNet\n" + text("m.py") + text("import os") +
                                                b"tQ"), (text("w"), tensor(store=storage()[:-2] + b"NtQ")))), OPENS


def others():
    yield "lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n", REFUSED
    yield "html", b"<!DOCTYPE html><html><head><title>Sign in \x1b[2J</title></head></html>", REFUSED
    yield "empty", b"", REFUSED
    yield "one-byte", b"\x80", REFUSED
    yield "zeros", bytes(1 << 20), REFUSED
    yield "tar", b"data" + bytes(96) + b"0000644\0" * 3 + bytes(133) + b"ustar\x0000" + bytes(247), REFUSED
    yield "gzip", b"\x1f\x8b\x08" + bytes(100), REFUSED
    yield "elf", b"\x7fELF\x02\x01\x01" + bytes(100), REFUSED
    yield "png", b"\x89PNG\r\n\x1a\n" + bytes(100), REFUSED
    yield "npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}" + bytes(64), REFUSED
    yield "hdf5", b"\x89HDF\r\n\x1a\n" + bytes(100), REFUSED
    yield "script", b"#!/bin/sh\necho ran\n", REFUSED
    yield "json", b'{"weight_map": 3}', REFUSED
    yield "index-elsewhere", b'{"weight_map": {"a": "../../etc/passwd"}}', REFUSED
    yield "index-controls", b'{"weight_map": {"a\\u001b[2J": "x\\u001b[2J"}}', BREAKS
    yield "pickle-call", b"\x80\x02" + GLOBAL_CALLS["os-system"] + b".", REFUSED
    yield "noise", bytes((i * 7919 + i // 251) & 255 for i in range(65536)), REFUSED


def crafted():
    for name, data, verdict in pickles():
        yield "pickle-" + name, torch_zip(data, FLOATS), verdict
    for name, data, verdict in tensors():
        yield "tensor-" + name, torch_zip(data, FLOATS), verdict
    for kind, makers in (("zip", zips), ("safetensors", safetensors), ("legacy", legacies), ("other", others)):
        for name, data, verdict in makers():
            yield kind + "-" + name, data, verdict


# ---- mutations ----

def seeds():
    """(pickle or header, what makes a file of it)"""
    storages = []
    nested = mini.pickle_of({"epoch": 3, "model": good(), "optimizer": {"state": {0: [1, 2.5, None]}}, "names": ("a", True)},
                            storages)
    plain = lambda p: entries_of(data=p, storages=storages)
    module = b"cm\nA\n)\x81}(V_parameters\n}Vw\n" + tensor() + b"sV_buffers\n}V_modules\n}ub."
    old = state_dict((text("w"), tensor(store=storage()[:-2] + b"NtQ")))
    header = {"v": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
              "w": {"dtype": "U8", "shape": [3], "data_offsets": [8, 11]}, "__metadata__": {"format": "pt"}}
    return [(nested, lambda p: archive(plain(p))), (nested, lambda p: archive(plain(p), zip64=True)),
            (nested, lambda p: archive([Entry(e.name, e.data, True) for e in plain(p)])),
            (module, lambda p: torch_zip(p, FLOATS)),
            (with_w((text("x"), GLOBAL_CALLS["eval"])), lambda p: torch_zip(p, FLOATS)),
            (old, lambda p: legacy_file(obj=p)), (json.dumps(header).encode(), lambda p: safe(p, bytes(11)))]


def mutated(rng, makers):
    """The pickle or header is broken, or the file made of it."""
    part, make = rng.choice(makers)
    other, _ = rng.choice(makers)
    return make(mutate(rng, part, other)) if rng.randrange(3) else mutate(rng, make(part), other)


def mutate(rng, seed, other):
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(data)) if data else 0
        how = rng.randrange(9)
        if how == 0:
            data[at:at + 1] = bytes([rng.randrange(256)])
        elif how == 1 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            data[at:at + 4] = struct.pack("<I", rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 0x10000)))
        elif how == 3:
            data[at:at + 8] = struct.pack("<Q", rng.choice((0, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1)))
        elif how == 4:
            del data[at:]
        elif how == 5:
            del data[at:at + rng.randrange(1, 64)]
        elif how == 6:
            data[at:at] = data[at:at + rng.randrange(1, 64)]
        elif how == 7:
            data[at:] = other[rng.randrange(len(other)):]
        else:
            data[at:at] = bytes([rng.choice(b"().]}NtsuaebRQ012hqr\x81\x85\x86\x87\x93\x94\x95\x8a\x8b")])
    return bytes(data)

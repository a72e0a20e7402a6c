"""src/model/dtype_convert.c bit for bit against torch's own casts: every pattern of half, bfloat16 and the 8-bit floats,
and 600,000 float32 among them every halfway point, cast to each."""
import array
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SRC = os.path.join(HERE, "..", "..", "src")
FROM_TABLE = os.path.join(SRC, "model", "dtype.def")


def build(d):
    cc = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not cc:
        return None
    lib = os.path.join(d, "dtype.so")
    sources = [os.path.join(SRC, f) for f in ("model/dtype.c", "model/dtype_convert.c", "base/str.c")]
    subprocess.run([cc, "-std=gnu11", "-O2", "-D_GNU_SOURCE", "-ffp-contract=off", "-shared", "-fPIC", "-I", SRC,
                    *sources, "-lm", "-o", lib], check=True)
    return ctypes.CDLL(lib)


def numbers():
    """dtype name -> value of the enum, from the table itself."""
    names = []
    with open(FROM_TABLE) as f:
        for line in f:
            if line.startswith("QS_DTYPE("):
                names.append(line.split('"')[1])
    return {n: i + 1 for i, n in enumerate(names)}


def is_nan(bits32):
    return (bits32 & 0x7FFFFFFF) > 0x7F800000


def check_values(lib, code, name, d):
    with open(os.path.join(d, name + ".values"), "rb") as f:
        want = array.array("I", f.read())
    n = len(want)
    if n == 256:
        src = bytes(range(256))
    else:
        src = array.array("h", range(-32768, 32768)).tobytes()
    got = (ctypes.c_uint32 * n)()
    lib.qs_to_floats(code, src, ctypes.c_size_t(n), got)
    return sum(1 for a, b in zip(want, got) if a != b and not (is_nan(a) and is_nan(b)))


def check_casts(lib, code, name, d, floats):
    with open(os.path.join(d, name + ".bits"), "rb") as f:
        raw = f.read()
    n = len(floats)
    size = len(raw) // n
    doubles = array.array("d", floats)
    got = ctypes.create_string_buffer(n * size)
    lib.qs_from_doubles.restype = ctypes.c_bool
    address, _ = doubles.buffer_info()
    if not lib.qs_from_doubles(code, ctypes.c_void_p(address), ctypes.c_size_t(n), got):
        return n
    kind = "H" if size == 2 else "B"
    a, b = array.array(kind, raw), array.array(kind, got.raw)
    wrong = 0
    if a == b:
        return 0
    for x, y, v in zip(a, b, floats):
        if name == "float8_e4m3fn" and x & 0x7F == 0x7F and v == v:
            continue  # too large: NaN up to torch 2.6; later the largest number, as here
        if x != y and v == v:  # the sign and payload of a NaN differ between torch's own scalar and vector code
            wrong += 1
            if wrong < 4:
                print(f"  {name}: {v!r} becomes {y:#x}, torch says {x:#x}")
    return wrong


def run(lib, name, command):
    table = numbers()
    with tempfile.TemporaryDirectory(prefix="qatscope-dtype-") as d:
        r = subprocess.run([*command, os.path.join(HERE, "dtype_cases.py"), d], capture_output=True, text=True)
        done = [f[:-5] for f in os.listdir(d) if f.endswith(".bits")]
        if not done or r.returncode:
            print(f"SKIP {name}: {(r.stderr.strip().splitlines() or ['no torch'])[-1]}")
            return 0, 0
        floats = array.array("f")
        with open(os.path.join(d, "floats"), "rb") as f:
            floats.frombytes(f.read())
        wrong = 0
        for t in sorted(done):
            a, b = check_values(lib, table[t], t, d), check_casts(lib, table[t], t, d, floats)
            print(f"{name}: {t}: {a} values and {b} of {len(floats)} casts differ")
            wrong += a + b
        return wrong, 1


def main():
    base = os.environ.get("TORCH_ROOTS", os.path.join(os.path.expanduser("~"), ".cache", "torch-roots"))
    with tempfile.TemporaryDirectory(prefix="qatscope-dtype-") as d:
        lib = build(d)
        if not lib:
            print("SKIP: no C compiler")
            return 77
        wrong, ran = run(lib, "torch of this system", [sys.executable])
        for suite, version in (("trixie", "2.6"), ("sid", "2.14")):
            if os.geteuid() != 0 or not os.path.isdir(os.path.join(base, suite)):
                print(f"SKIP torch {version}: needs root and an unpacked {suite} (tests/oracle/torch-at {suite} --install)")
                continue
            w, r = run(lib, f"torch {version}", [os.path.join(HERE, "torch-at"), suite])
            wrong, ran = wrong + w, ran + r
    return 1 if wrong else 0 if ran else 77


if __name__ == "__main__":
    sys.exit(main())

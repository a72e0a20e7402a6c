"""Files of a big-endian machine: made from what torch saves by swapping its bytes, shown and saved as torch 2.6 reads them."""
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
QATSCOPE = os.environ.get("QATSCOPE", "")
NAMES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "uint8", "bool", "complex64", "complex128"]


def swapped(path):
    """Writes the twin of a random checkpoint. Runs under torch."""
    import torch
    torch.manual_seed(7)
    model = {n: (torch.randn(3, 4) * 9).to(getattr(torch, n)) for n in NAMES}
    optimizer = {"exp_avg": torch.randn(5), "step": torch.tensor(3)}
    owners = list(model.values()) + list(optimizer.values())  # of storages 0, 1, 2 ...
    model["view"] = model["float32"].t()
    model["column"] = model["int64"][:, 1]
    whole = io.BytesIO()
    torch.save({"model": model, "optimizer": optimizer}, whole)
    source = zipfile.ZipFile(whole)
    with zipfile.ZipFile(path, "w") as z:
        for name in source.namelist():
            data, base = source.read(name), name.split("/", 1)[1]
            if base.startswith("data/"):
                t = owners[int(base[5:])]
                n = t.element_size() // (2 if t.is_complex() else 1)
                data = b"".join(data[i:i + n][::-1] for i in range(0, len(data), n))
            z.writestr(name, b"big" if base == "byteorder" else data)


def expected(path):
    """What torch reads: [key, CRC] of the model's tensors. Runs under torch."""
    import torch
    import zlib
    from read_cases import bytes_of
    return [[k, zlib.crc32(bytes_of(v))] for k, v in torch.load(path, weights_only=False)["model"].items()]


def compare(a, b):
    """Is what torch reads of both the same, sharing too? Runs under torch."""
    import torch
    from deep_equal import deep_equal
    return deep_equal(torch.load(a, weights_only=False), torch.load(b, weights_only=False))


def under_torch(folder, *args):
    r = subprocess.run([os.path.join(HERE, "torch-at"), "trixie", os.path.abspath(__file__), *args], capture_output=True,
                       text=True, cwd=folder)
    if r.returncode != 0:
        print(r.stdout + r.stderr)
        raise SystemExit(1)
    return json.loads(r.stdout.splitlines()[-1])


def main():
    base = os.environ.get("TORCH_ROOTS", os.path.join(os.path.expanduser("~"), ".cache", "torch-roots"))
    if not QATSCOPE or os.geteuid() != 0 or not os.path.isdir(os.path.join(base, "trixie")):
        print("SKIP: needs QATSCOPE, root and tests/oracle/torch-at trixie --install")
        return 77
    with tempfile.TemporaryDirectory(prefix="qatscope-big-") as d:
        big, out = os.path.join(d, "big.pt"), os.path.join(d, "out.pt")
        want = under_torch(d, "--make", big)
        listing = subprocess.run([QATSCOPE, "ls", big, "--json", "--values"], capture_output=True, text=True, check=True)
        got = [[e["key"], e["crc32"]] for e in json.loads(listing.stdout)["entries"]]
        assert got == want, (got, want)
        subprocess.run([QATSCOPE, "convert", big, "-o", out, "-q"], check=True)
        why = under_torch(d, "--compare", big, out)
        assert why is None, why
        tensors = os.path.join(d, "out.safetensors")
        subprocess.run([QATSCOPE, "convert", big, "-o", tensors, "-q", "--drop-misfits"], check=True)
        listing = subprocess.run([QATSCOPE, "ls", tensors, "--json", "--values"], capture_output=True, text=True, check=True)
        values = dict(want)
        for e in json.loads(listing.stdout)["entries"]:
            assert e["crc32"] == values[e["key"]], e
    print("%d tensors as torch reads them, saved as .pt and as safetensors" % len(want))
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        swapped(sys.argv[2])
        print(json.dumps(expected(sys.argv[2])))
    elif sys.argv[1:2] == ["--compare"]:
        print(json.dumps(compare(sys.argv[2], sys.argv[3])))
    else:
        sys.exit(main())

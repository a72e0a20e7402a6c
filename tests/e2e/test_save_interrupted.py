"""A save that is ended by a signal leaves no file of its own, and the input as it was. Killed outright (SIGKILL) it can
only leave the temporary file: the target and the input are whole, and the next save works."""
import glob
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

import mini

QATSCOPE = os.environ.get("QATSCOPE", "")
MIB = 1 << 20
TENSORS, EACH = 8, 32 * MIB


def make(path):
    """As torch lays it out, so that the kernel copies all of it in a row."""
    storages = []
    tensors = {"t.%d" % i: mini.Tensor([], shape=(EACH,), numel=EACH, kind="Byte") for i in range(TENSORS)}
    data = mini.pickle_of(tensors, storages)
    with mini.TorchZip(path, "x") as z:
        z.add("data.pkl", data)
        for i in range(TENSORS):
            z.add("data/%d" % i, b"".join(bytes([i + k & 255]) * MIB for k in range(EACH // MIB)))
        z.add("version", b"3\n")


def start(folder, out):
    return subprocess.Popen([QATSCOPE, "apply", os.path.join(folder, "plan.json"), os.path.join(folder, "in.pt"), "-o", out, "-q"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def temporary(folder):
    return glob.glob(os.path.join(folder, ".*.qatscope")) + glob.glob(os.path.join(folder, ".qatscope-*"))


def interrupt(folder, out, sig, delay):
    p = start(folder, out)
    until = time.monotonic() + 30
    while not temporary(folder) and p.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(delay)
    p.send_signal(sig)
    status = p.wait(60)
    p.stderr.close()
    return status


def main():
    if not QATSCOPE:
        return 77
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="qatscope-stop-", dir=memory) as folder:
        source, out = os.path.join(folder, "in.pt"), os.path.join(folder, "out.pt")
        make(source)
        with open(os.path.join(folder, "plan.json"), "w") as f:
            f.write('{"format": "qatscope-plan", "version": 1, "actions": []}')
        stat = os.stat(source)
        before = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        stopped = 0
        index = os.path.join(folder, "out.safetensors.index.json")
        for sig, delay, out in ((signal.SIGINT, 0, out), (signal.SIGINT, 0.03, index), (signal.SIGINT, 0.1, out),
                                (signal.SIGTERM, 0, index), (signal.SIGTERM, 0.03, out), (signal.SIGTERM, 0.1, index),
                                (signal.SIGHUP, 0, out), (signal.SIGHUP, 0.03, index), (signal.SIGHUP, 0.1, out)):
            status = interrupt(folder, out, sig, delay)
            if temporary(folder):
                print(f"FAIL {sig.name} after {delay} s left {temporary(folder)}")
                return 1
            if status == 0:  # it was quicker
                for path in glob.glob(os.path.join(folder, "out*")):
                    os.unlink(path)
                continue
            stopped += 1
            if os.path.exists(out):
                print(f"FAIL {sig.name} after {delay} s: status {status}, and the target is there")
                return 1
        if not stopped:
            print("FAIL no save was interrupted")
            return 1
        out = os.path.join(folder, "out.pt")
        interrupt(folder, out, signal.SIGKILL, 0.05)
        stat = os.stat(source)
        if (stat.st_size, stat.st_mtime_ns, stat.st_ino) != before:
            print("FAIL the input was touched")
            return 1
        for path in temporary(folder):
            os.unlink(path)
        p = start(folder, out)
        error = p.communicate()[1].decode()
        if p.returncode not in (0, 1) or temporary(folder) or zipfile.ZipFile(out).testzip():
            print(f"FAIL the save after the killed one: {p.returncode} {error}")
            return 1
        print(f"{stopped} saves interrupted")
    return 0


if __name__ == "__main__":
    sys.exit(main())

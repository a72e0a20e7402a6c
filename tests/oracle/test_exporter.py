"""The exporter (as the binary prints it) describes a live model as it is, under every torch; qatscope reads what it
writes, prints it back the same, and says that the model's own state_dict loads."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
QATSCOPE = os.environ.get("QATSCOPE", "")
SUITES = {"1.7": "bullseye", "1.13": "", "2.6": "trixie", "2.14": "sid"}

FACTORY = '''
import sys
import torch
from torch import nn
try:
    import torch.ao.quantization as tq
except ImportError:
    import torch.quantization as tq


class Extra(nn.Module):
    def get_extra_state(self):
        return {"n": 1}

    def set_extra_state(self, state):
        pass


class MyFake(tq.FakeQuantize):
    pass


class Net(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.quant = tq.QuantStub()
        self.conv = nn.Conv2d(3, channels, 3)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(channels, 2)
        self.fc.weight.requires_grad_(False)
        self.add_module("none", None)
        self.extra = Extra()
        self.mine = MyFake(observer=tq.MovingAverageMinMaxObserver, quant_min=0, quant_max=255)
        self.register_buffer("hidden", torch.zeros(1), persistent=False)
        self.register_buffer("step", torch.tensor(3))
        self.empty = nn.Sequential()

    def forward(self, x):
        return self.fc(self.relu(self.bn(self.conv(self.quant(x)))).mean((2, 3)))


def make(channels, fused=True):
    torch.manual_seed(1)
    model = Net(channels).train()
    fuse = getattr(tq, "fuse_modules_qat", None) or tq.fuse_modules
    model = fuse(model, [["conv", "bn", "relu"]])
    weight = tq.FakeQuantize.with_args(observer=tq.MovingAveragePerChannelMinMaxObserver, quant_min=-128, quant_max=127,
        dtype=torch.qint8, qscheme=torch.per_channel_symmetric, reduce_range=False, ch_axis=0)
    plain = tq.QConfig(activation=tq.FakeQuantize.with_args(observer=tq.MovingAverageMinMaxObserver, quant_min=0,
        quant_max=255, reduce_range=True, averaging_constant=0.05), weight=weight)
    model.qconfig = tq.get_default_qat_qconfig("fbgemm") if fused else plain
    tq.prepare_qat(model, inplace=True)
    model(torch.randn(2, 3, 8, 8))
    model.tied = model.fc  # its quantizers are in two places, too
    return model


def write(base, channels, fused):
    import json
    model = make(channels, fused)
    state = model.state_dict()
    torch.save(state, base + ".pt")
    keys = [[k, list(v.shape) if isinstance(v, torch.Tensor) else None,
             str(v.dtype).replace("torch.", "") if isinstance(v, torch.Tensor) else None] for k, v in state.items()]
    with open(base + ".truth", "w") as f:
        json.dump({"keys": keys, "torch": torch.__version__, "buffers": [n for n, _ in model.named_buffers()],
                   "parameters": [n for n, _ in model.named_parameters()],
                   "versions": {k: v.get("version") for k, v in state._metadata.items()}}, f)
    for m in model.modules():
        m.qconfig = None  # partial functions of torch's: not every version can pickle them
    torch.save(model, base + ".module.pt")
    return model


if __name__ == "__main__":
    import exporter
    sys.modules["factory"] = sys.modules["__main__"]
    for c in (Net, Extra, MyFake):
        c.__module__ = "factory"
    write(sys.argv[1] + "/default", 5, True)
    exporter.export(write(sys.argv[1] + "/plain", 4, False), sys.argv[1] + "/plain.json")
'''


def python(version, script, folder, *args):
    if SUITES[version]:
        command = [os.path.join(HERE, "torch-at"), SUITES[version], os.path.join(folder, script)]
    else:
        command = [sys.executable, os.path.join(folder, script)]
    done = subprocess.run(command + list(args), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True)
    if done.returncode:
        sys.exit("torch %s, %s %s: %s" % (version, script, args, done.stdout))
    return done.stdout


def available(version):
    if not SUITES[version]:
        probe = subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__)"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, universal_newlines=True)
        return probe.stdout.startswith("1.13")
    roots = os.environ.get("TORCH_ROOTS", os.path.expanduser("~/.cache/torch-roots"))
    there = os.path.isdir(os.path.join(roots, SUITES[version])) or bool(os.environ.get("TORCH_FETCH"))
    return there and os.geteuid() == 0


def expect(what, got, want):
    if got != want:
        sys.exit("%s\n  got:  %r\n  want: %r" % (what, got, want))


def compare(name, manifest, truth, fused):
    expect(name + ": torch", manifest["torch"], truth["torch"])
    expect(name + ": model", manifest["model"], "factory.Net")
    entries = manifest["state_dict"]
    expect(name + ": keys, shapes, dtypes, in torch's order",
           [[e["key"], e.get("shape"), e.get("dtype")] for e in entries], truth["keys"])
    for e in entries:
        if e["key"].startswith("tied."):
            continue  # named_parameters() lists a tied module once
        kind = "parameter" if e["key"] in truth["parameters"] else "buffer" if e["key"] in truth["buffers"] else "extra"
        expect(name + ": kind of " + e["key"], e["kind"], kind)
    modules = manifest["modules"]
    expect(name + ": versions", {k: m["version"] for k, m in modules.items() if m}, truth["versions"])
    expect(name + ": a module in two places", {k: m["same_as"] for k, m in modules.items() if m and "same_as" in m},
           {k: "fc" + k[4:] for k in modules if k.startswith("tied")})
    expect(name + ": a child that is None", modules["none"], None)
    expect(name + ": ConvBn's eps", modules["conv"]["bn_eps"], 1e-3)
    expect(name + ": BatchNorm's eps", modules["conv.bn"]["bn_eps"], 1e-3)
    weight, own = modules["conv.weight_fake_quant"], modules["mine"]
    expect(name + ": scheme", weight["qscheme"], "per_channel_symmetric")
    expect(name + ": axis", weight["ch_axis"], 0)
    expect(name + ": dtype", weight["dtype"], "qint8")
    expect(name + ": range", [weight["quant_min"], weight["quant_max"]], [-128, 127])
    expect(name + ": observer", weight["observer"], "MovingAveragePerChannelMinMaxObserver")
    expect(name + ": fused", "Fused" in weight["class"], fused and "FusedMovingAvg" in str(modules))
    if not fused:
        expect(name + ": constant", modules["quant.activation_post_process"]["averaging_constant"], 0.05)
        expect(name + ": reduce_range", modules["quant.activation_post_process"]["reduce_range"], True)
    expect(name + ": eps", abs(weight["eps"] - 2.0 ** -23) < 1e-12, True)
    expect(name + ": base of a subclass", own["base"].endswith("fake_quantize.FakeQuantize"), True)
    expect(name + ": base of torch's own", "base" in weight, False)
    has_extra = any(e["key"] == "extra._extra_state" for e in entries)
    expect(name + ": extra state", modules["extra"].get("extra_state", False), has_extra)


def compare_pickled(name, base, manifest):
    """A manifest from the pickled module says what the exporter said of the live one."""
    done = subprocess.run([QATSCOPE, "manifest", base + ".module.pt"], stdout=subprocess.PIPE, check=True)
    pickled = json.loads(done.stdout)
    entries = [[e[k] for k in ("key", "shape", "dtype", "kind")] for e in pickled["state_dict"]]
    real = [[e[k] for k in ("key", "shape", "dtype", "kind")] for e in manifest["state_dict"] if "shape" in e]
    expect(name + ": pickled entries", entries, real)
    for path, module in pickled["modules"].items():
        live = manifest["modules"][path]
        for field in ("class", "version", "bn_eps", "quant_min", "quant_max", "dtype", "qscheme", "ch_axis",
                      "averaging_constant", "reduce_range", "observer"):
            # observers of 1.7 are of version 2 under the name that those of 1.8 have, which are of version 3
            if field == "version" and name.startswith("torch 1.7") and module["class"].endswith("Observer"):
                continue
            if field in module:
                expect("%s: pickled %s of %s" % (name, field, path), module[field], live.get(field))
    weight = pickled["modules"]["conv.weight_fake_quant"]
    for field in ("observer", "qscheme", "ch_axis", "dtype", "quant_min"):
        expect("%s: %s of a pickled quantizer" % (name, field), field in weight, True)
    expect(name + ": bn_eps of a pickled ConvBn", pickled["modules"]["conv"].get("bn_eps"), 1e-3)


def compare_settings(name, guessed, real):
    """Settings of quantizers as their numbers tell them: scheme and range are the model's."""
    told = [path for path, module in guessed.items() if "qscheme" in module]
    for leaf in ("quant.activation_post_process", "conv.weight_fake_quant", "fc.weight_fake_quant"):
        expect("%s: settings told of %s" % (name, leaf), leaf in told, True)
    for path in told:
        # with reduce_range torch 1.7's module says 0..255 while its observer computes with 0..127
        if real[path].get("reduce_range") and name.startswith("torch 1.7"):
            continue
        for field in ("dtype", "qscheme", "quant_min", "quant_max"):
            expect("%s: guessed %s of %s" % (name, field, path), guessed[path][field], real[path][field])
        if "channel" in real[path]["qscheme"]:
            expect("%s: guessed axis of %s" % (name, path), guessed[path]["ch_axis"], real[path]["ch_axis"])


def run(version, folder):
    exporter = subprocess.run([QATSCOPE, "manifest", "--exporter"], stdout=subprocess.PIPE, check=True).stdout
    with open(os.path.join(folder, "exporter.py"), "wb") as f:
        f.write(exporter)
    with open(os.path.join(folder, "factory.py"), "w") as f:
        f.write(FACTORY)
    # as a library, and from the command line with arguments for the factory
    python(version, "factory.py", folder, folder)
    python(version, "exporter.py", folder, "factory:make", "-o", os.path.join(folder, "default.json"), "5", "True")
    for kind in ("default", "plain"):
        name, base = "torch %s, %s" % (version, kind), os.path.join(folder, kind)
        manifest = json.load(open(base + ".json"))
        compare(name, manifest, json.load(open(base + ".truth")), kind == "default")
        command = [QATSCOPE, "check", base + ".pt", "-m", base + ".json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        expect(name + ": check", (done.returncode, done.stdout), (0, "<All keys matched successfully>\n"))
        # that other releases of torch would not take it may be said, and nothing else
        said = [line for line in done.stderr.splitlines() if not line.startswith("versions: ")]
        expect(name + ": words about it", said, [])
        compare_pickled(name, base, manifest)
        # what can be told from the checkpoint alone agrees with the model
        guessed = json.loads(subprocess.run([QATSCOPE, "manifest", base + ".pt"], stdout=subprocess.PIPE, check=True).stdout)
        expect(name + ": guessed keys", [e["key"] for e in guessed["state_dict"]], [e["key"] for e in manifest["state_dict"]])
        for path, module in guessed["modules"].items():
            real = manifest["modules"][path]
            expect(name + ": guessed version of " + path, module.get("version"), real["version"])
            if module["class"] and real["class"].startswith("torch.") and "activation_post_process" in path:
                expect(name + ": guessed class of " + path, module["class"].split(".")[-1], real["class"].split(".")[-1])
        compare_settings(name, guessed["modules"], manifest["modules"])


def main():
    if not QATSCOPE or not os.path.exists(QATSCOPE):
        print("SKIPPED: no qatscope binary")
        return 77
    ran = 0
    for version in os.environ.get("EXPORTER_TORCH", "1.13 1.7 2.6 2.14").split():
        if not available(version):
            print("torch %s: SKIPPED, not to be had here" % version)
            continue
        folder = tempfile.mkdtemp(prefix="qatscope-exporter-")
        try:
            run(version, folder)
            print("torch %s: the exporter describes the model as it is" % version)
            ran += 1
        finally:
            shutil.rmtree(folder)
    return 0 if ran else 77


if __name__ == "__main__":
    sys.exit(main())

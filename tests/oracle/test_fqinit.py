"""Values for missing keys: fresh ones equal what a new module of torch holds, observed ones what the model's own
weight quantizers hold after one forward pass, bit for bit, in every torch that tests/oracle/torch-at can run here.

    test_fqinit.py                        the test; exit 77 when the program or every torch is missing
    test_fqinit.py --worker DIR SEED      under some torch: write DIR/N/{a.pt,b.pt,manifest.json,bare.json,want.json}
"""
import json, os, struct, subprocess, sys, tempfile, warnings

HERE = os.path.dirname(os.path.abspath(__file__))


# ---- the worker: runs under the torch that is asked ----

def worker(out_dir, seed, exporter_path):
    warnings.filterwarnings("ignore")
    import importlib.util
    import torch
    import torch.nn as nn
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    version = tuple(int(x) for x in torch.__version__.split(".")[:2])
    new = version >= (1, 13)
    if new:
        import torch.ao.quantization as Q
        from torch.ao.quantization import observer as O, fake_quantize as F
        from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize as Learnable
    else:
        import torch.quantization as Q
        from torch.quantization import observer as O, fake_quantize as F
    spec = importlib.util.spec_from_file_location("exporter", exporter_path)
    exporter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(exporter)

    class Block(nn.Module):
        def __init__(self, i, o, eps):
            super().__init__()
            self.conv = nn.Conv2d(i, o, 3, padding=1, bias=i == 3)
            self.bn = nn.BatchNorm2d(o, eps=eps)
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(self.bn(self.conv(x)))

    class Net(nn.Module):
        def __init__(self, eps):
            super().__init__()
            self.quant, self.dequant = Q.QuantStub(), Q.DeQuantStub()
            self.a, self.b = Block(3, 8, eps), Block(8, 4, 1e-5)
            self.c, self.cbn = nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, eps=eps)
            self.d = nn.Conv2d(6, 6, 3, groups=3, padding=1)
            self.sig, self.tanh = nn.Sigmoid(), nn.Tanh()
            self.fc, self.fc2 = nn.Linear(6, 5), nn.Linear(5, 1)

        def forward(self, x):
            x = self.b(self.a(self.quant(x)))
            x = self.d(self.cbn(self.c(x))).mean([2, 3])
            return self.dequant(self.fc2(self.tanh(self.fc(self.sig(x)))))

    groups = [["a.conv", "a.bn", "a.act"], ["b.conv", "b.bn", "b.act"], ["c", "cbn"]]
    act = F.FakeQuantize.with_args(observer=O.MovingAverageMinMaxObserver, quant_min=0, quant_max=255,
                                   dtype=torch.quint8, qscheme=torch.per_tensor_affine)

    def plain(observer, **kw):
        return Q.QConfig(activation=act, weight=F.FakeQuantize.with_args(observer=observer, **kw))

    def configs():
        t, c = torch.per_tensor_symmetric, torch.per_channel_symmetric
        ta, ca = torch.per_tensor_affine, torch.per_channel_affine
        i8 = dict(dtype=torch.qint8, quant_min=-128, quant_max=127)
        u8 = dict(dtype=torch.quint8, quant_min=0, quant_max=255)
        yield "fbgemm", Q.get_default_qat_qconfig("fbgemm")
        yield "qnnpack", Q.get_default_qat_qconfig("qnnpack")
        yield "default", Q.default_qat_qconfig
        yield "minmax", plain(O.MinMaxObserver, qscheme=t, **i8)
        yield "affine", plain(O.MovingAverageMinMaxObserver, qscheme=ta, **i8)
        yield "affine u8", plain(O.MovingAverageMinMaxObserver, qscheme=ta, **u8)
        yield "per channel", plain(O.PerChannelMinMaxObserver, qscheme=c, ch_axis=0, **i8)
        yield "per channel affine", plain(O.MovingAveragePerChannelMinMaxObserver, qscheme=ca, ch_axis=0, **u8)
        yield "axis 1", plain(O.MovingAveragePerChannelMinMaxObserver, qscheme=c, ch_axis=1, **i8)
        yield "reduced", plain(O.MovingAverageMinMaxObserver, qscheme=t, reduce_range=True, **i8)
        if not new: return
        yield "reduced affine", plain(O.MovingAverageMinMaxObserver, qscheme=ta, reduce_range=True, **u8)
        yield "4 bit", plain(O.MovingAveragePerChannelMinMaxObserver, qscheme=c, ch_axis=0, dtype=torch.qint8,
                             quant_min=-8, quant_max=7)
        yield "narrow", Q.qconfig.default_symmetric_qnnpack_qat_qconfig
        yield "narrow per channel", Q.qconfig.default_per_channel_symmetric_qnnpack_qat_qconfig
        fused = F.FusedMovingAvgObsFakeQuantize.with_args
        yield "fused affine", Q.QConfig(activation=act, weight=fused(observer=O.MovingAverageMinMaxObserver, qscheme=ta, **i8))
        yield "fused u8", Q.QConfig(activation=act, weight=fused(
            observer=O.MovingAveragePerChannelMinMaxObserver, qscheme=ca, **u8))
        yield "learnable", Q.QConfig(activation=act, weight=Learnable.with_args(
            observer=O.MovingAverageMinMaxObserver, qscheme=t, **i8))

    def eager(qconfig, eps):
        net = Net(eps).train()
        (Q.fuse_modules_qat if new else Q.fuse_modules)(net, groups, inplace=True)
        net.qconfig = qconfig
        return Q.prepare_qat(net)

    def by_fx(qconfig, eps):
        from torch.ao.quantization.quantize_fx import prepare_qat_fx
        mapping = Q.get_default_qat_qconfig_mapping("fbgemm").set_global(qconfig)
        for kind in (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.ReLU): mapping.set_object_type(kind, qconfig)
        return prepare_qat_fx(Net(eps).train(), mapping, (torch.randn(2, 3, 8, 8),))

    def disturb(net):
        for m in net.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_var.uniform_(0.01, 3)
                m.running_mean.normal_()
                nn.init.normal_(m.weight)  # negative factors too
                nn.init.normal_(m.bias)

    def is_quant(key):
        return "fake_quant" in key or "activation_post_process" in key

    def record(state, only):
        out = {}
        for k, v in state.items():
            if only(k):
                v = v.detach().clone().contiguous()  # numpy would pin the storage
                out[k] = [str(v.dtype)[6:], list(v.shape), v.reshape(-1).numpy().tobytes().hex()]
        return out

    def write(name, make, bn_eps, half=False, drop_bn=False):
        d = os.path.join(out_dir, str(write.count))
        write.count += 1
        os.mkdir(d)
        net, twin = make(), make()
        manifest = exporter.manifest(net)
        fresh = record(net.state_dict(), lambda k: is_quant(k) or ".bn." in k)
        disturb(net)
        disturb(twin)
        state = net.state_dict()
        a = type(state)((k, v.clone()) for k, v in state.items() if not is_quant(k) and not (drop_bn and ".bn." in k))
        if drop_bn:
            for m in net.modules():
                if isinstance(m, nn.BatchNorm2d): m.reset_parameters()
        if half:
            a = type(a)((k, v.half() if v.is_floating_point() else v) for k, v in a.items())
            for k, v in net.state_dict().items():
                if k in a: v.copy_(a[k])
        torch.save({"state_dict": a}, os.path.join(d, "a.pt"))
        x = torch.randn(2, 3, 8, 8)
        twin(x)
        torch.save({"state_dict": twin.state_dict()}, os.path.join(d, "b.pt"))
        net(x)
        observed = record(net.state_dict(), lambda k: "weight_fake_quant" in k)
        for bare in (False, True):
            if bare:
                for m in manifest["modules"].values():
                    for attr in ("observer", "dtype", "qscheme", "quant_min", "quant_max", "ch_axis", "reduce_range",
                                 "averaging_constant", "eps", "bn_eps"):
                        m.pop(attr, None)
            with open(os.path.join(d, "bare.json" if bare else "manifest.json"), "w") as f: exporter.dump(manifest, f)
        with open(os.path.join(d, "want.json"), "w") as f:
            json.dump({"name": name, "fresh": fresh, "observed": observed, "bn_eps": bn_eps,
                       "infer": bn_eps == 1e-5,
                       "given": [k for k in state if not is_quant(k) and ".bn." not in k]}, f)

    write.count = 0
    for name, qconfig in configs():
        write(name, lambda: eager(qconfig, 1e-3), 1e-3)
        write(name, lambda: eager(qconfig, 1e-5), 1e-5, half=write.count % 4 == 1, drop_bn=write.count % 4 == 3)
        if new and name in ("fbgemm", "default", "axis 1", "4 bit", "fused affine"):
            write(name + " fx", lambda: by_fx(qconfig, 1e-5), 1e-5)
    print(torch.__version__)


# ---- the comparison ----

def read_dump(path):
    data, at, out = open(path, "rb").read(), 0, {}

    def number():
        nonlocal at
        at += 4
        return struct.unpack_from("<I", data, at - 4)[0]

    def text():
        nonlocal at
        n = number()
        at += n
        return data[at - n:at]

    while at < len(data):
        key = text().decode()
        if not number():
            out[key] = ("reason", text().decode())
            continue
        origin, dtype, ndim = text().decode(), text().decode(), number()
        shape = list(struct.unpack_from("<%dq" % ndim, data, at))
        at += 8 * ndim
        out[key] = (origin, [dtype, shape, text().hex()])
    return out


def fill(program, d, b, manifest, source, bn_eps="0"):
    out = os.path.join(d, "out.bin")
    subprocess.run([program, "--fill", os.path.join(d, "a.pt"), b, os.path.join(d, manifest), source, bn_eps, out],
                   check=True)
    return read_dump(out)


def differences(label, got, want, failures):
    for key, value in want.items():
        if key not in got: continue  # A has it
        if got[key][0] == "reason" or got[key][1] != value:
            failures.append(f"{label}: {key}: torch {value}, ours {got[key]}")
    return sum(k in got for k in want)


def check(program, d, label, failures):
    want = json.load(open(os.path.join(d, "want.json")))
    label += " " + want["name"]
    n = 0
    fresh = fill(program, d, "-", "manifest.json", "fresh")
    # what a fixed range is, only the operation before it tells; FX hides it, and then it is not made up
    hidden = {k for k, v in fresh.items() if v[0] == "reason" and "fixed scale" in v[1]}
    n += differences(label + " fresh", fresh, {k: v for k, v in want["fresh"].items() if k not in hidden}, failures)
    extra = {k for k, v in fresh.items() if v[0] != "reason"} - set(want["fresh"])
    if extra: failures.append(f"{label}: made up {extra}")
    if hidden and " fx" not in label: failures.append(f"{label}: not made: {hidden}")
    observed = fill(program, d, "-", "manifest.json", "observed")
    n += differences(label + " observed", observed, want["observed"], failures)
    n += differences(label + " activations", observed, {k: v for k, v in want["fresh"].items()
                     if "weight_fake_quant" not in k and k not in hidden}, failures)
    if want["infer"]:
        inferred = fill(program, d, os.path.join(d, "b.pt"), "bare.json", "observed", "1e-5")
        n += differences(label + " inferred", inferred, want["observed"], failures)
        asked = [v[0] for k, v in inferred.items() if "weight_fake_quant.scale" in k and ";" in v[0]]
        if asked and "axis 1" not in label: failures.append(f"{label}: inference was not sure: {asked[0]}")
        guessed = fill(program, d, "-", "bare.json", "observed")
        scales = [v[0] for k, v in guessed.items() if k.endswith("weight_fake_quant.scale")]
        if not all("assumed" in s for s in scales): failures.append(f"{label}: guessed in silence: {scales}")
    return n


def real_pair(program, failures):
    """The pair of a real YOLOv8n, where it is at hand: every weight quantizer, from the renamed float weights."""
    real = os.environ.get("QATSCOPE_REAL", os.path.join(HERE, "..", "..", "..", "shared", "real"))
    if not os.path.exists(os.path.join(real, "qat.truth.json")): return "SKIP the real pair: not at hand"
    import torch
    from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver
    truth = json.load(open(os.path.join(real, "qat.truth.json")))
    keys = {e["key"] for e in truth["state_dict"]}
    state = {}
    for k, v in torch.load(os.path.join(real, "yolov8n-sparseml-float.pt"))["model"].items():
        head, leaf = k.rsplit(".", 1)
        up = head[:-len(".bn")] if head.endswith(".bn") else head
        names = [k, f"{up}.conv.module.bn.{leaf}", f"{up}.conv.bn.{leaf}", f"{up}.module.{leaf}"]
        state[next(n for n in names if n in keys)] = v
    with tempfile.TemporaryDirectory() as d:
        torch.save({"state_dict": state}, os.path.join(d, "a.pt"))
        json.dump({"format": "qatscope-manifest", "version": 1, "model": "", "torch": truth["torch"],
                   "modules": truth["modules"], "state_dict": truth["state_dict"]}, open(os.path.join(d, "m.json"), "w"))
        got = fill(program, d, os.path.join(real, "yolov8n-sparseml-qat.pt"), "m.json", "observed", "0.001")
        estimated = fill(program, d, os.path.join(real, "yolov8n-sparseml-qat.pt"), "m.json", "datafree", "0.001")
    estimates = data_free(state, keys, estimated, failures)
    count = 0
    for key in sorted(k for k in keys if k.endswith("weight_fake_quant.scale")):
        block = key[:-len(".scale")]
        x = block[:-len(".weight_fake_quant")]
        w = state[x + ".weight"].float()
        if x + ".bn.weight" in state:
            std = torch.sqrt(state[x + ".bn.running_var"].float() + 1e-3)
            w = w * (state[x + ".bn.weight"].float() / std).reshape(-1, 1, 1, 1)
        fq = FakeQuantize(observer=MovingAverageMinMaxObserver, quant_min=-128, quant_max=127, dtype=torch.qint8,
                          qscheme=torch.per_tensor_symmetric)
        fq(w)
        want = {f"{block}.{k}": [str(v.dtype)[6:], list(v.shape), v.reshape(-1).numpy().tobytes().hex()]
                for k, v in fq.state_dict().items()}
        differences("real pair", got, want, failures)
        count += 1
    made = sum(v[0] != "reason" for v in got.values())
    if made != 1428: failures.append(f"real pair: {made} keys made, 1428 are missing")
    return f"real pair: {made} keys made, {count} weight quantizers equal torch's, {estimates} activations estimated"


def data_free(state, keys, got, failures):
    """Ranges of activations from BatchNorm: the formulas once more, in numpy's double, and torch's observer on them."""
    import numpy as np
    import torch
    from torch.ao.quantization import MinMaxObserver
    silu = lambda x: x / (1 + np.exp(-x))
    n = 0
    for conv in sorted(k[:-len(".bn.weight")] for k in state if k.endswith(".bn.weight")):
        act = (conv[:-len(".module")] if conv.endswith(".module") else conv).rpartition(".")[0] + ".act"
        gamma, beta = (state[f"{conv}.bn.{k}"].double().numpy() for k in ("weight", "bias"))
        lo, hi = beta - 6 * abs(gamma), beta + 6 * abs(gamma)
        dips = (lo <= -1.27846454) & (hi >= -1.27846454)
        after = np.where(dips, -0.27846454, np.minimum(silu(lo), silu(hi))), np.maximum(silu(lo), silu(hi))
        for block, (mn, mx) in ((f"{act}.quant", (lo, hi)), (f"{act}.module", after)):
            block += ".activation_post_process"
            if block + ".scale" not in keys: continue
            mn, mx = (torch.tensor(float(np.float32(v))) for v in (mn.min(), mx.max()))
            # B was quantized in -128..127: its zero points say so
            scale, zp = MinMaxObserver(dtype=torch.qint8)._calculate_qparams(mn, mx)
            want = {"scale": scale, "zero_point": zp.int(), "activation_post_process.min_val": mn,
                    "activation_post_process.max_val": mx}
            differences("data-free", got, {f"{block}.{k}": [str(v.dtype)[6:], list(v.shape), v.reshape(-1).numpy().tobytes().hex()]
                                           for k, v in want.items()}, failures)
            if ";" in got[block + ".scale"][0]: failures.append(f"data-free: {got[block + '.scale'][0]}")
            n += 1
    return n


def nvidia(program, failures):
    """_amax of weights, whole and per channel, as NVIDIA's quantizers keep it: max |w|."""
    import torch
    w = torch.randn(8, 4, 3, 3)
    shapes = {"a": [], "b": [8, 1, 1, 1], "c": [1, 4, 1, 1], "d": [1]}
    entries = [{"key": f"{k}.weight", "shape": list(w.shape), "dtype": "float32"} for k in shapes]
    entries += [{"key": f"{k}._weight_quantizer._amax", "shape": s, "dtype": "float32"} for k, s in shapes.items()]
    with tempfile.TemporaryDirectory() as d:
        torch.save({f"{k}.weight": w for k in shapes}, os.path.join(d, "a.pt"))
        json.dump({"format": "qatscope-manifest", "version": 1, "model": "", "torch": "2.6.0",
                   "modules": {"": {"class": "M", "version": 1}}, "state_dict": entries}, open(os.path.join(d, "m.json"), "w"))
        got = fill(program, d, "-", "m.json", "observed")
    want = {"a": w.abs().max(), "b": w.abs().amax((1, 2, 3)), "c": w.abs().amax((0, 2, 3)), "d": w.abs().max()}
    return differences("nvidia", got, {f"{k}._weight_quantizer._amax": ["float32", shapes[k], v.reshape(-1).numpy().tobytes().hex()]
                                       for k, v in want.items()}, failures)


def program_path():
    build = os.path.dirname(os.environ["QATSCOPE"]) if os.environ.get("QATSCOPE") else os.getcwd()
    for d in (os.environ.get("QATSCOPE_TEST_BIN", ""), os.path.join(build, "tests"), os.getcwd()):
        path = os.path.join(d, "unit_fqinit")
        if d and os.access(path, os.X_OK): return path
    return None


def main():
    program = program_path()
    if not program:
        print("SKIP: unit_fqinit is not built")
        return 77
    seed = int(os.environ.get("SEED", "20240607"))
    print("seed", seed)
    exporter = os.path.join(HERE, "..", "..", "src", "model", "exporter.py")
    failures, ran = [], 0
    for suite in ("bookworm", "bullseye", "trixie", "sid"):
        with tempfile.TemporaryDirectory() as d:
            copy = os.path.join(d, "exporter.py")
            open(copy, "w").write(open(exporter).read())  # a chroot does not see the sources
            args = [os.path.abspath(__file__), "--worker", d, str(seed), copy]
            command = [sys.executable] + args if suite == "bookworm" else [os.path.join(HERE, "torch-at"), suite] + args
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["?"])[-1]
                if suite == "bookworm" and "No module named" not in last or os.path.exists(os.path.join(d, "0")):
                    print(done.stderr)
                    return 1
                print(f"SKIP torch of {suite}: {last}")
                continue
            label, cases, n = "torch " + done.stdout.strip().splitlines()[-1], 0, 0
            while os.path.exists(os.path.join(d, str(cases), "want.json")):
                n += check(program, os.path.join(d, str(cases)), label, failures)
                cases += 1
            print(f"{label}: {cases} models, {n} values compared, {len(failures)} differ so far")
            ran += 1
    if ran:
        try:
            print(real_pair(program, failures))
            print(nvidia(program, failures), "NVIDIA ranges compared")
        except ImportError as e:
            print("SKIP the real pair:", e)
    for f in failures[:12]: print(f)
    return 1 if failures else 0 if ran else 77


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--worker":
        worker(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        sys.exit(0)
    sys.exit(main())

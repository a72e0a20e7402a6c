"""A QAT model of real torch that `qatscope fix --init observed` completed gives, in eval mode, the same output bit for
bit as the same model initialised by torch itself: weight quantizers by a forward pass, activation quantizers alike.

    test_fqinit_model.py                    the test; exit 77 when the binary or every torch is missing
    test_fqinit_model.py --make DIR EXPORTER     under some torch: DIR/N/{a.pt,m.json}
    test_fqinit_model.py --check DIR             under the same torch: load DIR/N/out.pt strictly and compare
"""
import os, subprocess, sys, tempfile, warnings

HERE = os.path.dirname(os.path.abspath(__file__))


def models():
    import torch
    import torch.nn as nn
    version = tuple(int(x) for x in torch.__version__.split(".")[:2])
    new = version >= (1, 13)
    if new:
        import torch.ao.quantization as Q
        from torch.ao.quantization import observer as O, fake_quantize as F
    else:
        import torch.quantization as Q
        from torch.quantization import observer as O, fake_quantize as F

    class Unit(nn.Module):
        def __init__(self, i, o, relu):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o, eps=1e-3)
            self.act = nn.ReLU() if relu else nn.Identity()

        def forward(self, x):
            return self.act(self.bn(self.conv(x)))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.quant, self.dequant = Q.QuantStub(), Q.DeQuantStub()
            self.stem = nn.Sequential(Unit(3, 16, True), Unit(16, 12, False))
            self.head, self.fc = nn.Conv2d(12, 8, 1), nn.Linear(8, 5)

        def forward(self, x):
            x = self.head(self.stem(self.quant(x))).mean([2, 3])
            return self.dequant(self.fc(x))

    act = F.FakeQuantize.with_args(observer=O.MovingAverageMinMaxObserver, quant_min=0, quant_max=255,
                                   dtype=torch.quint8, qscheme=torch.per_tensor_affine)
    weight = F.FakeQuantize.with_args
    i8 = dict(quant_min=-128, quant_max=127, dtype=torch.qint8)
    configs = [Q.get_default_qat_qconfig("fbgemm"), Q.get_default_qat_qconfig("qnnpack"),
               Q.QConfig(activation=act, weight=weight(observer=O.MovingAverageMinMaxObserver,
                                                       qscheme=torch.per_tensor_affine, **i8)),
               Q.QConfig(activation=act, weight=weight(observer=O.PerChannelMinMaxObserver,
                                                       qscheme=torch.per_channel_symmetric, ch_axis=0, **i8))]
    for n, config in enumerate(configs):
        torch.manual_seed(n)
        net = Net().train()
        fuse = Q.fuse_modules_qat if new else Q.fuse_modules
        fuse(net, [["stem.0.conv", "stem.0.bn", "stem.0.act"], ["stem.1.conv", "stem.1.bn"]], inplace=True)
        net.qconfig = config
        Q.prepare_qat(net, inplace=True)
        for m in net.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_var.uniform_(0.1, 2)
                m.running_mean.normal_()
                nn.init.normal_(m.weight)
        yield n, net, Q


def is_quant(key):
    return "fake_quant" in key or "activation_post_process" in key


def make(out_dir, exporter_path):
    import importlib.util
    import torch
    spec = importlib.util.spec_from_file_location("exporter", exporter_path)
    exporter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(exporter)
    for n, net, _ in models():
        os.mkdir(os.path.join(out_dir, str(n)))
        exporter.export(net, os.path.join(out_dir, str(n), "m.json"))
        state = net.state_dict()
        for key in list(state):
            if is_quant(key): del state[key]
        torch.save({"state_dict": state}, os.path.join(out_dir, str(n), "a.pt"))


def check(out_dir):
    import torch
    torch.set_num_threads(1)
    checked = 0
    for n, net, Q in models():
        plain = {k: v.clone() for k, v in net.state_dict().items() if not is_quant(k)}
        x = torch.randn(4, 3, 10, 10)
        net(x)  # torch initialises: every quantizer sees its tensor
        with torch.no_grad():
            for k, v in net.state_dict().items():
                if k in plain: v.copy_(plain[k])  # the statistics as they were
        ours = [m for i, m, _ in models() if i == n][0]
        state = torch.load(os.path.join(out_dir, str(n), "out.pt"))["state_dict"]
        ours.load_state_dict(state, strict=True)
        theirs = net.state_dict()
        for k, v in ours.state_dict().items():
            if "weight_fake_quant" in k and not (v.shape == theirs[k].shape and bool((v == theirs[k]).all())):
                sys.exit("model %d: %s: torch %s, ours %s" % (n, k, theirs[k], v))
        for (name, a), (_, b) in zip(ours.named_modules(), net.named_modules()):
            if name.endswith("activation_post_process") and "weight_fake_quant" not in name:
                a.load_state_dict(b.state_dict())  # activations alike
        outputs = []
        for m in (ours, net):
            m.eval()
            m.apply(Q.disable_observer)
            with torch.no_grad():
                outputs.append(m(x))
        if not bool(torch.isfinite(outputs[0]).all()) or outputs[0].abs().max() == 0: sys.exit("model %d: dead" % n)
        if outputs[0].numpy().tobytes() != outputs[1].numpy().tobytes(): sys.exit("model %d: outputs differ" % n)
        checked += 1
    print("torch %s: %d models give equal outputs" % (torch.__version__, checked))


def main():
    binary = os.environ.get("QATSCOPE", "")
    if not os.access(binary, os.X_OK):
        print("SKIP: QATSCOPE does not name the binary")
        return 77
    ran = 0
    for suite in ("bookworm", "bullseye", "trixie", "sid"):
        with tempfile.TemporaryDirectory() as d:
            exporter = os.path.join(d, "exporter.py")
            open(exporter, "w").write(open(os.path.join(HERE, "..", "..", "src", "model", "exporter.py")).read())

            def under_torch(*args):
                command = [sys.executable] if suite == "bookworm" else [os.path.join(HERE, "torch-at"), suite]
                return subprocess.run(command + [os.path.abspath(__file__)] + list(args), stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, universal_newlines=True)

            made = under_torch("--make", d, exporter)
            if made.returncode:
                last = (made.stderr.strip().splitlines() or ["?"])[-1]
                if os.path.exists(os.path.join(d, "0")):
                    print(made.stderr)
                    return 1
                print("SKIP torch of %s: %s" % (suite, last))
                continue
            for n in sorted(x for x in os.listdir(d) if x.isdigit()):
                one = os.path.join(d, n)
                fixed = subprocess.run([binary, "fix", one + "/a.pt", "-m", one + "/m.json", "-o", one + "/out.pt",
                                        "--init", "observed"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       universal_newlines=True)
                if fixed.returncode:
                    print(fixed.stdout)
                    return 1
            checked = under_torch("--check", d)
            print(checked.stdout, end="")
            if checked.returncode:
                print(suite, checked.stderr)
                return 1
            ran += 1
    return 0 if ran else 77


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    if len(sys.argv) > 1 and sys.argv[1] == "--make":
        make(sys.argv[2], sys.argv[3])
    elif len(sys.argv) > 1 and sys.argv[1] == "--check":
        check(sys.argv[2])
    else:
        sys.exit(main())

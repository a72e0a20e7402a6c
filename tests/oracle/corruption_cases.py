"""Models of many builds, and what happens to their state dicts on the way to somebody else: for test_corruptions.py."""
import collections
import re

import torch
import torch.ao.quantization as tq
from torch import nn
from torch.ao.quantization.quantize_fx import prepare_qat_fx

try:
    import torchvision
except ImportError:
    torchvision = None

# ---- models ----


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        self.conv2, self.bn2 = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(x + self.bn2(self.conv2(self.act(self.bn1(self.conv1(x))))))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.layer1 = nn.Sequential(*[Block(8) for _ in range(3)])
        self.down = nn.Conv2d(8, 16, 1)
        self.layer2 = nn.Sequential(*[Block(16) for _ in range(4)])
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(self.layer2(self.down(self.layer1(self.stem(x)))).mean((2, 3)))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 5)
        self.head = nn.Linear(16, 20)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(c, c) for _ in range(4))


class GptBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(c), Attention(c), nn.LayerNorm(c)
        self.mlp = nn.Sequential(nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c))


class Gpt(nn.Module):
    def __init__(self, blocks=6, c=12):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(30, c), nn.Embedding(20, c)
        self.h = nn.ModuleList([GptBlock(c) for _ in range(blocks)])
        self.ln_f, self.lm_head = nn.LayerNorm(c), nn.Linear(c, 30, bias=False)


class Conv(nn.Module):
    def __init__(self, i, o, k=1):
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv2d(i, o, k, padding=k // 2, bias=False), nn.BatchNorm2d(o), nn.SiLU()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.cv1, self.cv2 = Conv(c, c, 3), Conv(c, c, 3)

    def forward(self, x):
        return x + self.cv2(self.cv1(x))


class C2f(nn.Module):
    def __init__(self, i, o, n):
        super().__init__()
        self.cv1, self.cv2 = Conv(i, o), Conv(o, o)
        self.m = nn.ModuleList(Bottleneck(o) for _ in range(n))

    def forward(self, x):
        x = self.cv1(x)
        for block in self.m:
            x = block(x)
        return self.cv2(x)


class Detect(nn.Module):
    def __init__(self, c, classes):
        super().__init__()
        self.cv2 = nn.ModuleList(nn.Sequential(Conv(c, c, 3), Conv(c, c, 3), nn.Conv2d(c, 8, 1)) for _ in range(3))
        self.cv3 = nn.ModuleList(nn.Sequential(Conv(c, c, 3), Conv(c, c, 3), nn.Conv2d(c, classes, 1)) for _ in range(3))

    def forward(self, x):
        return sum(m(x).mean() for m in self.cv2) + sum(m(x).mean() for m in self.cv3)


class Yolo(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(Conv(3, 8, 3), Conv(8, 8, 3), C2f(8, 8, 1), Conv(8, 12, 3), C2f(12, 12, 2),
                                   nn.Upsample(scale_factor=1), Conv(12, 12, 3), C2f(12, 12, 1), Detect(12, 5))

    def forward(self, x):
        return self.model(x)


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        c = [4, 6, 8, 10]
        self.downs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1),
                          nn.BatchNorm2d(b)) for a, b in zip([3] + c, c))
        self.ups = nn.ModuleList(nn.Sequential(nn.Conv2d(b, a, 3, padding=1), nn.BatchNorm2d(a)) for a, b in zip(c, c[1:]))
        self.outc = nn.Conv2d(4, 1, 1)

    def forward(self, x):
        for down in self.downs:
            x = down(x)
        for up in reversed(self.ups):
            x = up(x)
        return self.outc(x)


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(20, 8)
        self.encoder, self.decoder = nn.LSTM(8, 8, num_layers=3, bidirectional=True), nn.GRU(16, 8, num_layers=2)
        self.proj = nn.Linear(8, 20)


def prepared(net, rng):
    net.train()
    net.qconfig = rng.choice([tq.get_default_qat_qconfig("fbgemm"), tq.get_default_qat_qconfig("qnnpack"),
                              tq.default_qat_qconfig])
    net = tq.prepare_qat(net)
    net(torch.randn(2, 3, 32, 32))
    return net


def fused(rng):
    net = Residual().train()
    pairs = [["stem.0", "stem.1", "stem.2"]]
    for layer, n in (("layer1", 3), ("layer2", 4)):
        pairs += [["%s.%d.%s%d" % (layer, i, m, k) for m in ("conv", "bn")] for i in range(n) for k in (1, 2)]
    return prepared(tq.fuse_modules_qat(net, pairs), rng)


def traced(net):
    """As FX prepares it: BatchNorms in their convs, activations' quantizers numbered at the top."""
    x = torch.randn(2, 3, 32, 32)
    net = prepare_qat_fx(net.train(), tq.get_default_qat_qconfig_mapping("fbgemm"), (x,))
    net(x)
    return net


def observed(net):
    """Prepared for calibration after training: observers, and no weight is quantized yet."""
    net.eval()
    net.qconfig = tq.get_default_qconfig("fbgemm")
    net = tq.prepare(net)
    net(torch.randn(2, 3, 32, 32))
    return net


def ways_to_quantize(rng):
    """One model of every kind that torch makes of it: between any two of them a checkpoint may have to go."""
    made = {"float": Residual(), "QAT": prepared(Residual(), rng), "fused QAT": fused(rng), "traced QAT": traced(Residual()),
            "calibrated": observed(Residual())}
    if torchvision:
        small = torchvision.models.MobileNetV2
        made.update({"mobilenet": small(width_mult=0.2), "mobilenet QAT": prepared(small(width_mult=0.2), rng),
                     "mobilenet traced QAT": traced(small(width_mult=0.2)), "mobilenet calibrated": observed(small(width_mult=0.2))})
    return made


NETS = {
    "residual": lambda rng: Residual(),
    "residual QAT": lambda rng: prepared(Residual(), rng),
    "fused QAT": fused,
    "transformer": lambda rng: Transformer(),
    "gpt": lambda rng: Gpt(),
    "yolo": lambda rng: Yolo(),
    "yolo QAT": lambda rng: prepared(Yolo(), rng),
    "unet": lambda rng: Unet(),
    "unet QAT": lambda rng: prepared(Unet(), rng),
    "translator": lambda rng: Translator(),
}
if torchvision:
    NETS.update({
        "mobilenet": lambda rng: torchvision.models.MobileNetV2(width_mult=0.2),
        "mobilenet QAT": lambda rng: prepared(torchvision.models.MobileNetV2(width_mult=0.2), rng),
        "shufflenet": lambda rng: torchvision.models.ShuffleNetV2([2, 3, 2], [8, 16, 32, 48, 64]),
        "densenet": lambda rng: torchvision.models.DenseNet(8, (2, 3, 2), 16),
        "vit": lambda rng: torchvision.models.VisionTransformer(16, 8, 4, 2, 16, 32, num_classes=5),
    })

# The same weights under the names of another project: nothing but place and shape tells which is which.
OTHER_PROJECTS = {"gpt": [(r"^wte", "embed_tokens"), (r"^wpe", "embed_positions"), (r"^h\.", "decoder.layers."),
                          (r"ln_1", "self_attn_layer_norm"), (r"attn\.(.)_proj", r"self_attn.\1"), (r"attn\.out_proj", "self_attn.o"),
                          (r"ln_2", "final_layer_norm"), (r"mlp\.0", "fc1"), (r"mlp\.2", "fc2"), (r"^ln_f", "layer_norm"),
                          (r"^lm_head", "output_projection")],
                  "residual": [(r"^stem\.0", "conv1"), (r"^stem\.1", "conv1.norm"), (r"^layer1", "res2"), (r"^layer2", "res3"),
                               (r"\.bn(\d)\.", r".conv\1.norm."), (r"^down", "res3_shortcut"), (r"^fc", "linear")]}

# ---- state dicts ----


def with_own_values(state):
    """The same keys and shapes; every tensor of numbers has values no other has."""
    out = collections.OrderedDict()
    for n, (key, value) in enumerate(state.items()):
        if value.is_floating_point() and value.numel() and not key.endswith(("scale", "eps", "min_val", "max_val")):
            value = value + torch.randn_like(value) * 0.01
        elif key.endswith("scale"):
            value = value * (1 + 0.001 * n)
        out[key] = value.clone()
    out._metadata = state._metadata
    return out


def is_quant(key):
    return "fake_quant" in key or "activation_post_process" in key


class Corrupted:
    """A state dict on its way down, and the name every entry had (None: it never had one)."""

    def __init__(self, state):
        self.state, self.was, self.log = state, list(state), []
        self.whole = True  # nothing is gone that no repair can bring back

    def rename(self, f):
        out = collections.OrderedDict((f(k), v) for k, v in self.state.items())
        assert len(out) == len(self.state)
        if hasattr(self.state, "_metadata"):
            out._metadata = collections.OrderedDict((f(k + ".")[:-1] if k else k, v) for k, v in self.state._metadata.items())
        self.state = out

    def keep(self, wanted):
        self.arrange([(k, w) for k, w in zip(self.state, self.was) if wanted(k)])

    def arrange(self, pairs):
        out = collections.OrderedDict((k, self.state[k]) for k, _ in pairs)
        if hasattr(self.state, "_metadata"):
            out._metadata = self.state._metadata
        self.state, self.was = out, [w for _, w in pairs]

    def add(self, key, value):
        if key not in self.state:
            self.state[key] = value
            self.was.append(None)

    def modules(self):
        return sorted({".".join(k.split(".")[:i]) for k in self.state for i in range(1, k.count(".") + 1)})


# ---- what happens to them ----


def prefix(c, rng):
    p = rng.choice(["module.", "_orig_mod.", "model.", "module._orig_mod.", "net.", "ema.module.", "backbone.", "student.",
                    "generator.", "model.model.", "_forward_module."])
    c.rename(lambda k: p + k)
    return p


def infix(c, rng):
    m, w = rng.choice(c.modules() or [""]), rng.choice(["module", "wrapped", "_fsdp_wrapped_module", "inner"])
    if m:
        c.rename(lambda k: m + "." + w + k[len(m):] if k.startswith(m + ".") else k)
    return m + "." + w


def infix_everywhere(c, rng):
    """Around every layer of one name."""
    layers = sorted({k.rsplit(".", 1)[0] for k in c.state if k.count(".") and k.endswith(".weight")})
    words = sorted({m.rsplit(".", 1)[-1] for m in layers if not m.rsplit(".", 1)[-1].isdigit()})
    if not words:
        return None
    word, w = rng.choice(words), rng.choice(["module", "inner", "layer", "base_layer"])
    inside = {m for m in layers if m.rsplit(".", 1)[-1] == word}
    c.rename(lambda k: k.rsplit(".", 1)[0] + "." + w + "." + k.rsplit(".", 1)[1] if k.rpartition(".")[0] in inside else k)
    return word + "." + w


def renumber(c, rng):
    lists = sorted({k[:k.index("." + p + ".")] for k in c.state for p in k.split(".") if p.isdigit() and "." + p + "." in k})
    if not lists:
        return None
    m, step, start = rng.choice(lists), rng.choice([1, 2]), rng.choice([0, 1, 2])

    def f(k):
        parts = k[len(m) + 1:].split(".")
        if not k.startswith(m + ".") or not parts[0].isdigit():
            return k
        return ".".join([m, str(int(parts[0]) * step + start)] + parts[1:])
    c.rename(f)
    return "%s.N -> N*%d+%d" % (m, step, start)


def drop_quantizers(c, rng):
    below = rng.choice([""] + sorted({".".join(k.split(".")[:2]) + "." for k in c.state if is_quant(k) and k.count(".") > 1}))
    c.keep(lambda k: not (is_quant(k) and k.startswith(below)))
    return below


def swap_family(c, rng):
    """Quantizers of another library in the place of torch's, or in a float model."""
    kinds = {
        "pytorch-quantization": {"_input_quantizer._amax": [], "_weight_quantizer._amax": [2, 1, 1, 1]},
        "modelopt": {"input_quantizer._amax": [], "weight_quantizer._amax": [2, 1]},
        "brevitas": {"weight_quant.tensor_quant.scaling_impl.value": []},
        "nncf": {"pre_ops.0.op.scale": [2, 1, 1, 1], "pre_ops.0.op.signed_tensor": [1]},
        "observers": {"activation_post_process.min_val": [], "activation_post_process.max_val": []},
    }
    name = rng.choice(sorted(kinds))
    owners = sorted({k[:k.index(".weight_fake_quant")] for k in c.state if ".weight_fake_quant" in k} or
                    {k[:-len(".weight")] for k, v in c.state.items() if k.endswith(".weight") and v.dim() > 1})
    c.keep(lambda k: not is_quant(k))
    for m in owners:
        for key, shape in kinds[name].items():
            c.add(m + "." + key, torch.rand(shape))
    return name


def lose_metadata(c, rng):
    c.state = collections.OrderedDict(c.state.items())
    return ""


def underscores(c, rng):
    if len({k.replace(".", "_") for k in c.state}) == len(c.state):
        c.rename(lambda k: k.replace(".", "_"))
    return ""


def rename_module(c, rng):
    tops = sorted({k.split(".")[0] for k in c.state if "." in k})
    if not tops:
        return None
    old, new = rng.choice(tops), rng.choice(["enc", "body", "features", "trunk"])
    if not any(k.startswith(new + ".") for k in c.state):
        c.rename(lambda k: new + k[len(old):] if k.startswith(old + ".") else k)
    return old + " -> " + new


def rename_word(c, rng):
    """One word in all names, inside of them."""
    words = sorted({p for k in c.state for p in k.split(".")[1:-1] if not p.isdigit() and not is_quant(k)})
    if not words:
        return None
    word = rng.choice(words)
    new = word + rng.choice(["_", "_layer", "Net"])
    c.rename(lambda k: ".".join(new if p == word and i else p for i, p in enumerate(k.split("."))))
    return word + " -> " + new


def unfuse(c, rng):
    """A BatchNorm beside its conv where the model has it inside."""
    def f(k):
        m = re.match(r"(.*)conv(\d)\.bn\.(.*)$", k)
        if m:
            return "%sbn%s.%s" % m.groups()
        m = re.match(r"(.*stem\.)0\.bn\.(.*)$", k)
        return "%s1.%s" % m.groups() if m else k
    if len({f(k) for k in c.state}) < len(c.state):
        return None
    c.rename(f)
    return ""


def old_names(c, rng):
    new = {"weight": "gamma", "bias": "beta"}

    def f(k):
        owner, _, leaf = k.rpartition(".")
        return owner + "." + new.get(leaf, leaf) if owner.endswith("norm") or "ln_" in owner else k
    c.rename(f)
    return ""


def scalars_of_one(c, rng):
    for k, v in c.state.items():
        if v.dim() == 0 and is_quant(k):
            c.state[k] = v.reshape(1)
    return ""


def drop_counters(c, rng):
    c.keep(lambda k: not k.endswith("num_batches_tracked"))
    return ""


def drop_module(c, rng):
    modules = c.modules()
    if not modules:
        return None
    m = rng.choice(modules)
    c.keep(lambda k: not k.startswith(m + "."))
    c.whole = False
    return m


def shuffle(c, rng):
    pairs = list(zip(c.state, c.was))
    rng.shuffle(pairs)
    c.arrange(pairs)
    return ""


def profile(c, rng):
    c.add("total_ops", torch.zeros(1, dtype=torch.float64))
    return ""


def company(c, rng):
    """Something of the trainer's beside the model."""
    key, value = rng.choice([("loss_fn.pos_weight", torch.randn(5)), ("val_acc.correct", torch.tensor(3)),
                             ("queue_ptr", torch.tensor([5])), ("aux_head.weight", torch.randn(7, 9))])
    c.add(key, value)
    return key


KINDS = [prefix, prefix, infix, infix, infix_everywhere, renumber, renumber, drop_quantizers, swap_family, lose_metadata,
         underscores, rename_module, rename_word, unfuse, old_names, scalars_of_one, drop_counters, drop_module, shuffle,
         profile, company]

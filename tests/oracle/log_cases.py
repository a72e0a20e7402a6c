"""Load errors of the torch at hand, in logs, and what they say.

usage: log_cases.py DIR SEED COUNT

DIR/N.log is a training log, DIR/N.want what is to be read from it: lines "model NAME", "missing KEY", "unexpected KEY",
"mismatch KEY CHECKPOINT-SHAPE MODEL-SHAPE" (shapes as 3x4, "[]" for a scalar), and "printed N", the missing keys with
repetitions.
"""
import collections
import html
import json
import os
import random
import re
import sys
import textwrap
import traceback

import torch
import torch.nn as nn

VERSION = tuple(int(x) for x in torch.__version__.split("+")[0].split("a")[0].split(".")[:2])


class Block(nn.Module):
    def __init__(self, rng, depth):
        super().__init__()
        c = rng.randint(1, 4)
        self.conv = nn.Conv2d(c, c, 1, bias=rng.random() < 0.5)
        self.bn = nn.BatchNorm2d(c)
        for i in range(rng.randint(0, 2) if depth else 0):
            self.add_module(rng.choice(["cv%d", "m_%d", "layer-%d"]) % i, Block(rng, depth - 1))


def qat(net):
    q = torch.ao.quantization if VERSION >= (1, 11) else torch.quantization
    net = q.QuantWrapper(net)
    net.qconfig = q.get_default_qat_qconfig("fbgemm")
    net.train()
    q.prepare_qat(net, inplace=True)
    return net


def damage(rng, sd):
    out = collections.OrderedDict()
    for k, v in sd.items():
        chance = rng.random()
        if chance < 0.15:
            continue
        if chance < 0.25:
            k = rng.choice(["module.", "model.", "x_"]) + k
        elif chance < 0.35 and v.dim():
            v = torch.zeros([d + 1 for d in v.shape], dtype=v.dtype)
        out[k] = v
    out._metadata = getattr(sd, "_metadata", None)
    return out


def shape(s):
    return "x".join(str(d) for d in s) or "[]"


def case(rng):
    """The text of a failure, and its parts taken from where torch keeps them."""
    torch.manual_seed(rng.randrange(1 << 30))
    net = Block(rng, 3)
    sd = net.state_dict()
    if rng.random() < 0.4:
        net = qat(Block(rng, 2))
    sd = damage(rng, net.state_dict() if rng.random() < 0.5 else sd)
    parts = {}

    def spy(module, errors):
        missing, unexpected, errs = [], [], []
        metadata = getattr(sd, "_metadata", None)

        def load(m, prefix=""):
            local = {} if metadata is None else metadata.get(prefix[:-1], {})
            m._load_from_state_dict(sd.copy(), prefix, local, True, missing, unexpected, errs)
            for name, child in m._modules.items():
                if child is not None:
                    load(child, prefix + name + ".")
        load(module)
        return missing, unexpected, errs

    try:
        net.load_state_dict(sd)
        return None
    except RuntimeError:
        text = traceback.format_exc()
    parts = spy(net, None)
    return type(net).__name__, parts, text


# ---- what the tools around a training make of a message ----

def pieces(text, width):
    """(piece, is the last of its line)"""
    for line in text.split("\n"):
        starts = list(range(0, len(line), width)) or [0]
        for i in starts:
            yield line[i:i + width], i == starts[-1]


def each_line(*prefixes):
    """Before every line, and before every piece of a long one."""
    def wrap(rng, text):
        prefix = rng.choice(prefixes)
        return "\n".join(prefix + p for p, _ in pieces(text, rng.choice([120, 500, 1000, 1 << 20]))) + "\n"
    return wrap


def kubernetes(rng, text):
    return "".join("2024-05-01T10:22:33.%09dZ stderr %s %s\n" % (rng.randrange(10**9), "PF"[last], p)
                   for p, last in pieces(text, rng.choice([120, 777])))


def docker(rng, text):
    width = rng.choice([120, 777])
    return "".join(json.dumps({"log": p + "\n" * last, "stream": "stderr", "time": "2024-05-01T10:22:33Z"}) + "\n"
                   for p, last in pieces(text, width))


def docker_timestamps(rng, text):
    return "".join("2024-05-01T10:22:33.%09dZ %s%s" % (rng.randrange(10**9), p, "\n" * last)
                   for p, last in pieces(text, rng.choice([120, 777])))


def journal(rng, text):
    return "".join(json.dumps({"_HOSTNAME": "gpu", "PRIORITY": "6", "MESSAGE": p, "_PID": "42"}) + "\n"
                   for p, _ in pieces(text, rng.choice([300, 2000])))


def rich(rng, text):
    """Lines broken between words, in a panel or not, colours in them."""
    width = rng.choice([80, 100, 120])
    lines = [p for line in text.expandtabs(8).split("\n") for p in textwrap.wrap(line, width - 4) or [""]]
    if rng.random() < 0.5:
        return "\n".join(lines).replace("RuntimeError", "\x1b[1;31mRuntimeError\x1b[0m") + "\n"
    bar = rng.choice(["\u2502", "\x1b[31m\u2502\x1b[0m"])
    return "".join("%s %s %s\n" % (bar, line.ljust(width - 4), bar) for line in lines)


def rich_handler(rng, text):
    """The place in the program stands at the right of the first line."""
    lines = [p for line in text.expandtabs(8).split("\n") for p in textwrap.wrap(line, 80) or [""]]
    return "[05/01/24 10:22:33] ERROR    %-80s train.py:42\n" % lines[0] + "".join(" " * 29 + p + "\n" for p in lines[1:])


def jupyter(rng, text):
    error = text[text.rindex("RuntimeError: "):]
    source = ('-> 2581     raise RuntimeError(\n   2582         "Error(s) in loading state_dict for {}:\\n\\t{}".format(\n'
              '   2575             "Missing key(s) in state_dict: {}. ".format(\n')
    cell = {"ename": "RuntimeError", "evalue": error[14:], "traceback": source.split("\n") + error.split("\n")}
    return source + "\n" + error + "\n" if rng.random() < 0.5 else json.dumps({"outputs": [cell]}, indent=1)


def torchrun(rng, text):
    lines = ["[rank1]: " + line for line in text.split("\n")]
    return "\n".join(lines) + "\ntorch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n====\ntrain.py FAILED\n"


def progress(rng, text):
    bar = "".join("\r%3d%%|%s| %d/100 [00:01<00:10, 9.1it/s]" % (i, "\u2588" * (i // 10), i) for i in range(0, 100, 7))
    return bar + text + bar


def markdown(rng, text):
    if rng.random() < 0.5:
        return "I get\n> " + text.replace("\n", "\n> ") + "\n\nAny help?\n"
    return re.sub(r"\s+", " ", text[text.rindex("RuntimeError: "):]).replace("_", "\\_") + "\n"


def web(rng, text):
    return "<pre>" + html.escape(text) + "</pre>\n"


def csv_field(rng, text):
    return '2024-05-01,ERROR,"' + text.replace('"', '""') + '"\n'


def utf16(rng, text):
    return text.replace("\n", "\r\n").encode(rng.choice(["utf-16", "utf-16-le"]))


WRAPS = [each_line("2024-05-01 10:22:33,123 - trainer - ERROR - ", "Nov 28 01:30:00 gpu-1 train.sh[4242]: ", "0: ",
                   "[default0]:", "[rank0]: ", "trainer-1  | ", "\x1b[36m(Worker pid=12)\x1b[0m ",
                   "E0501 10:22:33.123456 140 train.py:12] "),
         kubernetes, docker, docker_timestamps, journal, rich, rich_handler, jupyter, torchrun, progress, markdown, web,
         csv_field, utf16, lambda rng, text: text, lambda rng, text: text]


def log_of(rng, text):
    head = "".join("epoch %d: loss %.4f, saved to runs/%d\n" % (i, rng.random(), i) for i in range(rng.randint(0, 40)))
    tail = rng.choice(["", "\n", "Killed\n", "wandb: ended \"run\"\nE  note, that 'x' is...\n"])
    return WRAPS[rng.randrange(len(WRAPS))](rng, head + text + tail)


def main():
    out, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    made = 0
    for i in range(count * 3):
        rng = random.Random("%d/%d/%s" % (seed, i, VERSION))
        found = case(rng)
        if not found or made == count:
            continue
        model, (missing, unexpected, errors), text = found
        # torch says unexpected keys relative to the whole dict when it recurses; the text is the judge of which
        want = ["model " + model, "printed %d" % len(missing)]
        want += ["missing " + k for k in collections.OrderedDict.fromkeys(missing)]
        listed = re.search(r"Unexpected key\(s\) in state_dict: (.*)\. ?$", text, re.M)
        want += ["unexpected " + k for k in re.findall(r'"([^"]*)"', listed.group(1))] if listed else []
        for e in errors:
            m = re.match(r"size mismatch for (\S+): .*?Size\(\[([^]]*)\]\).*Size\(\[([^]]*)\]\)", e)
            if m:
                a, b = (shape([int(d) for d in m.group(g).split(",") if d.strip()]) for g in (2, 3))
                want.append("mismatch %s %s %s" % (m.group(1), a, b))
        log = log_of(rng, text)
        with open(os.path.join(out, "%d.log" % made), "wb") as f:
            f.write(log if isinstance(log, bytes) else log.encode())
        with open(os.path.join(out, "%d.want" % made), "w") as f:
            f.write("\n".join(want) + "\n")
        made += 1
    print("torch %s: %d failing loads" % (torch.__version__, made))


if __name__ == "__main__":
    main()

"""Write a qatscope manifest: what a PyTorch model's load_state_dict expects, in torch's own order.

    python exporter.py package.module:factory [-o manifest.json] [arg ...]

calls factory(*args) (numbers, True, False and None are read as such) and describes the module it returns.
As a library: exporter.export(model, "manifest.json"). Needs only torch (1.7 or newer) and Python 3.6 or newer.
"""
import ast
import functools
import importlib
import json
import sys

import torch


WRAPPER = "_checkpoint_wrapped_module"


def class_path(cls):
    path = "%s.%s" % (cls.__module__, cls.__qualname__)
    # torch's messages use __name__, which some classes change
    return path if path.endswith("." + cls.__name__) else "%s.%s" % (cls.__module__, cls.__name__)


def is_known(name):
    """Code that qatscope follows: torch's and torchvision's, but for one class that rebuilds itself."""
    return name.partition(".")[0] in ("torch", "torchvision") and "mnasnet" not in name


def loader(cls):
    """The class of theirs whose _load_from_state_dict runs, when the class itself does not say so."""
    own = [c for c in cls.__mro__ if "_load_from_state_dict" in vars(c) and is_known(c.__module__)]
    return own[0] if own and own[0] is not torch.nn.Module else None


def hook_path(hook):
    hook = getattr(hook, "hook", hook)  # torch's own wrapper
    hook = getattr(hook, "func", hook)  # functools.partial
    hook = getattr(hook, "__func__", hook)
    named = hook if hasattr(hook, "__qualname__") else type(hook)
    return "%s.%s" % (named.__module__, named.__qualname__)


def own_code(module, top):
    """What else runs when the module is loaded; nobody but it knows what that does to the state dict."""
    out = []
    for name in ("_load_from_state_dict", "load_state_dict") if top else ("_load_from_state_dict",):
        for cls in type(module).__mro__:
            if name in vars(cls) and not is_known(cls.__module__):
                out.append("%s.%s" % (class_path(cls), name))
    for name in ("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"):
        for hook in getattr(module, name, {}).values():
            if not is_known(hook_path(hook)):
                out.append(hook_path(hook))
    return ", ".join(out)


def plain(value):
    """A number, bool or short name of an attribute, or None if it is neither."""
    if isinstance(value, torch.Tensor):
        value = value.reshape(-1)[0].item() if value.numel() == 1 else None
    if isinstance(value, (torch.dtype, torch.qscheme)):
        return str(value).replace("torch.", "")
    return value if isinstance(value, (bool, int, float)) else None


def quantizer(module):
    """Attributes of a fake quantizer, taken from it or else from its observer."""
    inner = getattr(module, "activation_post_process", None)
    inner = inner if isinstance(inner, torch.nn.Module) else None
    out = {"observer": type(inner or module).__name__}
    for name in ("dtype", "qscheme", "quant_min", "quant_max", "ch_axis", "averaging_constant", "reduce_range", "eps"):
        for source in (module, inner):
            value = plain(getattr(source, name, None)) if source is not None else None
            if value is not None:
                out[name] = value
                break
    return out


def describe(module, top):
    cls = type(module)
    out = {"class": class_path(cls), "version": getattr(module, "_version", 1)}
    base = loader(cls)
    if base is not None and not cls.__module__.startswith("torch."):
        out["base"] = class_path(base)
    own = own_code(module, top)
    if own:
        out["own_code"] = own
    if getattr(torch.nn.Module, "set_extra_state", None) not in (None, getattr(cls, "set_extra_state", None)):
        out["extra_state"] = True
    if getattr(base, "__name__", "") == "QuantizableSqueezeExcitation" and hasattr(module, "qconfig"):
        out["qconfig"] = True  # it loads otherwise then
    buffers = module._buffers
    if {"fake_quant_enabled", "min_val", "min_vals"} & set(buffers) or hasattr(module, "quant_min"):
        out.update(quantizer(module))
    norm = module if "running_mean" in buffers else module._modules.get("bn")
    if norm is not None and "running_mean" in norm._buffers and hasattr(module, "weight") and hasattr(norm, "eps"):
        out["bn_eps"] = float(norm.eps)
    return out


def entry(key, value, kind):
    out = {"key": key}
    if isinstance(value, torch.Tensor):
        if "Uninitialized" not in type(value).__name__:  # a lazy module's takes the shape it is given
            out["shape"] = [int(d) for d in value.shape]
        out["dtype"] = str(value.dtype).replace("torch.", "")
    return dict(out, kind=kind)


def local_state(module):
    hidden = module._non_persistent_buffers_set
    for name, value in module._parameters.items():
        if value is not None:
            yield name, value, "parameter"
    for name, value in module._buffers.items():
        if value is not None and name not in hidden:
            yield name, value, "buffer"


def unwrapped(model):
    """Names of state inside wrappers that state_dict leaves out of them."""
    names, stack = set(), [("", model)]
    while stack:
        dot, module = stack.pop()
        if WRAPPER + "." in dot:
            names.update(dot.replace(WRAPPER + ".", "") + name for name, _, _ in local_state(module))
        stack.extend((dot + name + ".", child) for name, child in module._modules.items() if child is not None)
    return names


def manifest(model):
    modules, entries, own, first = {}, [], {}, {}
    state = model.state_dict()
    for key in state:
        own.setdefault(key.rpartition(".")[0], []).append(key)
    bare = unwrapped(model)
    stack = [("", model)]
    while stack:
        prefix, module = stack.pop()
        modules[prefix] = None if module is None else describe(module, module is model)
        if module is None:
            continue
        dot, seen = prefix + "." if prefix else "", set()
        if first.setdefault(id(module), prefix) != prefix:
            modules[prefix]["same_as"] = first[id(module)]
        for name, value, kind in local_state(module):
            seen.add(dot + name)
            entries.append(entry(dot + name, value, kind))
        # what the module writes itself: packed parameters, extra state; not what it names without a wrapper
        entries.extend(entry(k, state[k], "extra") for k in own.get(prefix, ()) if k not in seen and k not in bare)
        stack.extend((dot + name, child) for name, child in reversed(list(module._modules.items())))
    return {"format": "qatscope-manifest", "version": 1, "model": modules[""]["class"],
            "torch": str(torch.__version__), "modules": modules, "state_dict": entries}


def dump(document, out):
    """JSON with one module or entry a line."""
    out.write("{\n")
    for name in ("format", "version", "model", "torch"):
        out.write(" %s: %s,\n" % (json.dumps(name), json.dumps(document[name])))
    lines = ["  %s: %s" % (json.dumps(k), json.dumps(v)) for k, v in document["modules"].items()]
    out.write(' "modules": {\n%s\n },\n' % ",\n".join(lines))
    out.write(' "state_dict": [\n%s\n ]\n}\n' % ",\n".join("  " + json.dumps(e) for e in document["state_dict"]))


def export(model, path):
    with open(path, "w") as out:
        dump(manifest(model), out)


def literal(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def main(argv):
    output = None
    if "-o" in argv:
        at = argv.index("-o")
        output = argv[at + 1] if at + 1 < len(argv) else None
        argv = argv[:at] + argv[at + 2:]
    if len(argv) < 2 or ":" not in argv[1] or (output is None and "-o" in sys.argv):
        sys.exit(__doc__)
    sys.path.insert(0, "")
    module, _, name = argv[1].partition(":")
    factory = importlib.import_module(module)
    factory = functools.reduce(getattr, name.split("."), factory)
    model = factory if isinstance(factory, torch.nn.Module) else factory(*map(literal, argv[2:]))
    export(model, output) if output else dump(manifest(model), sys.stdout)


if __name__ == "__main__":
    main(sys.argv)

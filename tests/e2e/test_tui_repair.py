#!/usr/bin/env python3
"""A repair by keys only, in a real terminal: one layer by hand (map, init, undo, redo, save), then the whole job
(F, Enter, w); `qatscope check` and, where it is installed, torch load what was saved."""
import json
import os
import subprocess
import sys

import tui

A, B, M = tui.fixture("float.pt"), tui.fixture("qat.pt"), tui.fixture("model.json")


def check(path):
    return subprocess.run([tui.QATSCOPE, "check", path, "-m", M], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def keys_of(path):
    out = subprocess.run([tui.QATSCOPE, "ls", path, "--json"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return out


def search(t, text):
    t.keys("/")
    t.type(text)
    t.keys("Enter")
    t.until("1 match  /" + text[:20])


def save(t, out):
    t.keys("w")
    t.until("save the result")
    t.keys("C-u")
    t.type(out)
    t.keys("Enter")
    t.until("read back and verified")


def one_layer():
    with tui.Tui() as t:
        out = os.path.join(t.dir, "layer.pt")
        t.open(A, B, "-m", M)
        search(t, "0.conv.weight")
        t.keys("m")
        t.until("97 %")
        t.keys("Enter")
        t.until("1 key renamed", "plan: 1 action")
        search(t, "0.conv.module.weight_fake_quant.scale")
        t.keys("i")
        t.until("initialise", "SQNR")
        t.keys("Enter")
        t.until("7 keys initialised", "plan: 2 actions")
        t.keys("u", "u")
        t.until("plan: 0 actions", "+ 13 unexpected")
        t.keys("u")
        t.until("nothing to undo")
        t.keys("R", "C-r")
        t.until("plan: 2 actions", "+ 12 unexpected")
        save(t, out)
        t.keys("q")  # saved: it does not ask
        t.until("ready>", gone=["would load:"])
        listing = keys_of(out)
        assert '"model.0.conv.module.weight"' in listing and '"model.0.conv.weight"' not in listing
        assert listing.count('"key": "model.0.conv.module.weight_fake_quant.') == 7, listing
        assert check(out).returncode == 1  # the other layers still miss theirs


def whole_job():
    with tui.Tui() as t:
        out = os.path.join(t.dir, "fixed.pt")
        t.open(A, B, "-m", M)
        t.keys("F")
        t.until("the repair", "then it loads")
        t.keys("Enter")
        t.until("would load:  YES")
        save(t, out)
        t.keys("w")  # once more on the same name: refused, and nothing typed is lost
        t.until("save the result")
        t.keys("C-u")
        t.type(out)
        t.keys("Enter")
        t.until("exists")
        t.keys("Space", "Enter")  # the box to replace it has the focus
        t.until("read back and verified")
        t.keys("q")
        t.until("ready>", gone=["Module / key"])
        done = check(out)
        assert done.returncode == 0, done.stdout
        assert sorted(os.listdir(t.dir)) == ["conf", "fixed.pt", "tmux"], os.listdir(t.dir)
        return torch_loads(out)


def torch_loads(path):
    try:
        import torch
    except ImportError:
        print("torch is not installed: loading the result was not tried")
        return
    sys.path.insert(0, os.path.join(tui.TESTS, "fixtures"))
    import make_ui

    net = make_ui.qat_of(make_ui.Net())
    saved = torch.load(path)
    assert saved["epoch"] == 3 and saved["names"] == ["cat", "dog"]
    net.load_state_dict(saved["model"], strict=True)
    net.eval()
    assert net(torch.zeros(1, 3, 12, 12)).isfinite().all()


def by_hand():
    """Everything by hand: rules and init, no diagnosis."""
    with tui.Tui() as t:
        out = os.path.join(t.dir, "hand.pt")
        plan = os.path.join(t.dir, "plan.json")
        t.open(A, B, "-m", M)
        for old, new in [("model.0.bn.", "model.0.conv.module.bn."), ("model.0.conv.weight", "model.0.conv.module.weight"),
                         ("model.1.bn.", "model.1.conv.bn."), ("model.2.", "model.2.module.")]:
            t.keys("M")
            t.until("rename by rule")
            t.keys("C-u")
            t.type(old)
            t.keys("Tab", "C-u")
            t.type(new)
            t.until("0 collisions")
            t.keys("Enter")
            t.until("renamed; u undoes")
        t.until("+ 0 unexpected")
        t.keys("g", "i")
        t.until("initialise", "56 keys")
        t.keys("Enter")
        t.until("would load:  YES")
        t.keys("s")
        t.until("save the plan as")
        t.keys("C-u")
        t.type(plan)
        t.keys("Enter")
        t.until("the plan is saved")
        save(t, out)
        t.keys("q")
        t.until("ready>", gone=["Module / key"])
        assert check(out).returncode == 0
        os.mkdir(os.path.join(t.dir, "again"))  # the archive holds the file's name: the same one, to compare bytes
        replayed = os.path.join(t.dir, "again", "hand.pt")
        subprocess.run([tui.QATSCOPE, "apply", plan, A, "-m", M, "-o", replayed], check=True, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)
        with open(out, "rb") as f, open(replayed, "rb") as g:
            assert f.read() == g.read()  # the screen and the command line write the same bytes


def python_lines(keys):
    """The lines `y` shows in the plan, from a screen wide and tall enough to break none."""
    out = subprocess.run([tui.QATSCOPE, A, B, "-m", M, "--screen", "600x400", "--keys", keys + " p y"], check=True,
                         stdout=subprocess.PIPE, env=dict(os.environ, LC_ALL="C.UTF-8")).stdout.decode()
    lines = [line.rstrip("|").rstrip()[1:] for line in out.splitlines()]
    end = [i for i, line in enumerate(lines) if line.startswith("j k PgDn")][0]
    return "\n".join(lines[1:end])


def shown_as_python():
    """The Python shown for a plan gives the state dict that is saved."""
    try:
        import torch
    except ImportError:
        print("torch is not installed: the Python of a plan was not run")
        return
    plans = ["F Enter",  # a rename of pairs and an init
             'M ^U "model.0.bn." Tab ^U "model.0.conv.module.bn." Enter',  # a prefix
             'M BackTab Right Right Tab ^U "(.*)[.]bn[.](?<leaf>.*)" Tab ^U "$1.conv.bn.${leaf}" Enter',
             'M BackTab Right Tab ^U "model.*.weight" Tab ^U "model.$1.module.weight" Enter',  # a glob
             '/ "0.conv.quant.*scale" Enter c / "0.bn.bias" Enter d']  # copy and drop
    with tui.Tui() as t:
        for i, keys in enumerate(plans):
            out = os.path.join(t.dir, "plan%d.pt" % i)
            save_keys = '%s w ^U "%s" Enter' % (keys, out)
            subprocess.run([tui.QATSCOPE, A, B, "-m", M, "--screen", "100x30", "--keys", save_keys], check=True,
                           stdout=subprocess.PIPE)
            names = {}
            exec(python_lines(keys), names)
            want, got = torch.load(out)["model"], names["sd"]
            assert sorted(want) == sorted(got), (keys, set(want) ^ set(got))
            for k in want:
                assert want[k].dtype == got[k].dtype and want[k].shape == got[k].shape, (keys, k)
                assert torch.equal(want[k], got[k]), (keys, k, want[k], got[k])


def every_kind_replays():
    """A plan of each kind of action made by hand on the screen: `apply` saves what the screen saves, byte for byte."""
    with tui.Tui() as t:
        os.mkdir(os.path.join(t.dir, "again"))
        plans = [
            "F Enter", "b Enter Esc",
            '/ "0.conv.weight" Enter m Enter',
            'M ^U "model.0.bn." Tab ^U "model.0.conv.module.bn." Enter',
            'M BackTab Right Right Tab ^U "(.*)[.]bn[.](?<leaf>.*)" Tab ^U "$1.conv.bn.${leaf}" Enter',
            '/ "0.conv.quant.*scale" Enter c / "0.bn.bias" Enter d',
            '/ "0.bn.weight" Enter ":" "cast float16" Enter',
            '/ "0.conv.weight" Enter ":" "reshape 4x27x1x1" Enter', "D d Esc"]
        kinds = set()
        for i, keys in enumerate(plans):
            name = "%d.pt" % i
            out, plan = os.path.join(t.dir, name), os.path.join(t.dir, "%d.json" % i)
            keys = '%s s ^U "%s" Enter w ^U "%s" Enter' % (keys, plan, out)
            subprocess.run([tui.QATSCOPE, A, B, "-m", M, "--screen", "100x30", "--keys", keys], check=True,
                           stdout=subprocess.PIPE)
            with open(plan) as f:
                kinds |= {action["op"] for action in json.load(f)["actions"]}
            again = os.path.join(t.dir, "again", name)  # the archive holds the file's name
            p = subprocess.run([tui.QATSCOPE, "apply", plan, A, "-b", B, "-m", M, "-o", again],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert os.path.exists(again), (keys, p.stdout, p.stderr)
            with open(out, "rb") as f, open(again, "rb") as g:
                assert f.read() == g.read(), keys
        every = {"rename", "rule", "init", "copy", "drop", "cast", "reshape"}
        assert kinds == every, kinds ^ every


def main():
    tui.need()
    for test in [one_layer, whole_job, by_hand, shown_as_python, every_kind_replays]:
        print(test.__name__, flush=True)
        test()


if __name__ == "__main__":
    sys.exit(main())

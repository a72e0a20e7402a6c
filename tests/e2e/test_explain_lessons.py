"""Lessons in a real terminal: a page, a row in the tree and back, an answer, progress kept from one start to the next."""
import os

import tui

tui.need()
PAIR = [tui.fixture("float.pt"), tui.fixture("qat.pt"), "-m", tui.fixture("model.json")]

with tui.Tui(80, 24) as t:
    log = os.path.join(t.dir, "state", "qatscope", "lessons")
    t.open(*PAIR)
    t.keys("L")
    t.until("lessons on the open file", "The seven keys of a fake-quant block")
    t.keys("j", "j", "Enter")
    t.until("page 1 of 3", "How many keys does this block have in all?")
    t.keys("a", "8", "Enter")
    t.until("not quite", "Count the highlighted rows.")
    t.keys("a", "7", "Enter")
    t.until("  right\n", gone=["Count the highlighted"])
    t.keys("n")
    t.until("page 2 of 3")
    t.keys("p")
    t.until("page 1 of 3")
    t.keys("x")
    t.until("what this key is", "Switch: quantize or pass through")
    t.keys("q")
    t.until("page 1 of 3")
    t.keys("n")
    t.until("page 2 of 3")
    t.keys("Enter")
    t.until("would load:", "L goes back to the lesson")
    t.keys("L")
    t.until("page 2 of 3")
    t.keys("n")
    t.until("page 3 of 3")
    t.keys("q")
    t.until("lessons on the open file", "page 3 of 3")
    t.keys("q")
    t.until("would load:")
    assert open(log).read() == "03-seven-keys 2 open\n", open(log).read()
    t.keys("q")
    t.until("ready>", gone=["would load:"])
    t.open(*PAIR)
    t.keys("L", "j", "j", "Enter")
    t.until("page 3 of 3")
    t.keys("n")
    t.until("lesson done", "✓ The seven keys")
    t.keys("q")
    t.until("would load:")
    assert open(log).read() == "03-seven-keys 2 done\n", open(log).read()
    t.keys("q")
    t.until("ready>", gone=["would load:"])
print("lessons: progress kept")


def walk(t):
    """Every lesson from its first page to its last, by keys; the names of those that could be begun."""
    t.keys("L")
    names = [line.strip() for line in t.until("lessons on the open file").split("\n")[2:-3] if line.strip()][:12]
    for at, name in enumerate(names):
        t.keys("Enter")
        page = t.until("page 1 of ")
        assert name in page.split("\n")[0], page
        for n in range(2, int(page.split("page 1 of ")[1].split()[0]) + 1):
            t.keys("n")
            t.until("page %d of " % n, name)
        t.keys("n")
        screen = t.until("lesson done", "lessons on the open file")
        assert [line for line in screen.split("\n") if name in line and line[1] in ".*+x✓"], screen
    return names


# A terminal without colours (and one with ASCII only): nothing a lesson says may depend on them.
for term, charset in [("vt100", "C"), ("xterm-mono", "C.UTF-8")]:
    with tui.Tui(80, 24, env={"LC_ALL": charset}) as t:
        t.type("export TERM=%s\n" % term)
        t.run(tui.QATSCOPE, "demo", os.path.join(t.dir, "demo"))
        t.until("would load:")
        assert len(walk(t)) == 12
        t.keys("q")
        t.until("would load:")
        t.keys("q")
        t.until("ready>", gone=["? help"])  # a vt100 has no second screen to come back from
print("lessons: all walked in mono, in ASCII too")

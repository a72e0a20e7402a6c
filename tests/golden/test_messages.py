#!/usr/bin/env python3
"""Every message of the explorer is on some golden screen: each text that a source of ui/ gives to qs_app_say, qs_app_complain
or the problem line of a dialog is looked for there, by its longest piece between the values filled in. What no screen can
show is named below, with the reason."""
import glob
import os
import re
import sys

TESTS = os.environ.get("QATSCOPE_TESTS") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ELSEWHERE = {
    "out of memory": "nothing can be allocated (unit.pickle_oom and the limits of e2e.limits do it in the core)",
    "cancelled": "long work, ended with Esc in e2e.tui_storm",
    "read-only: nothing": "only benches and fuzzers open the explorer so",
    "the plan of the lost session": "needs a terminal that is lost: e2e.tui",
    "saved %s": "writes a file: e2e.tui_tasks",
    "; PyTorch would load it": "the same",
    "the plan is saved as": "writes a file: e2e.tui_repair",
    "the plan now has": "reads it again: e2e.tui_repair",
    "settings: ": "prop.config reads settings that are wrong",
    "the log contradicts": "a log of another model; the fixtures hold none: oracle.log makes them",
    "line %": "the same",
    "; the list is cut off": "the same",
    "is too long": "a name of a thousand bytes: e2e.odd_files",
    "they cannot be made from nothing": "stands in for a reason that every action gives",
    "this page asks nothing": "every page of the built-in lessons asks something",
    "choose a module": "a tree without a line",
    "this has no name to drop it by": "a dict whose keys are no texts: e2e.odd_files",
    "there is no weight in floats": "a file of integers alone",
    "its values are": "sparse tensors and those of unknown classes: e2e.odd_files",
    "too many channels to draw": "a tensor of a million channels",
}


def calls(source):
    """The argument lists of calls that make a message, with literals that stand beside each other joined."""
    for m in re.finditer(r"\b(qs_app_say|qs_app_complain|snprintf)\s*\(", source):
        depth, i = 0, m.end() - 1
        while True:
            c = source[i]
            if c == '"':
                i = re.compile(r'"(?:[^"\\]|\\.)*"').match(source, i).end()
                continue
            depth += (c == "(") - (c == ")")
            i += 1
            if depth == 0:
                break
        call = source[m.start():i]
        if m.group(1) != "snprintf" or re.match(r"snprintf\s*\(\w+->problem", call):
            yield source.count("\n", 0, m.start()) + 1, re.sub(r'"\s*\n\s*"', "", call)


def longest_piece(text):
    pieces = re.split(r"%[-+.*0-9]*(?:ll|l|z)?[a-z]?", text.replace('\\"', '"'))
    return " ".join(max(pieces, key=len).split())


def shown():
    """All that is on the screens, as one line without the paints and what stands between wrapped lines."""
    text = "\n".join(open(f, encoding="utf-8").read() for f in glob.glob(os.path.join(TESTS, "golden/screens/*.utf8.txt")))
    text = re.sub(r"\{[a-z]*\+?:|\}", "", text)
    return re.sub(r"[\s|│]+", " ", text)


def main():
    on_screen, missing, seen, excused = shown(), [], 0, set()
    for path in sorted(glob.glob(os.path.join(TESTS, "../ui/*.c"))):
        source = open(path, encoding="utf-8").read()
        for line, call in calls(source):
            for text in re.findall(r'"((?:[^"\\]|\\.)*)"', call):
                reason = [k for k in ELSEWHERE if k in text]
                excused.update(reason)
                piece = longest_piece(text)
                if reason or len(piece) < 6:
                    continue
                seen += 1
                if piece not in on_screen:
                    missing.append("%s:%d: %s" % (os.path.basename(path), line, text))
    for m in missing:
        print("on no golden screen:", m)
    for k in sorted(set(ELSEWHERE) - excused):
        print("no message says this any more:", k)
    print("%d messages are on golden screens" % (seen - len(missing)))
    assert seen > 80
    return 1 if missing or set(ELSEWHERE) - excused else 0


sys.exit(main())

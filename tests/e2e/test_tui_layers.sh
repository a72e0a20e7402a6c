#!/bin/sh
# The direction of the layers: only one file knows curses, the screen touches no file and no library of the core, and
# nothing in the core knows the screen.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
complain() {
    echo "$1" >&2
    bad=1
}
hits=$(grep -lE '#include *[<"](n?curses|ncursesw/curses|term)\.h' ui/*.c ui/*.h src/*.[ch] src/*/*.[ch] | grep -vx 'ui/term_curses.c')
[ -z "$hits" ] || complain "curses outside ui/term_curses.c: $hits"
hits=$(grep -lE '#include *[<"](zip|cjson/cJSON|cJSON|pcre2|zlib)\.h' ui/*.c ui/*.h)
[ -z "$hits" ] || complain "a library of the core under ui/: $hits"
hits=$(grep -nE '\b(fopen|open|creat|rename|unlink|mkdir|opendir|readdir|stat|access|mmap|pread)\(' ui/*.c | grep -vE '^ui/[a-z_]+\.c:[0-9]+:.*qs_')
[ -z "$hits" ] || complain "file I/O under ui/: $hits"
hits=$(grep -nE '#include "base/file\.h"' ui/*.c ui/*.h)
[ -z "$hits" ] || complain "file I/O under ui/: $hits"
hits=$(grep -lE '#include "ui/' src/*.[ch] src/base/*.[ch] src/format/*.[ch] src/model/*.[ch] src/quant/*.[ch] src/repair/*.[ch] src/teach/*.[ch])
[ -z "$hits" ] || complain "the core includes the screen: $hits"
# clear() sends the whole screen again; qatscope redraws and lets ncurses find what changed.
hits=$(grep -nE '[^a-z_](clear|wclear)\(' ui/term_curses.c)
[ -z "$hits" ] || complain "clear() in ui/term_curses.c: $hits"
exit $bad

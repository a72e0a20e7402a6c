#!/bin/sh
# Builds the fuzzers (clang, ASan, UBSan) and lets each look for new inputs, two at a time, starting from its corpus.
#   tests/fuzz/run.sh [SECONDS [NAME ...]]     10 seconds each by default; NAMEs as in tests/fuzz/fuzz_NAME.c
# A crash, a leak, an input that takes over 10 s or 2 GiB fails; the input is kept in build/fuzz/found and named. Once
# fixed it belongs in tests/fuzz/corpus/NAME, where every test run replays it.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-10}
[ $# -eq 0 ] || shift
jobs=$(nproc 2>/dev/null || echo 2)
mkdir -p build/fuzz/found
if ! { cmake --preset fuzz && cmake --build --preset fuzz --target fuzzers --parallel "$jobs"; } >build/fuzz.log 2>&1; then
    cat build/fuzz.log
    echo "== build failed: fuzz"
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# New inputs go to a folder of their own: the first one named is where libFuzzer writes.
fuzz() {
    mkdir -p "$work/$1"
    if ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 \
        "build/fuzz/tests/fuzz_$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/found/$1-" "$work/$1" "tests/fuzz/corpus/$1" >"$work/$1.log" 2>&1; then
        echo "fuzz $1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$1.log") inputs, nothing found"
    else
        tail -n 60 "$work/$1.log"
        echo "fuzz $1: FAILED, see build/fuzz/found"
        : >"$work/failed"
    fi
}

running=0
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    name=${name#fuzz_}
    case " ${*:-$name} " in *" $name "*) ;; *) continue ;; esac
    fuzz "$name" &
    running=$((running + 1))
    [ $((running % jobs)) -ne 0 ] || wait
done
wait
[ ! -e "$work/failed" ]

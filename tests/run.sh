#!/bin/sh
# Installs what the tests need, builds and runs every test, and ends with ctest's own summary. A check that could not run
# here is listed there as skipped, by name. Three builds, all with warnings as errors: gcc with ASan and UBSan (all tests but
# those that run PyTorch), clang with the same and the fuzzers (each for some seconds), gcc alone (all tests).
#   tests/run.sh          everything
#   tests/run.sh --quick  the last build only
set -eu
cd "$(dirname "$0")/.."
. tests/packages.sh
# shellcheck disable=SC2086 # the lists are meant to be split
need $BUILD_PACKAGES $TEST_PACKAGES
# The real failing pair is not in the repository; the tests that know it run where it stands beside the checkout.
if [ -z "${QATSCOPE_REAL:-}" ] && [ -d ../shared/real ]; then
    QATSCOPE_REAL=$(cd ../shared/real && pwd)
    export QATSCOPE_REAL
fi
jobs=$(nproc 2>/dev/null || echo 2)

build() {
    echo "== build: $1"
    log=build/$1.log
    mkdir -p build
    if ! { cmake --preset "$1" && cmake --build --preset "$1" --parallel "$jobs"; } >"$log" 2>&1; then
        cat "$log"
        echo "== build failed: $1"
        exit 1
    fi
}

status=0
if [ "${1:-}" != --quick ]; then
    build asan
    ctest --test-dir build/asan --output-on-failure --parallel "$jobs" --exclude-regex '^oracle\.' || status=1
    [ "$status" -eq 0 ] || echo "== FAILED under ASan + UBSan, see above"
    build fuzz
    echo "== fuzzing"
    sh tests/fuzz/run.sh || status=1
fi
build test
ctest --test-dir build/test --output-on-failure --parallel "$jobs" || status=1
exit "$status"

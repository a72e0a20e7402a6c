#!/bin/sh
# Installs what is missing, builds a release and opens the explorer on the built-in demo: a float YOLOv8n that does not
# load into its QAT twin. Without a terminal (a pipe, CI) the same job runs headless: the verdict, the diagnosis, the
# repair, the new verdict.
set -eu
cd "$(dirname "$0")/.."
. tests/packages.sh
# shellcheck disable=SC2086 # the list is meant to be split
need $BUILD_PACKAGES

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { cmake --preset release && cmake --build --preset release --parallel 2; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "the build failed; the lines above say where" >&2
    exit 1
fi
rm -f "$log"
trap - EXIT
exec build/release/qatscope demo "${1:-build/demo}"

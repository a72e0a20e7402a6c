#!/bin/sh
# Range and parameters of a 144 MiB weight against reading the same bytes (the budget is 60 %). Not a test: run by hand
# on a Release build with tests:  cmake -B /tmp/rel -DCMAKE_BUILD_TYPE=Release && cmake --build /tmp/rel --target unit_qparams
set -eu
exec "${1:?usage: qparams.sh BUILD_DIR}/tests/unit_qparams" --bench

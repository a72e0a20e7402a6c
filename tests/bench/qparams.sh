#!/bin/sh
# Range and parameters of weights of 36 M elements, in float32, float16 and bfloat16, per tensor and per channel of the
# first, a middle and the last axis, against reading the same bytes in the better of two block sizes. Not a test: run by hand
# on a Release build with tests:  cmake -B /tmp/rel -DCMAKE_BUILD_TYPE=Release && cmake --build /tmp/rel --target unit_qparams
set -eu
exec "${1:?usage: qparams.sh BUILD_DIR}/tests/unit_qparams" --bench

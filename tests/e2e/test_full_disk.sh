#!/bin/sh
# A full disk or a read-only directory while saving: exit 4, no partial file, the input as it was. Needs root for a small tmpfs.
set -eu
[ -n "${QATSCOPE:-}" ] || exit 77
if [ "$(id -u)" -ne 0 ] || ! unshare -m true 2>/dev/null; then
    echo "needs root for a private tmpfs"
    exit 77
fi
exec unshare -m sh -eu -c '
dir=$(mktemp -d)
mount -t tmpfs -o size=600k none "$dir"
cd "$dir"
python3 - "$QATSCOPE_TESTS" <<PY
import sys
sys.path.insert(0, sys.argv[1] + "/e2e")
import mini
mini.save({"model": {"w": mini.Tensor([0.25] * 100000)}}, "in.pt")
PY
echo "{\"format\": \"qatscope-plan\", \"version\": 1, \"actions\": []}" >plan.json
sum=$(cksum <in.pt)
for out in out.pt out.safetensors out.safetensors.index.json; do
    status=0
    "$QATSCOPE" apply plan.json in.pt -o $out --shard-size 200KB 2>err.txt || status=$?
    cat err.txt
    [ "$status" -eq 4 ] || { echo "$out: exit $status, expected 4"; exit 1; }
    grep -qi "no space" err.txt
    [ "$(cksum <in.pt)" = "$sum" ]
    [ "$(ls -A)" = "err.txt
in.pt
plan.json" ] || { ls -lA; exit 1; }
done
# a directory that nobody may write to, root neither
mkdir ro
mount -t tmpfs -o size=4m,ro none ro
for out in ro/out.pt ro/out.safetensors ro/out.safetensors.index.json; do
    status=0
    "$QATSCOPE" apply plan.json in.pt -o $out 2>err.txt || status=$?
    cat err.txt
    [ "$status" -eq 4 ] || { echo "$out: exit $status, expected 4"; exit 1; }
    grep -qi "read-only" err.txt && grep -q "ro/" err.txt
done
[ "$(ls -A ro)" = "" ]
umount ro
'

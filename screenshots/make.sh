#!/bin/sh
# Takes the pictures of this folder: the real program in a real xterm under Xvfb, driven by real key presses.
# And session.cast, a recorded session (asciinema play screenshots/session.cast).
#   screenshots/make.sh [NAME ...]     all, or those named
set -eu
cd "$(dirname "$0")/.."
. tests/packages.sh
# shellcheck disable=SC2086 # the lists are meant to be split
need $BUILD_PACKAGES $SHOT_PACKAGES
cmake --preset release >/dev/null
cmake --build --preset release --parallel 2 >/dev/null
bin=$PWD/build/release/qatscope
out=$PWD/screenshots
work=$(mktemp -d)
display=:$((90 + $$ % 100))
Xvfb "$display" -screen 0 2400x1400x24 -nolisten tcp >/dev/null 2>&1 &
xvfb=$!
trap 'kill $xvfb 2>/dev/null || true; rm -rf "$work"' EXIT INT TERM
export DISPLAY="$display" LC_ALL=C.UTF-8 XDG_STATE_HOME="$work/state" XDG_CONFIG_HOME="$work/config"
i=0
until xdpyinfo >/dev/null 2>&1; do
    i=$((i + 1))
    [ $i -lt 100 ] || { echo "Xvfb did not start" >&2; exit 1; }
    sleep 0.1
done
"$bin" demo --write-only "$work/demo" >/dev/null
A=$work/demo/yolov8n-float.pt
B=$work/demo/yolov8n-qat.pt
M=$work/demo/yolov8n-qat.json

# shot NAME COLSxROWS BACKGROUND FOREGROUND TERM "KEYS" COMMAND...: xterm runs COMMAND, KEYS are typed (xdotool names,
# `type:TEXT` types text), the window is saved as NAME.png once its picture has stopped changing.
shot() {
    name=$1 size=$2 bg=$3 fg=$4 term=$5 keys=$6
    shift 6
    case " $wanted " in "  " | *" $name "*) ;; *) return 0 ;; esac
    rm -rf "$XDG_STATE_HOME" # a killed session is kept there, and offered at the next start
    env TERM="$term" xterm -title "qs-$name" -fa 'DejaVu Sans Mono' -fs 11 -geometry "$size" -bg "$bg" -fg "$fg" -b 6 +sb \
        -tn "$term" -xrm 'xterm*allowTitleOps: false' -e "$@" &
    term_pid=$!
    win=$(xdotool search --sync --onlyvisible --name "qs-$name" | head -1)
    xdotool windowfocus --sync "$win" # keys sent to a window are synthetic and xterm ignores those; typed ones need focus
    settle
    for key in $keys; do
        case $key in
        type:*) xdotool type --delay 30 "${key#type:}" ;;
        *) xdotool key "$key" ;;
        esac
        sleep 0.15
    done
    settle
    mv "$work/now.png" "$out/$name.png"
    kill "$term_pid" 2>/dev/null || true
    wait "$term_pid" 2>/dev/null || true
    sleep 0.7 # the program may still be keeping its plan
    echo "$name.png"
}

# Wait until two pictures in a row are equal.
settle() {
    rm -f "$work/now.png"
    n=0
    while [ $n -lt 50 ]; do
        sleep 0.3
        import -window "$win" "$work/next.png"
        if [ -f "$work/now.png" ] && [ "$(compare -metric AE "$work/now.png" "$work/next.png" null: 2>&1)" = 0 ]; then
            return 0
        fi
        mv "$work/next.png" "$work/now.png"
        n=$((n + 1))
    done
}

wanted="$*"
D=black F=gray85 X=xterm-256color
shot tree 112x34 $D $F $X "Down Down Down Down" "$bin" "$A" "$B" -m "$M"
shot diagnosis 112x34 $D $F $X "F" "$bin" "$A" "$B" -m "$M"
shot why 112x30 $D $F $X "y" "$bin" "$A" "$B" -m "$M"
shot repaired 112x34 $D $F $X "F Return" "$bin" "$A" "$B" -m "$M"
shot map 100x30 $D $F $X "Down Down Down m" "$bin" "$A" "$B" -m "$M"
shot init 100x34 $D $F $X "F Return p Down d q slash type:0.conv.module.weight_fake_quant.scale Return i" "$bin" "$A" "$B" -m "$M"
shot details 112x40 $D $F $X "F Return slash type:model.8.cv1.conv.module.weight Return" "$bin" "$A" "$B" -m "$M"
shot rounding 112x38 $D $F $X "F Return slash type:model.8.cv1.conv.module.weight Return W h h h h" "$bin" "$A" "$B" -m "$M"
shot plan 100x30 $D $F $X "F Return p" "$bin" "$A" "$B" -m "$M"
shot verdict 100x30 $D $F $X "v" "$bin" "$A" "$B" -m "$M"
shot small 80x24 $D $F $X "Down Down Down" "$bin" "$A" "$B" -m "$M"
shot light 100x30 white black $X "Down Down Down" "$bin" "$A" "$B" -m "$M" --theme light
shot mono 80x24 $D $F vt100 "Down Down Down" "$bin" "$A" "$B" -m "$M" --ascii
shot help 80x24 $D $F $X "question" "$bin" "$A" "$B" -m "$M"
shot lessons 100x30 $D $F $X "L" "$bin" "$A" "$B" -m "$M"

case " $wanted " in "  " | *" session "*)
    (cd "$work/demo" && python3 "$OLDPWD/screenshots/record.py" "$out/session.cast" 100x30 "$bin" "${A##*/}" "${B##*/}" -m "${M##*/}")
    echo session.cast
    ;;
esac

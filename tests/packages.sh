# Sourced by ui/demo.sh, tests/run.sh and screenshots/make.sh: `need PACKAGE ...` installs what is missing with apt, with
# sudo when not root; on other systems it names the packages and stops.
BUILD_PACKAGES="gcc libc6-dev make cmake pkg-config libncurses-dev libzip-dev zlib1g-dev libcjson-dev libpcre2-dev"
TEST_PACKAGES="libcmocka-dev python3 python3-torch python3-torchvision python3-numpy tmux clang libclang-rt-dev"
SHOT_PACKAGES="xvfb xterm xdotool imagemagick x11-utils fonts-dejavu-core"

have_package() {
    case $1 in
    pkg-config) command -v pkg-config >/dev/null 2>&1 ;; # pkgconf provides it too
    *) dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' ;;
    esac
}

need() {
    if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
        # Not Debian: trust what is there if the build tools and libraries answer.
        if command -v cmake >/dev/null 2>&1 && pkg-config --exists ncursesw libzip zlib libcjson libpcre2-8 2>/dev/null; then
            return 0
        fi
        echo "This is no Debian system. Please install the counterparts of these packages, then run this again:" >&2
        echo "  $*" >&2
        exit 1
    fi
    missing=
    for package in "$@"; do
        have_package "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "Please install these packages as root, then run this again:$missing" >&2
            exit 1
        fi
        as_root=sudo
    fi
    echo "installing:$missing" >&2
    $as_root apt-get update -qq >&2 || echo "apt-get update failed; trying with the lists that are there" >&2
    # shellcheck disable=SC2086 # the list is meant to be split
    if ! $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null; then
        echo "apt-get could not install:$missing" >&2
        exit 1
    fi
}

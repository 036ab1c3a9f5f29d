#!/bin/sh
# Makes sure that feature `turbojpeg` can be built, which needs cmake and (on x86) nasm: installs what is missing where
# apt-get may. Where that is not possible it says so, and fails. With --check it installs nothing.
set -eu

missing=
command -v cmake >/dev/null || missing="$missing cmake"
case $(uname -m) in
x86_64 | i?86) command -v nasm >/dev/null || missing="$missing nasm" ;;
esac
[ -n "$missing" ] || exit 0

echo "feature turbojpeg needs$missing" >&2
[ "${1:-}" != --check ] || exit 1
root=
[ "$(id -u)" -eq 0 ] || root="sudo -n"
# shellcheck disable=SC2086 # a list of packages; and no command is none
install() {
    $root apt-get install -qq --yes --no-install-recommends $missing 2>&1
}
# The lists of packages may be old, or not there.
if command -v apt-get >/dev/null && { install >/dev/null || { $root apt-get update -qq >/dev/null 2>&1; output=$(install); }; }; then
    echo "installed$missing" >&2
else
    echo "it is left out, since they could not be installed: ${output:-there is no apt-get}" >&2
    exit 1
fi

#!/bin/sh
# Prints a directory with 2,000 real photographs of about 500x375 pixels, or with the argument `large` one with 64 of
# 4000x3000, after making them if they are not there: from the photographs in Debian's wallpaper packages (photos.py).
# Needs apt-get and dpkg, python3 and pip.
set -eu

cache="${XDG_CACHE_HOME:-$HOME/.cache}/sutler"
case "${1:-}" in
    "") home="$cache/photos" what="2,000 photographs" ;;
    large) home="$cache/photos-large" what="64 large photographs" ;;
    *)
        echo "usage: photos.sh [large]" >&2
        exit 1
        ;;
esac
packages="plasma-workspace-wallpapers gnome-backgrounds mate-backgrounds lomiri-wallpapers-16.04 ukui-wallpapers"

if [ ! -e "$home" ]; then
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        echo "the photographs come from Debian packages, and this is not a Debian: measure a folder of your own" >&2
        exit 1
    fi
    echo "making $what in $home" >&2
    here=$(cd "$(dirname "$0")" && pwd)
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/photos.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work" # apt fetches as a user of its own
    # shellcheck disable=SC2086 # one argument a package
    (cd "$work" && apt-get download -qq $packages >&2 && for package in *.deb; do dpkg -x "$package" wallpapers; done)
    python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --target "$work/python" pillow==12.0.0 >&2
    PYTHONPATH="$work/python" python3 "$here/photos.py" ${1:+"$1"} "$work/wallpapers" "$work/photos" >&2
    mv "$work/photos" "$home"
fi
echo "$home"

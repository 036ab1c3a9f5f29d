#!/bin/sh
# Prints a directory with 2,000 real photographs of about 500x375 pixels, after making them if they are not there:
# cut from the photographs in Debian's wallpaper packages (photos.py). Needs apt-get and dpkg, python3 and pip.
set -eu

cache="${XDG_CACHE_HOME:-$HOME/.cache}/sutler"
home="$cache/photos"
packages="plasma-workspace-wallpapers gnome-backgrounds mate-backgrounds lomiri-wallpapers-16.04 ukui-wallpapers"

if [ ! -e "$home" ]; then
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || {
        echo "the photographs come from Debian packages, and this is not a Debian: measure a folder of your own" >&2
        exit 1
    }
    echo "making 2,000 photographs in $home" >&2
    here=$(cd "$(dirname "$0")" && pwd)
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/photos.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work" # apt fetches as a user of its own
    (cd "$work" && apt-get download -qq $packages >&2 && for package in *.deb; do dpkg -x "$package" wallpapers; done)
    python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --target "$work/python" pillow==12.0.0 >&2
    PYTHONPATH="$work/python" python3 "$here/photos.py" "$work/wallpapers" "$work/photos" >&2
    mv "$work/photos" "$home"
fi
echo "$home"

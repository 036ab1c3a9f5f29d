#!/bin/sh
# usage: golden-transforms.sh IMAGES [OUT]
#
# Writes what torchvision's transforms make of a folder of images into OUT, by default target/golden-transforms, for
# tests/transforms to compare with. Python packages (3 GB) are fetched into the cache folder once; needs python3 and pip.
set -eu

images=${1:?which images? make golden-transforms IMAGES=DIR}
here=$(cd "$(dirname "$0")" && pwd)
[ -d "$images" ] || { echo "$images is not a folder" >&2; exit 1; }
out=${2:-${here%/*}/target/golden-transforms}

home="${XDG_CACHE_HOME:-$HOME/.cache}/sutler/torchvision-0.26.0"
if [ ! -e "$home" ]; then
    echo "fetching torch 2.11.0, torchvision 0.26.0 and pillow 13.0.0 into $home" >&2
    mkdir -p "${home%/*}"
    partial=$(mktemp -d "$home.XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --target "$partial" torch==2.11.0 torchvision==0.26.0 numpy pillow==13.0.0 >&2
    mv "$partial" "$home"
fi
mkdir -p "$out"
PYTHONPATH="$home" python3 "$here/../fixtures/golden/torchvision_transforms.py" "$images" "$out" >&2
echo "GOLDEN_TRANSFORMS='$(cd "$out" && pwd)' cargo test --locked --test transforms -- --nocapture"

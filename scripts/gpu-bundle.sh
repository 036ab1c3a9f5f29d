#!/bin/sh
# Makes target/gpu-bundle and target/gpu-bundle.tar.gz, for a machine with a GPU and PyTorch 2.11 and without Rust: gpu_check,
# the script that runs it, and 300 photographs if there are some. LIBTORCH is set by the Makefile; which one it is, with CUDA
# or without, does not matter.
set -eu
cd "$(dirname "$0")/.."

most_bytes=64000000
most_photos=300
target=${CARGO_TARGET_DIR:-target}
bundle=$target/gpu-bundle

turbojpeg=$(scripts/turbojpeg.sh && echo --features turbojpeg) || turbojpeg=
# shellcheck disable=SC2086 # two words are two options
SUTLER_NO_RPATH=1 cargo build --locked --release --features tch $turbojpeg --example gpu_check

rm -rf "$bundle" "$bundle.tar.gz"
mkdir -p "$bundle"
cp "$target/release/examples/gpu_check" scripts/gpu-bundle/run.sh "$bundle"
strip "$bundle/gpu_check"
chmod 755 "$bundle/run.sh"

# Where libtorch is on the other machine, run.sh finds out.
if readelf -d "$bundle/gpu_check" | grep -E 'R(UN)?PATH'; then
    echo "gpu_check would look for libtorch in a folder of this machine" >&2
    exit 1
fi

# Of every class, from the front: which ones is no matter, but a class without images is an error.
if photos=$(scripts/photos.sh); then
    classes=$(find "$photos" -mindepth 1 -maxdepth 1 -type d | sort)
    each=$((most_photos / $(echo "$classes" | wc -l)))
    for class in $classes; do
        mkdir -p "$bundle/photos/${class##*/}"
        find "$class" -type f | sort | head -n "$each" | while read -r photo; do
            cp "$photo" "$bundle/photos/${class##*/}/"
        done
    done
else
    mkdir -p "$bundle/photos"
    cp -R fixtures/shapes/train/. "$bundle/photos/"
fi

tar -C "$target" -czf "$bundle.tar.gz" gpu-bundle
for made in "$bundle" "$bundle.tar.gz"; do
    bytes=$(($(du -sk "$made" | cut -f1) * 1024))
    if [ "$bytes" -gt "$most_bytes" ]; then
        echo "$made has $bytes bytes, and may have $most_bytes" >&2
        exit 1
    fi
    echo "$made: $bytes bytes"
done
echo "libraries: $(readelf -d "$bundle/gpu_check" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | tr '\n' ' ')"
echo "needs $(readelf -V "$bundle/gpu_check" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1) and" \
    "$(readelf -V "$bundle/gpu_check" | grep -o 'GLIBCXX_[0-9.]*' | sort -uV | tail -n 1)"
echo "there: tar -xzf gpu-bundle.tar.gz && gpu-bundle/run.sh"

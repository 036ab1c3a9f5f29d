#!/bin/sh
# Batches handed to numpy, and to PyTorch and JAX where python3 has them: the batch's own memory, and every buffer comes
# back.
set -eu
cd "$(dirname "$0")/.."

if ! python3 -c 'import numpy' 2>/dev/null; then
    echo "skipped: DLPack needs numpy in python3 (pip install numpy)"
    exit 0
fi

cargo build --locked --quiet --no-default-features --features dlpack --example dlpack
library=target/debug/examples/libdlpack.so
[ -e "$library" ] || library=target/debug/examples/libdlpack.dylib
python3 examples/dlpack/consume.py "$library"

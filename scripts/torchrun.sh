#!/bin/sh
# An epoch shared by three processes that PyTorch's own torchrun starts, stopped in the middle, and gone on with by two:
# every sample exactly once. Needs the complete PyTorch in python3.
set -eu
cd "$(dirname "$0")/.."

if ! python3 -c 'import torch.distributed.run' 2>/dev/null; then
    echo "skipped: torchrun needs PyTorch in python3 (pip install torch)"
    exit 0
fi

cargo build --locked --quiet --no-default-features --example distributed
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Runs $1 processes with the further arguments.
ranks() {
    processes=$1
    shift
    OMP_NUM_THREADS=1 python3 -m torch.distributed.run --no-python --standalone --nproc-per-node "$processes" \
        target/debug/examples/distributed --out "$out" "$@"
    # In step, all ranks stand at the same place.
    for state in "$out"/state-*.txt; do
        cmp "$state" "$out/state-0.txt"
    done
    mv "$out/state-0.txt" "$out/state.txt"
    rm -f "$out"/state-*.txt
}

ranks 3 --stop-after 20
ranks 2
target/debug/examples/distributed --out "$out" --verify

#!/usr/bin/env bash
# The models of the core under loom, which tries every order in which their threads can come. See docs/TESTING.md.
# LOOM_MAX_PREEMPTIONS=N sets how often one may be stopped that could go on, in place of each model's own number.
set -euo pipefail
cd "$(dirname "$0")/.."

RUSTFLAGS="--cfg loom" cargo test --locked --release --target-dir target/loom --no-default-features --lib models -- \
    --show-output "$@"

#!/usr/bin/env bash
# The tests of src/memory under Miri, which knows what unsafe code may do. Needs a nightly toolchain with Miri.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "skipped: there is no Miri (rustup toolchain install nightly --component miri)"
    exit 0
fi
cargo +nightly miri test --locked --target-dir target/miri --no-default-features --lib memory "$@"

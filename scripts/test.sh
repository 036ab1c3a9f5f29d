#!/bin/sh
# Everything that CI runs. LIBTORCH is set by the Makefile.
set -eu

step() {
    echo "== $*"
    "$@"
}

export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

step cargo fmt --check

# The features, alone and together.
for features in "" --no-default-features --all-features; do
    # shellcheck disable=SC2086 # an empty list of options is none
    step cargo clippy --locked --all-targets $features -- -D warnings
    # shellcheck disable=SC2086
    step cargo test --locked $features
done

step env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features
step env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --no-default-features

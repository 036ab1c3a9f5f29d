#!/bin/sh
# Everything that CI runs. LIBTORCH is set by the Makefile.
set -eu

step() {
    echo "== $*"
    "$@"
}

step cargo fmt --check
step cargo fmt --check --manifest-path benches/peers/Cargo.toml -- --config-path rustfmt.toml
step cargo fmt --check --manifest-path fuzz/Cargo.toml -- --config-path rustfmt.toml

# The features, alone and together.
all=--all-features
scripts/turbojpeg.sh || all="--features dlpack,serde,tch"
for features in "" "--no-default-features" "--no-default-features --features dlpack,serde,tch" "$all"; do
    # shellcheck disable=SC2086 # an empty list of options is none, and two words are two options
    step cargo clippy --locked --all-targets $features -- -D warnings
    # shellcheck disable=SC2086
    step cargo test --locked $features
    # shellcheck disable=SC2086
    step env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps $features
done

step scripts/torchrun.sh
step scripts/dlpack.sh
step cargo run --locked --features tch --example gpu_check -- --cpu
step cargo clippy --locked --all-features --manifest-path benches/peers/Cargo.toml --target-dir target/peers -- -D warnings

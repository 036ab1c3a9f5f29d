#!/bin/sh
# Everything that CI runs. LIBTORCH is set by the Makefile.
set -eu

begun=$(date +%s)
step() {
    echo "== after $(($(date +%s) - begun)) s: $*"
    "$@"
}

step cargo fmt --check
step cargo fmt --check --manifest-path benches/peers/Cargo.toml -- --config-path rustfmt.toml
step cargo fmt --check --manifest-path fuzz/Cargo.toml -- --config-path rustfmt.toml
step scripts/deny.sh --offline
step scripts/msrv.sh declared
step scripts/public-api.sh --check

# The tests of what no feature changes: with the default features alone.
once="api bad_samples chaos diagnosis engine faults files fixtures golden iterable layering properties soak stragglers"

# All other tests, as options.
others() {
    for test in tests/*.rs tests/*/main.rs; do
        name=${test#tests/}
        name=${name%%[./]*}
        case " $once " in
            *" $name "*) ;;
            *) printf -- '--test %s ' "$name" ;;
        esac
    done
}

# With what event files are read back by, where it can be had.
SUTLER_TENSORBOARD=$(scripts/tensorboard.sh) || SUTLER_TENSORBOARD=python3
export SUTLER_TENSORBOARD

# The features, alone and together.
all=--all-features
scripts/turbojpeg.sh || all="--features dlpack,monitor,serde,serve,tch,webhook"
for features in "" "--no-default-features" "--no-default-features --features dlpack,serde,tch" "$all"; do
    # shellcheck disable=SC2086 # an empty list of options is none, and two words are two options
    step cargo clippy --locked --all-targets $features -- -D warnings
    case $features in
        "") step cargo test --locked ;;
        *)
            # shellcheck disable=SC2046,SC2086
            step cargo test --locked $features --lib --examples $(others)
            # shellcheck disable=SC2086
            step cargo test --locked $features --doc
            ;;
    esac
    # shellcheck disable=SC2086
    step env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps $features
done

# The models of make loom compile, with all that they model.
step env RUSTFLAGS="--cfg loom" cargo check --locked --no-default-features --lib --profile test --target-dir target/loom

step scripts/torchrun.sh
step scripts/dlpack.sh
step cargo run --locked --features tch --example gpu_check -- --cpu
step cargo clippy --locked --all-features --manifest-path benches/peers/Cargo.toml --target-dir target/peers -- -D warnings

#!/bin/sh
# Does what Cargo.toml says of its dependencies hold for the oldest versions that it allows? In copies, so that
# Cargo.lock stays as it is. A nightly toolchain chooses the versions, and the usual one compiles.
set -eu
cd "$(dirname "$0")/.."

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "skipped: there is no nightly toolchain (rustup toolchain install nightly)"
    exit 0
fi
out=target/minimal-versions
rm -rf "$out/direct" "$out/all"
mkdir -p "$out/direct" "$out/all"
git ls-files --cached --others --exclude-standard | tar -cf "$out/tree.tar" -T -
tar -xf "$out/tree.tar" -C "$out/direct"
tar -xf "$out/tree.tar" -C "$out/all"
rm "$out/tree.tar"

# Runs a command of cargo's in the copy $1.
in_copy() {
    copy=$1
    command=$2
    shift 2
    echo "== $copy: cargo $command $*"
    cargo "$command" --quiet --locked --manifest-path "$out/$copy/Cargo.toml" --target-dir "$out/build" "$@"
}
# Types are the same without the libraries that these two bind to.
export TURBOJPEG_SOURCE=explicit TURBOJPEG_LIB_DIR=. TURBOJPEG_INCLUDE_DIR=.

# The oldest versions of what is named in Cargo.toml, the newest of what these ask for.
cargo +nightly generate-lockfile --quiet -Z direct-minimal-versions --manifest-path "$out/direct/Cargo.toml"
in_copy direct check --all-targets --no-default-features
in_copy direct check --all-targets --features serde,dlpack
in_copy direct check --all-features --features tch/doc-only
in_copy direct test

# The oldest of everything, for the library alone: those that test it do not stand it, nor do tch and turbojpeg-sys.
awk '/^\[/ { dev = /^\[dev-dependencies\]/ } !dev' Cargo.toml >"$out/all/Cargo.toml"
cargo +nightly generate-lockfile --quiet -Z minimal-versions --manifest-path "$out/all/Cargo.toml"
in_copy all check --no-default-features
in_copy all check --features serde,dlpack,telemetry

#!/bin/sh
# Is the Rust that Cargo.toml declares enough? What the locked crates declare must not be newer; and where that
# toolchain is installed, it compiles everything, unless the argument `declared` says that the former will do. (That
# nothing newer of std is called, clippy sees to.)
set -eu
cd "$(dirname "$0")/.."

msrv=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)

# Of every package: its id, whose end is its name and version, and behind it the Rust it declares, if it does.
cargo metadata --locked --all-features --format-version 1 | grep -oE '"(id|rust_version)":"[^"]*"' |
    awk -F '"' -v msrv="$msrv" '
    function number(version, parts) {
        split(version, parts, ".")
        return parts[1] * 1000000 + parts[2] * 1000 + parts[3]
    }
    $2 == "id" {
        id = $4
        crates += !seen[id]++
        sub(/.*[\/#]/, "", id)
    }
    $2 == "rust_version" {
        declared++
        if (number($4) > number(msrv)) {
            newer++
            print id " needs Rust " $4
        }
    }
    END {
        print declared + 0 " of " crates + 0 " crates declare their Rust, " newer + 0 " of them one newer than " msrv
        exit newer > 0 || !declared
    }'
[ "${1:-}" != declared ] || exit 0

toolchain=$msrv
RUSTUP_AUTO_INSTALL=0 cargo "+$toolchain" --version >/dev/null 2>&1 || toolchain=$msrv.0
if ! RUSTUP_AUTO_INSTALL=0 cargo "+$toolchain" --version >/dev/null 2>&1; then
    echo "skipped: compiling, since there is no Rust $msrv (rustup toolchain install $msrv)"
    exit 0
fi
# Types are the same without the libraries that two of the features bind to.
export TURBOJPEG_SOURCE=explicit TURBOJPEG_LIB_DIR=. TURBOJPEG_INCLUDE_DIR=.
for features in "--all-targets --no-default-features" "--all-targets --features dlpack,serde" \
    "--all-features --features tch/doc-only"; do
    # shellcheck disable=SC2086 # words are options
    cargo "+$toolchain" check --locked --target-dir target/msrv $features
done

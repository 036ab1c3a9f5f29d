# To be sourced (bash): where a sanitizer can run, and where it runs. $1 is its name.

cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-gnu

skip() {
    echo "skipped: $1"
    exit 0
}

[ "$(uname -sm)" = "Linux x86_64" ] || skip "$1 is set up for Linux on x86-64 here"
sysroot=$(rustc +nightly --print sysroot 2>/dev/null) || skip "there is no nightly toolchain (rustup toolchain install nightly)"

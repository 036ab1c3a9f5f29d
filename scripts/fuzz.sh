#!/usr/bin/env bash
# Looks for input that breaks a parser, for so many seconds each: fuzz.sh SECONDS [TARGET...]. Needs a nightly toolchain and
# cargo-fuzz, and installs neither. It ends with the first input that is found, which is then in target/fuzz/artifacts. Once that
# is mended the input goes to fuzz/regressions/TARGET, from where `cargo test --test hostile` replays it.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
    echo "skipped: $1"
    exit 0
}

cargo +nightly --version >/dev/null 2>&1 || skip "there is no nightly toolchain (rustup toolchain install nightly)"
cargo +nightly fuzz --version >/dev/null 2>&1 || skip "there is no cargo-fuzz (cargo install cargo-fuzz)"

seconds=${1:-600}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo +nightly fuzz list)

# libjpeg-turbo as well, where it can be built; with clang, so that the fuzzer and AddressSanitizer see into it.
options=(-O --codegen-units 16 --target-dir target/fuzz)
if scripts/turbojpeg.sh --check 2>/dev/null; then
    options+=(--features turbojpeg)
    flags=-fsanitize=address,fuzzer-no-link
    if echo 'int main(void) { return 0; }' | clang $flags -x c - -o /dev/null 2>/dev/null; then
        export CC=clang CFLAGS="$flags -g"
    fi
fi

for target in "${targets[@]}"; do
    corpus=target/fuzz/corpus/$target
    artifacts=target/fuzz/artifacts/$target
    mkdir -p "$corpus" "$artifacts"
    echo "== $target, for $seconds s"
    cargo +nightly fuzz run "${options[@]}" "$target" "$corpus" fixtures/formats fixtures/bad fixtures/idx fuzz/seeds fuzz/regressions -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 \
        -artifact_prefix="$artifacts/" -print_final_stats=1
done

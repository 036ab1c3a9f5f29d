#!/usr/bin/env bash
# The tests of the engine and of the fake device under AddressSanitizer, which sees memory that is used after it was freed, and
# memory that is lost. Needs a nightly toolchain.
set -euo pipefail
. "$(dirname "$0")/sanitizer.sh" AddressSanitizer

run() {
    RUSTFLAGS="-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer" \
        cargo +nightly test --locked --target "$target" --target-dir target/asan --no-default-features "$@"
}

# What a panic panics with when it is dropped is not dropped a second time: that one is lost on purpose. So is, in a test that
# runs by itself, memory that a device which does not answer may still be reading.
mkdir -p target/asan
echo "leak:Spiteful" >target/asan/suppressions
export LSAN_OPTIONS="suppressions=$PWD/target/asan/suppressions print_suppressions=0 ${LSAN_OPTIONS:-}"
lossy=stress::a_fault_of_the_device_costs_its_batch_alone_and_never_frees_memory_that_it_may_be_reading
ASAN_OPTIONS="detect_leaks=1 ${ASAN_OPTIONS:-}" run \
    --test bad_samples --test device --test engine --test iterable -- --skip "$lossy" "$@"
ASAN_OPTIONS="detect_leaks=0 ${ASAN_OPTIONS:-}" run --test device -- --exact "$lossy"

#!/usr/bin/env bash
# The tests of the engine, of what goes wrong in it, and of the fake device under ThreadSanitizer, which sees two threads at
# one byte without anything between them. Needs a nightly toolchain.
set -euo pipefail
. "$(dirname "$0")/sanitizer.sh" ThreadSanitizer
flags="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer"
build=()
out=target/tsan
mkdir -p "$out"

# What std does itself the sanitizer only sees if std is built for it. Of a std that was compiled without, it does not see how a
# contended lock is taken, how a thread waits on a condition, or that the threads of a scope have ended; and what an Arc does
# for its last owner is a fence, which it does not know. Where the source of std is missing, these are wrapped, and the
# sanitizer is told.
if [ -d "$sysroot/lib/rustlib/src/rust/library" ]; then
    build=(-Zbuild-std)
else
    command -v cc strings >/dev/null ||
        skip "there is neither the source of std (rustup component add --toolchain nightly rust-src) nor a C compiler with binutils"
    std=$(ls "$sysroot/lib/rustlib/$target/lib"/libstd-*.rlib)
    symbol() {
        # By text, since nm cannot read every nightly's objects.
        strings -a "$std" | awk -v "name=^_R[A-Za-z0-9_]*3std$1\$" '$0 ~ name && !found++ { print }'
    }
    lock=$(symbol '3sys4sync5mutex5futex[A-Za-z0-9_]*5Mutex14lock_contended')
    wait=$(symbol '3sys4sync7condvar5futex[A-Za-z0-9_]*7Condvar4wait')
    wait_timeout=$(symbol '3sys4sync7condvar5futex[A-Za-z0-9_]*7Condvar12wait_timeout')
    once=$(symbol '3sys4sync4once5futex[A-Za-z0-9_]*4Once4call')
    leave=$(symbol '6thread6scoped[A-Za-z0-9_]*9ScopeData29decrement_num_running_threads')
    fetch_sub=__tsan_atomic64_fetch_sub
    for name in "$lock" "$wait" "$wait_timeout" "$once" "$leave"; do
        [ -n "$name" ] ||
            skip "this std has other locks, and its source is not there (rustup component add --toolchain nightly rust-src)"
    done
    cat >"$out/std.c" <<C
#include <stdbool.h>
#include <stdint.h>
void __tsan_acquire(void *);
void __tsan_release(void *);
void __real_$lock(void *mutex);
void __wrap_$lock(void *mutex) {
    __real_$lock(mutex);
    __tsan_acquire(mutex);
}
void __real_$wait(void *condvar, void *mutex);
void __wrap_$wait(void *condvar, void *mutex) {
    __tsan_release(mutex);
    __real_$wait(condvar, mutex);
    __tsan_acquire(mutex);
}
bool __real_$wait_timeout(void *condvar, void *mutex, uint64_t seconds, uint32_t nanos);
bool __wrap_$wait_timeout(void *condvar, void *mutex, uint64_t seconds, uint32_t nanos) {
    __tsan_release(mutex);
    bool in_time = __real_$wait_timeout(condvar, mutex, seconds, nanos);
    __tsan_acquire(mutex);
    return in_time;
}
void __real_$once(void *once, void *a, void *b, void *c, void *d);
void __wrap_$once(void *once, void *a, void *b, void *c, void *d) {
    __real_$once(once, a, b, c, d);
    __tsan_release(once);
    __tsan_acquire(once);
}
void __real_$leave(void *scope, bool panicked);
void __wrap_$leave(void *scope, bool panicked) {
    /* Whichever of its three words is the counter. */
    for (int word = 0; word < 3; ++word) __tsan_release((uint64_t *)scope + word);
    __real_$leave(scope, panicked);
}
/* Arc counts down with Release, and fences. Release is 3, and both are 4. */
uint64_t __real_$fetch_sub(volatile uint64_t *counter, uint64_t by, int order);
uint64_t __wrap_$fetch_sub(volatile uint64_t *counter, uint64_t by, int order) {
    return __real_$fetch_sub(counter, by, order == 3 ? 4 : order);
}
C
    cc -c -O1 -fPIC -o "$out/std.o" "$out/std.c"
    flags="$flags -Clink-arg=$PWD/$out/std.o"
    for name in "$lock" "$wait" "$wait_timeout" "$once" "$leave" "$fetch_sub"; do
        flags="$flags -Clink-arg=-Wl,--wrap=$name"
    done
    # Between std and itself, and between the test harness and itself: what a thread prints, or says when it panics, goes into a
    # Vec that the harness reads, and that the last of them frees.
    printf 'race:%s\n' test::run_test test::event std::sys::thread_local std::thread::thread::Inner \
        'alloc::vec::Vec<u8> as std::io::Write' \
        'Arc<std::sync::poison::mutex::Mutex<alloc::vec::Vec<u8>>>>::drop_slow' >"$out/suppressions"
fi
touch "$out/suppressions"

# Without backtraces, whose tables std shares among threads in its own way.
RUST_BACKTRACE=0 TSAN_OPTIONS="suppressions=$PWD/$out/suppressions exitcode=66 ${TSAN_OPTIONS:-}" RUSTFLAGS="$flags" \
    cargo +nightly test --locked "${build[@]}" --target "$target" --target-dir "$out" --no-default-features \
    --test bad_samples --test chaos --test device --test engine --test iterable --test stragglers "$@"

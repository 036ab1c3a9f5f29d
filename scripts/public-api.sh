#!/bin/sh
# Writes docs/public-api.txt, the public API with all features; with the argument `--check` compares instead. Needs a
# nightly toolchain and cargo-public-api, and neither libtorch nor libjpeg-turbo, since nothing is linked.
set -eu
cd "$(dirname "$0")/.."

page=docs/public-api.txt
for tool in "+nightly --version" "public-api --version"; do
    # shellcheck disable=SC2086 # two words are two arguments
    if ! cargo $tool >/dev/null 2>&1; then
        echo "skipped: there is no nightly toolchain, or no cargo-public-api (cargo install --locked cargo-public-api)"
        exit 0
    fi
done
out=target/public-api
mkdir -p "$out"
if ! TURBOJPEG_SOURCE=explicit TURBOJPEG_LIB_DIR=. TURBOJPEG_INCLUDE_DIR=. CARGO_TARGET_DIR=$out \
    cargo +nightly public-api --omit blanket-impls --all-features --features tch/doc-only \
    >"$out/all.txt" 2>"$out/messages.txt"; then
    if grep -q "Failed to parse rustdoc JSON" "$out/messages.txt"; then
        echo "skipped: this cargo-public-api cannot read what this nightly toolchain writes; one of them is too old"
        exit 0
    fi
    cat "$out/messages.txt" >&2
    exit 1
fi

awk '
BEGIN {
    print "# The public API with all features, written by `make public-api`. Left out: functions of the traits of std,"
    print "# blanket implementations, and that a type is Send, Sync, Unpin and UnwindSafe, which it is unless `!` or `where`"
    print "# says otherwise."
}
# Only nightly can name these three.
/^impl.* core::marker::(Freeze|UnsafeUnpin|StructuralPartialEq) for / { next }
/^impl.* core::(marker::(Send|Sync|Unpin)|panic::unwind_safe::(Ref)?UnwindSafe) for / {
    if (!/^impl(<.*>)? !/ && !/ where /) next
}
/^impl/ {
    head = $0
    of_std = /^impl(<.*>)? (core|alloc|std)::.* for /
}
# A function of a module stands behind the last impl, and belongs to none.
/ fn / && of_std && !/ fn sutler(::[a-z0-9_]+)+[(<]/ { next }
# An impl is listed with its trait and with its type.
!seen[head, $0]++
' "$out/all.txt" >"$out/public-api.txt"

if [ "${1:-}" != --check ]; then
    cp "$out/public-api.txt" "$page"
elif ! diff -u "$page" "$out/public-api.txt"; then
    echo "the public API is not what $page says: run \`make public-api\`, and commit the difference if it is meant" >&2
    exit 1
fi

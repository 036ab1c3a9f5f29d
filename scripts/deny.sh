#!/bin/sh
# What deny.toml demands of the dependencies: licences, versions, sources; and advisories, where their database can be
# reached and the argument `--offline` does not say to do without. Needs cargo-deny.
set -eu
cd "$(dirname "$0")/.."

if ! command -v cargo-deny >/dev/null; then
    echo "skipped: there is no cargo-deny (cargo install --locked cargo-deny)"
    exit 0
fi
# A warning is about a line of deny.toml that nothing needs any more.
cargo deny --locked check --deny warnings bans licenses sources
[ "${1:-}" != --offline ] || exit 0

if cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --locked check --deny warnings advisories
else
    echo "skipped: advisories, since their database cannot be reached"
fi

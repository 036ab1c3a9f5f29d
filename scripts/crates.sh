#!/bin/sh
# Counts the crates of each set of features, as a table for docs/TESTING.md: those named in Cargo.toml, all that a build
# on this platform compiles, and those that are not simply to be had under MIT.
set -eu
cd "$(dirname "$0")/.."

# A line for each crate: name, version; licence. $1 says how deep, the others say of which features.
crates() {
    depth=$1
    shift
    cargo tree --locked --edges normal,build --depth "$depth" --prefix none --no-dedupe --format '{p};{l}' "$@" |
        sed -n 's/^\([^ ]* v[^ ;]*\)[^;]*;/\1;/; /^sutler /!p' | sort -u
}

echo '| features | named | all | not simply MIT |'
echo '|---|---|---|---|'
while read -r name options; do
    # shellcheck disable=SC2086 # options are words
    echo "| $name | $(crates 1 $options | wc -l) | $(crates 99 $options | wc -l) | $(
        crates 99 $options | awk -F ';' '!/MIT/ || / AND / {
            sub(/ .*/, "", $1)
            printf "%s%s: %s", others++ ? "; " : "", $1, $2
        }') |"
done <<'END'
none --no-default-features
`serde` --no-default-features --features serde
`dlpack` --no-default-features --features dlpack
`vision`
`turbojpeg` --features turbojpeg
`tch` --no-default-features --features tch
`telemetry` --no-default-features --features telemetry
`webhook` --no-default-features --features webhook
`monitor` --no-default-features --features monitor
all --all-features
END

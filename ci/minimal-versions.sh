#!/usr/bin/env bash
# Checks that the library builds with the oldest versions of its dependencies that Cargo.toml
# admits.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

has_nightly || skip "there is no nightly toolchain (to choose minimal versions)"

# Works in a copy, because cargo writes the chosen versions to Cargo.lock. Only the library is
# built, so old development dependencies do not matter.
copy=$target/minimal-versions/copy
rm -rf "$copy"
mkdir -p "$copy"
cp -R Cargo.toml README.md src docs "$copy/"
cd "$copy"
sed -i.orig -e '/^members = /d' -e '/^default-members = /d' \
    -e '/^\[dev-dependencies\]/,/^$/d' -e '/^\[\[test\]\]/,/^$/d' Cargo.toml
run cargo +nightly update -Zdirect-minimal-versions
CARGO_TARGET_DIR=$target/minimal-versions/build run cargo check --lib
run cargo tree --edges normal --depth 1

#!/usr/bin/env bash
# Checks that each optional feature builds alone, and runs the tests of the feature.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

for feature in $(sed -n '/^\[features\]/,/^$/s/^\([a-z]*\) = .*/\1/p' Cargo.toml); do
    say "$feature"
    run cargo check -p captor --lib --features "$feature"
    run cargo test -p captor --features "$feature" --test "$feature"
    run cargo test -p captor --features "$feature" --doc
done

#!/usr/bin/env bash
# Each optional feature builds alone, and what it adds is tested.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

for feature in $(sed -n '/^\[features\]/,/^$/s/^\([a-z]*\) = .*/\1/p' Cargo.toml); do
    say "$feature"
    run cargo check --lib --features "$feature"
    run cargo test --features "$feature" --test "$feature"
    run cargo test --features "$feature" --doc
done

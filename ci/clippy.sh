#!/usr/bin/env bash
# Checks that rustc and clippy warn nowhere, including the code that only the model checkers see.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

cargo clippy --version >/dev/null 2>&1 || skip "clippy is not installed"
run cargo clippy --workspace --all-targets --all-features -- -D warnings

for checker in loom shuttle; do
    say "under --cfg captor_$checker"
    RUSTFLAGS="--cfg captor_$checker" CARGO_TARGET_DIR=$target/$checker \
        run cargo clippy -p captor --lib --profile test -- -D warnings
done

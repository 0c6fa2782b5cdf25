#!/usr/bin/env bash
# Checks that every example builds and runs to its end on a small input.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

shopt -s nullglob
examples=(examples/*.rs examples/*/main.rs)
((${#examples[@]})) || skip "there are no examples"
# Some examples need a feature.
run cargo build --release --all-features --examples
run cargo test --release --all-features --examples

for example in "${examples[@]}"; do
    name=${example#examples/}
    name=${name%/main.rs}
    name=${name%.rs}
    case $name in
        quickstart) args=(src) ;;
        ledger) args=(10 1000) ;;
        echo_room) args=(--clients 100) ;;
        top) args=(--plain 2) ;;
        *) args=() ;;
    esac
    say "$name"
    run cargo run --quiet --release --all-features --example "$name" -- ${args[@]+"${args[@]}"}
done

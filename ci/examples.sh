#!/usr/bin/env bash
# Checks that every example builds and runs to its end on a small input, and that the README's
# first command compiles few crates.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

most_crates=50

say "what a newcomer compiles first"
crates=$(cargo tree -p captor-examples --edges normal,build --prefix none --format '{p}' | cut -d ' ' -f 1 | sort -u | wc -l)
echo "$crates crates, $most_crates at most"
((crates <= most_crates)) || fail "the first example compiles $crates crates"

packages=(-p captor-examples -p captor-apps)
run cargo build --release --features io "${packages[@]}" --examples
run cargo test --release --features io "${packages[@]}" --examples

shopt -s nullglob
for example in examples/*.rs examples/apps/*.rs examples/apps/*/main.rs; do
    name=${example#examples/}
    name=${name#apps/}
    name=${name%/main.rs}
    name=${name%.rs}
    case $name in
        lib) continue ;;
        quickstart) args=(src) ;;
        ledger) args=(10 1000) ;;
        echo_room) args=(--clients 100) ;;
        top) args=(--plain 2) ;;
        *) args=() ;;
    esac
    say "$name"
    run cargo run --quiet --release --features io --example "$name" -- ${args[@]+"${args[@]}"}
done

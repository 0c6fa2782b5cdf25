#!/usr/bin/env bash
# Checks that every benchmark runs to its end and that the count of each lap is right. The laps are
# too short to measure anything.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

run cargo run --release -p captor-bench -- --rounds 1 --ms 5 \
    --json "$target/bench.json" --plots "$target/plots"

#!/usr/bin/env bash
# Every benchmark runs to its end, and each lap's count is right. Nothing is
# measured: an unoptimised build does for that.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

run cargo run -p captor-bench -- --rounds 1 --ms 5 \
    --json "$target/bench.json" --plots "$target/plots"

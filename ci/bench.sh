#!/usr/bin/env bash
# Every benchmark runs to its end, and each lap's count is right. Nothing is
# measured in so short a time.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

run cargo run --release -p captor-bench -- --rounds 1 --ms 5 \
    --json "$target/bench.json" --plots "$target/plots"

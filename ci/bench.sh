#!/usr/bin/env bash
# The benchmarks run to their end. No time is asserted: they print what they measure.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

CAPTOR_BENCH_ROUNDS=1 CAPTOR_BENCH_MS=20 run cargo run --release -p captor-bench

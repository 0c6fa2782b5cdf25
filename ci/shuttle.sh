#!/usr/bin/env bash
# Runs the models, and larger models, with many random schedules: 500 of each of three kinds, or
# 1,500 if CAPTOR_LONG=1. SCHEDULES sets another number.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

run_models shuttle

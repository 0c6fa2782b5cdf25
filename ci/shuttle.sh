#!/usr/bin/env bash
# Runs the models, and larger models, with many random schedules.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

run_models shuttle

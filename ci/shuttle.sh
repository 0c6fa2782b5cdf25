#!/usr/bin/env bash
# The models, and larger ones, with many random schedules.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

run_models shuttle

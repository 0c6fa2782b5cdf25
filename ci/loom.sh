#!/usr/bin/env bash
# Runs the models with every interleaving and every weak reordering that loom can reach. You may
# set LOOM_MAX_PREEMPTIONS and loom's other variables; each model has defaults.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

run_models loom

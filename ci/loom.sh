#!/usr/bin/env bash
# The models, with every interleaving and every weak reordering that loom can reach.
# LOOM_MAX_PREEMPTIONS and its other settings may be given; each model has defaults.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

run_models loom

#!/usr/bin/env bash
# Runs the models with every interleaving and every weak reordering that loom can reach. Each model
# has a bound on preemptions. LOOM_MAX_PREEMPTIONS sets another bound for all of them. By default,
# the five models that take half of the time run with one preemption less; CAPTOR_LONG=1 runs them
# in full.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

run_models loom

#!/usr/bin/env bash
# The code is formatted as rustfmt does it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

cargo fmt --version >/dev/null 2>&1 || skip "rustfmt is not installed"
run cargo fmt --all --check -- --color never

#!/usr/bin/env bash
# Checks that rustfmt would change nothing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

cargo fmt --version >/dev/null 2>&1 || skip "rustfmt is not installed"
run cargo fmt --all --check -- --color never

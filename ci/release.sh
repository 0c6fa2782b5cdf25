#!/usr/bin/env bash
# The tests as the optimizer leaves them: other timing, sizes that only a release
# build can do (overload, footprint), and ten seconds of the soak test.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

run cargo test --release --tests

say "soak"
if [[ -f tests/soak.rs ]]; then
    CAPTOR_SOAK_SECS=${CAPTOR_SOAK_SECS:-10} \
        run cargo test --release --test soak -- --ignored --nocapture
else
    skip_part "there is no soak test (tests/soak.rs)"
fi

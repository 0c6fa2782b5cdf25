#!/usr/bin/env bash
# Runs the tests in a release build, which has other timing. The overload and footprint tests use
# sizes that only a release build can handle. The soak test runs for ten seconds.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

run cargo test -p captor --release --tests

say "soak"
if [[ -f tests/soak.rs ]]; then
    CAPTOR_SOAK_SECS=${CAPTOR_SOAK_SECS:-10} \
        run cargo test -p captor --release --test soak -- --ignored --nocapture
else
    skip_part "there is no soak test (tests/soak.rs)"
fi

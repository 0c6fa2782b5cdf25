#!/usr/bin/env bash
# Runs the tests in a release build, which has other timing. The overload and footprint tests use
# sizes that only a release build can handle. The soak test runs for five seconds, or for sixty if
# CAPTOR_LONG=1. CAPTOR_SOAK_SECS sets another time.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

run cargo test -p captor --release --tests

seconds=5
[[ ${CAPTOR_LONG-} != 1 ]] || seconds=60

say "soak"
if [[ -f tests/soak.rs ]]; then
    CAPTOR_SOAK_SECS=${CAPTOR_SOAK_SECS:-$seconds} \
        run cargo test -p captor --release --test soak -- --ignored --nocapture
else
    skip_part "there is no soak test (tests/soak.rs)"
fi

#!/usr/bin/env bash
# The documentation builds without a warning, also the way docs.rs builds it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

RUSTDOCFLAGS="-D warnings" run cargo doc --no-deps

say "as docs.rs does"
if has_nightly; then
    RUSTDOCFLAGS="-D warnings --cfg docsrs" CARGO_TARGET_DIR=$target/nightly \
        run cargo +nightly doc --no-deps --all-features
else
    skip_part "documentation with --cfg docsrs: there is no nightly toolchain"
fi

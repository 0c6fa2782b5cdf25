#!/usr/bin/env bash
# Checks that the documentation builds without a warning, locally and as on docs.rs.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

RUSTDOCFLAGS="-D warnings" run cargo doc -p captor --no-deps

say "as docs.rs does"
if has_nightly; then
    RUSTDOCFLAGS="-D warnings --cfg docsrs" CARGO_TARGET_DIR=$target/nightly \
        run cargo +nightly doc -p captor --no-deps --all-features
else
    skip_part "documentation with --cfg docsrs: there is no nightly toolchain"
fi

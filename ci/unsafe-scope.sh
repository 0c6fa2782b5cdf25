#!/usr/bin/env bash
# `unsafe` stays where it is argued: the lint denies it, and only the core
# (src/raw) and the shim around std::sync (src/sync.rs) may lift that.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

grep -qE '^unsafe_code = "(deny|forbid)"' Cargo.toml || fail "Cargo.toml does not deny unsafe_code"

lifted=$(grep -rn --include='*.rs' -w 'unsafe_code' src tests examples benches/src 2>/dev/null |
    grep -vE '^src/(raw/|sync\.rs:)' || true)
[[ -z $lifted ]] || fail "unsafe_code is lifted elsewhere:
$lifted"

echo "unsafe code, lines that name it:"
grep -rcw --include='*.rs' 'unsafe' src | grep -v ':0$' | sort -t: -k2 -rn

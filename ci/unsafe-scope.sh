#!/usr/bin/env bash
# Checks that `unsafe` stays in the files where comments justify its use. The lint denies `unsafe`.
# Only the core (src/raw) and the shim around std::sync (src/sync.rs) may lift the lint. A test may
# lift the lint openly, for instance for an allocator that counts.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

grep -qE '^unsafe_code = "(deny|forbid)"' Cargo.toml || fail "Cargo.toml does not deny unsafe_code"

lifts() { grep -rnw --include='*.rs' 'unsafe_code' "$@" 2>/dev/null || true; }

lifted=$(lifts src examples benches/src | grep -vE '^src/(raw/|sync\.rs:)' || true)
[[ -z $lifted ]] || fail "unsafe_code is lifted outside of src/raw and src/sync.rs:
$lifted"

say "tests that lift it"
lifts tests

say "lines that name unsafe"
grep -rcw --include='*.rs' 'unsafe' src | grep -v ':0$' | sort -t: -k2 -rn

#!/usr/bin/env bash
# Who uses the crate gets these packages, and no others; none of them for nothing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

allowed="
    captor
    crossbeam-queue crossbeam-utils
    futures-core futures-sink
    num_cpus libc
    once_cell
    thiserror thiserror-impl proc-macro2 quote syn unicode-ident
    tracing tracing-core pin-project-lite
"

say "the default dependencies"
tree=$(cargo tree --edges normal --prefix none --format '{p}' | cut -d ' ' -f 1 | sort -u)
echo "$tree" | paste -sd ' ' -
extra=$(comm -23 <(echo "$tree") <(printf '%s\n' $allowed | sort))
[[ -z $extra ]] || fail "not on the list of allowed dependencies: $(echo $extra)"

say "unused dependencies"
if cargo machete --version >/dev/null 2>&1; then
    run cargo machete
else
    skip_part "unused dependencies: cargo-machete is not installed"
fi

#!/usr/bin/env bash
# Checks that users of the crate get no packages except these, and that none of them is unused.
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
tree=$(cargo tree -p captor --edges normal --prefix none --format '{p}' | cut -d ' ' -f 1 | sort -u)
echo "$tree" | paste -sd ' ' -
extra=$(comm -23 <(echo "$tree") <(printf '%s\n' $allowed | sort))
[[ -z $extra ]] || fail "not on the list of allowed dependencies: $(echo $extra)"

say "unused dependencies"
if cargo machete --version >/dev/null 2>&1; then
    run cargo machete
else
    skip_part "unused dependencies: cargo-machete is not installed"
fi

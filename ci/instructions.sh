#!/usr/bin/env bash
# Counts the instructions of a pass through each path, and compares the counts with
# benches/instructions.txt. Counts repeat; times do not. `--note` writes the file anew.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

noted=benches/instructions.txt
tolerance=3 # percent, either way

command -v valgrind >/dev/null || skip "there is no valgrind (to count instructions)"
compiler=$(rustc --version | cut -d' ' -f1,2)
if [[ ${1-} != --note ]] && ! grep -qx "# $compiler" "$noted"; then
    skip "the counts in $noted are another compiler's: $(head -n 1 "$noted"), not $compiler"
fi

run cargo build --release -p captor-bench --bin instructions
program=$target/release/instructions

collected() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

# Prints the instructions of a pass: the extra count of 8000 more passes, divided by 8000.
count() { echo $((($(collected "$1" 16000) - $(collected "$1" 8000)) / 8000)); }

if [[ ${1-} == --note ]]; then
    {
        echo "# $compiler"
        for path in $("$program"); do
            echo "$path $(count "$path")"
        done
    } | tee "$noted"
    exit
fi

bad=0
while read -r path before; do
    [[ $path != \#* ]] || continue
    now=$(count "$path")
    printf '%-20s %6d, noted %6d\n' "$path" "$now" "$before"
    off=$((now > before ? now - before : before - now))
    # A difference of one instruction always passes, whatever the percentage.
    ((off <= 1 || off * 100 <= before * tolerance)) || bad=1
done <"$noted"
((bad == 0)) || fail "a path takes more, or fewer, instructions than noted (bash ci/instructions.sh --note)"

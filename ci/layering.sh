#!/usr/bin/env bash
# Checks that no module names a forbidden module. The model checkers see only the operations that
# use src/sync.rs. The core must be readable without the surrounding modules.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

# names PATTERN FILE...: prints the matching lines of code, without comments and unit tests.
names() {
    local pattern=$1
    shift
    perl -e '
        my $pattern = shift;
        for my $file (@ARGV) {
            open my $lines, "<", $file or die "$file: $!";
            while (<$lines>) {
                last if /^mod tests\b/;
                my $line = $_;
                s{//.*}{};
                print "$file:$.: $line" if /$pattern/;
            }
        }' "$pattern" "$@"
}

# The code that the checkers do not see, and the reason why each file is allowed.
exceptions="
    src/error.rs        # a Mutex that makes a panic payload Sync; no thread ever locks it
"

bad=0
complain() {
    printf 'FAILED: %s\n%s\n' "$1" "$2"
    bad=1
}
forbid() {
    local message=$1 found
    shift
    found=$(names "$@")
    [[ -z $found ]] || complain "$message" "$found"
}

say "std::sync, std::thread and the model checkers are named in src/sync.rs"
# PoisonError is a plain type, shared by all of them.
door='(?<!crate::)(?<!super::)\b(sync|loom|shuttle)::(?!PoisonError)|\b(std|core)::thread(_local)?\b'
while read -r file; do
    found=$(names "$door" "$file")
    exception=$(grep -E "^ *$file( |$)" <<<"$exceptions" || true)
    if [[ -n $exception && -z $found ]]; then
        complain "an exception that is no longer needed" "$exception"
    elif [[ -n $exception ]]; then
        printf 'by exception, %s:\n%s\n' "${exception#*\# }" "$found"
    elif [[ -n $found ]]; then
        complain "$file goes around src/sync.rs" "$found"
    fi
done < <(find src -name '*.rs' ! -path src/sync.rs ! -path 'src/models*' | sort)

say "the state word imports nothing"
forbid "src/raw/strand/state.rs names others" '^\s*(pub )?use (?!core::)|\b(crate|super|std)::' src/raw/strand/state.rs

((bad == 0)) || exit 1

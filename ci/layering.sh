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

# The layers, from the lowest to the highest, one in a row. A layer is a folder or a file of src. A
# layer names only layers in earlier rows, and of these only the layers that its own row lists. The
# comments in src refer to this table and do not repeat it.
layers() {
    cat <<'END'
# folder        may name
sync
error           sync
stats           sync
raw/strand      sync
raw/thread      sync error
raw/timing      sync stats raw/thread
raw/task        sync error raw/strand raw/thread raw/timing
raw/core        sync error stats raw/strand raw/thread raw/timing raw/task
raw/ending      sync error raw/strand raw/thread raw/timing raw/task raw/core
raw/run         sync error raw/strand raw/thread raw/timing raw/task raw/core raw/ending
raw/waiting     sync error raw/strand raw/thread raw/task raw/core raw/ending raw/run
raw/submit      sync error raw/strand raw/thread raw/task raw/core raw/ending raw/run raw/waiting
pool            sync raw/thread raw/timing raw/core raw/run
future          sync error raw/thread raw/task raw/core raw/run raw/waiting raw/submit
scheduler       sync error stats raw/strand raw/thread raw/timing raw/core raw/run pool future
resource        sync error stats raw/strand raw/thread raw/task raw/core raw/ending raw/run raw/waiting raw/submit future scheduler
compose         sync error raw/thread raw/task raw/core raw/run raw/submit raw/waiting future scheduler resource
io
testing         sync raw/thread raw/timing raw/core pool scheduler resource
END
}

say "each folder names only what its row allows, by import, by path or by method"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
layers >"$scratch/layers"
perl ci/layering.pl src "$scratch/layers" || bad=1

say "the check fails where it should"
# plant NAME FILE LINE: adds LINE to FILE in a copy of src. The check must complain about FILE.
plant() {
    local name=$1 file=$2 line=$3 said
    rm -rf "$scratch/src"
    cp -r src "$scratch/src"
    printf '%s\n' "$line" "$(cat "$scratch/$file")" >"$scratch/$file"
    said=$(perl ci/layering.pl "$scratch/src" "${4-$scratch/layers}" 2>&1) &&
        complain "nothing was said of $name" "$line"
    grep -q "${file##*/}" <<<"$said" || complain "$name: another complaint" "$said"
    printf 'found: %s\n' "$name"
}
plant "an import upwards" src/raw/strand/queue.rs 'use crate::raw::core::Core;'
plant "an import in a group" src/raw/task/life.rs 'use crate::{error::TaskError, raw::{run::role, strand::Strand}};'
plant "an import by super" src/raw/timing/alarm.rs 'use super::super::core::room::Room;'
plant "a path without an import" src/pool/roster.rs 'fn f(_: crate::scheduler::Scheduler) {}'
plant "a method without an import" src/raw/core/room.rs 'fn f(core: &super::Shell) { core.note_panic(None) }'
plant "a name from the crate's front" src/raw/core/room.rs 'use crate::Completion;'
sed 's/^raw\/strand .*/& raw\/core/' "$scratch/layers" >"$scratch/circle"
said=$(perl ci/layering.pl src "$scratch/circle" 2>&1) && complain "nothing was said of a circle" "$said"
grep -q 'raw/strand may not name raw/core, which' <<<"$said" && echo "found: a circle in the table"

((bad == 0)) || exit 1

# Shared by the checks in this folder, which source this file. Each check is a script, `ci/NAME.sh`.
# Its exit code is 0 (passed), 77 (skipped, with the reason printed), or another code (failed).

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
target=${CARGO_TARGET_DIR:-target}
[[ $target == /* ]] || target=$root/$target

# If a toolchain is missing, the check is skipped. rustup must not download a toolchain.
export RUSTUP_AUTO_INSTALL=0
export RUST_BACKTRACE=${RUST_BACKTRACE:-1}

# Prints a heading for the next step.
say() { printf '\n-- %s\n' "$*"; }

# Shows a command, then runs it.
run() {
    printf '+ %s\n' "$*"
    "$@"
}

# Ends the check as skipped, because something that it needs is missing. `.ci/run` repeats the
# reason.
skip() {
    printf 'SKIPPED: %s\n' "$*"
    exit 77
}

# Skips one part of a check. The rest of the check runs.
skip_part() { printf 'SKIPPED IN PART: %s\n' "$*"; }

fail() {
    printf 'FAILED: %s\n' "$*"
    exit 1
}

host() { rustc -vV | sed -n 's/^host: //p'; }

has_nightly() { cargo +nightly --version >/dev/null 2>&1; }

# Prints the oldest Rust that the package promises to build with.
rust_version() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

# Checks whether version $1 is at least $2.
at_least() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }

# Runs the models of src/models/ with one of the model checkers: `loom` or `shuttle`.
run_models() {
    local checker=$1
    [[ -d src/models || -f src/models.rs ]] || skip "there are no models (src/models)"
    export RUSTFLAGS="--cfg captor_$checker" CARGO_TARGET_DIR=$target/$checker
    local package models
    local test=(cargo test -p captor --release --lib)
    # Cargo also builds the needs of other tests, although this check does not use them.
    for package in futures-util proptest rayon rayon-core regex-automata regex-syntax \
        tokio tracing-subscriber zerocopy; do
        test+=(--config "profile.release.package.$package.opt-level=0")
    done
    run "${test[@]}" --no-run
    models=$("${test[@]}" --quiet models:: -- --list 2>/dev/null | grep -c ': test$' || true)
    ((models > 0)) || fail "no model is compiled under --cfg captor_$checker"
    say "$models models"
    run "${test[@]}" models::
}

# Prints the versions of a Debian package that apt can download, newest first.
debian_versions() {
    apt-cache madison "$1" 2>/dev/null | awk -F'|' '{ gsub(/ /, "", $2); print $2 }' | sort -ruV
}

# Makes sure that apt knows package $1. Fresh systems have no package lists.
debian_knows() {
    command -v apt-get dpkg >/dev/null || return 1
    [[ -n $(debian_versions "$1") ]] && return
    ((EUID == 0)) && run apt-get -qq update && [[ -n $(debian_versions "$1") ]]
}

# debian_unpack FOLDER PACKAGE=VERSION...: unpacks these packages below FOLDER, with all
# dependencies that this system lacks. Installs nothing.
debian_unpack() {
    local folder=$1 wanted package
    shift
    [[ $(cat "$folder/.packages" 2>/dev/null) == "$*" ]] && return
    rm -rf "$folder"
    mkdir -p "$folder/debs"
    wanted=$(apt-get --simulate --allow-downgrades --no-install-recommends install "$@" |
        sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p') || return 1
    # With another C library, the unpacked programs would not run here.
    grep -q '^libc6' <<<"$wanted" && return 1
    wanted=$(printf '%s\n' "$@" $wanted | sort -u)
    # shellcheck disable=SC2086 # one word each
    (cd "$folder/debs" && run apt-get -q -o APT::Sandbox::User=root download $wanted) || return 1
    for package in "$folder"/debs/*.deb; do
        dpkg -x "$package" "$folder"
    done
    rm -r "$folder/debs"
    echo "$*" >"$folder/.packages"
}

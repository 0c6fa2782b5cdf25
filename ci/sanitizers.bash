# Shared by the checks that run the tests under a sanitizer. A check sets `cargo` to the command
# with its toolchain, and sets the environment for that command.

source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

# Stack traces need line numbers only. Less debug information makes the build faster.
export CARGO_PROFILE_DEV_DEBUG=line-tables-only
# Instrumented code runs at a tenth of its speed.
export PROPTEST_CASES=${PROPTEST_CASES:-16}

# canary MESSAGE CODE: checks that the sanitizer reports a program that does CODE with MESSAGE. If
# the sanitizer does not work and stays silent, the code must not count as clean.
canary() {
    local folder=$CARGO_TARGET_DIR/canary output
    say "canary: $1"
    mkdir -p "$folder"
    printf '%s\n' '[package]' 'name = "canary"' 'edition = "2024"' \
        '[[bin]]' 'name = "canary"' 'path = "main.rs"' '[workspace]' >"$folder/Cargo.toml"
    printf '#![allow(static_mut_refs)]\nfn main() {%s\n}\n' "$2" >"$folder/main.rs"
    output=$("${cargo[@]}" run --quiet --target "$(host)" --manifest-path "$folder/Cargo.toml" 2>&1) &&
        fail "a seeded bug went unnoticed"
    grep -q "$1" <<<"$output" || fail "a seeded bug was not reported as such: $output"
    echo "reported, as it should be"
}

sanitized_tests() {
    say "tests"
    run "${cargo[@]}" test -p captor --no-fail-fast --target "$(host)" --tests
}

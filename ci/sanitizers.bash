# Shared by the checks that run the tests under a sanitizer. They set `cargo` to
# the command with its toolchain, and the environment that it needs.

source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

# Stack traces need lines and no more; the less there is to write, the sooner.
export CARGO_PROFILE_DEV_DEBUG=line-tables-only
# Instrumented code runs at a tenth of the speed.
export PROPTEST_CASES=${PROPTEST_CASES:-16}

# canary MESSAGE CODE: a program that does CODE is reported with MESSAGE. A
# sanitizer that is silent because it does not work must not pass for clean code.
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
    run "${cargo[@]}" test --no-fail-fast --target "$(host)" --tests
}

#!/usr/bin/env bash
# Runs unit and integration tests under AddressSanitizer, which finds use after free, double free,
# access out of bounds, and leaks.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/sanitizers.bash"

has_nightly || skip "there is no nightly toolchain"
[[ $(host) == *-linux-gnu ]] || skip "the sanitizer is set up here for Linux only"

export RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=$target/asan
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$root/ci/lsan.supp:print_suppressions=0}
cargo=(cargo +nightly)

canary "LeakSanitizer: detected memory leaks" 'std::mem::forget(Box::new(1));'
canary "AddressSanitizer: heap-use-after-free" '
    let b = Box::into_raw(Box::new(1));
    drop(unsafe { Box::from_raw(b) });
    assert_ne!(unsafe { b.read_volatile() }, 2);'
sanitized_tests

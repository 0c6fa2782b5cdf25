#!/usr/bin/env bash
# Runs unit and integration tests under ThreadSanitizer, with an instrumented standard library.
# Without an instrumented library, the sanitizer reports false races in Arc and in the test harness.
# The script uses the first of these that is available:
#
# - the nightly toolchain, if its component rust-src is installed;
# - Debian's rustc-web and rust-web-src, if they are installed;
# - Debian's rustc-web and rust-web-src, downloaded with apt and unpacked into the target folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/sanitizers.bash"

[[ $(host) == x86_64-unknown-linux-gnu ]] || skip "the sanitizer is set up here for Linux on x86-64 only"

work=$target/tsan
mkdir -p "$work"
target_lib=lib/rustlib/$(host)/lib
library=lib/rustlib/src/rust/library

# Debian ships a compiler and the library's sources, but not the sanitizer's runtime. rustup's
# toolchains have the runtime. This function links both into one sysroot, and puts a compiler that
# uses the sysroot at $work/rustc.
compose_sysroot() {
    local usr=$1 libraries=$1/lib/$(uname -m)-linux-gnu runtime='' toolchain name
    for toolchain in +nightly ''; do
        # shellcheck disable=SC2086 # an empty value must give no word
        runtime=$(compgen -G "$(rustc $toolchain --print sysroot)/$target_lib/librustc*_rt.tsan.a") && break
    done
    [[ -n $runtime ]] || return 1
    rm -rf "$work/sysroot"
    mkdir -p "$work/sysroot/$target_lib" "$work/sysroot/$(dirname "$(dirname "$library")")"
    ln -s "$usr/$target_lib"/* "$work/sysroot/$target_lib/"
    ln -s "$(realpath "$usr/lib/rustlib/src/rust")" "$work/sysroot/$(dirname "$library")"
    # The runtime's file name contains the channel that the compiler was built for.
    for name in rustc rustc-stable rustc-beta rustc-nightly rustc-dev; do
        ln -sf "$runtime" "$work/sysroot/$target_lib/lib${name}_rt.tsan.a"
    done
    cat >"$work/rustc" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec $usr/bin/rustc --sysroot $work/sysroot "\$@"
END
    chmod +x "$work/rustc"
    "$work/rustc" -vV >"$work/rustc.new"
    # This compiler cannot use the build of an older compiler.
    cmp -s "$work/rustc.new" "$work/rustc.version" || rm -rf "$work/build"
    mv "$work/rustc.new" "$work/rustc.version"
    export RUSTC=$work/rustc RUSTC_BOOTSTRAP=1
    cargo=(cargo)
}

# Finds a compiler and its sources, both of one version that is new enough for this package.
usable() {
    [[ -x $1/bin/rustc && -d $1/$library ]] &&
        at_least "$(LD_LIBRARY_PATH=$1/lib/$(uname -m)-linux-gnu "$1/bin/rustc" --version | cut -d ' ' -f 2)" "$(rust_version)" &&
        compose_sysroot "$1"
}

find_toolchain() {
    local compiler version
    if has_nightly && [[ -d $(rustc +nightly --print sysroot)/$library ]]; then
        cargo=(cargo +nightly)
        return
    fi
    usable /usr && return
    for compiler in rustc-web rustc; do
        debian_knows "$compiler" || continue
        version=$(debian_versions "$compiler" | head -n 1)
        at_least "$version" "$(rust_version)" || continue
        say "unpacking Debian's $compiler $version"
        debian_unpack "$work/debian" "$compiler=$version" \
            "libstd-${compiler/rustc/rust}-dev=$version" "${compiler/rustc/rust}-src=$version" &&
            usable "$work/debian/usr" && return
    done
    return 1
}

find_toolchain || skip "needs nightly with rust-src, or Debian's rustc-web and rust-web-src" \
    "(installed, or to be had with apt) beside a rustup toolchain"

export CARGO_TARGET_DIR=$work/build
export RUSTFLAGS=-Zsanitizer=thread
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=0}
cargo+=(-Zbuild-std)

canary "ThreadSanitizer: data race" '
    static mut X: u32 = 0;
    let gate = std::sync::Barrier::new(2);
    let add = || { gate.wait(); unsafe { X += 1 } };
    std::thread::scope(|s| { s.spawn(add); s.spawn(add); });'
sanitized_tests

#!/usr/bin/env bash
# Unit and integration tests under ThreadSanitizer, with a standard library that
# is instrumented too (without that it reports races that are none, in Arc and
# in the test harness). For this it takes, whichever comes first:
#
# - the nightly toolchain, if its component rust-src is installed;
# - Debian's rustc-web and rust-web-src, if they are installed;
# - the same, downloaded with apt and unpacked into the target folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/sanitizers.bash"

[[ $(host) == x86_64-unknown-linux-gnu ]] || skip "the sanitizer is set up here for Linux on x86-64 only"

work=$target/tsan
mkdir -p "$work"
target_lib=lib/rustlib/$(host)/lib
library=lib/rustlib/src/rust/library

# Debian ships a compiler and the library's sources, but not the sanitizer's
# runtime; rustup's toolchains have that. This puts both into one sysroot of
# links, and a compiler that knows of it at $work/rustc.
compose_sysroot() {
    local usr=$1 libraries=$1/lib/$(uname -m)-linux-gnu runtime='' toolchain name
    for toolchain in +nightly ''; do
        # shellcheck disable=SC2086 # no word if there is none
        runtime=$(compgen -G "$(rustc $toolchain --print sysroot)/$target_lib/librustc*_rt.tsan.a") && break
    done
    [[ -n $runtime ]] || return 1
    rm -rf "$work/sysroot"
    mkdir -p "$work/sysroot/$target_lib" "$work/sysroot/$(dirname "$(dirname "$library")")"
    ln -s "$usr/$target_lib"/* "$work/sysroot/$target_lib/"
    ln -s "$(realpath "$usr/lib/rustlib/src/rust")" "$work/sysroot/$(dirname "$library")"
    # Its name has the channel that the compiler was built for.
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
    # What an older compiler built is of no use to this one.
    cmp -s "$work/rustc.new" "$work/rustc.version" || rm -rf "$work/build"
    mv "$work/rustc.new" "$work/rustc.version"
    export RUSTC=$work/rustc RUSTC_BOOTSTRAP=1
    cargo=(cargo)
}

# A compiler and its sources, of one version, new enough for this package.
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

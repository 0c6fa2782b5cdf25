#!/usr/bin/env bash
# Checks that the library builds with the oldest Rust that Cargo.toml promises (rust-version). The
# compiler of exactly this version comes from rustup, or from Debian's rustc-web or rustc if apt can
# download that version. A downloaded compiler is unpacked into the target folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

msrv=$(rust_version)
work=$target/msrv
mkdir -p "$work"

is_msrv() { [[ $("$1" --version 2>/dev/null) == "rustc $msrv".* ]]; }

find_rustc() {
    local installed compiler version usr
    if installed=$(rustup which --toolchain "$msrv" rustc 2>/dev/null) && is_msrv "$installed"; then
        RUSTC=$installed
        return
    fi
    if is_msrv /usr/bin/rustc; then
        RUSTC=/usr/bin/rustc
        return
    fi
    for compiler in rustc-web rustc; do
        debian_knows "$compiler" || continue
        version=$(debian_versions "$compiler" | grep -m 1 "^$msrv\." || true)
        [[ -n $version ]] || continue
        say "unpacking Debian's $compiler $version"
        debian_unpack "$work/debian" "$compiler=$version" "libstd-${compiler/rustc/rust}-dev=$version" || continue
        usr=$work/debian/usr
        cat >"$work/rustc" <<END
#!/bin/sh
LD_LIBRARY_PATH=$usr/lib/$(uname -m)-linux-gnu\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec $usr/bin/rustc --sysroot $usr "\$@"
END
        chmod +x "$work/rustc"
        is_msrv "$work/rustc" || continue
        RUSTC=$work/rustc
        return
    done
    return 1
}

find_rustc || skip "there is no Rust $msrv: not from rustup, nor from Debian's packages"
export RUSTC CARGO_TARGET_DIR=$work/build
run "$RUSTC" --version
run cargo check -p captor --lib --all-features

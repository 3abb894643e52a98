#!/usr/bin/env bash
# The kernels of AArch64 give the bits of x86-64: compiled from the same sources by the same compiler, run in an emulator.
#
# Needs the packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static (Debian), on any x86-64 CPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The compiler that SwiftPM uses, else any clang.
clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang
[ -x "$clang" ] || clang=clang
sources=(Sources/CKernels/*.c Tests/Interop/kernels.c)
options=(-O2 -Wall -Wextra -Werror -ISources/CKernels/include)

"$clang" "${options[@]}" "${sources[@]}" -lm -lpthread -o "$work/here"
mkdir "$work/arm"
for source in "${sources[@]}"; do
    "$clang" --target=aarch64-linux-gnu -isystem /usr/aarch64-linux-gnu/include "${options[@]}" -c "$source" \
        -o "$work/arm/$(basename "$source").o"
done
aarch64-linux-gnu-gcc -static "$work"/arm/*.o -lm -lpthread -o "$work/there"

"$work/here" portable >"$work/expected"
compare() {
    local name=$1
    shift
    "$@" >"$work/found"
    diff "$work/expected" "$work/found" || {
        echo "$name differs from x86-64 portable"
        exit 1
    }
    echo "$name: the same bits in $(wc -l <"$work/found") digests"
}
for path in $("$work/here"); do compare "x86-64 $path" "$work/here" "$path"; done
paths=$(qemu-aarch64-static "$work/there")
[[ $paths == *neon* ]] || {
    echo "AArch64 has no neon path"
    exit 1
}
for path in $paths; do compare "AArch64 $path" qemu-aarch64-static "$work/there" "$path"; done

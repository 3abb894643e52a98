#!/usr/bin/env bash
# The kernels under the address, undefined-behaviour and thread sanitizers, on every path of this CPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Swift's own clang; its thread sanitizer wants Swift's libdispatch.
tools=$(dirname "$(readlink -f "$(command -v swift)")")
libraries=$tools/../lib/swift/linux
sources=(Sources/CKernels/*.c Tests/Interop/kernels.c)
for sanitizers in address,undefined thread; do
    "$tools/clang" -O1 -g -Wall -Wextra -Werror -fsanitize=$sanitizers -fno-sanitize-recover=all -ISources/CKernels/include \
        "${sources[@]}" -fuse-ld=lld -L"$libraries" -Wl,-rpath,"$libraries" -ldispatch -lBlocksRuntime -lm -lpthread -o "$work/kernels"
    for path in $("$work/kernels"); do
        "$work/kernels" "$path" >/dev/null
        echo "$sanitizers: $path is clean"
    done
done

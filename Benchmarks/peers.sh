#!/usr/bin/env bash
# Installs the software that the benchmarks compare with into a virtual environment: Benchmarks/.build/peers, or the
# folder that CAIRN_PEERS names. Needs python3 with venv, PyPI, and a C compiler.
set -euo pipefail
cd "$(dirname "$0")"
target=${CAIRN_PEERS:-.build/peers}
[ -x "$target/bin/python" ] || python3 -m venv "$target"
"$target/bin/pip" install --quiet torch numpy scipy QuantLib onednn-cpu-gomp scipy-openblas32 ray \
    "dask[distributed]" executorlib
compiler=$(command -v cc || command -v clang)
"$compiler" -shared -fPIC -O1 -o "$target/mkl_avx512.so" Peers/mkl_avx512.c

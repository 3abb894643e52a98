#!/usr/bin/env bash
# PyTorch reads the surrogates that Cairn writes and predicts the same, and Cairn reads what PyTorch writes.
#
# Needs the built command and PyPI (torch, safetensors, numpy in a virtual environment of their own).
set -euo pipefail
cd "$(dirname "$0")/../.."
cairn=$PWD/.build/release/cairn
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch safetensors numpy
"$cairn" run Studies/quick.yaml --no-progress --out "$work/quick" >/dev/null
"$work/venv/bin/python" Tests/Interop/pytorch.py "$cairn" "$work"

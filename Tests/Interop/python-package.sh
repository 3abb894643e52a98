#!/usr/bin/env bash
# The Python package as its user gets it: a wheel is built, installed in a fresh environment, found typed by mypy, and
# passes its tests there, the golden bytes that Swift and C share among them. Needs python3 with venv, and PyPI.
set -euo pipefail
package=$(cd "$(dirname "$0")/../../Examples/python" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv env
# A copy, without what an earlier build may have left among the sources: setuptools would take it for up to date.
cp -r "$package" sources
rm -rf sources/build sources/src/*.egg-info
env/bin/pip wheel --quiet --no-deps --wheel-dir . ./sources
wheel=$(echo cairn_oracle-*.whl)
files=$(env/bin/python -m zipfile --list "$wheel")
for file in __init__.py _oracle.py oracle_pb2.py oracle_pb2.pyi py.typed; do
    grep -q "cairn_oracle/$file " <<<"$files" || { echo "$wheel lacks $file"; exit 1; }
done
env/bin/pip install --quiet "$wheel[test]" mypy types-protobuf
env/bin/mypy --config-file "$package/pyproject.toml" -p cairn_oracle
# What a user's program gets from it is typed, too.
cat > typed.py <<'PYTHON'
from cairn_oracle import Input, Oracle, Valuation, oracle


@oracle(version="1", inputs=[Input("x", 0, 1)], gradient="exact")
def price(x: float, gradient: bool) -> Valuation:
    return Valuation(x, gradient={"x": 1.0})


asked: Oracle = price
reveal_type(price.answer(b""))
PYTHON
types=$(env/bin/mypy --strict typed.py)
grep -Eq 'Revealed type is "(builtins\.)?bytes"' <<<"$types"
env/bin/python -m pytest --quiet -p no:cacheprovider "$package/tests"

#!/usr/bin/env bash
# Runs every snippet of Docs/YourOracle.md, in order, in a folder of its own: a block with a file's name is written to
# that file, a block of `sh` is run. Needs .build/release/cairn, python3 with venv, and a C and C++ compiler.
set -euo pipefail
CAIRN=$(cd "$(dirname "$0")/../.." && pwd)
export CAIRN
SUDO=$([ "$(id -u)" = 0 ] || echo sudo)
export SUDO
export PATH="$CAIRN/.build/release:$PATH"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 - "$CAIRN/Docs/YourOracle.md" <<'PYTHON'
import os, re, sys

text = open(sys.argv[1]).read()
script = ["set -euo pipefail"]
blocks = re.findall(r"^```(\w+) ?([\w.]*)\n(.*?)^```$", text, re.M | re.S)
for language, name, body in blocks:
    if language == "sh":
        script.append(body)
    elif name:
        open(name, "w").write(body.replace("$CAIRN", os.environ["CAIRN"]) if language == "yaml" else body)
    else:
        sys.exit(f"a block of {language} that is neither a file nor run")
assert len(blocks) >= 10, f"only {len(blocks)} snippets"
open("snippets.sh", "w").write("\n".join(script))
PYTHON

bash -x snippets.sh
test -s results/my-heston/summary.json

# Python's and C++'s QuantLib price the same option, and both agree with the closed form of the built-in barrier where
# variance hardly moves.
cat > p.csv <<'CSV'
barrierOverSpot,strikeOverSpot,maturityYears,variance,volOfVol
0.8,1.0,1,0.04,0.05
0.7,1.1,2,0.04,0.05
CSV
cat > q.csv <<'CSV'
barrierOverSpot,strikeOverSpot,maturityYears,rate,variance,meanReversion,longVariance,volOfVol,correlation
0.8,1.0,1,0.05,0.04,2,0.04,0.05,0
0.7,1.1,2,0.05,0.04,2,0.04,0.05,0
CSV
cat > r.csv <<'CSV'
optionType,barrierType,spot,barrier,rebate,strike,maturityYears,volatility,rate,dividendYield
call,downAndOut,100,80,0,100,1,0.2,0.05,0
call,downAndOut,100,70,0,110,2,0.2,0.05,0
CSV
cairn oracle price deskBarrier --input p.csv --out python.csv
cairn oracle price hestonCpp --cluster cpp.yaml --input q.csv --out cpp.csv
cairn oracle price barrier --input r.csv --out closed.csv
python3 - <<'PYTHON'
import csv


def prices(name):
    with open(name) as file:
        return [float(row["price"]) for row in csv.DictReader(file)]


for python, cpp, closed in zip(prices("python.csv"), prices("cpp.csv"), prices("closed.csv")):
    print(f"Python {python:.6f}  C++ {cpp:.6f}  closed form {closed / 100:.6f}")
    assert abs(python - cpp) < 1e-9 and abs(python - closed / 100) < 3e-4
PYTHON

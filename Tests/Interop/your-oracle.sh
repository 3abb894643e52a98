#!/usr/bin/env bash
# Runs every snippet of Docs/YourOracle.md in a folder of its own: a block with a file's name is written to that file, a
# block of `sh` is run, in order. The chapters on Python, C++ and Swift are newcomers of their own and run side by side;
# the service is Python's. Says how long each took, which may be ten minutes. Needs .build/release/cairn, python3 with venv, a C and a C++
# compiler, and apt-get for Debian's QuantLib.
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

scripts = {"Python": "python", "C and C++": "cpp", "A service": "service", "Swift": "swift"}
text = open(sys.argv[1]).read()
found = 0
for chapter in re.split(r"^## ", text, flags=re.M)[1:]:
    title = chapter.split("\n")[0]
    for language, name, body in re.findall(r"^```(\w+) ?([\w.-]*)\n(.*?)^```$", chapter, re.M | re.S):
        found += 1
        if language == "sh":
            open(f"{scripts[title]}.sh", "a").write(body)
        elif name:
            open(name, "w").write(body.replace("$CAIRN", os.environ["CAIRN"]) if language == "yaml" else body)
        else:
            sys.exit(f"a block of {language} that is neither a file nor run")
assert found >= 10, f"only {found} snippets"
PYTHON

# Runs chapters one after the other.
chapters() {
    for chapter in "$@"; do
        local start=$SECONDS
        bash -euxo pipefail "$chapter.sh" || { echo "Docs/YourOracle.md: the snippets of $chapter failed"; return 1; }
        echo "=== $chapter: $((SECONDS - start)) s"
        [ $((SECONDS - start)) -le 600 ] || { echo "$chapter: more than the ten minutes that are promised"; return 1; }
    done
}
chapters python service >python.log 2>&1 & python=$!
chapters cpp >cpp.log 2>&1 & cpp=$!
chapters swift >swift.log 2>&1 & swift=$!
failed=0
wait $python || failed=1
wait $cpp || failed=1
wait $swift || failed=1
cat python.log cpp.log swift.log
[ $failed = 0 ]
test -s results/my-heston/summary.json
test -s results/cpp-heston/summary.json

# Python's and C++'s QuantLib price the same options, and agree with the Heston barrier that is built in: in six corners
# of its box, as far as QuantLib's grid of 50 x 100 x 25 goes.
python3 - "$CAIRN" <<'PYTHON'
import csv, subprocess, sys

ROWS = [  # barrier and strike over spot, maturity, rate, variance, mean reversion, long variance, its volatility, correlation
    (0.80, 1.0, 1.0, 0.05, 0.04, 2, 0.04, 0.3, -0.5),
    (0.70, 1.1, 2.0, 0.02, 0.09, 1, 0.04, 0.5, -0.7),
    (0.65, 0.9, 0.6, 0.08, 0.02, 3, 0.06, 0.2, 0.1),
    (0.75, 1.0, 1.0, 0.00, 0.04, 2, 0.04, 0.4, 0.0),
    (0.60, 1.2, 2.0, 0.05, 0.16, 1, 0.10, 0.6, -0.9),
    (0.80, 1.0, 1.0, 0.05, 0.04, 2, 0.04, 0.1, 0.0),
]
EXAMPLES = "barrierOverSpot,strikeOverSpot,maturityYears,rate,variance,meanReversion,longVariance,volOfVol,correlation"
BUILT_IN = "barrier,strike,maturityYears,rate,variance,reversion,meanVariance,varianceVolatility,correlation,spot"

with open("more.yaml", "w") as file:
    file.write(f"""oracles:
  python: {{kind: process, command: [./env/bin/python, {sys.argv[1]}/Examples/python/examples/heston_barrier.py]}}
  cpp: {{kind: process, command: [{sys.argv[1]}/Examples/cpp/build/heston_barrier]}}
  deskBarrier: {{kind: process, command: [./env/bin/python, my_oracle.py]}}
""")


def prices(oracle, names, rows):
    with open("rows.csv", "w") as file:
        file.write(names + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    command = ["cairn", "oracle", "price", oracle, "--cluster", "more.yaml", "--input", "rows.csv"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = list(csv.DictReader(text.splitlines()))
    assert [row["status"] for row in found] == ["ok"] * len(rows), text
    return [float(row["price"]) for row in found]


python, cpp = prices("python", EXAMPLES, ROWS), prices("cpp", EXAMPLES, ROWS)
own = prices("hestonBarrier", BUILT_IN, [(100 * b, 100 * k, *rest, 100) for b, k, *rest in ROWS])
for row, p, c, o in zip(ROWS, python, cpp, own):
    print(f"{row}: Python {p:.6f}  C++ {c:.6f}  built in {o / 100:.6f}")
    assert abs(p - c) < 1e-9 and abs(p - o / 100) < 3e-4
# The page's own one is the last of them.
assert ROWS[-1][3:] == (0.05, 0.04, 2, 0.04, 0.1, 0.0)
desk = prices("deskBarrier", "barrierOverSpot,strikeOverSpot,maturityYears,variance,volOfVol", [(0.8, 1, 1, 0.04, 0.1)])
assert abs(desk[0] - own[-1] / 100) < 3e-4, desk
PYTHON
echo "all of it: $SECONDS s"

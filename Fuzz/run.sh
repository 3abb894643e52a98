#!/usr/bin/env bash
# Feeds each reader for some seconds, from its corpus in the repository. What libFuzzer learns stays in .build-fuzz;
# what breaks a reader is left there as crash-*, leak-* or timeout-*.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
limits=(-max_len=16384 -rss_limit_mb=1024 -timeout=10 -print_final_stats=1)
for target in ${TARGETS:-toCoordinator fromCoordinator study cluster csv npy safetensors samples}; do
    mkdir -p ".build-fuzz/learnt/$target"
    echo "=== $target"
    CAIRN_FUZZ_TARGET=$target .build-fuzz/release/Fuzz "${limits[@]}" -max_total_time="$seconds" ${RUNS:+-runs=$RUNS} \
        -artifact_prefix=.build-fuzz/ ".build-fuzz/learnt/$target" "Fuzz/Corpora/$target" 2>&1 |
        grep -E "ERROR|SUMMARY|Fatal|fatal|BINGO|DONE|number_of_executed_units|peak_rss|artifact|Test unit" || true
    [ "${PIPESTATUS[0]}" = 0 ]
done

#!/bin/bash
# Power cuts for longer, in an optimized build: `wodan crash` (all short workloads, then random ones, on tiny devices) for
# half of the time, then the random scenarios of test_power_cut (deeper trees, views, compaction, older roots) for the other.
# A failure prints the line that replays it.
# Usage: tools/crash.sh SECONDS [SEED]    environment: DEPTH (1), OPS (3), WODAN_CRASH_BUDGET (states a window, 60), JOBS (2)
set -euo pipefail
cd "$(dirname "$0")/.."

SECONDS_ALL=${1:?usage: tools/crash.sh SECONDS [SEED]}
SEED=${2:-$(date +%s)}
JOBS=${JOBS:-2}
BUILD=build/crash
cmake -S . -B "$BUILD" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo "-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O2 -g" >/dev/null
ninja -C "$BUILD" -j "$JOBS" wodan_cli test_power_cut >/dev/null

pids=() failed=0
echo "seed $SEED"
"$BUILD/tools/wodan" crash --seconds "$((SECONDS_ALL / 2))" --seed "$SEED" --depth "${DEPTH:-1}" --ops "${OPS:-3}" \
  --jobs "$JOBS" || failed=1

export WODAN_CRASH_SECONDS=$((SECONDS_ALL - SECONDS_ALL / 2)) WODAN_CRASH_BUDGET=${WODAN_CRASH_BUDGET:-60}
for ((job = 0; job < JOBS; job++)); do
  # Seeds far apart: each random scenario takes the next one.
  env WODAN_SEED=$((SEED + job * 1000000)) \
    "$BUILD/tests/test_power_cut" >"$BUILD/crash.$job.log" 2>&1 &
  pids+=($!)
done
for ((job = 0; job < JOBS; job++)); do
  wait "${pids[$job]}" || failed=1
  grep -E 'ERROR:|scenarios:|in all:' "$BUILD/crash.$job.log" || true
done
exit "$failed"

#!/bin/bash
# The power-cut loop for longer: random scenarios for so many seconds, with a new seed each time. A failure prints the line
# that replays it. Usage: tools/crash.sh SECONDS [SEED]    environment: WODAN_CRASH_BUDGET (states a window, 60), JOBS (2)
set -euo pipefail
cd "$(dirname "$0")/.."

SECONDS_EACH=${1:?usage: tools/crash.sh SECONDS [SEED]}
SEED=${2:-$(date +%s)}
JOBS=${JOBS:-2}
BUILD=build/crash
cmake -S . -B "$BUILD" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo "-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O2 -g" -DWODAN_TOOLS=OFF >/dev/null
ninja -C "$BUILD" -j "$JOBS" test_power_cut >/dev/null

export WODAN_CRASH_SECONDS=$SECONDS_EACH WODAN_CRASH_BUDGET=${WODAN_CRASH_BUDGET:-60}
pids=() failed=0
for ((job = 0; job < JOBS; job++)); do
  # Seeds far apart: each random scenario takes the next one.
  env WODAN_SEED=$((SEED + job * 1000000)) \
    "$BUILD/tests/test_power_cut" >"$BUILD/crash.$job.log" 2>&1 &
  pids+=($!)
done
for ((job = 0; job < JOBS; job++)); do
  wait "${pids[$job]}" || failed=1
  grep -E 'ERROR:|scenarios:|in all:' "$BUILD/crash.$job.log"
done
exit "$failed"

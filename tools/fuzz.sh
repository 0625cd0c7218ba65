#!/bin/bash
# Searches with libFuzzer: each target, or the one named, for so many seconds, with clang's address and undefined-behaviour
# sanitizers. A line a target: executions a second, and a second of processor time, coverage, corpus, findings. Exit 1 on a
# finding, with the command that replays it; 2 when it cannot run. The corpus grows in build/fuzz/corpus from run to run.
# Usage: tools/fuzz.sh [TARGET|all] [SECONDS]    (default: all 60)    environment: JOBS (2, to build), FUZZ_FLAGS (for libFuzzer)
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=${1:-all} BUDGET=${2:-60}
JOBS=${JOBS:-2}
BUILD=build/fuzz
read -ra FLAGS <<<"${FUZZ_FLAGS:-}"
mapfile -t ALL < <(sed -n 's/^ *fuzz_target(\([a-z_]*\) .*/\1/p' fuzz/CMakeLists.txt)
if [ "$TARGET" != all ]; then
  case " ${ALL[*]} " in
  *" $TARGET "*) ALL=("$TARGET") ;;
  *)
    echo "usage: tools/fuzz.sh [TARGET|all] [SECONDS]; targets: ${ALL[*]}" >&2
    exit 2
    ;;
  esac
fi
case $BUDGET in
*[!0-9]* | "")
  echo "tools/fuzz.sh: not a number of seconds: $BUDGET" >&2
  exit 2
  ;;
esac

mkdir -p "$BUILD"
programs=()
for name in "${ALL[@]}"; do programs+=("fuzz/fuzz_$name" "fuzz/libfuzz_$name"); done
if ! { cmake -S . -B "$BUILD" -G Ninja -DCMAKE_C_COMPILER=clang -DWODAN_FUZZ=ON -DWODAN_SANITIZE=address,undefined \
  -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_C_FLAGS_DEBUG=-O2 -g" && ninja -C "$BUILD" -j "$JOBS" "${programs[@]}"; } >"$BUILD.log" 2>&1; then
  tail -30 "$BUILD.log" >&2
  echo "tools/fuzz.sh: the build failed; all of its output is in $BUILD.log (tools/setup.sh installs what is needed)" >&2
  exit 2
fi

# number NAME LOG: a figure of libFuzzer's.
number() { sed -n "s/^stat::$1: *//p" "$2" | tail -1; }

failed=0
for name in "${ALL[@]}"; do
  corpus=$BUILD/corpus/$name found=$BUILD/found/$name log=$BUILD/$name.log
  mkdir -p "$corpus" "$found"
  "$BUILD/fuzz/fuzz_$name" --seeds "$corpus"
  folders=("$corpus")
  [ ! -d "fuzz/corpus/$name" ] || folders+=("fuzz/corpus/$name")
  dictionary=()
  [ ! -e "fuzz/dict/$name.dict" ] || dictionary=("-dict=fuzz/dict/$name.dict")
  longest=$("$BUILD/fuzz/fuzz_$name" --size-max 0)
  before=$(find "$found" -type f | wc -l)
  code=0
  # Of an allocation only its caller is kept, and libFuzzer's own search for leaks is off: both cost more than most targets.
  # The replay has whole stacks and finds leaks. An input of the corpus is not looked for among shorter ones at each run
  # (reduce_inputs), which costs a decoder a seventh.
  TIMEFORMAT='%U %S'
  { time ASAN_OPTIONS=malloc_context_size=1:quarantine_size_mb=8 UBSAN_OPTIONS=print_stacktrace=1 "$BUILD/fuzz/libfuzz_$name" \
    -max_total_time="$BUDGET" -timeout=20 -rss_limit_mb=2048 -max_len="$longest" -print_final_stats=1 -entropic=0 \
    -reduce_inputs=0 -detect_leaks=0 -artifact_prefix="$found/" "${dictionary[@]}" "${FLAGS[@]}" "${folders[@]}" \
    >"$log" 2>&1 || code=$?; } 2>"$log.time"
  coverage=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 edges, \2 features/p' "$log" | tail -1)
  inputs=$(number number_of_executed_units "$log")
  busy=$(awk -v inputs="${inputs:-0}" '{ if ($1 + $2 > 0) printf "%d", inputs / ($1 + $2) }' "$log.time")
  echo "$name: $(number average_exec_per_sec "$log")/s, $busy a second of processor time, $inputs inputs, ${coverage:-no coverage}," \
    "corpus $(find "$corpus" -type f | wc -l), $(($(find "$found" -type f | wc -l) - before)) new findings"
  if [ "$code" -ne 0 ]; then
    failed=1
    grep -E 'ERROR: |SUMMARY: |runtime error: |Assertion|^/.*\.[ch]:[0-9]+: ' "$log" | head -5 >&2 || true
    latest=$(find "$found" -type f -newer "$BUILD/fuzz/libfuzz_$name" -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2-)
    echo "$name: all of it is in $log; replay: $BUILD/fuzz/fuzz_$name ${latest:-(no input was left)}" >&2
  fi
done
exit "$failed"

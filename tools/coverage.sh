#!/bin/bash
# Which lines and branches of src/ the quick tests reach: those of the `main` suite, without sanitizers, the slow ones last.
# A table by folder and file, of gcc's counters. Asserts are compiled out: the branch of a failing one cannot be reached.
# Usage: tools/coverage.sh [--seconds N] [--uncovered [PREFIX]] [--no-run]
#
#   --seconds N           no test goes on beyond so many seconds (600); what was cut is told
#   --uncovered [PREFIX]  also lists, by file, the lines that were not reached, and those with a branch that was not taken
#                         (of files below PREFIX, e.g. src/journal)
#   --no-run              tells of the counters that are there
#
# Needs `tools/setup.sh build test coverage`. Builds in build/coverage. Environment: JOBS (2).
set -euo pipefail
cd "$(dirname "$0")/.."

BUDGET=600 LIST= PREFIX=src/ RUN=1 JOBS=${JOBS:-2} BUILD=build/coverage
while [ $# -gt 0 ]; do
  case $1 in
  --seconds) BUDGET=${2:?--seconds N} && shift ;;
  --uncovered)
    LIST=1
    case ${2:-} in src*) PREFIX=$2 && shift ;; esac
    ;;
  --no-run) RUN= ;;
  *)
    echo "usage: tools/coverage.sh [--seconds N] [--uncovered [PREFIX]] [--no-run]" >&2
    exit 2
    ;;
  esac
  shift
done

# Slower than the rest: FAULTS alone reach much of what handles errors, and src/crash; SLOW little that others do not.
FAULTS='^(test_crash_run|test_faults|test_tree_faults|test_engine_memory)$'
SLOW='^(test_model|test_power_cut|test_engine_space|test_workloads|test_threads|cli|fuzz_.*)$'
# Not of src/: lints, and programs built elsewhere.
NEVER='^(lint_.*|headers|install|mutants)$'
export WODAN_CRASH_BUDGET=${WODAN_CRASH_BUDGET:-8}

# run CTEST-OPTION...: ends at the time limit; a test that was cut or fails is told.
run() {
  local left=$((BUDGET - (SECONDS - START)))
  [ "$left" -gt 0 ] || { echo "no time left for ctest $*"; return 0; }
  ctest --test-dir "$BUILD" -j "$JOBS" -L '^suite$' --stop-time "$(date -d "+$left seconds" '+%H:%M:%S')" "$@" \
    >"$BUILD/ctest.log" 2>&1 || sed -n '/The following tests FAILED/,/^Errors/p' "$BUILD/ctest.log"
  grep -E 'tests passed|stop time' "$BUILD/ctest.log" || true
}

if [ -n "$RUN" ]; then
  tools/setup.sh build test coverage
  mkdir -p "$BUILD"
  if ! { cmake -S . -B "$BUILD" -G Ninja -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Debug -DWODAN_SUITE=main \
    "-DCMAKE_C_FLAGS_DEBUG=-O0 -g -DNDEBUG --coverage -fprofile-update=atomic" &&
    ninja -C "$BUILD" -j "$JOBS" wodan_cli wodan_fsck suite; } >"$BUILD/build.log" 2>&1; then
    tail -40 "$BUILD/build.log" >&2
    exit 1
  fi
  find "$BUILD" -name '*.gcda' -delete
  START=$SECONDS
  run -E "$FAULTS|$SLOW|$NEVER"
  run -R "$FAULTS"
  run -R "$SLOW"
fi

# The counters of a file compiled twice are added.
gcovr -r . -f 'src/' --exclude-unreachable-branches --json "$BUILD/coverage.json" "$BUILD"
python3 - "$BUILD/coverage.json" "$LIST" "$PREFIX" <<'PYTHON'
import collections, json, os, sys

files = json.load(open(sys.argv[1], encoding="utf-8"))["files"]
rows, folders, missing = {}, collections.defaultdict(lambda: [0] * 4), {}
for file in sorted(files, key=lambda f: f["file"]):
    row, unreached, untaken = [0] * 4, [], []
    for line in file["lines"]:
        if line.get("gcovr/noncode"):
            continue
        taken = [branch["count"] > 0 for branch in line["branches"]]
        row = [a + b for a, b in zip(row, (line["count"] > 0, 1, sum(taken), len(taken)))]
        if line["count"] == 0:
            unreached.append(line["line_number"])
        elif not all(taken):
            untaken.append(line["line_number"])
    rows[file["file"]], missing[file["file"]] = row, (unreached, untaken)
    for name in (os.path.dirname(file["file"]), "src"):
        folders[name] = [a + b for a, b in zip(folders[name], row)]

def tell(name, row):
    percent = [100 * part / whole if whole else 100 for part, whole in (row[:2], row[2:])]
    print(f"{name:36} {row[0]:6} of {row[1]:6} lines {percent[0]:5.1f} %   {row[2]:6} of {row[3]:6} branches {percent[1]:5.1f} %")

def spans(numbers):
    out = []
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ", ".join(f"{a}-{b}" if a < b else str(a) for a, b in out)

for folder in sorted(folders):
    if folder != "src":
        tell(folder, folders[folder])
        for name, row in rows.items():
            if os.path.dirname(name) == folder:
                tell("  " + os.path.basename(name), row)
print()
for folder in sorted(folders):
    tell(folder, folders[folder])
for name, (unreached, untaken) in missing.items():
    if sys.argv[2] and name.startswith(sys.argv[3]) and (unreached or untaken):
        print(f"{name}\n  not reached: {spans(unreached) or 'none'}\n  a branch not taken: {spans(untaken) or 'none'}")
PYTHON

#!/bin/bash
# What: the commands with memory running out: the n-th allocation fails, once or from there on, for n = 1, 2, 3, 4, 6, 8, 12, …
# until the verb runs through untouched.
#
# Always true: a line "ok VERB: ..." or "FAIL VERB: why" a verb; exit code 1 when anything failed. A verb ends by itself with
# a documented exit code and, unless done, a sentence; what it prints when it says "done" is what it prints without faults;
# the image stays whole and holds all of what was there before, and all of what was done when the verb says so.
#
# Not here: the verbs that show what they found as JSON objects (info, stat, compact, load, …): json-c itself does not bear it.
#
# See: tests/cli/no_memory.c. WODAN_ALL_ALLOCATIONS=1: every n. Usage: test_no_memory.sh PATH-OF-WODAN PATH-OF-WODAN-FSCK PATH-OF-SHIM
set -eu

WODAN=$(realpath "$1")
FSCK=$(realpath "$2")
SHIM=$(realpath "$3")
MAKE=$(realpath "$(dirname "$0")/make_mirage.py")
T=$(mktemp -d)
FAILED=0
trap 'rm -rf "$T"' EXIT
cd "$T"

# faulty N MODE COMMAND...: out and err; the exit code in CODE, the number of allocations in count.
faulty() {
  local at=$1 mode=$2
  shift 2
  rm -f count
  CODE=0
  if [ "$mode" = once ]; then
    NO_MEMORY_COUNT=count NO_MEMORY_AT=$at NO_MEMORY_ONLY=1 timeout 20 env LD_PRELOAD="$SHIM" "$@" <in >out 2>err || CODE=$?
  else
    NO_MEMORY_COUNT=count NO_MEMORY_AT=$at timeout 20 env LD_PRELOAD="$SHIM" "$@" <in >out 2>err || CODE=$?
  fi
}

wrong() {
  FAILED=$((FAILED + 1))
  echo "FAIL $1, allocation $N fails $MODE: $2 (exit code $CODE; out: $(head -c 200 out | tr -d '\0'); err: $(head -c 300 err))"
}

# judge NAME CODES READS|WRITES COMMAND...: one faulty run on a fresh copy.
judge() {
  local name=$1 codes=$2 kind=$3
  shift 3
  cp before.img work.img
  faulty "$N" "$MODE" "$@"
  case " $codes " in *" $CODE "*) ;; *) wrong "$name" "not an exit code of its own"; return ;; esac
  if [ "$CODE" != 0 ] && [ ! -s err ]; then wrong "$name" "no sentence"; return; fi
  if [ "$CODE" = 0 ] && [ "$kind" = reads ] && ! cmp -s out out.whole; then wrong "$name" "done, with another answer"; return; fi
  if [ "$kind" = reads ]; then
    cmp -s before.img work.img || wrong "$name" "a reader has written"
    return
  fi
  if ! "$FSCK" work.img >fsck.out 2>&1; then wrong "$name" "the image is damaged: $(head -c 200 fsck.out)"; return; fi
  "$WODAN" dump work.img >dump.now
  if [ "$CODE" = 0 ]; then
    cmp -s dump.now dump.after || wrong "$name" "done, and it is not"
  else
    cmp -s dump.now dump.before || cmp -s dump.now dump.after || wrong "$name" "neither before nor after"
  fi
}

# loop NAME CODES READS|WRITES COMMAND...
loop() {
  local name=$1 kind=$3 runs=0 before=$FAILED step
  cp before.img work.img
  faulty 0 once "${@:4}"
  local total
  total=$(cat count)
  [ "$CODE" = 0 ] || { N=0 MODE=never wrong "$name" "does not even work with memory"; return; }
  [ "$total" -gt 20 ] || { N=0 MODE=never wrong "$name" "the shim saw only $total allocations"; return; }
  cp out out.whole
  [ "$kind" = reads ] || "$WODAN" dump work.img >dump.after
  for MODE in once ever; do
    N=1 step=1
    while [ "$N" -le "$total" ]; do
      judge "$@"
      runs=$((runs + 1))
      N=$((N + step))
      [ -n "${WODAN_ALL_ALLOCATIONS-}" ] || [ $((N % (4 * step))) -ne 0 ] || step=$((2 * step))
    done
  done
  [ "$FAILED" -ne "$before" ] || echo "ok $name: $runs faults among $total allocations"
}

: >in
"$WODAN" format before.img --size 1M >/dev/null
for i in $(seq 300); do printf 'key%04d\tvalue %d of the first load\n' "$i" "$i"; done >records
"$WODAN" load before.img records >/dev/null
"$WODAN" del before.img key0007 >/dev/null
"$WODAN" dump before.img >dump.before
CODES="0 1 2 3 4 5 6"

loop get "$CODES" reads "$WODAN" get work.img key0042
loop scan "$CODES" reads "$WODAN" scan work.img
loop dump "$CODES" reads "$WODAN" dump work.img
loop wodan-fsck "0 8" reads "$FSCK" work.img
python3 "$MAKE" theirs.img model --block-size 512 --blocks 200 --operations 300 >/dev/null
loop "wodan-fsck --mirage" "0 8" reads "$FSCK" --mirage theirs.img
loop put "$CODES" writes "$WODAN" put work.img key9999 value
loop del "$CODES" writes "$WODAN" del work.img key0042
[ "$FAILED" -eq 0 ]

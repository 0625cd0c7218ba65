#!/bin/bash
# What: kill -9 at random moments of `wodan load` and `wodan del` on files, many times a file: what was acknowledged is
# there, what is there is a prefix of whole batches, and nothing else.
#
# Always true: an image is judged by `wodan dump` and `wodan-fsck`, which leave its bytes alone; the next command goes
# on from the image as the kill left it, never from a repaired or fresh one; a round counts only when the signal found
# the process alive.
#
# Order: after a kill first the dump (read-only, replays into memory), then fsck, then the checksum again, and only then
# a command that opens for writing. A killed process leaves every write it made in the host's page cache: this test
# shows what a process death can do; lost and reordered writes are the simulator's (tests/crash).
#
# See: tools/wodan/cmd_load.c, cmd_del.c. Usage: test_kill.sh WODAN WODAN-FSCK [ROUNDS=100 [SEED]]
set -euo pipefail
export LC_ALL=C

if [ $# -lt 2 ] || [ $# -gt 4 ]; then
  echo "usage: test_kill.sh WODAN WODAN-FSCK [ROUNDS=100 [SEED]]" >&2
  exit 2
fi
WODAN=$(realpath "$1")
FSCK=$(realpath "$2")
ROUNDS=${3:-100}
SEED=${4:-$((RANDOM * 32768 + RANDOM))}
REPLAY="bash $0 $1 $2 $ROUNDS $SEED"
RANDOM=$SEED
T=$(mktemp -d)
PROCESS=
KEEP=

cleanup() {
  [ -z "$PROCESS" ] || kill -9 "$PROCESS" 2>/dev/null || true
  [ -n "$KEEP" ] || rm -rf "$T"
}
trap cleanup EXIT
cd "$T"
echo "# seed $SEED, replay: $REPLAY (the same data and delays; where a delay falls depends on the machine)"

# fail MESSAGE: the first failure ends the test and keeps the image as the kill left it.
fail() {
  KEEP=1
  echo "FAIL $NAME, kill $KILLS: $1"
  echo "# kept: $T/img; replay: $REPLAY"
  exit 1
}

# number MEMBER: that number of the JSON in `info`; of members of that name the first, which is the outermost.
number() { grep -o "\"$1\": *[0-9]*" info | head -1 | grep -o '[0-9]*$'; }

# make_stream KEYS VALUE: random overwrites of few keys, numbered from OFFSET + 1. The value begins with the line's
# number, so that a record tells which line it came from.
make_stream() {
  awk -v offset="$OFFSET" -v lines="$LINES_ALL" -v keys="$1" -v size="$2" -v seed="$((SEED + OFFSET + $1))" 'BEGIN {
    srand(seed)
    pad = "abcdefghijklmnopqrstuvwxyz0123456789"
    while (length(pad) < 2 * size) pad = pad pad
    for (i = offset + 1; i <= offset + lines; i++)
      printf "%06d\t%08d %s\n", int(rand() * keys) * 7919 % 1000000, i, substr(pad, 1 + i % 36, int(rand() * size))
  }' >stream
}

# kill_after MICROSECONDS COMMAND...: starts it (standard output in acks), kills it then. CODE gets its exit code.
kill_after() {
  local delay=$1
  shift
  : >acks # a kill may come before the child has opened it, and then the last round's words would still be in it
  "$@" >>acks 2>err &
  PROCESS=$!
  sleep "$(printf '%d.%06d' $((delay / 1000000)) $((delay % 1000000)))"
  kill -9 "$PROCESS" 2>/dev/null || true
  CODE=0
  { wait "$PROCESS"; } 2>/dev/null || CODE=$?
  PROCESS=
  case $CODE in
  137) KILLS=$((KILLS + 1)) MISSED=0 ;;
  0) MISSED=$((MISSED + 1)) ;;
  *) fail "exit code $CODE: $* ($(head -c 300 err))" ;;
  esac
}

# A delay of 0 to 4 ms falls into open and recovery; longer ones into drains, sweeps, checkpoints, and the close.
pick_delay() {
  case $((RANDOM % 4)) in
  0) DELAY=$((RANDOM % 4000)) ;;
  3) DELAY=$(((RANDOM * 32768 + RANDOM) % 250000)) ;;
  *) DELAY=$(((RANDOM * 32768 + RANDOM) % 60000)) ;;
  esac
}

# Reads the image as it is into dump and info, without a byte of it changing, and has fsck judge it.
inspect() {
  local before after code=0
  before=$(sha256sum img)
  "$WODAN" dump img >dump 2>err || fail "the dump ended with exit code $?: $(head -c 300 err)"
  "$WODAN" info --json img >info 2>err || fail "info ended with exit code $?: $(head -c 300 err)"
  "$FSCK" img >fsck 2>&1 || code=$?
  [ "$code" = 0 ] || fail "wodan-fsck ended with exit code $code: $(head -c 500 fsck)"
  after=$(sha256sum img)
  [ "$before" = "$after" ] || fail "a command that only reads changed the image"
  local generation
  generation=$(number generation)
  [ "$generation" -ge "$GENERATION" ] || fail "generation $generation after generation $GENERATION"
  LOOKS=$((LOOKS + 1))
  [ "$generation" = "$GENERATION" ] || ADVANCED=$((ADVANCED + 1))
  GENERATION=$generation
  [ "$(number replayed_operations)" = 0 ] || REPLAYED=$((REPLAYED + 1))
}

# The dump is `state` with the lines numbered BASE + 1 to j over it, j at the end of a batch and not below what was
# acknowledged. Sets BASE to j and state to the dump.
check_load() {
  local acked newest
  # A line without its newline was not said.
  acked=$(sed -n 's/^acked //p' acks | tail -n 1)
  [ -z "$acked" ] || [ "$(tail -c 1 acks | wc -l)" = 1 ] || fail "the last acknowledgement was torn: $(tail -n 1 acks)"
  acked=$((BASE + ${acked:-0}))
  newest=$(awk -F'\t' -v n="$BASE" '{ if ($2 + 0 > n) n = $2 + 0 } END { print n }' dump)
  [ "$newest" -ge "$acked" ] || fail "acknowledged up to line $acked, found up to line $newest"
  [ $(((newest - BASE) % BATCH)) = 0 ] || [ "$newest" = $((OFFSET + LINES_ALL)) ] ||
    fail "line $newest is the newest one, which is inside a batch of $BATCH lines from $((BASE + 1))"
  # Of equal keys sort -s -u keeps the first one it reads: the newest line.
  { tail -n +$((BASE - OFFSET + 1)) stream | head -n $((newest - BASE)) | tac; cat state; } 2>/dev/null |
    sort -s -u -t"$(printf '\t')" -k1,1 >expected || true
  cmp -s expected dump || fail "not the first $newest lines: $(diff expected dump | head -n 3 | tr '\n' ' ')"
  ACKED=$((ACKED + acked - BASE))
  BEYOND=$((BEYOND + newest - acked))
  BASE=$newest
  mv dump state
}

# check_delete PREFIX: the dump is `state` without the first of its keys that start with PREFIX; without all of them
# when the command was done.
check_delete() {
  local left
  left=$(grep -c "^$1" dump || true)
  [ "$CODE" = 137 ] || [ "$left" = 0 ] || fail "$left keys are left after del --prefix $1 was done"
  { grep -v "^$1" state || true; grep "^$1" state | tail -n "$left" || true; } | sort >expected
  cmp -s expected dump || fail "not a deletion in key order: $(diff expected dump | head -n 3 | tr '\n' ' ')"
  DELETED=$((DELETED + $(wc -l <state) - $(wc -l <dump)))
  mv dump state
}

# One command, killed at a random moment, and what it left.
round() {
  local prefix=$((RANDOM % 10))
  pick_delay
  case $((RANDOM % 16)) in
  0)
    kill_after $((DELAY / 8)) "$WODAN" del --all "${DIRECT[@]}" img
    inspect
    check_delete ""
    ;;
  1 | 2)
    kill_after $((DELAY / 8)) "$WODAN" del --prefix "$prefix" "${DIRECT[@]}" img
    inspect
    check_delete "$prefix"
    ;;
  *)
    tail -n +$((BASE - OFFSET + 1)) stream >rest
    kill_after "$DELAY" "$WODAN" load --ack --batch "$BATCH" "${DIRECT[@]}" img rest
    inspect
    check_load
    ;;
  esac
}

# torture NAME KILLS BATCH KEYS VALUE FORMAT-OPTION...: rounds on one image until that many kills hit.
torture() {
  NAME=$1 KILLS=0 MISSED=0 BATCH=$3 BASE=0 OFFSET=0 GENERATION=0
  local wanted=$2 keys=$4 value=$5
  LINES_ALL=$((12000 + BATCH * 1200 + BATCH / 2))
  shift 5
  rm -f img
  "$WODAN" format "$@" img >out 2>err || fail "format ended with exit code $? ($(head -c 300 err))"
  : >state
  make_stream "$keys" "$value"
  while [ "$KILLS" -lt "$wanted" ]; do
    if [ "$BASE" = $((OFFSET + LINES_ALL)) ]; then
      OFFSET=$BASE
      make_stream "$keys" "$value"
    fi
    round
    [ "$MISSED" -lt 40 ] || fail "the command was done before the signal 40 times in a row"
  done
  TOTAL=$((TOTAL + KILLS))
  echo "ok $NAME: $KILLS kills, line $BASE, $(wc -l <state) records, $(tail -n 1 fsck | sed 's/^img: //')"
}

# share PERCENT: that share of the rounds, at least one.
share() { echo $(((ROUNDS * $1 + 99) / 100)); }

NAME=setup KILLS=0 TOTAL=0 ACKED=0 BEYOND=0 DELETED=0 LOOKS=0 ADVANCED=0 REPLAYED=0 DIRECT=()
torture "1 MiB, batches of 1" "$(share 15)" 1 1500 60 --size 1M --block-size 512
torture "1 MiB, batches of 20" "$(share 20)" 20 1500 60 --size 1M
torture "2 MiB, blocks of 4 KiB" "$(share 15)" 16 2000 80 --size 2M --block-size 4096
torture "4 MiB, values of up to 400 bytes" "$(share 15)" 10 2000 400 --size 4M
torture "16 MiB, batches of 50" "$(share 15)" 50 20000 100 --size 16M
torture "64 MiB, batches of 100" "$(share 12)" 100 60000 200 --size 64M
if "$WODAN" info --direct img >out 2>&1; then
  DIRECT=(--direct)
  torture "8 MiB, O_DIRECT" "$(share 8)" 30 8000 100 --size 8M
else
  echo "skip 8 MiB, O_DIRECT: the file system of $T has none"
fi

NAME="all images"
[ "$REPLAYED" -gt 0 ] || fail "no kill left anything to replay: nothing was tested"
[ "$ADVANCED" -gt 0 ] || fail "no checkpoint was written between kills: nothing was tested"
echo "$TOTAL kills: $ACKED lines acknowledged, all found; $BEYOND more found, in whole batches; $DELETED keys deleted"
echo "at $LOOKS looks the journal had something to replay $REPLAYED times, the root had moved $ADVANCED times"

#!/bin/bash
# What: from a fresh checkout to figures on one page: installs what is missing, builds, loads real data, kills the
# loader with SIGKILL in the middle, several times, and proves that what was acknowledged is there.
#
# Always true: exit code 0 only when every comparison held; a failure ends with one sentence and leaves the files for a
# look; needs no root when the packages are installed; writes only below build/ (or DIR); may be run again.
#
# Order: after each kill the image is first read by commands that never write (fsck, dump), and only then opened by the
# next load.
#
# See: tests/cli/test_kill.sh, the same idea as a test. Usage: tools/quickstart.sh [DIR=build/quickstart]
set -euo pipefail
export LC_ALL=C

if [ $# -gt 1 ] || [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  echo "usage: tools/quickstart.sh [DIR=build/quickstart]"
  [ $# -eq 1 ] && exit 0 || exit 2
fi
ROOT=$(cd "$(dirname "$(realpath "$0")")/.." && pwd)
WORDS=/usr/share/dict/american-english-huge
UNICODE=/usr/share/unicode
IMAGE_SIZE=256M
BATCH=1000
KILLS=5
SPACE_NEEDED_KIB=$((700 * 1024))
LOADER=

cleanup() { [ -z "$LOADER" ] || kill -9 "$LOADER" 2>/dev/null || true; }
trap cleanup EXIT

say() { printf '%s\n' "$*"; }
BOLD='' PLAIN_TEXT=''
if [ -t 1 ]; then BOLD=$'\033[1m' PLAIN_TEXT=$'\033[0m'; fi
step() { printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN_TEXT"; }
die() {
  printf '\nquickstart: %s\n' "$*" >&2
  exit 1
}

now() { echo "${EPOCHREALTIME/./}"; }                                   # microseconds
seconds() { awk -v us="$1" 'BEGIN { printf "%.1f s", us / 1e6 }'; }     # of microseconds
millis() { awk -v us="$1" 'BEGIN { printf "%.0f ms", us / 1e3 }'; }
mega() { awk -v bytes="$1" 'BEGIN { printf "%.1f MB", bytes / 1e6 }'; }
group() { echo "$1" | sed -e ':again' -e 's/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/' -e 'tagain'; } # 1,240,739
rate() { group "$(awk -v n="$1" -v us="$2" 'BEGIN { printf "%.0f", n * 1e6 / us }')"; }
member() { awk -v name="$1" '$1 == name { print $2 }' "$2"; } # of the `name  value` lines of a command

missing() {
  local tool
  for tool in cmake ninja gcc pkg-config; do command -v "$tool" >/dev/null || printf '%s ' "$tool"; done
  if command -v pkg-config >/dev/null; then
    for tool in libxxhash liblz4; do pkg-config --exists "$tool" || printf '%s ' "$tool"; done
  fi
  [ -r "$WORDS" ] || printf '%s ' "$WORDS"
  [ -r "$UNICODE/UnicodeData.txt" ] || printf '%s ' "$UNICODE"
}

step "1. Packages"
LACKING=$(missing)
if [ -n "$LACKING" ]; then
  say "Missing: $LACKING- tools/setup.sh installs the packages."
  "$ROOT/tools/setup.sh" build data || die "tools/setup.sh could not install the packages."
  LACKING=$(missing)
  [ -z "$LACKING" ] || die "still missing after tools/setup.sh: $LACKING"
else
  say "Compiler, libraries, word list and Unicode tables are installed."
fi

DIR=${1:-$ROOT/build/quickstart}
mkdir -p "$DIR" "$ROOT/build"
DIR=$(realpath "$DIR")
IMAGE=$DIR/data.wodan
PLAIN=$DIR/plain.wodan
exec 9>"$DIR/lock"
flock -n 9 || die "another quickstart is at work in $DIR."
AVAILABLE=$(df -Pk "$DIR" | awk 'NR == 2 { print $4 }')
[ "$AVAILABLE" -ge "$SPACE_NEEDED_KIB" ] ||
  die "$DIR has $((AVAILABLE / 1024)) MiB free; $((SPACE_NEEDED_KIB / 1024)) are needed."
rm -f "$IMAGE" "$PLAIN"

step "2. Build"
START=$(now)
# The release build of tools/test.sh; one without the tests where their library is not installed.
CONFIGURE=(cmake -S "$ROOT" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=gcc)
BUILD=$ROOT/build/release
if ! pkg-config --exists cmocka; then
  BUILD=$ROOT/build/commands
  CONFIGURE+=(-DWODAN_TESTS=OFF)
fi
WODAN=$BUILD/tools/wodan
FSCK=$BUILD/tools/wodan-fsck
if ! { "${CONFIGURE[@]}" -B "$BUILD" && ninja -C "$BUILD" wodan_cli wodan_fsck; } >"$DIR/build.log" 2>&1; then
  tail -n 30 "$DIR/build.log" >&2
  die "the build failed; the whole output is in $DIR/build.log."
fi
say "wodan and wodan-fsck are in ${BUILD#"$ROOT"/}/tools, built in $(seconds $(($(now) - START)))."

# One line a record, key<TAB>value, with the escapes of `wodan load`. Keys are word/WORD (value: its line) and
# unicode/FILE:LINE (value: that line as it is); both unique, and neither needs an escape, so `sort` orders the lines as
# the database orders the keys. The tables have no control bytes but tabs, and lines far below the limit of a value.
# shellcheck disable=SC2016
make_source() {
  { printf '%s\0' "$WORDS"; find "$UNICODE" -name '*.txt' -type f -print0 | sort -z; } |
    xargs -0 awk -v words="$WORDS" -v top="$UNICODE/" -v counts="$DIR/counts" '
      FNR == 1 { name = substr(FILENAME, length(top) + 1); files++ }
      FILENAME == words { key = "word/" $0; value = FNR ""; word_records++ }
      FILENAME != words { key = sprintf("unicode/%s:%06d", name, FNR); value = $0; line_records++ }
      {
        bytes += length(key) + length(value)
        gsub(/\\/, "&&", value)
        gsub(/\t/, "\\t", value)
        print key "\t" value
      }
      END { printf "%d %d %d %d\n", word_records, line_records, files - 1, bytes >counts }' >"$DIR/sorted.tsv"
  sort -o "$DIR/sorted.tsv" "$DIR/sorted.tsv"
  # `yes` as the source of randomness: the same order every time.
  shuf --random-source=<(yes 42) "$DIR/sorted.tsv" >"$DIR/source.tsv"
}

step "3. Real data"
make_source || die "the word list and the Unicode tables could not be turned into $DIR/source.tsv."
read -r WORD_RECORDS LINE_RECORDS TABLES BYTES <"$DIR/counts"
RECORDS=$((WORD_RECORDS + LINE_RECORDS))
[ "$(wc -l <"$DIR/source.tsv")" = "$RECORDS" ] || die "$DIR/source.tsv does not have $RECORDS lines."
[ -z "$(cut -f 1 "$DIR/sorted.tsv" | uniq -d | head -n 1)" ] || die "a key appears twice in $DIR/sorted.tsv."
say "$(group "$RECORDS") records, $(mega "$BYTES") of keys and values, in random order:"
say "$(group "$WORD_RECORDS") English words, and all $(group "$LINE_RECORDS") lines of $TABLES Unicode tables."

step "4. Format"
"$WODAN" format "$IMAGE" --size "$IMAGE_SIZE" >"$DIR/out" || die "wodan format failed."
cat "$DIR/out"

# What the loader said so far; whole lines only.
acknowledged() { sed -n 's/^acked \([0-9][0-9]*\)$/\1/p' "$DIR/acks" | tail -n 1; }

# load_and_kill TARGET: loads from line ACKED + 1 on and kills the loader when TARGET lines are acknowledged. false when
# the loader was done first.
load_and_kill() {
  local code=0 said=
  tail -n +$((ACKED + 1)) "$DIR/source.tsv" >"$DIR/rest.tsv"
  : >"$DIR/acks"
  "$WODAN" load --ack --batch "$BATCH" "$IMAGE" "$DIR/rest.tsv" >"$DIR/acks" 9>&- &
  LOADER=$!
  while said=$(acknowledged) && [ $((ACKED + ${said:-0})) -lt "$1" ] && kill -0 "$LOADER" 2>/dev/null; do
    sleep 0.002
  done
  kill -9 "$LOADER" 2>/dev/null || true
  { wait "$LOADER"; } 2>/dev/null || code=$?
  LOADER=
  said=$(acknowledged)
  ACKED=$((ACKED + ${said:-0}))
  [ "$code" = 137 ] && return 0
  [ "$code" = 0 ] || die "wodan load ended with exit code $code by itself."
  return 1
}

# judge WHEN: fsck, dump, acknowledged lines that are not in the dump (LOST), and the comparison of the whole dump with
# as many lines (FOUND) of the source.
judge() {
  local code=0
  "$FSCK" "$IMAGE" >"$DIR/fsck" 2>&1 || code=$?
  [ "$code" = 0 ] || die "$1 wodan-fsck finds damage (exit code $code): $(head -n 3 "$DIR/fsck") - the image is $IMAGE."
  "$WODAN" dump "$IMAGE" >"$DIR/dump.tsv" || die "$1 wodan dump failed; the image is $IMAGE."
  FOUND=$(wc -l <"$DIR/dump.tsv")
  LOST=$(head -n "$ACKED" "$DIR/source.tsv" | sort | comm -23 - "$DIR/dump.tsv" | wc -l)
  [ "$LOST" = 0 ] || die "$1 $LOST of $ACKED acknowledged lines are not there; the image is $IMAGE."
  [ $((FOUND % BATCH)) = 0 ] || [ "$FOUND" = "$RECORDS" ] ||
    die "$1 $FOUND lines are there, which is not a number of whole batches of $BATCH; the image is $IMAGE."
  head -n "$FOUND" "$DIR/source.tsv" | sort >"$DIR/expected.tsv"
  cmp "$DIR/expected.tsv" "$DIR/dump.tsv" >"$DIR/out" 2>&1 ||
    die "$1 the image is not the first $FOUND lines of $DIR/source.tsv; compare $DIR/expected.tsv and $DIR/dump.tsv."
}

step "5. Load, kill -9, open again, compare ($KILLS times)"
say "Durable commits of $BATCH lines. Each \"found\" is compared, byte for byte, with the first lines of the source."
say ""
say "kill  acknowledged      found   lost  opened in   replayed  wodan-fsck"
ACKED=0 KILLED=0 OPEN_WORST=0
while [ "$KILLED" -lt "$KILLS" ]; do
  load_and_kill $((ACKED + (RECORDS - ACKED) * (15 + RANDOM % 20) / 100)) || break
  KILLED=$((KILLED + 1))
  START=$(now)
  "$WODAN" scan "$IMAGE" --limit 1 >"$DIR/out" || die "the image does not open after kill $KILLED: $IMAGE."
  OPENED=$(($(now) - START))
  "$WODAN" info "$IMAGE" >"$DIR/info" || die "wodan info failed after kill $KILLED: $IMAGE."
  [ "$OPENED" -le "$OPEN_WORST" ] || OPEN_WORST=$OPENED
  judge "After kill $KILLED,"
  VERDICT=$(sed -n 's/^[^:]*: \([a-z]*\).*/\1/p' "$DIR/fsck" | tail -n 1)
  printf '%4d %13s %10s %6d %10s %10s  %s\n' "$KILLED" "$(group "$ACKED")" "$(group "$FOUND")" "$LOST" \
    "$(millis "$OPENED")" "$(group "$(member replayed_operations "$DIR/info")")" "$VERDICT"
done
[ "$KILLED" -gt 0 ] || die "the loader was done before the first kill, so nothing was shown; run it again."

step "6. Finish the load, dump, compare everything"
tail -n +$((ACKED + 1)) "$DIR/source.tsv" >"$DIR/rest.tsv"
"$WODAN" load --batch "$BATCH" "$IMAGE" "$DIR/rest.tsv" || die "the last load failed; the image is $IMAGE."
ACKED=$RECORDS
judge "After the last load,"
cmp "$DIR/sorted.tsv" "$DIR/dump.tsv" ||
  die "the dump is not the sorted source: compare $DIR/sorted.tsv and $DIR/dump.tsv."
say "The dump of $(group "$FOUND") records is the sorted source, byte for byte."
say "wodan-fsck: $(tail -n 1 "$DIR/fsck" | sed 's/^[^:]*: //')."

# The figures come from a load that nobody disturbs; its dump has to be the same.
"$WODAN" format "$PLAIN" --size "$IMAGE_SIZE" >"$DIR/out" || die "wodan format failed."
START=$(now)
"$WODAN" load --stats --batch "$BATCH" "$PLAIN" "$DIR/source.tsv" >"$DIR/load" || die "the load into $PLAIN failed."
LOAD_US=$(($(now) - START))
START=$(now)
"$WODAN" dump "$PLAIN" >"$DIR/dump.tsv" || die "wodan dump failed on $PLAIN."
DUMP_US=$(($(now) - START))
cmp "$DIR/sorted.tsv" "$DIR/dump.tsv" ||
  die "the image loaded without a kill has other records than the one with kills."
"$FSCK" "$PLAIN" >"$DIR/fsck" 2>&1 || die "wodan-fsck finds damage in $PLAIN: $(head -n 3 "$DIR/fsck")"
"$WODAN" stat "$IMAGE" >"$DIR/stat" || die "wodan stat failed."
"$WODAN" stat "$PLAIN" >"$DIR/stat_plain" || die "wodan stat failed."

figures() {
  local commits amplification written
  commits=$(group "$(member batches "$DIR/load")")
  amplification=$(member write_amplification "$DIR/load")
  written=$(mega "$(member device_write_bytes "$DIR/load")")
  say "records                $(group "$RECORDS"), keys and values $(mega "$BYTES")"
  say "kills                  $KILLED x SIGKILL in mid-load; acknowledged lines lost: $LOST"
  say "open after a crash     $(millis "$OPEN_WORST") at most, with the command's own start"
  say "load                   $(rate "$RECORDS" "$LOAD_US") records/s, $(seconds "$LOAD_US")," \
    "$commits durable commits of $BATCH"
  say "dump                   $(rate "$RECORDS" "$DUMP_US") records/s, $(seconds "$DUMP_US")"
  say "write amplification    $amplification ($written on the device), random order, journal included"
  say "space                  $(mega "$(member space_live "$DIR/stat_plain")") live;" \
    "$(mega "$(member space_live "$DIR/stat")") in the image that was killed"
  say "wodan-fsck             clean, both images"
}

step "Figures of this machine ($(nproc) processors, $(date -u +%Y-%m-%d))"
figures | tee "$DIR/figures.txt"
rm -f "$DIR"/{dump,expected,rest,sorted}.tsv "$DIR"/{acks,counts,fsck,info,load,stat,stat_plain} "$PLAIN"

step "Go on from here"
say "The image is kept: $IMAGE"
show() {
  say "\$ ${WODAN#"$PWD"/} $*"
  "$WODAN" "$@" >"$DIR/out" || die "wodan $1 failed."
  cat "$DIR/out"
  [ "$(tail -c 1 "$DIR/out" | wc -l)" = 1 ] || say "" # a value comes without a newline
}
show get "${IMAGE#"$PWD"/}" word/serendipity
show scan "${IMAGE#"$PWD"/}" --prefix unicode/UnicodeData.txt:0000 --limit 2
rm -f "$DIR/out"
say ""
say "A kill loses no write that was made. What a power cut can do to writes (lost, torn, reordered) is tested on a"
say "simulated device: tools/test.sh."

#!/bin/bash
# How fast wodan-fsck checks a large image beside dd: makes one of SIZE (10G) full of records of 416 bytes, drops it from the
# page cache before each run, and lets both read it by turns. Prints of each round the rates and their ratio, then the median
# ratio, and the check's processor time. The check gets no more memory than its bound (16 bytes a block, 64 KiB, 4 pages).
# Exit 1: the median is above 1.5, or the check failed. Nothing is left behind but with KEEP=FILE, which is used again.
# Usage: tools/check_rate.sh [SIZE [ROUNDS]]    environment: BUILD (build/release), KEEP, TMPDIR, CHECK (another wodan-fsck)
set -euo pipefail
cd "$(dirname "$0")/.."

SIZE=${1:-10G} ROUNDS=${2:-5}
BUILD=${BUILD:-build/release}
CHECK=${CHECK:-$BUILD/tools/wodan-fsck}
FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/wodan-rate.XXXXXX")
trap 'rm -rf "$FOLDER"' EXIT
IMAGE=${KEEP:-$FOLDER/image}
BYTES=$(numfmt --from=iec "$SIZE")

if [ ! -e "$IMAGE" ]; then
  "$BUILD/tools/wodan" format "$IMAGE" --size "$BYTES" >/dev/null
  # Nine tenths of the room: behind that the fill would be slow, not the check.
  "$BUILD/tools/wodan" bench "$IMAGE" --workload fillrandom --num $((BYTES * 9 / 10 / 440)) --value-size 400 --cache 512M >/dev/null
  sync "$IMAGE"
fi
BLOCKS=$("$BUILD/tools/wodan" info "$IMAGE" --json | grep -o '"blocks": *[0-9]*' | head -1 | grep -o '[0-9]*')
LIMIT=$((16 * BLOCKS + 65536 + 4 * 16384))

TIMEFORMAT='%U %S'
forget() { dd if="$IMAGE" iflag=nocache count=0 status=none; }
now() { date +%s%N; }

for ((round = 1; round <= ROUNDS; round++)); do
  forget
  start=$(now)
  dd if="$IMAGE" of=/dev/null bs=1M status=none
  middle=$(now)
  forget
  before=$(now)
  { time "$CHECK" --json --memory "$LIMIT" "$IMAGE" >"$FOLDER/json"; } 2>"$FOLDER/time"
  after=$(now)
  live=$(grep -o '"blocks_live": *[0-9]*' "$FOLDER/json" | grep -o '[0-9]*$')
  previous=$(grep -o '"blocks_previous": *[0-9]*' "$FOLDER/json" | grep -o '[0-9]*$')
  awk -v dd=$((middle - start)) -v check=$((after - before)) -v all="$BYTES" -v read=$(((live + previous) * (BYTES / BLOCKS))) \
    -v round="$round" 'NR == 1 { ratio = (check / read) / (dd / all)
      printf "round %d: dd %.0f MB/s, check %.0f MB/s of %.2f GB, ratio %.2f, processor %.2f s\n",
        round, all / dd * 1000, read / check * 1000, read / 1e9, ratio, $1 + $2
      print ratio >> "'"$FOLDER"'/ratios" }' "$FOLDER/time"
done
sort -n "$FOLDER/ratios" | awk '{ r[NR] = $1 } END { m = r[int((NR + 1) / 2)]; printf "median ratio %.2f (bound 1.5)\n", m; exit m > 1.5 }'

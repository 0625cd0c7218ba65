#!/bin/bash
# What: interchange with MirageOS Wodan from outside: `wodan import-mirage` and `wodan-fsck --mirage` on images of a generator
# of its own (make_mirage.py), and wodanc's text.
#
# Always true: a line "FAIL NAME: why" a failed check, with WODAN_VERBOSE=1 "ok NAME" for the others; exit code 1 when
# anything failed; no run changes a source.
#
# Order: each section makes its own images; the generator's line on a failure makes the image again.
#
# See: tools/mirage/, tools/wodan/cmd_import_mirage.c. Usage: test_mirage.sh PATH-OF-WODAN PATH-OF-WODAN-FSCK
set -eu

WODAN=$(realpath "$1")
FSCK=$(realpath "$2")
MAKE=$(realpath "$(dirname "$0")/make_mirage.py")
T=$(mktemp -d)
FAILED=0
COUNT=0
trap 'rm -rf "$T"' EXIT
cd "$T"

ok() { COUNT=$((COUNT + 1)); [ -z "${WODAN_VERBOSE:-}" ] || echo "ok $1"; }
fail() { FAILED=$((FAILED + 1)); echo "FAIL $1: $2"; }
check() { if eval "$2"; then ok "$1"; else fail "$1" "not so: $2 (out: $(head -c 300 out); err: $(head -c 300 err))"; fi; }

# run NAME EXIT COMMAND...: output in out and err.
run() {
  local name=$1 want=$2 got=0
  shift 2
  "$@" >out 2>err || got=$?
  if [ "$got" = "$want" ]; then ok "$name"; else fail "$name" "exit code $got, wanted $want: $* ($(head -c 300 out; head -c 300 err))"; fi
}

# json NAME EXPRESSION: out is one JSON document, and the Python expression on it (named d) is true.
json() {
  if python3 -ISc 'import json, sys
d = json.load(open("out"))
sys.exit(0 if eval("(" + sys.argv[1] + ")") else 1)' "$2" 2>json_err; then
    ok "$1"
  else
    fail "$1" "not so: $2 in $(head -c 600 out) $(tail -1 json_err)"
  fi
}

# make ARGUMENT...: image and model; the arguments in MADE.
make() {
  MADE="make_mirage.py image model $*"
  python3 "$MAKE" image model "$@" >made 2>&1 || fail "$MADE" "$(tail -1 made)"
  sum=$(sha256sum <image)
}
same() { [ "$(sha256sum <image)" = "$sum" ]; }
ours() { rm -f ours; "$WODAN" format ours --size "${1:-8M}" >/dev/null; }
# dumped FILE MODEL: the image holds exactly these records.
dumped() { "$WODAN" dump "$1" --format base64 | LC_ALL=C sort | cmp -s - <(LC_ALL=C sort "$2"); }

echo "# images of every kind"
# whole NAME ARGUMENT...: is called clean, is imported, twice; the source stays as it is.
whole() {
  local name=$1
  shift
  make "$@"
  ours
  run "$MADE is clean" 0 "$FSCK" --mirage image
  run "$MADE is imported" 0 "$WODAN" import-mirage image ours
  if dumped ours model; then ok "$name: all records, and no others"; else fail "$name" "other records: $MADE"; fi
  run "$MADE is imported again" 0 "$WODAN" import-mirage image ours --batch 7
  if dumped ours model && same; then ok "$name: nothing changes"; else fail "$name" "again, or the source: $MADE"; fi
}
seed=1
for keys in 1 8 20 33; do
  for flags in 7 15; do
    whole "keys of $keys, features $flags" --seed $seed --block-size 512 --blocks 1500 --key-size $keys --flags $flags \
      --operations 1500 --value-size 24
    seed=$((seed + 1))
  done
done
whole "seven levels" --seed 41 --block-size 512 --blocks 2000 --key-size 64 --operations 1200
whole "many shadowed" --seed 42 --block-size 1024 --blocks 400 --operations 3000 --overwrite 0.8 --flags 15
whole "few blocks, used again and again" --seed 43 --block-size 512 --blocks 24 --operations 4000 --key-size 1 --value-size 3 \
  --flush-every 100 --flags 15
whole "links in any order" --seed 44 --block-size 512 --blocks 1500 --key-size 16 --operations 1500 --shuffle-links
whole "pre-roots" --seed 45 --blocks 400 --preroots 16
whole "a flush without a root" --seed 46 --block-size 512 --blocks 800 --operations 1000 --unfinished
whole "blocks of 4 KiB" --seed 47 --operations 2000 --blocks 300
whole "blocks of 64 KiB" --seed 48 --block-size 65536 --blocks 16 --operations 1500 --flush-every 500 --value-size 400
whole "blocks of 256 KiB" --seed 49 --block-size 262144 --blocks 8 --operations 800 --flush-every 800 --value-size 900
whole "no record" --seed 50 --operations 0
whole "a device that grew" --seed 51 --behind 5000
whole "a compatible feature" --seed 52 --compatible 1

echo "# what is refused"
make --seed 60 --flags 7
ours
mkdir features damaged
python3 - "$(dirname "$MAKE")" <<'PYTHON'
import struct, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import make_mirage
b = bytearray(open("image", "rb").read())
for flags in [n for n in range(16) if n not in (7, 15)] + [16, 23, 31, 2**31 + 7]:
    b[24:28] = struct.pack("<I", flags)
    b[:512] = make_mirage.sealed(bytes(b[:508]))
    open(f"features/{flags}", "wb").write(b)
PYTHON
for image in features/*; do
  flags=${image#*/}
  run "features $flags" 4 "$FSCK" --mirage "$image"
  check "features $flags have their finding" "grep -q '^WM0003 damage block 0: .*: $flags,' out"
done
cp features/6 image
run "and are not imported" 3 "$WODAN" import-mirage image ours
check "one sentence" "[ \$(wc -l <err) = 1 ] && grep -q 'nothing was imported' err"
make --seed 60 --version 2
run "version 2" 4 "$FSCK" --mirage image --json
json "version 2 as JSON" "d['findings'][0]['id'] == 'WM0002' and d['summary']['state'] == 'damaged' and not d['summary']['complete']"
run "ours is none of theirs" 8 "$FSCK" --mirage ours
run "ours is not imported" 3 "$WODAN" import-mirage ours ours
run "theirs is none of ours" 8 "$FSCK" image
make --seed 60
run "theirs is no place to import to" 3 "$WODAN" import-mirage image image
check "and it says so" "grep -q 'image: ' err && same"
run "no source" 4 "$WODAN" import-mirage nowhere ours
run "no image" 4 "$WODAN" import-mirage image nowhere
run "no arguments" 2 "$WODAN" import-mirage
run "one argument" 2 "$WODAN" import-mirage image
run "three arguments" 2 "$WODAN" import-mirage image ours ours
check "nothing was imported" "[ -z \"\$($WODAN dump ours)\" ]"
whole "large values" --seed 61 --block-size 65536 --blocks 8 --value-size 20000 --operations 20
make --seed 62 --block-size 16384 --blocks 250 --operations 4000 --value-size 900 --flush-every 1000
ours 1M
run "an image too small" 5 "$WODAN" import-mirage image ours
check "how far it came is told" "grep -q 'of [0-9]* records are durable' err"
run "is left whole" 0 "$FSCK" ours
ours
"$WODAN" put ours other record
printf '%s\t%s\n' "$(printf other | base64)" "$(printf record | base64)" >>model
run "a bigger one" 0 "$WODAN" import-mirage image ours --json
json "tells what it did" "d['records'] > 2000 and d['generation'] > 0 and d['nodes'] > 10 and d['deleted'] == 0"
check "what was there stays" "dumped ours model"

echo "# damage and older roots"
make --seed 70 --torn
run "a torn root is a warning" 4 "$FSCK" --mirage image
check "with its finding" "grep -q '^WM0061 warning block [0-9]*: .*type 1' out"
ours
run "and is not passed over in silence" 3 "$WODAN" import-mirage image ours
run "but by wish" 0 "$WODAN" import-mirage image ours --older-root
check "the root before is whole" "dumped ours model && same"
make --seed 71
run "roots" 0 "$FSCK" --mirage --list-roots image
check "the newest is there" "[ \"\$(awk 'NR > 1 { print \$1 }' out | sort -n | tail -1)\" = \"\$(sed -n 's/.*generation \\([0-9]*\\),.*/\\1/p' made)\" ]"
run "roots as JSON" 0 "$FSCK" --mirage --list-roots image --json
json "are the same" "len(d['roots']) >= 4 and all(r['block'] > 0 for r in d['roots'])"
run "an older root" 0 "$FSCK" --mirage -b 1 image
check "is told" "grep -q '^WM0011 note' out"
run "no such root" 8 "$FSCK" --mirage -b 1000000 image
run "too little memory" 8 "$FSCK" --mirage --memory 4K image
run "progress" 0 "$FSCK" --mirage -C3 image 3>progress
check "comes to an end" "tail -1 progress | grep -q ' 100$'"
# A node in the middle of the newest tree.
make --seed 72 --block-size 512 --blocks 1500 --operations 1000
run "before the damage" 0 "$FSCK" --mirage image --json
python3 - <<'PYTHON'
import struct
b = bytearray(open("image", "rb").read())
blocks = [b[i:i + 512] for i in range(0, len(b), 512)]
roots = {struct.unpack_from("<Q", block, 1)[0]: block for block in blocks if block[0] == 1 and block[9:25] == b[49:65]}
child = struct.unpack_from("<Q", roots[max(roots)], 508 - 8)[0]
b[child * 512 + 100] ^= 1
open("image", "wb").write(b)
PYTHON
sum=$(sha256sum <image)
run "a child of the root is damaged" 4 "$FSCK" --mirage image
check "not all of it was seen" "tail -1 out | grep -q '1 damage.*not everything could be reached'"
check "its keys are told" "grep -q '^WM0021 damage block [0-9]*: .*\\[keys first \\.\\. \"' out"
ours
run "it is not imported" 3 "$WODAN" import-mirage image ours
check "nothing of it" "[ -z \"\$($WODAN dump ours)\" ] && same"

echo "# bytes changed at random"
make --seed 80 --block-size 512 --blocks 200 --operations 300 --key-size 8
python3 - <<'PYTHON'
import random
for number in range(30):
    b = bytearray(open("image", "rb").read())
    r = random.Random(number)
    if r.random() < 0.3:
        b = b[:r.randrange(len(b))]
    for _ in range(r.randrange(1, 4)):
        b[r.randrange(len(b))] ^= r.randrange(1, 256)
    open(f"damaged/{number}", "wb").write(b)
PYTHON
for number in $(seq 0 29); do
  cp "damaged/$number" image
  sum=$(sha256sum <image)
  ours 1M
  code=0
  "$WODAN" import-mirage image ours >out 2>err || code=$?
  case $code in
  0) if dumped ours model && same; then ok "$number: the same records"; else fail "bytes changed, seed $number" "imported, and other records"; fi ;;
  3) if [ -z "$("$WODAN" dump ours)" ] && same; then ok "$number: refused"; else fail "bytes changed, seed $number" "refused, and written"; fi ;;
  *) fail "bytes changed, seed $number" "exit code $code: $(head -c 300 err)" ;;
  esac
done

echo "# wodanc's text"
# As wodanc writes it: no quotes, a tab, a newline, standard base64 with padding; in the order of its walk, not of keys.
printf 'AAECAwQFBgc=\t\nYWJjZGVmZ2g=\t+/8=\n//////////8=\tMDAw\n' >text
ours
run "is loaded" 0 "$WODAN" load ours text --format base64
run "is dumped" 0 "$WODAN" dump ours --format base64
check "to the byte" "cmp -s out text"
# It writes a shadowed value too, behind the one that shadows it.
printf 'YWJjZGVmZ2g=\tbmV3\n//////////8=\tMDAw\nYWJjZGVmZ2g=\tb2xk\n' >shadowed
ours
run "is loaded so that the first value of a key stands" 0 "$WODAN" load ours shadowed --format base64 --keep-existing --ack
check "every line counts" "[ \"\$(cat out)\" = 'acked 3' ]"
check "the first stands" "[ \"\$($WODAN get ours abcdefgh)\" = new ]"
run "again, with another text" 0 "$WODAN" load ours text --format base64 --keep-existing
check "what was there stays" "[ \"\$($WODAN get ours abcdefgh)\" = new ] && [ \"\$($WODAN dump ours | wc -l)\" = 3 ]"
run "without it the last stands" 0 "$WODAN" load ours shadowed --format base64
check "the last stands" "[ \"\$($WODAN get ours abcdefgh)\" = old ]"

echo "$COUNT checks, $FAILED failed"
[ "$FAILED" = 0 ]

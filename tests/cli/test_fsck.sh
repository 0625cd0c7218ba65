#!/bin/bash
# What: the `wodan-fsck` command from outside: exit codes of fsck(8), findings as lines and as JSON, images it refuses.
#
# Always true: a line "FAIL NAME: why" a failed check, with WODAN_VERBOSE=1 "ok NAME" for the others; exit code 1 when anything failed; no run changes the image.
#
# Order: one image is made with the `wodan` command; every damage is done to a copy.
#
# See: tools/wodan-fsck/. Usage: test_fsck.sh PATH-OF-WODAN-FSCK PATH-OF-WODAN
set -eu

FSCK=$(realpath "$1")
WODAN=$(realpath "$2")
T=$(mktemp -d)
FAILED=0
COUNT=0
LOADER=

cleanup() {
  [ -z "$LOADER" ] || kill "$LOADER" 2>/dev/null || true
  rm -rf "$T"
}
trap cleanup EXIT
cd "$T"

ok() { COUNT=$((COUNT + 1)); [ -z "${WODAN_VERBOSE:-}" ] || echo "ok $1"; }
fail() { FAILED=$((FAILED + 1)); echo "FAIL $1: $2"; }
check() { if eval "$2"; then ok "$1"; else fail "$1" "not so: $2 (out: $(head -c 300 out); err: $(head -c 300 err))"; fi; }

# run NAME EXIT ARGUMENT...: runs wodan-fsck; output in out and err.
run() {
  local name=$1 want=$2 got=0
  shift 2
  "$FSCK" "$@" >out 2>err || got=$?
  if [ "$got" = "$want" ]; then ok "$name"; else fail "$name" "exit code $got, wanted $want: $* ($(head -c 300 err))"; fi
}

# json NAME EXPRESSION: out is one JSON document, and the Python expression on it (named d) is true.
json() {
  if python3 -ISc 'import json, sys
d = json.load(open("out"))
assert d["schema"] == "wodan-fsck" and d["version"] == 2 and "image" in d and "findings" in d and "summary" in d
sys.exit(0 if eval("(" + sys.argv[1] + ")") else 1)' "$2" 2>json_err; then
    ok "$1"
  else
    fail "$1" "not so: $2 in $(head -c 600 out) $(tail -1 json_err)"
  fi
}

# spoil FILE HOW: a Python statement on the bytes b of FILE.
spoil() {
  python3 -ISc 'import sys
b = bytearray(open(sys.argv[1], "rb").read())
exec(sys.argv[2])
open(sys.argv[1], "wb").write(b)' "$1" "$2"
}
RUNS='[i for i in range(0, len(b), 512) if b[i+8:i+12] == b"WRUN"]'

echo "# usage"
run "no image is a usage error" 16
run "two images are a usage error" 16 a b
run "an unknown option is a usage error" 16 --repair img
run "--help" 0 --help
check "--help tells the exit codes" "tr -s ' \\n' ' ' <out | grep -q '32 cancelled'"
run "--version" 0 --version
check "--version tells a number" "grep -qE '^wodan-fsck [0-9]+\.[0-9]+\.[0-9]+$' out"

echo "# what cannot be checked"
run "a missing file" 8 missing
check "the reason is on standard error, once" "[ \$(wc -l <err) = 1 ] && grep -q '^wodan-fsck: missing: ' err && [ ! -s out ]"
check "nothing was made" "[ ! -e missing ]"
run "a folder" 8 .
: >empty
run "an empty file" 8 empty
head -c 1000000 /dev/zero >zeros
run "a file of zeros" 8 zeros
check "it is called no image" "grep -q 'no Wodan' err"
run "a missing file, in JSON" 8 --json missing
json "the summary is there all the same" "d['summary']['state'] == 'unchecked' and not d['summary']['complete'] and d['summary']['exit_code'] == 8 and d['summary']['error']['code'] == 'WODAN_EIO'"
run "zeros, in JSON" 8 --json zeros
json "the code is told" "d['summary']['error']['code'] == 'WODAN_EFORMAT' and d['findings'] == []"

echo "# a clean image"
"$WODAN" format img --size 16M --block-size 512 --page-size 512 --leaf-size 2K >/dev/null
run "a fresh image" 0 img
python3 -ISc 'for i in range(30000): print("key%06d\tvalue %060d" % (i * 7919 % 30011, i))' >lines.tsv
"$WODAN" load img lines.tsv >/dev/null
# Where a leaf of the newest tree starts, byte: other runs may be of no tree any more.
LEAF=$("$WODAN" path --json img "$(head -1 lines.tsv | cut -f 1)" | python3 -ISc 'import json, sys
print([512 * s["block"] for s in json.load(sys.stdin)["steps"] if s["kind"] == "leaf"][0])')
before=$(sha256sum <img)
run "a full image" 0 img
check "one line, clean" "[ \$(wc -l <out) = 1 ] && grep -q '^img: clean, generation' out && [ ! -s err ]"
run "-n" 0 -n img
run "-C without a terminal shows no bar" 0 -C img
check "standard error is empty" "[ ! -s err ]"
run "-v" 0 -v img
check "-v prints the figures" "grep -qE '^records +[0-9]+$' out && grep -qE '^leaves +[0-9]+$' out && tail -1 out | grep -q '^img: clean'"
eval "$("$WODAN" stat img --json | python3 -ISc 'import json, sys
d = json.load(sys.stdin)
print("LEAVES=%d; BUFFERED=%d; LIVE=%d" % (d["leaves"], d["runs"], d["space_live"]))')"
run "--json" 0 --json img
json "the summary tells the figures" "d['summary']['leaves'] == $LEAVES and d['summary']['runs'] == $BUFFERED and d['summary']['blocks_live'] * 512 == $LIVE and d['findings'] == [] and d['summary']['state'] == 'clean' and d['summary']['complete'] and d['summary']['records'] >= 30000 and d['summary']['leaves'] > 100 and d['summary']['error'] is None and d['summary']['exit_code'] == 0"
check "nothing was written" "[ \"\$(sha256sum <img)\" = \"$before\" ]"

echo "# roots, memory, progress"
run "--list-roots" 0 --list-roots img
check "the newest root comes first, and there are older ones" "[ \$(wc -l <out) -ge 3 ] && awk 'NR > 2 && \$1 >= last { exit 1 } { last = \$1 }' out"
NEWEST=$(awk 'NR == 2 { print $1 }' out)
OLDER=$(awk 'NR == 3 { print $1 }' out)
run "--list-roots --json" 0 --list-roots --json img
check "roots are objects" "python3 -ISc 'import json; d = json.load(open(\"out\")); assert d[\"schema\"] == \"wodan-fsck-roots\" and d[\"roots\"][0][\"generation\"] == $NEWEST and d[\"roots\"][1][\"generation\"] == $OLDER'"
run "--list-roots of zeros" 8 --list-roots zeros
run "-b of the newest root" 0 -b "$NEWEST" img
check "it is no other check" "[ \$(wc -l <out) = 1 ]"
run "-b of an older root" 0 -b "$OLDER" --json img
json "the older root was checked" "d['summary']['generation'] == $OLDER and [f['id'] for f in d['findings']] == ['WF0019'] and d['findings'][0]['severity'] == 'note'"
run "-b of a root that is not there" 8 -b 123456789 img
check "it says so" "grep -q 'no root of generation 123456789' err"
run "-b 0 is a usage error" 16 -b 0 img
run "-b of no number is a usage error" 16 -b newest img
run "--memory that is enough" 0 --memory 8M img
run "--memory that is not" 8 --memory 16K img
check "it says so" "grep -q 'needs more memory' err"
run "--memory of no size is a usage error" 16 --memory much img
run "-C with a descriptor that is not open" 16 -C77 img
"$FSCK" -C7 img >out 2>err 7>progress || fail "-C7" "exit code $?"
check "-C7 writes numbers" "[ \$(wc -l <progress) -gt 3 ] && ! grep -qvE '^[0-9]+ [0-9]+ [0-9]+\$' progress && tail -1 progress | grep -q ' 100\$'"
check "roots and numbers wrote nothing" "[ \"\$(sha256sum <img)\" = \"$before\" ]"

echo "# damage"
cp img bad
spoil bad "b[$LEAF + 40] ^= 1; b[$RUNS[-1] + 40] ^= 1"
damaged=$(sha256sum <bad)
run "damaged leaves" 4 bad
check "a line a finding with its block" "grep -qE '^WF0030 damage block [0-9]+: ' out"
check "a line tells the keys concerned" "grep -qE '^WF0030 .* \\[keys (first|\"key[0-9]+\") \\.\\. (last|\"key[0-9]+\")\\]\$' out"
check "and another one what a repair would do" "grep -A1 '^WF0030 ' out | grep -q '^    -y: nothing of the run or leaf can be read'"
check "the last line counts" "tail -1 out | grep -qE '^bad: [0-9]+ damage, [0-9]+ warnings$'"
run "damaged leaves, in JSON" 4 --json bad
json "findings are objects" "any(f['id'] == 'WF0030' and f['severity'] == 'damage' and f['block'] > 0 and f['message'] and f['repair'] == 'lossy' and 'given up' in f['remedy'] for f in d['findings']) and d['summary']['state'] == 'damaged' and d['summary']['damages'] + d['summary']['warnings'] + d['summary']['notes'] == len(d['findings'])"
check "a damaged image is not written either" "[ \"\$(sha256sum <bad)\" = \"$damaged\" ]"
cp img bad
spoil bad "b[len(b) - 100] ^= 1"
run "a damaged copy of the superblock" 4 bad
check "it is a warning" "grep -qE '^WF0002 warning block 32767: ' out && tail -1 out | grep -q '0 damage, 1 warnings'"
cp img bad
spoil bad "b[0:512] = bytes(512)"
run "block 0 gone, the copy serves" 4 bad
spoil bad "b[len(b) - 512:] = bytes(512)"
run "both superblocks gone" 8 bad

echo "# salvage"
"$WODAN" dump img >whole.tsv
cp img bad
spoil bad "b[$LEAF + 40] ^= 1; b[$RUNS[-1] + 40] ^= 1"
damaged=$(sha256sum <bad)
run "a damaged image is salvaged" 4 -o new bad
check "what is saved is told" "grep -qE '^new: [0-9]+ records saved; of [0-9]+ ranges' out && grep -q '^WF0060 damage' out"
check "the damaged image was not written" "[ \"\$(sha256sum <bad)\" = \"$damaged\" ]"
"$WODAN" dump new >new.tsv
check "all that is saved was there, and most was saved" "[ -z \"\$(comm -13 <(sort whole.tsv) <(sort new.tsv))\" ] && [ \$((\$(wc -l <new.tsv) * 10)) -gt \$((\$(wc -l <whole.tsv) * 8)) ]"
run "the new image is clean" 0 new
run "an image that exists is not overwritten" 8 -o new bad
check "and is still what it was" "\"$WODAN\" dump new | cmp -s - new.tsv"
rm -f new new.unreachable.jsonl
run "salvage in JSON" 4 --json -o new bad
json "it tells the new image" "d['salvage']['output'] == 'new' and d['salvage']['complete'] and d['salvage']['records'] > 0 and any(f['id'] == 'WF0060' for f in d['findings'])"
rm -f new new.unreachable.jsonl
run "a whole image is salvaged" 0 -o new img
check "and nothing is missing" "\"$WODAN\" dump new | cmp -s - whole.tsv && [ ! -e new.unreachable.jsonl ]"
rm -f new
cp img bad
spoil bad "b[:512 * 1025] = bytes(512 * 1025); b[-512:] = bytes(512)"
run "without superblocks and without a root" 4 -o new bad
check "the runs are found" "grep -q '^WF0062' out && grep -q '^WF0061' out && \"$FSCK\" new >/dev/null && [ \$(\"$WODAN\" dump new | wc -l) -ge \$(wc -l <whole.tsv) ]"
rm -f new
head -c 2000000 img >bad
run "an image that was cut" 4 -o new bad
check "the new one has the old size" "[ \$(stat -c %s new) = \$(stat -c %s img) ] && \"$FSCK\" new >/dev/null"
rm -f new new.unreachable.jsonl
head -c 100000 /dev/zero >bad
run "what is no image at all" 8 -o new bad
check "leaves no file behind" "[ ! -e new ]"
run "the image itself is no place for the new one" 8 -o img img
run "a memory limit that is too small" 8 --memory 64K -o new img
check "is told with what failed" "grep -q memory err && [ ! -e new ]"

echo "# repair in place"
cp img bad
spoil bad "b[0:512] = bytes(512)"
run "-n changes nothing" 4 -n bad
check "and tells what would be done" "grep -q '^would repair superblock: block 0: ' out"
run "-n with -p" 4 -n -p bad
run "a superblock is a safe repair" 1 -p bad
check "it is told" "grep -q '^repair superblock: block 0: ' out && tail -1 out | grep -q '^bad: clean'"
run "the second time there is nothing to do" 0 -p bad
cp img bad
spoil bad "b[$LEAF + 40] ^= 1"
cp bad worse
run "damage is not repaired safely" 4 -p bad
check "and nothing was written" "cmp -s bad worse"
run "but with -y" 1 -y bad
check "what is given up is told" "grep -q '^WF0060' out && grep -qE '^repair (leaf|runs): block [0-9]+: ' out"
run "then it is clean" 0 bad
"$WODAN" dump bad >new.tsv
check "and holds nothing else than before" "[ -z \"\$(comm -13 <(sort whole.tsv) <(sort new.tsv))\" ]"
run "in JSON, what would be done" 4 --json -n worse
json "steps are objects" "d['repair']['dry_run'] and d['repair']['steps'][0]['kind'] in ('leaf', 'runs') and d['repair']['steps'][0]['keys'] is not None and d['summary']['state'] == 'damaged'"
root=$("$FSCK" --list-roots img | sed -n 3p | awk '{ print $1 }')
cp img bad
run "another root only with -y" 16 -p -b "$root" bad
run "the image goes on from an older root" 1 -y -b "$root" bad
check "and is clean" "grep -q '^repair older_root: ' out && \"$FSCK\" bad >/dev/null"
run "-p and -y exclude one another" 16 -p -y img
run "-o and -y exclude one another" 16 -o new -y img
run "-n and -o exclude one another" 16 -n -o new img

echo "# in use"
mkfifo lines
"$WODAN" load img lines >/dev/null 2>&1 &
LOADER=$!
exec 9>lines
for _ in $(seq 50); do
  "$FSCK" img >out 2>err || [ $? != 8 ] || break
  sleep 0.1
done
run "an image open for writing is refused" 8 img
run "and not repaired" 8 -y img
run "and not salvaged" 8 -o new img
check "the reason is told" "grep -q 'img' err && [ ! -s out ]"
run "in use, in JSON" 8 --json img
json "in use is told" "d['summary']['error']['code'] == 'WODAN_EBUSY'"
exec 9>&-
wait "$LOADER" || true
LOADER=
run "afterwards it is clean" 0 img

echo "# cancelled"
# Hundreds of findings fill a short pipe that nobody reads, so the check stands still in its middle when the signal comes.
cp img bad
spoil bad "
for i in $RUNS: b[i + 40] ^= 1"
python3 - "$FSCK" >out 2>err <<'PYTHON' || true
import array, fcntl, os, signal, subprocess, sys, termios, time
reader, writer = os.pipe()
full = fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
process = subprocess.Popen([sys.argv[1], "bad"], stdout=writer)
os.close(writer)
waiting = array.array("i", [0])
for _ in range(200):
    fcntl.ioctl(reader, termios.FIONREAD, waiting)
    if waiting[0] >= full // 2:
        break
    time.sleep(0.1)
process.send_signal(signal.SIGINT)
last = open(reader).read().splitlines()[-1]
print(last, process.wait())
PYTHON
check "Ctrl-C gives 32 and 4, and the last line" "grep -qE '^bad: [0-9]+ damage, 0 warnings \\(cancelled\\) 36$' out"

echo "$COUNT checks, $FAILED failed"
[ "$FAILED" = 0 ]

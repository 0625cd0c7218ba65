#!/bin/bash
# What: the `wodan` command from outside: every verb, every exit code, bad inputs, and what it leaves behind.
#
# Always true: a line "FAIL NAME: why" or "skip NAME: why" a check, with WODAN_VERBOSE=1 also "ok NAME"; exit code 1 when
# anything failed; a failing command prints exactly one line on standard error; files a command may not write are
# compared by checksum.
#
# Order: the checks of a section build on the image made at its top.
#
# See: tools/wodan/. Usage: test_cli.sh PATH-OF-WODAN
set -eu

WODAN=$(realpath "$1")
T=$(mktemp -d)
FAILED=0
COUNT=0
LOADER=
MOUNTED=

cleanup() {
  [ -z "$LOADER" ] || kill "$LOADER" 2>/dev/null || true
  [ -z "$MOUNTED" ] || umount "$MOUNTED" 2>/dev/null || true
  rm -rf "$T"
}
trap cleanup EXIT
cd "$T"

ok() { COUNT=$((COUNT + 1)); [ -z "${WODAN_VERBOSE:-}" ] || echo "ok $1"; }
fail() { FAILED=$((FAILED + 1)); echo "FAIL $1: $2"; }
skip() { echo "skip $1: $2"; }
check() { if eval "$2"; then ok "$1"; else fail "$1" "not so: $2"; fi; }
sum() { sha256sum "$@" | cut -d' ' -f1 | tr '\n' ' '; }

# run NAME EXIT ARGUMENT...: runs wodan with standard input as it is; output in out and err.
run() {
  local name=$1 want=$2 got=0
  shift 2
  "$WODAN" "$@" >out 2>err || got=$?
  if [ "$got" != "$want" ]; then
    fail "$name" "exit code $got, wanted $want: wodan $* (stderr: $(head -c 300 err))"
  elif [ "$want" = 0 ] && [ -s err ]; then
    fail "$name" "success with words on standard error: $(head -c 300 err)"
  elif [ "$want" != 0 ] && ! head -1 err | grep -q '^wodan'; then
    fail "$name" "standard error does not begin with wodan: $(head -c 300 err)"
  elif [ "$want" != 0 ] && [ "$want" != 2 ] && [ "$(wc -l <err)" != 1 ]; then
    fail "$name" "not one line on standard error: $(head -c 300 err)"
  else
    ok "$name"
  fi
}

# json NAME FILE EXPRESSION: FILE is one JSON document and the Python expression on it (named d) is true.
json() {
  if ! python3 -ISc 'import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(0 if eval("(" + sys.argv[2] + ")") else 1)' "$2" "$3" 2>json_err; then
    fail "$1" "not so: $3 in $(head -c 300 "$2") $(tail -1 json_err)"
  else
    ok "$1"
  fi
}

# untouched NAME CHECKSUM FILE
untouched() { if [ "$(sum "$3")" = "$2" ]; then ok "$1 leaves the file alone"; else fail "$1" "the file was changed"; fi; }

python3 -ISc 'for i in range(3000): print("key%05d\tvalue %d of many" % (i, i * 7919))' >lines.tsv

echo "# the command itself"
run "no verb is a usage error" 2
check "no verb lists the verbs" "grep -q '  dump ' err"
run "unknown verb is a usage error" 2 explode img
check "unknown verb lists the verbs" "grep -q \"no verb 'explode'\" err && grep -q '  dump ' err"
run "--help" 0 --help
check "--help lists the exit codes" "grep -q '6 busy' out"
run "--version" 0 --version
check "--version tells a number" "grep -qE '^wodan [0-9]+\.[0-9]+\.[0-9]+$' out"
for verb in format info stat put get del scan load dump compact trim bench; do
  run "$verb --help" 0 "$verb" --help
  check "$verb --help shows usage and --json" "grep -q '^Usage: wodan $verb ' out && grep -q -- '--json' out"
  run "$verb without image is a usage error" 2 "$verb"
  run "$verb with an unknown option is a usage error" 2 "$verb" img --no-such-option
done

echo "# format"
run "format needs a size for a new file" 2 format img
check "format without size makes nothing" "[ ! -e img ]"
for size in 12X K 1.5M -1 99999999999999999999 9999999999T; do
  run "format refuses the size $size" 2 format img --size=$size
done
run "format refuses a size that is too small" 2 format img --size 4K
check "a failed format removes the file it made" "[ ! -e img ]"
run "format refuses a bad block size" 2 format img --size 1M --block-size 1000
check "a refused block size leaves no file" "[ ! -e img ]"
run "format in a missing folder" 4 format missing/img --size 1M
run "format" 0 format img --size 8M --json
json "format --json" out "d['formatted'] and d['device_size'] == 8 << 20"
check "format makes the size asked for" "[ $(stat -c %s img) = $((8 << 20)) ]"
before=$(sum img)
run "format refuses an image" 1 format img
check "format says how to overwrite" "grep -q -- '--force' err"
run "format refuses an image with --size" 1 format img --size 8M --json
json "a refused format is told in JSON" out "d['error']['code'] == 'WODAN_EEXIST'"
run "format does not shrink" 1 format img --size 4M
run "format does not extend without --force" 1 format img --size 16M
untouched "a refused format" "$before" img
run "format --force" 0 format img --force
check "format says one line" "[ $(wc -l <out) = 1 ]"
run "format --force extends" 0 format img --force --size 9M
check "the extended file has its size" "[ $(stat -c %s img) = $((9 << 20)) ]"
run "format --force that fails" 2 format img --force --size 10M --block-size 77
check "a failed format gives the old size back" "[ $(stat -c %s img) = $((9 << 20)) ]"
run "format over a file of zeros, smaller blocks" 0 format zeros --size 1M --block-size 512 --page-size 512
run "info of it" 0 info zeros --json
json "the block size is the one asked for" out "d['block_size'] == 512 and d['page_size'] == 512"
run "format with node sizes" 0 format nodes --size 1M --node-leaves 40 --node-children 5
run "info of it" 0 info nodes --json
json "info tells the node sizes" out "d['node_leaves'] == 40 and d['node_children'] == 5"
for wrong in "--node-leaves 3" "--node-leaves 65537" "--node-leaves 4K" "--node-children 3" "--node-children 257"; do
  run "format $wrong is a usage error" 2 format nodes $wrong --force
done
run "format --compression" 0 format packed --size 8M --compression fast
run "info of it" 0 info packed --json
json "info tells the compression" out "d['compression'] == 'fast'"
run "format --compression of no such kind" 2 format packed --force --compression best
python3 -ISc 'for i in range(20000): print("key%05d\t{name: user, number: %d, active: true, tags: none at all}" % (i, i))' >packed.tsv
run "load more than was chosen at format" 2 load packed packed.tsv --compression high
check "which is said" "grep -q 'at most as chosen' err"
run "load of what compresses" 0 load packed packed.tsv
run "compact of it" 0 compact packed
run "bench of it" 0 bench packed --workload fillrandom --num 20000 --json
json "bench tells what pages take" out "0 < d['page_stored_bytes'] < d['page_bytes']"
run "path to a key of it" 0 path packed key00077 --json
json "path tells what the page takes" out "any(s.get('page_stored', 0) < s.get('page_size', 0) for s in d['steps'])"
run "stat of it" 0 stat packed --json
json "stat tells of pages" out "d['pages_read_bytes'] >= d['pages_read_stored_bytes'] and 'leaf_page_stored_bytes' in d"
run "format --preallocate" 0 format full --size 2M --preallocate
check "preallocated space is there" "[ $(($(stat -c '%b * %B' full))) -ge $((2 << 20)) ]"
truncate -s 3M hole
run "format takes an existing file of zeros without --size" 0 format hole
run "info reads it" 0 info hole --json
json "the whole file is used" out "d['device_size'] == 3 << 20"
rm -f img zeros full hole nodes packed packed.tsv

echo "# one record"
"$WODAN" format img --size 8M >/dev/null
run "put" 0 put img apple red
check "put says nothing" "[ ! -s out ]"
run "get" 0 get img apple
check "get prints the bytes and no newline" "[ \"$(od -An -c out | tr -d ' \n')\" = red ]"
run "put overwrites" 0 put img apple green --json
json "put --json" out "d['put'] == 1 and d['durable'] and d['value_size'] == 5"
run "get --json" 0 get img apple --json
json "get --json" out "d == {'key': 'apple', 'value': 'green'}"
printf 'a\0b\n' >value
run "put from standard input" 0 put img stdin <value
run "get of it" 0 get img stdin
check "every byte of standard input is stored" "cmp -s out value"
run "put of an empty value" 0 put img empty ''
run "get of an empty value" 0 get img empty
check "an empty value is empty" "[ ! -s out ]"
run "get of an absent key" 1 get img pear
check "an absent key prints nothing" "[ ! -s out ]"
run "get of an absent key in JSON" 1 get img pear --json
json "an absent key in JSON" out "d['error']['code'] == 'WODAN_ENOTFOUND' and d['error']['message']"
run "put --hex" 0 put img --hex 00ff7f c3bc
run "get --base64 of the same key" 0 get img --base64 AP9/
check "hex and base64 name the same bytes" "[ \"$(od -An -tx1 out | tr -d ' \n')\" = c3bc ]"
run "get --json of bytes that are no text" 0 get img --hex 00ff7f --json
json "such a key is given in base64" out "d == {'key_base64': 'AP9/', 'value': 'ü'}"
run "odd hexadecimal is a usage error" 2 get img --hex 123
run "bad base64 is a usage error" 2 get img --base64 'A=='
run "--hex and --base64 exclude each other" 2 get img --hex --base64 00
run "put of an empty key" 2 put img '' x
run "get of an empty key" 2 get img ''
run "put with too many arguments" 2 put img a b c
run "info" 0 info img --json
json "info --json" out "len(d['fsid']) == 32 and d['durable'] and d['key_size_max'] > 0 and d['value_size_max'] > 0"
keymax=$(python3 -ISc 'import json; print(json.load(open("out"))["key_size_max"])')
run "info for people" 0 info img
check "info for people names the size" "grep -q '^size  *8 MiB$' out"
head -c $((keymax + 1)) /dev/zero | tr '\0' k >long_key
head -c 9M /dev/zero | tr '\0' v >long_value
run "a key that is too long" 2 put img "$(cat long_key)" x
run "a value that is longer than the image" 5 put img k <long_value
run "nothing of a refused value is stored" 1 get img k
run "a key of the largest size" 0 put img "$(head -c "$keymax" long_key)" x
head -c 1M long_value >most
run "a large value from standard input" 0 put img k <most
run "get of it" 0 get img k
check "the large value is whole" "cmp -s out most"
run "a part of it" 0 get img k --offset 1048570 --length 100
check "the part ends where the value does" "[ \"\$(cat out)\" = vvvvvv ]"
run "del" 0 del img k
check "del says nothing" "[ ! -s out ]"
run "del of an absent key" 1 del img k
run "del in JSON" 0 del img stdin --json
json "del --json" out "d == {'deleted': 1}"
run "del of an absent key in JSON" 1 del img stdin --json
json "del of an absent key in JSON" out "d['error']['code'] == 'WODAN_ENOTFOUND'"
run "del without a key" 2 del img
run "del with key and --all" 2 del img k --all
run "stat" 0 stat img --json
json "stat --json" out "d['space_total'] >= d['space_live'] >= 0 and 'write_amplification' in d"
run "stat for people" 0 stat img
check "stat for people names the space" "grep -q '^space_free  *[0-9]' out"
run "stat" 0 stat img --json
json "stat --json tells levels, debt, delays and views" out "all(d[k] >= 0 for k in ('levels', 'nodes', 'alpha',
  'maintenance_owed', 'maintenance_bytes', 'put_delay_max', 'put_work_max', 'pinned_memory', 'pinned_space',
  'oldest_view_sequence', 'runs_loaded_bytes', 'run_evictions')) and d['put_delay_max'] == 0"
json "no histogram where nothing was written" out "'put_delays' not in d"
run "--cache" 0 get img apple --cache 64M
run "--cache that is no size" 2 get img apple --cache lots
"$WODAN" get img apple --direct >out 2>err && got=0 || got=$?
if [ $got != 0 ] && grep -q 'O_DIRECT\|direct' err; then
  skip "--direct" "$(cat err)"
else
  check "--direct" "[ $got = 0 ] && [ \"\$(cat out)\" = green ]"
fi

echo "# ranges"
"$WODAN" format range --size 8M >/dev/null
for k in a aa ab b ba c; do "$WODAN" put range "$k" "v$k"; done
"$WODAN" put range --hex ffff 01
"$WODAN" put range --hex ffffff 02
keys() { cut -f1 out | tr '\n' ' '; }
run "scan" 0 scan range
check "scan is in key order" "[ \"\$(keys)\" = 'a aa ab b ba c \\xff\\xff \\xff\\xff\\xff ' ]"
run "scan --reverse" 0 scan range --reverse
check "scan --reverse is in falling order" "[ \"\$(keys)\" = '\\xff\\xff\\xff \\xff\\xff c ba b ab aa a ' ]"
run "scan --prefix" 0 scan range --prefix a
check "scan --prefix" "[ \"\$(keys)\" = 'a aa ab ' ]"
run "scan --prefix --reverse" 0 scan range --prefix a --reverse
check "scan --prefix --reverse" "[ \"\$(keys)\" = 'ab aa a ' ]"
run "scan --prefix of the highest bytes" 0 scan range --hex --prefix ffff
check "scan --prefix of the highest bytes" "[ \"\$(keys)\" = 'ffff ffffff ' ]"
run "scan --prefix of the highest bytes down" 0 scan range --hex --prefix ffff --reverse --limit 1
check "scan --limit" "[ \"\$(keys)\" = 'ffffff ' ]"
run "scan --from --to" 0 scan range --from aa --to b
check "scan: --from is included, --to is not" "[ \"\$(keys)\" = 'aa ab ' ]"
run "scan --from --to --reverse" 0 scan range --from aa --to b --reverse
check "scan: the same downwards" "[ \"\$(keys)\" = 'ab aa ' ]"
run "scan --to between keys, downwards" 0 scan range --to az --reverse
check "scan --to between keys, downwards" "[ \"\$(keys)\" = 'ab aa a ' ]"
run "scan --from above everything" 0 scan range --hex --from ffffffff
check "an empty range prints nothing" "[ ! -s out ]"
run "scan --limit 0" 0 scan range --limit 0
check "--limit 0 prints nothing" "[ ! -s out ]"
run "scan --json" 0 scan range --prefix b --json
json "scan --json" out "d == {'records': [{'key': 'b', 'value': 'vb'}, {'key': 'ba', 'value': 'vba'}], 'count': 2}"
run "scan --json of nothing" 0 scan range --prefix zz --json
json "scan --json of nothing" out "d == {'records': [], 'count': 0}"
run "scan --base64" 0 scan range --base64 --prefix YQ== --limit 1
check "scan --base64 prints base64" "[ \"\$(cat out)\" = 'YQ==	dmE=' ]"
run "scan --prefix excludes --from" 2 scan range --prefix a --from b
run "scan --limit that is no number" 2 scan range --limit few
run "del --prefix" 0 del range --prefix a
check "del --prefix tells the number" "[ \"\$(cat out)\" = '3 deleted' ]"
run "scan after del --prefix" 0 scan range
check "only the prefix is gone" "[ \"\$(keys)\" = 'b ba c \\xff\\xff \\xff\\xff\\xff ' ]"
run "del --prefix of the highest bytes" 0 del range --hex --prefix ff --json
json "del --prefix --json" out "d == {'deleted': 2}"
run "del --all" 0 del range --all
check "del --all tells the number" "[ \"\$(cat out)\" = '3 deleted' ]"
run "del --all of nothing" 0 del range --all
check "nothing is deleted twice" "[ \"\$(cat out)\" = '0 deleted' ]"
rm range

echo "# load and dump"
"$WODAN" format data --size 64M >/dev/null
run "load from a file" 0 load data lines.tsv --ack
check "acknowledgements every 1000 lines" "[ \"\$(cat out)\" = 'acked 1000
acked 2000
acked 3000' ]"
run "dump" 0 dump data
check "dump is what was loaded" "cmp -s out lines.tsv"
run "load again" 0 load data --batch 7 <lines.tsv
check "load without --ack says nothing" "[ ! -s out ]"
run "dump again" 0 dump data
check "loading again changes nothing" "cmp -s out lines.tsv"
run "load --json --ack" 0 load data lines.tsv --json --ack --batch 2000
check "load --json --ack is lines of JSON" "[ \"\$(cat out)\" = '{\"acked\":2000}
{\"acked\":3000}
{\"lines\":3000,\"batches\":2}' ]"
run "load --stats" 0 load data lines.tsv --stats --json
json "load --stats tells what the device wrote" out "d['lines'] == 3000 and d['batches'] == 3 and \\
  d['device_write_bytes'] > d['user_bytes_written'] > 0 and d['device_flushes'] >= 3 and \\
  abs(d['device_write_bytes'] / d['user_bytes_written'] - d['write_amplification']) < 0.001"
"$WODAN" format split --size 2M >/dev/null
run "load of a batch beyond the engine's limit" 0 load split lines.tsv --batch 100000000 --json
json "it is split" out "d['lines'] == 3000 and d['batches'] > 1"
run "dump of the split load" 0 dump split
check "the split load is whole" "cmp -s out lines.tsv"
rm split
python3 -ISc '
import base64
for i in range(256):
  for k in (bytes([i]), bytes([65, i, 66])):
    print(base64.b64encode(k).decode() + "\t" + base64.b64encode(bytes([i]) * (i % 5)).decode())' | LC_ALL=C sort >bytes.base64
"$WODAN" format bytes1 --size 8M >/dev/null
run "load --format base64" 0 load bytes1 bytes.base64 --format base64
run "dump --format base64" 0 dump bytes1 --format base64
LC_ALL=C sort out >sorted
check "wodanc's text comes back" "cmp -s sorted bytes.base64"
"$WODAN" dump bytes1 >reference.tsv
check "dump has a line a record" "[ $(wc -l <reference.tsv) = 512 ]"
check "dump is UTF-8" "iconv -f UTF-8 -t UTF-8 reference.tsv >/dev/null"
for format in tsv base64 jsonl; do
  "$WODAN" dump bytes1 --format $format >dumped
  "$WODAN" format copy --size 8M --block-size 512 >/dev/null
  run "load of a $format dump" 0 load copy dumped --format $format
  run "dump of the copy" 0 dump copy
  check "$format carries every byte" "cmp -s out reference.tsv"
  rm copy
done
"$WODAN" dump bytes1 --format jsonl >dumped
check "every line of jsonl is JSON" "python3 -m json.tool --json-lines dumped >/dev/null"
run "dump --json" 0 dump bytes1 --json
check "dump --json is jsonl" "cmp -s out dumped"
run "dump --format csv" 2 dump bytes1 --format csv
run "load --format csv" 2 load bytes1 --format csv
run "load --batch 0" 2 load bytes1 --batch 0
printf 'last\tline without newline' >unfinished
run "load of a last line without newline" 0 load data unfinished
run "get of it" 0 get data last
check "it is stored" "[ \"\$(cat out)\" = 'line without newline' ]"
run "load of an empty file" 0 load data /dev/null
run "load of a missing file" 4 load data missing.tsv
run "load of a directory" 4 load data .
{ head -2500 lines.tsv; echo 'no tab here'; tail -1 lines.tsv; } >bad.tsv
"$WODAN" format bad --size 8M >/dev/null
run "load of a bad line" 1 load bad bad.tsv --ack
check "the bad line is named" "grep -q 'bad.tsv: line 2501, column 12: no tab' err"
check "what comes before is acknowledged" "[ \"\$(tail -1 out)\" = 'acked 2500' ]"
run "dump after a bad line" 0 dump bad
check "all before the bad line, nothing after it" "head -2500 lines.tsv | cmp -s - out"
{ printf 'good\t1\n'; cat long_key; printf '\tx\ngood2\t2\n'; } >long.tsv
run "load of a key that is too long" 1 load bad long.tsv --json
json "its line is told in JSON" out "'line 2' in d['error']['message']"
run "the line before it is there" 0 get bad good
run "the line after it is not" 1 get bad good2
{ printf 'k\t'; cat long_value; echo; } >long.tsv
run "load of a value that is longer than the image" 5 load bad long.tsv
run "load of a line no record can have" 1 load bad /dev/zero
for format in base64 jsonl; do
  echo '!' >malformed
  run "load of malformed $format" 1 load bad malformed --format $format
  check "malformed $format names line 1" "grep -q 'line 1, column 1\|line 1, column 2' err"
done
"$WODAN" dump data >/dev/full 2>err && got=0 || got=$?
check "dump to a full disk is an I/O error" "[ $got = 4 ]"
check "it is told in one line" "[ $(wc -l <err) = 1 ]"
run "del --all of many" 0 del data --all
check "del --all counts them" "[ \"\$(cat out)\" = '3001 deleted' ]"
rm -f bytes1 bad data

echo "# acknowledged lines and kill -9"
"$WODAN" format killed --size 8M >/dev/null
mkfifo fifo
"$WODAN" load killed --batch 1 --ack <fifo >acks 2>load_err &
LOADER=$!
exec 9>fifo
printf 'one\t1\ntwo\t2\n' >&9
for _ in $(seq 200); do grep -q 'acked 2' acks && break; sleep 0.05; done
check "lines are acknowledged while the pipe is open" "grep -q 'acked 2' acks"
before=$(sum killed)
run "get while another writes" 6 get killed one
run "put while another writes" 6 put killed x y --json
json "busy in JSON" out "d['error']['code'] == 'WODAN_EBUSY'"
run "format --force while another writes" 6 format killed --force
untouched "a busy image" "$before" killed
kill -9 "$LOADER"
wait "$LOADER" 2>/dev/null || true
LOADER=
exec 9>&-
run "get after kill -9" 0 get killed one
run "get of the last acknowledged line" 0 get killed two
check "it has its value" "[ \"\$(cat out)\" = 2 ]"
"$WODAN" load killed --batch 1000 --ack <fifo >acks 2>load_err &
LOADER=$!
exec 9>fifo
printf 'three\t3\n' >&9
exec 9>&-
wait "$LOADER" && got=0 || got=$?
LOADER=
check "load from a pipe ends with its writer" "[ $got = 0 ] && [ \"\$(cat acks)\" = 'acked 1' ]"
check "no progress line without a terminal" "[ ! -s load_err ]"
run "get of what it loaded" 0 get killed three

echo "# reading writes nothing"
before=$(sum killed)
for verb in info stat scan dump "get killed one"; do
  set -- $verb
  verb=$1
  if [ $# = 1 ]; then set -- "$verb" killed; fi
  run "$verb" 0 "$@"
  untouched "$verb" "$before" killed
done

echo "# what is no image"
mkdir folder
: >empty
echo 'hello, world' >text
head -c 100000 /dev/zero | tr '\0' 't' >longtext
python3 -ISc '
import random
random.seed(1)
f = open("ext4", "wb")
f.write(bytes(1024) + random.randbytes(56) + b"\x53\xef" + random.randbytes(8192) + bytes(1 << 20) + random.randbytes(4096))'
head -c $((1 << 20)) /dev/zero >zeros
verbs() { echo "info stat scan dump load get put del compact trim bench"; }
# refused EXIT FILE: every verb that opens answers EXIT in one line, tells it in JSON, and changes nothing.
refused() {
  local want=$1 file=$2 before= verb
  [ -d "$file" ] || [ ! -e "$file" ] || before=$(sum "$file")
  for verb in $(verbs); do
    case $verb in
      get | del) set -- "$verb" "$file" k ;;
      put) set -- put "$file" k v ;;
      bench) set -- bench "$file" --workload fillseq,readrandom --num 10 ;;
      *) set -- "$verb" "$file" ;;
    esac
    run "$verb of $file" "$want" "$@" --json </dev/null
    check "$verb of $file begins with its name" "grep -q '^wodan: $file: ' err && [ $(wc -l <err) = 1 ]"
    json "$verb of $file in JSON" out "d['error']['code'].startswith('WODAN_') and d['error']['message']"
  done
  [ -z "$before" ] || untouched "all verbs on $file" "$before" "$file"
}
refused 2 folder
refused 2 empty
refused 4 missing
for file in longtext ext4 zeros; do refused 3 "$file"; done
before=$(sum text)
run "info of a short text file" 2 info text
run "put into a short text file" 2 put text k v
run "format of a text file with --size" 1 format text --size 1M
untouched "a short text file" "$before" text
before=$(sum longtext ext4)
run "format of a text file" 1 format longtext
run "format of a foreign image" 1 format ext4
run "format of a foreign image, extending" 1 format ext4 --size 8M
check "format leaves foreign files alone" "[ \"$before\" = \"\$(sum longtext ext4)\" ]"
run "format of a directory" 2 format folder --size 1M
run "info of a pipe" 2 info fifo

echo "# damage"
"$WODAN" format whole --size 2M >/dev/null
"$WODAN" load whole lines.tsv
cp whole cut
truncate -s 1M cut
refused 3 cut
cp whole headless
dd if=/dev/zero of=headless bs=4096 count=1 conv=notrunc 2>/dev/null
dd if=/dev/zero of=headless bs=4096 seek=511 count=1 conv=notrunc 2>/dev/null
refused 3 headless
# Every block of the second half inverted: the verbs must answer right or say damaged, and never anything else.
cp whole rotten
python3 -ISc '
b = bytearray(open("rotten", "rb").read())
for i in range(4096, len(b) - 4096): b[i] ^= 0xff
open("rotten", "wb").write(b)'
refused 3 rotten

echo "# who may"
chmod 755 "$T"
"$WODAN" format private --size 1M >/dev/null
"$WODAN" put private k v
chmod 444 private
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
if [ "$(id -u)" != 0 ]; then
  before=$(sum private)
  run "get from a read-only file" 0 get private k
  run "put into a read-only file" 4 put private k w
  untouched "a read-only file" "$before" private
elif ! as_nobody "$WODAN" --version >/dev/null 2>&1; then
  skip "read-only file" "root, and nobody cannot run $WODAN"
else
  before=$(sum private)
  as_nobody "$WODAN" get private k >out 2>err && got=0 || got=$?
  check "get from a read-only file" "[ $got = 0 ] && [ \"\$(cat out)\" = v ]"
  as_nobody "$WODAN" put private k w >out 2>err && got=0 || got=$?
  check "put into a read-only file" "[ $got = 4 ] && [ $(wc -l <err) = 1 ]"
  untouched "a read-only file" "$before" private
fi

echo "# no space"
"$WODAN" format small --size 1M >/dev/null
python3 -ISc 'for i in range(60000): print("key%08d\t%s" % (i, "%x" % pow(7, i * i + 5, 1 << 400)))' >many.tsv
run "load of more than the volume holds" 5 load small many.tsv --ack --batch 100
acked=$(sed -n '$s/acked //p' out)
check "a full volume took something first" "[ \"${acked:-0}\" -gt 0 ]"
"$WODAN" dump small >dumped
check "a full volume holds what it acknowledged, and a prefix" \
  "head -${acked:-0} many.tsv | cmp -s - <(head -${acked:-0} dumped) && head -$(wc -l <dumped) many.tsv | cmp -s - dumped"
run "put into a full volume, in JSON" 5 load small many.tsv --json
json "no space in JSON" out "d['error']['code'] == 'WODAN_ENOSPC'"
run "del on a full volume" 0 del small key00000000
run "del --all on a full volume" 0 del small --all
run "put after making room" 0 put small k v
"$WODAN" format small --size 1M --force >/dev/null
run "load --no-auto-checkpoint of more than the volume holds" 5 load small many.tsv --ack --batch 100 \
  --no-auto-checkpoint --json
tail -1 out >last
json "it stops where a checkpoint must come first" last "d['error']['code'] == 'WODAN_ENEEDSFLUSH' and
  'run it again' in d['error']['message'] and '--no-auto-checkpoint' in d['error']['message'] and
  'lines are durable' in d['error']['message']"
acked=$(sed -n 's/^{"acked":\([0-9]*\)}$/\1/p' out | tail -1)
check "lines are acknowledged before it" "[ \"${acked:-0}\" -gt 0 ]"
"$WODAN" dump small >dumped
check "what it acknowledged is there" "head -${acked:-0} many.tsv | cmp -s - <(head -${acked:-0} dumped)"
run "put --no-auto-checkpoint after its checkpoint" 0 put small k v --no-auto-checkpoint
for batch in 1 3 10 30; do # wherever it stopped
  "$WODAN" format small --size 1M --force >/dev/null
  run "load --no-auto-checkpoint in batches of $batch" 5 load small many.tsv --batch $batch --no-auto-checkpoint --inline
  run "put --no-auto-checkpoint after batches of $batch" 0 put small k v --no-auto-checkpoint --inline
done
run "get --no-auto-checkpoint is a usage error" 2 get small k --no-auto-checkpoint
run "del --no-auto-checkpoint is a usage error" 2 del small k --no-auto-checkpoint
run "load of more than the volume holds, with checkpoints" 5 load small many.tsv --json
json "no space at last" out "d['error']['code'] == 'WODAN_ENOSPC'"
mkdir tiny
if [ "$(id -u)" != 0 ]; then
  skip "full host disk" "not root, so nothing can be mounted"
elif ! mount -t tmpfs -o size=2M none tiny 2>mount_err; then
  skip "full host disk" "$(head -1 mount_err)"
else
  MOUNTED=$T/tiny
  run "format --preallocate on a full disk" 5 format tiny/img --size 8M --preallocate
  check "it leaves no file" "[ ! -e tiny/img ]"
  run "format on a small disk" 0 format tiny/img --size 16M
  run "load onto a full disk" 5 load tiny/img many.tsv --ack --batch 100
  acked=$(sed -n '$s/acked //p' out)
  check "a full disk took something first" "[ \"${acked:-0}\" -gt 0 ]"
  if "$WODAN" dump tiny/img >dumped 2>err; then
    check "a full disk holds what was acknowledged" "head -${acked:-0} many.tsv | cmp -s - <(head -${acked:-0} dumped)"
  else
    fail "dump from a full disk" "$(cat err)"
  fi
  umount "$MOUNTED"
  MOUNTED=
fi

echo "# compact"
"$WODAN" format compact --size 16M --memtable 64K >/dev/null
python3 -ISc '
import random
random.seed(7)
keys = ["key%06d" % i for i in range(20000)]
for _ in range(2):
    random.shuffle(keys)
    for k in keys: print(k + "\t" + "%060x" % random.getrandbits(240))' >scattered.tsv
run "load in random order" 0 load compact scattered.tsv --inline
"$WODAN" dump compact >before.tsv
"$WODAN" compact compact --to '' >/dev/null # what the load left due
run "stat before compact" 0 stat compact --json
runs=$(python3 -ISc 'import json; print(json.load(open("out"))["runs"])')
check "random order leaves buffered runs" "[ $runs -gt 0 ]"
run "compact with --to below everything" 0 compact compact --to '' --json
json "an empty range is done at once" out "d['complete'] and d['bytes_written'] == 0 and d['runs_after'] == $runs"
run "compact of a range" 0 compact compact --from key000100 --to key000200 --json
json "compact --json" out "d['complete'] and d['leaves_before'] > 0 and d['leaves_after'] > 0 and
  d['runs_before'] == $runs and d['runs_after'] <= $runs and d['space_live_after'] > 0"
run "dump after compact of a range" 0 dump compact
check "compact of a range changes no record" "cmp -s out before.tsv"
run "compact with a budget" 0 compact compact --budget 64K --json --inline
json "compact with a budget says whether work is left" out "d['complete'] in (True, False)"
run "compact" 0 compact compact --json
json "compact leaves no runs" out "d['complete'] and d['runs_after'] == 0"
run "dump after compact" 0 dump compact
check "compact changes no record" "cmp -s out before.tsv"
run "compact again" 0 compact compact
check "compact for people" "grep -q '^complete  *true$' out && grep -q '^runs_after  *0$' out && ! grep -q progress err"
run "compact again, in JSON" 0 compact compact --json
json "compact of what is compact writes nothing" out "d['bytes_written'] == 0"
run "compact --hex --from" 0 compact compact --hex --from 6b6579
run "compact with a budget of nothing" 2 compact compact --budget 0
run "compact with a budget that is no size" 2 compact compact --budget much
run "compact with a bound that is too long" 2 compact compact --from "$(cat long_key)"
run "compact of two images" 2 compact compact compact
run "compact of a read-only verb's option" 2 compact compact --older-root

echo "# trim"
stored() { echo $(($(stat -c %b "$1") * 512)); }
"$WODAN" format trimmed --size 16M >/dev/null
python3 -c 'for i in range(60000): print("key%06d\t%0100d" % (i, i))' >trim.tsv
run "load what goes again" 0 load trimmed trim.tsv --inline
run "del all of it" 0 del trimmed --all --inline
run "put one" 0 put trimmed stays here
before=$(sum trimmed)
full=$(stored trimmed)
run "trim --dry-run" 0 trim trimmed --dry-run --json
json "trim --dry-run tells figures" out "d['dry_run'] and d['bytes'] > 1 << 20 and d['discards'] > 0 and d['refused'] == 0"
dry=$(python3 -c 'import json; print(json.load(open("out"))["bytes"])')
untouched "trim --dry-run" "$before" trimmed
run "trim --minimum of more than there is" 0 trim trimmed --dry-run --minimum 1G --json
json "trim --minimum leaves out what is shorter" out "d['bytes'] == 0"
run "trim" 0 trim trimmed --json
json "trim does what the dry run told" out "not d['dry_run'] and d['bytes'] + d['refused'] == $dry"
refused=$(python3 -c 'import json; print(json.load(open("out"))["refused"])')
if [ "$refused" = 0 ]; then
  check "the file takes less space" "[ $(stored trimmed) -lt $((full - (1 << 20))) ]"
else
  ok "the file takes less space # skipped: no holes in files here"
fi
check "its size stays" "[ $(stat -c %s trimmed) = $((16 << 20)) ]"
run "what is there is still there" 0 get trimmed stays
check "and says so" "[ \"$(cat out)\" = here ]"
run "trim for people" 0 trim trimmed
check "trim tells its figures" "grep -q '^discards  *[0-9]' out && grep -q '^refused  *0$' out"
start=$(date +%s%N)
run "trim --rate" 0 trim trimmed --rate $((dry / 2))
check "trim --rate takes its time" "[ $((($(date +%s%N) - start) / 1000000)) -ge 1200 ]"
run "trim --rate 0 is no limit" 0 trim trimmed --rate 0
run "trim with a rate that is no size" 2 trim trimmed --rate fast
run "trim of two images" 2 trim trimmed trimmed

echo "# inline"
for verb in "put compact k v" "del compact k" "bench compact --workload fillrandom --num 100"; do
  run "${verb%% *} --inline" 0 $verb --inline
done
run "get --inline is a usage error" 2 get compact k --inline
run "scan --inline is a usage error" 2 scan compact --inline

echo "# bench"
"$WODAN" format bench --size 16M >/dev/null
run "bench without workload" 2 bench bench
run "bench with an unknown workload" 2 bench bench --workload fillseq,fly
run "bench with a key that is too short" 2 bench bench --workload fillseq --key-size 7
run "bench before a fill" 1 bench bench --workload readrandom --num 1000
run "bench fillrandom" 0 bench bench --workload fillrandom --num 3000 --json
json "bench tells one object" out "d['workload'] == 'fillrandom' and d['num'] == 3000 and d['threads'] == 1 and
  all(d[k] >= 0 for k in ('ops_per_second', 'p50_us', 'p99_us', 'max_us', 'device_bytes_written', 'device_bytes_read',
  'space_amplification', 'peak_rss_bytes')) and d['user_bytes'] == 3000 * 116 and d['write_amplification'] > 0 and
  d['p50_us'] <= d['p99_us'] <= d['p999_us'] <= d['max_us'] and
  0 <= d['engine_delay_p50_us'] <= d['engine_delay_p99_us'] <= d['engine_delay_p999_us'] <= d['engine_delay_max_us'] and
  d['put_work_max_bytes'] >= 0 and sum(b['commits'] for b in d['engine_delays']) in (0, 3000)"
"$WODAN" dump bench >random.tsv
run "bench of all that reads" 0 bench bench --workload readrandom,readmissing,readseq,scan100 --num 3000 --json --threads 2
json "bench tells an array" out "[r['workload'] for r in d] == ['readrandom', 'readmissing', 'readseq', 'scan100'] and
  d[3]['num'] == 30 and all(r['threads'] == 2 and r['write_amplification'] == 0 and 'engine_delays' not in r for r in d)"
run "bench overwrite" 0 bench bench --workload overwrite,readrandom --num 3000
check "bench for people is a table" "[ $(wc -l <out) = 4 ] && head -1 out | grep -q 'ops/s .*p99.9 us'"
check "a row that writes has the engine's delay below it" "sed -n 3p out | grep -q '^  engine delay '"
check "a row that only reads has none" "sed -n 4p out | grep -q '^readrandom'"
"$WODAN" format bench2 --size 16M >/dev/null
run "bench fillseq" 0 bench bench2 --workload fillseq --num 3000
run "dump of it" 0 dump bench2
check "fillseq and fillrandom leave the same records" "cmp -s out random.tsv && [ $(wc -l <out) = 3000 ]"
"$WODAN" format bench3 --size 16M >/dev/null
run "bench fillsync with threads" 0 bench bench3 --workload fillsync --num 300 --threads 3
"$WODAN" bench bench --workload fillseq --num 300 >/dev/null
run "dump of it" 0 dump bench3
check "fillsync leaves its records" "[ $(wc -l <out) = 300 ]"
run "bench with another seed" 1 bench bench2 --workload readrandom --num 3000 --seed 2
run "bench deleterandom" 0 bench bench2 --workload deleterandom --num 3000
run "dump after it" 0 dump bench2
check "deleterandom leaves half" "[ $(wc -l <out) = 1500 ]"
key=$("$WODAN" scan bench3 --hex --limit 1 | cut -f1)
"$WODAN" put bench3 --hex "$key" 00
run "bench finds a wrong value" 3 bench bench3 --workload readseq --num 300 --json
json "a wrong value in JSON" out "d['error']['code'] == 'WODAN_ECORRUPT'"

echo "# $COUNT checks passed, $FAILED failed"
[ "$FAILED" = 0 ]

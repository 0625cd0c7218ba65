#!/bin/bash
# What: the verbs of inspection from outside: info, stat, tree, path, node, page, block, journal and map, on whole and on
# damaged images.
#
# Always true: a line "FAIL NAME: why" a failed check, with WODAN_VERBOSE=1 "ok NAME" for the others; exit code 1 when anything failed; no run changes an image.
#
# Order: one image is made with the `wodan` command; every damage is done to a copy.
#
# See: tools/wodan/look.c. Usage: test_inspect.sh PATH-OF-WODAN PATH-OF-WODAN-FSCK
set -eu

WODAN=$(realpath "$1")
FSCK=$(realpath "$2")
T=$(mktemp -d)
FAILED=0
COUNT=0
trap 'rm -rf "$T"' EXIT
cd "$T"

ok() { COUNT=$((COUNT + 1)); [ -z "${WODAN_VERBOSE:-}" ] || echo "ok $1"; }
fail() { FAILED=$((FAILED + 1)); echo "FAIL $1: $2"; }
check() { if eval "$2"; then ok "$1"; else fail "$1" "not so: $2 (out: $(head -c 300 out); err: $(head -c 300 err))"; fi; }

# run NAME EXIT ARGUMENT...: runs wodan; output in out and err; a failure is one line on standard error.
run() {
  local name=$1 want=$2 got=0
  shift 2
  "$WODAN" "$@" >out 2>err || got=$?
  if [ "$got" != "$want" ]; then
    fail "$name" "exit code $got, wanted $want: $* ($(head -c 300 err))"
  elif [ "$want" = 0 ] && [ -s err ]; then
    fail "$name" "success with words on standard error: $(head -c 300 err)"
  elif [ "$want" != 0 ] && [ "$want" != 2 ] && [ "$(wc -l <err)" != 1 ]; then
    fail "$name" "not one line on standard error: $(head -c 300 err)"
  else
    ok "$name"
  fi
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

# member EXPRESSION: of the JSON in out, printed.
member() { python3 -ISc 'import json, sys; d = json.load(open("out")); print(eval(sys.argv[1]))' "$1"; }

# flip FILE BYTE: changes one byte.
flip() { python3 -ISc 'import sys
f = open(sys.argv[1], "r+b"); f.seek(int(sys.argv[2])); b = f.read(1); f.seek(int(sys.argv[2])); f.write(bytes([b[0] ^ 1]))' "$1" "$2"; }

VERBS="tree path node page block journal map"

echo "# usage"
for verb in $VERBS; do
  run "$verb --help" 0 "$verb" --help
  check "$verb --help shows usage and --json" "grep -q '^Usage: wodan $verb ' out && grep -q -- '--json' out"
  run "$verb without an image" 2 "$verb"
  run "$verb with an unknown option" 2 "$verb" --explode img
done
run "path without a key" 2 path img
run "node without a block" 2 node img
run "node with a block that is no number" 2 node img one
run "tree --depth 0" 2 tree --depth 0 img
run "map with a picture and --ansi" 2 map img out.svg --ansi

echo "# what is no image"
head -c 100000 /dev/zero >zeros
: >empty
for verb in tree journal map "path:k" "node:1" "page:1" "block:0"; do
  set -- "${verb%%:*}" zeros
  [ "${verb#*:}" = "$verb" ] || set -- "$@" "${verb#*:}"
  run "$1 of zeros" 3 "$@"
  run "$1 of zeros, in JSON" 3 "$@" --json
  json "$1 tells why" "d['error']['code'] == 'WODAN_EFORMAT'"
done
run "tree of a missing file" 4 tree missing
run "tree of an empty file" 2 tree empty

echo "# a fresh image"
"$WODAN" format fresh --size 8M >/dev/null
run "tree of it" 0 tree fresh
check "it says empty" "grep -q 'empty' out"
run "path of it" 1 path fresh key
run "journal of it" 0 journal fresh
run "map of it" 0 map fresh --json
json "all is free but superblocks and journal" "d['kinds']['free'] + d['kinds']['superblock'] + d['kinds']['journal'] + d['kinds']['journal_live'] == d['blocks']"

echo "# an image with inner nodes, buffered runs and deletes"
"$WODAN" format img --size 32M --memtable 256K --leaf-size 64K --node-leaves 8 --node-children 4 >/dev/null
python3 -ISc 'for i in range(60000): print("key%06d\tvalue %040d" % (i * 7919 % 60013, i))' >lines.tsv
"$WODAN" load img lines.tsv >/dev/null
"$WODAN" put img key000007 second
"$WODAN" put img key000007 third
"$WODAN" del img key000008
"$WODAN" put img --hex 00ff0a 22
before=$(sha256sum <img)

run "info" 0 info img --json
json "info: superblock, roots, journal, settings" "d['superblock']['state'] == 'whole' and d['roots']['newest']['generation'] == d['generation'] and d['roots']['previous']['generation'] == d['previous_generation'] and d['journal']['mounted'] and any(s['name'] == 'leaf' and s['value'] == 65536 and s['usual'] == 131072 for s in d['settings'])"
json "no damage" "d['damage'] == []"
run "info for people" 0 info img
check "info: each part has its heading" "grep -q '^Settings' out && grep -q '^Roots:' out && grep -q '^Journal:' out && grep -q '(would be 128 KiB)' out"
run "stat" 0 stat img --json
json "stat: space by class adds up to the volume" "sum(d['space'].values()) == 32 << 20 and d['space']['live_leaves'] + d['space']['live_runs'] + d['space']['live_nodes'] == d['space_live'] and d['space']['free'] == d['space_free']"
json "stat: levels add up" "sum(l['nodes'] for l in d['fill']['levels']) == d['nodes'] and sum(l['runs'] for l in d['fill']['levels']) == d['runs'] and d['fill']['leaves'] == d['leaves'] == sum(d['fill']['leaves_by_tenths']) and len(d['fill']['levels']) == d['levels'] >= 2"
json "stat: nodes by runs" "all(sum(l['nodes_by_runs']) == l['nodes'] for l in d['fill']['levels'])"
NODES=$(member "d['nodes']")
run "stat for people" 0 stat img
check "stat: space, levels, leaves" "grep -q '^deferred: previous root' out && grep -q '^level ' out && grep -q '^leaves by fill' out"

run "tree" 0 tree img
check "tree: a line a node" "[ \$(grep -cE '^ *[0-9]+ +[0-9]+ +[0-9]+ ' out) = $NODES ]"
run "tree --depth 1" 0 tree img --depth 1 --json
json "tree --depth 1 is the root" "len(d['nodes']) == 1 and d['nodes'][0]['depth'] == 0 and d['nodes'][0]['generation'] == d['root']['tree_generation']"
run "tree --runs --leaves" 0 tree img --runs --leaves --json
json "runs and leaves are there" "len(d['leaves']) > 10 and len(d['runs']) == sum(n['runs'] for n in d['nodes']) and sum(l['length'] for l in d['leaves']) == sum(n['leaf_bytes'] for n in d['nodes'])"
ROOT=$(member "d['nodes'][0]['block']")
LEAF=$(member "d['leaves'][0]['block']")
RUN=$(member "d['runs'][0]['block']")
BOTTOM=$(member "[n for n in d['nodes'] if n['level'] == 0][0]['block']")
run "tree --previous" 0 tree img --previous --json
run "tree of an older root" 0 tree img --root "$(member "d['root']['generation']")" --json
run "tree of a root that is not there" 1 tree img --root 999999999

run "path" 0 path img key000007 --json
json "path: versions newest first, the first decides" "d['found'] and [s['value'] for s in d['steps'] if s['probe'] == 'found'][:2] == ['third', 'second'] and [s['decides'] for s in d['steps'] if s['probe'] == 'found'][:2] == [True, False] and d['versions'] == 3"
json "path: from the root to a leaf" "d['steps'][0]['kind'] == 'node' and d['steps'][-1]['kind'] == 'leaf' and any(s['probe'] == 'filtered' for s in d['steps'])"
run "path for people" 0 path img key000007
check "path marks what decides" "[ \$(grep -c '^=>' out) = 1 ] && grep '^=>' out | grep -q '\"third\"'"
run "path of a deleted key" 1 path img key000008
check "path shows the delete and what it hides" "grep '^=>' out | grep -q DELETED && grep -q FOUND out"
run "path of a key that never was" 1 path img key999999 --json
json "nothing found" "not d['found'] and d['versions'] == 0"
run "path --hex" 0 path img --hex 00ff0a --json
json "bytes that are no text are base64" "d['key_base64'] == 'AP8K'"

run "node" 0 node img "$ROOT"
check "node: header, children, runs, checksum" "grep -q '\"WNOD\"' out && grep -q 'checksum .*right' out && grep -q ' children' out && grep -q 'buffered runs' out && ! grep -q WRONG out"
run "node in JSON" 0 node img "$BOTTOM" --json
json "fields have bytes" "any(f['name'] == 'magic' and f['bytes'] == '574e4f44' and f['offset'] == $BOTTOM * 4096 + 8 for f in d['fields'])"
run "node of a leaf" 1 node img "$LEAF"
check "it says what is there" "grep -q 'part of a run or leaf' err"
run "page" 0 page img "$LEAF"
check "page: records" "grep -qE ' put +[0-9]+ \"key' out && ! grep -q WRONG out"
run "page of a node" 1 page img "$ROOT"
run "page of a run" 0 page img "$RUN" --json
json "page: problems: none" "len(d['fields']) > 5 and not any('problem' in f for f in d['fields'])"
run "block 0" 0 block img 0
check "block 0 is the superblock" "grep -q 'Wodan-C volume' out"
run "the last block" 0 block img 8191
check "the last block is the copy" "grep -q 'its copy' out"
run "a block of the journal" 0 block img 1
run "a block behind the end" 2 block img 8192
run "a block that is free" 1 block img 8190

run "journal" 0 journal img
check "journal names roots, tail and head" "grep -q 'newest root' out && grep -q 'previous root' out && grep -q 'tail: replay' out && grep -q '<- head' out"
run "journal in JSON" 0 journal img --json
json "every block of the ring" "len(d['blocks']) == d['ring'] and sum('head' in b['roles'] for b in d['blocks']) == 1 and [b for b in d['blocks'] if 'newest_root' in b['roles']][0]['root']['generation'] == d['newest']['generation']"
run "journal --all" 0 journal img --all
check "journal --all: a line a block" "[ \$(wc -l <out) -ge \$(awk '/^Ring of/ { print \$3 }' out) ]"

run "map" 0 map img map.svg
check "the picture is XML" "python3 -ISc 'import xml.dom.minidom as m; m.parse(\"map.svg\")'"
check "it has tooltips, legend and levels" "grep -q '<title>blocks ' map.svg && grep -q '>previous root only<' map.svg && grep -q '>Fill by level<' map.svg && grep -q '>level 0: ' map.svg"
cp img 'a<b>&.img'
run "map of an odd name" 0 map 'a<b>&.img' odd.svg
check "odd names are escaped" "python3 -ISc 'import xml.dom.minidom as m; m.parse(\"odd.svg\")'"
run "map on standard output" 0 map img -
check "the picture on standard output is the same" "cmp -s out map.svg"
run "map over the image" 2 map img img
ln -s img link
run "map over the image by another name" 2 map img link
run "map --ansi" 0 map img --ansi --width 40
check "lines are not wider than asked for" "python3 -ISc '
import re
for line in open(\"out\", encoding=\"utf-8\"):
    text = re.sub(\"\\x1b[^m]*m\", \"\", line.rstrip(\"\\n\"))
    assert \"\\u2580\" not in text or len(text) <= 40, text'"
check "colours end with the line" "! grep '▀' out | grep -qv '\[0m\$'"
run "map --letters" 0 map img --letters --width 64
check "letters for each kind" "head -20 out | grep -q L && head -20 out | grep -q R && head -3 out | grep -q '^S'"
run "map --json" 0 map img --json --cells 100
json "cells hold every block once" "len(d['cells']) <= 100 and sum(v for c in d['cells'] for k, v in c.items() if k not in ('oldest', 'newest')) == d['blocks'] == sum(d['kinds'].values())"

check "nothing was written" "[ \"\$(sha256sum <img)\" = \"$before\" ]"

echo "# damage"
cp img bad
flip bad $((ROOT * 4096 + 40))
for verb in info stat tree journal map "path:key000007" "node:$ROOT" "block:$ROOT"; do
  set -- "${verb%%:*}" bad
  [ "${verb#*:}" = "$verb" ] || set -- "$@" "${verb#*:}"
  want=3
  [ "$1" != journal ] || want=0
  run "$1 with a damaged root node" $want "$@"
  check "$1 still shows something" "[ \$(wc -l <out) -ge 4 ]"
  run "$1 with a damaged root node, in JSON" $want "$@" --json
  json "$1: the damage is in the answer" "(d['damage'] != [] and d['damage'][0]['message']) or 'error' in d or $want == 0"
done
run "tree tells where" 3 tree bad
check "tree shows the node as damaged" "grep -q DAMAGED out && grep -q '^Damage:' out"
run "node tells what" 3 node bad "$ROOT"
check "the field that is wrong is marked" "grep -q 'checksum.*WRONG' out"
cp img bad
flip bad $((LEAF * 4096 + 3000))
run "page with a flipped byte" 3 page bad "$LEAF"
check "the page is shown all the same" "grep -q 'WRONG: its checksum' out && grep -q ' put ' out"
cp img bad
flip bad 70
run "block 0 damaged: info" 3 info bad --json
json "the copy was used" "d['superblock']['state'] == 'first_damaged' and d['blocks'] == 8192 and d['roots']['newest'] is not None"
run "block 0 damaged: block 0" 3 block bad 0
flip bad $((32 * 1024 * 1024 - 100))
run "both superblocks damaged" 3 tree bad
cp img bad
python3 -ISc 'f = open("bad", "r+b"); f.seek(4096); f.write(bytes(1 << 20))'
run "the journal gone: info" 3 info bad --json
json "there is no root" "d['roots']['newest'] is None and d['superblock']['state'] == 'whole' and 'error' in d"
run "the journal gone: journal" 3 journal bad
run "the journal gone: page" 3 page bad "$LEAF"
check "a leaf is found by its own header" "grep -q 'of no tree any more' out && grep -q ' put ' out"
run "the journal gone: map" 3 map bad bad.svg
head -c $((24 * 1024 * 1024)) img >bad
run "a device that is too short: map" 3 map bad --json
json "what is lost is counted" "d['kinds']['lost'] == 2048"

echo "# large values, range deletes, compressed leaves"
"$WODAN" format large --size 8M --compression fast >/dev/null
"$WODAN" load large <(head -20000 lines.tsv) >/dev/null
"$WODAN" put large film <lines.tsv
head -c 100000 /dev/zero | "$WODAN" put large dull
"$WODAN" del large --from key000100 --to key000200
run "path to a large value" 0 path large film --json
json "path: its size and place" "[s['large_size'] for s in d['steps'] if s.get('decides')] == [$(stat -c %s lines.tsv)]"
FILM=$(member "[s['large_block'] for s in d['steps'] if s.get('decides')][0]")
run "block of a large value" 0 block large "$FILM"
check "block: header, key, chunk" "grep -q '\"WBLB\"' out && grep -q 'of the key.*\"film\"' out && grep -q ' chunk .*right' out && ! grep -q WRONG out"
run "page of it" 0 page large $((FILM + 1))
run "node of it" 1 node large $((FILM + 1))
check "node tells what it is" "grep -q 'part of a large value of the newest tree, at block $FILM' err"
run "tree with large values" 0 tree large --runs
check "tree counts them and range deletes" "grep -q '1 large value' out && grep -q '1 range delete' out"
run "tree with large values" 0 tree large --json
json "the root counts them" "d['nodes'][0]['large'] == 2 and d['nodes'][0]['range_deletes'] == 1"
run "stat with large values" 0 stat large --json
json "stat: space of large values" "d['space']['live_large'] > $(stat -c %s lines.tsv) / 8"
run "map with large values" 0 map large --letters
check "map shows them" "grep -q VVVV out"
run "image of it" 0 image large copy --metadata-only --scramble --json
json "what was copied of it" "d['large'] == 2 and d['pages_left_out'] == 0"
check "the copy of it is clean" "'$FSCK' copy >out"
cp large bad
flip bad $((FILM * 4096 + 1000))
run "block of a damaged one" 3 block bad "$FILM"
check "block: which chunk" "grep -q 'chunk .*WRONG' out"
run "image of the damaged one" 0 image bad copy --metadata-only --force
"$FSCK" bad >fsck.bad || true; "$FSCK" copy >fsck.copy || true
check "the same is found in it" "cmp -s <(sed 's/^bad//' fsck.bad) <(sed 's/^copy//' fsck.copy) && grep -q WF0072 fsck.copy"
rm -f copy bad

echo "# a copy for a report"
before=$(sha256sum <img)
run "image without --metadata-only is refused" 2 image img copy
run "image without a file" 2 image img --metadata-only
run "image" 0 image img copy --metadata-only --json
json "what was copied" "d['runs'] > 1 and d['records'] > 0 and d['damaged'] == 0 and d['file_size'] == 32 << 20 and d['file_bytes'] < d['file_size'] / 2"
check "nothing was written to the image" "[ \"\$(sha256sum <img)\" = \"$before\" ]"
check "it is clean" "'$FSCK' copy >out"
"$FSCK" -v img | grep -v '^img' >fsck.img; "$FSCK" -v copy | grep -v '^copy' >fsck.copy
check "the figures are the same" "cmp -s fsck.img fsck.copy"
check "keys stay, values do not" "cmp -s <('$WODAN' scan img | cut -f1) <('$WODAN' scan copy | cut -f1) && ! '$WODAN' scan copy --limit 100 | cut -f2 | grep -qE '[^\\\\x0]'"
run "what is there is not overwritten" 1 image img copy --metadata-only
run "but with --force" 0 image img copy --metadata-only --scramble --force
check "it is clean, too" "'$FSCK' copy >out"
check "no key is in it" "! grep -qaF \"\$('$WODAN' scan img --limit 1 | cut -f1)\" copy"
run "not over the image itself" 2 image img img --metadata-only --force
ln -s img other
run "under whatever name" 2 image img other --metadata-only --force
run "not over a folder" 4 image img . --metadata-only --force
run "no image, no copy" 3 image zeros new --metadata-only
check "no file was made" "[ ! -e new ]"
cp img bad
flip bad $((LEAF * 4096 + 3000))
run "of a damaged image" 0 image bad copy --metadata-only --force
"$FSCK" bad >fsck.bad || true; "$FSCK" copy >fsck.copy || true
check "the same is found" "cmp -s <(sed 's/^bad//' fsck.bad) <(sed 's/^copy//' fsck.copy) && grep -q WF0034 fsck.copy"

echo "# in use"
mkfifo lines
"$WODAN" load img lines >/dev/null 2>&1 &
LOADER=$!
exec 9>lines
for _ in $(seq 50); do
  got=0
  "$WODAN" tree img >out 2>err || got=$?
  [ "$got" != 6 ] || break
  sleep 0.1
done
for verb in info stat tree journal map; do run "$verb of an image in use" 6 "$verb" img; done
exec 9>&-
wait "$LOADER" || true
"$FSCK" img >out || fail "the image is clean afterwards" "$(head -1 out)"

echo "$COUNT checks, $FAILED failed"
[ "$FAILED" = 0 ]

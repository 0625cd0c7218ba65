#!/bin/bash
# What: `wodan crash`: its answers, its exit codes, the canary that must be found, and lines that replay; and, optimized, a
# longer run than the unit test's: all sequences of three operations, and depth 2 for all sequences of two.
#
# See: tools/wodan/cmd_crash.c, tests/crash/test_crash_run.c. Usage: test_crash.sh WODAN
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 WODAN" >&2; exit 2; }
WODAN=$(realpath "$1")
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
cd "$T"

die() { echo "FAIL: $1" >&2; exit 1; }
step() { echo "== $1"; }
# json PATH FILE: a member, by Python's names.
json() { python3 -ISc "import json, sys; print(eval('a' + sys.argv[1], {'a': json.load(open(sys.argv[2]))}))" "$1" "$2"; }
# code N COMMAND...: leaves with that exit code.
code() {
  local due=$1 got=0
  shift
  "$@" >out 2>err || got=$?
  [ "$got" -eq "$due" ] || { cat out err; die "exit code $got instead of $due: $*"; }
}

step "help and usage"
code 0 "$WODAN" crash --help
for word in --seconds --depth --geometry --seed --ops --replay --json tiny torn wide tree; do
  grep -q -e "$word" out || die "--help says nothing of $word"
done
for wrong in image --seconds=x --seconds=-1 --depth=3 --depth=0 --geometry=none --geometry= --ops=7 --ops=0 --jobs=0 --seed=x \
  --replay=nonsense --replay=tiny:1:p:99:00 --unknown; do
  code 2 "$WODAN" crash "$wrong"
  [ -s err ] || die "no word on $wrong"
done
code 2 "$WODAN" crash --json --replay nonsense
[ "$(json '["error"]["code"]' out)" = WODAN_EINVAL ] || die "no error in JSON"

step "all sequences of three, and the keys of the answer"
code 0 "$WODAN" crash --seconds 0 --json
keys=$(json '.keys()' out)
for key in workloads states distinct violations seconds complete truncated; do
  [[ $keys == *"'$key'"* ]] || die "no '$key' in the answer"
done
[ "$(json '["violations"]' out)" -eq 0 ] || die "violations"
[ "$(json '["workloads"]' out)" -eq $((4 * (7 + 49 + 343))) ] || die "not all workloads"
[ "$(json '["random"]' out)" -eq 0 ] || die "random workloads without a time"
[ "$(json '["complete"].__len__()' out)" -eq 12 ] || die "not all lengths are complete"
[ "$(json '["truncated"]["workloads"] + a["truncated"]["windows_sampled"]' out)" -eq 0 ] || die "something was cut short"
[ "$(json '["distinct"]' out)" -gt 12000 ] || die "too few states"
echo "$(json '["states"]' out) states, $(json '["distinct"]' out) distinct, in $(json '["seconds"]' out) s"

step "depth 2, all sequences of two"
code 0 "$WODAN" crash --seconds 0 --ops 2 --depth 2 --json
[ "$(json '["deep"]' out)" -gt 90000 ] || die "too few states at depth 2"
echo "$(json '["deep"]' out) states at depth 2, in $(json '["seconds"]' out) s"

step "random workloads until the time is over, one geometry, in words"
code 0 "$WODAN" crash --seconds 2 --ops 1 --geometry torn,wide --seed "${WODAN_SEED:-20261129}"
grep -q '^violations  0$' out || die "no word on violations"
grep -q '^complete .* on wide$' out || die "wide is missing"
if grep -q '^complete .* on tiny$' out; then die "tiny was not asked for"; fi
cat out

step "the canary is found, and each line finds it again"
code 1 "$WODAN" crash --canary --ops 2 --seconds 0 --json
[ "$(json '["violations"]' out)" -gt 0 ] || die "no violations in the answer"
sed -n "s/^ *replay: wodan crash --replay '\(.*\)'$/\1/p" err >lines
[ "$(wc -l <lines)" -eq 100 ] || die "no lines to replay"
sed -n '1p;40p;100p' lines | while read -r line; do
  code 1 "$WODAN" crash --replay "$line"
  grep -qF -- "--replay '$line'" err || die "another line than $line"
  code 0 "$WODAN" crash --replay "${line/!/}" # an honest device
done

echo "all passed"

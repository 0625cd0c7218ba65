#!/bin/bash
# Removes the safety steps of tools/mutants.txt one at a time and shows that a test notices: "MUTANT NO_BARRIER: killed
# by test_protocol". Exit 1 when one survives, no longer applies, or a test fails without any mutant.
# Usage: tools/mutants.sh [NAME...]          environment: CC, JOBS (2), WODAN_MUTANTS_DIR (where to build; kept)
#
# Asserts are compiled out, so that a test has to notice, not an assert. Only the files a mutant changes are compiled again.
set -euo pipefail
cd "$(dirname "$0")/.."

CC=${CC:-cc} JOBS=${JOBS:-2} OUT=${WODAN_MUTANTS_DIR:-}
if [ -z "$OUT" ]; then
  OUT=$(mktemp -d)
  trap 'rm -rf "$OUT"' EXIT
fi
export CC OUT
export FLAGS="-std=c17 -D_GNU_SOURCE -DNDEBUG -O1 -w -Iinclude -Isrc -Itests"
export LIBS="-lcmocka -lxxhash -llz4 -lpthread"
export WODAN_CRASH_BUDGET=16 WODAN_CRASH_ROUNDS=2
mkdir -p "$OUT/base"

object() { echo "$OUT/base/$(echo "$1" | tr / _).o"; }
compile() { # shellcheck disable=SC2086
  "$CC" $FLAGS -c -o "$(object "$1")" "$1"
}
export -f object compile

# One mutant: NAME TEST...; its sources are in $OUT/NAME/, laid out by the python below.
mutant() {
  local name=$1 objects=() changed=() source define=() start=$SECONDS code who
  shift
  [ -s "$OUT/$name/files" ] || { echo "MUTANT $name: no longer applies"; return 1; }
  [ ! -e "$OUT/$name/define" ] || define=("-DMUTANT_$name")
  while read -r source; do
    # shellcheck disable=SC2086
    "$CC" $FLAGS "${define[@]}" -c -o "$OUT/$name/$(basename "$source").o" "$OUT/$name/$(basename "$source")"
    changed+=("$(object "$source")")
    objects+=("$OUT/$name/$(basename "$source").o")
  done <"$OUT/$name/files"
  for source in "$OUT"/base/src_*.o "$OUT"/base/tests_support_*.o; do
    [[ " ${changed[*]} " == *" $source "* ]] || objects+=("$source")
  done
  for test in "$@"; do
    # shellcheck disable=SC2086
    "$CC" -o "$OUT/$name/$test" "$OUT"/base/tests_*_"$test".c.o "${objects[@]}" $LIBS
    code=0
    timeout 60 "$OUT/$name/$test" >"$OUT/$name/$test.log" 2>&1 || code=$?
    if [ "$code" -ne 0 ]; then
      who=$(sed -n 's/.*\[  FAILED  \] \(test_.*\)/\1/p' "$OUT/$name/$test.log" | head -1)
      echo "MUTANT $name: killed by $test${who:+, ${who#*__}} ($((SECONDS - start)) s)"
      return 0
    fi
  done
  echo "MUTANT $name: SURVIVED $*"
  return 1
}
export -f mutant

# $OUT/NAME/files: the sources it changes, changed copies beside it; prints "NAME TEST..." a line.
lay_out() {
  python3 - "$OUT" "$@" <<'PYTHON'
import os, re, subprocess, sys

out, wanted = sys.argv[1], sys.argv[2:]
mutants, edits = [], None
for line in open("tools/mutants.txt", encoding="utf-8"):
    line = line.rstrip("\n")
    head = re.match(r"\[(\w+)\] ([\w ]+?) -- ", line)
    if head:
        edits = []
        mutants.append((head[1], head[2].split(), edits))
    elif line.startswith("@ "):
        edits.append([line[2:], [], []])
    elif line[:1] in "-+" and line and edits:
        edits[-1][1 if line[0] == "-" else 2].append(line[1:])
for name, tests, edits in mutants:
    if wanted and name not in wanted:
        continue
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    texts = {}
    if not edits:
        grep = subprocess.run(["grep", "-rl", "MUTANT_" + name, "src"], capture_output=True, text=True, check=False)
        texts = {path: open(path, encoding="utf-8").read() for path in grep.stdout.split()}
        open(os.path.join(folder, "define"), "w").close()
    for path, before, after in edits:
        text = texts.get(path) or open(path, encoding="utf-8").read()
        old = "\n".join(before)
        if text.count(old) != 1:
            print(f"{name}: {text.count(old)} places in {path} read {old!r}", file=sys.stderr)
            texts = {}
            break
        texts[path] = text.replace(old, "\n".join(after))
    for path, text in texts.items():
        with open(os.path.join(folder, os.path.basename(path)), "w", encoding="utf-8") as file:
            file.write(text)
    with open(os.path.join(folder, "files"), "w", encoding="utf-8") as file:
        file.write("".join(path + "\n" for path in texts))
    print(name, *tests)
PYTHON
}

lay_out "$@" >"$OUT/list"
TESTS=$(cut -d' ' -f2- "$OUT/list" | tr ' ' '\n' | sort -u)
SOURCES=$(find src -name '*.c'; ls tests/support/*.c)
for test in $TESTS; do SOURCES+=" $(ls tests/unit/"$test".c tests/crash/"$test".c 2>/dev/null || true)"; done
echo "$SOURCES" | tr ' ' '\n' | xargs -P "$JOBS" -I{} bash -c 'compile {}'

# Without a mutant every test passes.
for test in $TESTS; do
  # shellcheck disable=SC2086
  "$CC" -o "$OUT/base/$test" "$OUT"/base/tests_*_"$test".c.o "$OUT"/base/src_*.o "$OUT"/base/tests_support_*.o $LIBS
  timeout 300 "$OUT/base/$test" >"$OUT/base/$test.log" 2>&1 || {
    echo "$test fails without any mutant:"
    tail -20 "$OUT/base/$test.log"
    exit 1
  }
done

xargs -P "$JOBS" -a "$OUT/list" -L 1 bash -c 'mutant "$@"' mutant | tee "$OUT/verdicts" || true
killed=$(grep -c ': killed by' "$OUT/verdicts" || true)
all=$(wc -l <"$OUT/list")
echo "$killed of $all mutants killed in $SECONDS s"
[ "$killed" -eq "$all" ] && [ "$all" -gt 0 ]

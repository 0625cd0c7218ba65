#!/bin/bash
# What: the bash completions, as bash would call them; and that man pages and commands agree about verbs and options.
#
# Always true: a line "FAIL NAME: why" a failed check, with WODAN_VERBOSE=1 "ok NAME" for the others; exit code 1 when anything failed.
#
# See: tools/completion/, docs/man/. Usage: test_completion.sh PATH-OF-WODAN PATH-OF-WODAN-FSCK SOURCE-FOLDER
set -eu

PATH=$(dirname "$(realpath "$1")"):$(dirname "$(realpath "$2")"):$PATH
TOP=$(realpath "$3")
T=$(mktemp -d)
FAILED=0
COUNT=0
trap 'rm -rf "$T"' EXIT
cd "$T"

ok() { COUNT=$((COUNT + 1)); [ -z "${WODAN_VERBOSE:-}" ] || echo "ok $1"; }
fail() { FAILED=$((FAILED + 1)); echo "FAIL $1: $2"; }

# complete_words WORD...: the answers for the last word, one a line.
complete_words() {
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  "_${1//-/_}" || true
  [ "${#COMPREPLY[@]}" -eq 0 ] || printf '%s\n' "${COMPREPLY[@]}"
}

# answers NAME EXPECTED WORD...: the answers are these, sorted, joined by spaces.
answers() {
  local name=$1 want=$2 got
  shift 2
  got=$(complete_words "$@" | sort | tr '\n' ' ' | sed 's/ $//')
  if [ "$got" = "$want" ]; then ok "$name"; else fail "$name" "'$got', wanted '$want'"; fi
}

# shellcheck source=/dev/null
. "$TOP/tools/completion/wodan"
# shellcheck source=/dev/null
. "$TOP/tools/completion/wodan-fsck"

wodan format image --size 1M >/dev/null
touch island
answers "verbs by their first letter" "page path put" wodan p
answers "one verb" "journal" wodan jou
answers "a verb of two words" "import-mirage" wodan imp
answers "options of a verb" "--leaves" wodan tree image --le
answers "options with a value" "--limit=" wodan scan image --li
answers "files" "image island" wodan get i
answers "formats" "base64" wodan load image --format b
answers "no such verb, no options" "" wodan explode image --
answers "options of wodan-fsck" "--list-roots" wodan-fsck --li
answers "files for wodan-fsck" "image" wodan-fsck im
answers "roots for -b" "1" wodan-fsck image -b ""
complete -p wodan wodan-fsck >registered
if [ "$(wc -l <registered)" = 2 ]; then ok "both are registered"; else fail "both are registered" "$(cat registered)"; fi

# Every verb and every option has its place in a man page.
for verb in $(complete_words wodan "" | grep -v '^-'); do
  if grep -qE "^\.BI $verb \"" "$TOP/docs/man/wodan.1"; then ok "wodan(1) has $verb"; else fail "wodan(1)" "$verb is missing"; fi
done
for verb in $(complete_words wodan "" | grep -v '^-'); do
  for option in $(complete_words wodan "$verb" -- | sed 's/=$//' | grep -vE '^--(help|usage|version)$'); do
    if sed 's/\\-/-/g' "$TOP/docs/man/wodan.1" | grep -qE -- "^\.B.*$option"; then
      ok "wodan(1) has $option of $verb"
    else
      fail "wodan(1)" "$option of $verb is missing"
    fi
  done
done
for option in $(complete_words wodan-fsck -- | grep -vE '^--(help|usage|version)$'); do
  if sed 's/\\-/-/g' "$TOP/docs/man/wodan-fsck.8" | grep -qE -- "^\.B.*$option"; then
    ok "wodan-fsck(8) has $option"
  else
    fail "wodan-fsck(8)" "$option is missing"
  fi
done

echo "$COUNT checks, $FAILED failed"
[ "$FAILED" = 0 ]

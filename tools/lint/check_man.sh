#!/bin/sh
# The man pages name every function of include/wodan (wodan.3) and every finding with its sentence (wodan-fsck.8), and are
# well-formed. Usage: check_man.sh [FILE...]   (default: all of docs/man)
# Without mandoc: exit code 77, "skipped". That every verb and option is named, tests/cli/test_completion.sh looks.
set -eu
cd "$(dirname "$0")/../.."

for function in $(grep -ohE '\bwodan_[a-z_0-9]+\(' include/wodan/*.h | tr -d '(' | sort -u); do
  grep -qw "$function" docs/man/wodan.3 || { echo "docs/man/wodan.3: $function is missing" >&2; exit 1; }
done
for number in $(tr -d '\n' <src/check/findings.h | grep -oE 'X\([A-Z_0-9]+, [0-9]+' | grep -oE '[0-9]+$'); do
  id=WF$(printf %04d "$number")
  grep -q "^\.BR $id " docs/man/wodan-fsck.8 || { echo "docs/man/wodan-fsck.8: $id is missing" >&2; exit 1; }
done

if ! command -v mandoc >/dev/null; then
  echo "$0: skipped: mandoc is needed" >&2
  exit 77
fi
[ $# -gt 0 ] || set -- docs/man/*.[1-8]
exec mandoc -T lint -W style "$@"

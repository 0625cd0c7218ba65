#!/bin/sh
# The man pages are well-formed. Usage: check_man.sh [FILE...]   (default: all of docs/man)
# Without mandoc: exit code 77, "skipped".
set -eu
cd "$(dirname "$0")/../.."

if ! command -v mandoc >/dev/null; then
  echo "$0: skipped: mandoc is needed" >&2
  exit 77
fi
[ $# -gt 0 ] || set -- docs/man/*.[1-8]
exec mandoc -T lint -W style "$@"

#!/bin/sh
# Every symbol the shared library exports starts with wodan_. Usage: check_symbols.sh LIB (for example build/libwodan.so)
set -eu
[ $# -eq 1 ] || { echo "usage: $0 LIB" >&2; exit 2; }
[ -r "$1" ] || { echo "$0: $1 cannot be read" >&2; exit 2; }

symbols=$(nm -D --defined-only --format=posix "$1" | awk '$2 != "A" { sub(/@.*/, "", $1); print $1 }')
[ -n "$symbols" ] || { echo "$0: $1 exports nothing" >&2; exit 1; }
stray=$(printf '%s\n' "$symbols" | grep -v '^wodan_' || true)
if [ -n "$stray" ]; then
  printf '%s\n' "$stray" | sed "s|^|$1 exports without the wodan_ prefix: |" >&2
  exit 1
fi

#!/bin/sh
# Every C and C++ source looks as clang-format would write it. Usage: check_format.sh [FILE...]   (default: all of the project)
#
# Versions of clang-format differ in details; the one that counts is Debian 12's, 14. Without it: exit code 77, "skipped".
set -eu
cd "$(dirname "$0")/../.."

version=$(clang-format --version 2>/dev/null || true)
case $version in
*"version 14."*) ;;
*)
  echo "$0: skipped: clang-format 14 is needed, found: ${version:-none}" >&2
  exit 77
  ;;
esac

if [ $# -eq 0 ]; then
  set --
  for folder in include src tools tests examples bench fuzz; do
    [ ! -d "$folder" ] || set -- "$@" "$folder"
  done
fi
find "$@" '(' -name '*.[ch]' -o -name '*.cc' ')' -print0 | xargs -0 clang-format --dry-run -Werror

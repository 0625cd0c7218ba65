#!/bin/bash
# Every check, from a clean clone on a fresh Debian 12: installs what is missing, builds five ways, and ends with one
# run of ctest over all of it. Usage: tools/test.sh [--quick]
#
#   build/main       gcc, address and undefined-behaviour sanitizers: lints, every test but the slowest, the commands
#   build/release    gcc, optimized: what is too slow under a sanitizer, kill -9, installation, mutants, small measurements
#   build/threads    gcc, thread sanitizer: the tests labelled `threads` once more
#   build/clang      clang, optimized: library and tools compile without a warning, exported symbols
#   build/nothreads  the library and tools without threads compile
#
# --quick: only build/main. A build that fails ends the script at once; a test that fails does not stop the others.
set -euo pipefail
cd "$(dirname "$0")/.."

QUICK=
case ${1:-} in
"") ;;
--quick) QUICK=1 ;;
*)
  echo "usage: tools/test.sh [--quick]" >&2
  exit 2
  ;;
esac

JOBS=2
export UBSAN_OPTIONS=print_stacktrace=1
SANITIZED=(-DCMAKE_BUILD_TYPE=Debug "-DCMAKE_C_FLAGS_DEBUG=-O1 -g") # -O1: test_model takes 28 s instead of 72
# gcc's thread sanitizer does not start where the kernel spreads addresses over more bits than it knows: not at all, then.
FIXED_ADDRESSES=()
if setarch "$(uname -m)" -R true 2>/dev/null; then FIXED_ADDRESSES=(setarch "$(uname -m)" -R); fi
CTEST=("${FIXED_ADDRESSES[@]}" ctest -j "$JOBS" -L '^suite$' --output-on-failure --no-label-summary)

# build NAME TARGETS CMAKE-OPTION...: configures and builds build/NAME, silent unless that fails.
build() {
  local name=$1 targets=$2 log=build/$1.log start=$SECONDS
  shift 2
  mkdir -p build
  # shellcheck disable=SC2086
  if ! { cmake -S . -B "build/$name" -G Ninja "$@" && ninja -C "build/$name" -j "$JOBS" $targets; } >"$log" 2>&1; then
    grep -v '^\[[0-9]*/[0-9]*\] [BL]' "$log" >&2 || true
    echo "tools/test.sh: build/$name failed; all of its output is in $log" >&2
    exit 1
  fi
  echo "build/$name: $((SECONDS - start)) s"
}

tools/setup.sh build test

build main "wodan_cli wodan_fsck suite" "${SANITIZED[@]}" -DCMAKE_C_COMPILER=gcc -DWODAN_SANITIZE=address,undefined -DWODAN_SUITE=main
[ -z "$QUICK" ] || exec "${CTEST[@]}" --test-dir build/main

build release "wodan_static wodan_shared wodan_sim_static wodan_sim_shared wodan_cli wodan_fsck suite" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=gcc \
  -DWODAN_SUITE=release -DWODAN_BENCH=ON
build threads suite "${SANITIZED[@]}" -DCMAKE_C_COMPILER=gcc -DWODAN_SANITIZE=thread -DWODAN_SUITE=threads
build clang all -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang -DWODAN_TESTS=OFF
tools/lint/check_symbols.sh build/clang/libwodan.so
tools/lint/check_symbols.sh build/clang/libwodan-sim.so
build nothreads all -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=gcc -DWODAN_TESTS=OFF -DWODAN_THREADS=OFF

# One run and one summary over all of it: the registered tests of the three builds in one list, each name with its build
# in front, because ctest takes tests of one name for one test.
for name in main release threads; do
  grep -q 'LABELS "[^"]*suite' "build/$name/tests/CTestTestfile.cmake" ||
    { echo "tools/test.sh: build/$name has no test in its suite" >&2; exit 1; }
  lists=(build/"$name"/{tests,fuzz,tools/lint}/CTestTestfile.cmake)
  [ "$name" != release ] || lists+=(build/release/bench/CTestTestfile.cmake)
  sed -E "s/^(add_test|set_tests_properties)\\((\\[=*\\[|\")?/&$name./" "${lists[@]}"
done >build/CTestTestfile.cmake
exec "${CTEST[@]}" --test-dir build

#!/bin/bash
# What: the installed library, as a stranger's program finds it: by pkg-config and by find_package, shared and static,
# from C and from C++.
#
# Always true: nothing of the source tree is used but examples/; the prefix is a folder of its own, moved once after
# the installation, because an installed tree must not know where it was put.
#
# See: cmake/install.cmake, examples/. Usage: test_install.sh BUILD-FOLDER (built already)
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 BUILD-FOLDER" >&2; exit 2; }
BUILD=$(realpath "$1")
TOP=$(realpath "$(dirname "$0")/../..")
CC=${CC:-cc}
CXX=${CXX:-c++}
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
cd "$T"

step() { echo "== $1"; }
die() { echo "FAIL: $1" >&2; exit 1; }

step "install, and move the tree"
cmake --install "$BUILD" --prefix "$T/first" >install.log || { cat install.log; die "cmake --install"; }
mv first prefix
PREFIX=$T/prefix
LIB=$(dirname "$(find "$PREFIX" -name libwodan.so)")
if grep -rlI "$T/first\|$TOP\|$BUILD" "$PREFIX"; then die "these installed files name the machine they were built on"; fi

step "files"
for file in bin/wodan bin/wodan-fsck include/wodan/wodan.h "${LIB#"$PREFIX"/}/libwodan.a" \
  "${LIB#"$PREFIX"/}/pkgconfig/wodan.pc" share/man/man1/wodan.1 share/man/man3/wodan.3 share/man/man5/wodan.5 \
  share/man/man8/wodan-fsck.8 share/bash-completion/completions/wodan share/bash-completion/completions/wodan-fsck \
  "${LIB#"$PREFIX"/}/libwodan-sim.a" "${LIB#"$PREFIX"/}/libwodan-sim.so" "${LIB#"$PREFIX"/}/pkgconfig/wodan-sim.pc"; do
  [ -f "$PREFIX/$file" ] || die "$file is not installed"
done
(cd "$TOP/include/wodan" && ls) >headers.expected
ls "$PREFIX/include/wodan" | diff headers.expected - || die "the installed headers are not those of include/wodan"
[ "$(objdump -p "$LIB/libwodan.so" | awk '$1 == "SONAME" { print $2 }')" = libwodan.so.0 ] || die "SONAME"
[ "$(readlink -f "$LIB/libwodan.so.0")" = "$(readlink -f "$LIB/libwodan.so")" ] || die "libwodan.so.0 is another file"

step "exported symbols"
stray=$(nm -D --defined-only "$LIB/libwodan.so" "$LIB/libwodan-sim.so" | awk 'NF == 3 && $2 != "A" && $3 !~ /^wodan_/ { print $3 }')
[ -z "$stray" ] || die "exported without the wodan_ prefix: $stray"
# Every function a public header declares is there.
declared=$(sed -nE 's/^WODAN_API .*[ *](wodan_[a-z_]+)\(.*/\1/p' "$PREFIX"/include/wodan/*.h | sort -u)
[ -n "$declared" ] || die "no declarations found in the headers"
missing=$(comm -23 <(echo "$declared") <(nm -D --defined-only "$LIB/libwodan.so" "$LIB/libwodan-sim.so" | awk 'NF == 3 { print $3 }' | sort -u))
[ -z "$missing" ] || die "declared but not exported: $missing"

step "pkg-config, shared"
export PKG_CONFIG_PATH=$LIB/pkgconfig
export LD_LIBRARY_PATH=$LIB
for example in hello own_device; do
  # shellcheck disable=SC2046
  $CC -std=c17 -Wall -Wextra -Wpedantic -Werror -o "$example" "$TOP/examples/$example.c" \
    $(pkg-config --cflags --libs wodan) -lpthread
done
# shellcheck disable=SC2046
$CC -std=c17 -Wall -Wextra -Wpedantic -Werror -o crash_test "$TOP/examples/crash_test.c" \
  $(pkg-config --cflags --libs wodan-sim)
objdump -p hello | grep -q 'NEEDED *libwodan.so.0$' || die "hello does not use libwodan.so.0"
[ "$(pkg-config --modversion wodan)" = "$("$PREFIX/bin/wodan" --version | awk '{ print $NF }')" ] ||
  die "wodan.pc and the command disagree about the version"

# run FOLDER: the examples built there; hello twice, because the second time it opens what the first one made.
run() {
  rm -f hello.img
  "$1/hello" hello.img >made.txt || die "$1/hello on a new image"
  grep -q '^get  greeting = hello, world$' made.txt || die "$1/hello did not print the greeting"
  [ "$(grep -c '^scan planet:' made.txt)" -eq 2 ] || die "$1/hello did not print two planets"
  "$1/hello" hello.img >again.txt || die "$1/hello on its own image"
  diff <(grep -v ^generation made.txt) <(grep -v ^generation again.txt) || die "the second run of $1/hello differs"
  "$PREFIX/bin/wodan-fsck" hello.img >fsck.txt 2>&1 || { cat fsck.txt; die "wodan-fsck does not like hello's image"; }
  head -c 8192 /dev/urandom >foreign
  cp foreign foreign.before
  if "$1/hello" foreign 2>err; then die "$1/hello opened a foreign file"; fi
  cmp -s foreign foreign.before || die "$1/hello changed a foreign file"
  [ -s err ] || die "$1/hello failed without a word"
  "$1/own_device" >own.txt || die "$1/own_device"
  grep -q '^2000 records verified' own.txt || die "$1/own_device verified nothing"
  "$1/crash_test" >crash.txt || { cat crash.txt; die "$1/crash_test"; }
  grep -q '^[0-9]\{4,\} states of .* all right$' crash.txt || die "$1/crash_test looked at too little"
  if "$1/crash_test" --careless >crash.txt; then die "$1/crash_test did not find the mistake"; fi
  if "$1/crash_test" --careless "$(sed -n 's/^replay: crash_test --careless //p' crash.txt)" >again.txt; then
    die "$1/crash_test did not find it again"
  fi
  [ "$(sed -n 's/.*: alice/alice/p' crash.txt)" = "$(sed -n 's/.*: alice/alice/p' again.txt)" ] ||
    die "$1/crash_test found something else the second time"
}
run "$T"

step "pkg-config, static"
mkdir static
for example in hello own_device; do
  # shellcheck disable=SC2046
  $CC -std=c17 -o "static/$example" "$TOP/examples/$example.c" $(pkg-config --cflags wodan) "$LIB/libwodan.a" \
    $(pkg-config --static --libs wodan | sed 's/-lwodan//')
done
# shellcheck disable=SC2046
$CC -std=c17 -o static/crash_test "$TOP/examples/crash_test.c" $(pkg-config --cflags wodan-sim) "$LIB/libwodan-sim.a" \
  "$LIB/libwodan.a" $(pkg-config --static --libs wodan-sim | sed 's/-lwodan-sim//; s/-lwodan//')
if objdump -p static/hello | grep -q 'NEEDED *libwodan'; then die "the static hello needs the shared library"; fi
run "$T/static"

for kind in OFF ON; do
  step "find_package, static $kind"
  mkdir "cmake_$kind"
  if ! { cmake -S "$TOP/examples" -B "cmake_$kind" -G Ninja -DCMAKE_PREFIX_PATH="$PREFIX" -DWODAN_STATIC=$kind &&
    cmake --build "cmake_$kind"; } >cmake.log 2>&1; then
    cat cmake.log
    die "the CMake package, static $kind"
  fi
  run "$T/cmake_$kind"
done

step "find_package refuses another version"
mkdir other
printf 'cmake_minimum_required(VERSION 3.25)\nproject(other C)\nfind_package(wodan 99 REQUIRED)\n' >other/CMakeLists.txt
if cmake -S other -B other/build -DCMAKE_PREFIX_PATH="$PREFIX" >cmake.log 2>&1; then die "version 99 was found"; fi
grep -q 'requested version "99"\|version: 99\|"99"' cmake.log || { cat cmake.log; die "not refused for its version"; }

step "C++"
printf '#include <wodan/sim.h>\n#include <wodan/wodan.h>\nint main() { return wodan_version() ? 0 : 1; }\n' >plus.cc
# shellcheck disable=SC2046
$CXX -std=c++17 -Wall -Wextra -Wpedantic -Werror -o plus plus.cc $(pkg-config --cflags --libs wodan)
./plus || die "the C++ program"

echo "all passed"

#!/bin/bash
# The library on other processors: cross-built with Debian's compilers, its tests run in qemu-user (i386: by the kernel), and
# images exchanged with this machine: written here and there with one seed they are equal byte for byte, and a history whose
# rounds are written by turns on every machine is, after each round, checked and read in full on all of them.
# Usage: tools/ports.sh [--seconds N] [i386|s390x]...      default: both; N (1800): tests not begun by then are not run
#
#   i386    32 bits, little-endian
#   s390x   64 bits, big-endian
#
# Needs the packages of `tools/setup.sh ports`. cmocka, xxHash and LZ4 for the target are unpacked under build/ports/, nothing is
# installed for a foreign architecture. Environment: SEED (7), JOBS (2), DEBIAN_MIRROR.
set -euo pipefail
cd "$(dirname "$0")/.."

# Format, runs, journal, trees, recovery, checks: what reads or writes bytes of a device; quick ones first.
TESTS="test_wire test_base test_block_ptr test_checkpoint_record test_journal_block test_node_header test_object_header test_page
  test_superblock test_blob_format test_range test_to_text test_filter test_format_hostile test_hostile_journal test_hostile_ring test_hostile_run
  test_journal test_node_image test_blob test_run test_run_lists test_run_damage test_compress test_run_packed test_repair test_run_pages test_memtable test_merge test_walk test_tree test_protocol test_dev_file test_dev_sim_crash
  test_engine_kv test_engine_open test_engine_cursor test_engine_ranges test_large test_check test_check_findings test_check_tree test_check_bounds
  test_inspect test_inspect_damage test_content test_format_crash test_crash_run test_faults test_tree_faults test_model"
ROUNDS=4
SEED=${SEED:-7} JOBS=${JOBS:-2} MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
BUDGET=1800 ARCHES=
while [ $# -gt 0 ]; do
  case $1 in
  --seconds)
    BUDGET=${2:?--seconds N}
    shift
    ;;
  i386 | s390x) ARCHES="$ARCHES $1" ;;
  *)
    echo "usage: tools/ports.sh [--seconds N] [i386|s390x]..." >&2
    exit 2
    ;;
  esac
  shift
done
ARCHES=${ARCHES:-i386 s390x}
OUT=$PWD/build/ports
declare -A PROGRAM=([here]="$OUT/here/tests/port_image")
mkdir -p "$OUT"

machine() { if [ "$1" = i386 ]; then echo i686-linux-gnu; else echo "$1-linux-gnu"; fi; }
# What runs a program of the target: words joined by `;`, as CMake has it.
runner() {
  local sysroot
  sysroot=/usr/$(machine "$1")
  if [ "$1" = i386 ] && "$sysroot/lib/ld-linux.so.2" --version >/dev/null 2>&1; then
    echo "$sysroot/lib/ld-linux.so.2;--library-path;$sysroot/lib"
  else
    echo "qemu-$1;-L;$sysroot"
  fi
}

# The target's cmocka, xxHash and LZ4, from lists of packages of our own.
fetch() {
  local arch=$1 folder=$OUT/$1/packages codename options deb
  [ ! -e "$OUT/$arch/sysroot/usr" ] || return 0
  rm -rf "$folder"
  mkdir -p "$folder"/{lists,cache,debs}/partial
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR $codename main" >"$folder/sources.list"
  : >"$folder/status"
  options=(-qq -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o "Dir::State::status=$folder/status"
    -o "Dir::Etc::SourceList=$folder/sources.list" -o "Dir::Etc::SourceParts=-" -o "APT::Architecture=$arch"
    -o "APT::Architectures=$arch" -o "APT::Sandbox::User=$(id -un)")
  apt-get "${options[@]}" update
  (cd "$folder/debs" && apt-get "${options[@]}" download libcmocka-dev libcmocka0 libxxhash-dev libxxhash0 \
    liblz4-dev liblz4-1)
  for deb in "$folder"/debs/*.deb; do dpkg-deb -x "$deb" "$OUT/$arch/unpacked"; done
  mv "$OUT/$arch/unpacked" "$OUT/$arch/sysroot"
}

# build FOLDER TARGETS CMAKE-OPTION...
build() {
  local folder=$1 targets=$2 log=$OUT/build.log
  shift 2
  # shellcheck disable=SC2086
  cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DWODAN_TOOLS=OFF "$@" >"$log" 2>&1 &&
    ninja -C "$folder" -j "$JOBS" $targets >>"$log" 2>&1 || {
    tail -40 "$log" >&2
    echo "tools/ports.sh: $folder does not build" >&2
    exit 1
  }
}

# MACHINE ARGUMENT...: port_image there.
image() {
  local program
  IFS=';' read -ra program <<<"${PROGRAM[$1]}"
  "${program[@]}" "${@:2}" || {
    echo "tools/ports.sh: port_image ${*:2} fails on $1" >&2
    exit 1
  }
}

exchange() {
  local shape round who machines=(here $ARCHES) images=$OUT/images turn=0
  rm -rf "$images"
  mkdir -p "$images"
  for shape in $(image here shapes); do
    for ((round = 0; round < ROUNDS; round++)); do
      for who in here $ARCHES; do
        image "$who" write "$images/$shape.$who" "$shape" "$SEED" "$round"
        cmp "$images/$shape.here" "$images/$shape.$who"
      done
      image "${machines[turn++ % ${#machines[@]}]}" write "$images/$shape.turns" "$shape" "$SEED" "$round"
      cmp "$images/$shape.here" "$images/$shape.turns"
      for who in "${machines[@]}"; do image "$who" check "$images/$shape.turns" "$shape" "$SEED" $((round + 1)) >"$images/told"; done
    done
    echo "image $shape: ${#machines[@]} machines (${machines[*]}), $ROUNDS rounds, equal byte for byte: $(cat "$images/told")"
  done
}

tools/setup.sh build ports
build "$OUT/here" port_image
for arch in $ARCHES; do
  fetch "$arch"
  # shellcheck disable=SC2086
  build "$OUT/$arch/build" "port_image $(echo $TESTS)" -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/ports.cmake" -DWODAN_PORT_PROCESSOR="$arch" \
    -DWODAN_PORT_MACHINE="$(machine "$arch")" -DWODAN_PORT_ROOT="$OUT/$arch/sysroot" "-DWODAN_PORT_RUN=$(runner "$arch")"
  PROGRAM[$arch]="$(runner "$arch");$OUT/$arch/build/tests/port_image"
done
exchange

failed=0
for arch in $ARCHES; do
  passed=0 start=$SECONDS skipped=
  for test in $TESTS; do
    if [ "$SECONDS" -ge "$BUDGET" ]; then
      skipped="$skipped $test"
      continue
    fi
    IFS=';' read -ra program <<<"$(runner "$arch");$OUT/$arch/build/tests/$test"
    if WODAN_CRASH_BUDGET=${WODAN_CRASH_BUDGET:-24} "${program[@]}" >"$OUT/$arch/$test.log" 2>&1; then
      passed=$((passed + 1))
    else
      failed=1
      echo "$arch: $test FAILED; its output is in build/ports/$arch/$test.log"
    fi
  done
  echo "$arch: $passed tests passed in $((SECONDS - start)) s${skipped:+; no time left for:$skipped}"
done
exit "$failed"

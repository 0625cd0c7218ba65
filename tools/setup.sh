#!/bin/sh
# Installs the Debian packages that are missing. Usage: tools/setup.sh [build|test|data|bench|coverage|ports]...   (default: build test)
#
#   build  compilers and libraries for the library and the tools
#   test   what tools/test.sh needs beyond that
#   data   word list and Unicode tables, inputs for demonstrations and benchmarks
#   bench  other engines, to be measured beside this one (tools/bench.sh)
#   coverage  what tools/coverage.sh needs
#   ports  cross compilers and an emulator, for tools/ports.sh
#
# When nothing is missing it neither needs the network nor root.
set -eu

BUILD="gcc libc6-dev cmake ninja-build pkg-config libxxhash-dev liblz4-dev"
TEST="g++ clang libclang-rt-14-dev clang-format libcmocka-dev libbenchmark-dev python3 binutils mandoc"
DATA="wamerican-huge unicode-data"
BENCH="g++ libbenchmark-dev liblmdb-dev librocksdb-dev libleveldb-dev libsqlite3-dev python3"
COVERAGE="gcovr libcmocka-dev"
PORTS="gcc-i686-linux-gnu libc6-dev-i386-cross gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user libcmocka-dev python3"

packages=
for group in "${@:-}"; do
  case $group in
  build) packages="$packages $BUILD" ;;
  test) packages="$packages $TEST" ;;
  data) packages="$packages $DATA" ;;
  bench) packages="$packages $BENCH" ;;
  coverage) packages="$packages $COVERAGE" ;;
  ports) packages="$packages $PORTS" ;;
  "") packages="$BUILD $TEST" ;;
  *)
    echo "usage: $0 [build|test|data|bench|coverage|ports]..." >&2
    exit 2
    ;;
  esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "$0: this is not Debian; install the counterparts of these packages by hand:$packages" >&2
  exit 1
fi

missing=
for package in $packages; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "$0: missing packages, and neither root nor sudo to install them; as root: apt-get install$missing" >&2
    exit 1
  fi
  root="sudo"
fi

echo "$0: installing$missing"
if ! $root env DEBIAN_FRONTEND=noninteractive apt-get update -q ||
  ! $root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; then
  echo "$0: apt-get could not install$missing; is there a network, and are you allowed to install?" >&2
  exit 1
fi

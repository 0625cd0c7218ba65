#!/bin/bash
# Wodan beside LMDB, RocksDB, LevelDB and SQLite: installs what is missing, builds Release with all of them, measures, and writes
#   build/bench/stores.json     every slice, as Google Benchmark tells it
#   docs/benchmarks.md          the tables between its two marked lines
#   docs/benchmarks.svg         the chart
#
# Usage: tools/bench.sh [--quick | --full] [OPTION OF wodan-bench-stores]...
#
#   --quick   200,000 records, in a few minutes: for a look (the default)
#   --full    2.5 million records, three rounds: about half an hour on a quiet machine; without SQLite, which alone would take an
#             hour for its fills (--stores wodan,lmdb,rocksdb,leveldb,sqlite takes it too)
#
# Options behind these count, of two the last: --rounds 2 for a third less time.
# The stores' files lie in $TMPDIR or /tmp meanwhile (--dir elsewhere), 6 GB with --full. On a busy machine only the ratios count.
set -euo pipefail
cd "$(dirname "$0")/.."

SIZE=(--records 200000 --write-buffer 4M --cache 256M --rounds 3 --slice-ms 100)
case ${1:-} in
--quick) shift ;;
--full)
  SIZE=(--records 2500000 --write-buffer 64M --cache 1G --rounds 3 --slice-ms 400 --stores wodan,lmdb,rocksdb,leveldb)
  shift
  ;;
--help)
  sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0"
  exit 0
  ;;
esac

tools/setup.sh build bench

mkdir -p build
if ! { cmake -S . -B build/bench -G Ninja -DCMAKE_BUILD_TYPE=Release -DWODAN_BENCH=ON -DWODAN_TESTS=OFF &&
  ninja -C build/bench wodan-bench-stores; } >build/bench.log 2>&1; then
  echo "$0: the build failed; all of its output is in build/bench.log" >&2
  exit 1
fi

build/bench/bench/wodan-bench-stores "${SIZE[@]}" --benchmark_out=build/bench/stores.json --benchmark_out_format=json \
  --benchmark_counters_tabular=true "$@"
bench/report.py build/bench/stores.json --markdown docs/benchmarks.md --svg docs/benchmarks.svg
echo "$0: docs/benchmarks.md and docs/benchmarks.svg are new"

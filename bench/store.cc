/* Owns: which stores are built in, and what all of them share.
 * See: store.h. */
#include "store.h"

#include <unistd.h>

#include "common.h"

namespace bench {

void Reader::get_many(const Bytes *keys, size_t count, Bytes *values) {
  copies_.resize(count);
  for (size_t i = 0; i < count; i++) {
    Bytes value;
    bool found = get(keys[i], &value);
    if (found) copies_[i].assign(value);
    values[i] = found ? Bytes(copies_[i]) : Bytes();
  }
}

const std::vector<StoreKind> &store_kinds() {
  static const std::vector<StoreKind> kinds = {
      wodan_kind,
#ifdef BENCH_LMDB
      lmdb_kind,
#endif
#ifdef BENCH_ROCKSDB
      rocksdb_kind,
#endif
#ifdef BENCH_LEVELDB
      leveldb_kind,
#endif
#ifdef BENCH_SQLITE
      sqlite_kind,
#endif
  };
  return kinds;
}

void wait_until_quiet() {
  constexpr int looks = 5;
  constexpr useconds_t apart_us = 50000;
  uint64_t written = bench_io_now().calls_written;
  for (int quiet = 0; quiet < looks;) {
    usleep(apart_us);
    uint64_t now = bench_io_now().calls_written;
    quiet = now == written ? quiet + 1 : 0;
    written = now;
  }
}

} // namespace bench

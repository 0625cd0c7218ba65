/* The one interface behind which every engine is measured. A failure of an engine ends the program with a sentence
 * (bench_die): a benchmark of something that failed is worth nothing.
 *
 * Each engine is one file store_<name>.cc that hands out a StoreKind; CMake leaves out those whose library is not there. */
#ifndef BENCH_STORE_H
#define BENCH_STORE_H

#include <memory>
#include <string>
#include <vector>

#include "records.h"

namespace bench {

struct StoreOptions {
  std::string folder;    /* exists; empty, or written by the same kind of store */
  uint64_t data_bytes;   /* about what will be put: key and value bytes */
  uint64_t write_buffer; /* what is collected in memory before it is written, for those that do */
  uint64_t cache;        /* of pages or blocks, for those that have one of their own */
  size_t value_size;
  double patience; /* seconds without work after which a store has settled that begins what is not urgent only later */
  bool scarce;     /* the data does not fit into memory: direct I/O where the store has it */
};

struct Record {
  Bytes key, value;
};

/* buffered: nothing is promised should the power fail; durable: on the medium when put returns. */
enum class Commit { buffered, durable };

/* One thread's way to read. It may stand on one moment until refresh(); after that every call sees what was committed before
 * it. What a call hands out is valid until the next call. */
class Reader {
public:
  virtual ~Reader() = default;
  virtual void refresh() = 0;
  virtual bool get(Bytes key, Bytes *value) = 0;
  /* values[i].data() is null where the key is absent. The stores without a call for it get them one by one. */
  virtual void get_many(const Bytes *keys, size_t count, Bytes *values);
  /* Moves, in key order; false: there is no such record. */
  virtual bool first(Record *record) = 0;
  virtual bool last(Record *record) = 0;
  virtual bool seek(Bytes key, Record *record) = 0; /* at or after */
  virtual bool next(Record *record) = 0;
  virtual bool prev(Record *record) = 0;

private:
  std::vector<std::string> copies_;
};

/* One thread's way to write. */
class Writer {
public:
  virtual ~Writer() = default;
  /* All or nothing. */
  virtual void put(const Record *records, size_t count, Commit commit) = 0;
};

class Store {
public:
  virtual ~Store() = default; /* closes */
  virtual std::unique_ptr<Reader> reader() = 0;
  /* ascending: every key put will be above all that are there. */
  virtual std::unique_ptr<Writer> writer(bool ascending) = 0;
  /* Returns when what was put is on its way to the medium and no work is left to be done in the background. */
  virtual void settle() = 0;
  /* Brings everything into the shape that is best to read, where there is such a call. */
  virtual void compact() {}
  /* As it was opened, in one line. */
  virtual std::string settings() const = 0;
};

struct StoreKind {
  const char *name, *title;
  std::string (*version)();
  std::unique_ptr<Store> (*open)(const StoreOptions &options);
};

/* Those built in, ours first. */
const std::vector<StoreKind> &store_kinds();

extern const StoreKind wodan_kind, lmdb_kind, rocksdb_kind, leveldb_kind, sqlite_kind;

/* Until the process has passed nothing to write calls for a while: for stores that do not tell whether they work. */
void wait_until_quiet();

} // namespace bench

#endif

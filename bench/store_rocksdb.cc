/* RocksDB behind store.h, set up as its wiki's "Setup Options and Basic Tuning" recommends: index and filter blocks in the block
 * cache and those of level 0 pinned, filters of 10 bits, blocks of 16 KiB, levels with dynamic sizes, kMinOverlappingRatio,
 * bytes_per_sync of 1 MiB. Large values as its wiki's "BlobDB" says: in blob files, collected, their cache the block cache. Buffered
 * commits write no log, for nothing is promised. */
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/options_util.h>
#include <rocksdb/version.h>
#include <unistd.h>

#include "common.h"
#include "store.h"

namespace bench {
namespace {

void check(const rocksdb::Status &status, const char *what) {
  if (!status.ok()) bench_die("RocksDB: %s: %s", what, status.ToString().c_str());
}
rocksdb::Slice slice(Bytes bytes) { return {bytes.data(), bytes.size()}; }
Bytes bytes(const rocksdb::Slice &slice) { return {slice.data(), slice.size()}; }

class RocksReader final : public Reader {
public:
  explicit RocksReader(rocksdb::DB *db) : db_(db) {}
  void refresh() override { iterator_.reset(); }
  bool get(Bytes key, Bytes *value) override {
    value_.Reset();
    rocksdb::Status status = db_->Get(options_, db_->DefaultColumnFamily(), slice(key), &value_);
    if (status.IsNotFound()) return false;
    check(status, "get");
    *value = bytes(value_);
    return true;
  }
  void get_many(const Bytes *keys, size_t count, Bytes *values) override {
    keys_.clear();
    for (size_t i = 0; i < count; i++) keys_.push_back(slice(keys[i]));
    values_ = std::vector<rocksdb::PinnableSlice>(count);
    statuses_.resize(count);
    db_->MultiGet(options_, db_->DefaultColumnFamily(), count, keys_.data(), values_.data(), statuses_.data());
    for (size_t i = 0; i < count; i++) {
      if (!statuses_[i].IsNotFound()) check(statuses_[i], "MultiGet");
      values[i] = statuses_[i].ok() ? bytes(values_[i]) : Bytes();
    }
  }
  bool first(Record *record) override {
    iterator()->SeekToFirst();
    return stand(record);
  }
  bool last(Record *record) override {
    iterator()->SeekToLast();
    return stand(record);
  }
  bool seek(Bytes key, Record *record) override {
    iterator()->Seek(slice(key));
    return stand(record);
  }
  bool next(Record *record) override {
    iterator_->Next();
    return stand(record);
  }
  bool prev(Record *record) override {
    iterator_->Prev();
    return stand(record);
  }

private:
  rocksdb::Iterator *iterator() {
    if (!iterator_) iterator_.reset(db_->NewIterator(options_));
    return iterator_.get();
  }
  bool stand(Record *record) {
    if (!iterator_->Valid()) {
      check(iterator_->status(), "iterator");
      return false;
    }
    *record = {bytes(iterator_->key()), bytes(iterator_->value())};
    return true;
  }

  rocksdb::DB *db_;
  rocksdb::ReadOptions options_;
  rocksdb::PinnableSlice value_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
  std::vector<rocksdb::Slice> keys_;
  std::vector<rocksdb::PinnableSlice> values_;
  std::vector<rocksdb::Status> statuses_;
};

class RocksWriter final : public Writer {
public:
  explicit RocksWriter(rocksdb::DB *db) : db_(db) {}
  void put(const Record *records, size_t count, Commit commit) override {
    rocksdb::WriteOptions options;
    options.sync = commit == Commit::durable;
    options.disableWAL = commit == Commit::buffered;
    batch_.Clear();
    for (size_t i = 0; i < count; i++) check(batch_.Put(slice(records[i].key), slice(records[i].value)), "put");
    check(db_->Write(options, &batch_), "write");
  }

private:
  rocksdb::DB *db_;
  rocksdb::WriteBatch batch_;
};

class RocksStore final : public Store {
public:
  explicit RocksStore(const StoreOptions &options) : options_(options) {
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(options.cache);
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10, false));
    table.cache_index_and_filter_blocks = true;
    table.pin_l0_filter_and_index_blocks_in_cache = true;
    table.block_size = 16 << 10;
    rocksdb::Options o;
    o.create_if_missing = true;
    o.compression = rocksdb::kNoCompression;
    o.write_buffer_size = options.write_buffer;
    o.level_compaction_dynamic_level_bytes = true;
    o.max_background_jobs = 2; /* as many as processors here; the wiki says 6 for more */
    o.bytes_per_sync = 1 << 20;
    o.compaction_pri = rocksdb::kMinOverlappingRatio;
    if (options.value_size >= blob_least) {
      o.enable_blob_files = true;
      o.min_blob_size = blob_least;
      o.enable_blob_garbage_collection = true;
      o.blob_cache = table.block_cache;
    }
    o.use_direct_reads = options.scarce;
    o.use_direct_io_for_flush_and_compaction = options.scarce;
    o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::DB *db;
    check(rocksdb::DB::Open(o, options.folder, &db), "open");
    db_.reset(db);
  }
  std::unique_ptr<Reader> reader() override { return std::make_unique<RocksReader>(db_.get()); }
  std::unique_ptr<Writer> writer(bool) override { return std::make_unique<RocksWriter>(db_.get()); }
  void settle() override {
    constexpr int looks = 5;
    constexpr useconds_t apart_us = 50000;
    check(db_->Flush(rocksdb::FlushOptions()), "flush");
    for (int quiet = 0; quiet < looks;) {
      quiet = busy() ? 0 : quiet + 1;
      usleep(apart_us);
    }
  }
  void compact() override {
    check(db_->CompactRange(rocksdb::CompactRangeOptions(), nullptr, nullptr), "compact");
    settle();
  }
  std::string settings() const override {
    return "write_buffer_size " + std::to_string(options_.write_buffer >> 10) + " KiB, block_cache " +
           std::to_string(options_.cache >> 20) +
           " MiB, block_size 16 KiB, Bloom filter 10 bits, cache_index_and_filter_blocks, "
           "pin_l0_filter_and_index_blocks_in_cache, "
           "level_compaction_dynamic_level_bytes, max_background_jobs 2, bytes_per_sync 1 MiB, kMinOverlappingRatio, "
           "no "
           "compression, no log for buffered commits, values of 4 KiB and more in blob files with garbage collection "
           "and "
           "the same cache" +
           (options_.scarce ? ", direct I/O" : "") + "; the rest by default; Debian compiles it with assertions on";
  }

private:
  static constexpr size_t blob_least = 4096;

  bool busy() {
    for (const char *sign : {"rocksdb.num-running-compactions", "rocksdb.compaction-pending",
                             "rocksdb.num-running-flushes", "rocksdb.mem-table-flush-pending"}) {
      uint64_t value = 0;
      if (!db_->GetIntProperty(sign, &value)) bench_die("RocksDB does not tell %s", sign);
      if (value) return true;
    }
    return false;
  }

  StoreOptions options_;
  std::unique_ptr<rocksdb::DB> db_;
};

} // namespace

const StoreKind rocksdb_kind = {
    "rocksdb", "RocksDB", [] { return rocksdb::GetRocksVersionAsString(); },
    [](const StoreOptions &options) -> std::unique_ptr<Store> { return std::make_unique<RocksStore>(options); }};

} // namespace bench

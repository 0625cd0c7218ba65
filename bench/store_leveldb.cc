/* LevelDB behind store.h: a block cache, filters of 10 bits and a write buffer of the common size, as its documentation
 * advises. It cannot write without a log. */
#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/filter_policy.h>
#include <leveldb/write_batch.h>

#include "common.h"
#include "store.h"

namespace bench {
namespace {

void check(const leveldb::Status &status, const char *what) {
  if (!status.ok()) bench_die("LevelDB: %s: %s", what, status.ToString().c_str());
}
leveldb::Slice slice(Bytes bytes) { return {bytes.data(), bytes.size()}; }
Bytes bytes(const leveldb::Slice &slice) { return {slice.data(), slice.size()}; }

class LevelReader final : public Reader {
public:
  explicit LevelReader(leveldb::DB *db) : db_(db) {}
  void refresh() override { iterator_.reset(); }
  bool get(Bytes key, Bytes *value) override {
    leveldb::Status status = db_->Get(leveldb::ReadOptions(), slice(key), &value_);
    if (status.IsNotFound()) return false;
    check(status, "get");
    *value = value_;
    return true;
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
  leveldb::Iterator *iterator() {
    if (!iterator_) iterator_.reset(db_->NewIterator(leveldb::ReadOptions()));
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

  leveldb::DB *db_;
  std::string value_;
  std::unique_ptr<leveldb::Iterator> iterator_;
};

class LevelWriter final : public Writer {
public:
  explicit LevelWriter(leveldb::DB *db) : db_(db) {}
  void put(const Record *records, size_t count, Commit commit) override {
    leveldb::WriteOptions options;
    options.sync = commit == Commit::durable;
    batch_.Clear();
    for (size_t i = 0; i < count; i++) batch_.Put(slice(records[i].key), slice(records[i].value));
    check(db_->Write(options, &batch_), "write");
  }

private:
  leveldb::DB *db_;
  leveldb::WriteBatch batch_;
};

class LevelStore final : public Store {
public:
  explicit LevelStore(const StoreOptions &options)
      : options_(options), cache_(leveldb::NewLRUCache(options.cache)), filter_(leveldb::NewBloomFilterPolicy(10)) {
    leveldb::Options o;
    o.create_if_missing = true;
    o.compression = leveldb::kNoCompression;
    o.write_buffer_size = options.write_buffer;
    o.block_cache = cache_.get();
    o.filter_policy = filter_.get();
    leveldb::DB *db;
    check(leveldb::DB::Open(o, options.folder, &db), "open");
    db_.reset(db);
  }
  std::unique_ptr<Reader> reader() override { return std::make_unique<LevelReader>(db_.get()); }
  std::unique_ptr<Writer> writer(bool) override { return std::make_unique<LevelWriter>(db_.get()); }
  void settle() override { wait_until_quiet(); }
  void compact() override {
    db_->CompactRange(nullptr, nullptr);
    settle();
  }
  std::string settings() const override {
    return "write_buffer_size " + std::to_string(options_.write_buffer >> 10) + " KiB, block_cache " +
           std::to_string(options_.cache >> 20) +
           " MiB, Bloom filter 10 bits, no compression, always a log; the rest by default (blocks 4 KiB)";
  }

private:
  StoreOptions options_;
  std::unique_ptr<leveldb::Cache> cache_;
  std::unique_ptr<const leveldb::FilterPolicy> filter_;
  std::unique_ptr<leveldb::DB> db_; /* closed first */
};

} // namespace

const StoreKind leveldb_kind = {
    "leveldb", "LevelDB",
    [] { return std::to_string(leveldb::kMajorVersion) + "." + std::to_string(leveldb::kMinorVersion); },
    [](const StoreOptions &options) -> std::unique_ptr<Store> { return std::make_unique<LevelStore>(options); }};

} // namespace bench

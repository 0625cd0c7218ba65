/* Wodan behind store.h: a volume in a sparse file, defaults but for the sizes that all stores share. */
#include <algorithm>
#include <unistd.h>
#include <wodan/wodan.h>

#include "common.h"
#include "store.h"

namespace bench {
namespace {

constexpr uint64_t mib = 1 << 20, write_behind = 2 * mib;

wodan_slice slice(Bytes bytes) { return {bytes.data(), bytes.size()}; }
Bytes bytes(wodan_slice slice) { return {static_cast<const char *>(slice.data), slice.size}; }

class WodanReader final : public Reader {
public:
  explicit WodanReader(wodan_db *db) : db_(db) {}
  ~WodanReader() override {
    unpin();
    wodan_cursor_close(cursor_);
  }
  void refresh() override {
    wodan_cursor_close(cursor_);
    cursor_ = nullptr;
  }
  bool get(Bytes key, Bytes *value) override {
    unpin();
    int status = wodan_get_pinned(db_, nullptr, slice(key), &pinned_);
    if (status == WODAN_ENOTFOUND) return false;
    bench_check(status, "get", db_);
    is_pinned_ = true;
    *value = bytes(pinned_.value);
    return true;
  }
  void get_many(const Bytes *keys, size_t count, Bytes *values) override {
    unpin();
    many_.resize(count);
    statuses_.resize(count);
    slices_.resize(count);
    for (size_t i = 0; i < count; i++) slices_[i] = slice(keys[i]);
    bench_check(wodan_get_many(db_, nullptr, slices_.data(), count, many_.data(), statuses_.data()), "get_many", db_);
    for (size_t i = 0; i < count; i++) values[i] = bytes(many_[i].value);
  }
  bool first(Record *record) override { return stand(wodan_cursor_first(cursor()), record); }
  bool last(Record *record) override { return stand(wodan_cursor_last(cursor()), record); }
  bool seek(Bytes key, Record *record) override { return stand(wodan_cursor_seek(cursor(), slice(key)), record); }
  bool next(Record *record) override { return stand(wodan_cursor_next(cursor_), record); }
  bool prev(Record *record) override { return stand(wodan_cursor_prev(cursor_), record); }

private:
  void unpin() {
    if (is_pinned_) wodan_unpin(db_, &pinned_);
    is_pinned_ = false;
    wodan_unpin_many(db_, many_.data(), many_.size());
    many_.clear();
  }
  wodan_cursor *cursor() {
    if (!cursor_) bench_check(wodan_cursor_open(db_, nullptr, &cursor_), "cursor", db_);
    return cursor_;
  }
  bool stand(int status, Record *record) {
    if (status == WODAN_DONE) return false;
    bench_check(status, "cursor", db_);
    *record = {bytes(wodan_cursor_key(cursor_)), bytes(wodan_cursor_value(cursor_))};
    return true;
  }

  wodan_db *db_;
  wodan_cursor *cursor_ = nullptr;
  wodan_pinned pinned_ = {};
  bool is_pinned_ = false;
  std::vector<wodan_slice> slices_;
  std::vector<wodan_pinned> many_;
  std::vector<int> statuses_;
};

class WodanWriter final : public Writer {
public:
  explicit WodanWriter(wodan_db *db) : db_(db) { bench_check(wodan_batch_create(db, &batch_), "batch", db); }
  ~WodanWriter() override { wodan_batch_free(batch_); }
  void put(const Record *records, size_t count, Commit commit) override {
    wodan_commit how = {};
    how.durability = commit == Commit::durable ? WODAN_DURABLE : WODAN_BUFFERED;
    if (count == 1) return bench_check(wodan_put(db_, slice(records->key), slice(records->value), &how), "put", db_);
    wodan_batch_clear(batch_);
    for (size_t i = 0; i < count; i++)
      bench_check(wodan_batch_put(batch_, slice(records[i].key), slice(records[i].value)), "put", db_);
    bench_check(wodan_batch_commit(db_, batch_, &how), "commit", db_);
  }

private:
  wodan_db *db_;
  wodan_batch *batch_ = nullptr;
};

class WodanStore final : public Store {
public:
  explicit WodanStore(const StoreOptions &options) : patience_(options.patience) {
    std::string path = options.folder + "/image";
    wodan_error error = {};
    if (bench_disk_bytes(path.c_str()) == 0) format(path, options);
    wodan_open_options open = {};
    open.size = sizeof open;
    open.flags = options.scarce ? WODAN_OPEN_DIRECT : 0;
    open.memory_budget =
        2 * options.cache + 4 * options.write_buffer; /* indexes, filters and memtables are in it too */
    open.write_behind = write_behind;
    int status = wodan_open_path(path.c_str(), &open, &db_, &error);
    if (status == WODAN_EBUDGET) { /* small images need more for the rest than they are large */
      open.memory_budget = 0;
      status = wodan_open_path(path.c_str(), &open, &db_, &error);
    }
    if (status < 0) bench_die("wodan: open: %s", error.message);
    budget_ = open.memory_budget;
  }
  ~WodanStore() override {
    wodan_error error;
    if (wodan_close(db_, &error) < 0) bench_die("wodan: close: %s", error.message);
  }
  std::unique_ptr<Reader> reader() override { return std::make_unique<WodanReader>(db_); }
  std::unique_ptr<Writer> writer(bool) override { return std::make_unique<WodanWriter>(db_); }
  void settle() override {
    bench_settle(db_);
    uint64_t worked = maintenance(), since = bench_now();
    while (bench_seconds_since(since) < patience_) {
      usleep(20000);
      uint64_t now = maintenance(); /* and discards */
      if (now != worked) since = bench_now();
      worked = now;
    }
    bench_settle(db_);
  }
  void compact() override {
    uint32_t more = 1;
    while (more) bench_check(wodan_compact(db_, nullptr, nullptr, 0, &more), "compact", db_);
    settle();
  }
  std::string settings() const override {
    struct wodan_info i = info();
    return "volume " + std::to_string(i.device_size / mib) + " MiB, blocks " + std::to_string(i.block_size) +
           ", pages " + std::to_string(i.page_size) + ", leaves " + std::to_string(i.leaf_size >> 10) +
           " KiB, memtable " + std::to_string(i.memtable_size >> 10) + " KiB, memory budget " +
           (budget_ ? std::to_string(budget_ / mib) + " MiB (two caches and four memtables)" : "the library's choice") +
           ", background thread, no compression, write_behind " + std::to_string(write_behind / mib) +
           " MiB; the rest by default";
  }

private:
  static void format(const std::string &path, const StoreOptions &options) {
    uint64_t size = std::max(6 * options.data_bytes + 16 * options.write_buffer, 32 * mib) / mib * mib;
    wodan_device *device;
    wodan_error error = {};
    if (wodan_path_device(path.c_str(), WODAN_PATH_CREATE, size, &device, &error) < 0)
      bench_die("wodan: %s", error.message);
    wodan_format_options format = {};
    format.size = sizeof format;
    format.memtable_size = options.write_buffer;
    if (wodan_format(device, &format, &error) < 0) bench_die("wodan: format: %s", error.message);
    bench_check(wodan_device_close(device), "closing the device", nullptr);
  }
  struct wodan_info info() const {
    struct wodan_info info = {};
    info.size = sizeof info;
    bench_check(wodan_info(db_, &info), "info", db_);
    return info;
  }

  uint64_t maintenance() const {
    struct wodan_stats stats = {};
    stats.size = sizeof stats;
    bench_check(wodan_stats(db_, &stats), "statistics", db_);
    return stats.maintenance_bytes + stats.discard_done;
  }

  wodan_db *db_ = nullptr;
  uint64_t budget_;
  double patience_;
};

} // namespace

const StoreKind wodan_kind = {
    "wodan", "Wodan", [] { return std::string(wodan_version()); },
    [](const StoreOptions &options) -> std::unique_ptr<Store> { return std::make_unique<WodanStore>(options); }};

} // namespace bench

/* LMDB behind store.h. As its documentation says: MDB_APPEND for ascending keys, read transactions renewed instead of begun
 * anew, no read-ahead when the data is larger than memory. Buffered commits: MDB_NOSYNC. */
#include <atomic>
#include <lmdb.h>

#include "common.h"
#include "store.h"

namespace bench {
namespace {

void check(int status, const char *what) {
  if (status) bench_die("LMDB: %s: %s", what, mdb_strerror(status));
}
MDB_val val(Bytes bytes) { return {bytes.size(), const_cast<char *>(bytes.data())}; }
Bytes bytes(const MDB_val &val) { return {static_cast<const char *>(val.mv_data), val.mv_size}; }

class LmdbReader final : public Reader {
public:
  LmdbReader(MDB_env *env, MDB_dbi dbi) : dbi_(dbi) {
    check(mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn_), "reading");
    check(mdb_cursor_open(txn_, dbi_, &cursor_), "cursor");
  }
  ~LmdbReader() override {
    mdb_cursor_close(cursor_);
    mdb_txn_abort(txn_);
  }
  void refresh() override {
    mdb_txn_reset(txn_);
    check(mdb_txn_renew(txn_), "reading");
    check(mdb_cursor_renew(txn_, cursor_), "cursor");
  }
  bool get(Bytes key, Bytes *value) override {
    MDB_val k = val(key), v;
    int status = mdb_get(txn_, dbi_, &k, &v);
    if (status == MDB_NOTFOUND) return false;
    check(status, "get");
    *value = bytes(v);
    return true;
  }
  void get_many(const Bytes *keys, size_t count, Bytes *values) override { /* without copying, the moment holds */
    for (size_t i = 0; i < count; i++)
      if (!get(keys[i], &values[i])) values[i] = Bytes();
  }
  bool first(Record *record) override { return move({}, MDB_FIRST, record); }
  bool last(Record *record) override { return move({}, MDB_LAST, record); }
  bool seek(Bytes key, Record *record) override { return move(key, MDB_SET_RANGE, record); }
  bool next(Record *record) override { return move({}, MDB_NEXT, record); }
  bool prev(Record *record) override { return move({}, MDB_PREV, record); }

private:
  bool move(Bytes key, MDB_cursor_op op, Record *record) {
    MDB_val k = val(key), v;
    int status = mdb_cursor_get(cursor_, &k, &v, op);
    if (status == MDB_NOTFOUND) return false;
    check(status, "cursor");
    *record = {bytes(k), bytes(v)};
    return true;
  }

  MDB_dbi dbi_;
  MDB_txn *txn_ = nullptr;
  MDB_cursor *cursor_ = nullptr;
};

class LmdbWriter final : public Writer {
public:
  LmdbWriter(MDB_env *env, MDB_dbi dbi, std::atomic<bool> &durable, bool ascending)
      : env_(env), dbi_(dbi), durable_(durable), flags_(ascending ? MDB_APPEND : 0) {}
  void put(const Record *records, size_t count, Commit commit) override {
    bool wanted = commit == Commit::durable;
    if (durable_.exchange(wanted) != wanted) check(mdb_env_set_flags(env_, MDB_NOSYNC, !wanted), "MDB_NOSYNC");
    MDB_txn *txn;
    check(mdb_txn_begin(env_, nullptr, 0, &txn), "writing");
    for (size_t i = 0; i < count; i++) {
      MDB_val k = val(records[i].key), v = val(records[i].value);
      check(mdb_put(txn, dbi_, &k, &v, flags_), "put");
    }
    check(mdb_txn_commit(txn), "commit");
  }

private:
  MDB_env *env_;
  MDB_dbi dbi_;
  std::atomic<bool> &durable_;
  unsigned flags_;
};

class LmdbStore final : public Store {
public:
  explicit LmdbStore(const StoreOptions &options) : scarce_(options.scarce) {
    check(mdb_env_create(&env_), "environment");
    check(mdb_env_set_mapsize(env_, map_size(options)), "map size");
    unsigned flags = MDB_NOSYNC | MDB_NOTLS | (scarce_ ? MDB_NORDAHEAD : 0);
    check(mdb_env_open(env_, options.folder.c_str(), flags, 0600), "open");
    MDB_txn *txn;
    check(mdb_txn_begin(env_, nullptr, 0, &txn), "writing");
    check(mdb_dbi_open(txn, nullptr, 0, &dbi_), "table");
    check(mdb_txn_commit(txn), "commit");
  }
  ~LmdbStore() override { mdb_env_close(env_); }
  std::unique_ptr<Reader> reader() override { return std::make_unique<LmdbReader>(env_, dbi_); }
  std::unique_ptr<Writer> writer(bool ascending) override {
    return std::make_unique<LmdbWriter>(env_, dbi_, durable_, ascending);
  }
  void settle() override { check(mdb_env_sync(env_, 1), "sync"); }
  std::string settings() const override {
    return std::string("MDB_NOTLS, MDB_NOSYNC for buffered commits, MDB_APPEND for ascending keys") +
           (scarce_ ? ", MDB_NORDAHEAD" : "") + "; the page cache is its cache";
  }

private:
  static size_t map_size(const StoreOptions &options) {
    constexpr size_t least = size_t{1} << 30;
    return (least + 8 * options.data_bytes) / least * least;
  }

  MDB_env *env_ = nullptr;
  MDB_dbi dbi_ = 0;
  bool scarce_;
  std::atomic<bool> durable_{false};
};

} // namespace

const StoreKind lmdb_kind = {
    "lmdb", "LMDB",
    [] {
      int major, minor, patch;
      mdb_version(&major, &minor, &patch);
      return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
    },
    [](const StoreOptions &options) -> std::unique_ptr<Store> { return std::make_unique<LmdbStore>(options); }};

} // namespace bench

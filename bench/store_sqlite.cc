/* SQLite behind store.h: one table of blobs, WITHOUT ROWID for small records as its documentation advises, write-ahead log,
 * statements prepared once. Durable commits: synchronous FULL; buffered ones: OFF. A connection a thread. */
#include <sqlite3.h>

#include "common.h"
#include "store.h"

namespace bench {
namespace {

class Connection {
public:
  explicit Connection(const StoreOptions &options) {
    std::string path = options.folder + "/data.sqlite";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    check(sqlite3_open_v2(path.c_str(), &db_, flags, nullptr), "open");
    sqlite3_busy_timeout(db_, 60000);
    run("PRAGMA journal_mode=WAL");
    run("PRAGMA synchronous=OFF");
    run(("PRAGMA cache_size=-" + std::to_string(options.cache >> 10)).c_str());
    if (!options.scarce) run(("PRAGMA mmap_size=" + std::to_string(options.cache)).c_str());
    constexpr size_t small = 1024;
    run(options.value_size <= small ? "CREATE TABLE IF NOT EXISTS kv(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID"
                                    : "CREATE TABLE IF NOT EXISTS kv(k BLOB PRIMARY KEY, v BLOB)");
  }
  Connection(const Connection &) = delete;
  Connection &operator=(const Connection &) = delete;
  ~Connection() { check(sqlite3_close(db_), "close"); }
  void check(int status, const char *what) {
    if (status != SQLITE_OK && status != SQLITE_ROW && status != SQLITE_DONE)
      bench_die("SQLite: %s: %s", what, sqlite3_errmsg(db_));
  }
  void run(const char *text) { check(sqlite3_exec(db_, text, nullptr, nullptr, nullptr), text); }
  sqlite3_stmt *prepare(const char *text) {
    sqlite3_stmt *statement;
    check(sqlite3_prepare_v3(db_, text, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr), text);
    return statement;
  }
  void bind(sqlite3_stmt *statement, int at, Bytes bytes) {
    check(sqlite3_bind_blob64(statement, at, bytes.data(), bytes.size(), SQLITE_STATIC), "bind");
  }

private:
  sqlite3 *db_ = nullptr;
};

Bytes column(sqlite3_stmt *statement, int at) {
  const void *data = sqlite3_column_blob(statement, at);
  return {static_cast<const char *>(data), static_cast<size_t>(sqlite3_column_bytes(statement, at))};
}

class SqliteReader final : public Reader {
public:
  explicit SqliteReader(const StoreOptions &options)
      : connection_(options), get_(connection_.prepare("SELECT v FROM kv WHERE k=?")),
        up_(connection_.prepare("SELECT k,v FROM kv WHERE k>=? ORDER BY k")),
        down_(connection_.prepare("SELECT k,v FROM kv ORDER BY k DESC")) {
    connection_.run("BEGIN");
  }
  ~SqliteReader() override {
    for (sqlite3_stmt *statement : {get_, up_, down_}) sqlite3_finalize(statement);
    if (one_moment_) connection_.run("COMMIT");
  }
  void refresh() override {
    for (sqlite3_stmt *statement : {get_, up_, down_}) sqlite3_reset(statement);
    if (one_moment_) connection_.run("COMMIT");
    one_moment_ = false;
  }
  bool get(Bytes key, Bytes *value) override {
    sqlite3_reset(get_);
    connection_.bind(get_, 1, key);
    if (!step(get_)) return false;
    *value = column(get_, 0);
    return true;
  }
  bool first(Record *record) override { return seek(Bytes("", 0), record); }
  bool last(Record *record) override {
    sqlite3_reset(down_);
    return move(down_, record);
  }
  bool seek(Bytes key, Record *record) override {
    sqlite3_reset(up_);
    sought_.assign(key);
    connection_.bind(up_, 1, sought_);
    return move(up_, record);
  }
  bool next(Record *record) override { return move(up_, record); }
  bool prev(Record *record) override { return move(down_, record); }

private:
  bool step(sqlite3_stmt *statement) {
    int status = sqlite3_step(statement);
    connection_.check(status, "step");
    return status == SQLITE_ROW;
  }
  bool move(sqlite3_stmt *statement, Record *record) {
    if (!step(statement)) return false;
    *record = {column(statement, 0), column(statement, 1)};
    return true;
  }

  Connection connection_;
  sqlite3_stmt *get_, *up_, *down_;
  std::string sought_;
  bool one_moment_ = true;
};

class SqliteWriter final : public Writer {
public:
  explicit SqliteWriter(const StoreOptions &options)
      : connection_(options), put_(connection_.prepare("INSERT OR REPLACE INTO kv VALUES(?,?)")) {}
  ~SqliteWriter() override { sqlite3_finalize(put_); }
  void put(const Record *records, size_t count, Commit commit) override {
    bool wanted = commit == Commit::durable;
    if (wanted != durable_) connection_.run(wanted ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=OFF");
    durable_ = wanted;
    if (count > 1) connection_.run("BEGIN IMMEDIATE");
    for (size_t i = 0; i < count; i++) {
      connection_.bind(put_, 1, records[i].key);
      connection_.bind(put_, 2, records[i].value);
      connection_.check(sqlite3_step(put_), "put");
      connection_.check(sqlite3_reset(put_), "put");
    }
    if (count > 1) connection_.run("COMMIT");
  }

private:
  Connection connection_;
  sqlite3_stmt *put_;
  bool durable_ = false;
};

class SqliteStore final : public Store {
public:
  explicit SqliteStore(const StoreOptions &options) : options_(options), connection_(options) {}
  std::unique_ptr<Reader> reader() override { return std::make_unique<SqliteReader>(options_); }
  std::unique_ptr<Writer> writer(bool) override { return std::make_unique<SqliteWriter>(options_); }
  void settle() override { connection_.run("PRAGMA wal_checkpoint(TRUNCATE)"); }
  std::string settings() const override {
    return "journal_mode WAL, synchronous OFF for buffered commits and FULL for durable ones, cache_size " +
           std::to_string(options_.cache >> 20) + " MiB" + (options_.scarce ? "" : ", mmap_size the same") +
           ", WITHOUT ROWID for small records; the rest by default";
  }

private:
  StoreOptions options_;
  Connection connection_;
};

} // namespace

const StoreKind sqlite_kind = {
    "sqlite", "SQLite", [] { return std::string(sqlite3_libversion()); },
    [](const StoreOptions &options) -> std::unique_ptr<Store> { return std::make_unique<SqliteStore>(options); }};

} // namespace bench

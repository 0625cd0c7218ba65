/* What is done to every store, in the same way and with the same records; and the session in which a store's process does it. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "common.h"
#include "store.h"

namespace bench {

struct Settings {
  uint64_t records = 0, value_size = 100, cache = 0, write_buffer = 0, seed = 1;
  double slice_seconds = 0; /* how long a slice of reads may take */
  double patience = 0;      /* of StoreOptions */
};

/* What lies in the store when a workload starts. */
enum class Data {
  none,       /* a fresh store in a fresh process */
  none_large, /* the same, for large values */
  filled,     /* every record once or more, put in random order; settled */
  compacted,  /* the same, and brought into the shape that is best to read */
  filled_large,
  scarce, /* filled, reopened with nothing in the page cache, and memory for a quarter of the data (cgroup.h) */
};

/* What one slice of a workload came to; passes through a pipe as it is. */
struct Slice {
  double seconds, settle_seconds; /* settling is not part of seconds */
  double cpu_seconds;             /* processor time of all threads, without settling */
  uint64_t operations;
  uint64_t background_writes; /* puts of another thread meanwhile, not in operations */
  bench_io io;                /* settling included */
  uint64_t user_bytes;        /* key and value bytes put */
  uint64_t peak_memory;       /* resident, mapped files included */
  uint64_t disk;              /* bytes of the store's folder */
  uint64_t memory_limit;      /* 0: none was set */
};

class Session {
public:
  /* In a folder that is empty, or holds (data: filled) what another process left: then no version is known. */
  Session(const StoreKind &kind, const Settings &settings, const std::string &folder, Data data);

  Store &store() { return *store_; }
  const Records &records() const { return records_; }
  const Settings &settings() const { return settings_; }
  Random &random() { return random_; }
  uint64_t memory_limit() const { return memory_limit_; }

  /* Versions: every record has one of base..top. */
  uint32_t base() const { return base_; }
  uint32_t top() const { return top_; }
  uint32_t next_version() { return ++top_; }
  void all_have(uint32_t version) { base_ = version; }
  std::atomic<uint64_t> &added() { return added_; } /* keys beyond the first records */

  /* Puts every record once in random order, and settles. */
  void fill();
  /* Makes what is filled compacted or scarce. */
  void turn_into(Data data);
  /* Reads all of it once, and that everything is there. */
  void warm();

private:
  void open(bool scarce);

  const StoreKind &kind_;
  const Settings settings_;
  const std::string folder_;
  const Records records_;
  Random random_;
  std::unique_ptr<Store> store_;
  uint32_t base_ = 0, top_ = 0;
  std::atomic<uint64_t> added_{0};
  uint64_t memory_limit_ = 0;
};

struct Workload {
  const char *name, *what;
  Data needs;
  unsigned threads;
  bool settles; /* the store's settling is measured beside it */
  Data leaves;  /* what lies in the store afterwards */
  void (*run)(Session &session, const Workload &workload, Slice *slice);
};

const std::vector<Workload> &workloads();
/* What is measured by ending a process and not in one: workload.run is null, the parent does it. */
bool is_reopen(const Workload &workload);
/* Commits a number of durable batches of new versions; then the process may be killed. */
void put_before_crash(Session &session);
/* What put_before_crash put last must be there. */
void check_after_crash(Store &store, const Records &records);

/* Value bytes of a workload with large values. */
constexpr size_t large_value = 100000;
inline bool is_large(Data data) { return data == Data::none_large || data == Data::filled_large; }
/* The records of a session: as many bytes of large ones as of small ones. */
Records records_of(const Settings &settings, Data data);

/* Runs a slice; fills in everything. */
Slice run_slice(Session &session, const Workload &workload, const std::string &folder);

} // namespace bench

#endif

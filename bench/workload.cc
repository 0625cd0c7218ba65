/* Owns: the workloads. Each runs for a slice: a number of operations, or until the slice's time is over.
 *
 * Always true: every value read is verified, every scan's keys are compared with those that must come, and whatever is wrong
 * ends the program. Random choices are made before the clock starts.
 *
 * See: session.cc for what surrounds a slice, records.h for what verifying means. */
#include "workload.h"

#include <algorithm>
#include <numeric>
#include <thread>
#include <unistd.h>

#include "zipf.h"

namespace bench {
namespace {

constexpr size_t batch_records = 1000;
constexpr uint64_t paced_writes_a_second = 20000;
constexpr double choices_a_second = 4e6; /* made beforehand for a slice of one second */

/* ---- parts ------------------------------------------------------------------------------------------------------- */

/* Until `seconds` have passed, looked at once in so many calls. */
class Deadline {
public:
  explicit Deadline(double seconds) : end_(bench_now() + static_cast<uint64_t>(seconds * 1e9)) {}
  bool over(uint64_t i) const { return i % 64 == 63 && bench_now() > end_; }

private:
  uint64_t end_;
};

/* From its making until stop(): wall time, and processor time of all threads. */
class Stopwatch {
public:
  void stop(Slice *slice) const {
    slice->seconds = bench_seconds_since(start_);
    slice->cpu_seconds = cpu_now() - cpu_start_;
  }

private:
  static double cpu_now() {
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
  }

  double cpu_start_ = cpu_now();
  uint64_t start_ = bench_now();
};

void must(bool good, const char *what) {
  if (!good) bench_die("verification failed: %s", what);
}

std::vector<uint32_t> random_ranks(Session &s, size_t count) {
  std::vector<uint32_t> ranks(count);
  for (uint32_t &rank : ranks) rank = static_cast<uint32_t>(s.random().below(s.records().count()));
  return ranks;
}

size_t choices(const Session &s) { return static_cast<size_t>(s.settings().slice_seconds * choices_a_second) + 64; }

std::vector<uint32_t> all_ranks(Session &s, bool shuffled) {
  std::vector<uint32_t> ranks(s.records().count());
  std::iota(ranks.begin(), ranks.end(), 0);
  for (size_t i = ranks.size(); shuffled && i > 1; i--) std::swap(ranks[i - 1], ranks[s.random().below(i)]);
  return ranks;
}

struct Put {
  size_t batch;
  Commit commit;
  uint32_t version;
};

void put_ranks(Session &s, Writer &writer, const uint32_t *ranks, size_t count, const Put &how) {
  const Records &records = s.records();
  const size_t size = Records::key_size + records.value_size();
  std::string bytes(how.batch * size, '\0');
  std::vector<Record> group(how.batch);
  for (size_t at = 0; at < count; at += how.batch) {
    size_t taken = std::min(how.batch, count - at);
    for (size_t i = 0; i < taken; i++) {
      char *key = bytes.data() + i * size, *value = key + Records::key_size;
      records.key(ranks[at + i], key);
      records.value({key, Records::key_size}, how.version, value);
      group[i] = {{key, Records::key_size}, {value, records.value_size()}};
    }
    writer.put(group.data(), taken, how.commit);
  }
}

void expect(Session &s, Reader &reader, Bytes key) {
  Bytes value;
  must(reader.get(key, &value), "a record is missing");
  must(s.records().verify(key, value, s.base(), s.top()), "a value is wrong");
}

/* ---- fills --------------------------------------------------------------------------------------------------------- */

void fill_in_batches(Session &s, Slice *slice, bool shuffled, size_t batch) {
  std::vector<uint32_t> ranks = all_ranks(s, shuffled);
  std::unique_ptr<Writer> writer = s.store().writer(!shuffled);
  uint32_t version = s.next_version();
  Stopwatch watch;
  put_ranks(s, *writer, ranks.data(), ranks.size(), {batch, Commit::buffered, version});
  watch.stop(slice);
  slice->operations = ranks.size();
  s.all_have(version);
}

void fill_sequential(Session &s, const Workload &, Slice *slice) { fill_in_batches(s, slice, false, batch_records); }
void fill_random(Session &s, const Workload &, Slice *slice) { fill_in_batches(s, slice, true, batch_records); }
void fill_large(Session &s, const Workload &, Slice *slice) { fill_in_batches(s, slice, true, 1); }

void fill_single(Session &s, const Workload &, Slice *slice) {
  constexpr size_t most = 200000;
  std::vector<uint32_t> ranks = all_ranks(s, true);
  std::unique_ptr<Writer> writer = s.store().writer(false);
  uint32_t version = s.next_version();
  Stopwatch watch;
  slice->operations = std::min(ranks.size() / 4, most);
  put_ranks(s, *writer, ranks.data(), slice->operations, {1, Commit::buffered, version});
  watch.stop(slice);
}

/* Calls work(thread number) in so many threads at once, timed until the last has ended. */
template <class Work> void in_threads(unsigned threads, Slice *slice, const Work &work) {
  if (threads == 1) {
    Stopwatch watch;
    work(0);
    return watch.stop(slice);
  }
  std::atomic<unsigned> ready{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> running;
  for (unsigned t = 0; t < threads; t++)
    running.emplace_back([&, t] {
      ready++;
      while (!go) std::this_thread::yield();
      work(t);
    });
  while (ready < threads) std::this_thread::yield();
  Stopwatch watch;
  go = true;
  for (std::thread &thread : running) thread.join();
  watch.stop(slice);
}

void fill_durable(Session &s, const Workload &workload, Slice *slice) {
  std::vector<uint32_t> ranks = all_ranks(s, true);
  uint32_t version = s.next_version();
  std::vector<std::unique_ptr<Writer>> writers;
  for (unsigned t = 0; t < workload.threads; t++) writers.push_back(s.store().writer(false));
  std::atomic<uint64_t> done{0};
  size_t share = ranks.size() / workload.threads;
  double until = s.settings().slice_seconds;
  in_threads(workload.threads, slice, [&](unsigned t) {
    uint64_t start = bench_now();
    for (size_t i = 0; i < share && bench_seconds_since(start) < until; i++, done++)
      put_ranks(s, *writers[t], &ranks[t * share + i], 1, {1, Commit::durable, version});
  });
  slice->operations = done;
}

/* ---- point reads ----------------------------------------------------------------------------------------------------- */

uint64_t read_ranks(Session &s, Reader &reader, const std::vector<uint32_t> &ranks) {
  Deadline deadline(s.settings().slice_seconds);
  char key[Records::key_size];
  for (size_t i = 0; i < ranks.size(); i++) {
    s.records().key(ranks[i], key);
    expect(s, reader, {key, sizeof key});
    if (deadline.over(i)) return i + 1;
  }
  return ranks.size();
}

void read_random(Session &s, const Workload &workload, Slice *slice) {
  std::vector<std::vector<uint32_t>> ranks;
  std::vector<std::unique_ptr<Reader>> readers;
  for (unsigned t = 0; t < workload.threads; t++) {
    ranks.push_back(random_ranks(s, choices(s)));
    readers.push_back(s.store().reader());
  }
  std::atomic<uint64_t> done{0};
  in_threads(workload.threads, slice, [&](unsigned t) { done += read_ranks(s, *readers[t], ranks[t]); });
  slice->operations = done;
}

void read_missing(Session &s, const Workload &, Slice *slice) {
  std::vector<uint32_t> ranks = random_ranks(s, choices(s));
  std::unique_ptr<Reader> reader = s.store().reader();
  Deadline deadline(s.settings().slice_seconds);
  Stopwatch watch;
  uint64_t done = 0;
  while (done < ranks.size()) {
    char key[Records::key_size];
    Bytes value;
    s.records().absent(ranks[done], key);
    must(!reader->get({key, sizeof key}, &value), "a key was found that was never put");
    if (deadline.over(done++)) break;
  }
  watch.stop(slice);
  slice->operations = done;
}

void read_many(Session &s, const Workload &, Slice *slice) {
  constexpr size_t group = 16;
  std::vector<uint32_t> ranks = random_ranks(s, choices(s) / group * group);
  std::unique_ptr<Reader> reader = s.store().reader();
  Deadline deadline(s.settings().slice_seconds);
  char bytes[group][Records::key_size];
  Bytes keys[group], values[group];
  Stopwatch watch;
  uint64_t done = 0;
  while (done < ranks.size()) {
    for (size_t i = 0; i < group; i++) {
      s.records().key(ranks[done + i], bytes[i]);
      keys[i] = {bytes[i], Records::key_size};
    }
    reader->get_many(keys, group, values);
    for (size_t i = 0; i < group; i++)
      must(values[i].data() && s.records().verify(keys[i], values[i], s.base(), s.top()), "a value is wrong");
    done += group;
    if (deadline.over(63)) break;
  }
  watch.stop(slice);
  slice->operations = done;
}

/* ---- scans ----------------------------------------------------------------------------------------------------------- */

void expect_record(Session &s, uint64_t rank, const Record &record) {
  char key[Records::key_size];
  s.records().key(rank, key);
  must(record.key == Bytes(key, sizeof key), "a scan shows another key than must come");
  must(s.records().verify(record.key, record.value, s.base(), s.top()), "a value in a scan is wrong");
}

void read_sequential(Session &s, const Workload &, Slice *slice) {
  std::unique_ptr<Reader> reader = s.store().reader();
  Record record;
  Stopwatch watch;
  uint64_t rank = 0;
  for (bool more = reader->first(&record); more; more = reader->next(&record)) expect_record(s, rank++, record);
  watch.stop(slice);
  must(rank == s.records().count(), "a scan ends early");
  slice->operations = rank;
}

void read_reverse(Session &s, const Workload &, Slice *slice) {
  std::unique_ptr<Reader> reader = s.store().reader();
  Record record;
  Stopwatch watch;
  uint64_t rank = s.records().count();
  for (bool more = reader->last(&record); more; more = reader->prev(&record)) expect_record(s, --rank, record);
  watch.stop(slice);
  must(rank == 0, "a backward scan ends early");
  slice->operations = s.records().count();
}

void scan_short(Session &s, const Workload &, Slice *slice) {
  constexpr unsigned length = 100;
  std::vector<uint32_t> ranks = random_ranks(s, choices(s) / length + 1);
  std::unique_ptr<Reader> reader = s.store().reader();
  Deadline deadline(s.settings().slice_seconds);
  Stopwatch watch;
  uint64_t done = 0;
  while (done < ranks.size()) {
    uint64_t rank = ranks[done++], end = std::min(rank + length, s.records().count());
    char key[Records::key_size];
    Record record;
    s.records().key(rank, key);
    bool more = reader->seek({key, sizeof key}, &record);
    for (; rank < end; more = ++rank < end && reader->next(&record)) {
      must(more, "a short scan ends early");
      expect_record(s, rank, record);
    }
    if (deadline.over(63)) break;
  }
  watch.stop(slice);
  slice->operations = done;
}

/* ---- reads and writes ------------------------------------------------------------------------------------------------ */

void put_one(Session &s, Writer &writer, Bytes key, uint32_t version, std::string &value) {
  s.records().value(key, version, value.data());
  Record record = {key, value};
  writer.put(&record, 1, Commit::buffered);
}

void read_while_writing(Session &s, const Workload &, Slice *slice) {
  std::vector<uint32_t> read = random_ranks(s, choices(s)), written = random_ranks(s, choices(s));
  std::unique_ptr<Writer> writer = s.store().writer(false);
  std::unique_ptr<Reader> reader = s.store().reader();
  uint32_t version = s.next_version();
  std::atomic<bool> stop{false};
  uint64_t puts = 0;
  std::thread background([&] {
    std::string value(s.records().value_size(), '\0');
    char key[Records::key_size];
    uint64_t start = bench_now();
    for (; !stop; puts++) {
      while (!stop && bench_seconds_since(start) * paced_writes_a_second < static_cast<double>(puts)) usleep(200);
      s.records().key(written[puts % written.size()], key);
      put_one(s, *writer, {key, sizeof key}, version, value);
    }
  });
  Deadline deadline(s.settings().slice_seconds);
  char key[Records::key_size];
  Stopwatch watch;
  uint64_t done = 0;
  while (done < read.size()) {
    s.records().key(read[done], key);
    reader->refresh();
    expect(s, *reader, {key, sizeof key});
    if (deadline.over(done++)) break;
  }
  watch.stop(slice);
  stop = true;
  background.join();
  slice->operations = done;
  slice->background_writes = puts;
}

/* ---- YCSB -------------------------------------------------------------------------------------------------------------- */

/* Shares in percent; what is left is reads. */
struct Mix {
  unsigned update, insert, scan, modify;
  bool latest;
};

struct Step {
  uint64_t rank; /* of a Zipf distribution: 0 is the most popular */
  uint32_t key;  /* the same rank scattered over the keys */
  uint8_t dice;  /* 0..99 */
  uint8_t length;
};

class Ycsb {
public:
  Ycsb(Session &s, const Mix &mix)
      : s_(s), mix_(mix), reader_(s.store().reader()), writer_(s.store().writer(false)), version_(s.next_version()),
        value_(s.records().value_size(), '\0') {}

  std::vector<Step> steps(size_t count) {
    constexpr unsigned scan_most = 100;
    Zipf zipf(s_.records().count());
    std::vector<Step> steps(count);
    for (Step &step : steps) {
      step.rank = zipf.next(s_.random());
      step.key = static_cast<uint32_t>(mix(step.rank) % s_.records().count());
      step.dice = static_cast<uint8_t>(s_.random().below(100));
      step.length = static_cast<uint8_t>(1 + s_.random().below(scan_most));
    }
    return steps;
  }

  void take(const Step &step) {
    unsigned dice = step.dice;
    char key[Records::key_size];
    Bytes bytes(key, sizeof key);
    if (dice < mix_.insert) {
      s_.records().added(s_.added(), key);
      put_one(s_, *writer_, bytes, version_, value_);
      s_.added()++;
      return;
    }
    choose(step, key);
    dice -= mix_.insert;
    if (dice < mix_.update) return put_one(s_, *writer_, bytes, version_, value_);
    reader_->refresh();
    dice -= mix_.update;
    if (dice < mix_.scan) return scan(bytes, step.length);
    expect(s_, *reader_, bytes);
    if (dice - mix_.scan < mix_.modify) put_one(s_, *writer_, bytes, version_, value_);
  }

private:
  void choose(const Step &step, char *key) {
    uint64_t added = s_.added();
    if (!mix_.latest)
      s_.records().key(step.key, key);
    else if (step.rank < added)
      s_.records().added(added - 1 - step.rank, key);
    else
      s_.records().key(s_.records().count() - 1 - (step.rank - added), key);
  }

  void scan(Bytes key, unsigned length) {
    Record record;
    std::string before;
    bool more = reader_->seek(key, &record);
    must(more && record.key == key, "a scan does not begin where it should");
    for (unsigned i = 0; more && i < length; i++) {
      must(s_.records().verify(record.key, record.value, s_.base(), s_.top()), "a value in a scan is wrong");
      must(before < record.key, "a scan is out of order");
      before.assign(record.key);
      more = reader_->next(&record);
    }
  }

  Session &s_;
  Mix mix_;
  std::unique_ptr<Reader> reader_;
  std::unique_ptr<Writer> writer_;
  uint32_t version_;
  std::string value_;
};

void ycsb(Session &s, const Mix &mix, Slice *slice) {
  Ycsb run(s, mix);
  std::vector<Step> steps = run.steps(choices(s) / 2);
  Deadline deadline(s.settings().slice_seconds);
  Stopwatch watch;
  uint64_t done = 0;
  while (done < steps.size()) {
    run.take(steps[done]);
    if (deadline.over(done++)) break;
  }
  watch.stop(slice);
  slice->operations = done;
}

void ycsb_a(Session &s, const Workload &, Slice *slice) { ycsb(s, {50, 0, 0, 0, false}, slice); }
void ycsb_b(Session &s, const Workload &, Slice *slice) { ycsb(s, {5, 0, 0, 0, false}, slice); }
void ycsb_c(Session &s, const Workload &, Slice *slice) { ycsb(s, {0, 0, 0, 0, false}, slice); }
void ycsb_d(Session &s, const Workload &, Slice *slice) { ycsb(s, {0, 5, 0, 0, true}, slice); }
void ycsb_e(Session &s, const Workload &, Slice *slice) { ycsb(s, {0, 5, 95, 0, false}, slice); }
void ycsb_f(Session &s, const Workload &, Slice *slice) { ycsb(s, {0, 0, 0, 50, false}, slice); }

/* ---- crash ------------------------------------------------------------------------------------------------------------- */

constexpr unsigned crash_batches = 100;
constexpr uint64_t crash_batch = 100;
constexpr uint32_t crash_version = 1000000; /* above all others */

} // namespace

void put_before_crash(Session &s) {
  std::unique_ptr<Writer> writer = s.store().writer(false);
  std::vector<uint32_t> ranks(std::min(crash_batches * crash_batch, s.records().count()));
  std::iota(ranks.begin(), ranks.end(), 0);
  put_ranks(s, *writer, ranks.data(), ranks.size(), {crash_batch, Commit::durable, crash_version});
}

void check_after_crash(Store &store, const Records &records) {
  std::unique_ptr<Reader> reader = store.reader();
  uint64_t count = std::min(crash_batches * crash_batch, records.count());
  for (uint64_t rank = 0; rank < count; rank++) {
    char key[Records::key_size];
    Bytes value;
    records.key(rank, key);
    must(reader->get({key, sizeof key}, &value), "a durable record is gone after the crash");
    must(records.verify({key, sizeof key}, value, crash_version, crash_version),
         "a durable value is wrong after the crash");
  }
}

bool is_reopen(const Workload &workload) { return !workload.run; }

const std::vector<Workload> &workloads() {
  static const std::vector<Workload> table = {
      {"fillseq", "ascending keys, batches of 1,000", Data::none, 1, true, Data::none, fill_sequential},
      {"fillsync", "one put a durable commit", Data::none, 1, false, Data::none, fill_durable},
      {"fillsync-8", "the same, 8 threads", Data::none, 8, false, Data::none, fill_durable},
      {"fillrandom-1", "random keys, one put a commit, buffered", Data::none, 1, true, Data::none, fill_single},
      {"fillsync-100k", "values of 100 kB, one put a durable commit", Data::none_large, 1, true, Data::none_large,
       fill_durable},
      {"fill-100k", "values of 100 kB, random keys, one put a commit, buffered", Data::none_large, 1, true,
       Data::filled_large, fill_large},
      {"overwrite-100k", "all of them again, in another random order", Data::filled_large, 1, true, Data::filled_large,
       fill_large},
      {"read-100k", "values of 100 kB, random keys", Data::filled_large, 1, false, Data::filled_large, read_random},
      {"fillrandom", "random keys, batches of 1,000, buffered", Data::none, 1, true, Data::filled, fill_random},
      {"overwrite", "all again, in another random order", Data::filled, 1, true, Data::filled, fill_random},
      {"readrandom", "random gets", Data::filled, 1, false, Data::filled, read_random},
      {"readrandom-2", "the same, 2 threads", Data::filled, 2, false, Data::filled, read_random},
      {"readmissing", "gets of keys that are not there", Data::filled, 1, false, Data::filled, read_missing},
      {"getmany-16", "random gets, 16 a call", Data::filled, 1, false, Data::filled, read_many},
      {"readseq", "all of it in order", Data::filled, 1, false, Data::filled, read_sequential},
      {"readreverse", "all of it backwards", Data::filled, 1, false, Data::filled, read_reverse},
      {"scan-100", "seek and 100 records", Data::filled, 1, false, Data::filled, scan_short},
      {"readrandom-compact", "after compaction: random gets", Data::compacted, 1, false, Data::compacted, read_random},
      {"readseq-compact", "after compaction: all of it in order", Data::compacted, 1, false, Data::compacted,
       read_sequential},
      {"readreverse-compact", "after compaction: all of it backwards", Data::compacted, 1, false, Data::compacted,
       read_reverse},
      {"scan-100-compact", "after compaction: seek and 100 records", Data::compacted, 1, false, Data::compacted,
       scan_short},
      {"readwhilewriting", "random gets beside a writer of 20,000 puts a second", Data::filled, 1, false, Data::filled,
       read_while_writing},
      {"ycsb-a", "50 % reads, 50 % updates, Zipf", Data::filled, 1, false, Data::filled, ycsb_a},
      {"ycsb-b", "95 % reads, 5 % updates, Zipf", Data::filled, 1, false, Data::filled, ycsb_b},
      {"ycsb-c", "reads, Zipf", Data::filled, 1, false, Data::filled, ycsb_c},
      {"ycsb-f", "50 % reads, 50 % read-modify-write, Zipf", Data::filled, 1, false, Data::filled, ycsb_f},
      {"ycsb-d", "95 % reads of the latest, 5 % inserts", Data::filled, 1, false, Data::filled, ycsb_d},
      {"ycsb-e", "95 % scans of 1 to 100, 5 % inserts", Data::filled, 1, false, Data::filled, ycsb_e},
      {"reopen", "open after the process was killed", Data::filled, 1, false, Data::filled, nullptr},
      {"readrandom-scarce", "random gets, memory for a quarter of the data", Data::scarce, 1, false, Data::scarce,
       read_random},
  };
  return table;
}

} // namespace bench

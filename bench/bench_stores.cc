/* Question: how fast are the stores beside each other, at the same work, with the same records, memory and durability?
 *
 * Every store has a process of its own. For each workload the stores take turns, round by round (A B A B), and only the one
 * whose turn it is runs at all. Google Benchmark calls the slices in that order, prints and writes them (--benchmark_out);
 * bench/report.py makes medians and ratios of them. Every value read is verified. */
#include <algorithm>
#include <benchmark/benchmark.h>
#include <filesystem>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

#include "worker.h"

namespace bench {
namespace {

struct Options {
  uint64_t records = 500000, value_size = 100, cache = 256 << 20, write_buffer = 8 << 20, rounds = 3, slice_ms = 250,
           patience_ms = 2300, seed = 1;
  const char *stores = "", *workloads = "", *folder = nullptr;
  bool list = false;
};

Options read_options(int argc, char **argv) {
  static Options o;
  const bench_option options[] = {
      {"--records", BENCH_COUNT, &o.records, "records of a store"},
      {"--value", BENCH_COUNT, &o.value_size, "bytes of a value"},
      {"--cache", BENCH_COUNT, &o.cache, "cache of pages or blocks of each store"},
      {"--write-buffer", BENCH_COUNT, &o.write_buffer, "memtable of each store that has one"},
      {"--rounds", BENCH_COUNT, &o.rounds, "slices of each workload and store"},
      {"--slice-ms", BENCH_COUNT, &o.slice_ms, "how long a slice may take, but for fills and whole scans"},
      {"--patience-ms", BENCH_COUNT, &o.patience_ms,
       "of idleness after which Wodan, which does some work only when idle for a second, has settled"},
      {"--stores", BENCH_TEXT, &o.stores, "only these, as a,b"},
      {"--workloads", BENCH_TEXT, &o.workloads, "only these, as a,b"},
      {"--dir", BENCH_TEXT, &o.folder, "where the stores lie meanwhile; else $TMPDIR or /tmp"},
      {"--seed", BENCH_COUNT, &o.seed, "of records and choices"},
      {"--list", BENCH_FLAG, &o.list, "tell the stores and workloads built in"},
  };
  bench_options(argc, argv,
                "Stores beside each other. Options of Google Benchmark (--benchmark_out=FILE, ...) are taken too.",
                options, std::size(options));
  if (o.value_size < Records::value_least || o.value_size > large_value || o.records < 1000 || o.rounds < 1)
    bench_die("1,000 records or more, values of %zu..%zu bytes, a round or more", Records::value_least, large_value);
  return o;
}

/* "" holds everything. */
bool holds(const char *list, const char *name) {
  std::istringstream words(list);
  bool any = false;
  for (std::string word; std::getline(words, word, ',');) {
    any = true;
    if (word == name) return true;
  }
  return !any;
}

void check_names(const char *list, const char *what, const std::vector<const char *> &known) {
  std::istringstream words(list);
  for (std::string word; std::getline(words, word, ',');)
    if (std::none_of(known.begin(), known.end(), [&](const char *name) { return word == name; }))
      bench_die("there is no %s '%s'; --list tells them", what, word.c_str());
}

void tell_all() {
  for (const StoreKind &kind : store_kinds())
    printf("store     %-20s %s %s\n", kind.name, kind.title, kind.version().c_str());
  for (const Workload &workload : workloads()) printf("workload  %-20s %s\n", workload.name, workload.what);
}

/* The store's settings: it is opened once, in a process of its own, for threads it makes would be missing in the processes
 * forked later. */
std::string settings_of(const StoreKind &kind, const Settings &settings, const std::string &folder) {
  int ends[2];
  if (pipe(ends) < 0) bench_die("no pipe");
  if (bench_fork() == 0) {
    std::filesystem::create_directories(folder);
    StoreOptions options = {folder,
                            records_of(settings, Data::filled).bytes(),
                            settings.write_buffer,
                            settings.cache,
                            settings.value_size,
                            0,
                            false};
    std::unique_ptr<Store> store = kind.open(options);
    std::string text = store->settings();
    bool written = write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    _exit(written ? 0 : 2);
  }
  close(ends[1]);
  std::string text;
  char part[4096];
  for (ssize_t size; (size = read(ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(size));
  close(ends[0]);
  int ended;
  if (wait(&ended) < 0 || ended) bench_die("%s cannot be opened", kind.title);
  std::filesystem::remove_all(folder);
  return text;
}

void describe(const StoreKind &kind, const Settings &settings, const std::string &folder) {
  std::string said = settings_of(kind, settings, folder);
  std::string title = kind.title + std::string(" ") + kind.version();
  benchmark::AddCustomContext(std::string("store/") + kind.name, title);
  benchmark::AddCustomContext(std::string("settings/") + kind.name, said);
  printf("%s: %s\n", title.c_str(), said.c_str());
}

void run(benchmark::State &state, Worker &worker, const Workload &workload) {
  Slice slice = {};
  for (auto _ : state) {
    slice = worker.run(workload);
    state.SetIterationTime(slice.seconds);
  }
  auto count = [&](const char *name, double value) { state.counters[name] = value; };
  state.SetItemsProcessed(static_cast<int64_t>(slice.operations));
  count("operations", static_cast<double>(slice.operations));
  count("seconds", slice.seconds);
  count("cpu_seconds", slice.cpu_seconds);
  count("settle_seconds", slice.settle_seconds);
  count("bytes_put", static_cast<double>(slice.user_bytes));
  count("bytes_written", static_cast<double>(slice.io.calls_written));
  count("device_written", static_cast<double>(slice.io.device_written));
  count("bytes_read", static_cast<double>(slice.io.calls_read));
  count("device_read", static_cast<double>(slice.io.device_read));
  count("peak_memory", static_cast<double>(slice.peak_memory));
  count("disk", static_cast<double>(slice.disk));
  if (slice.memory_limit) count("memory_limit", static_cast<double>(slice.memory_limit));
  if (slice.background_writes) count("background_writes", static_cast<double>(slice.background_writes));
}

void register_all(const Options &o, std::vector<std::unique_ptr<Worker>> &workers) {
  for (const Workload &workload : workloads()) {
    if (!holds(o.workloads, workload.name)) continue;
    benchmark::AddCustomContext(std::string("workload/") + workload.name, workload.what);
    for (uint64_t round = 0; round < o.rounds; round++)
      for (std::unique_ptr<Worker> &each : workers) {
        Worker &worker = *each;
        std::string name = std::string(workload.name) + "/" + worker.kind().name + "/" + std::to_string(round);
        benchmark::RegisterBenchmark(name.c_str(), [&](benchmark::State &state) { run(state, worker, workload); })
            ->Iterations(1)
            ->UseManualTime()
            ->Unit(benchmark::kMillisecond);
      }
  }
}

int measure(const Options &o) {
  std::vector<const char *> names, kinds;
  for (const Workload &workload : workloads()) names.push_back(workload.name);
  for (const StoreKind &kind : store_kinds()) kinds.push_back(kind.name);
  check_names(o.workloads, "workload", names);
  check_names(o.stores, "store", kinds);
  Settings settings = {o.records,
                       o.value_size,
                       o.cache,
                       o.write_buffer,
                       o.seed,
                       static_cast<double>(o.slice_ms) / 1e3,
                       static_cast<double>(o.patience_ms) / 1e3};
  std::string folder = bench_folder(o.folder);
  for (const bench_option &number : {bench_option{"records", BENCH_COUNT, &settings.records, ""},
                                     {"value", BENCH_COUNT, &settings.value_size, ""},
                                     {"cache", BENCH_COUNT, &settings.cache, ""},
                                     {"write_buffer", BENCH_COUNT, &settings.write_buffer, ""},
                                     {"seed", BENCH_COUNT, &settings.seed, ""}})
    benchmark::AddCustomContext(number.name, std::to_string(*static_cast<uint64_t *>(number.place)));
  benchmark::AddCustomContext("rounds", std::to_string(o.rounds));
  benchmark::AddCustomContext("slice_ms", std::to_string(o.slice_ms));
  std::vector<std::unique_ptr<Worker>> workers;
  for (const StoreKind &kind : store_kinds()) {
    if (!holds(o.stores, kind.name)) continue;
    describe(kind, settings, folder + "/description");
    workers.push_back(std::make_unique<Worker>(kind, settings, folder));
  }
  register_all(o, workers);
  return benchmark::RunSpecifiedBenchmarks() > 0 ? 0 : 2;
}

} // namespace
} // namespace bench

int main(int argc, char **argv) {
  benchmark::Initialize(&argc, argv);
  bench::Options options = bench::read_options(argc, argv);
  if (options.list) {
    bench::tell_all();
    return 0;
  }
  return bench::measure(options);
}

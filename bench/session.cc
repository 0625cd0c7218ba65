/* Owns: a store with its data in one process, and what is counted around a slice.
 *
 * Always true: counters are taken before a slice and after its settling, so bytes written late are the slice's that caused
 * them; peak memory is that of the slice alone.
 *
 * See: workload.h; worker.h for the process around it. */
#include <algorithm>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

#include "cgroup.h"
#include "workload.h"

namespace bench {
namespace {

constexpr uint64_t program_memory = 32 << 20; /* what a store's program takes besides its caches, with room to spare */

void reset_peak_memory() {
  FILE *file = fopen("/proc/self/clear_refs", "w");
  if (!file || fputs("5", file) < 0 || fclose(file)) bench_die("peak memory cannot be reset");
}

uint64_t peak_memory() {
  unsigned long long kib = 0;
  char line[256];
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "VmHWM: %llu", &kib) == 1) break;
  if (!file || fclose(file) || !kib) bench_die("/proc/self/status does not tell peak memory");
  return kib << 10;
}

void drop_pages(const std::string &folder) {
  for (const auto &entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    int file = open(entry.path().c_str(), O_RDONLY);
    if (file < 0 || fsync(file) < 0 || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED))
      bench_die("the page cache keeps %s", entry.path().filename().c_str());
    close(file);
  }
}

bench_io difference(const bench_io &after, const bench_io &before) {
  return {after.calls_read - before.calls_read, after.calls_written - before.calls_written,
          after.device_read - before.device_read, after.device_written - before.device_written};
}

} // namespace

Records records_of(const Settings &settings, Data data) {
  if (!is_large(data)) return {settings.records, settings.value_size, settings.seed};
  uint64_t bytes = settings.records * (Records::key_size + settings.value_size);
  return {std::max<uint64_t>(bytes / (Records::key_size + large_value), 16), large_value, settings.seed};
}

Session::Session(const StoreKind &kind, const Settings &settings, const std::string &folder, Data data)
    : kind_(kind), settings_(settings), folder_(folder), records_(records_of(settings, data)), random_(settings.seed) {
  if (!std::filesystem::is_empty(folder)) top_ = UINT32_MAX;
  open(false);
}

void Session::open(bool scarce) {
  StoreOptions options = {folder_,         records_.bytes(),      settings_.write_buffer,
                          settings_.cache, records_.value_size(), settings_.patience,
                          scarce};
  if (scarce) options.cache = records_.bytes() / 4;
  store_ = kind_.open(options);
}

void Session::warm() {
  std::unique_ptr<Reader> reader = store_->reader();
  Record record;
  uint64_t count = 0;
  for (bool more = reader->first(&record); more; more = reader->next(&record)) count++;
  if (count < records_.count()) bench_die("%s: only %llu records are there", kind_.title, (unsigned long long)count);
  for (uint64_t rank = 0; rank < records_.count(); rank++) {
    char key[Records::key_size];
    Bytes value;
    records_.key(rank, key);
    if (!reader->get({key, sizeof key}, &value)) bench_die("%s: a record is missing", kind_.title);
  }
}

void Session::fill() {
  const Workload *fill = nullptr;
  for (const Workload &workload : workloads())
    if (std::string_view(workload.name) == (records_.value_size() == large_value ? "fill-100k" : "fillrandom"))
      fill = &workload;
  Slice slice = {};
  fill->run(*this, *fill, &slice);
  store_->settle();
}

void Session::turn_into(Data data) {
  if (data == Data::compacted) {
    store_->compact();
  } else if (data == Data::scarce) {
    store_.reset();
    drop_pages(folder_);
    uint64_t most = records_.bytes() / 4 + program_memory;
    if (limit_memory(most)) memory_limit_ = most;
    open(true);
  }
}

Slice run_slice(Session &session, const Workload &workload, const std::string &folder) {
  Slice slice = {};
  reset_peak_memory();
  bench_io before = bench_io_now();
  workload.run(session, workload, &slice);
  uint64_t start = bench_now();
  if (workload.settles) session.store().settle();
  slice.settle_seconds = bench_seconds_since(start);
  slice.io = difference(bench_io_now(), before);
  if (workload.settles) slice.user_bytes = slice.operations * (Records::key_size + session.records().value_size());
  slice.peak_memory = peak_memory();
  slice.memory_limit = session.memory_limit();
  slice.disk = bench_disk_bytes(folder.c_str());
  return slice;
}

} // namespace bench

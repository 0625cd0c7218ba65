/* Owns: the small measurements as benchmarks of Google Benchmark: ns an operation, best told with
 * --benchmark_repetitions=5 --benchmark_report_aggregates_only. --benchmark_filter=REGEX chooses.
 * See: micro.h. */
#include <benchmark/benchmark.h>
#include <cstdlib>

#include "micro.h"

void *micro_allocate(size_t size) {
  void *memory = calloc(1, size);
  if (!memory) bench_die("out of memory");
  return memory;
}

void micro_use(uint64_t value) { benchmark::DoNotOptimize(value); }

namespace {

void run(benchmark::State &state, const micro &what) {
  void *of = what.create(what.which);
  while (state.KeepRunningBatch(static_cast<int64_t>(what.chunk))) what.run(of, what.chunk);
  state.SetItemsProcessed(state.iterations());
  if (what.bytes) state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(what.bytes));
  what.destroy(of);
}

void add(void *, const micro *what) {
  benchmark::RegisterBenchmark(what->name, [what = *what](benchmark::State &state) { run(state, what); });
}

} // namespace

int main(int argc, char **argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (auto *room : {micro_page_search, micro_page_codec, micro_memtable, micro_filter, micro_checksum, micro_space})
    room(add, nullptr);
  return benchmark::RunSpecifiedBenchmarks() > 0 ? 0 : 2;
}

/* The workloads of the benchmark: what one operation is, and the threads that run them. */
#ifndef WODAN_CLI_BENCH_WORK_H
#define WODAN_CLI_BENCH_WORK_H

#include <wodan/wodan.h>

#include "bench_records.h"
#include "histogram.h"

/* What an operation can find out, besides the library's statuses. */
enum { BENCH_MISSING = -1000, BENCH_WRONG = -1001, BENCH_UNEXPECTED = -1002 };

struct bench_thread;

struct bench_workload {
  const char *name;
  bool writes;
  bool threads; /* several threads may share the work */
  /* Number of operations for N records. */
  uint64_t (*operations)(uint64_t num);
  /* Part of the N records that is live afterwards: all, or all but half. */
  bool leaves_half;
  /* Operation number k. 0, a status, or one of the above. */
  int (*run)(struct bench_thread *thread, uint64_t k);
};

/* The workload of that name, of `size` bytes; NULL when there is none. */
const struct bench_workload *bench_workload_find(const char *name, size_t size);
/* The list for --help and messages. */
extern const char bench_workload_names[];

/* How a run ended. */
struct bench_outcome {
  int status;      /* of the first failed operation, 0 when all went well */
  uint64_t record; /* that operation's record */
  uint64_t operations;
  unsigned threads;
  uint64_t nanoseconds;
  struct histogram latency;
};

/* Runs all operations on the open database with up to `threads` threads. 0, or WODAN_ENOMEM when it could not start;
 * the outcome tells the rest. */
int bench_work_run(const struct bench_workload *workload, const struct bench_records *records, struct wodan_db *db,
                   unsigned threads, struct bench_outcome *outcome);

#endif

/* What: the operations of each workload, dealt to threads and timed one by one.
 *
 * Always true: every value read is compared with the one it must be, every absent key must be absent; the operations
 * are the same ones however many threads share them.
 *
 * Order: the clock is read once per operation; deriving key and value and the comparison are inside the time.
 *
 * See: bench_records.c; tests/cli/test_cli.sh. */
#include "bench_work.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"

struct bench_thread {
  const struct bench_workload *workload;
  const struct bench_records *records;
  struct wodan_db *db;
  struct wodan_cursor *cursor; /* readseq: opened by the first operation */
  uint64_t begin, end;         /* operations of this thread */
  uint64_t record;             /* index of the record in work */
  struct progress *progress;   /* of the first thread only */
  uint64_t step;               /* operations of all threads per one of this */
  int status;
  pthread_t id;
  struct histogram latency;
  unsigned char key[BENCH_KEY_SIZE_MAX];
  unsigned char value[BENCH_VALUE_SIZE_MAX];
  unsigned char found[BENCH_VALUE_SIZE_MAX];
};

static struct wodan_slice key_of(struct bench_thread *thread, uint64_t index, bool absent) {
  thread->record = index;
  bench_records_key(thread->records, index, absent, thread->key);
  return (struct wodan_slice){.data = thread->key, .size = thread->records->key_size};
}

static struct wodan_slice value_of(struct bench_thread *thread, uint64_t index) {
  bench_records_value(thread->records, index, thread->value);
  return (struct wodan_slice){.data = thread->value, .size = thread->records->value_size};
}

static int put(struct bench_thread *thread, uint64_t index, enum wodan_durability durability) {
  struct wodan_commit commit = {.durability = durability};
  return wodan_put(thread->db, key_of(thread, index, false), value_of(thread, index), &commit);
}

static int run_fillseq(struct bench_thread *thread, uint64_t k) { return put(thread, k, WODAN_BUFFERED); }

static int run_fillrandom(struct bench_thread *thread, uint64_t k) {
  return put(thread, bench_records_shuffle(thread->records, k), WODAN_BUFFERED);
}

static int run_fillsync(struct bench_thread *thread, uint64_t k) {
  return put(thread, bench_records_shuffle(thread->records, k), WODAN_DURABLE);
}

static int run_overwrite(struct bench_thread *thread, uint64_t k) {
  return put(thread, bench_records_random(thread->records, k, thread->records->num), WODAN_BUFFERED);
}

static int run_deleterandom(struct bench_thread *thread, uint64_t k) {
  return wodan_delete(thread->db, key_of(thread, bench_records_shuffle(thread->records, k), false), NULL);
}

static int run_readrandom(struct bench_thread *thread, uint64_t k) {
  uint64_t index = bench_records_random(thread->records, k, thread->records->num);
  struct wodan_slice key = key_of(thread, index, false);
  size_t size = 0;
  int status = wodan_get(thread->db, NULL, key, thread->found, sizeof thread->found, &size);
  if (status == WODAN_ENOTFOUND) return BENCH_MISSING;
  if (status == WODAN_ERANGE) return BENCH_WRONG;
  if (status != 0) return status;
  struct wodan_slice value = value_of(thread, index);
  return size == value.size && memcmp(thread->found, value.data, size) == 0 ? 0 : BENCH_WRONG;
}

static int run_readmissing(struct bench_thread *thread, uint64_t k) {
  uint64_t index = bench_records_random(thread->records, k, thread->records->num);
  size_t size = 0;
  struct wodan_slice key = key_of(thread, index, true);
  int status = wodan_get(thread->db, NULL, key, thread->found, sizeof thread->found, &size);
  if (status == 0 || status == WODAN_ERANGE) return BENCH_UNEXPECTED;
  return status == WODAN_ENOTFOUND ? 0 : status;
}

/* The cursor stands on record `index`, perhaps after records that are none of ours; moves it there. */
static int expect(struct bench_thread *thread, struct wodan_cursor *cursor, uint64_t index) {
  struct wodan_slice key = key_of(thread, index, false);
  for (;;) {
    struct wodan_slice at = wodan_cursor_key(cursor);
    size_t common = at.size < key.size ? at.size : key.size;
    int order = common == 0 ? -1 : memcmp(at.data, key.data, common);
    if (order > 0 || (order == 0 && at.size > key.size)) return BENCH_MISSING;
    if (order == 0 && at.size == key.size) break;
    int status = wodan_cursor_next(cursor);
    if (status != 0) return status == WODAN_DONE ? BENCH_MISSING : status;
  }
  struct wodan_slice found = wodan_cursor_value(cursor);
  struct wodan_slice value = value_of(thread, index);
  bool same = found.size == value.size && (value.size == 0 || memcmp(found.data, value.data, value.size) == 0);
  return same ? 0 : BENCH_WRONG;
}

static int run_readseq(struct bench_thread *thread, uint64_t k) {
  int status = 0;
  if (thread->cursor == NULL) {
    status = wodan_cursor_open(thread->db, NULL, &thread->cursor);
    if (status == 0) status = wodan_cursor_seek(thread->cursor, key_of(thread, k, false));
  } else {
    thread->record = k;
    status = wodan_cursor_next(thread->cursor);
  }
  if (status == WODAN_DONE) return BENCH_MISSING;
  return status == 0 ? expect(thread, thread->cursor, k) : status;
}

enum { SCAN_RECORDS = 100 };

static int run_scan100(struct bench_thread *thread, uint64_t k) {
  uint64_t num = thread->records->num;
  uint64_t count = num < SCAN_RECORDS ? num : SCAN_RECORDS;
  uint64_t first = bench_records_random(thread->records, k, num - count + 1);
  struct wodan_cursor *cursor = NULL;
  int status = wodan_cursor_open(thread->db, NULL, &cursor);
  if (status == 0) status = wodan_cursor_seek(cursor, key_of(thread, first, false));
  for (uint64_t i = 0; status == 0 && i < count; i++) {
    if (i > 0) status = wodan_cursor_next(cursor);
    if (status == 0) status = expect(thread, cursor, first + i);
  }
  wodan_cursor_close(cursor);
  return status == WODAN_DONE ? BENCH_MISSING : status;
}

static uint64_t as_many(uint64_t num) { return num; }
static uint64_t half_of(uint64_t num) { return num / 2; }
static uint64_t hundredth_of(uint64_t num) { return (num + SCAN_RECORDS - 1) / SCAN_RECORDS; }

static const struct bench_workload workloads[] = {
    {.name = "fillseq", .writes = true, .operations = as_many, .run = run_fillseq},
    {.name = "fillrandom", .writes = true, .operations = as_many, .run = run_fillrandom},
    {.name = "overwrite", .writes = true, .operations = as_many, .run = run_overwrite},
    {.name = "fillsync", .writes = true, .threads = true, .operations = as_many, .run = run_fillsync},
    {.name = "deleterandom", .writes = true, .operations = half_of, .leaves_half = true, .run = run_deleterandom},
    {.name = "readrandom", .threads = true, .operations = as_many, .run = run_readrandom},
    {.name = "readmissing", .threads = true, .operations = as_many, .run = run_readmissing},
    {.name = "readseq", .threads = true, .operations = as_many, .run = run_readseq},
    {.name = "scan100", .threads = true, .operations = hundredth_of, .run = run_scan100},
};

const char bench_workload_names[] =
    "fillseq, fillrandom, overwrite, fillsync, deleterandom, readrandom, readmissing, readseq, scan100";

const struct bench_workload *bench_workload_find(const char *name, size_t size) {
  for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
    if (strlen(workloads[i].name) == size && memcmp(workloads[i].name, name, size) == 0) return &workloads[i];
  }
  return NULL;
}

static void *run_thread(void *argument) {
  struct bench_thread *thread = argument;
  uint64_t before = progress_clock_ns();
  for (uint64_t k = thread->begin; k < thread->end; k++) {
    thread->status = thread->workload->run(thread, k);
    uint64_t now = progress_clock_ns();
    histogram_add(&thread->latency, now - before);
    before = now;
    if (thread->status != 0) break;
    if (thread->progress != NULL) progress_step(thread->progress, (k - thread->begin + 1) * thread->step);
  }
  wodan_cursor_close(thread->cursor);
  thread->cursor = NULL;
  return NULL;
}

/* Starts the threads but the first, runs that one here, and waits for all. 0 or WODAN_ENOMEM. */
static int run_all(struct bench_thread *threads, unsigned count) {
  unsigned started = 1;
  while (started < count && pthread_create(&threads[started].id, NULL, run_thread, &threads[started]) == 0) started++;
  int status = started == count ? 0 : WODAN_ENOMEM;
  if (status == 0) run_thread(&threads[0]);
  for (unsigned i = 1; i < started; i++) pthread_join(threads[i].id, NULL);
  return status;
}

int bench_work_run(const struct bench_workload *workload, const struct bench_records *records, struct wodan_db *db,
                   unsigned threads, struct bench_outcome *outcome) {
  uint64_t operations = workload->operations(records->num);
  if (!workload->threads) threads = 1;
  if (threads > operations) threads = operations == 0 ? 1 : (unsigned)operations;
  struct bench_thread *work = calloc(threads, sizeof *work);
  if (work == NULL) return WODAN_ENOMEM;
  struct progress progress;
  progress_start(&progress, workload->name, operations);
  for (unsigned i = 0; i < threads; i++) {
    uint64_t share = operations / threads;
    uint64_t rest = operations % threads;
    work[i].workload = workload;
    work[i].records = records;
    work[i].db = db;
    work[i].begin = share * i + (i < rest ? i : rest);
    work[i].end = work[i].begin + share + (i < rest ? 1 : 0);
    work[i].progress = i == 0 ? &progress : NULL;
    work[i].step = threads;
  }
  *outcome = (struct bench_outcome){.operations = operations, .threads = threads};
  uint64_t start = progress_clock_ns();
  int status = run_all(work, threads);
  outcome->nanoseconds = progress_clock_ns() - start;
  progress_end(&progress);
  for (unsigned i = 0; i < threads; i++) {
    histogram_merge(&outcome->latency, &work[i].latency);
    if (outcome->status == 0 && work[i].status != 0) {
      outcome->status = work[i].status;
      outcome->record = work[i].record;
    }
  }
  free(work);
  return status;
}

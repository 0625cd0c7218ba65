/* What: runs a fuzz target without libFuzzer, built by any compiler: given files, the seed corpus, or pseudo-random inputs
 * made from both.
 *
 *   fuzz_TARGET [--seeds DIR] [--smoke COUNT] [--seed NUMBER] [FILE|DIR]...
 *     FILE, DIR     runs the input, or every input in the folder
 *     --smoke       then also the seed corpus, and COUNT inputs made of the seeds and the given files by mutation
 *     --seeds DIR   writes the seed corpus there
 *     --size-max 0  prints the size of the longest input
 *
 * Always true: the same arguments run the same inputs. An input that ends the process, or does not end within a minute, is
 * written to a file, and the command that replays it is printed.
 *
 * Order: the input is kept aside before it runs, so that the signal handler has it; the sanitizers are told to end with
 * SIGABRT, which that handler sees.
 *
 * See: fuzz.h, README.md. */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "support/meter.h"
#include "support/random.h"

enum { SECONDS_MAX = 60, STACKED_MAX = 4 };

struct input {
  uint8_t *data;
  size_t size;
};

static struct input *pool;
static size_t pool_count;
static uint64_t random_state = 20261129;
static const char *program;

/* ---- when an input ends the process ------------------------------------------------------------------------------ */

static struct {
  const uint8_t *data;
  size_t size;
  char name[256]; /* of the file it came from, or will be written to */
  bool file;
} running;

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__asan_default_options(void) { return "abort_on_error=1:handle_abort=0:detect_leaks=1"; }
const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }

static void say(const char *text) {
  if (write(STDERR_FILENO, text, strlen(text)) < 0) _exit(3);
}

static void on_signal(int number) {
  if (!running.file) {
    int fd = open(running.name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, running.data, running.size) != (ssize_t)running.size) say("the input cannot be written\n");
    if (fd >= 0) close(fd);
  }
  say(number == SIGALRM ? "an input runs for too long; replay: " : "an input ends the process; replay: ");
  say(program);
  say(" ");
  say(running.name);
  say("\n");
  signal(number, SIG_DFL);
  raise(number == SIGALRM ? SIGABRT : number);
}

static void watch(void) {
  static const int numbers[] = {SIGABRT, SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  size_t count = sizeof numbers / sizeof numbers[0];
#ifdef __SANITIZE_ADDRESS__
  count = 2; /* the sanitizer's own handlers tell more, and end with SIGABRT */
#endif
  for (size_t i = 0; i < count; i++) signal(numbers[i], on_signal);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static void run(const uint8_t *data, size_t size) {
  /* A block of its own, so that a byte read behind the input shows. */
  uint8_t *copy = malloc(size ? size : 1);
  if (!copy) exit(2);
  if (size) memcpy(copy, data, size);
  running.data = data;
  running.size = size;
  alarm(SECONDS_MAX);
  LLVMFuzzerTestOneInput(copy, size);
  alarm(0);
  free(copy);
}

static void keep(const uint8_t *data, size_t size) {
  struct input *grown = realloc(pool, (pool_count + 1) * sizeof *pool);
  uint8_t *copy = malloc(size ? size : 1);
  if (!grown || !copy) exit(2);
  if (size) memcpy(copy, data, size);
  pool = grown;
  pool[pool_count++] = (struct input){copy, size};
}

static void run_file(const char *path) {
  uint8_t *data = malloc(fuzz_size_max + 1);
  FILE *file = fopen(path, "rb");
  if (!file || !data) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(2);
  }
  size_t size = fread(data, 1, fuzz_size_max + 1, file);
  fclose(file);
  if (size > fuzz_size_max) {
    fprintf(stderr, "%s: longer than %zu bytes\n", path, fuzz_size_max);
    exit(2);
  }
  running.file = true;
  snprintf(running.name, sizeof running.name, "%s", path);
  run(data, size);
  keep(data, size);
  free(data);
}

static int compare_names(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static void run_path(const char *path) {
  struct stat about;
  if (stat(path, &about) == 0 && S_ISDIR(about.st_mode)) {
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, compare_names);
    for (int i = 0; i < count; i++) {
      char name[512];
      snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
      if (entries[i]->d_name[0] != '.') run_file(name);
      free(entries[i]);
    }
    if (count >= 0) free(entries);
  } else {
    run_file(path);
  }
}

/* ---- seeds and mutation -------------------------------------------------------------------------------------------- */

static void name_run(const char *what, uint64_t number) {
  const char *slash = strrchr(program, '/');
  running.file = false;
  snprintf(running.name, sizeof running.name, "crash-%.100s-%s-%llu", slash ? slash + 1 : program, what,
           (unsigned long long)number);
}

static void each_seed(void (*use)(unsigned number, const uint8_t *data, size_t size, void *context), void *context) {
  uint8_t *data = malloc(fuzz_size_max);
  if (!data) exit(2);
  for (unsigned number = 0;; number++) {
    size_t size = fuzz_seed(number, data, fuzz_size_max);
    if (size == 0) break;
    use(number, data, size, context);
  }
  free(data);
}

static void write_seed(unsigned number, const uint8_t *data, size_t size, void *context) {
  char path[512];
  snprintf(path, sizeof path, "%s/seed-%02u", (const char *)context, number);
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(data, 1, size, file) != size || fclose(file)) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(2);
  }
}

static void run_seed(unsigned number, const uint8_t *data, size_t size, void *context) {
  (void)context;
  name_run("seed", number);
  run(data, size);
  keep(data, size);
}

static const uint64_t STRIKING[] = {0,          1,         2,          0x7f,           0x80,
                                    0xff,       0x7fff,    0xffff,     0x7fffffff,     0x80000000,
                                    0xffffffff, INT64_MAX, 1ull << 63, UINT64_MAX - 1, UINT64_MAX};

/* Without guidance, so it stays near what it got. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max) {
  if (size == 0) {
    if (size_max) data[0] = (uint8_t)random_next(&random_state);
    return size_max ? 1 : 0;
  }
  size_t at = random_below(&random_state, size), width = 1u << random_below(&random_state, 4);
  uint64_t value;
  switch (random_below(&random_state, 8)) {
  case 0: /* delete */
    if (size < 2) return size;
    width = 1 + random_below(&random_state, size - at < 8 ? size - at : 8);
    memmove(data + at, data + at + width, size - at - width);
    return size - width;
  case 1: /* insert */
    if (size == size_max) return size;
    memmove(data + at + 1, data + at, size - at);
    data[at] = (uint8_t)random_next(&random_state);
    return size + 1;
  case 2: /* copy a stretch */
    width = 1 + random_below(&random_state, size - at < 64 ? size - at : 64);
    memmove(data + at, data + random_below(&random_state, size - width + 1), width);
    return size;
  case 3:
    data[at] ^= (uint8_t)(1u << random_below(&random_state, 8));
    return size;
  case 4:
    data[at] = (uint8_t)(data[at] + 1 + random_below(&random_state, 2) * 254);
    return size;
  case 5:
    data[at] = (uint8_t)random_next(&random_state);
    return size;
  default:
    value = STRIKING[random_below(&random_state, sizeof STRIKING / sizeof STRIKING[0])];
    for (size_t i = 0; i < width && at + i < size; i++) data[at + i] = (uint8_t)(value >> 8 * i);
    return size;
  }
}

static void smoke(uint64_t count, uint64_t seed) {
  uint8_t *data = malloc(fuzz_size_max);
  if (!data || pool_count == 0) exit(2);
  for (uint64_t n = 0; n < count; n++) {
    random_state = seed * 0x100000001B3ull + n;
    const struct input *from = &pool[random_below(&random_state, pool_count)];
    size_t size = from->size;
    if (size) memcpy(data, from->data, size);
    for (uint64_t left = 1 + random_below(&random_state, STACKED_MAX); left > 0; left--)
      size = LLVMFuzzerCustomMutator(data, size, fuzz_size_max, (unsigned)random_next(&random_state));
    name_run("smoke", n);
    run(data, size);
  }
  free(data);
}

int main(int argc, char **argv) {
  uint64_t count = 0, seed = 1;
  bool seeds = false;
  program = argv[0];
  watch();
  bool searches = false;
  for (int i = 1; i < argc; i++) searches |= strcmp(argv[i], "--smoke") == 0;
  if (!searches) meter_use_heap(); /* files alone are a finding's replay */
  for (int i = 1; i < argc; i++) {
    if (strncmp(argv[i], "--", 2) != 0) {
      run_path(argv[i]);
    } else if (i + 1 == argc) {
      fprintf(stderr, "usage: %s [--seeds DIR] [--smoke COUNT] [--seed NUMBER] [FILE|DIR]...\n", argv[0]);
      return 2;
    } else if (strcmp(argv[i], "--seeds") == 0) {
      each_seed(write_seed, argv[++i]);
    } else if (strcmp(argv[i], "--size-max") == 0) {
      printf("%zu\n", fuzz_size_max);
      i++;
    } else if (strcmp(argv[i], "--smoke") == 0) {
      seeds = true;
      count = strtoull(argv[++i], NULL, 0);
    } else if (strcmp(argv[i], "--seed") == 0) {
      seed = strtoull(argv[++i], NULL, 0);
    }
  }
  if (seeds) each_seed(run_seed, NULL);
  if (seeds) smoke(count, seed);
  if (pool_count) printf("%zu inputs and %llu mutants of them, no finding\n", pool_count, (unsigned long long)count);
  for (size_t i = 0; i < pool_count; i++) free(pool[i].data);
  free(pool);
  return 0;
}

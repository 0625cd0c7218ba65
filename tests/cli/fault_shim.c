/* Owns: the allocations and the image's I/O of a command it is preloaded into: the n-th of a kind fails, as the board says.
 * Always true: without a board nothing is changed. Standard input and output are not touched: they do not use these calls.
 * See: tests/cli/test_cli_faults.c. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fault_board.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static struct fault_board *board;

enum outcome { DONE, FAILS, LIES };

static enum outcome outcome_of(enum fault_kind kind) {
  if (!board) return DONE;
  uint64_t call = atomic_fetch_add(&board->calls[kind], 1) + 1;
  if (board->kind != kind || board->at == 0 || call < board->at) return DONE;
  if (call == board->at || board->mode == FAULT_EVER) {
    atomic_fetch_add(&board->struck, 1);
    return FAILS;
  }
  if (board->mode != FAULT_LIES || (kind == FAULT_READ && call > board->at + 1)) return DONE;
  atomic_fetch_add(&board->lied, 1);
  return LIES;
}

/* Behind a write or flush that failed neither is done any more. */
static bool writes_are_lost(void) {
  return board && board->mode == FAULT_LIES && board->kind != FAULT_READ && atomic_load(&board->struck) > 0;
}

static bool fails(void) {
  if (outcome_of(FAULT_MEMORY) == DONE) return false;
  errno = ENOMEM;
  return true;
}

void *malloc(size_t size) { return fails() ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return fails() ? NULL : __libc_calloc(count, size); }
void *realloc(void *memory, size_t size) { return fails() ? NULL : __libc_realloc(memory, size); }
void *aligned_alloc(size_t alignment, size_t size) { return fails() ? NULL : __libc_memalign(alignment, size); }
int posix_memalign(void **memory, size_t alignment, size_t size) {
  if (fails()) return ENOMEM;
  *memory = __libc_memalign(alignment, size);
  return *memory ? 0 : ENOMEM;
}

static ssize_t (*next_pread)(int, void *, size_t, off_t);
static ssize_t (*next_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*next_pwritev)(int, const struct iovec *, int, off_t);
static int (*next_fdatasync)(int);
static int (*next_fsync)(int);
static int (*next_ftruncate)(int, off_t);
static int (*next_open)(const char *, int, ...);

static int fail(void) {
  errno = EIO;
  return -1;
}

ssize_t pread(int fd, void *data, size_t size, off_t at) {
  enum outcome outcome = outcome_of(FAULT_READ);
  if (outcome == FAILS) return fail();
  if (outcome == LIES) memset(data, 0, size);
  return outcome == LIES ? (ssize_t)size : next_pread(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  if (outcome_of(FAULT_WRITE) == FAILS) return fail();
  return writes_are_lost() ? (ssize_t)size : next_pwrite(fd, data, size, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  ssize_t size = 0;
  if (outcome_of(FAULT_WRITE) == FAILS) return fail();
  for (int i = 0; i < count; i++) size += (ssize_t)parts[i].iov_len;
  return writes_are_lost() ? size : next_pwritev(fd, parts, count, at);
}

int fdatasync(int fd) {
  if (outcome_of(FAULT_FLUSH) == FAILS) return fail();
  return writes_are_lost() ? 0 : next_fdatasync(fd);
}

int fsync(int fd) {
  if (outcome_of(FAULT_FLUSH) == FAILS) return fail();
  return writes_are_lost() ? 0 : next_fsync(fd);
}

int ftruncate(int fd, off_t size) { return outcome_of(FAULT_OPEN) == FAILS ? fail() : next_ftruncate(fd, size); }

int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return outcome_of(FAULT_OPEN) == FAILS ? fail() : next_open(path, flags, mode);
}

/* A function by its name; C has no cast from a data pointer to one. */
static void find(void *function, const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  memcpy(function, &found, sizeof found);
}

__attribute__((constructor)) static void start(void) {
  find(&next_pread, "pread");
  find(&next_pwrite, "pwrite");
  find(&next_pwritev, "pwritev");
  find(&next_fdatasync, "fdatasync");
  find(&next_fsync, "fsync");
  find(&next_ftruncate, "ftruncate");
  find(&next_open, "open");
  const char *number = getenv(FAULT_BOARD);
  if (!number) return;
  void *shared = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(number), 0);
  if (shared == MAP_FAILED) _exit(99);
  board = shared;
}

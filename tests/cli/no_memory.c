/* Preloaded into a command: its n-th allocation fails, or every one from there on. NO_MEMORY_AT: n, from 1; NO_MEMORY_ONLY:
 * when set, just that one. NO_MEMORY_COUNT: a file that gets how many there were. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static atomic_bool watching; /* from when this is started: what comes before it is the system's */
static atomic_ulong calls;
static unsigned long fail_at;
static bool only;

static bool fails(void) {
  if (!atomic_load(&watching)) return false;
  unsigned long call = atomic_fetch_add(&calls, 1) + 1;
  if (fail_at == 0 || call < fail_at || (only && call > fail_at)) return false;
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

__attribute__((constructor)) static void start(void) {
  const char *at = getenv("NO_MEMORY_AT");
  fail_at = at ? strtoul(at, NULL, 10) : 0;
  only = getenv("NO_MEMORY_ONLY") != NULL;
  atomic_store(&watching, true);
}

__attribute__((destructor)) static void end(void) {
  const char *path = getenv("NO_MEMORY_COUNT");
  char line[32];
  int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
  if (fd < 0) return;
  int size = snprintf(line, sizeof line, "%lu\n", atomic_load(&calls));
  if (write(fd, line, (size_t)size) != size) _exit(99);
  close(fd);
}

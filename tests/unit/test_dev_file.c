/* The regular file as a device, on real files in a temporary folder; refusals of the system and cut-short transfers
 * come from a table of calls put in front of the real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "dev/dev_path_private.h"

enum { S = 512, SIZE = 64 * 4096 };

static char folder[64];
static char path[128];

static int setup(void **state) {
  (void)state;
  strcpy(folder, "/tmp/wodan-file-XXXXXX");
  if (!mkdtemp(folder)) return -1;
  snprintf(path, sizeof path, "%s/image", folder);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  unlink(path);
  return rmdir(folder); /* fails when a test left something */
}

static struct wodan_device *must_open(unsigned flags, uint64_t size) {
  struct wodan_device *d;
  struct wodan_error error = {.code = 0};
  if (wodan_path_device(path, flags, size, &d, &error)) fail_msg("%s", error.message);
  return d;
}

/* Opening `name` must fail so, in a sentence with both parts. */
static void refused(const char *name, unsigned flags, uint64_t size, const struct path_calls *calls, int status,
                    const char *part) {
  struct wodan_device *d = (struct wodan_device *)(void *)&d;
  struct wodan_error error = {.code = 0};
  int got = path_device_open(name, flags, size, calls ? calls : &path_calls_system, &d, &error);
  if (got != status || !strstr(error.message, part)) fail_msg("%d %s", got, error.message);
  assert_int_equal(error.code, status);
  assert_null(d);
  const char *shown = strlen(name) > 100 ? name + strlen(name) - 100 : name;
  if (!strstr(error.message, shown)) fail_msg("the path is not named: %s", error.message);
}

static uint64_t file_size(void) {
  struct stat st;
  return stat(path, &st) ? UINT64_MAX : (uint64_t)st.st_size;
}

static void make_file(uint64_t size) {
  int fd = open(path, O_RDWR | O_CREAT, 0600);
  assert_true(fd >= 0);
  assert_int_equal(ftruncate(fd, (off_t)size), 0);
  close(fd);
}

static int io(struct wodan_device *d, uint8_t kind, uint64_t offset, void *data, size_t size) {
  struct wodan_io request = {.kind = kind, .offset = offset, .data = data, .size = size, .status = 99};
  int status = d->ops->transfer(d, &request, 1);
  assert_int_equal(status, request.status);
  return status;
}

static void test_file__create_write_reopen_read(void **state) {
  (void)state;
  struct wodan_device *d = must_open(WODAN_PATH_CREATE, SIZE);
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_size, SIZE);
  assert_true(st.st_blocks * 512 < SIZE); /* sparse */
  assert_int_equal(d->geometry.size, SIZE);
  assert_int_equal(d->geometry.sector, S);
  assert_int_equal(d->geometry.ordering, WODAN_ORDER_BY_FLUSH);
  assert_int_equal(d->geometry.durable, 1);
  assert_int_equal(d->geometry.read_only, 0);
  uint8_t data[3 * S], back[3 * S];
  for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7);
  assert_int_equal(io(d, WODAN_IO_WRITE, 5 * S, data, sizeof data), 0);
  assert_int_equal(d->ops->barrier(d), 0);
  assert_int_equal(d->ops->flush(d), 0);
  assert_int_equal(wodan_device_close(d), 0);
  d = must_open(WODAN_PATH_READ_ONLY, 0);
  assert_int_equal(d->geometry.read_only, 1);
  assert_int_equal(io(d, WODAN_IO_READ, 5 * S, back, sizeof back), 0);
  assert_memory_equal(data, back, sizeof data);
  assert_int_equal(io(d, WODAN_IO_WRITE, 0, data, S), WODAN_EIO);
  assert_int_equal(d->ops->flush(d), 0);
  assert_int_equal(d->ops->resize(d, 2 * SIZE), WODAN_EREADONLY);
  wodan_device_close(d);
}

static void test_file__create_extends_a_short_file_and_leaves_a_long_one(void **state) {
  (void)state;
  make_file(S);
  struct wodan_device *d = must_open(WODAN_PATH_CREATE, SIZE);
  assert_int_equal(d->geometry.size, SIZE);
  wodan_device_close(d);
  d = must_open(WODAN_PATH_CREATE, S);
  assert_int_equal(d->geometry.size, SIZE);
  wodan_device_close(d);
  d = must_open(WODAN_PATH_CREATE, 0);
  assert_int_equal(d->geometry.size, SIZE);
  wodan_device_close(d);
  make_file(SIZE + 100);
  d = must_open(0, 0);
  assert_int_equal(d->geometry.size, SIZE); /* rounded down */
  wodan_device_close(d);
  assert_int_equal(file_size(), SIZE + 100);
}

static void test_file__preallocate_reserves_space(void **state) {
  (void)state;
  struct wodan_device *d = must_open(WODAN_PATH_CREATE | WODAN_PATH_PREALLOCATE, SIZE);
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_true(st.st_blocks * 512 >= SIZE);
  wodan_device_close(d);
}

static void test_file__refusals_say_what_and_where(void **state) {
  (void)state;
  char name[160];
  refused(path, 0, 0, NULL, WODAN_EIO, "No such file");
  refused(path, WODAN_PATH_CREATE, 0, NULL, WODAN_EINVAL, "give its size");
  refused(path, WODAN_PATH_CREATE, 100, NULL, WODAN_EINVAL, "too small");
  refused(path, WODAN_PATH_CREATE, UINT64_MAX, NULL, WODAN_EINVAL, "too large");
  refused(path, WODAN_PATH_CREATE | WODAN_PATH_READ_ONLY, SIZE, NULL, WODAN_EINVAL, "for reading only");
  refused(path, WODAN_PATH_PREALLOCATE, SIZE, NULL, WODAN_EINVAL, "preallocated");
  refused(path, 64, 0, NULL, WODAN_EINVAL, "unknown flag");
  assert_int_equal(file_size(), UINT64_MAX); /* nothing was left behind */
  make_file(0);
  refused(path, 0, 0, NULL, WODAN_EINVAL, "is empty: not a Wodan image (use format)");
  refused(path, WODAN_PATH_READ_ONLY, 0, NULL, WODAN_EINVAL, "is empty");
  make_file(S - 1);
  refused(path, 0, 0, NULL, WODAN_EINVAL, "too small");
  refused(folder, 0, 0, NULL, WODAN_EINVAL, "is a directory");
  refused("/dev/null", 0, 0, NULL, WODAN_EINVAL, "character device");
  snprintf(name, sizeof name, "%s/image/below", folder);
  refused(name, 0, 0, NULL, WODAN_EIO, "Not a directory");
  snprintf(name, sizeof name, "%s/missing/image", folder);
  refused(name, WODAN_PATH_CREATE, SIZE, NULL, WODAN_EIO, "folder is missing");
  snprintf(name, sizeof name, "%s/pipe", folder);
  assert_int_equal(mkfifo(name, 0600), 0);
  refused(name, WODAN_PATH_READ_ONLY, 0, NULL, WODAN_EINVAL, "is a pipe"); /* and does not wait */
  unlink(name);
  snprintf(name, sizeof name, "%s/link", folder);
  assert_int_equal(symlink("nowhere", name), 0);
  refused(name, WODAN_PATH_CREATE, SIZE, NULL, WODAN_EIO, "symbolic link");
  unlink(name);
  char lengthy[300];
  memset(lengthy, 'x', sizeof lengthy);
  lengthy[299] = 0;
  refused(lengthy, 0, 0, NULL, WODAN_EIO, "too long");
  struct wodan_device *d;
  assert_int_equal(wodan_path_device(NULL, 0, 0, &d, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_path_device("", 0, 0, &d, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_path_device(path, 0, 0, NULL, NULL), WODAN_EINVAL);
}

/* ---- the lock -------------------------------------------------------------------------------------------------- */

static void test_file__one_writer_or_many_readers(void **state) {
  (void)state;
  struct wodan_device *a = must_open(WODAN_PATH_CREATE, SIZE);
  refused(path, 0, 0, NULL, WODAN_EBUSY, "in use by another process or handle");
  refused(path, WODAN_PATH_READ_ONLY, 0, NULL, WODAN_EBUSY, "in use");
  refused(path, WODAN_PATH_CREATE, 4 * SIZE, NULL, WODAN_EBUSY, "in use");
  assert_int_equal(file_size(), SIZE); /* the lock comes before the size */
  char name[160];
  snprintf(name, sizeof name, "%s/hard", folder);
  assert_int_equal(link(path, name), 0);
  refused(name, 0, 0, NULL, WODAN_EBUSY, "in use");
  unlink(name);
  close(open(path, O_RDWR)); /* closing another descriptor does not drop it */
  refused(path, 0, 0, NULL, WODAN_EBUSY, "in use");
  wodan_device_close(a);
  a = must_open(WODAN_PATH_READ_ONLY, 0);
  struct wodan_device *b = must_open(WODAN_PATH_READ_ONLY, 0);
  refused(path, 0, 0, NULL, WODAN_EBUSY, "in use");
  wodan_device_close(a);
  refused(path, 0, 0, NULL, WODAN_EBUSY, "in use");
  wodan_device_close(b);
  wodan_device_close(must_open(0, 0));
}

static void test_file__lock_survives_a_child_that_ends(void **state) {
  (void)state;
  struct wodan_device *a = must_open(WODAN_PATH_CREATE, SIZE);
  pid_t child = fork();
  if (child == 0) {
    struct wodan_device *d;
    _exit(wodan_path_device(path, 0, 0, &d, NULL) == WODAN_EBUSY ? 0 : 1);
  }
  int ended = 1;
  assert_int_equal(waitpid(child, &ended, 0), child);
  assert_int_equal(ended, 0);
  refused(path, 0, 0, NULL, WODAN_EBUSY, "in use");
  wodan_device_close(a);
}

/* ---- a system that refuses, interrupts and cuts short ---------------------------------------------------------- */

static struct shim {
  int open, lock, direct, fdatasync, fsync, fallocate, ftruncate, pread, pwrite; /* errno to fail with, 0: do it */
  unsigned calls;
  size_t most;    /* bytes a transfer, 0: all */
  bool interrupt; /* every other call */
  off_t begun_at; /* of the last write that the medium was to begin with, and of all of them the bytes */
  off_t begun;
} shim;

static bool interrupted(void) {
  shim.calls++;
  if (!shim.interrupt || shim.calls % 2 == 0) return false;
  errno = EINTR;
  return true;
}
static int refuse_with(int number) {
  errno = number;
  return -1;
}
static int shim_open(const char *name, int flags, mode_t mode) {
  if (interrupted()) return -1;
  return shim.open ? refuse_with(shim.open) : path_calls_system.open(name, flags, mode);
}
static int shim_lock(int fd, bool exclusive) {
  return shim.lock ? refuse_with(shim.lock) : path_calls_system.lock(fd, exclusive);
}
static int shim_direct(int fd) {
  (void)fd;
  return shim.direct ? refuse_with(shim.direct) : 0;
}
static ssize_t shim_pread(int fd, void *buffer, size_t size, off_t offset) {
  if (interrupted()) return -1;
  if (shim.pread) return refuse_with(shim.pread);
  return pread(fd, buffer, shim.most && size > shim.most ? shim.most : size, offset);
}
static ssize_t shim_pwrite(int fd, const void *buffer, size_t size, off_t offset) {
  if (interrupted()) return -1;
  if (shim.pwrite) return refuse_with(shim.pwrite);
  return pwrite(fd, buffer, shim.most && size > shim.most ? shim.most : size, offset);
}
static void shim_write_out(int fd, off_t offset, off_t size) {
  (void)fd;
  shim.begun_at = offset;
  shim.begun += size;
}
static ssize_t shim_pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  if (interrupted()) return -1;
  if (shim.pwrite) return refuse_with(shim.pwrite);
  if (!shim.most || parts->iov_len <= shim.most) return pwritev(fd, parts, shim.most ? 1 : count, offset);
  return pwrite(fd, parts->iov_base, shim.most, offset);
}
static int shim_fdatasync(int fd) {
  if (interrupted()) return -1;
  return shim.fdatasync ? refuse_with(shim.fdatasync) : fdatasync(fd);
}
static int shim_fsync(int fd) {
  if (interrupted()) return -1;
  return shim.fsync ? refuse_with(shim.fsync) : fsync(fd);
}
static int shim_fallocate(int fd, int mode, off_t offset, off_t size) {
  if (interrupted()) return -1;
  return shim.fallocate ? refuse_with(shim.fallocate) : fallocate(fd, mode, offset, size);
}
static int shim_ftruncate(int fd, off_t size) {
  if (interrupted()) return -1;
  return shim.ftruncate ? refuse_with(shim.ftruncate) : ftruncate(fd, size);
}
static const struct path_calls shim_calls = {shim_open,   shim_lock,      shim_direct,   shim_pread,
                                             shim_pwrite, shim_write_out, shim_pwritev,  shim_fdatasync,
                                             shim_fsync,  shim_fallocate, shim_ftruncate};

static struct wodan_device *shim_must_open(unsigned flags) {
  struct wodan_device *d;
  struct wodan_error error = {.code = 0};
  if (path_device_open(path, flags, SIZE, &shim_calls, &d, &error)) fail_msg("%s", error.message);
  return d;
}

static void test_file__one_byte_at_a_time_and_interrupted_is_whole(void **state) {
  (void)state;
  memset(&shim, 0, sizeof shim);
  shim.interrupt = true;
  shim.most = 1;
  struct wodan_device *d = shim_must_open(WODAN_PATH_CREATE | WODAN_PATH_PREALLOCATE);
  uint8_t data[2 * S], back[2 * S] = {0};
  for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 13 + 1);
  shim.calls = 0;
  assert_int_equal(io(d, WODAN_IO_WRITE, 3 * S, data, sizeof data), 0);
  assert_int_equal(shim.calls, 4 * S);
  assert_int_equal(io(d, WODAN_IO_READ, 3 * S, back, sizeof back), 0);
  assert_memory_equal(data, back, sizeof data);
  assert_int_equal(d->ops->flush(d), 0);
  assert_int_equal(d->ops->resize(d, 2 * SIZE), 0);
  int status = io(d, WODAN_IO_DISCARD, 0, NULL, 4096);
  assert_true(status == 0 || status == WODAN_ENOTSUP);
  wodan_device_close(d);
}

static void test_file__large_writes_are_begun_at_once(void **state) {
  (void)state;
  enum { LARGE = 256 << 10 };
  memset(&shim, 0, sizeof shim);
  struct wodan_device *d = shim_must_open(WODAN_PATH_CREATE);
  assert_int_equal(d->ops->resize(d, 4 * LARGE), 0);
  uint8_t *data = calloc(1, 2 * LARGE);
  assert_non_null(data);
  assert_int_equal(io(d, WODAN_IO_WRITE, S, data, LARGE - S), 0);
  assert_int_equal(io(d, WODAN_IO_READ, 0, data, LARGE), 0);
  assert_int_equal(shim.begun, 0);
  assert_int_equal(io(d, WODAN_IO_WRITE, LARGE, data, 2 * LARGE), 0);
  assert_int_equal(shim.begun, 2 * LARGE);
  assert_int_equal(shim.begun_at, LARGE);
  shim.pwrite = EIO;
  assert_int_equal(io(d, WODAN_IO_WRITE, 0, data, LARGE), WODAN_EIO);
  assert_int_equal(shim.begun, 2 * LARGE);
  free(data);
  wodan_device_close(d);
}

/* Writes that follow one another go to the host in one call, and are whole however it cuts them. */
static void test_file__writes_in_a_row_are_one_call(void **state) {
  (void)state;
  uint8_t data[6 * S], back[6 * S];
  for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7 + 1);
  static const size_t most[] = {0, 1, S - 1, S, S + 1, 3 * S};
  for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
    memset(&shim, 0, sizeof shim);
    struct wodan_device *d = shim_must_open(WODAN_PATH_CREATE);
    struct wodan_io io_of[] = {{.kind = WODAN_IO_WRITE, .offset = 5 * S, .data = data, .size = S},
                               {.kind = WODAN_IO_WRITE, .offset = 6 * S, .data = data + S, .size = 3 * S},
                               {.kind = WODAN_IO_WRITE, .offset = 9 * S, .data = data + 4 * S, .size = S},
                               {.kind = WODAN_IO_WRITE, .offset = 11 * S, .data = data + 5 * S, .size = S}};
    shim.most = most[i];
    shim.interrupt = i == 1;
    shim.calls = 0;
    assert_int_equal(d->ops->transfer(d, io_of, 4), 0);
    if (most[i] == 0) assert_int_equal(shim.calls, 2);
    shim = (struct shim){0};
    assert_int_equal(io(d, WODAN_IO_READ, 5 * S, back, 5 * S), 0);
    assert_memory_equal(back, data, 5 * S);
    assert_int_equal(io(d, WODAN_IO_READ, 11 * S, back, S), 0);
    assert_memory_equal(back, data + 5 * S, S);
    shim.pwrite = ENOSPC;
    assert_int_equal(d->ops->transfer(d, io_of, 4), WODAN_ENOSPC);
    for (int j = 0; j < 4; j++) assert_true(io_of[j].status == WODAN_ENOSPC && io_of[j].device_errno == ENOSPC);
    memset(&shim, 0, sizeof shim);
    wodan_device_close(d);
    unlink(path);
  }
}

/* Large writes that follow one another find the host's space reserved: up to a quarter of theirs ahead, never behind the end;
 * a host that refuses that changes nothing. */
static void test_file__space_is_reserved_ahead_of_a_stream(void **state) {
  (void)state;
  enum { PIECE = 512 << 10, PIECES = 40 };
  uint8_t *data = calloc(1, PIECE);
  for (int refused = 0; refused < 2; refused++) {
    struct wodan_device *d;
    struct stat stat_found;
    memset(&shim, 0, sizeof shim);
    if (refused) shim.fallocate = EOPNOTSUPP;
    assert_int_equal(path_device_open(path, WODAN_PATH_CREATE, PIECES * PIECE, &shim_calls, &d, NULL), 0);
    shim.calls = 0;
    for (uint64_t i = 0; i < PIECES; i++) {
      assert_int_equal(io(d, WODAN_IO_WRITE, i * PIECE, data, PIECE), 0);
      assert_int_equal(stat(path, &stat_found), 0);
      assert_int_equal(stat_found.st_size, PIECES * PIECE);
      uint64_t ahead = (i + 1) * PIECE < 4 << 20 ? 0 : (i + 1) * PIECE / 4;
      assert_true((uint64_t)stat_found.st_blocks * 512 <= (i + 1) * PIECE + ahead + (64 << 10));
    }
    unsigned calls = shim.calls - PIECES; /* besides the writes */
    if (refused) assert_int_equal(calls, 1);
    if (!refused) assert_true(calls > 3 && calls < PIECES / 3);
    wodan_device_close(d);
    unlink(path);
  }
  free(data);
}

static void test_file__host_errors_become_the_right_status(void **state) {
  (void)state;
  memset(&shim, 0, sizeof shim);
  struct wodan_device *d = shim_must_open(WODAN_PATH_CREATE);
  uint8_t data[S] = {0};
  static const struct {
    int number, status;
  } table[] = {{ENOSPC, WODAN_ENOSPC}, {EDQUOT, WODAN_ENOSPC}, {EIO, WODAN_EIO}, {EROFS, WODAN_EIO}};
  for (size_t i = 0; i < 4; i++) {
    shim.pwrite = shim.pread = shim.fdatasync = shim.ftruncate = table[i].number;
    struct wodan_io request = {.kind = WODAN_IO_WRITE, .data = data, .size = S};
    assert_int_equal(d->ops->transfer(d, &request, 1), table[i].status);
    assert_int_equal(request.device_errno, table[i].number);
    unsigned calls = shim.calls;
    assert_int_equal(d->ops->flush(d), table[i].status);
    assert_int_equal(shim.calls, calls + 1); /* a failed flush is not tried again */
    assert_int_equal(d->ops->barrier(d), table[i].status);
    assert_int_equal(d->ops->resize(d, 2 * SIZE), table[i].status);
    assert_int_equal(d->geometry.size, SIZE);
  }
  shim.pread = EIO;
  assert_int_equal(io(d, WODAN_IO_READ, 0, data, S), WODAN_EIO);
  shim.fallocate = EOPNOTSUPP;
  assert_int_equal(io(d, WODAN_IO_DISCARD, 0, NULL, 4096), WODAN_ENOTSUP);
  shim.fallocate = EIO;
  assert_int_equal(io(d, WODAN_IO_DISCARD, 0, NULL, 4096), WODAN_EIO);
  wodan_device_close(d);
}

static void test_file__refused_creation_leaves_no_file(void **state) {
  (void)state;
  const unsigned create = WODAN_PATH_CREATE;
  memset(&shim, 0, sizeof shim);
  shim.fsync = EIO;
  refused(path, create, SIZE, &shim_calls, WODAN_EIO, "its folder cannot be flushed");
  assert_int_equal(file_size(), UINT64_MAX);
  shim.fsync = 0;
  shim.fallocate = ENOSPC;
  refused(path, create | WODAN_PATH_PREALLOCATE, SIZE, &shim_calls, WODAN_ENOSPC, "No space left");
  assert_int_equal(file_size(), UINT64_MAX);
  shim.fallocate = EOPNOTSUPP;
  refused(path, create | WODAN_PATH_PREALLOCATE, SIZE, &shim_calls, WODAN_ENOTSUP, "cannot reserve space");
  assert_int_equal(file_size(), UINT64_MAX);
  shim.ftruncate = EFBIG;
  refused(path, create, SIZE, &shim_calls, WODAN_ENOSPC, "no files that large");
  assert_int_equal(file_size(), UINT64_MAX);
  shim.direct = EINVAL;
  refused(path, create | WODAN_PATH_DIRECT, SIZE, &shim_calls, WODAN_ENOTSUP, "refuses direct I/O");
  assert_int_equal(file_size(), UINT64_MAX);
  shim.lock = ENOLCK;
  refused(path, create, SIZE, &shim_calls, WODAN_ENOTSUP, "cannot be locked");
  assert_int_equal(file_size(), UINT64_MAX);
  shim.lock = EAGAIN; /* somebody opened and locked what we made: it is theirs */
  refused(path, create, SIZE, &shim_calls, WODAN_EBUSY, "in use");
  assert_int_equal(file_size(), 0);
  unlink(path);
  memset(&shim, 0, sizeof shim);
  make_file(4096);
  shim.fallocate = ENOSPC; /* an existing file gets its old size back */
  refused(path, create | WODAN_PATH_PREALLOCATE, SIZE, &shim_calls, WODAN_ENOSPC, "No space left");
  assert_int_equal(file_size(), 4096);
}

static void test_file__open_errors_advise(void **state) {
  (void)state;
  memset(&shim, 0, sizeof shim);
  make_file(SIZE);
  static const struct {
    int number;
    unsigned flags;
    int status;
    const char *part;
  } table[] = {{EACCES, 0, WODAN_EIO, "open it for reading only"},
               {EACCES, WODAN_PATH_READ_ONLY, WODAN_EIO, "cannot be opened for reading"},
               {EROFS, 0, WODAN_EIO, "Read-only file system; open it for reading only"},
               {EBUSY, 0, WODAN_EBUSY, "mounted"},
               {EMFILE, 0, WODAN_EIO, "Too many open files"}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    shim.open = table[i].number;
    refused(path, table[i].flags, 0, &shim_calls, table[i].status, table[i].part);
  }
}

/* ---- the rest -------------------------------------------------------------------------------------------------- */

static void test_file__read_beyond_a_shrunk_file_fails(void **state) {
  (void)state;
  struct wodan_device *d = must_open(WODAN_PATH_CREATE, SIZE);
  assert_int_equal(truncate(path, SIZE / 2 + 100), 0);
  uint8_t data[S];
  assert_int_equal(io(d, WODAN_IO_READ, SIZE / 2 - S, data, S), 0);
  assert_int_equal(io(d, WODAN_IO_READ, SIZE / 2, data, S), WODAN_EIO); /* in the middle of a sector */
  assert_int_equal(io(d, WODAN_IO_READ, SIZE - S, data, S), WODAN_EIO);
  assert_int_equal(io(d, WODAN_IO_READ, UINT64_MAX - S, data, S), WODAN_EIO);
  wodan_device_close(d);
}

static void test_file__discard_punches_a_hole_and_keeps_the_size(void **state) {
  (void)state;
  struct wodan_device *d = must_open(WODAN_PATH_CREATE | WODAN_PATH_PREALLOCATE, SIZE);
  uint32_t granularity = d->geometry.discard_granularity;
  assert_true(granularity && granularity % S == 0);
  uint8_t data[SIZE];
  memset(data, 9, SIZE);
  assert_int_equal(io(d, WODAN_IO_WRITE, 0, data, SIZE), 0);
  int status = io(d, WODAN_IO_DISCARD, granularity, NULL, granularity);
  assert_true(status == 0 || status == WODAN_ENOTSUP);
  if (status == 0) {
    assert_int_equal(io(d, WODAN_IO_READ, granularity, data, granularity), 0);
    for (size_t i = 0; i < granularity; i++) assert_int_equal(data[i], 0);
    assert_int_equal(io(d, WODAN_IO_READ, 2 * granularity, data, S), 0);
    assert_int_equal(data[0], 9);
  }
  assert_int_equal(file_size(), SIZE);
  wodan_device_close(d);
}

static void test_file__resize_changes_file_and_geometry(void **state) {
  (void)state;
  struct wodan_device *d = must_open(WODAN_PATH_CREATE, SIZE);
  assert_int_equal(d->ops->resize(d, 2 * SIZE), 0);
  assert_int_equal(d->geometry.size, 2 * SIZE);
  assert_int_equal(file_size(), 2 * SIZE);
  assert_int_equal(d->ops->resize(d, SIZE + 1), WODAN_EINVAL);
  assert_int_equal(d->ops->resize(d, 0), WODAN_EINVAL);
  assert_int_equal(d->ops->resize(d, SIZE), 0);
  assert_int_equal(file_size(), SIZE);
  wodan_device_close(d);
}

static void test_file__direct_works_aligned_or_is_refused_clearly(void **state) {
  (void)state;
  struct wodan_device *d;
  struct wodan_error error;
  int status = wodan_path_device(path, WODAN_PATH_CREATE | WODAN_PATH_DIRECT, SIZE, &d, &error);
  if (status) {
    assert_int_equal(status, WODAN_ENOTSUP);
    assert_non_null(strstr(error.message, "direct I/O"));
    return;
  }
  uint32_t sector = d->geometry.sector, alignment = d->geometry.memory_alignment;
  assert_true(sector >= S && (sector & (sector - 1)) == 0);
  assert_true(alignment >= 1 && (alignment & (alignment - 1)) == 0);
  uint8_t *data = aligned_alloc(4096, SIZE);
  memset(data, 3, SIZE);
  assert_int_equal(io(d, WODAN_IO_WRITE, 0, data, SIZE), 0);
  memset(data, 0, SIZE);
  assert_int_equal(io(d, WODAN_IO_READ, sector, data, sector), 0);
  assert_int_equal(data[sector - 1], 3);
  free(data);
  wodan_device_close(d);
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      FILE_TEST(test_file__create_write_reopen_read),
      FILE_TEST(test_file__create_extends_a_short_file_and_leaves_a_long_one),
      FILE_TEST(test_file__preallocate_reserves_space),
      FILE_TEST(test_file__refusals_say_what_and_where),
      FILE_TEST(test_file__one_writer_or_many_readers),
      FILE_TEST(test_file__lock_survives_a_child_that_ends),
      FILE_TEST(test_file__one_byte_at_a_time_and_interrupted_is_whole),
      FILE_TEST(test_file__large_writes_are_begun_at_once),
      FILE_TEST(test_file__writes_in_a_row_are_one_call),
      FILE_TEST(test_file__space_is_reserved_ahead_of_a_stream),
      FILE_TEST(test_file__host_errors_become_the_right_status),
      FILE_TEST(test_file__refused_creation_leaves_no_file),
      FILE_TEST(test_file__open_errors_advise),
      FILE_TEST(test_file__read_beyond_a_shrunk_file_fails),
      FILE_TEST(test_file__discard_punches_a_hole_and_keeps_the_size),
      FILE_TEST(test_file__resize_changes_file_and_geometry),
      FILE_TEST(test_file__direct_works_aligned_or_is_refused_clearly),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

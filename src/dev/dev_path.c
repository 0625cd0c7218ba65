/* Owns: opening a path as a device (what it is, who else has it), and what files and block devices share once open.
 *
 * Always true:
 *  - nothing is changed before the lock is held; a file made by a call that then fails is removed again;
 *  - a transfer that is cut short or interrupted goes on where it stopped; end of file is an error, not zeros;
 *  - a flush that failed is not tried again;
 *  - large writes are begun at once, so that the flush behind a run or a leaf finds most of it on the medium;
 *  - a handle opened for reading never reaches a call that writes.
 *
 * Order: stat before open, since opening a pipe may wait and opening a character device may act; fstat after, since
 * the path may have changed between. Lock, then size. O_DIRECT is turned on after open: open(O_CREAT | O_DIRECT)
 * leaves the new file behind where the file system refuses.
 *
 * See: include/wodan/device.h, tests/unit/test_dev_file.c, tests/unit/test_dev_block.c. */
#include "dev/dev_path_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/status.h"
#include "dev/dev_errno.h"

enum { TOGETHER = 16 };
#define PATH_FLAGS (WODAN_PATH_READ_ONLY | WODAN_PATH_DIRECT | WODAN_PATH_CREATE | WODAN_PATH_PREALLOCATE)

enum { WRITE_OUT_LEAST = 256 << 10 }; /* bytes of a write that the medium is to begin with at once */

static int system_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

static int system_lock(int fd, bool exclusive) {
  struct flock lock = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
  return fcntl(fd, F_OFD_SETLK, &lock);
}

static int system_set_direct(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_DIRECT);
}

/* What it fails to do is left to the flush, which tells. */
static void system_write_out(int fd, off_t offset, off_t size) {
  sync_file_range(fd, offset, size, SYNC_FILE_RANGE_WRITE);
}

const struct path_calls path_calls_system = {
    .open = system_open,
    .lock = system_lock,
    .set_direct = system_set_direct,
    .pread = pread,
    .pwrite = pwrite,
    .write_out = system_write_out,
    .pwritev = pwritev,
    .fdatasync = fdatasync,
    .fsync = fsync,
    .fallocate = fallocate,
    .ftruncate = ftruncate,
};

/* ---- once open ------------------------------------------------------------------------------------------------ */

int path_status(int number) { return number == ENOSPC || number == EDQUOT ? WODAN_ENOSPC : WODAN_EIO; }

/* 0 or an errno. */
static int transfer_whole(struct path_device *path, struct wodan_io *io) {
  uint8_t *data = io->data;
  size_t left = io->size;
  uint64_t at = io->offset;
  while (left) {
    ssize_t n = io->kind == WODAN_IO_READ ? path->calls->pread(path->fd, data, left, (off_t)at)
                                          : path->calls->pwrite(path->fd, data, left, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return io->kind == WODAN_IO_READ ? ENODATA : ENOSPC; /* the file shrank; a write that takes nothing */
    assert((size_t)n <= left);
    data += n;
    at += (uint64_t)n;
    left -= (size_t)n;
  }
  return 0;
}

static bool is_sound(const struct wodan_io *io) {
  return io->kind <= WODAN_IO_DISCARD && io->offset <= INT64_MAX && io->size <= INT64_MAX - io->offset;
}

static void transfer_one(struct path_device *path, struct wodan_io *io, path_discard *discard) {
  const struct wodan_geometry *g = &path->device.geometry;
  int number = 0;
  io->status = io->device_errno = 0;
  if (!is_sound(io)) {
    number = EINVAL;
  } else if (io->kind != WODAN_IO_READ && g->read_only) {
    number = EROFS;
  } else if (io->kind == WODAN_IO_DISCARD) {
    number = io->size ? discard(path, io->offset, io->size) : 0;
    if (number == EOPNOTSUPP || number == ENOSYS) io->status = WODAN_ENOTSUP;
  } else {
    number = transfer_whole(path, io);
    if (number == 0 && io->kind == WODAN_IO_WRITE && io->size >= WRITE_OUT_LEAST)
      path->calls->write_out(path->fd, (off_t)io->offset, (off_t)io->size);
  }
  io->device_errno = number;
  if (number && !io->status) io->status = path_status(number);
}

/* How many requests from the first on are writes that follow one another. */
static size_t in_a_row(const struct path_device *path, const struct wodan_io *io, size_t count) {
  size_t n = 0;
  if (path->device.geometry.read_only) return 0;
  while (n < count && n < TOGETHER && io[n].kind == WODAN_IO_WRITE && is_sound(&io[n])) {
    if (n && io[n - 1].offset + io[n - 1].size != io[n].offset) break;
    n++;
  }
  return n;
}

/* 0 or an errno, of all of them: those before a failed one may be written. */
static int write_in_a_row(struct path_device *path, const struct wodan_io *io, size_t count) {
  struct iovec parts[TOGETHER];
  uint64_t at = io->offset;
  assert(count <= TOGETHER);
  for (size_t i = 0; i < count; i++) parts[i] = (struct iovec){.iov_base = io[i].data, .iov_len = io[i].size};
  for (size_t i = 0; i < count;) {
    ssize_t n = path->calls->pwritev(path->fd, parts + i, (int)(count - i), (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return ENOSPC;
    at += (uint64_t)n;
    size_t left = (size_t)n;
    for (; i < count && left >= parts[i].iov_len; i++) left -= parts[i].iov_len;
    if (i == count) break;
    parts[i].iov_base = (uint8_t *)parts[i].iov_base + left;
    parts[i].iov_len -= left;
  }
  return 0;
}

int path_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count, path_discard *discard) {
  struct path_device *path = path_of(device);
  int first = 0;
  for (size_t i = 0, n; i < count; i += n) {
    n = in_a_row(path, requests + i, count - i);
    int number = n > 1 ? write_in_a_row(path, requests + i, n) : 0;
    for (size_t j = i; j < i + n && n > 1; j++) {
      requests[j].status = number ? path_status(number) : 0;
      requests[j].device_errno = number;
    }
    if (n < 2) transfer_one(path, &requests[i], discard);
    if (n < 2) n = 1;
    if (!first) first = requests[i].status;
  }
  return first;
}

int path_flush(struct wodan_device *device) {
  struct path_device *path = path_of(device);
  if (device->geometry.read_only) return 0;
  while (path->calls->fdatasync(path->fd) < 0)
    if (errno != EINTR) return path_status(errno);
  return 0;
}

static void path_free(struct path_device *path) {
  struct mem mem; /* the struct's own accounting goes away with it */
  mem_init(&mem, NULL);
  mem_free(&mem, path, sizeof *path);
}

int path_close(struct wodan_device *device) {
  struct path_device *path = path_of(device);
  /* Not repeated when interrupted: on Linux the descriptor is gone then. */
  int status = close(path->fd) < 0 && errno != EINTR ? path_status(errno) : 0;
  path_free(path);
  return status;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

int path_fail(const struct path_request *r, int number, const char *action, const char *advice) {
  return status_set(r->error, path_status(number), number, WODAN_NO_BLOCK, "'%s' %s: %s%s%s", r->shown, action,
                    errno_text(number), advice ? "; " : "", advice ? advice : "");
}

static int refuse(const struct path_request *r, int code, int number, const char *what) {
  return status_set(r->error, code, number, WODAN_NO_BLOCK, "'%s' %s", r->shown, what);
}

static void show_path(struct path_request *r) {
  size_t length = strlen(r->path), room = sizeof r->shown - 1;
  bool cut = length > room;
  const char *from = cut ? r->path + length - (room - 3) : r->path;
  snprintf(r->shown, sizeof r->shown, "%s%s", cut ? "..." : "", from);
}

static int check_flags(const struct path_request *r) {
  bool read_only = r->flags & WODAN_PATH_READ_ONLY;
  if (r->flags & ~(unsigned)PATH_FLAGS) return refuse(r, WODAN_EINVAL, 0, "cannot be opened: an unknown flag is set");
  if (read_only && (r->flags & (WODAN_PATH_CREATE | WODAN_PATH_PREALLOCATE)))
    return refuse(r, WODAN_EINVAL, 0, "cannot be opened for reading only and be created or preallocated at once");
  if ((r->flags & WODAN_PATH_PREALLOCATE) && !(r->flags & WODAN_PATH_CREATE))
    return refuse(r, WODAN_EINVAL, 0, "cannot be preallocated: that goes only with WODAN_PATH_CREATE");
  if (r->size > INT64_MAX) return refuse(r, WODAN_EINVAL, 0, "cannot be opened: the size asked for is too large");
  return 0;
}

static int check_kind(const struct path_request *r, mode_t mode) {
  if (S_ISREG(mode) || S_ISBLK(mode)) return 0;
  if (S_ISDIR(mode)) return refuse(r, WODAN_EINVAL, EISDIR, "is a directory; give a file or a block device in it");
  if (S_ISFIFO(mode)) return refuse(r, WODAN_EINVAL, ESPIPE, "is a pipe; give a regular file or a block device");
  if (S_ISCHR(mode))
    return refuse(r, WODAN_EINVAL, ENOTBLK, "is a character device; give a regular file or a block device");
  return refuse(r, WODAN_EINVAL, ENOTBLK, "is neither a regular file nor a block device");
}

static int open_failed(const struct path_request *r, int number) {
  switch (number) {
  case ENOENT:
    return path_fail(r, number, "cannot be opened",
                     (r->flags & WODAN_PATH_CREATE) ? "its folder is missing"
                                                    : "check the path, or format a new image");
  case EACCES:
  case EPERM:
    if (r->flags & WODAN_PATH_READ_ONLY)
      return path_fail(r, number, "cannot be opened for reading", "change its permissions or the user");
    return path_fail(r, number, "cannot be opened for writing", "change its permissions, or open it for reading only");
  case EROFS:
    return path_fail(r, number, "cannot be opened for writing", "open it for reading only");
  case EBUSY:
    return refuse(r, WODAN_EBUSY, number, "is in use by the system (mounted, or part of another volume)");
  case EEXIST:
    return path_fail(r, number, "cannot be created", "it is a symbolic link to nothing");
  default:
    return path_fail(r, number, "cannot be opened", NULL);
  }
}

/* Returns the descriptor, or a status. */
static int open_path(struct path_request *r, struct stat *stat_found) {
  int access = (r->flags & WODAN_PATH_READ_ONLY) ? O_RDONLY : O_RDWR;
  int flags = access | O_CLOEXEC | O_NOCTTY;
  if (stat(r->path, stat_found) == 0) {
    int status = check_kind(r, stat_found->st_mode);
    if (status < 0) return status;
    /* Exclusive among those who ask so: refuses what is mounted. */
    if (S_ISBLK(stat_found->st_mode) && access == O_RDWR) flags |= O_EXCL;
  } else if (errno == ENOENT && (r->flags & WODAN_PATH_CREATE)) {
    if (r->size == 0) return refuse(r, WODAN_EINVAL, 0, "cannot be created: give its size");
    flags |= O_CREAT | O_EXCL;
  } else {
    return open_failed(r, errno);
  }
  int fd;
  do fd = r->calls->open(r->path, flags, 0666);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) return open_failed(r, errno);
  r->created = flags & O_CREAT;
  return fd;
}

/* The kind once more, on what was really opened; then the lock; then that the file still has a name. */
static int claim(struct path_request *r, int fd, struct stat *found) {
  if (fstat(fd, found) < 0) return path_fail(r, errno, "cannot be looked at", NULL);
  int status = check_kind(r, found->st_mode);
  if (status < 0) return status;
  if (r->calls->lock(fd, !(r->flags & WODAN_PATH_READ_ONLY)) < 0) {
    if (errno != EAGAIN && errno != EACCES)
      return status_set(r->error, WODAN_ENOTSUP, errno, WODAN_NO_BLOCK,
                        "'%s' cannot be locked: %s; use a file system with locks", r->shown, errno_text(errno));
    int number = errno;
    r->created = false; /* another opener came between and owns it now */
    return refuse(r, WODAN_EBUSY, number, "is in use by another process or handle; close it there first");
  }
  /* Again, since another holder may have grown or removed it before our lock. */
  if (fstat(fd, found) < 0) return path_fail(r, errno, "cannot be looked at", NULL);
  if (found->st_nlink == 0) return path_fail(r, ENOENT, "was removed while being opened", "open it again");
  return 0;
}

/* A new file's name must survive a power cut too: its folder is flushed. */
static int flush_folder(const struct path_request *r) {
  const char *slash = strrchr(r->path, '/');
  char folder[4096] = ".";
  if (slash) {
    size_t length = slash == r->path ? 1 : (size_t)(slash - r->path);
    if (length >= sizeof folder) return path_fail(r, ENAMETOOLONG, "cannot be created", NULL);
    memcpy(folder, r->path, length);
    folder[length] = 0;
  }
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return path_fail(r, errno, "was created, but its folder cannot be opened to flush it", NULL);
  int number = 0;
  while (r->calls->fsync(fd) < 0 && (number = errno) == EINTR) number = 0;
  close(fd);
  if (number && number != EINVAL) /* EINVAL: this file system does not flush folders */
    return path_fail(r, number, "was created, but its folder cannot be flushed", NULL);
  return 0;
}

static void remove_created(const struct path_request *r, int fd) {
  struct stat ours, named;
  if (!r->created || fstat(fd, &ours) < 0 || stat(r->path, &named) < 0) return;
  if (ours.st_dev == named.st_dev && ours.st_ino == named.st_ino) unlink(r->path);
}

static int set_up(struct path_request *r, struct path_device *path) {
  struct stat found;
  int status = claim(r, path->fd, &found);
  if (status < 0) return status;
  if ((r->flags & WODAN_PATH_DIRECT) && r->calls->set_direct(path->fd) < 0) {
    if (errno != EINVAL && errno != EOPNOTSUPP)
      return path_fail(r, errno, "cannot be switched to direct I/O", "leave out WODAN_PATH_DIRECT");
    return refuse(r, WODAN_ENOTSUP, errno,
                  "is on a file system that refuses direct I/O (O_DIRECT); leave out WODAN_PATH_DIRECT");
  }
  path->device.geometry.read_only = (r->flags & WODAN_PATH_READ_ONLY) != 0;
  status = S_ISBLK(found.st_mode) ? path_block_setup(r, &found, path) : path_file_setup(r, &found, path);
  if (status == 0 && r->created) status = flush_folder(r);
  return status;
}

int path_device_open(const char *path, unsigned flags, uint64_t size, const struct path_calls *calls,
                     struct wodan_device **device, struct wodan_error *error) {
  if (device) *device = NULL;
  if (!path || !*path || !device)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "a path and a place for the device must be given");
  struct path_request request = {.path = path, .flags = flags, .size = size, .calls = calls, .error = error};
  show_path(&request);
  int status = check_flags(&request);
  if (status < 0) return status;
  struct mem mem;
  mem_init(&mem, NULL);
  struct path_device *opened = mem_zalloc(&mem, sizeof *opened);
  if (!opened) return status_nomem(error);
  opened->calls = calls;
  struct stat found;
  opened->fd = open_path(&request, &found);
  status = opened->fd < 0 ? opened->fd : set_up(&request, opened);
  if (status < 0) {
    if (opened->fd >= 0) {
      remove_created(&request, opened->fd);
      close(opened->fd);
    }
    path_free(opened);
    return status;
  }
  *device = &opened->device;
  return 0;
}

int wodan_path_device(const char *path, unsigned flags, uint64_t size, struct wodan_device **device,
                      struct wodan_error *error) {
  return path_device_open(path, flags, size, &path_calls_system, device, error);
}

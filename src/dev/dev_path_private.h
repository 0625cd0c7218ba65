/* What the three files behind wodan_path_device share: the open file, the system calls behind a table (a test puts
 * its own in front: short transfers, EINTR, refusals), and the sentences of failures. */
#ifndef DEV_DEV_PATH_PRIVATE_H
#define DEV_DEV_PATH_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <wodan/device.h>
#include "base/thread.h"

/* As the system's functions of these names: -1 with errno on failure. */
struct path_calls {
  int (*open)(const char *path, int flags, mode_t mode);
  int (*lock)(int fd, bool exclusive); /* takes an OFD lock on the whole file, does not wait */
  int (*set_direct)(int fd);           /* turns O_DIRECT on */
  ssize_t (*pread)(int fd, void *buffer, size_t size, off_t offset);
  ssize_t (*pwrite)(int fd, const void *buffer, size_t size, off_t offset);
  void (*write_out)(int fd, off_t offset, off_t size); /* begins to write it to the medium, does not wait */
  ssize_t (*pwritev)(int fd, const struct iovec *parts, int count, off_t offset);
  int (*fdatasync)(int fd);
  int (*fsync)(int fd); /* of a folder */
  int (*fallocate)(int fd, int mode, off_t offset, off_t size);
  int (*ftruncate)(int fd, off_t size);
};

extern const struct path_calls path_calls_system;

/* Large writes that follow one another in a file (dev_file.c). */
struct path_stream {
  struct lock lock;
  uint64_t start, end;             /* of what was written; end 0: none */
  uint64_t ahead;                  /* the host has space up to here */
  uint64_t other_start, other_end; /* the last large write elsewhere: the next one behind it makes it the stream */
  bool off;                        /* the host does not reserve space, or the file is not buffered */
};

struct path_device {
  struct wodan_device device; /* first */
  const struct path_calls *calls;
  int fd;
  struct path_stream stream; /* of a file */
};

/* One call of wodan_path_device on its way. */
struct path_request {
  const char *path;
  unsigned flags;
  uint64_t size; /* wished bytes, 0 when none */
  const struct path_calls *calls;
  struct wodan_error *error;
  char shown[112]; /* the path as sentences name it: its end when it is long */
  bool created;    /* the file is new: it goes away when anything fails after */
};

static inline struct path_device *path_of(struct wodan_device *device) { return (struct path_device *)(void *)device; }

/* wodan_path_device over another table. */
int path_device_open(const char *path, unsigned flags, uint64_t size, const struct path_calls *calls,
                     struct wodan_device **device, struct wodan_error *error);

/* Fills geometry and ops from the open, locked fd; makes the file as long as wished (dev_file.c), or reads what the
 * kernel knows of the block device (dev_block.c). */
int path_file_setup(const struct path_request *request, const struct stat *stat, struct path_device *path);
int path_block_setup(const struct path_request *request, const struct stat *stat, struct path_device *path);

/* WODAN_ENOSPC for a full host, else WODAN_EIO. */
int path_status(int number);
/* "'path' action: text of errno; advice", with path_status(number). */
int path_fail(const struct path_request *request, int number, const char *action, const char *advice);

/* Shared by both kinds: reads and writes continued until whole; discards by the function given (0 or errno). */
typedef int path_discard(struct path_device *path, uint64_t offset, uint64_t size);
int path_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count, path_discard *discard);
int path_flush(struct wodan_device *device);
int path_close(struct wodan_device *device);

#endif

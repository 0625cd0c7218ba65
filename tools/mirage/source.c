/* What: an image in a file or on a block device.
 *
 * Always true: it is open for reading only.
 *
 * Order: none that matters.
 *
 * See: mirage.h; tests/cli/test_mirage.sh. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mirage.h"

static int read_file(void *context, uint64_t offset, void *buffer, size_t size) {
  int fd = (int)(intptr_t)context;
  uint8_t *at = buffer;
  while (size > 0) {
    ssize_t got = pread(fd, at, size, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) return EIO; /* it was longer a moment ago */
    at += got;
    offset += (uint64_t)got;
    size -= (size_t)got;
  }
  return 0;
}

int mirage_source_open(struct mirage_source *source, const char *path, struct wodan_error *error) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END); /* of a block device too */
  if (size < 0) {
    *error = (struct wodan_error){.code = WODAN_EIO, .device_errno = errno, .block = WODAN_NO_BLOCK};
    snprintf(error->message, sizeof error->message, "%s", strerror(errno));
    if (fd >= 0) close(fd);
    return WODAN_EIO;
  }
  *source = (struct mirage_source){.context = (void *)(intptr_t)fd, .read = read_file, .size = (uint64_t)size};
  return 0;
}

void mirage_source_close(struct mirage_source *source) {
  if (source->read) close((int)(intptr_t)source->context);
  *source = (struct mirage_source){0};
}

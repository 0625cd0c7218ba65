/* Owns: the one use of the operating system's random source (fsid at format, epoch at a writable open). */
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>
#include <wodan/status.h>
#include "base/wire.h"

int random_fill(const struct wodan_hooks *hooks, void *buffer, size_t size) {
  if (hooks && hooks->random) return hooks->random(hooks->context, buffer, size) ? WODAN_EIO : 0;
  uint8_t *p = buffer;
  while (size) {
    ssize_t n = getrandom(p, size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return WODAN_EIO;
    p += n;
    size -= (size_t)n;
  }
  return 0;
}

int random_number(const struct wodan_hooks *hooks, uint64_t *number) {
  uint8_t bytes[8];
  int status = random_fill(hooks, bytes, sizeof bytes);
  if (status == 0) *number = load_u64(bytes);
  return status;
}

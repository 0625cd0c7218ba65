/* Owns: the sentences of failures. Always true: a message is NUL-terminated and one sentence; nothing is printed.
 * See: tests/unit/test_base.c. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

const char *wodan_strerror(int status) {
  switch (status) {
#define SENTENCE(name, number, sentence)                                                                               \
  case name:                                                                                                           \
    return sentence;
    WODAN_STATUS_TABLE(SENTENCE)
#undef SENTENCE
  }
  return "unknown status";
}

const char *wodan_version(void) { return WODAN_VERSION_STRING; }

static void fill(struct wodan_error *error, int code, int device_errno, uint64_t block, const char *format,
                 va_list arguments) {
  if (!error) return;
  error->code = code;
  error->device_errno = device_errno;
  error->block = block;
  vsnprintf(error->message, sizeof error->message, format, arguments);
}

int status_set(struct wodan_error *error, int code, int device_errno, uint64_t block, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fill(error, code, device_errno, block, format, arguments);
  va_end(arguments);
  return code;
}

int status_corrupt(struct wodan_error *error, uint64_t block, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fill(error, WODAN_ECORRUPT, 0, block, format, arguments);
  va_end(arguments);
  return WODAN_ECORRUPT;
}

int status_nomem(struct wodan_error *error) {
  return status_set(error, WODAN_ENOMEM, 0, WODAN_NO_BLOCK, "out of memory");
}

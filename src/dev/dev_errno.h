/* The operating system's sentence for an errno, from a constant table: safe on any thread. */
#ifndef DEV_DEV_ERRNO_H
#define DEV_DEV_ERRNO_H

#include <string.h>

static inline const char *errno_text(int number) {
#ifdef __GLIBC__
  const char *text = strerrordesc_np(number);
  return text ? text : "unknown error";
#else
  return strerror(number);
#endif
}

#endif

/* Status codes: the one list. Functions return 0 when done, a negative code on failure; only cursors return the
 * positive WODAN_DONE, "no more records". Numbers never change; new codes are added at the end. */
#ifndef WODAN_STATUS_H
#define WODAN_STATUS_H

#include <stdint.h>
#include <wodan/version.h>

WODAN_BEGIN

/*  X(name, number, sentence) */
#define WODAN_STATUS_TABLE(X)                                                                                          \
  X(WODAN_OK, 0, "success")                                                                                            \
  X(WODAN_DONE, 1, "no more records")                                                                                  \
  X(WODAN_EINVAL, -1, "an argument is not valid")                                                                      \
  X(WODAN_ENOMEM, -2, "out of memory")                                                                                 \
  X(WODAN_ENOTFOUND, -3, "the key is not there")                                                                       \
  X(WODAN_EIO, -4, "the device reported an error")                                                                     \
  X(WODAN_ECORRUPT, -5, "the image is damaged")                                                                        \
  X(WODAN_ENOSPC, -6, "no space is left in the volume")                                                                \
  X(WODAN_EBUSY, -7, "the image is in use, or views, cursors or values are open")                                      \
  X(WODAN_EREADONLY, -8, "the database or device is open for reading only")                                            \
  X(WODAN_ENOTDURABLE, -9, "the device cannot make this durable")                                                      \
  X(WODAN_ETOOBIG, -10, "a key, value or batch is too big")                                                            \
  X(WODAN_EFORMAT, -11, "this is not a Wodan image")                                                                   \
  X(WODAN_EVERSION, -12, "the image uses a version or feature this library lacks")                                     \
  X(WODAN_EBUDGET, -13, "the memory budget is too small for this image")                                               \
  X(WODAN_EFAILED, -14, "an earlier write failed; the handle only reads from now on")                                  \
  X(WODAN_EPINNED, -15, "an open view holds the space or memory that is needed")                                       \
  X(WODAN_ENEEDSFLUSH, -16, "a checkpoint is needed before this can be done")                                          \
  X(WODAN_EEXIST, -17, "something is there already; it was left untouched")                                            \
  X(WODAN_ENOTSUP, -18, "not supported by this device or build")                                                       \
  X(WODAN_ERANGE, -19, "the buffer is too small for the value")

enum wodan_status {
#define WODAN_STATUS_ENUM(name, number, sentence) name = number,
  WODAN_STATUS_TABLE(WODAN_STATUS_ENUM)
#undef WODAN_STATUS_ENUM
};

#define WODAN_NO_BLOCK UINT64_MAX

/* What failed, why and where. Filled by the functions that take one, and kept per handle (wodan_last_error). */
struct wodan_error {
  int code;          /* enum wodan_status */
  int device_errno;  /* the operating system's number, 0 when there is none */
  uint64_t block;    /* allocation block concerned, or WODAN_NO_BLOCK */
  char message[236]; /* one sentence, NUL-terminated */
};

/* The sentence of a code; for an unknown number "unknown status". A constant, never freed. Any thread. */
WODAN_API const char *wodan_strerror(int status);

WODAN_END

#endif

/* How failures travel: a code is returned, the sentence and place go into a struct wodan_error that the caller owns
 * (NULL allowed everywhere). All corruption passes through status_corrupt: one breakpoint catches any. */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <stdint.h>
#include <wodan/status.h>

/* Fills *error (when not NULL) and returns code. */
int status_set(struct wodan_error *error, int code, int device_errno, uint64_t block, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* WODAN_ECORRUPT seen at an allocation block (WODAN_NO_BLOCK when unknown). */
int status_corrupt(struct wodan_error *error, uint64_t block, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* WODAN_ENOMEM with its sentence. */
int status_nomem(struct wodan_error *error);

#endif

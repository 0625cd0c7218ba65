/* A device that forwards to another and tells each call, one line of text after it is done: for tests that look at
 * the order of calls, and for watching. Lines: "read 0 512 = 0" (offset, size, status), likewise "write" and
 * "discard"; "barrier = 0", "flush = 0", "resize 8192 = 0", "close = 0". The callback runs in the caller's thread,
 * perhaps in several at once. */
#ifndef DEV_DEV_TRACE_H
#define DEV_DEV_TRACE_H

#include <wodan/device.h>

typedef void trace_line(void *context, const char *line);

/* Owns inner from now on (closed with it), also when this fails with WODAN_ENOMEM. */
int trace_device(struct wodan_device *inner, trace_line *line, void *context, struct wodan_device **device);

#endif

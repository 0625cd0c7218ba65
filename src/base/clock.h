/* Time for statistics and discards: the user's hook, else the system's monotonic clock. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <wodan/types.h>

/* Nanoseconds, never going back. hooks may be NULL. */
uint64_t clock_now(const struct wodan_hooks *hooks);

/* Bucket of struct wodan_stats.put_delays that a delay falls into. */
unsigned clock_delay_bucket(uint64_t nanoseconds);

#endif

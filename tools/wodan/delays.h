/* The delays of commits that the engine caused, as struct wodan_stats counts them: for people and in JSON. */
#ifndef WODAN_CLI_DELAYS_H
#define WODAN_CLI_DELAYS_H

#include <stdio.h>
#include <wodan/stats.h>

struct json;

/* Commits counted. */
uint64_t delays_commits(const struct wodan_stats *stats);

/* A member [{"below_ns":N,"commits":N},…], buckets that counted something only. below_ns is null in the last bucket, which has
 * no end. */
void delays_add(struct json *json, const char *name, const struct wodan_stats *stats);

/* A table with a line a bucket that counted something; nothing when none did. */
void delays_print(FILE *out, const struct wodan_stats *stats);

/* "1.02 us": nanoseconds in the unit that reads best; text holds at least 24 bytes. */
void delays_text(char text[24], uint64_t nanoseconds);

#endif

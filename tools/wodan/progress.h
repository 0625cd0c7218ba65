/* One line on the terminal that tells how far long work is. Nothing when standard error is no terminal, and nothing
 * in the first second. */
#ifndef WODAN_CLI_PROGRESS_H
#define WODAN_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
  const char *what; /* "lines loaded" */
  uint64_t total;   /* 0: not known */
  bool enabled;
  bool shown;
  uint64_t start_ns, next_ns;
  uint64_t next_done; /* the clock is not asked before that */
};

void progress_start(struct progress *progress, const char *what, uint64_t total);
void progress_show(struct progress *progress, uint64_t done);
/* Wipes the line, so that what is printed next starts at the left. */
void progress_end(struct progress *progress);

/* Called in the innermost loops. */
static inline void progress_step(struct progress *progress, uint64_t done) {
  if (progress->enabled && done >= progress->next_done) progress_show(progress, done);
}

/* What is to be waited for yet, when `share` of it took so long: ", 3 min left"; "" in the first two seconds, which tell little. */
enum { PROGRESS_LEFT_SIZE = 64 };
void progress_left_text(char out[PROGRESS_LEFT_SIZE], uint64_t seconds, double share);

/* Nanoseconds of a clock that only goes forward. */
uint64_t progress_clock_ns(void);

#endif

/* What: the progress line.
 *
 * Always true: writes to standard error only, and only when that is a terminal.
 *
 * Order: progress_end before anything else is printed.
 *
 * See: tests/cli/test_cli.sh (no progress without a terminal). */
#include "progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { SECOND_NS = 1000000000, INTERVAL_NS = SECOND_NS / 5, STEPS = 256 };

uint64_t progress_clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

void progress_start(struct progress *progress, const char *what, uint64_t total) {
  *progress = (struct progress){.what = what, .total = total, .enabled = isatty(STDERR_FILENO) == 1};
  if (!progress->enabled) return;
  progress->start_ns = progress_clock_ns();
  progress->next_ns = progress->start_ns + SECOND_NS;
}

void progress_left_text(char out[PROGRESS_LEFT_SIZE], uint64_t seconds, double share) {
  out[0] = '\0';
  if (seconds < 2 || share <= 0 || share >= 1) return;
  unsigned long long left = (unsigned long long)((double)seconds / share * (1 - share)) + 1;
  if (left < 100)
    snprintf(out, PROGRESS_LEFT_SIZE, ", %llu s left", left);
  else if (left < 100 * 60)
    snprintf(out, PROGRESS_LEFT_SIZE, ", %llu min left", (left + 30) / 60);
  else
    snprintf(out, PROGRESS_LEFT_SIZE, ", %llu h %llu min left", left / 3600, left / 60 % 60);
}

void progress_show(struct progress *progress, uint64_t done) {
  uint64_t now = progress_clock_ns();
  progress->next_done = done + STEPS;
  if (now < progress->next_ns) return;
  progress->next_ns = now + INTERVAL_NS;
  progress->shown = true;
  double seconds = (double)(now - progress->start_ns) / SECOND_NS;
  fprintf(stderr, "\r%llu", (unsigned long long)done);
  if (progress->total != 0) fprintf(stderr, " of %llu", (unsigned long long)progress->total);
  char left[PROGRESS_LEFT_SIZE];
  progress_left_text(left, (uint64_t)seconds, progress->total ? (double)done / (double)progress->total : 0);
  fprintf(stderr, " %s, %.0f/s%s\033[K", progress->what, (double)done / seconds, left);
  fflush(stderr);
}

void progress_end(struct progress *progress) {
  if (progress->shown) fputs("\r\033[K", stderr);
  progress->enabled = false;
  progress->shown = false;
}

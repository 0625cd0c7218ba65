/* The public simulated device inside: a struct sim with the user's hook in front. */
#ifndef CRASH_SIM_WORLD_H
#define CRASH_SIM_WORLD_H

#include <wodan/sim.h>
#include "dev/dev_sim.h"

struct wodan_sim {
  struct sim *sim;
  int (*before)(void *context, struct wodan_sim *sim, const struct wodan_sim_operation *operation);
  void *context;
};

/* Copies min(given size, size) bytes of a struct whose first member is its size; 0 means the whole. */
void sim_take_options(void *to, size_t size, const void *from);

/* One state of a window. */
struct sim_state {
  const struct sim_image *image;
  uint64_t hash; /* of the image */
  const uint8_t *choice;
  size_t size; /* of choice */
};

/* The present window through the limits: struct sim inside, so that nothing is wrapped twice. */
struct sim_window {
  struct sim *sim;                                             /* looked at */
  const struct wodan_sim_limits *limits;                       /* may be NULL */
  uint64_t random;                                             /* of samples */
  struct wodan_sim_counts counts;                              /* of this window */
  bool left_out;                                               /* some family was, and sampled */
  bool (*state)(void *context, const struct sim_state *state); /* false stops */
  void *context;
};
/* 0, or WODAN_ENOMEM. *stopped: the state function said so. */
int sim_window_run(struct sim_window *window, bool *stopped);

#endif

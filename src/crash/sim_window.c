/* Owns: running through the states of one window: every family within the limits, then random states where one was left
 * out.
 * Always true: the window's device is not changed; a window with nothing in flight has one state.
 * See: sim_world.h, dev_sim_crash.c, tests/crash/test_sim.c. */
#include "base/mem.h"
#include "crash/sim_world.h"

enum { HEADER = 4 };

static int run_sampled(struct sim_window *window, uint32_t samples, bool *stopped) {
  struct mem mem;
  struct sim_image image;
  struct sim_seen seen = {0};
  size_t most = sim_choice_size_max(window->sim);
  mem_init(&mem, NULL);
  if (sim_image_init(&image, window->sim) < 0) return WODAN_ENOMEM;
  uint8_t *choice = mem_alloc(&mem, most);
  for (uint32_t i = 0; choice && i < samples && !*stopped; i++) {
    size_t size = sim_choice_sample(window->sim, &window->random, i % 3 == 0, choice);
    sim_image_choose(&image, window->sim, choice, size);
    window->counts.states++;
    struct sim_state state = {&image, sim_image_hash(&image), choice, size};
    if (sim_seen_add(&seen, state.hash) == 0) continue;
    window->counts.distinct++;
    *stopped = !window->state(window->context, &state);
  }
  if (choice) mem_free(&mem, choice, most);
  sim_seen_release(&seen);
  sim_image_release(&image);
  return choice ? 0 : WODAN_ENOMEM;
}

static int run_still(struct sim_window *window, bool *stopped) {
  static const uint8_t choice[HEADER];
  struct sim_image image;
  if (sim_image_init(&image, window->sim) < 0) return WODAN_ENOMEM;
  window->counts.states++;
  window->counts.distinct++;
  struct sim_state state = {&image, sim_image_hash(&image), choice, sizeof choice};
  *stopped = !window->state(window->context, &state);
  sim_image_release(&image);
  return 0;
}

int sim_window_run(struct sim_window *window, bool *stopped) {
  static const struct wodan_sim_limits all;
  const struct wodan_sim_limits *limits = window->limits ? window->limits : &all;
  struct sim_crash_options options = {.families = limits->families,
                                      .block = limits->block,
                                      .units_max = limits->units_max,
                                      .sectors_max = limits->sectors_max,
                                      .contents_max = limits->contents_max,
                                      .states_max = limits->states_max};
  struct sim_crash_iter *iter;
  const struct sim_image *image;
  window->counts.windows++;
  *stopped = false;
  if (sim_window_elements(window->sim) == 0) return run_still(window, stopped);
  int status = sim_crash_begin(window->sim, &options, &iter);
  if (status < 0) return status;
  while (!*stopped && sim_crash_next(iter, &image)) {
    struct sim_state state = {.image = image, .hash = sim_crash_hash(iter)};
    state.choice = sim_crash_choice(iter, &state.size);
    *stopped = !window->state(window->context, &state);
  }
  window->counts.states += sim_crash_states(iter);
  window->counts.distinct += sim_crash_images(iter);
  uint32_t skipped = sim_crash_skipped(iter);
  if (sim_crash_starved(iter)) status = WODAN_ENOMEM;
  sim_crash_end(iter);
  window->counts.families += (skipped & SIM_SECTORS) != 0;
  window->counts.sampled += (skipped & ~(uint32_t)(SIM_SECTORS | SIM_CONTENTS)) != 0;
  window->left_out = skipped != 0;
  if (status < 0 || !skipped || !limits->samples || *stopped) return status;
  return run_sampled(window, limits->samples, stopped);
}

/* A simulated device that can be pulled out and plugged in again: the handle on top closes, the sim stays. */
#ifndef CRASH_SIM_PLUG_H
#define CRASH_SIM_PLUG_H

#include "dev/dev_sim.h"

/* A device that passes everything on to `sim`; closing it frees only itself. NULL: no memory. */
struct wodan_device *sim_plug(struct sim *sim);
/* From now on nothing passes (each request answers WODAN_EIO): the process died, or the cable is out. What the sim
 * holds, window included, stays. The handle above may then be closed to free its memory. */
void sim_unplug(struct wodan_device *device);

#endif

/* Gate: passes everything on to another device, but on demand holds whoever writes to the data area, or flushes, or answers
 * that writing failed. So a test can look at maintenance that stands in the middle of something. Writes in front of `data`
 * (superblock and journal) always pass. Any thread. */
#ifndef SUPPORT_GATE_DEVICE_H
#define SUPPORT_GATE_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <wodan/device.h>

struct gate {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  uint64_t data;       /* byte offset where the data area begins */
  uint64_t pass;       /* so many writes to it pass before it closes; UINT64_MAX: it stays open */
  uint64_t fail;       /* so many pass before all fail; UINT64_MAX: none fails */
  bool flushes_closed; /* flushes wait */
  unsigned standing;   /* who waits now */
};

void gate_init(struct gate *gate, uint64_t data);
void gate_release(struct gate *gate);
/* Closing the device closes `inner`; the gate stays. */
struct wodan_device *gate_plug(struct gate *gate, struct wodan_device *inner);

void gate_close_after(struct gate *gate, uint64_t writes);
void gate_fail_after(struct gate *gate, uint64_t writes);
void gate_close_flushes(struct gate *gate);
void gate_open(struct gate *gate); /* everything passes, and has passed when it returns */
/* Whether someone stands at it; waits for that up to so long. What a thread that stands there did before may then be looked
 * at. */
bool gate_stands(struct gate *gate, unsigned milliseconds);

#endif

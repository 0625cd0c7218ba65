/* Fault loops over the public interface: the n-th allocation, or the n-th operation of a kind on a simulated device, fails
 * while a public function runs. Every call under a loop is named, so that a function which no loop calls can be told.
 *
 * The program is linked with -Wl,--wrap=malloc,--wrap=aligned_alloc,--wrap=free: allocations of the library fail wherever
 * they come from, those of the test and of the C library do not. One thread. */
#ifndef CRASH_FAULT_LOOP_H
#define CRASH_FAULT_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wodan/sim.h>

enum loop_kind {
  LOOP_NONE,
  LOOP_MEMORY,
  LOOP_READ,
  LOOP_FALSE_READ, /* answers 0, with garbage */
  LOOP_STALE_READ, /* answers 0, with what was durable before the last content */
  LOOP_WRITE,
  LOOP_BARRIER,
  LOOP_FLUSH,
  LOOP_DISCARD,
  LOOP_KINDS
};
enum loop_mode {
  LOOP_ONCE,
  LOOP_EVER,
  LOOP_LIES, /* once; then the next read gives garbage, and no write or flush is done, though all say that it worked */
  LOOP_MODES
};
extern const char *const loop_kind_names[LOOP_KINDS];
extern const char *const loop_mode_names[LOOP_MODES];

struct loop_fault {
  enum loop_kind kind;
  enum loop_mode mode;
  uint64_t at; /* from 1 */
};

/* Counters from 0. Reads, writes and flushes have all modes, the others no lies. With a kind of I/O the fault is set on the device, which may be NULL for the others. */
void loop_arm(const struct loop_fault *fault, struct wodan_sim *sim);
/* No more faults. What struck stays to be asked. */
void loop_disarm(void);
uint64_t loop_struck(void);
/* Allocations inside public functions since it was armed; how many pieces of that kind nobody has given back yet. */
uint64_t loop_allocations(void);
long loop_live(void);

/* Every public function of include/wodan that no armed loop has called is told on standard error; how many. */
unsigned loop_missing(const char *include_folder);
/* A line a function: calls under loops, and faults that struck inside it. */
void loop_print(void);

/* A call of a function that returns a status, under the fault; of one that returns nothing; and of one that only tells. */
#define TRY(function, ...) (loop_enter(#function), loop_left(function(__VA_ARGS__)))
#define RUN(function, ...) (loop_enter(#function), function(__VA_ARGS__), (void)loop_left(0))
#define ASK(function, ...) (loop_enter(#function), (void)loop_left(0), function(__VA_ARGS__))

void loop_enter(const char *function);
int loop_left(int status);

#endif

/* Small measurements of single rooms of the engine. The rooms are C and may be looked at from inside only in C, so each file
 * micro_<room>.c hands out its measurements as a table, and micro.cc gives them to Google Benchmark. */
#ifndef BENCH_MICRO_H
#define BENCH_MICRO_H

#include <stddef.h>
#include <stdint.h>

#include "common.h"

WODAN_BEGIN

struct micro {
  char name[64]; /* room/what/of which */
  size_t which;  /* handed to create */
  void *(*create)(size_t which);
  /* Does `count` operations; ends the program when an answer is wrong. */
  void (*run)(void *state, uint64_t count);
  void (*destroy)(void *state);
  uint64_t chunk; /* operations of one call of run */
  uint64_t bytes; /* bytes an operation goes over; 0: no bytes a second are told */
};

/* Each calls add for its measurements. */
typedef void micro_add(void *context, const struct micro *micro);
void micro_page_search(micro_add *add, void *context);
void micro_page_codec(micro_add *add, void *context);
void micro_memtable(micro_add *add, void *context);
void micro_filter(micro_add *add, void *context);
void micro_checksum(micro_add *add, void *context);
void micro_space(micro_add *add, void *context);

/* Never NULL. */
void *micro_allocate(size_t size);
/* A few static bytes that the compiler must take for used. */
void micro_use(uint64_t value);

WODAN_END

#endif

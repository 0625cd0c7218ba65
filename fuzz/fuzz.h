/* What a fuzz target gives and gets. A target is one file: it defines the first four, for libFuzzer (fuzzing) and for
 * replay.c (everything else) alike. See README.md. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Runs one input; always 0. A finding ends the process (fuzz_fail, a sanitizer, an assert). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Changes data in place and repairs what checksums it holds; the new size. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed);
/* The input number `number` of the seed corpus, made by the product itself; 0: there are no more. */
size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max);
/* No input is longer. */
extern const size_t fuzz_size_max;

/* Given by libFuzzer, or by replay.c without guidance. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);

/* Tells what is wrong and ends the process. */
_Noreturn void fuzz_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The sentence is wanted: a finding is read by somebody who has only that. */
#define FUZZ_FAIL(...) fuzz_fail(__FILE__, __LINE__, __VA_ARGS__)
#define FUZZ_CHECK(condition)                                                                                          \
  do {                                                                                                                 \
    if (!(condition)) fuzz_fail(__FILE__, __LINE__, "not so: %s", #condition);                                         \
  } while (0)

#endif

/* Measures: the encoding of pages: building a page of 16 KiB from records, proving one that was read, and going through its
 * records in order. Per record of 16 + 100 bytes behind the table id.
 * See: src/format/page.h. */
#include <stdlib.h>
#include <string.h>

#include "format/page.h"
#include "micro.h"

enum { PAGE = 16384, KEY = 17, VALUE = 100, RECORDS = PAGE / (4 + 2 + 5 + KEY + VALUE) };

struct codec {
  struct mem mem;
  struct page_builder *builder;
  uint8_t keys[RECORDS][KEY], value[VALUE], page[PAGE];
  size_t size;
};

static void build(struct codec *c) {
  for (uint64_t i = 0; i < RECORDS; i++) {
    struct record record = {.key = {c->keys[i], KEY}, .sequence = 1000 + i * 7 % 64, .value = {c->value, VALUE}};
    if (!page_builder_add(c->builder, &record)) bench_die("out of memory");
  }
  c->size = page_builder_size(c->builder);
  if (c->size > PAGE) bench_die("the records do not fit into a page");
  page_builder_finish(c->builder, c->page);
}

static int by_bytes(const void *a, const void *b) { return memcmp(a, b, KEY); }

static void *create(size_t which) {
  (void)which;
  struct codec *c = micro_allocate(sizeof *c);
  mem_init(&c->mem, NULL);
  c->builder = page_builder_create(&c->mem);
  if (!c->builder) bench_die("out of memory");
  for (uint64_t i = 0; i < RECORDS; i++) {
    c->keys[i][0] = TABLE_DEFAULT;
    bench_key(1, i, c->keys[i] + 1);
  }
  qsort(c->keys, RECORDS, KEY, by_bytes);
  bench_value(1, 1, c->value, VALUE);
  build(c);
  return c;
}

static void destroy(void *state) {
  struct codec *c = state;
  page_builder_free(c->builder);
  free(c);
}

static void run_build(void *state, uint64_t count) {
  for (uint64_t i = 0; i < count; i += RECORDS) build(state);
}

static void run_validate(void *state, uint64_t count) {
  struct codec *c = state;
  for (uint64_t i = 0; i < count; i += RECORDS)
    if (!page_validate(c->page, c->size)) bench_die("a page is not valid that was just built");
}

static void run_walk(void *state, uint64_t count) {
  struct codec *c = state;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < count; i += RECORDS) {
    struct page page = page_view(c->page);
    for (uint32_t k = 0; k < page.count; k++) {
      struct page_record record = page_record(&page, k);
      sum += record.suffix.size + record.value.size;
    }
  }
  micro_use(sum);
}

void micro_page_codec(micro_add *add, void *context) {
  static const struct micro all[] = {
      {"page/build", 0, create, run_build, destroy, RECORDS * 4, KEY + VALUE},
      {"page/validate", 0, create, run_validate, destroy, RECORDS * 4, KEY + VALUE},
      {"page/walk", 0, create, run_walk, destroy, RECORDS * 4, KEY + VALUE},
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) add(context, &all[i]);
}

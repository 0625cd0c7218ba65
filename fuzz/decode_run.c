/* What: runs of any bytes: header, index, filter, pages. Demanded of what opens: keys ascend both ways, each is found by a lookup or
 * denied by the filter, and all memory is given back.
 *
 * See: support/object.h for the mutator. */
#include <string.h>
#include "run/run.h"
#include "support/object.h"

const size_t fuzz_size_max = OBJECT_MAX;
enum { PAGE = 512, FRAMES = 32, SHELF = 1 << 20, RECORDS_MAX = OBJECT_MAX };

static struct run_env *env(void) {
  static struct run_env one;
  if (one.mem) return &one;
  static struct mem own; /* the volume's counts what runs leave behind */
  struct block_io *io = object_io();
  mem_init(&own, NULL);
  one = (struct run_env){.mem = io->mem, .io = io, .page_size = PAGE, .epoch = {7, 99}};
  one.cache = cache_create(&own, PAGE, FRAMES);
  one.compressor = compressor_create(&own, COMPRESSION_HIGH, PAGE);
  one.shelf = run_shelf_create(&own, SHELF);
  one.space = space_create(&own, VOLUME.data_first, VOLUME.data_end);
  if (!one.cache || !one.shelf || !one.space || !one.compressor) FUZZ_FAIL("no memory");
  return &one;
}

static void look_up(struct run *run, struct wodan_slice key, uint64_t sequence) {
  struct record record;
  struct frame *pin;
  int status = run_get(run, key, run_key_hash(env(), key), &record, &pin, NULL);
  if (status) return;
  FUZZ_CHECK(record.sequence == sequence);
  cache_unpin(pin);
}

static void walk(struct run *run, bool back) {
  struct iterator *it = run_iterator(run);
  uint8_t before[PAGE]; /* and no key is longer */
  struct wodan_slice previous = {before, 0};
  if (!it) FUZZ_FAIL("no memory");
  int status = back ? iterator_last(it, NULL) : iterator_first(it, NULL);
  for (unsigned records = 0; status == 0 && it->valid; records++) {
    FUZZ_CHECK(records < RECORDS_MAX && it->record.key.size <= sizeof before);
    int order = records ? key_compare(previous, it->record.key) : 0;
    if (records && (back ? order <= 0 : order >= 0)) FUZZ_FAIL("the keys of a run do not ascend");
    memcpy(before, it->record.key.data, it->record.key.size);
    previous.size = it->record.key.size;
    if (!back) look_up(run, previous, it->record.sequence);
    status = back ? iterator_prev(it, NULL) : iterator_next(it, NULL);
  }
  iterator_close(it);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct block_ptr ptr;
  struct run_env *e = env();
  if (!object_place(data, size, OBJECT_RUN, &ptr)) return 0;
  struct run *run = run_create(e, &ptr, (struct wodan_slice){NULL, 0});
  if (!run) FUZZ_FAIL("no memory");
  if (run_open_body(run, NULL) == 0) {
    struct run_shape shape;
    run_shape(run, &shape);
    FUZZ_CHECK(key_compare(shape.low, shape.high) <= 0 && shape.page_count > 0);
    walk(run, false);
    walk(run, true);
    run_close_body(run);
  }
  run_unref(run);
  FUZZ_CHECK(run_shelf_counts(e->shelf).bytes == 0 && mem_used(e->mem) == 0);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  return object_mutate(data, size, size_max, seed);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) {
  static const unsigned counts[] = {1, 5, 40, 80, 30, 50}; /* the last two compressed */
  if (number >= 6 || size_max < OBJECT_MAX) return 0;
  struct run_env *e = env();
  struct run_builder *builder;
  struct block_ptr ptr;
  space_free(e->space); /* so that each lies at the start of the data area */
  static struct mem own;
  mem_init(&own, NULL);
  e->space = space_create(&own, VOLUME.data_first, VOLUME.data_end);
  bool packed = number >= 4;
  uint8_t text[48] = "compressible text, compressible text, and so on";
  struct run_build_options options = {.size_max = run_size_bound(e, counts[number], counts[number] * 80, true),
                                      .compress = packed ? COMPRESSION_HIGH : COMPRESSION_OFF,
                                      .filter = number % 2};
  if (run_builder_create(e, &options, &builder, NULL) < 0) FUZZ_FAIL("no memory");
  for (unsigned i = 0; i < counts[number]; i++) {
    uint8_t key[12] = "\x01key 00000";
    key[8] = (uint8_t)i;
    struct record record = {
        {key, 11}, 500 - i, i % 5 == 4 ? RECORD_DELETE : RECORD_PUT, {key, i % 5 == 4 ? 0 : i % 12}};
    if (packed) record.kind = RECORD_PUT, record.value = (struct wodan_slice){text, 30 + i % 18};
    if (run_builder_add(builder, &record, NULL) < 0) FUZZ_FAIL("a seed cannot be built");
  }
  if (run_builder_finish(builder, 77, &ptr, NULL, NULL) < 0) FUZZ_FAIL("a seed cannot be built");
  if (ptr.extent_count != 1 || ptr.extents[0].first != VOLUME.data_first || ptr.length > size_max)
    FUZZ_FAIL("a seed lies elsewhere: block %llu", (unsigned long long)ptr.extents[0].first);
  memcpy(out, object_bytes(), (size_t)ptr.length);
  return (size_t)ptr.length;
}

/* Compressed pages in runs: they read as any, take less of the device, are passed on as they are stored, and when they lie
 * nothing but an error or a page that obeys its format comes of it. */
#include "run_world.h"

enum { MEMORY_FAILS = 200 };

/* ---- support ------------------------------------------------------------------------------------------------- */

struct packed_world {
  struct world w;
  struct run_counters counters;
  struct mem own; /* the compressor's */
};

static void packed_open(struct packed_world *p, uint32_t page, enum compression how) {
  memset(p, 0, sizeof *p);
  world_open(&p->w, page < 4096 ? page : 4096, page, 2048, 64);
  mem_init(&p->own, NULL);
  p->w.compression = how;
  if (how) assert_non_null(p->w.env.compressor = compressor_create(&p->own, how, page));
  p->w.env.counters = &p->counters;
  p->w.env.packed = how != COMPRESSION_OFF;
}

static void packed_close(struct packed_world *p) {
  compressor_free(p->w.env.compressor);
  assert_int_equal(mem_used(&p->own), 0);
  world_close(&p->w);
}

/* Record i, as a leaf has them: no deletes. noise: the value is random. */
static struct record leaf_record(uint64_t i, bool noise, char *key, char *value) {
  static const char text[] = "the quick brown fox jumps over the lazy dog, and so does every other fox of its kind";
  struct record record = {.key = key_of(i, key), .sequence = 1000 + i * 7919 % 4096};
  size_t size = 20 + i % 60;
  random_state = i;
  for (size_t n = 0; n < size; n++) value[n] = noise ? (char)random_next() : text[(n + i) % (sizeof text - 1)];
  record.value = (struct wodan_slice){value, size};
  return record;
}

static struct run_builder *leaf_builder(struct world *w, uint64_t count) {
  struct run_build_options options = {
      .size_max = run_size_bound(&w->env, count, count * 128, false), .kind = SPACE_LEAF, .compress = w->compression};
  struct run_builder *builder = NULL;
  if (run_builder_create(&w->env, &options, &builder, NULL)) return NULL;
  return builder;
}

static int try_leaf(struct world *w, uint64_t count, bool noise, struct block_ptr *ptr) {
  struct run_builder *builder = leaf_builder(w, count);
  char key[64], value[128];
  int status = builder ? 0 : WODAN_ENOMEM;
  for (uint64_t i = 0; i < count && !status; i++) {
    struct record record = leaf_record(i, noise, key, value);
    status = run_builder_add(builder, &record, NULL);
  }
  if (!status) return run_builder_finish(builder, 5, ptr, NULL, NULL);
  run_builder_abort(builder);
  return status;
}

static struct block_ptr leaf(struct world *w, uint64_t count, bool noise) {
  struct block_ptr ptr = {0};
  assert_int_equal(try_leaf(w, count, noise, &ptr), 0);
  return ptr;
}

/* Every record both ways and by lookup. */
static void assert_leaf(struct world *w, struct run *run, uint64_t count, bool noise) {
  char key[64], value[128];
  struct iterator *it = run_iterator(run);
  assert_int_equal(iterator_first(it, NULL), 0);
  for (uint64_t i = 0; i < count; i++) {
    struct record wanted = leaf_record(i, noise, key, value), found;
    struct frame *pin;
    assert_true(it->valid && key_compare(it->record.key, wanted.key) == 0 && it->record.sequence == wanted.sequence);
    assert_int_equal(it->record.value.size, wanted.value.size);
    assert_memory_equal(it->record.value.data, value, wanted.value.size);
    assert_int_equal(get(w, run, wanted.key, &found, &pin, NULL), 0);
    assert_memory_equal(found.value.data, value, wanted.value.size);
    cache_unpin(pin);
    assert_int_equal(iterator_next(it, NULL), 0);
  }
  assert_false(it->valid);
  iterator_close(it);
}

/* The object's bytes; free them. */
static uint8_t *object_of(struct world *w, const struct block_ptr *ptr, uint64_t *room) {
  uint64_t block = w->io.bounds.block_size;
  *room = (ptr->length + block - 1) / block * block;
  uint8_t *object = aligned_alloc(4096, (*room + 4095) / 4096 * 4096);
  assert_non_null(object);
  assert_int_equal(block_io_read(&w->io, ptr->extents, ptr->extent_count, 0, object, *room, NULL), 0);
  return object;
}

static struct object_header header_of(struct world *w, const struct block_ptr *ptr, const uint8_t *object) {
  struct object_header header;
  assert_true(object_header_decode(object, ptr->header_length, w->io.seed, w->io.fsid, &w->io.bounds, &header));
  return header;
}

/* The index in an object's bytes. */
static struct page index_in(const struct object_header *header, const uint8_t *object) {
  return page_view(object + object_section(header, SECTION_INDEX)->offset);
}

static struct index_entry entry_in(const struct page *index, uint32_t at) {
  struct index_entry entry;
  struct wodan_slice value = page_record(index, at).value;
  assert_true(index_entry_decode(value.data, value.size, &entry));
  return entry;
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

static void test_run_packed__reads_as_any_and_takes_less(void **state) {
  (void)state;
  for (uint32_t page = 512; page <= 16384; page *= 2) {
    uint64_t length[3], count = page / 16;
    for (int how = COMPRESSION_OFF; how <= COMPRESSION_HIGH; how++) {
      struct packed_world p;
      packed_open(&p, page, (enum compression)how);
      struct block_ptr ptr = leaf(&p.w, count, false);
      struct run *run = open_run(&p.w, &ptr);
      length[how] = ptr.length;
      assert_leaf(&p.w, run, count, false);
      const struct run_counters *c = &p.counters;
      assert_int_equal(atomic_load(&c->leaf_pages_packed) > 0, how != COMPRESSION_OFF);
      assert_int_equal(atomic_load(&c->leaf_bytes) > atomic_load(&c->leaf_stored_bytes), how != COMPRESSION_OFF);
      assert_int_equal(atomic_load(&c->read), atomic_load(&c->leaf_pages)); /* each once: all fit into the cache */
      assert_int_equal(atomic_load(&c->read_bytes), atomic_load(&c->leaf_bytes));
      assert_int_equal(atomic_load(&c->read_stored_bytes), atomic_load(&c->leaf_stored_bytes));
      assert_int_equal(atomic_load(&c->leaf_pages_passed), 0);
      run_unref(run);
      packed_close(&p);
    }
    print_message("page %u: %llu bytes, fast %llu, high %llu\n", page, (unsigned long long)length[0],
                  (unsigned long long)length[1], (unsigned long long)length[2]);
    assert_true(length[2] <= length[1] && length[1] < length[0]);
  }
}

/* What does not gain is written as without compression, to the byte; so is a run that does not ask for it. */
static void test_run_packed__what_gains_nothing_is_as_without(void **state) {
  (void)state;
  for (int filtered = 0; filtered < 2; filtered++) {
    struct packed_world off, on;
    uint64_t room[2];
    packed_open(&off, 2048, COMPRESSION_OFF);
    packed_open(&on, 2048, COMPRESSION_HIGH);
    struct block_ptr a = filtered ? build(&off.w, 300, true) : leaf(&off.w, 300, true);
    struct block_ptr b = filtered ? build(&on.w, 300, true) : leaf(&on.w, 300, true);
    uint8_t *x = object_of(&off.w, &a, &room[0]), *y = object_of(&on.w, &b, &room[1]);
    assert_int_equal(room[0], room[1]);
    assert_memory_equal(x, y, room[0]);
    assert_int_equal(atomic_load(&on.counters.leaf_pages_packed), 0);
    free(x);
    free(y);
    packed_close(&off);
    packed_close(&on);
  }
}

/* ---- passing on ---------------------------------------------------------------------------------------------- */

/* All pages of a run into another one. The last one is half full or more, so each is taken. */
static struct block_ptr pass(struct world *w, struct run *run, uint64_t count, struct run_kept_page *kept) {
  struct run_builder *builder = leaf_builder(w, count);
  struct iterator *it = kept ? run_iterator_keeping(run, kept) : run_iterator(run);
  struct block_ptr ptr = {0};
  assert_int_equal(iterator_first(it, NULL), 0);
  while (it->valid) {
    struct page_bytes page;
    bool taken;
    assert_true(run_iterator_whole_page(it, NULL, &page));
    assert_int_equal(run_builder_add_page(builder, &page, &taken, NULL), 0);
    assert_true(taken);
    assert_int_equal(run_iterator_skip_page(it, NULL), 0);
  }
  iterator_close(it);
  assert_int_equal(run_builder_finish(builder, 5, &ptr, NULL, NULL), 0);
  return ptr;
}

static void assert_same_object(struct world *w, const struct block_ptr *a, const struct block_ptr *b) {
  uint64_t room[2];
  uint8_t *x = object_of(w, a, &room[0]), *y = object_of(w, b, &room[1]);
  assert_int_equal(a->length, b->length);
  assert_memory_equal(x + a->header_length, y + a->header_length, a->length - a->header_length);
  free(x);
  free(y);
}

static void test_run_packed__pages_are_passed_on_as_stored(void **state) {
  (void)state;
  enum { COUNT = 700 };
  struct packed_world p;
  packed_open(&p, 2048, COMPRESSION_HIGH);
  struct block_ptr first = leaf(&p.w, COUNT, false);
  struct run *run = open_run(&p.w, &first);
  uint64_t packed = atomic_load(&p.counters.leaf_pages_packed), reads;
  struct run_kept_page kept = {.bytes = malloc(2048)};
  compressor_free(p.w.env.compressor); /* passing on needs none */
  p.w.env.compressor = NULL;
  p.w.compression = COMPRESSION_OFF;

  struct block_ptr cold = pass(&p.w, run, COUNT, &kept);
  assert_same_object(&p.w, &first, &cold);
  assert_int_equal(atomic_load(&p.counters.leaf_pages_passed), packed);
  reads = atomic_load(&p.w.device.counters.reads);
  struct block_ptr warm = pass(&p.w, run, COUNT, &kept); /* pages in the cache: what is stored is read once more */
  assert_same_object(&p.w, &first, &warm);
  assert_int_equal(atomic_load(&p.counters.leaf_pages_passed), 2 * packed);
  assert_true(atomic_load(&p.w.device.counters.reads) > reads);

  struct block_ptr whole = pass(&p.w, run, COUNT, NULL); /* nothing kept and no compressor: uncompressed again */
  assert_true(whole.length > first.length);
  assert_non_null(p.w.env.compressor = compressor_create(&p.own, COMPRESSION_HIGH, 2048));
  p.w.compression = COMPRESSION_HIGH;
  struct block_ptr again = pass(&p.w, run, COUNT, NULL); /* nothing kept: compressed again */
  assert_same_object(&p.w, &first, &again);
  for (const struct block_ptr *ptr = (struct block_ptr[]){cold, warm, whole, again, {0}}; ptr->generation; ptr++) {
    struct run *copy = open_run(&p.w, ptr);
    assert_leaf(&p.w, copy, COUNT, false);
    run_unref(copy);
  }
  free(kept.bytes);
  run_unref(run);
  packed_close(&p);
}

/* A page is in the cache, what is stored of it has rotted since: the good one is written, not an error and not the rot. */
static void test_run_packed__rot_under_a_cached_page_is_not_passed_on(void **state) {
  (void)state;
  enum { COUNT = 700 };
  struct packed_world p;
  packed_open(&p, 2048, COMPRESSION_FAST);
  struct block_ptr first = leaf(&p.w, COUNT, false);
  struct run *run = open_run(&p.w, &first);
  struct run_kept_page kept = {.bytes = malloc(2048)};
  assert_leaf(&p.w, run, COUNT, false);
  uint64_t room;
  uint8_t *object = object_of(&p.w, &first, &room);
  object[first.header_length + 200] ^= 4;
  assert_int_equal(block_io_write(&p.w.io, first.extents, first.extent_count, 0, object, room, NULL), 0);
  struct block_ptr copied = pass(&p.w, run, COUNT, &kept);
  object[first.header_length + 200] ^= 4;
  assert_int_equal(block_io_write(&p.w.io, first.extents, first.extent_count, 0, object, room, NULL), 0);
  assert_same_object(&p.w, &first, &copied);
  assert_true(atomic_load(&p.counters.leaf_pages_passed) > 0);
  free(object);
  free(kept.bytes);
  run_unref(run);
  packed_close(&p);
}

/* ---- lies ---------------------------------------------------------------------------------------------------- */

/* Writes the object with every checksum made good, but for what it tells of its pages. */
static void put_object(struct world *w, struct block_ptr *ptr, struct object_header *header, uint8_t *object,
                       uint64_t room) {
  struct section *section = &header->sections[1];
  section->checksum = checksum(w->io.seed, object + section->offset, section->length);
  assert_true(object_header_encode(header, w->io.seed, object));
  ptr->checksum = header->checksum;
  assert_int_equal(block_io_write(&w->io, ptr->extents, ptr->extent_count, 0, object, room, NULL), 0);
}

/* What a reader makes of it: 0 and keys that ascend, or a failure. */
static int read_through(struct world *w, const struct block_ptr *ptr) {
  struct run *run = open_run(w, ptr);
  struct iterator *it = run_iterator(run);
  char before[64];
  struct wodan_slice previous = {before, 0};
  int status = iterator_first(it, NULL);
  while (!status && it->valid) {
    assert_true(it->record.key.size <= sizeof before);
    assert_true(previous.size == 0 || key_compare(previous, it->record.key) < 0);
    memcpy(before, it->record.key.data, it->record.key.size);
    previous.size = it->record.key.size;
    status = iterator_next(it, NULL);
  }
  iterator_close(it);
  run_unref(run);
  return status;
}

static void test_run_packed__any_flipped_bit_behind_a_good_checksum(void **state) {
  (void)state;
  struct packed_world p;
  packed_open(&p, 1024, COMPRESSION_HIGH);
  struct block_ptr ptr = leaf(&p.w, 24, false);
  uint64_t room, errors = 0, pages = 0;
  uint8_t *object = object_of(&p.w, &ptr, &room);
  struct object_header header = header_of(&p.w, &ptr, object);
  struct page index = index_in(&header, object);
  struct index_entry entry = entry_in(&index, 0);
  struct wodan_slice value = page_record(&index, 0).value;
  uint8_t *sum = (uint8_t *)(uintptr_t)value.data + value.size - 8;
  assert_true(index.count > 1 && entry.length < entry.size);
  assert_int_equal(read_through(&p.w, &ptr), 0);
  for (uint64_t bit = 0; bit < entry.length * 8ull; bit++) {
    object[entry.offset + bit / 8] ^= (uint8_t)(1u << bit % 8);
    store_u64(sum, checksum(p.w.io.seed, object + entry.offset, entry.length));
    put_object(&p.w, &ptr, &header, object, room);
    int status = read_through(&p.w, &ptr);
    if (status && status != WODAN_ECORRUPT) fail_msg("bit %llu: answered %d", (unsigned long long)bit, status);
    errors += status != 0;
    pages += status == 0;
    object[entry.offset + bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  print_message("%llu flips are errors, %llu give another valid page\n", (unsigned long long)errors,
                (unsigned long long)pages);
  assert_true(errors > pages / 4); /* literals of values are anybody's; lengths, offsets and keys are not */
  store_u64(sum, entry.checksum);
  put_object(&p.w, &ptr, &header, object, room);
  assert_int_equal(read_through(&p.w, &ptr), 0);
  free(object);
  packed_close(&p);
}

/* The first page's entry in the index tells another size; everything else of the object is right. */
static int with_size(struct packed_world *p, const struct block_ptr *whole, uint64_t size) {
  uint64_t room;
  struct block_ptr ptr = *whole;
  uint8_t *object = object_of(&p->w, &ptr, &room), *untouched = object_of(&p->w, &ptr, &room);
  struct object_header header = header_of(&p->w, &ptr, object);
  struct page index = index_in(&header, object);
  struct wodan_slice value = page_record(&index, 0).value;
  struct wire_reader r = wire_reader(value.data, value.size);
  wire_get_varint(&r);
  wire_get_varint(&r);
  struct wire_writer w = wire_writer((uint8_t *)(uintptr_t)value.data + r.at, value.size - r.at - 8);
  wire_put_varint(&w, size);
  assert_true(!w.failed && w.at == value.size - r.at - 8); /* of the same length */
  put_object(&p->w, &ptr, &header, object, room);
  int status = read_through(&p->w, &ptr);
  assert_int_equal(block_io_write(&p->w.io, ptr.extents, ptr.extent_count, 0, untouched, room, NULL), 0);
  free(object);
  free(untouched);
  return status;
}

static void test_run_packed__a_size_that_lies_is_damage(void **state) {
  (void)state;
  struct packed_world p;
  packed_open(&p, 4096, COMPRESSION_FAST);
  struct block_ptr ptr = leaf(&p.w, 200, false);
  uint64_t room;
  uint8_t *object = object_of(&p.w, &ptr, &room);
  struct object_header header = header_of(&p.w, &ptr, object);
  struct page index = index_in(&header, object);
  struct index_entry entry = entry_in(&index, 0);
  free(object);
  assert_int_equal(with_size(&p, &ptr, entry.size), 0);
  for (uint64_t size = 128; size < 16384; size += size < entry.size + 300 ? 1 : 37) /* two bytes as a varint */
    if (size != entry.size) assert_int_equal(with_size(&p, &ptr, size), WODAN_ECORRUPT);
  assert_int_equal(read_through(&p.w, &ptr), 0);
  assert_true(atomic_load(&p.w.mem.peak) < 1 << 20); /* nothing is taken for what only claims to be large */
  packed_close(&p);
}

/* ---- memory -------------------------------------------------------------------------------------------------- */

struct counted {
  uint64_t left; /* allocations until one fails */
  bool failed;
};

static void *counted_allocate(void *context, size_t size, size_t alignment) {
  struct counted *counted = context;
  if (counted->left == 0) {
    counted->failed = true;
    return NULL;
  }
  counted->left--;
  return aligned_alloc(alignment < 16 ? 16 : alignment, (size + alignment + 15) / alignment * alignment);
}

static void counted_release(void *context, void *memory, size_t size) {
  (void)context, (void)size;
  free(memory);
}

/* Each allocation fails once: no memory is told, none is lost, and what was read before still is. */
static void test_run_packed__each_allocation_may_fail(void **state) {
  (void)state;
  enum { COUNT = 120 };
  struct packed_world p;
  packed_open(&p, 1024, COMPRESSION_FAST);
  struct block_ptr ptr = leaf(&p.w, COUNT, false);
  struct wodan_allocator plain = p.w.mem.hooks;
  uint64_t n = 0;
  for (struct counted counted = {.failed = true}; counted.failed; n++) {
    assert_true(n < MEMORY_FAILS);
    counted = (struct counted){.left = n};
    struct run *run = open_run(&p.w, &ptr);
    char key[64];
    struct record record;
    struct frame *pin = NULL;
    p.w.mem.hooks = (struct wodan_allocator){&counted, counted_allocate, counted_release};
    int status = get(&p.w, run, key_of(50, key), &record, &pin, NULL);
    if (!status) cache_unpin(pin);
    assert_int_equal(status, counted.failed ? WODAN_ENOMEM : 0);
    run_unref(run);
    p.w.mem.hooks = plain;
  }
  print_message("%llu allocations\n", (unsigned long long)n);
  struct run *run = open_run(&p.w, &ptr);
  assert_leaf(&p.w, run, COUNT, false);
  run_unref(run);
  packed_close(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_run_packed__reads_as_any_and_takes_less),
      cmocka_unit_test(test_run_packed__what_gains_nothing_is_as_without),
      cmocka_unit_test(test_run_packed__pages_are_passed_on_as_stored),
      cmocka_unit_test(test_run_packed__rot_under_a_cached_page_is_not_passed_on),
      cmocka_unit_test(test_run_packed__any_flipped_bit_behind_a_good_checksum),
      cmocka_unit_test(test_run_packed__a_size_that_lies_is_damage),
      cmocka_unit_test(test_run_packed__each_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Runs on bad media: flipped bits, wrong pointers, forged indexes, failing reads and writes; and block_io itself. */
#include "run/filter.h"
#include "run_world.h"

/* ---- damage -------------------------------------------------------------------------------------------------- */

static void patch(struct world *w, const struct block_ptr *ptr, uint64_t offset, uint8_t mask) {
  uint64_t block = block_io_locate(&w->io, ptr->extents, ptr->extent_count, offset), size = w->io.bounds.block_size;
  uint8_t *bytes = aligned_alloc(4096, 1 << 20);
  assert_int_equal(device_read(&w->device, block * size, bytes, size, NULL), 0);
  bytes[offset % size] ^= mask;
  assert_int_equal(device_write(&w->device, block * size, bytes, size, NULL), 0);
  free(bytes);
}

static void test_run__any_flipped_bit_is_found_and_located(void **state) {
  (void)state;
  struct world w;
  enum { COUNT = 60 };
  world_open(&w, 512, 512, 1024, 16);
  struct block_ptr ptr = build(&w, COUNT, true);
  for (uint64_t offset = 0; offset < ptr.length; offset += 1) {
    patch(&w, &ptr, offset, (uint8_t)(1u << offset % 8));
    struct run *run = open_run(&w, &ptr);
    struct wodan_error error = {0};
    struct record record;
    struct frame *pin = NULL;
    char key[64];
    int status = get(&w, run, key_of(0, key), &record, &pin, &error); /* the only one to read the filter */
    if (!status) cache_unpin(pin);
    struct iterator *it = run_iterator(run);
    if (!status) status = iterator_first(it, &error);
    while (!status && it->valid) status = iterator_next(it, &error);
    if (status != WODAN_ECORRUPT) fail_msg("flip at byte %llu: answered %d", (unsigned long long)offset, status);
    assert_false(it->valid);
    bool inside = false;
    for (uint32_t e = 0; e < ptr.extent_count; e++)
      inside |= error.block >= ptr.extents[e].first && error.block < ptr.extents[e].first + ptr.extents[e].count;
    assert_true(inside);
    iterator_close(it);
    run_unref(run);
    patch(&w, &ptr, offset, (uint8_t)(1u << offset % 8));
  }
  struct run *run = open_run(&w, &ptr);
  assert_run(&w, run, COUNT);
  run_unref(run);
  world_close(&w);
}

static void test_run__pointer_must_name_exactly_this_run(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, 512, 1024, 16);
  struct block_ptr good = build(&w, 60, true), wrong[6];
  for (int i = 0; i < 6; i++) wrong[i] = good;
  wrong[0].generation++;
  wrong[1].checksum ^= 1;
  wrong[2].length--;
  wrong[3].header_length--;
  wrong[4].extents[0].first++;
  wrong[5].generation = 0;
  for (int i = 0; i < 6; i++) {
    struct run *run = open_run(&w, &wrong[i]);
    struct wodan_error error;
    assert_int_equal(run_open_body(run, &error), WODAN_ECORRUPT);
    assert_int_not_equal(error.block, WODAN_NO_BLOCK);
    run_unref(run);
  }
  struct object_header header;
  uint8_t *buffer = NULL;
  assert_int_equal(block_io_read_header(&w.io, &good, OBJECT_NODE, &header, &buffer, NULL), WODAN_ECORRUPT);
  assert_null(buffer);
  world_close(&w);
}

/* The pointer tells what the header tells, in each field, also where the header is the one that it names. */
static void test_run__pointer_and_header_agree(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, 512, 1024, 16);
  struct block_ptr good = build(&w, 60, true), wrong[5];
  struct object_header header;
  struct wodan_error error = {.message = ""};
  uint8_t *bytes;
  assert_int_equal(block_io_read_header(&w.io, &good, OBJECT_RUN, &header, &bytes, &error), 0);
  assert_true(header.extent_count == 1 && header.extents[0].count > 3);
  header.extents[0].count -= 2; /* the same blocks in two extents */
  header.extents[1] = (struct extent){header.extents[0].first + header.extents[0].count, 2};
  header.extent_count = good.extent_count = 2;
  memcpy(good.extents, header.extents, sizeof good.extents);
  uint8_t *block = aligned_alloc(4096, 4096);
  assert_true(good.header_length <= 1024);
  assert_int_equal(block_io_read(&w.io, good.extents, 2, 0, block, 1024, NULL), 0);
  assert_true(object_header_encode(&header, w.io.seed, block));
  assert_int_equal(block_io_write(&w.io, good.extents, 2, 0, block, 1024, NULL), 0);
  good.checksum = header.checksum;
  free(block);
  mem_free(&w.mem, bytes, good.header_length);
  assert_int_equal(block_io_read_header(&w.io, &good, OBJECT_RUN, &header, &bytes, &error), 0);
  mem_free(&w.mem, bytes, good.header_length);
  for (size_t i = 0; i < 5; i++) wrong[i] = good;
  wrong[0].generation++;
  wrong[1].length--;
  wrong[2].header_length++;
  wrong[3].extents[0].count++, wrong[3].extents[1].count--;
  wrong[4].extents[1].first++;
  for (size_t i = 0; i < 6; i++) {
    struct block_ptr ptr = i < 5 ? wrong[i] : good;
    if (i == 5) ptr.extent_count = 1;
    assert_int_equal(block_io_read_header(&w.io, &ptr, OBJECT_RUN, &header, &bytes, &error), WODAN_ECORRUPT);
    if (!strstr(error.message, "does not agree")) fail_msg("field %zu: %s", i, error.message);
  }
  assert_int_equal(block_io_read_header(&w.io, &good, OBJECT_NODE, &header, &bytes, &error), WODAN_ECORRUPT);
  assert_non_null(strstr(error.message, "another type"));
  world_close(&w);
}

/* Sections longer than any that is written, in a header that is right: refused before there is memory for them. */
static void test_run__a_section_has_a_greatest_length(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, 512, 1024, 16);
  world_shelf(&w, UINT64_MAX / 2);
  w.io.bounds.data_end = UINT64_C(1) << 40;
  const uint64_t most = BLOCK_IO_SECTION_MAX, lines = filter_lines(UINT32_MAX), filter = lines * FILTER_LINE_SIZE;
  assert_true(filter > most);
  for (int kind = 0; kind < 2; kind++) {
    struct block_ptr ptr = build(&w, 60, true), lies = ptr;
    struct object_header header;
    struct wodan_error error = {.message = ""};
    uint8_t *bytes;
    assert_int_equal(block_io_read_header(&w.io, &ptr, OBJECT_RUN, &header, &bytes, &error), 0);
    if (kind == 0) { /* the index takes all the rest */
      header.section_count = 2;
      header.sections[1].length = most + 1;
    } else { /* as many filter lines as the records need */
      header.sections[2].length = filter;
      header.record_count = UINT32_MAX;
    }
    const struct section *last = &header.sections[header.section_count - 1];
    header.length = lies.length = last->offset + last->length;
    header.extents[0].count = lies.extents[0].count = (header.length + 511) / 512;
    uint8_t *block = aligned_alloc(4096, 4096);
    assert_int_equal(block_io_read(&w.io, ptr.extents, 1, 0, block, 1024, NULL), 0);
    assert_true(ptr.header_length <= 1024 && object_header_encode(&header, w.io.seed, block));
    assert_int_equal(block_io_write(&w.io, ptr.extents, 1, 0, block, 1024, NULL), 0);
    free(block);
    mem_free(&w.mem, bytes, ptr.header_length);
    lies.checksum = header.checksum;
    struct run *run = open_run(&w, &lies);
    struct record record;
    struct frame *pin;
    char key[64];
    assert_int_equal(get(&w, run, key_of(0, key), &record, &pin, &error), WODAN_ECORRUPT);
    assert_non_null(strstr(error.message, kind ? "filter has a size" : "index is too long"));
    run_unref(run);
    uint8_t *section = NULL;
    assert_int_equal(block_io_read_section(&w.io, &lies, last, &section, &error), WODAN_ECORRUPT);
    assert_non_null(strstr(error.message, "too long"));
  }
  world_close(&w);
}

/* Rewrites the index with `change` applied to record `which`, checksums made good: only the rules can object. */
struct index_change {
  uint32_t which;
  void (*change)(struct index_entry *entry, uint8_t *key);
  uint64_t sequence; /* of every record of the index; as in a node's table it must be 0 */
};
static void change_nothing(struct index_entry *entry, uint8_t *key) { (void)entry, (void)key; }
static void change_offset(struct index_entry *entry, uint8_t *key) { (void)key, entry->offset--; }
static void change_length(struct index_entry *entry, uint8_t *key) { (void)key, entry->length = --entry->size; }
static void change_key(struct index_entry *entry, uint8_t *key) { (void)entry, key[11]++; }

static void forge_index(struct world *w, struct block_ptr *ptr, const struct index_change *change) {
  struct object_header header;
  uint8_t *bytes, *old;
  assert_int_equal(block_io_read_header(&w->io, ptr, OBJECT_RUN, &header, &bytes, NULL), 0);
  assert_int_equal(block_io_read_section(&w->io, ptr, object_section(&header, SECTION_INDEX), &old, NULL), 0);
  struct section *section = &header.sections[1];
  struct page page = page_view(old);
  struct page_builder *builder = page_builder_create(&w->mem);
  for (uint32_t i = 0; i < page.count; i++) {
    uint8_t key[64], value[INDEX_ENTRY_SIZE_MAX];
    size_t size = page_key(&page, i, key);
    struct index_entry entry;
    struct wodan_slice from = page_record(&page, i).value;
    assert_true(index_entry_decode(from.data, from.size, &entry));
    if (i == change->which) change->change(&entry, key);
    struct record record = {.key = {key, size},
                            .sequence = change->sequence,
                            .value = {value, index_entry_encode(&entry, value, sizeof value)}};
    assert_true(page_builder_add(builder, &record));
  }
  /* Same length: put it into the same place, the whole object through memory. */
  assert_int_equal(page_builder_size(builder), section->length);
  uint64_t block = w->io.bounds.block_size, room = (ptr->length + block - 1) / block * block;
  uint8_t *object = aligned_alloc(4096, (room + 4095) / 4096 * 4096);
  assert_int_equal(block_io_read(&w->io, ptr->extents, ptr->extent_count, 0, object, room, NULL), 0);
  page_builder_finish(builder, object + section->offset);
  section->checksum = checksum(w->io.seed, object + section->offset, section->length);
  assert_true(object_header_encode(&header, w->io.seed, object));
  ptr->checksum = header.checksum;
  assert_int_equal(block_io_write(&w->io, ptr->extents, ptr->extent_count, 0, object, room, NULL), 0);
  free(object);
  page_builder_free(builder);
  mem_free(&w->mem, old, section->length);
  mem_free(&w->mem, bytes, ptr->header_length);
}

static void test_run__forged_index_breaks_the_rules(void **state) {
  (void)state;
  static const struct index_change changes[] = {{0, change_offset, 0}, {1, change_offset, 0}, {0, change_length, 0},
                                                {2, change_length, 0}, {1, change_key, 0},    {0, change_nothing, 3}};
  for (size_t c = 0; c < sizeof changes / sizeof *changes; c++) {
    struct world w;
    world_open(&w, 512, 512, 1024, 16);
    struct block_ptr ptr = build(&w, 60, false);
    forge_index(&w, &ptr, &changes[c]);
    struct run *run = open_run(&w, &ptr);
    struct iterator *it = run_iterator(run);
    struct wodan_error error;
    int status = iterator_first(it, &error);
    while (!status && it->valid) status = iterator_next(it, &error);
    assert_int_equal(status, WODAN_ECORRUPT);
    iterator_close(it);
    run_unref(run);
    world_close(&w);
  }
}

/* ---- a device that fails ------------------------------------------------------------------------------------- */

struct faulty {
  struct wodan_device base;
  struct wodan_device *inner;
  int fail_from, fail_count; /* requests of `kind`, counted from 0 */
  uint8_t kind;
  int seen;
  bool corrupt; /* a read is answered with a flipped bit instead */
};
static int faulty_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  struct faulty *f = (struct faulty *)device;
  int status = 0;
  for (size_t i = 0; i < count; i++) {
    bool hit = requests[i].kind == f->kind && f->seen >= f->fail_from && f->seen < f->fail_from + f->fail_count;
    if (requests[i].kind == f->kind) f->seen++;
    if (hit && !f->corrupt) {
      requests[i].status = status = WODAN_EIO;
      requests[i].device_errno = 5;
      continue;
    }
    int one = f->inner->ops->transfer(f->inner, &requests[i], 1);
    if (hit) ((uint8_t *)requests[i].data)[requests[i].size / 2] ^= 4;
    if (one) status = one;
  }
  return status;
}
static int faulty_order(struct wodan_device *device) {
  (void)device;
  return 0;
}
static const struct wodan_device_ops faulty_ops = {.size = sizeof(struct wodan_device_ops),
                                                   .transfer = faulty_transfer,
                                                   .barrier = faulty_order,
                                                   .flush = faulty_order,
                                                   .close = faulty_order};

static void world_make_faulty(struct world *w, struct faulty *f) {
  *f = (struct faulty){.base = {.ops = &faulty_ops, .geometry = w->raw->geometry}, .inner = w->raw};
  w->device.raw = &f->base;
}

static void test_run__one_bad_read_is_read_again(void **state) {
  (void)state;
  for (int corrupt = 0; corrupt < 2; corrupt++) {
    for (int at = 0; at < 12; at++) {
      struct world w;
      struct faulty faulty;
      world_open(&w, 512, 512, 1024, 16);
      struct block_ptr ptr = build(&w, 60, true);
      world_make_faulty(&w, &faulty);
      faulty.kind = WODAN_IO_READ;
      faulty.corrupt = corrupt;
      faulty.fail_from = at;
      faulty.fail_count = 1;
      struct run *run = open_run(&w, &ptr);
      assert_run(&w, run, 60);
      run_unref(run);
      world_close(&w);
    }
  }
}

static void test_run__persistent_read_errors_are_reported_and_not_kept(void **state) {
  (void)state;
  for (int at = 0; at < 8; at++) {
    struct world w;
    struct faulty faulty;
    world_open(&w, 512, 512, 1024, 16);
    struct block_ptr ptr = build(&w, 60, true);
    world_make_faulty(&w, &faulty);
    faulty.kind = WODAN_IO_READ;
    faulty.fail_from = at;
    faulty.fail_count = 1 << 30;
    struct run *run = open_run(&w, &ptr);
    struct iterator *it = run_iterator(run);
    struct wodan_error error = {0};
    int status = iterator_first(it, &error);
    while (!status && it->valid) status = iterator_next(it, &error);
    assert_int_equal(status, WODAN_EIO);
    assert_int_equal(error.code, WODAN_EIO);
    assert_false(it->valid);
    faulty.fail_count = 0;
    iterator_close(it);
    assert_run(&w, run, 60);
    run_unref(run);
    world_close(&w);
  }
}

static void test_run__failed_write_gives_the_space_back(void **state) {
  (void)state;
  for (int at = 0; at < 3; at++) {
    struct world w;
    struct faulty faulty;
    world_open(&w, 4096, 16384, 2048, 16);
    world_make_faulty(&w, &faulty);
    faulty.kind = WODAN_IO_WRITE;
    faulty.fail_from = at;
    faulty.fail_count = 1;
    struct block_ptr ptr;
    assert_int_equal(try_build(&w, 20000, true, &ptr), WODAN_EIO);
    assert_int_equal(space_counts(w.space).free, space_counts(w.space).total);
    world_close(&w);
  }
}

/* ---- block_io ------------------------------------------------------------------------------------------------ */

static void test_block_io__any_range_over_extents(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 1024, 1024, 64, 16);
  w.raw->geometry.memory_alignment = 256;
  struct extent extents[] = {{40, 1}, {10, 3}, {30, 2}, {5, 1}};
  enum { SIZE = 7 * 1024 };
  static _Alignas(4096) uint8_t bytes[SIZE], back[SIZE + 256];
  random_state = 3;
  for (size_t i = 0; i < SIZE; i++) bytes[i] = (uint8_t)random_next();
  assert_int_equal(block_io_write(&w.io, extents, 4, 0, bytes, SIZE, NULL), 0);
  for (int round = 0; round < 20000; round++) {
    size_t offset = random_next() % SIZE, size = 1 + random_next() % (SIZE - offset), shift = random_next() % 256;
    if (round % 4 == 0) offset &= ~(size_t)511, size = (SIZE - offset) & ~(size_t)511, shift = 0;
    memset(back, 0xee, sizeof back);
    assert_int_equal(block_io_read(&w.io, extents, 4, offset, back + shift, size, NULL), 0);
    assert_memory_equal(back + shift, bytes + offset, size);
    for (size_t i = 0; i < shift; i++) assert_int_equal(back[i], 0xee);
    for (size_t i = shift + size; i < sizeof back; i++) assert_int_equal(back[i], 0xee);
  }
  for (uint64_t offset = 0; offset < SIZE; offset += 100) {
    static const uint64_t blocks[] = {40, 10, 11, 12, 30, 31, 5};
    assert_int_equal(block_io_locate(&w.io, extents, 4, offset), blocks[offset / 1024]);
  }
  assert_int_equal(block_io_locate(&w.io, extents, 4, SIZE), WODAN_NO_BLOCK);
  assert_int_equal(block_io_read(&w.io, extents, 4, SIZE - 10, back, 11, NULL), WODAN_EINVAL);
  assert_int_equal(block_io_read(&w.io, extents, 4, UINT64_MAX, back, 1, NULL), WODAN_EINVAL);
  world_close(&w);
}

static void test_block_io__large_unaligned_reads_go_in_parts(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 4096, 4096, 2048, 16);
  struct extent extents[] = {{1000, 900}, {3, 100}};
  size_t size = 1000 * 4096;
  uint8_t *bytes = aligned_alloc(4096, size), *back = malloc(size);
  random_state = 4;
  for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)random_next();
  assert_int_equal(block_io_write(&w.io, extents, 2, 0, bytes, size, NULL), 0);
  size_t before = atomic_load(&w.mem.used);
  atomic_store(&w.mem.peak, before);
  assert_int_equal(block_io_read(&w.io, extents, 2, 7, back, size - 9, NULL), 0);
  assert_memory_equal(back, bytes + 7, size - 9);
  assert_true(atomic_load(&w.mem.peak) - before <= (1 << 20) + 8192);
  free(bytes);
  free(back);
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_run__any_flipped_bit_is_found_and_located),
      cmocka_unit_test(test_run__pointer_must_name_exactly_this_run),
      cmocka_unit_test(test_run__pointer_and_header_agree),
      cmocka_unit_test(test_run__a_section_has_a_greatest_length),
      cmocka_unit_test(test_run__forged_index_breaks_the_rules),
      cmocka_unit_test(test_run__one_bad_read_is_read_again),
      cmocka_unit_test(test_run__persistent_read_errors_are_reported_and_not_kept),
      cmocka_unit_test(test_run__failed_write_gives_the_space_back),
      cmocka_unit_test(test_block_io__any_range_over_extents),
      cmocka_unit_test(test_block_io__large_unaligned_reads_go_in_parts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What: large values below the engine: written whole and in pieces, read by any slice, into holes and with any compression;
 * every bit of a blob wrong, and every number of its header and table with the checksums right; one bad read; memory within what
 * is promised; and who names which blob (blob/blobs.h). See also: test_blob_format.c, test_large.c. */
#include "run_world.h"

#include "blob/blob_read.h"
#include "blob/blob_write.h"
#include "blob/blobs.h"

enum { BLOCK = 512, PAGE = 512, CHUNK = BLOB_CHUNK_PAGES * PAGE, BLOCKS = 2048, VALUE_MAX = 6 * CHUNK };
static const struct wodan_slice KEY = {"\x01the key", 8};
static uint8_t value[VALUE_MAX], found[VALUE_MAX];

static void fill(size_t size, bool dull) {
  for (size_t i = 0; i < size; i++) value[i] = dull ? (uint8_t)(i / 100) : (uint8_t)random_next();
}

static struct blob_write_options options_of(uint64_t size, bool grows, enum compression compress) {
  return (struct blob_write_options){.key = KEY,
                                     .size = size,
                                     .grows = grows,
                                     .compress = compress,
                                     .page_size = PAGE,
                                     .chunk_size = 4096,
                                     .epoch = {7, 99}};
}

/* value[0..size) by pieces of at most so many bytes, each of a random size (0: all at once). */
static int try_write(struct world *w, const struct blob_write_options *options, size_t size, size_t piece,
                     struct blob_ref *ref) {
  struct blob_writer writer;
  int status = blob_writer_init(&writer, &w->io, w->space, options, NULL);
  if (status < 0) return status;
  for (size_t at = 0; at < size && status == 0;) {
    size_t n = piece ? 1 + random_next() % piece : size;
    if (n > size - at) n = size - at;
    status = blob_writer_append(&writer, value + at, n, NULL);
    at += n;
  }
  if (status == 0) status = blob_writer_finish(&writer, 40, ref, NULL);
  blob_writer_release(&writer);
  return status;
}

static struct blob_ref write_one(struct world *w, size_t size, enum compression compress) {
  struct blob_ref ref;
  struct blob_write_options options = options_of(size, false, compress);
  assert_int_equal(try_write(w, &options, size, 0, &ref), 0);
  return ref;
}

static struct blob_source source_of(struct world *w) {
  return (struct blob_source){.io = &w->io, .mem = &w->mem, .page_size = PAGE, .key = KEY};
}

static void give_back(struct world *w, const struct blob_ref *ref) {
  space_release(w->space, ref->ptr.extents, ref->ptr.extent_count);
}

static int try_read(struct world *w, const struct blob_ref *ref) {
  struct blob_source source = source_of(w);
  struct blob_reader reader;
  int status = blob_reader_open(&reader, &source, ref, NULL);
  if (status < 0) return status;
  status = blob_reader_read(&reader, 0, found, (size_t)ref->size, NULL);
  blob_reader_close(&reader);
  return status;
}

static void assert_value(struct world *w, const struct blob_ref *ref, size_t size) {
  assert_int_equal(ref->size, size);
  memset(found, 0xee, sizeof found);
  assert_int_equal(try_read(w, ref), 0);
  assert_memory_equal(found, value, size);
  struct blob_source source = source_of(w);
  assert_int_equal(blob_prove(&source, ref, NULL), 0);
}

/* Slices at random, on from each other and not. */
static void assert_slices(struct world *w, const struct blob_ref *ref) {
  struct blob_source source = source_of(w);
  struct blob_reader reader;
  assert_int_equal(blob_reader_open(&reader, &source, ref, NULL), 0);
  uint64_t at = 0;
  for (int i = 0; i < 50; i++) {
    if (at == ref->size || random_next() % 2) at = random_next() % ref->size;
    size_t size = (size_t)(random_next() % (ref->size - at + 1));
    if (random_next() % 4) size %= CHUNK;
    assert_int_equal(blob_reader_read(&reader, at, found, size, NULL), 0);
    assert_memory_equal(found, value + at, size);
    at += size;
  }
  blob_reader_close(&reader);
}

static const size_t SIZES[] = {1,     2,         PAGE / 4 + 1,  PAGE,          CHUNK - 1,
                               CHUNK, CHUNK + 1, 2 * CHUNK - 1, 3 * CHUNK + 7, VALUE_MAX};
enum { SIZE_COUNT = sizeof SIZES / sizeof *SIZES };

static void test_blob__comes_back_however_it_was_written(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  random_state = 1;
  for (int s = 0; s < SIZE_COUNT; s++)
    for (int how = COMPRESSION_OFF; how <= COMPRESSION_HIGH; how++)
      for (int grows = 0; grows < 2; grows++)
        for (size_t piece = 0; piece <= 5000; piece = piece ? piece * 17 : 17) {
          struct blob_write_options options = options_of(grows ? 1 : SIZES[s], grows, (enum compression)how);
          struct blob_ref ref;
          fill(SIZES[s], (piece + grows) % 2);
          assert_int_equal(try_write(&w, &options, SIZES[s], piece, &ref), 0);
          assert_value(&w, &ref, SIZES[s]);
          if (piece == 17) assert_slices(&w, &ref);
          give_back(&w, &ref);
        }
  assert_int_equal(space_counts(w.space).free, space_counts(w.space).total);
  world_close(&w);
}

static void test_blob__is_compressed_where_that_is_shorter(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  fill(VALUE_MAX, true);
  struct blob_ref plain = write_one(&w, VALUE_MAX, COMPRESSION_OFF),
                  packed = write_one(&w, VALUE_MAX, COMPRESSION_FAST);
  assert_true(plain.ptr.length > VALUE_MAX && packed.ptr.length < VALUE_MAX / 3);
  assert_true(plain.ptr.length <= blob_size_bound(&w.io, KEY.size, VALUE_MAX, PAGE));
  random_state = 2;
  fill(VALUE_MAX, false);
  struct blob_ref noise = write_one(&w, VALUE_MAX, COMPRESSION_HIGH);
  assert_int_equal(noise.ptr.length, plain.ptr.length);
  world_close(&w);
}

/* A volume of holes: extents of a block each, as many as a pointer has, and no more. */
static void test_blob__lies_in_holes(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, 80, 4);
  struct extent held[40], all[BLOCK_PTR_EXTENTS_MAX];
  uint32_t count, holes = 0;
  assert_int_equal(space_allocate_reserved(w.space, SPACE_LEAF, space_counts(w.space).total, all, &count, NULL), 0);
  for (uint64_t block = all[0].first; block < all[0].first + 2 * BLOCK_PTR_EXTENTS_MAX; block += 2)
    held[holes++] = (struct extent){block, 1};
  space_release(w.space, held, holes);
  random_state = 3;
  const size_t most = BLOCK_PTR_EXTENTS_MAX * BLOCK - 700; /* behind the header's room and the table */
  fill(most + 2 * BLOCK, false);
  struct blob_ref ref = write_one(&w, most, COMPRESSION_OFF);
  assert_true(ref.ptr.extent_count > 2);
  assert_value(&w, &ref, most);
  give_back(&w, &ref);
  struct blob_write_options options = options_of(most + 2 * BLOCK, false, COMPRESSION_OFF);
  assert_int_equal(try_write(&w, &options, most + 2 * BLOCK, 0, &ref), WODAN_ENOSPC);
  options = options_of(1, true, COMPRESSION_OFF);
  assert_int_equal(try_write(&w, &options, most + 2 * BLOCK, 300, &ref), WODAN_ENOSPC);
  assert_int_equal(space_counts(w.space).free, holes); /* all of it given back */
  world_close(&w);
}

static void test_blob__refuses_what_is_no_value(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  struct blob_ref ref;
  fill(VALUE_MAX, true);
  struct blob_write_options options = options_of(100, false, COMPRESSION_OFF);
  assert_int_equal(try_write(&w, &options, 101, 0, &ref), WODAN_ETOOBIG);
  assert_int_equal(try_write(&w, &options, 0, 0, &ref), WODAN_EINVAL);
  options.grows = true;
  assert_int_equal(try_write(&w, &options, 0, 0, &ref), WODAN_EINVAL);
  assert_int_equal(space_counts(w.space).free, space_counts(w.space).total);
  world_close(&w);
}

/* ---- damage ---------------------------------------------------------------------------------------------------------- */

/* Byte i of the object, in the device's memory. */
static void poke(struct world *w, const struct block_ptr *ptr, uint64_t offset, const void *bytes, size_t size) {
  static uint8_t whole[VALUE_MAX + 4096];
  size_t length = (size_t)block_ptr_blocks(ptr) * BLOCK;
  _Alignas(BLOCK_IO_ALIGNMENT) static uint8_t aligned[VALUE_MAX + 4096];
  assert_true(length <= sizeof whole);
  assert_int_equal(block_io_read(&w->io, ptr->extents, ptr->extent_count, 0, whole, length, NULL), 0);
  memcpy(aligned, whole, length);
  memcpy(aligned + offset, bytes, size);
  assert_int_equal(block_io_write(&w->io, ptr->extents, ptr->extent_count, 0, aligned, length, NULL), 0);
}

static void flip(struct world *w, const struct block_ptr *ptr, uint64_t offset, unsigned bit) {
  uint8_t byte;
  assert_int_equal(block_io_read(&w->io, ptr->extents, ptr->extent_count, offset, &byte, 1, NULL), 0);
  byte = (uint8_t)(byte ^ 1u << bit);
  poke(w, ptr, offset, &byte, 1);
}

static void test_blob__every_byte_wrong_is_told(void **state) {
  (void)state;
  for (int how = COMPRESSION_OFF; how <= COMPRESSION_FAST; how++) {
    struct world w;
    world_open(&w, BLOCK, PAGE, BLOCKS, 4);
    random_state = 5;
    fill(CHUNK + 300, how);
    struct blob_ref ref = write_one(&w, CHUNK + 300, (enum compression)how);
    struct blob_source source = source_of(&w);
    for (uint64_t i = 0; i < block_ptr_blocks(&ref.ptr) * BLOCK; i++) {
      unsigned bit = (unsigned)(random_next() % 8);
      flip(&w, &ref.ptr, i, bit);
      struct wodan_error error = {.block = WODAN_NO_BLOCK};
      int status = blob_prove(&source, &ref, &error);
      if (status != (i < ref.ptr.length ? WODAN_ECORRUPT : 0)) fail_msg("byte %u: %d", (unsigned)i, status);
      if (status < 0) assert_in_range(error.block, ref.ptr.extents[0].first, ref.ptr.extents[0].first + 7);
      flip(&w, &ref.ptr, i, bit);
    }
    assert_value(&w, &ref, CHUNK + 300);
    world_close(&w);
  }
}

/* The header as `lie` changes it, with its checksum and the pointer's right; whether that is refused before a byte is shown, in
 * these words. */
static bool header_refused(struct world *w, const struct blob_ref *ref, void (*lie)(struct object_header *),
                           const char *words) {
  struct object_header header;
  struct blob_ref told = *ref;
  uint8_t *bytes, *out = malloc(ref->ptr.header_length);
  assert_int_equal(block_io_read_header(&w->io, &ref->ptr, OBJECT_BLOB, &header, &bytes, NULL), 0);
  uint8_t *before = malloc(ref->ptr.header_length);
  memcpy(before, bytes, ref->ptr.header_length);
  lie(&header);
  assert_true(object_header_encode(&header, w->io.seed, out));
  told.ptr.checksum = header.checksum;
  poke(w, &ref->ptr, 0, out, ref->ptr.header_length);
  struct blob_source source = source_of(w);
  struct blob_reader reader;
  struct wodan_error error = {0};
  int status = blob_reader_open(&reader, &source, &told, &error);
  if (status == 0) blob_reader_close(&reader);
  if (status < 0 && !strstr(error.message, words)) fail_msg("'%s' is not '%s'", error.message, words);
  assert_int_equal(blob_read_whole(&source, &told, found, NULL), status); /* all at once: the same rules */
  poke(w, &ref->ptr, 0, before, ref->ptr.header_length);
  mem_free(&w->mem, bytes, ref->ptr.header_length);
  free(before);
  free(out);
  if (status < 0) assert_int_equal(status, WODAN_ECORRUPT);
  return status < 0;
}

static void tell_truth(struct object_header *header) { (void)header; }
static void tell_longer(struct object_header *header) { header->record_count++; }
static void tell_shorter(struct object_header *header) { header->record_count--; }
static void tell_low(struct object_header *header) { header->low.size--; }
static void tell_high(struct object_header *header) { header->high = (struct wodan_slice){"\x02", 1}; }
static void tell_no_table(struct object_header *header) {
  header->section_count = 1;
  header->sections[0].length += header->sections[1].length;
}
static void tell_other_order(struct object_header *header) {
  header->sections[0].tag = SECTION_CHUNK_TABLE;
  header->sections[1].tag = SECTION_CHUNKS;
  header->sections[0].checksum = header->sections[1].checksum;
  header->sections[1].checksum = 0;
}
static void tell_long_chunks(struct object_header *header) {
  header->sections[0].length += 8;
  header->sections[1].offset += 8;
  header->sections[1].length -= 8;
}
static void tell_long_table(struct object_header *header) { /* longer than its chunks can make it */
  uint64_t most = 2 * BLOB_CHUNK_ENTRY_MAX + 1;
  header->sections[0].length -= most - header->sections[1].length;
  header->sections[1].offset -= most - header->sections[1].length;
  header->sections[1].length = most;
}
static void tell_checksum(struct object_header *header) { header->sections[1].checksum++; }

/* A table of the same length in its place, with a right checksum: the first chunk is a byte shorter. */
static struct {
  struct world *w;
  const struct blob_ref *ref;
} lied_about;
static void tell_other_table(struct object_header *header) {
  const struct section *section = &header->sections[1];
  uint8_t table[2 * BLOB_CHUNK_ENTRY_MAX];
  assert_true(section->length <= sizeof table);
  const struct block_ptr *ptr = &lied_about.ref->ptr;
  assert_int_equal(
      block_io_read(&lied_about.w->io, ptr->extents, ptr->extent_count, section->offset, table, section->length, NULL),
      0);
  table[0]--;
  poke(lied_about.w, ptr, section->offset, table, section->length);
  header->sections[1].checksum = checksum(lied_about.w->io.seed, table, section->length);
}

static void test_blob__every_number_of_the_header_wrong(void **state) {
  (void)state;
  static const struct {
    const char *what;
    void (*lie)(struct object_header *);
    const char *words;
  } LIES[] = {{"longer", tell_longer, "of another size"},
              {"shorter", tell_shorter, "of another size"},
              {"low", tell_low, "of another key"},
              {"high", tell_high, "of another key"},
              {"no table", tell_no_table, "not chunks and their table"},
              {"order", tell_other_order, "not chunks and their table"},
              {"long chunks", tell_long_chunks, "longer than its size allows"},
              {"long table", tell_long_table, "longer than its size allows"},
              {"table's checksum", tell_checksum, "checksum"},
              {"another table", tell_other_table, "its table of chunks is malformed"}};
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  random_state = 6;
  fill(CHUNK + 300, false);
  struct blob_ref ref = write_one(&w, CHUNK + 300, COMPRESSION_OFF);
  lied_about.w = &w;
  lied_about.ref = &ref;
  assert_false(header_refused(&w, &ref, tell_truth, ""));
  for (size_t i = 0; i < sizeof LIES / sizeof *LIES; i++)
    if (!header_refused(&w, &ref, LIES[i].lie, LIES[i].words))
      fail_msg("a header that tells %s is taken", LIES[i].what);
  struct blob_source other = source_of(&w);
  other.key = (struct wodan_slice){"\x01the kez", 8};
  struct blob_reader reader;
  assert_int_equal(blob_reader_open(&reader, &other, &ref, NULL), WODAN_ECORRUPT);
  assert_int_equal(blob_read_whole(&other, &ref, found, NULL), WODAN_ECORRUPT);
  world_close(&w);
}

static void test_blob__a_reference_says_how_long_it_is(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  fill(CHUNK, true);
  struct blob_ref ref = write_one(&w, CHUNK, COMPRESSION_OFF);
  const uint64_t sizes[] = {1, CHUNK - 1, CHUNK + 1, UINT64_MAX};
  for (int i = 0; i < 4; i++) {
    ref.size = sizes[i];
    struct blob_source source = source_of(&w);
    assert_int_equal(blob_prove(&source, &ref, NULL), WODAN_ECORRUPT);
  }
  world_close(&w);
}

/* No header can be of more bytes than a value has, whatever its reference says: the memory is bounded by it. */
static void test_blob__larger_than_a_value_can_be(void **state) {
  (void)state;
  struct object_header header = {.record_count = blob_value_max(PAGE),
                                 .low = KEY,
                                 .high = KEY,
                                 .section_count = 2,
                                 .sections = {{SECTION_CHUNKS, 200, 5, 0}, {SECTION_CHUNK_TABLE, 205, 9, 0}}};
  struct blob_ref ref = {.size = header.record_count};
  assert_null(blob_header_fault(&header, &ref, KEY, PAGE));
  ref.size = ++header.record_count;
  assert_non_null(blob_header_fault(&header, &ref, KEY, PAGE));
}

static size_t table_of(const uint64_t *lengths, size_t count, uint8_t *out, size_t room) {
  struct wire_writer w = wire_writer(out, room);
  for (size_t i = 0; i < count; i++) {
    wire_put_varint(&w, lengths[i]);
    wire_put_u64(&w, 5);
  }
  return w.at;
}

static void test_blob__every_number_of_the_table_wrong(void **state) {
  (void)state;
  static const struct {
    uint64_t lengths[4];
    size_t count;
    uint64_t size, stored;
    bool good;
  } TABLES[] = {{{CHUNK, 10}, 2, CHUNK + 10, CHUNK + 10, true},
                {{7, 10}, 2, CHUNK + 10, 17, true}, /* compressed */
                {{CHUNK, 10}, 2, CHUNK + 10, CHUNK + 9, false},
                {{CHUNK, 9}, 2, CHUNK + 10, CHUNK + 10, false},
                {{CHUNK, 11}, 2, CHUNK + 10, CHUNK + 11, false},
                {{CHUNK + 1, 9}, 2, CHUNK + 10, CHUNK + 10, false},
                {{0, 10}, 2, CHUNK + 10, 10, false},
                {{CHUNK, 0}, 2, CHUNK + 10, CHUNK, false},
                {{CHUNK}, 1, CHUNK + 10, CHUNK, false},
                {{CHUNK, 10, 1}, 3, CHUNK + 10, CHUNK + 11, false},
                {{CHUNK, 10, 1}, 3, CHUNK + 10, CHUNK + 10, false}};
  for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++) {
    uint8_t table[64];
    size_t size = table_of(TABLES[i].lengths, TABLES[i].count, table, sizeof table);
    struct object_header header = {.record_count = TABLES[i].size, .sections = {{.length = TABLES[i].stored}}};
    if (!blob_table_fault(table, size, &header, PAGE) != TABLES[i].good) fail_msg("table %u", (unsigned)i);
    for (size_t n = 0; TABLES[i].good && n < size; n++)
      if (!blob_table_fault(table, n, &header, PAGE)) fail_msg("table %u, cut to %u", (unsigned)i, (unsigned)n);
  }
}

/* What is stored in fewer bytes than it has must decode to just those, whatever its checksum says. */
static void test_blob__a_compressed_chunk_is_what_it_should_be(void **state) {
  (void)state;
  enum { RAW = 300 };
  struct mem mem;
  const uint8_t *packed;
  mem_init(&mem, NULL);
  fill(RAW, true);
  struct compressor *compressor = compressor_create(&mem, COMPRESSION_FAST, RAW);
  uint32_t size = (uint32_t)compressor_pack(compressor, COMPRESSION_FAST, value, RAW, &packed);
  assert_in_range(size, 1, RAW - 1);
  for (uint32_t cut = 0; cut < 2; cut++)
    for (size_t raw = RAW; raw <= RAW + 1; raw++) {
      struct blob_chunk chunk = {.length = size - cut, .checksum = checksum(1, packed, size - cut)};
      assert_int_equal(blob_chunk_take(1, &chunk, raw, packed, found) == NULL, !cut && raw == RAW);
    }
  assert_memory_equal(found, value, RAW);
  compressor_free(compressor);
}

/* ---- reads that fail ------------------------------------------------------------------------------------------------- */

/* A device whose next `bad` reads give wrong bytes, or fail. */
struct shaky {
  struct wodan_device base;
  struct wodan_device *inner;
  uint64_t block; /* the reads of this one */
  int bad;
  bool fails;
};

static int shaky_transfer(struct wodan_device *base, struct wodan_io *io, size_t count) {
  struct shaky *shaky = (struct shaky *)base;
  int status = shaky->inner->ops->transfer(shaky->inner, io, count);
  for (size_t i = 0; i < count; i++) {
    uint64_t at = shaky->block * BLOCK;
    if (io[i].kind != WODAN_IO_READ || io[i].offset > at || io[i].offset + io[i].size <= at || shaky->bad == 0)
      continue;
    shaky->bad--;
    if (shaky->fails) return io[i].status = WODAN_EIO;
    ((uint8_t *)io[i].data)[at - io[i].offset] ^= 1;
  }
  return status;
}
static int shaky_order(struct wodan_device *base) {
  (void)base;
  return 0;
}
static const struct wodan_device_ops SHAKY = {.size = sizeof SHAKY,
                                              .transfer = shaky_transfer,
                                              .barrier = shaky_order,
                                              .flush = shaky_order,
                                              .close = shaky_order};

static void test_blob__what_is_read_wrong_once_is_read_again(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  random_state = 8;
  fill(CHUNK + 300, true);
  for (int how = COMPRESSION_OFF; how <= COMPRESSION_FAST; how++) {
    struct blob_ref ref = write_one(&w, CHUNK + 300, (enum compression)how);
    struct shaky shaky = {.base = {.ops = &SHAKY, .geometry = w.raw->geometry}, .inner = w.raw};
    assert_int_equal(device_init(&w.device, &shaky.base, NULL), 0);
    for (uint64_t b = 0; b < block_ptr_blocks(&ref.ptr); b++)
      for (int fails = 0; fails < 2; fails++) {
        shaky.block = ref.ptr.extents[0].first + b;
        shaky.fails = fails;
        shaky.bad = 1;
        int once = try_read(&w, &ref);
        assert_int_equal(shaky.bad, 0);
        if (fails && once == WODAN_EIO) continue; /* a header or a table that cannot be read is not damage */
        assert_int_equal(once, 0);
        assert_memory_equal(found, value, CHUNK + 300);
        shaky.bad = 1000; /* for good */
        assert_int_equal(try_read(&w, &ref), fails ? WODAN_EIO : WODAN_ECORRUPT);
      }
    assert_int_equal(device_init(&w.device, w.raw, NULL), 0);
    assert_value(&w, &ref, CHUNK + 300);
  }
  world_close(&w);
}

/* ---- memory ---------------------------------------------------------------------------------------------------------- */

/* With so much memory for all but the header. */
static void assert_read_within(struct world *w, const struct blob_ref *ref, uint64_t limit) {
  struct mem part;
  mem_init_part(&part, &w->mem, limit);
  struct blob_source source = {.io = &w->io, .mem = &part, .page_size = PAGE, .key = KEY};
  struct blob_reader reader;
  assert_int_equal(blob_reader_open(&reader, &source, ref, NULL), 0);
  for (uint64_t at = 0; at < ref->size; at += 1000) { /* so chunks are kept */
    size_t size = (size_t)(ref->size - at < 1000 ? ref->size - at : 1000);
    assert_int_equal(blob_reader_read(&reader, at, found, size, NULL), 0);
    assert_memory_equal(found, value + at, size);
  }
  blob_reader_close(&reader);
  assert_int_equal(mem_used(&part), 0);
}

static void test_blob__takes_the_memory_it_says_and_lives_with_less(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  random_state = 9;
  for (int s = 0; s < SIZE_COUNT; s++)
    for (int how = COMPRESSION_OFF; how <= COMPRESSION_HIGH; how++) {
      struct blob_write_options options = options_of(SIZES[s], false, (enum compression)how);
      struct blob_ref ref;
      fill(SIZES[s], true);
      size_t before = mem_used(&w.mem);
      atomic_store(&w.mem.peak, before);
      assert_int_equal(try_write(&w, &options, SIZES[s], 700, &ref), 0);
      uint64_t most = blob_write_memory(PAGE, options.chunk_size, SIZES[s], (enum compression)how);
      assert_in_range(atomic_load(&w.mem.peak) - before, 1, most + KEY.size);
      assert_read_within(&w, &ref, blob_read_memory(PAGE, SIZES[s], how != COMPRESSION_OFF));
      give_back(&w, &ref);
      /* Each allocation refused in turn. */
      int status = WODAN_ENOMEM;
      for (size_t limit = before + 1; status == WODAN_ENOMEM; limit += 97) {
        w.mem.limit = limit;
        status = try_write(&w, &options, SIZES[s], 700, &ref);
        if (status == 0) give_back(&w, &ref);
      }
      assert_int_equal(status, 0);
      w.mem.limit = 0;
      assert_int_equal(mem_used(&w.mem), before);
      assert_int_equal(space_counts(w.space).free, space_counts(w.space).total);
    }
  fill(CHUNK + 300, true);
  struct blob_ref ref = write_one(&w, CHUNK + 300, COMPRESSION_FAST);
  size_t before = mem_used(&w.mem);
  int status = WODAN_ENOMEM;
  for (size_t limit = before + 1; status == WODAN_ENOMEM; limit += 7) {
    w.mem.limit = limit;
    status = try_read(&w, &ref);
    assert_int_equal(mem_used(&w.mem), before);
  }
  assert_int_equal(status, 0);
  w.mem.limit = 0;
  world_close(&w);
}

/* ---- who names which ------------------------------------------------------------------------------------------------- */

static struct block_ptr pointer(uint64_t first, uint64_t blocks) {
  return (struct block_ptr){.generation = first,
                            .checksum = first * 7,
                            .length = blocks * BLOCK,
                            .header_length = 100,
                            .extent_count = 1,
                            .extents = {{first, blocks}}};
}

static void test_blobs__live_as_long_as_somebody_names_them(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  struct blobs *blobs = blobs_create(&(struct blobs_setup){.mem = &w.mem, .handles = &w.mem, .space = w.space});
  struct blob *first, *second;
  struct block_ptr ptr = pointer(20, 3), back;
  uint64_t all = space_counts(w.space).free;
  assert_int_equal(blobs_claim(blobs, &ptr, &first, NULL), 0);
  assert_int_equal(blobs_claim(blobs, &ptr, &second, NULL), 0);
  assert_ptr_equal(first, second);
  blob_pointer(first, &back);
  assert_true(block_ptr_equal(&ptr, &back));
  assert_int_equal(space_counts(w.space).free, all - 3);
  assert_int_equal(blobs_counts(blobs).count, 1);
  assert_int_equal(blobs_counts(blobs).blocks, 3);
  blobs_drop(blobs, first);
  assert_ptr_equal(blobs_hold(blobs, &ptr), second);
  blobs_drop(blobs, second);
  assert_int_equal(space_counts(w.space).deferred, 0);
  blobs_drop_named(blobs, &ptr);
  assert_int_equal(space_counts(w.space).deferred, 3); /* roots may name it */
  assert_int_equal(blobs_counts(blobs).count, 0);
  assert_null(blobs_hold(blobs, &ptr));
  assert_null(blobs_name(blobs, &ptr));
  assert_int_equal(blobs_ever(blobs), 1);
  blobs_free(blobs);
  world_close(&w);
}

static void test_blobs__what_no_record_named_is_free_at_once(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  struct blobs *blobs = blobs_create(&(struct blobs_setup){.mem = &w.mem, .handles = &w.mem, .space = w.space});
  uint64_t all = space_counts(w.space).free;
  for (int named = 0; named < 2; named++) {
    struct block_ptr ptr = {.generation = 9, .checksum = 1, .length = 2 * BLOCK, .header_length = 100};
    assert_int_equal(space_allocate_sparing(w.space, SPACE_BLOB, 2, 0, ptr.extents, &ptr.extent_count, NULL), 0);
    assert_int_equal(blobs_add(blobs, &ptr, NULL), 0);
    struct blob *reader = blobs_hold(blobs, &ptr);
    assert_non_null(reader);
    blobs_drop(blobs, reader);
    if (named) blobs_drop(blobs, blobs_name(blobs, &ptr));
    blobs_drop_named(blobs, &ptr);
    assert_int_equal(space_counts(w.space).free, named ? all - 2 : all);
  }
  blobs_free(blobs);
  world_close(&w);
}

static void test_blobs__only_the_very_same_pointer_is_named_twice(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  struct blobs *blobs = blobs_create(&(struct blobs_setup){.mem = &w.mem, .handles = &w.mem, .space = w.space});
  struct block_ptr ptr = pointer(20, 3), other;
  struct blob *blob, *none;
  assert_int_equal(blobs_claim(blobs, &ptr, &blob, NULL), 0);
  for (int field = 0; field < 8; field++) {
    other = ptr;
    if (field == 0) other.generation++;
    if (field == 1) other.checksum++;
    if (field == 2) other.length--;
    if (field == 3) other.header_length++;
    if (field == 4) other.extents[0].count--;
    if (field == 5) other.extents[1] = (struct extent){100, 1}, other.extent_count = 2;
    if (field == 6) other.extents[0].first--; /* they overlap */
    if (field == 7) other.extents[0].first++;
    struct wodan_error error;
    assert_int_equal(blobs_claim(blobs, &other, &none, &error), WODAN_ECORRUPT);
    assert_null(none);
    assert_null(blobs_hold(blobs, &other));
    assert_null(blobs_name(blobs, &other));
  }
  assert_int_equal(blobs_counts(blobs).count, 1);
  blobs_drop(blobs, blob);
  blobs_free(blobs);
  world_close(&w);
}

static void test_blobs__are_found_among_many_and_without_memory(void **state) {
  (void)state;
  enum { MANY = 500 };
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  struct blobs *blobs = blobs_create(&(struct blobs_setup){.mem = &w.mem, .handles = &w.mem, .space = w.space});
  struct blob *blob[MANY];
  unsigned refused = 0;
  for (uint64_t i = 0; i < MANY; i++) {
    struct block_ptr ptr = pointer(10 + 3 * i, 2);
    size_t before = mem_used(&w.mem);
    w.mem.limit = i % 7 == 3 ? before + 8 : 0;
    int status = blobs_claim(blobs, &ptr, &blob[i], NULL);
    if (status == WODAN_ENOMEM) { /* the mount ends then: its extents stay claimed */
      refused++;
      blob[i] = NULL;
    } else {
      assert_int_equal(status, 0);
      assert_true(mem_used(&w.mem) - before <= 2 * blob_memory(1) + 2 * i * sizeof(void *) + 1024);
    }
  }
  w.mem.limit = 0;
  assert_true(refused > MANY / 8);
  assert_int_equal(blobs_counts(blobs).count, MANY - refused);
  for (uint64_t i = 0; i < MANY; i++) {
    struct block_ptr ptr = pointer(10 + 3 * i, 2);
    struct blob *held = blobs_hold(blobs, &ptr);
    assert_ptr_equal(held, blob[i]);
    if (held) blobs_drop(blobs, held);
    if (held) blobs_drop(blobs, held);
  }
  assert_int_equal(blobs_counts(blobs).blocks, 0);
  blobs_free(blobs);
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_blob__comes_back_however_it_was_written),
      cmocka_unit_test(test_blob__is_compressed_where_that_is_shorter),
      cmocka_unit_test(test_blob__lies_in_holes),
      cmocka_unit_test(test_blob__refuses_what_is_no_value),
      cmocka_unit_test(test_blob__every_byte_wrong_is_told),
      cmocka_unit_test(test_blob__every_number_of_the_header_wrong),
      cmocka_unit_test(test_blob__a_reference_says_how_long_it_is),
      cmocka_unit_test(test_blob__larger_than_a_value_can_be),
      cmocka_unit_test(test_blob__every_number_of_the_table_wrong),
      cmocka_unit_test(test_blob__a_compressed_chunk_is_what_it_should_be),
      cmocka_unit_test(test_blob__what_is_read_wrong_once_is_read_again),
      cmocka_unit_test(test_blob__takes_the_memory_it_says_and_lives_with_less),
      cmocka_unit_test(test_blobs__live_as_long_as_somebody_names_them),
      cmocka_unit_test(test_blobs__what_no_record_named_is_free_at_once),
      cmocka_unit_test(test_blobs__only_the_very_same_pointer_is_named_twice),
      cmocka_unit_test(test_blobs__are_found_among_many_and_without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

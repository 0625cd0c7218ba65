/* What: large values of any bytes: header, chunk table, chunks; and references to them. Demanded of what opens: its table
 * encodes to the same bytes; what is read by slices is what is read as a whole; a proof of it agrees; all memory is given back. A
 * reference that is taken encodes to the same bytes.
 *
 * See: support/object.h for the mutator. */
#include <string.h>
#include "blob/blob_read.h"
#include "blob/blob_write.h"
#include "support/object.h"

const size_t fuzz_size_max = OBJECT_MAX;
enum { PAGE = 512, VALUE_MAX = 64 << 10 };

static void encoded_same(const uint8_t *bytes, size_t size, uint64_t value_size) {
  uint8_t out[OBJECT_MAX];
  struct wire_reader r = wire_reader(bytes, size);
  struct wire_writer w = wire_writer(out, sizeof out);
  for (uint64_t left = value_size, most = BLOB_CHUNK_PAGES * PAGE; left;) {
    uint64_t raw = left < most ? left : most;
    struct blob_chunk chunk;
    FUZZ_CHECK(blob_chunk_decode(&r, raw, &chunk) && chunk.length <= raw);
    blob_chunk_encode(&w, &chunk);
    left -= raw;
  }
  FUZZ_CHECK(!w.failed && w.at == size && memcmp(out, bytes, size) == 0);
}

static void read_it(struct blob_reader *reader) {
  static uint8_t whole[VALUE_MAX], part[VALUE_MAX];
  size_t size = reader->ref.size < VALUE_MAX ? (size_t)reader->ref.size : VALUE_MAX;
  int status = blob_reader_read(reader, 0, whole, size, NULL);
  for (size_t at = 0; status == 0 && at < size;) { /* slices that go on from each other, and back now and then */
    size_t n = 1 + at % 1500 + at / 3;
    if (n > size - at) n = size - at;
    FUZZ_CHECK(blob_reader_read(reader, at, part, n, NULL) == 0 && memcmp(whole + at, part, n) == 0);
    if (at > 700)
      FUZZ_CHECK(blob_reader_read(reader, at - 700, part, 3, NULL) == 0 && memcmp(whole + at - 700, part, 3) == 0);
    at += n;
  }
}

static void reference(const uint8_t *data, size_t size) {
  struct blob_ref ref;
  uint8_t out[BLOB_REF_SIZE_MAX];
  if (!blob_ref_decode(data, size, &VOLUME, &ref)) return;
  FUZZ_CHECK(ref.size && ref.ptr.generation && blob_ref_size(data, size) == ref.size);
  FUZZ_CHECK(blob_ref_encode(&ref, out, sizeof out) == size && memcmp(out, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct block_ptr ptr;
  struct blob_reader reader;
  reference(data, size);
  if (!object_place(data, size, OBJECT_BLOB, &ptr)) return 0;
  struct block_io *io = object_io();
  struct object_header header;
  uint8_t *bytes = NULL;
  if (block_io_read_header(io, &ptr, OBJECT_BLOB, &header, &bytes, NULL) < 0) return 0;
  struct blob_ref ref = {.size = header.record_count, .ptr = ptr};
  struct blob_source source = {.io = io, .mem = io->mem, .page_size = PAGE, .key = header.low};
  if (blob_reader_open(&reader, &source, &ref, NULL) == 0) {
    encoded_same(reader.table, reader.table_size, ref.size);
    read_it(&reader);
    blob_reader_close(&reader);
    int proof = blob_prove(&source, &ref, NULL);
    FUZZ_CHECK(proof == 0 || proof == WODAN_ECORRUPT || proof == WODAN_ENOMEM);
  }
  mem_free(io->mem, bytes, ptr.header_length);
  FUZZ_CHECK(mem_used(io->mem) == 0);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  return object_mutate(data, size, size_max, seed);
}

static size_t reference_seed(unsigned number, uint8_t *out, size_t size_max) {
  struct blob_ref ref = {.size = 1000u * number, .ptr = volume_pointer(number)};
  return blob_ref_encode(&ref, out, size_max);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) {
  static const size_t sizes[] = {1, 200, 2048, 2049, 6500, 5000, 60000}; /* the last two compressed */
  enum { COUNT = sizeof sizes / sizeof *sizes };
  if (number >= COUNT && number < COUNT + 3) return reference_seed(1 + number - COUNT, out, size_max);
  if (number >= COUNT || size_max < OBJECT_MAX) return 0;
  static uint8_t value[60000];
  static struct mem own;
  mem_init(&own, NULL);
  struct space *space = space_create(&own, VOLUME.data_first, VOLUME.data_end);
  if (!space) FUZZ_FAIL("no memory");
  struct blob_writer writer;
  struct blob_ref ref;
  struct blob_write_options options = {.key = {"\x01the key", 8},
                                       .size = sizes[number],
                                       .compress = number >= 5 ? COMPRESSION_FAST : COMPRESSION_OFF,
                                       .page_size = PAGE,
                                       .chunk_size = 4096,
                                       .epoch = {7, 99}};
  for (size_t i = 0; i < sizes[number]; i++) value[i] = (uint8_t)(i / 90 * number);
  if (blob_writer_init(&writer, object_io(), space, &options, NULL) < 0 ||
      blob_writer_append(&writer, value, sizes[number], NULL) < 0 || blob_writer_finish(&writer, 77, &ref, NULL) < 0)
    FUZZ_FAIL("a seed cannot be built");
  blob_writer_release(&writer);
  space_free(space);
  if (ref.ptr.extent_count != 1 || ref.ptr.extents[0].first != VOLUME.data_first || ref.ptr.length > size_max)
    FUZZ_FAIL("a seed lies elsewhere: block %llu", (unsigned long long)ref.ptr.extents[0].first);
  memcpy(out, object_bytes(), (size_t)ref.ptr.length);
  return (size_t)ref.ptr.length;
}

/* Owns: the calls of LZ4, and the rule of when a page is worth it.
 *
 * Always true: what is packed has at most 88 % of its size, so it is never larger and always told from what is not packed
 * by its length; the output buffer ends there, so LZ4 gives up early on what does not pack.
 *
 * Order: the state of "high" is cleared once and then only reset, which LZ4 does by moving its indexes on: clearing
 * 256 KiB would cost more than packing a small page. Pages stay independent of each other.
 *
 * See: FORMAT.md "Runs", tests/unit/test_compress.c. */
#include "codec/compress.h"

#include <assert.h>
#include <limits.h>
#include <lz4.h>
#include <lz4hc.h>

enum { GAIN_PERCENT = 12, FAST_ACCELERATION = 1, HIGH_LEVEL = LZ4HC_CLEVEL_DEFAULT };

struct compressor {
  struct mem *mem;
  enum compression how;
  size_t size_max, whole; /* most bytes of a page; of this allocation */
  bool cleared;           /* the state is one of "high" */
  void *state;            /* LZ4's, behind this */
  uint8_t *packed;        /* packed_max(size_max) bytes, behind that */
};

static size_t packed_max(size_t size) { return size - (size * GAIN_PERCENT + 99) / 100; }

static size_t aligned(size_t size) { return (size + 15) / 16 * 16; }

static size_t state_size(enum compression how) {
  return aligned((size_t)(how == COMPRESSION_HIGH ? LZ4_sizeofStateHC() : LZ4_sizeofState()));
}

uint64_t compressor_memory(enum compression how, size_t size_max) {
  if (how == COMPRESSION_OFF) return 0;
  return aligned(sizeof(struct compressor)) + state_size(how) + packed_max(size_max);
}

struct compressor *compressor_create(struct mem *mem, enum compression how, size_t size_max) {
  assert(how != COMPRESSION_OFF && size_max <= LZ4_MAX_INPUT_SIZE);
  uint64_t size = compressor_memory(how, size_max);
  uint8_t *bytes = mem_alloc(mem, size);
  if (!bytes) return NULL;
  struct compressor *compressor = (struct compressor *)(void *)bytes;
  *compressor = (struct compressor){.mem = mem, .how = how, .size_max = size_max, .whole = (size_t)size};
  compressor->state = bytes + aligned(sizeof *compressor);
  compressor->packed = bytes + aligned(sizeof *compressor) + state_size(how);
  return compressor;
}

void compressor_free(struct compressor *compressor) {
  if (compressor) mem_free(compressor->mem, compressor, compressor->whole);
}

size_t compressor_pack(struct compressor *compressor, enum compression how, const uint8_t *bytes, size_t size,
                       const uint8_t **packed) {
  assert(how != COMPRESSION_OFF && how <= compressor->how);
  if (size > compressor->size_max) return 0;
  const char *in = (const char *)bytes;
  char *out = (char *)compressor->packed;
  int room = (int)packed_max(size), length;
  if (how == COMPRESSION_HIGH) {
    if (!compressor->cleared) LZ4_initStreamHC(compressor->state, state_size(how));
    compressor->cleared = true;
    LZ4_resetStreamHC_fast(compressor->state, HIGH_LEVEL);
    length = LZ4_compress_HC_continue(compressor->state, in, out, (int)size, room);
  } else {
    compressor->cleared = false;
    length = LZ4_compress_fast_extState(compressor->state, in, out, (int)size, room, FAST_ACCELERATION);
  }
  *packed = compressor->packed;
  return length > 0 ? (size_t)length : 0;
}

/* What LZ4 asks for between the ends of what it reads and what it writes. */
size_t compress_in_place(size_t size) { return size + (size >> 8) + 32; }

/* A length of a sequence, of which 4 bits stand in its token. false: it ends behind the block. */
static bool take_length(const uint8_t *packed, size_t length, size_t *at, size_t *out) {
  if (*out < 15) return true;
  uint8_t byte;
  do {
    if (*at >= length) return false; /* guard: bounds */
    *out += byte = packed[(*at)++];
  } while (byte == 255);
  return true;
}

/* Whether all sequences together make `size` bytes: only then does nothing that is written come before what is not read yet, so
 * that LZ4, which judges all the rest, sees the block as it is. */
static bool adds_up(const uint8_t *packed, size_t length, size_t size) {
  size_t at = 0, made = 0;
  while (at < length && made <= size) {
    size_t literals = packed[at] >> 4, match = packed[at] & 15;
    at++;
    if (!take_length(packed, length, &at, &literals)) return false;
    at += literals;
    made += literals;
    if (at >= length) return at == length && made == size;
    at += 2; /* the offset */
    if (!take_length(packed, length, &at, &match)) return false;
    made += match + 4;
  }
  return false;
}

bool compress_unpack(const uint8_t *packed, size_t length, uint8_t *bytes, size_t size) {
  if (length > INT_MAX || size > INT_MAX) return false;
  bool shared = packed >= bytes && packed < bytes + compress_in_place(size);
  if (shared && !adds_up(packed, length, size)) return false;
  int got = LZ4_decompress_safe((const char *)packed, (char *)bytes, (int)length, (int)size);
  return got == (int)size; /* guard: bounds */
}

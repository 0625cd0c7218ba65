/* Owns: the table of locations.
 *
 * A line of the table is a cache line of four places; a place is two words: the location, and name ^ location. Lines lie in
 * pieces that are allocated when first written to, so that an open costs nothing and small data take little.
 *
 * Always true: a place whose two words are of different writes, or of another name, does not give the name that is asked for:
 * for the same name two different locations never do, for others only by a chance of 2^-64, and the reader proves the key.
 * What gives a name was kept under that name. Word 0 is never a location: there the fill is at least 1.
 *
 * Order: a word is stored with release and read with acquire, so who finds a frame's number sees the slab it is in.
 *
 * See: tests/unit/test_locations.c. */
#include "cache/locations.h"

#include <assert.h>
#include <string.h>

enum { PLACES = 4, LINE_SIZE = 64, PIECE_SIZE = 2 << 20, OFFSET_BITS = 14, FILL_BITS = 26 };
_Static_assert(LOCATION_OFFSETS == 1 << OFFSET_BITS, "what a word holds");
_Static_assert(CACHE_FILLS_MOST == (1 << FILL_BITS) - 1, "what a word holds");

struct place {
  _Atomic uint64_t location, check;
};
_Static_assert(PLACES * sizeof(struct place) == LINE_SIZE, "a line is a cache line");

struct locations {
  struct mem *mem;
  uint64_t lines; /* power of two */
  size_t piece_lines, pieces;
  struct place *_Atomic piece[];
};

static uint64_t floor_power(uint64_t n) { return UINT64_C(1) << (63 - __builtin_clzll(n)); }

static size_t table_size(size_t pieces) { return sizeof(struct locations) + pieces * sizeof(struct place * _Atomic); }

struct locations *locations_create(struct mem *mem, uint64_t bytes) {
  enum { LINES_LEAST = 16 };
  if (bytes < LINES_LEAST * LINE_SIZE + table_size(1)) return NULL;
  uint64_t lines = floor_power((bytes - table_size(1)) / LINE_SIZE);
  uint64_t piece_lines = lines < PIECE_SIZE / LINE_SIZE ? lines : PIECE_SIZE / LINE_SIZE, pieces = lines / piece_lines;
  while (pieces > 1 && lines * LINE_SIZE + table_size((size_t)pieces) > bytes) {
    lines /= 2;
    pieces /= 2;
  }
  struct locations *locations = mem_zalloc(mem, table_size((size_t)pieces));
  if (!locations) return NULL;
  locations->mem = mem;
  locations->lines = lines;
  locations->piece_lines = (size_t)piece_lines;
  locations->pieces = (size_t)pieces;
  return locations;
}

static size_t piece_size(const struct locations *locations) { return locations->piece_lines * LINE_SIZE; }

void locations_free(struct locations *locations) {
  if (!locations) return;
  for (size_t i = 0; i < locations->pieces; i++)
    mem_free(locations->mem, atomic_load(&locations->piece[i]), piece_size(locations));
  mem_free(locations->mem, locations, table_size(locations->pieces));
}

/* The low bits choose the line; the highest two the place in it that is tried first. */
static struct place *line_of(const struct locations *locations, uint64_t hash) {
  uint64_t line = hash & (locations->lines - 1);
  struct place *piece = atomic_load_explicit(&locations->piece[line / locations->piece_lines], memory_order_acquire);
  return piece ? piece + line % locations->piece_lines * PLACES : NULL;
}

void locations_prefetch(const struct locations *locations, uint64_t hash) {
  const struct place *line = line_of(locations, hash);
  if (line) __builtin_prefetch(line);
}

bool locations_find(const struct locations *locations, uint64_t hash, uint64_t name, struct location *location) {
  const struct place *line = line_of(locations, hash);
  for (unsigned i = 0; line && i < PLACES; i++) {
    uint64_t word = atomic_load_explicit(&line[i].location, memory_order_acquire);
    uint64_t check = atomic_load_explicit(&line[i].check, memory_order_acquire);
    if ((word ^ check) != name || word == 0) continue;
    location->offset = (uint32_t)(word & (LOCATION_OFFSETS - 1));
    location->place.fill = (uint32_t)(word >> OFFSET_BITS & CACHE_FILLS_MOST);
    location->place.frame = (uint32_t)(word >> (OFFSET_BITS + FILL_BITS));
    return true;
  }
  return false;
}

/* The piece that the line is in, for the first time: two threads may try at once. */
static struct place *add_piece(struct locations *locations, uint64_t hash) {
  size_t size = piece_size(locations);
  size_t alignment = size == PIECE_SIZE ? PIECE_SIZE : LINE_SIZE;
  struct place *piece = mem_alloc_aligned(locations->mem, size, alignment), *none = NULL;
  if (!piece) return NULL;
  if (size == PIECE_SIZE) mem_advise_huge(piece, size);
  memset(piece, 0, size);
  uint64_t line = hash & (locations->lines - 1);
  if (!atomic_compare_exchange_strong(&locations->piece[line / locations->piece_lines], &none, piece))
    mem_free(locations->mem, piece, size);
  return line_of(locations, hash);
}

void locations_keep(struct locations *locations, uint64_t hash, uint64_t name, const struct location *location) {
  struct place *line = line_of(locations, hash);
  if (!line) line = add_piece(locations, hash);
  if (!line || location->place.frame >> (64 - OFFSET_BITS - FILL_BITS)) return;
  assert(location->offset < LOCATION_OFFSETS && location->place.fill > 0 && location->place.fill <= CACHE_FILLS_MOST);
  unsigned at = (unsigned)(hash >> 62);
  if (atomic_load_explicit(&line[at].location, memory_order_relaxed))
    for (unsigned i = 0; i < PLACES; i++)
      if (!atomic_load_explicit(&line[i].location, memory_order_relaxed)) at = i;
  uint64_t word = (uint64_t)location->place.frame << (OFFSET_BITS + FILL_BITS) |
                  (uint64_t)location->place.fill << OFFSET_BITS | location->offset;
  atomic_store_explicit(&line[at].location, word, memory_order_release);
  atomic_store_explicit(&line[at].check, word ^ name, memory_order_release);
}

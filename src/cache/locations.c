/* Owns: the table of locations.
 *
 * A line of the table is two neighbouring cache lines, asked for together, of eight places; a place is two words: the location,
 * and name ^ location. With two places for each location one in a hundred finds its line full; with lines of four it is four.
 * Lines lie in pieces that are allocated when first written to, so that an open costs nothing and small data take little.
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

enum { LINES_LEAST = 8, LINES_FIRST = 512, LINES_MOST = 1 << 30, PLACES_FOR_EACH = 2 };
enum { PLACES = 8, LINE_SIZE = 128, PIECE_SIZE = 2 << 20, OFFSET_BITS = 14, FILL_BITS = 26 };
_Static_assert(LOCATION_OFFSETS == 1 << OFFSET_BITS, "what a word holds");
_Static_assert(CACHE_FILLS_MOST == (1 << FILL_BITS) - 1, "what a word holds");

struct place {
  _Atomic uint64_t location, check;
};
_Static_assert(PLACES * sizeof(struct place) == LINE_SIZE, "a line is two cache lines");

struct locations {
  struct mem *mem;
  _Atomic uint32_t lines; /* those in use, so that small data lie close together */
  uint32_t lines_most;
  unsigned piece_shift; /* a piece has 1 << piece_shift lines */
  size_t pieces;
  struct place *_Atomic piece[];
};

static uint32_t least(uint32_t a, uint64_t b) { return b < a ? (uint32_t)b : a; }
static uint64_t floor_power(uint64_t n) { return UINT64_C(1) << (63 - __builtin_clzll(n)); }

static size_t table_size(size_t pieces) { return sizeof(struct locations) + pieces * sizeof(struct place * _Atomic); }

struct locations *locations_create(struct mem *mem, uint64_t bytes) {
  if (bytes < LINES_LEAST * LINE_SIZE + table_size(1)) return NULL;
  uint64_t piece_lines = PIECE_SIZE / LINE_SIZE;
  uint64_t pieces = (bytes - table_size(0)) / (PIECE_SIZE + sizeof(struct place * _Atomic));
  if (pieces > LINES_MOST / piece_lines) pieces = LINES_MOST / piece_lines;
  if (pieces == 0) { /* a small one */
    pieces = 1;
    piece_lines = floor_power((bytes - table_size(1)) / LINE_SIZE);
  }
  struct locations *locations = mem_zalloc(mem, table_size((size_t)pieces));
  if (!locations) return NULL;
  locations->mem = mem;
  locations->lines_most = (uint32_t)(pieces * piece_lines);
  locations->lines = least(locations->lines_most, LINES_FIRST);
  locations->piece_shift = (unsigned)__builtin_ctzll(piece_lines);
  locations->pieces = (size_t)pieces;
  return locations;
}

void locations_expect(struct locations *locations, uint64_t count) {
  uint64_t lines = count / PLACES * PLACES_FOR_EACH;
  if (lines < LINES_FIRST) lines = LINES_FIRST;
  atomic_store_explicit(&locations->lines, least(locations->lines_most, lines), memory_order_relaxed);
}

static size_t piece_size(const struct locations *locations) { return (size_t)LINE_SIZE << locations->piece_shift; }

void locations_free(struct locations *locations) {
  if (!locations) return;
  for (size_t i = 0; i < locations->pieces; i++)
    mem_free(locations->mem, atomic_load(&locations->piece[i]), piece_size(locations));
  mem_free(locations->mem, locations, table_size(locations->pieces));
}

static struct place *line_at(const struct locations *locations, uint64_t line) {
  struct place *piece = atomic_load_explicit(&locations->piece[line >> locations->piece_shift], memory_order_acquire);
  return piece ? piece + (line & ((UINT64_C(1) << locations->piece_shift) - 1)) * PLACES : NULL;
}

/* The low half chooses the line; the highest three bits the place in it that is tried first. */
static uint64_t line_number(const struct locations *locations, uint64_t hash) {
  return (hash & UINT32_MAX) * atomic_load_explicit(&locations->lines, memory_order_relaxed) >> 32;
}

static struct place *line_of(const struct locations *locations, uint64_t hash) {
  return line_at(locations, line_number(locations, hash));
}

void locations_prefetch(const struct locations *locations, uint64_t hash) {
  const struct place *line = line_of(locations, hash);
  if (!line) return;
  __builtin_prefetch(line);
  __builtin_prefetch(line + PLACES / 2);
}

bool locations_find(const struct locations *locations, uint64_t hash, uint64_t name, struct location *location) {
  const struct place *line = line_of(locations, hash);
  uint64_t words[PLACES];
  unsigned found = 0; /* a bit a place: which of them it is is a coin tossed twice, not for a branch to guess */
  if (!line) return false;
  for (unsigned i = 0; i < PLACES; i++) {
    words[i] = atomic_load_explicit(&line[i].location, memory_order_acquire);
    uint64_t check = atomic_load_explicit(&line[i].check, memory_order_acquire);
    found |= (unsigned)((words[i] ^ check) == name && words[i] != 0) << i;
  }
  if (found == 0) return false;
  uint64_t word = words[__builtin_ctz(found)];
  location->offset = (uint32_t)(word & (LOCATION_OFFSETS - 1));
  location->place.fill = (uint32_t)(word >> OFFSET_BITS & CACHE_FILLS_MOST);
  location->place.frame = (uint32_t)(word >> (OFFSET_BITS + FILL_BITS));
  return true;
}

/* The piece that a line is in, for the first time: two threads may try at once. False: no memory. */
static bool add_piece(struct locations *locations, uint64_t line) {
  size_t size = piece_size(locations);
  size_t alignment = size == PIECE_SIZE ? PIECE_SIZE : LINE_SIZE;
  struct place *piece = mem_alloc_aligned(locations->mem, size, alignment), *none = NULL;
  if (!piece) return false;
  if (size == PIECE_SIZE) mem_advise_huge(piece, size);
  memset(piece, 0, size);
  if (!atomic_compare_exchange_strong(&locations->piece[line >> locations->piece_shift], &none, piece))
    mem_free(locations->mem, piece, size);
  return true;
}

void locations_keep(struct locations *locations, uint64_t hash, uint64_t name, const struct location *location) {
  if (location->place.frame >> (64 - OFFSET_BITS - FILL_BITS)) return;
  assert(location->offset < LOCATION_OFFSETS && location->place.fill > 0 && location->place.fill <= CACHE_FILLS_MOST);
  uint64_t number = line_number(locations, hash);
  struct place *line = line_at(locations, number);
  if (!line && (!add_piece(locations, number) || !(line = line_at(locations, number)))) return;
  unsigned at = (unsigned)(hash >> 61);
  for (unsigned i = 0; i < PLACES && atomic_load_explicit(&line[at].location, memory_order_relaxed); i++)
    if (!atomic_load_explicit(&line[i].location, memory_order_relaxed)) at = i;
  uint64_t word = (uint64_t)location->place.frame << (OFFSET_BITS + FILL_BITS) |
                  (uint64_t)location->place.fill << OFFSET_BITS | location->offset;
  atomic_store_explicit(&line[at].location, word, memory_order_release);
  atomic_store_explicit(&line[at].check, word ^ name, memory_order_release);
}

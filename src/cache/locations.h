/* Locations: which record of which cached page a key's newest record is, so that a lookup need not go down the tree. Lossy: what
 * is asked for may be gone at any time, and whoever finds something proves that the record has the key.
 *
 * A name is 64 bits that tell key and moment: another moment has other names, so nothing has to be taken out when the tree gets
 * new records. All functions but create and free are thread-safe and take no lock. */
#ifndef CACHE_LOCATIONS_H
#define CACHE_LOCATIONS_H

#include "cache/cache.h"

struct locations;

struct location {
  struct cache_place place;
  uint32_t offset; /* in the page, below LOCATION_OFFSETS */
};
enum { LOCATION_OFFSETS = 1 << 14 };

/* Takes at most so many bytes, most of them when they are used first. NULL: no memory, or too few bytes to be of use. */
struct locations *locations_create(struct mem *mem, uint64_t bytes);
void locations_free(struct locations *locations); /* NULL is allowed */

/* About how many locations there will be: what is kept is found no more, and what is kept from now on lies no further apart than
 * need be. For when all names are new. */
void locations_expect(struct locations *locations, uint64_t count);

/* name: where it stands depends on `hash` alone, which is part of the name. */
void locations_prefetch(const struct locations *locations, uint64_t hash);
bool locations_find(const struct locations *locations, uint64_t hash, uint64_t name, struct location *location);
void locations_keep(struct locations *locations, uint64_t hash, uint64_t name, const struct location *location);

#endif

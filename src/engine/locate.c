/* Owns: lookups that know where the record is: what the tree answered is kept as a location, and asked for first.
 *
 * Always true: a location's name tells the key's hash and how far memtables had been drained into the tree. Sweeps and
 * structure move records and change no answer; only a drain does, and then all names are new. So a location of a moment's name,
 * whose frame has the bytes it had, is the newest record of its key below the memtables of that moment, whatever became of the
 * run that page was of. That the record has the key is seen from the record.
 *
 * Keys that are nowhere have no location, so whoever asks for many of them would wait for a line of the table each time, and for
 * nothing: a thread that found nothing sixteen times in a row goes down the tree at once, until it finds something.
 *
 * Off with WODAN_OPEN_NO_LOCATIONS: then every lookup goes down the tree, which must give the same answers.
 *
 * See: src/cache/locations.h, tests/unit/test_locations.c. */
#include "engine/engine.h"

/* Different for every two moments and the same hash, as the factor is odd. */
static uint64_t name_of(uint64_t hash, uint64_t drained) { return hash ^ drained * UINT64_C(0x9e3779b97f4a7c15); }

void engine_locate_anew(struct wodan_db *db) {
  const struct node_sums *sums = &db->node->sums;
  if (db->locations) locations_expect(db->locations, (sums->leaf_bytes + sums->run_bytes) / USUAL_RECORD);
}

/* One lookup more. Written only where it says something new: all found, and all in vain, are the usual cases. */
static void note(struct wodan_db *db, bool in_vain) {
  _Atomic uint64_t *recent = striped_own(&db->reading, READ_RECENT);
  uint64_t before = atomic_load_explicit(recent, memory_order_relaxed), now = before << 1 | in_vain;
  if (now != before) atomic_store_explicit(recent, now, memory_order_relaxed);
}

bool engine_locate_begin(struct wodan_db *db, uint64_t hash) {
  enum { IN_VAIN = 0xffff };
  if (!db->locations) return false;
  uint64_t recent = atomic_load_explicit(striped_own(&db->reading, READ_RECENT), memory_order_relaxed);
  if ((recent & IN_VAIN) == IN_VAIN) return false;
  locations_prefetch(db->locations, hash);
  return true;
}

bool engine_locate(struct wodan_db *db, uint64_t hash, uint64_t drained, struct location *location) {
  return db->locations && locations_find(db->locations, hash, name_of(hash, drained), location);
}

void engine_locate_ask(const struct wodan_db *db, const struct location *location) {
  cache_prefetch_at(db->cache, location->place, location->offset);
}

struct frame *engine_locate_page(struct wodan_db *db, const struct location *location) {
  struct frame *frame = cache_pin_at(db->cache, location->place);
  if (!frame) return NULL;
  return frame;
}

bool engine_locate_take(struct wodan_db *db, struct frame *frame, const struct location *location,
                        struct wodan_slice key, struct record *record) {
  struct page page = page_view(cache_data(frame));
  struct page_record found = page_record_at(&page, page.data + location->offset);
  struct wodan_slice prefix = run_page_prefix(frame);
  bool same = key.size == prefix.size + found.suffix.size && memcmp(key.data, prefix.data, prefix.size) == 0 &&
              memcmp((const uint8_t *)key.data + prefix.size, found.suffix.data, found.suffix.size) == 0;
  if (!same) {
    cache_unpin(frame);
    return false;
  }
  note(db, false);
  *record = (struct record){.key = key, .sequence = found.sequence, .kind = found.kind, .value = found.value};
  return true;
}

/* Only what stands in that very page: a record may have come about in another way. */
static void keep(struct wodan_db *db, uint64_t hash, uint64_t drained, const struct record *record,
                 const struct frame *frame) {
  struct location location;
  if (!frame || record->kind > RECORD_DELETE || !cache_place(frame, &location.place)) return;
  struct page page = page_view(cache_data(frame));
  bool exact;
  uint32_t at = page_lower_bound(&page, record->key, &exact);
  if (!exact || page_record(&page, at).sequence != record->sequence) return;
  location.offset = page_offset(&page, at);
  if (location.offset < LOCATION_OFFSETS) locations_keep(db->locations, hash, name_of(hash, drained), &location);
}

void engine_locate_learn(struct wodan_db *db, uint64_t hash, uint64_t drained, int status, const struct record *record,
                         const struct frame *frame) {
  if (!db->locations) return;
  note(db, status == WODAN_ENOTFOUND);
  if (status == 0) keep(db, hash, drained, record, frame);
}

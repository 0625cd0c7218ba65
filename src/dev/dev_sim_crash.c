/* Owns: what a power cut may leave of the window of a simulated device: one state from a choice string, all states
 * of the families, random ones.
 *
 * Always true:
 *  - a state is medium + all segments below g whole + the chosen part of segment g; nothing above g;
 *  - any byte string is a legal choice; the same string on the same window gives the same image, bit for bit;
 *  - an iterator yields no image twice, and says (skipped) when a family was too large to run through.
 *
 * Order: only sectors touched by the window can differ, so a step restores and hashes only those; `base` moves on
 * from segment to segment, never back. Elements are applied in the order they were taken: two writes of one sector
 * in one segment give old, first, or second, as subsets choose.
 *
 * See: dev_sim.h, tests/unit/test_dev_sim_crash.c (state counts against the formulas). */
#include <assert.h>
#include <xxhash.h>

#include "base/wire.h"
#include "dev/dev_sim_private.h"

enum { HEADER = 4, FAMILY_COUNT = 6 };

/* ---- images ---------------------------------------------------------------------------------------------------- */

static size_t sector_count(const struct sim_image *image) { return (size_t)(image->size / image->sector); }

int sim_image_init(struct sim_image *image, const struct sim *sim) {
  struct mem mem;
  mem_init(&mem, NULL);
  *image = (struct sim_image){.size = sim->device.geometry.size, .sector = sim->sector};
  image->bytes = mem_alloc(&mem, (size_t)image->size);
  image->marks = mem_alloc(&mem, sector_count(image));
  if (!image->bytes || !image->marks) {
    sim_image_release(image);
    return WODAN_ENOMEM;
  }
  memcpy(image->bytes, sim->medium, (size_t)image->size);
  memcpy(image->marks, sim->medium_marks, sector_count(image));
  return 0;
}

void sim_image_release(struct sim_image *image) {
  struct mem mem;
  mem_init(&mem, NULL);
  mem_free(&mem, image->bytes, (size_t)image->size);
  if (image->sector) mem_free(&mem, image->marks, sector_count(image));
  *image = (struct sim_image){.size = 0};
}

/* A sum over the sectors, so that an iterator has to hash only those that change. */
static uint64_t hash_sector(const struct sim_image *image, size_t s) {
  uint64_t seed = (s + 1) * 0x9e3779b97f4a7c15u + image->marks[s];
  return XXH3_64bits_withSeed(image->bytes + s * image->sector, image->sector, seed);
}

uint64_t sim_image_hash(const struct sim_image *image) {
  uint64_t hash = 0;
  for (size_t s = 0; s < sector_count(image); s++) hash += hash_sector(image, s);
  return hash;
}

/* ---- the window ------------------------------------------------------------------------------------------------ */

uint32_t sim_window_segments(const struct sim *sim) {
  return sim->element_count ? sim->elements[sim->element_count - 1].segment + 1 : 0;
}

size_t sim_window_elements(const struct sim *sim) { return sim->element_count; }

static size_t element_positions(const struct sim_element *e) { return e->discard ? 1 : e->sectors; }

static size_t positions_max(const struct sim *sim) {
  size_t most = 0, here = 0;
  for (size_t i = 0; i < sim->element_count; i++) {
    if (i && sim->elements[i].segment != sim->elements[i - 1].segment) here = 0;
    here += element_positions(&sim->elements[i]);
    if (here > most) most = here;
  }
  return most;
}

size_t sim_choice_size_max(const struct sim *sim) { return HEADER + positions_max(sim); }

static void land_segment(struct sim_image *image, const struct sim *sim, uint32_t g) {
  for (size_t n = 0; n < sim->element_count; n++) {
    const struct sim_element *e = &sim->elements[n];
    for (uint32_t i = 0; e->segment == g && i < e->sectors; i++)
      sim_apply(sim, e, i, sim_landed(sim, e), image->bytes, image->marks);
  }
}

/* positions: a byte each; those from `size` on count as 0. */
static void choose_segment(struct sim_image *image, const struct sim *sim, uint32_t g, const uint8_t *positions,
                           size_t size) {
  size_t at = 0;
  for (size_t n = 0; n < sim->element_count && at < size; n++) {
    const struct sim_element *e = &sim->elements[n];
    if (e->segment != g) continue;
    unsigned radix = e->discard ? SIM_DISCARD_CHOICES : SIM_SECTOR_CHOICES;
    for (uint32_t i = 0; i < e->sectors; i++) {
      size_t position = e->discard ? at : at + i;
      if (position >= size) break;
      sim_apply(sim, e, i, (uint8_t)(positions[position] % radix), image->bytes, image->marks);
    }
    at += element_positions(e);
  }
}

void sim_image_choose(struct sim_image *image, const struct sim *sim, const uint8_t *choice, size_t size) {
  assert(image->size == sim->device.geometry.size && image->sector == sim->sector);
  memcpy(image->bytes, sim->medium, (size_t)image->size);
  memcpy(image->marks, sim->medium_marks, sector_count(image));
  uint32_t segments = sim_window_segments(sim);
  if (!segments) return;
  uint8_t header[HEADER] = {0};
  memcpy(header, choice, size < HEADER ? size : HEADER);
  uint32_t g = load_u32(header) % segments;
  for (uint32_t s = 0; s < g; s++) land_segment(image, sim, s);
  if (size > HEADER) choose_segment(image, sim, g, choice + HEADER, size - HEADER);
}

/* ---- choice strings -------------------------------------------------------------------------------------------- */

bool sim_choice_print(const uint8_t *choice, size_t size, char *text, size_t capacity) {
  static const char digits[] = "0123456789abcdef";
  if (size > (SIZE_MAX - 1) / 2 || capacity < 2 * size + 1) return false;
  for (size_t i = 0; i < size; i++) {
    text[2 * i] = digits[choice[i] >> 4];
    text[2 * i + 1] = digits[choice[i] & 15];
  }
  text[2 * size] = 0;
  return true;
}

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool sim_choice_parse(const char *text, uint8_t *choice, size_t capacity, size_t *size) {
  size_t n = 0;
  for (; text[2 * n]; n++) {
    int high = digit(text[2 * n]), low = high < 0 ? -1 : digit(text[2 * n + 1]);
    if (low < 0 || n == capacity) return false;
    choice[n] = (uint8_t)(high << 4 | low);
  }
  *size = n;
  return true;
}

/* A state of one of three shapes: sectors by coin, units by coin, or units by coin with one torn; coins loaded by a
 * random weight, so that nearly empty and nearly full windows are met too. */
size_t sim_choice_sample(const struct sim *sim, uint64_t *seed, bool contents, uint8_t *choice) {
  uint32_t segments = sim_window_segments(sim);
  uint32_t g = segments ? (uint32_t)(sim_mix(seed) % segments) : 0;
  uint64_t shape = sim_mix(seed) % 3, weight = sim_mix(seed) % 17;
  uint64_t torn = sim_mix(seed) % (sim->element_count + 1);
  store_u32(choice, g);
  size_t at = HEADER;
  for (size_t n = 0; n < sim->element_count; n++) {
    const struct sim_element *e = &sim->elements[n];
    if (e->segment != g) continue;
    bool whole = sim_mix(seed) % 16 < weight;
    bool by_sector = shape == 0 || (shape == 2 && torn == n);
    for (size_t i = 0; i < element_positions(e); i++) {
      bool landed = by_sector ? sim_mix(seed) % 16 < weight : whole;
      uint8_t value = landed ? (uint8_t)SIM_NEW : (uint8_t)SIM_OLD;
      uint64_t odd = sim_mix(seed);
      if (contents && e->discard) value = (uint8_t)(odd % SIM_DISCARD_CHOICES);
      if (contents && !e->discard && odd % 16 == 0) value = (uint8_t)(odd / 16 % SIM_SECTOR_CHOICES);
      choice[at++] = value;
    }
  }
  return at;
}

/* ---- the set of hashes ----------------------------------------------------------------------------------------- */

static size_t slot_of(const struct sim_seen *seen, uint64_t hash) {
  size_t i = (size_t)hash & (seen->capacity - 1);
  while (seen->slots[i] && seen->slots[i] != hash) i = (i + 1) & (seen->capacity - 1);
  return i;
}

static bool seen_grow(struct sim_seen *seen) {
  struct mem mem;
  mem_init(&mem, NULL);
  struct sim_seen bigger = {.capacity = seen->capacity ? seen->capacity * 2 : 64, .count = seen->count};
  bigger.slots = mem_zalloc(&mem, bigger.capacity * sizeof *bigger.slots);
  if (!bigger.slots) return false;
  for (size_t i = 0; i < seen->capacity; i++)
    if (seen->slots[i]) bigger.slots[slot_of(&bigger, seen->slots[i])] = seen->slots[i];
  mem_free(&mem, seen->slots, seen->capacity * sizeof *seen->slots);
  *seen = bigger;
  return true;
}

int sim_seen_add(struct sim_seen *seen, uint64_t hash) {
  if (hash == 0) hash = 1; /* 0 marks a free slot */
  if (seen->count * 2 >= seen->capacity && !seen_grow(seen)) return WODAN_ENOMEM;
  size_t i = slot_of(seen, hash);
  if (seen->slots[i]) return 0;
  seen->slots[i] = hash;
  seen->count++;
  return 1;
}

void sim_seen_release(struct sim_seen *seen) {
  struct mem mem;
  mem_init(&mem, NULL);
  mem_free(&mem, seen->slots, seen->capacity * sizeof *seen->slots);
  *seen = (struct sim_seen){.slots = NULL};
}

/* ---- the iterator ---------------------------------------------------------------------------------------------- */

/* What lands as one: the part of a write within a block, or a discard. */
struct unit {
  size_t position;  /* its first, in the segment */
  uint32_t sectors; /* positions; 1 for a discard */
  uint8_t landed;   /* the choice that means done */
  bool discard;
};

struct sim_crash_iter {
  struct sim *sim;
  struct sim_crash_options options;
  struct sim_image image, base; /* base: the segments below g landed */
  uint64_t *touched;            /* sectors of the window, each once */
  size_t touched_count, touched_size;
  uint8_t *choice;
  size_t choice_size, positions; /* positions of segment g */
  struct unit *units;            /* of segment g */
  size_t unit_count, unit_capacity;
  uint32_t segment, segments;
  unsigned family;      /* index of the bit */
  uint64_t next, total; /* states of this family */
  struct sim_seen seen;
  uint64_t untouched, hash; /* of the sectors no state changes; of the present image */
  uint64_t states, images;
  uint32_t skipped;
  bool starved;
};

static unsigned content_radix(const struct unit *u) { return u->discard ? SIM_DISCARD_CHOICES : SIM_SECTOR_CHOICES; }
static unsigned subset_radix(const struct unit *u) { return u->discard ? SIM_DISCARD_CHOICES : 2; }

/* n * factor, or UINT64_MAX when it overflows or n is that already. */
static uint64_t times(uint64_t n, uint64_t factor) {
  uint64_t product;
  return n == UINT64_MAX || __builtin_mul_overflow(n, factor, &product) ? UINT64_MAX : product;
}

static uint64_t power(uint64_t base, size_t exponent) {
  uint64_t n = 1;
  for (size_t i = 0; i < exponent && n != UINT64_MAX; i++) n = times(n, base);
  return n;
}

/* The states of one torn unit t: subsets of the others times its patterns (neither empty nor whole). */
static uint64_t torn_states(const struct sim_crash_iter *it, size_t t) {
  const struct unit *u = &it->units[t];
  if (u->discard || u->sectors < 2 || u->sectors > 32) return 0;
  return times(power(2, it->unit_count - 1), (1ull << u->sectors) - 2);
}

/* States of the family for this segment; UINT64_MAX: skipped. */
static uint64_t family_states(const struct sim_crash_iter *it, uint32_t family) {
  const struct sim_crash_options *o = &it->options;
  uint64_t n = 1;
  switch (family) {
  case SIM_PREFIXES:
    return (uint64_t)it->positions + 1;
  case SIM_ONES:
    return 2 * (uint64_t)it->unit_count;
  case SIM_SUBSETS:
    if (it->unit_count > o->units_max) return UINT64_MAX;
    for (size_t i = 0; i < it->unit_count; i++) n = times(n, subset_radix(&it->units[i]));
    return n;
  case SIM_TORN:
    if (it->unit_count > o->units_max) return UINT64_MAX;
    n = 0;
    for (size_t t = 0; t < it->unit_count && n != UINT64_MAX; t++) {
      if (!it->units[t].discard && it->units[t].sectors > 32) return UINT64_MAX;
      if (__builtin_add_overflow(n, torn_states(it, t), &n)) n = UINT64_MAX;
    }
    return n;
  case SIM_SECTORS:
    return it->positions > o->sectors_max ? UINT64_MAX : power(2, it->positions);
  default:
    assert(family == SIM_CONTENTS);
    if (it->positions > o->contents_max) return UINT64_MAX;
    for (size_t i = 0; i < it->unit_count; i++) n = times(n, power(content_radix(&it->units[i]), it->units[i].sectors));
    return n;
  }
}

static void set_unit(uint8_t *positions, const struct unit *u, uint8_t value) {
  memset(positions + u->position, value, u->sectors);
}

static void fill_subset(const struct sim_crash_iter *it, uint64_t n, uint8_t *positions) {
  for (size_t i = 0; i < it->unit_count; i++) {
    set_unit(positions, &it->units[i], (uint8_t)(n % subset_radix(&it->units[i])));
    n /= subset_radix(&it->units[i]);
  }
}

static void fill_torn(const struct sim_crash_iter *it, uint64_t n, uint8_t *positions) {
  size_t t = 0;
  while (n >= torn_states(it, t)) n -= torn_states(it, t++);
  const struct unit *torn = &it->units[t];
  uint64_t patterns = (1ull << torn->sectors) - 2, pattern = n % patterns + 1, subset = n / patterns;
  for (size_t i = 0; i < it->unit_count; i++) {
    if (i == t) continue;
    set_unit(positions, &it->units[i], subset & 1 ? it->units[i].landed : 0);
    subset >>= 1;
  }
  for (uint32_t s = 0; s < torn->sectors; s++) positions[torn->position + s] = pattern >> s & 1;
}

/* State n of the family into the positions, which are zero. */
static void family_fill(const struct sim_crash_iter *it, uint32_t family, uint64_t n, uint8_t *positions) {
  for (size_t i = 0; i < it->unit_count; i++) {
    const struct unit *u = &it->units[i];
    if (family == SIM_ONES && (n / 2 == i) != (n % 2 == 1)) set_unit(positions, u, u->landed);
    for (uint32_t s = 0; s < u->sectors; s++) {
      uint8_t *p = &positions[u->position + s];
      if (family == SIM_PREFIXES && u->position + s < n) *p = u->landed;
      if (family == SIM_SECTORS) *p = n >> (u->position + s) & 1 ? u->landed : 0;
      if (family == SIM_CONTENTS) {
        *p = (uint8_t)(n % content_radix(u));
        n /= content_radix(u);
      }
    }
  }
  if (family == SIM_SUBSETS) fill_subset(it, n, positions);
  if (family == SIM_TORN) fill_torn(it, n, positions);
}

static bool add_unit(struct sim_crash_iter *it, const struct sim_element *e, size_t position, uint32_t sectors) {
  void *array = it->units;
  if (!mem_array_grow(&it->sim->mem, &array, &it->unit_capacity, it->unit_count + 1, sizeof *it->units)) return false;
  it->units = array;
  uint8_t landed = sim_landed(it->sim, e);
  if (e->discard && landed == SIM_DISCARD_NOT_DONE) landed = SIM_DISCARD_ZERO;
  it->units[it->unit_count++] =
      (struct unit){.position = position, .sectors = sectors, .landed = landed, .discard = e->discard};
  return true;
}

/* Cuts the elements of segment g into units. */
static bool enter_segment(struct sim_crash_iter *it, uint32_t g) {
  const struct sim *sim = it->sim;
  uint64_t block = it->options.block / sim->sector;
  it->segment = g;
  it->unit_count = 0;
  it->positions = 0;
  for (size_t n = 0; n < sim->element_count; n++) {
    const struct sim_element *e = &sim->elements[n];
    if (e->segment != g) continue;
    for (uint32_t done = 0; done < element_positions(e);) {
      uint64_t part = element_positions(e) - done;
      uint64_t room = block && !e->discard ? block - (e->first + done) % block : part;
      if (part > room) part = room;
      if (!add_unit(it, e, it->positions + done, (uint32_t)part)) return false;
      done += (uint32_t)part;
    }
    it->positions += element_positions(e);
  }
  assert(HEADER + it->positions <= sim_choice_size_max(sim));
  it->choice_size = HEADER + it->positions;
  store_u32(it->choice, g);
  return true;
}

static void enter_family(struct sim_crash_iter *it, unsigned family) {
  it->family = family;
  it->next = it->total = 0;
  if (family == FAMILY_COUNT || !(it->options.families & 1u << family)) return;
  it->total = family_states(it, 1u << family);
  if (it->total > it->options.states_max) {
    it->skipped |= 1u << family;
    it->total = 0;
  }
}

static bool find_touched(struct sim_crash_iter *it) {
  struct sim *sim = it->sim;
  size_t flags_size = (size_t)sim->sectors, most = 0;
  for (size_t n = 0; n < sim->element_count; n++) most += sim->elements[n].sectors;
  if (most > flags_size) most = flags_size;
  it->touched_size = most;
  it->touched = mem_array(&sim->mem, most, sizeof *it->touched);
  uint8_t *flags = mem_zalloc(&sim->mem, flags_size);
  for (size_t n = 0; it->touched && flags && n < sim->element_count; n++) {
    const struct sim_element *e = &sim->elements[n];
    for (uint64_t s = e->first; s < e->first + e->sectors; s++) {
      if (!flags[s]) it->touched[it->touched_count++] = s;
      flags[s] = 1;
    }
  }
  bool done = it->touched && flags;
  mem_free(&sim->mem, flags, flags_size);
  return done;
}

static struct sim_crash_options with_defaults(const struct sim_crash_options *given) {
  struct sim_crash_options o = given ? *given : (struct sim_crash_options){.families = 0};
  if (!o.families) o.families = SIM_FAMILIES;
  if (!o.units_max) o.units_max = 12;
  if (!o.sectors_max) o.sectors_max = 16;
  if (o.sectors_max > 63) o.sectors_max = 63;
  if (!o.contents_max) o.contents_max = 6;
  if (!o.states_max) o.states_max = 1 << 20;
  return o;
}

int sim_crash_begin(struct sim *sim, const struct sim_crash_options *options, struct sim_crash_iter **iter) {
  *iter = NULL;
  struct sim_crash_iter *it = mem_zalloc(&sim->mem, sizeof *it);
  if (!it) return WODAN_ENOMEM;
  it->sim = sim;
  it->options = with_defaults(options);
  it->segments = sim_window_segments(sim);
  it->choice = mem_zalloc(&sim->mem, sim_choice_size_max(sim));
  bool ready = it->choice && sim_image_init(&it->image, sim) == 0 && sim_image_init(&it->base, sim) == 0 &&
               find_touched(it) && enter_segment(it, 0);
  if (!ready) {
    sim_crash_end(it);
    return WODAN_ENOMEM;
  }
  it->untouched = sim_image_hash(&it->base);
  for (size_t i = 0; i < it->touched_count; i++) it->untouched -= hash_sector(&it->base, (size_t)it->touched[i]);
  enter_family(it, 0);
  *iter = it;
  return 0;
}

/* The state the choice string names, on the touched sectors only; it->hash becomes the image's. */
static void materialise(struct sim_crash_iter *it) {
  size_t sector = it->image.sector;
  for (size_t i = 0; i < it->touched_count; i++) {
    size_t s = (size_t)it->touched[i];
    memcpy(it->image.bytes + s * sector, it->base.bytes + s * sector, sector);
    it->image.marks[s] = it->base.marks[s];
  }
  choose_segment(&it->image, it->sim, it->segment, it->choice + HEADER, it->positions);
  it->hash = it->untouched;
  for (size_t i = 0; i < it->touched_count; i++) it->hash += hash_sector(&it->image, (size_t)it->touched[i]);
}

/* To the next family or segment; false at the end. */
static bool advance(struct sim_crash_iter *it) {
  if (it->family < FAMILY_COUNT) {
    enter_family(it, it->family + 1);
    return true;
  }
  if (it->segment + 1 >= it->segments) return false;
  land_segment(&it->base, it->sim, it->segment);
  if (!enter_segment(it, it->segment + 1)) {
    it->starved = true;
    return false;
  }
  enter_family(it, 0);
  return true;
}

bool sim_crash_next(struct sim_crash_iter *it, const struct sim_image **image) {
  for (;;) {
    if (it->next == it->total) {
      if (!advance(it)) return false;
      continue;
    }
    memset(it->choice + HEADER, 0, it->positions);
    family_fill(it, 1u << it->family, it->next++, it->choice + HEADER);
    it->states++;
    materialise(it);
    if (sim_seen_add(&it->seen, it->hash) == 0) continue; /* no memory: shown once more, never left out */
    it->images++;
    *image = &it->image;
    return true;
  }
}

const uint8_t *sim_crash_choice(const struct sim_crash_iter *it, size_t *size) {
  *size = it->choice_size;
  return it->choice;
}

uint64_t sim_crash_hash(const struct sim_crash_iter *it) { return it->hash; }
uint64_t sim_crash_states(const struct sim_crash_iter *it) { return it->states; }
uint64_t sim_crash_images(const struct sim_crash_iter *it) { return it->images; }
uint32_t sim_crash_skipped(const struct sim_crash_iter *it) { return it->skipped; }
bool sim_crash_starved(const struct sim_crash_iter *it) { return it->starved; }

void sim_crash_end(struct sim_crash_iter *it) {
  if (!it) return;
  struct mem *mem = &it->sim->mem;
  if (it->choice) mem_free(mem, it->choice, sim_choice_size_max(it->sim));
  mem_array_free(mem, it->touched, it->touched_size, sizeof *it->touched);
  mem_array_free(mem, it->units, it->unit_capacity, sizeof *it->units);
  sim_image_release(&it->image);
  sim_image_release(&it->base);
  sim_seen_release(&it->seen);
  mem_free(mem, it, sizeof *it);
}

/* Question: how should a sorted page be searched? Compares layouts of 16 KiB pages with 100-byte values:
 *
 *   plain       whole keys behind offsets, binary search
 *   heads       format/page.h: prefix once, array of 4-byte heads, branchless lower bound, no prefetch
 *   heads+pf    the same, the heads' cache lines asked for first: this is page_lower_bound
 *   heads+early the same, and the first 10 lines asked for before the page's own count is known
 *   heads8+pf   8-byte heads, prefetch
 *
 * for three key shapes, in a small set of pages (fits the L2 cache) and in one far larger than it, with 4 KiB and with
 * huge memory pages. Every search is for a key that is there, in a page known beforehand; the result of one search
 * decides nothing about the next, but each depends on the one before (as a caller that uses the value would), so the
 * latency counts, not the throughput. Every answer is checked.
 *
 * See: src/format/page.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/wire.h"
#include "format/page.h"
#include "micro.h"

enum {
  PAGE = 16384,
  STRIDE = PAGE + 64,
  VALUE = 100,
  KEY_MAX = 128,
  QUERIES = 1 << 19,
  SMALL_PAGES = 64,
  RECORDS = 2000000
};

static uint64_t state = 88172645463325252ull;
static uint64_t next_random(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state * 0x2545F4914F6CDD1Dull;
}

/* ---- keys ---------------------------------------------------------------------------------------------------- */

struct key {
  uint8_t size, bytes[KEY_MAX - 1];
};

static void key_random(struct key *key) {
  key->size = 16;
  for (int i = 0; i < 16; i += 8) store_u64(key->bytes + i, next_random());
}

static void key_url(struct key *key) {
  static const char *sections[] = {"articles", "products", "users", "static/images", "api/v2/resources"};
  uint64_t host = next_random() % 2000, r = next_random();
  int n = snprintf((char *)key->bytes, sizeof key->bytes, "https://www.example-site-%04u.org/%s/%u/%08x.html",
                   (unsigned)host, sections[r % 5], (unsigned)(r >> 8) % 100, (unsigned)(r >> 32));
  key->size = (uint8_t)n;
}

static void key_uuid(struct key *key) {
  uint64_t a = next_random(), b = next_random();
  int n = snprintf((char *)key->bytes, sizeof key->bytes, "%08x-%04x-4%03x-a%03x-%012llx", (unsigned)(a >> 32),
                   (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff, (unsigned)(b >> 48) & 0xfff,
                   (unsigned long long)(b & 0xffffffffffffull));
  key->size = (uint8_t)n;
}

static int key_order(const void *a, const void *b) {
  const struct key *x = a, *y = b;
  return key_compare((struct wodan_slice){x->bytes, x->size}, (struct wodan_slice){y->bytes, y->size});
}

/* ---- pages: like format/page.h with heads of 0, 4 or 8 bytes, and no prefix when 0 ---------------------------- */

static uint64_t head8(const uint8_t *p, size_t n) {
  uint8_t padded[8] = {0};
  memcpy(padded, p, n < 8 ? n : 8);
  return __builtin_bswap64(load_u64(padded));
}

static size_t shared(const struct key *a, const struct key *b) {
  size_t n = 0;
  while (n < a->size && n < b->size && a->bytes[n] == b->bytes[n]) n++;
  return n;
}

/* Fills one page, returns how many keys it took. */
static size_t fill_page(uint8_t *out, const struct key *keys, size_t left, size_t head) {
  size_t count = 0, bytes = 0, prefix = 0;
  while (count < left) {
    size_t common = head ? shared(&keys[0], &keys[count]) : 0, total = bytes + keys[count].size;
    if (PAGE_HEADER_SIZE + (count + 1) * (head + 2 + 4 + VALUE) + common + total - (count + 1) * common > PAGE) break;
    bytes = total;
    prefix = common;
    count++;
  }
  uint8_t *heads = out + PAGE_HEADER_SIZE, *offsets = heads + count * head, *at = offsets + count * 2;
  store_u32(out + 4, (uint32_t)count);
  store_u16(out + 8, (uint16_t)prefix);
  out[10] = 2;
  out[11] = 0;
  store_u64(out + 12, 0);
  memcpy(at, keys[0].bytes, prefix);
  at += prefix;
  for (size_t i = 0; i < count; i++) {
    const uint8_t *suffix = keys[i].bytes + prefix;
    size_t size = keys[i].size - prefix;
    if (head == 4) store_u32(heads + i * 4, (uint32_t)(head8(suffix, size) >> 32));
    if (head == 8) store_u64(heads + i * 8, head8(suffix, size));
    store_u16(offsets + i * 2, (uint16_t)(at - out));
    struct wire_writer w = wire_writer(at, (size_t)(out + PAGE - at));
    wire_put_varint(&w, size);
    wire_put_varint(&w, VALUE << 3);
    wire_put_varint(&w, 1);
    wire_put_bytes(&w, suffix, size);
    at = w.data + w.at;
    memset(at, 7, VALUE);
    at += VALUE;
  }
  store_u32(out, (uint32_t)(at - out));
  return count;
}

/* ---- searches ------------------------------------------------------------------------------------------------ */

static struct wodan_slice suffix_at(const uint8_t *page, const uint8_t *offsets, uint32_t i) {
  const uint8_t *p = page + load_u16(offsets + (size_t)i * 2);
  return (struct wodan_slice){p + 4, p[0]}; /* one-byte size, two-byte value word, one-byte sequence */
}

static uint32_t search_plain(const uint8_t *page, struct wodan_slice key) {
  uint32_t low = 0, high = load_u32(page + 4);
  const uint8_t *offsets = page + PAGE_HEADER_SIZE;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (key_compare(suffix_at(page, offsets, middle), key) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static inline uint32_t search_heads(const uint8_t *page, struct wodan_slice key, size_t head, bool prefetch) {
  uint32_t count = load_u32(page + 4), prefix_size = load_u16(page + 8), low = 0;
  const uint8_t *heads = page + PAGE_HEADER_SIZE, *offsets = heads + count * head, *prefix = offsets + count * 2;
  if (prefetch) {
    __builtin_prefetch(prefix);
    for (size_t at = 0; at < count * head; at += 64) __builtin_prefetch(heads + at);
  }
  if (memcmp(prefix, key.data, prefix_size)) return count;
  struct wodan_slice rest = {(const uint8_t *)key.data + prefix_size, key.size - prefix_size};
  uint64_t wanted = head8(rest.data, rest.size);
  if (head == 4) wanted >>= 32;
#define HEAD(i) (head == 4 ? load_u32(heads + (size_t)(i)*4) : load_u64(heads + (size_t)(i)*8))
  for (uint32_t left = count; left > 1;) {
    uint32_t half = left / 2;
    low += HEAD(low + half - 1) < wanted ? half : 0;
    left -= half;
  }
  low += HEAD(low) < wanted;
  while (low < count && HEAD(low) == wanted && key_compare(suffix_at(page, offsets, low), rest) < 0) low++;
#undef HEAD
  return low;
}

static uint32_t search_heads4(const uint8_t *page, struct wodan_slice key) { return search_heads(page, key, 4, false); }
static uint32_t search_heads8(const uint8_t *page, struct wodan_slice key) { return search_heads(page, key, 8, true); }
static uint32_t search_engine(const uint8_t *page, struct wodan_slice key) {
  struct page view = page_view(page);
  bool exact;
  return page_lower_bound(&view, key, &exact);
}
static uint32_t search_early(const uint8_t *page, struct wodan_slice key) {
  for (size_t at = 0; at < 10 * 64; at += 64) __builtin_prefetch(page + PAGE_HEADER_SIZE + at);
  return search_engine(page, key);
}

struct variant {
  const char *name;
  size_t head;
  uint32_t (*search)(const uint8_t *page, struct wodan_slice key);
};
static const struct variant variants[] = {
    {"plain", 0, search_plain},       {"heads", 4, search_heads4},     {"heads+pf", 4, search_engine},
    {"heads+early", 4, search_early}, {"heads8+pf", 8, search_heads8},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

/* ---- measuring ----------------------------------------------------------------------------------------------- */

struct query {
  struct key key;
  uint32_t page, index;
};

enum { SHAPES = 3, SMALL_SET = 0, LARGE_SET = 1, HUGE_SET = 2, SETS = 3 };
static const char *const shape_names[SHAPES] = {"random 16", "URL", "UUID text"};
static const char *const set_names[SETS] = {"small", "large", "large, huge pages"};

/* Sorted, each once; made when first asked for, kept until the program ends. */
static const struct key *keys_of(size_t shape, size_t *count) {
  static void (*const make[SHAPES])(struct key *) = {key_random, key_url, key_uuid};
  static struct key *keys[SHAPES];
  static size_t counts[SHAPES];
  if (!keys[shape]) {
    keys[shape] = micro_allocate(RECORDS * sizeof **keys);
    for (size_t i = 0; i < RECORDS; i++) make[shape](&keys[shape][i]);
    qsort(keys[shape], RECORDS, sizeof **keys, key_order);
    counts[shape] = 1;
    for (size_t i = 1; i < RECORDS; i++)
      if (key_order(&keys[shape][counts[shape] - 1], &keys[shape][i])) keys[shape][counts[shape]++] = keys[shape][i];
  }
  *count = counts[shape];
  return keys[shape];
}

struct search {
  const struct variant *variant;
  uint8_t *memory, *pages;
  size_t room, next;
  struct query *queries;
};

static void *create(size_t which) {
  struct search *s = micro_allocate(sizeof *s);
  size_t count, set = which % SETS, pages_count = 0, taken = 0;
  const struct key *keys = keys_of(which / SETS % SHAPES, &count);
  s->variant = &variants[which / SETS / SHAPES];
  s->room = (count / 60 + 1) * STRIDE + (2u << 20);
  s->memory = mmap(NULL, s->room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (s->memory == MAP_FAILED) bench_die("out of memory");
  madvise(s->memory, s->room, set == HUGE_SET ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  s->pages = s->memory + 44; /* the engine's frames: page header at the end of a line */
  uint32_t *firsts = micro_allocate((count / 60 + 2) * sizeof *firsts);
  while (taken < count && (set != SMALL_SET || pages_count < SMALL_PAGES)) {
    firsts[pages_count] = (uint32_t)taken;
    taken += fill_page(s->pages + pages_count++ * STRIDE, keys + taken, count - taken, s->variant->head);
  }
  firsts[pages_count] = (uint32_t)taken;
  s->queries = micro_allocate((QUERIES + 1) * sizeof *s->queries);
  for (size_t q = 0; q <= QUERIES; q++) {
    uint32_t page = (uint32_t)(next_random() % pages_count);
    uint32_t index = (uint32_t)(next_random() % (firsts[page + 1] - firsts[page]));
    s->queries[q] = (struct query){.key = keys[firsts[page] + index], .page = page, .index = index};
  }
  free(firsts);
  return s;
}

static void destroy(void *state_of_it) {
  struct search *s = state_of_it;
  munmap(s->memory, s->room);
  free(s->queries);
  free(s);
}

static void run(void *state_of_it, uint64_t count) {
  struct search *s = state_of_it;
  uint32_t wrong = 0, chain = 0;
  for (uint64_t i = 0; i < count; i++) {
    const struct query *query = &s->queries[s->next + (chain >> 31)]; /* a dependence; the top bit is never set */
    s->next = (s->next + 1) % QUERIES;
    const uint8_t *page = s->pages + (size_t)query->page * STRIDE;
    uint32_t index = s->variant->search(page, (struct wodan_slice){query->key.bytes, query->key.size});
    wrong += index != query->index;
    /* use the found record's value, as a reader does */
    const uint8_t *offsets = page + PAGE_HEADER_SIZE + load_u32(page + 4) * s->variant->head;
    chain = page[load_u16(offsets + (size_t)index * 2) + 30];
  }
  if (wrong) bench_die("%s: %u wrong answers", s->variant->name, wrong);
}

void micro_page_search(micro_add *add, void *context) {
  for (size_t shape = 0; shape < SHAPES; shape++)
    for (size_t set = 0; set < SETS; set++)
      for (size_t v = 0; v < VARIANTS; v++) {
        struct micro micro = {.which = (v * SHAPES + shape) * SETS + set,
                              .create = create,
                              .run = run,
                              .destroy = destroy,
                              .chunk = 1024};
        snprintf(micro.name, sizeof micro.name, "page search/%s/%s/%s", shape_names[shape], set_names[set],
                 variants[v].name);
        add(context, &micro);
      }
}

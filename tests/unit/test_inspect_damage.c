/* Inspection of damaged and hostile images: whatever the bytes are, nothing is written, nothing leaks, nothing runs without
 * end, and damage of what is needed is told. */
#include "check_craft.h"
#include "inspect_rig.h"
#include "format/superblock.h"

#include "support/forge.h"
#include "support/random.h"

enum { ROUNDS = 150 };

/* ---- whole images ------------------------------------------------------------------------------------------------- */

/* One in every `step` sectors. */
static void flip_in_blocks(struct store image, uint64_t step) {
  uint64_t random = 20261129, told = 0;
  for (uint64_t at = 0; at < image.size; at += step * RIG_SECTOR) {
    struct store store = store_copy(&image);
    struct rig_memory memory = {.stride = 11 * step, .start = at / RIG_SECTOR};
    uint64_t byte = at + random_next(&random) % RIG_SECTOR;
    store.bytes[byte] = (uint8_t)(store.bytes[byte] ^ 1u << random_next(&random) % 8);
    told += rig_ask(&store, &memory).damages > 0;
    store_free(&store);
  }
  assert_true(told > 50 / step); /* free blocks and padding say nothing */
  store_free(&image);
}

static void test_inspect_damage__a_flip_in_any_block_leaves_all_functions_standing(void **state) {
  (void)state;
  flip_in_blocks(rig_image(), 1);
  flip_in_blocks(rig_image_large(WODAN_COMPRESSION_FAST), 5);
}

static void test_inspect_damage__random_bytes_in_many_places(void **state) {
  (void)state;
  struct store image = rig_image();
  for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
    struct store store = store_copy(&image);
    struct rig_memory memory = {.stride = 11};
    uint64_t random = seed * 0x9E3779B97F4A7C15u;
    uint64_t first = seed % 2 ? 0 : RIG_SECTOR; /* with the superblock, or behind it */
    for (uint64_t i = 0; i < 1 + seed % 40; i++)
      store.bytes[first + random_next(&random) % (store.size - first)] = (uint8_t)random_next(&random);
    store.reads = 0;
    struct rig_told heard = rig_ask(&store, &memory);
    if (store.reads > 400000)
      fail_msg("seed %llu: %llu reads", (unsigned long long)seed, (unsigned long long)store.reads);
    if (heard.status != 0 && heard.status != WODAN_EFORMAT && heard.status != WODAN_ECORRUPT &&
        heard.status != WODAN_EVERSION)
      fail_msg("seed %llu: open answered %d", (unsigned long long)seed, heard.status);
    store_free(&store);
  }
  store_free(&image);
}

static void test_inspect_damage__shorter_and_shorter_devices(void **state) {
  (void)state;
  struct store image = rig_image();
  uint64_t whole = image.size;
  for (uint64_t size = whole - RIG_SECTOR; size > 0; size -= RIG_SECTOR * (size > 8 * RIG_SECTOR ? 7 : 1)) {
    struct rig_memory memory = {.stride = 11};
    image.size = size;
    struct rig_told heard = rig_ask(&image, &memory);
    if (heard.status == 0) assert_true(heard.damages > 0);
    if (size <= RIG_SECTOR) break;
  }
  image.size = whole;
  store_free(&image);
}

/* Every block of the volume is of one kind, whatever lies behind the end of the device: large values, too. */
static void test_inspect_damage__a_map_of_shorter_devices_counts_each_block_once(void **state) {
  (void)state;
  struct store image = rig_image_large(WODAN_COMPRESSION_OFF);
  uint64_t whole = image.size;
  for (; image.size > whole / 4; image.size -= 32 * RIG_SECTOR) {
    struct wodan_inspect *inspect = NULL;
    struct wodan_map_cell cells[16];
    uint64_t per_cell, blocks = 0;
    struct wodan_device *device = store_open(&image);
    assert_int_equal(wodan_inspect_open(device, NULL, &inspect, NULL), 0);
    assert_int_equal(wodan_inspect_map(inspect, cells, 16, &per_cell, NULL), 0);
    for (size_t i = 0; i < 16; i++)
      for (size_t kind = 0; kind < sizeof cells->blocks / sizeof *cells->blocks; kind++)
        blocks += cells[i].blocks[kind];
    assert_int_equal(blocks, whole / RIG_SECTOR);
    wodan_inspect_close(inspect);
    wodan_device_close(device);
  }
  image.size = whole;
  store_free(&image);
}

static void test_inspect_damage__unreadable_sectors(void **state) {
  (void)state;
  struct store image = rig_image();
  for (uint64_t at = 0; at < image.size; at += 5 * RIG_SECTOR) {
    struct rig_memory memory = {.stride = 11};
    image.broken = at;
    image.broken_end = at + RIG_SECTOR;
    struct rig_told heard = rig_ask(&image, &memory);
    assert_int_equal(heard.status, 0);
    assert_true(at / RIG_SECTOR >= 20 || heard.damages > 0 || heard.problems > 0 || heard.fields > 0);
  }
  store_free(&image);
}

static void test_inspect_damage__both_superblocks_count(void **state) {
  (void)state;
  struct store image = rig_image();
  struct rig_memory memory = {0};
  image.bytes[100] ^= 1;
  struct rig_told heard = rig_ask(&image, &memory);
  assert_int_equal(heard.status, 0);
  assert_true(heard.damages >= 1 && heard.nodes > 0);
  image.bytes[image.size - 100] ^= 1;
  assert_int_equal(rig_ask(&image, &memory).status, WODAN_ECORRUPT);
  store_free(&image);
}

static void *little_memory(void *context, size_t size, size_t alignment) {
  return size > 1 << 20 ? NULL : rig_allocate(context, size, alignment);
}

/* A bit a block of a volume that says it has 2^35 of them is 4 GiB and a byte. Where a size_t has 32 bits that was cut to
 * the one byte, and the map written far behind it. Now there is a bit for each block of the device. The ring is gone, so that
 * the superblock is believed. */
static void test_inspect_damage__a_volume_larger_than_its_device_is_mapped(void **state) {
  (void)state;
  struct store store = rig_image();
  struct rig_memory memory = {0};
  struct superblock sb;
  assert_int_equal(superblock_decode(store.bytes, &sb, NULL), 0);
  memset(store.bytes + sb.block_size, 0, (size_t)(sb.journal_blocks * sb.block_size));
  sb.device_blocks = 1ull << 35;
  sb.journal_block_size = 4096; /* the least, and 8 of them, of such a volume */
  sb.journal_blocks = 64;
  superblock_encode(&sb, store.bytes);
  struct wodan_inspect_options options = {.size = sizeof options};
  options.allocator = (struct wodan_allocator){.context = &memory, .allocate = little_memory, .release = rig_release};
  struct wodan_inspect *inspect = NULL;
  struct wodan_error error = {0};
  struct wodan_device *device = store_open(&store);
  if (wodan_inspect_open(device, &options, &inspect, &error) != 0) fail_msg("open: %s", error.message);
  struct wodan_map_cell cells[16];
  uint64_t per_cell;
  assert_int_equal(wodan_inspect_map(inspect, cells, 16, &per_cell, &error), 0);
  assert_int_equal(per_cell, 1ull << 31);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  assert_int_equal(memory.live, 0);
  store_free(&store);
}

static void starve(struct store image, uint64_t stride) {
  uint64_t step = 1, failures = 0;
  for (uint64_t n = 1;; n += step) {
    struct rig_memory memory = {.fail_at = n, .stride = stride};
    struct rig_told told = rig_ask(&image, &memory);
    if (memory.calls < n) break;
    failures++;
    if (told.status != 0) assert_int_equal(told.status, WODAN_ENOMEM);
    if (n > 100) step = 17; /* the loop over the blocks repeats itself */
  }
  assert_true(failures > 60);
  store_free(&image);
}

static void test_inspect_damage__no_memory_at_any_point(void **state) {
  (void)state;
  starve(rig_image(), 37);
  starve(rig_image_large(WODAN_COMPRESSION_FAST), 211);
}

/* ---- damage in one object ------------------------------------------------------------------------------------------- */

struct first {
  uint64_t node, leaf, run, damaged, told;
};

static int first_object(void *context, const struct wodan_object *object) {
  struct first *first = context;
  uint64_t *places[] = {&first->node, &first->leaf, &first->run};
  if (!*places[object->kind]) *places[object->kind] = object->block;
  first->damaged += object->damage != NULL;
  return 0;
}

static void first_damage(void *context, const struct wodan_damage *damage) {
  (void)damage;
  ((struct first *)context)->told++;
}

static struct wodan_inspect *craft_look(struct craft *c, struct first *first, struct wodan_device **device) {
  struct wodan_inspect *inspect = NULL;
  struct wodan_error error;
  const struct wodan_inspect_options options = {.size = sizeof options, .context = first, .damage = first_damage};
  *device = store_open(&c->store);
  if (wodan_inspect_open(*device, &options, &inspect, &error) != 0) fail_msg("open: %s", error.message);
  return inspect;
}

static struct wodan_slice slice(const char *s) { return (struct wodan_slice){s, strlen(s)}; }

/* Leaves [b, c | d, e] and [m, n | o], and a run with d: in keys of table 1, as the engine writes them. */
static void lay(struct craft *c) {
  const struct object low = {.pages = {{{.key = "\1b"}, {.key = "\1c"}}, {{.key = "\1d"}, {.key = "\1e"}}}},
                      high = {.pages = {{{.key = "\1m"}, {.key = "\1n"}}, {{.key = "\1o"}}}},
                      run = {.pages = {{{.key = "\1d", .sequence = 9},
                                        {.key = "\1n", .sequence = 8, .kind = RECORD_DELETE}}},
                             .filter = true};
  craft_begin(c);
  struct node_image_entry leaves[2] = {leaf_of("\1b", craft_object(c, &low)), leaf_of("\1m", craft_object(c, &high))};
  struct block_ptr runs[1] = {craft_object(c, &run)};
  craft_checkpoint(c, craft_node(c, leaves, 2, runs, 1));
}

static int path_probe(void *context, const struct wodan_path_step *step) {
  uint32_t *probes = context; /* of the node, the run, the leaf */
  probes[step->kind == WODAN_OBJECT_NODE ? 0 : step->kind == WODAN_OBJECT_RUN ? 1 : 2] = step->probe + 1;
  return 0;
}

static void test_inspect_damage__probes_tell_what_they_found(void **state) {
  (void)state;
  static const struct {
    const char *key;
    int status;
    uint32_t run, leaf;
  } CASES[] = {{"d", 0, WODAN_PROBE_FOUND, WODAN_PROBE_FOUND},
               {"b", 0, WODAN_PROBE_FILTERED, WODAN_PROBE_FOUND},
               {"n", WODAN_ENOTFOUND, WODAN_PROBE_FOUND, WODAN_PROBE_FOUND},
               {"bb", WODAN_ENOTFOUND, WODAN_PROBE_FILTERED, WODAN_PROBE_ABSENT},
               {"z", WODAN_ENOTFOUND, WODAN_PROBE_FILTERED, WODAN_PROBE_OUTSIDE}};
  struct craft c;
  struct first first = {0};
  struct wodan_device *device;
  lay(&c);
  struct wodan_inspect *inspect = craft_look(&c, &first, &device);
  for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
    uint32_t probes[3] = {0};
    assert_int_equal(wodan_inspect_path(inspect, 0, slice(CASES[i].key), path_probe, probes, NULL), CASES[i].status);
    assert_int_equal(probes[0], WODAN_PROBE_NODE + 1);
    assert_int_equal(probes[1], CASES[i].run + 1);
    assert_int_equal(probes[2], CASES[i].leaf + 1);
  }
  assert_int_equal(first.told, 0);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  craft_end(&c);
}

static void test_inspect_damage__a_damaged_run_makes_what_is_below_unsure(void **state) {
  (void)state;
  struct craft c;
  struct first first = {0};
  struct wodan_device *device;
  uint32_t probes[3] = {0};
  lay(&c);
  struct wodan_inspect *inspect = craft_look(&c, &first, &device);
  assert_int_equal(wodan_inspect_tree(inspect, 0, first_object, &first, NULL), 0);
  c.store.bytes[first.run * SECTOR + 40] ^= 1;
  assert_int_equal(wodan_inspect_path(inspect, 0, slice("d"), path_probe, probes, NULL), WODAN_ECORRUPT);
  assert_int_equal(probes[1], WODAN_PROBE_DAMAGED + 1);
  assert_int_equal(probes[2], WODAN_PROBE_FOUND + 1);
  assert_int_equal(first.told, 1);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  craft_end(&c);
}

static void test_inspect_damage__a_damaged_node_is_shown_where_it_should_be(void **state) {
  (void)state;
  struct craft c;
  struct first first = {0}, again = {0};
  struct wodan_device *device;
  lay(&c);
  struct wodan_inspect *inspect = craft_look(&c, &first, &device);
  assert_int_equal(wodan_inspect_tree(inspect, 0, first_object, &first, NULL), 0);
  assert_int_equal(first.damaged, 0);
  c.store.bytes[first.node * SECTOR + 40] ^= 1;
  assert_int_equal(wodan_inspect_tree(inspect, 0, first_object, &again, NULL), 0);
  assert_int_equal(again.node, first.node);
  assert_int_equal(again.damaged, 1);
  assert_int_equal(again.leaf, 0);
  assert_int_equal(first.told, 1);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  craft_end(&c);
}

static int keep_heading(void *context, const struct wodan_field *field) {
  char *heading = context;
  if (field->size == 0 && field->depth == 0) snprintf(heading, 160, "%s", field->text);
  return 0;
}

/* A read that failed once hid the node above a leaf, which then was "of no tree any more" (or "of the previous tree only")
 * without a word of the damage. */
static void test_inspect_damage__what_lies_behind_damage_is_not_said_to_be_of_no_tree(void **state) {
  (void)state;
  struct craft c;
  struct first first = {0};
  struct wodan_device *device;
  char heading[160] = "";
  lay(&c);
  struct wodan_inspect *inspect = craft_look(&c, &first, &device);
  assert_int_equal(wodan_inspect_tree(inspect, 0, first_object, &first, NULL), 0);
  assert_int_equal(wodan_inspect_block(inspect, first.leaf, WODAN_VIEW_ANY, keep_heading, heading, NULL), 0);
  assert_non_null(strstr(heading, "of the newest tree"));
  assert_int_equal(first.told, 0);
  c.store.bytes[first.node * SECTOR + 40] ^= 1;
  assert_int_equal(wodan_inspect_block(inspect, first.leaf, WODAN_VIEW_ANY, keep_heading, heading, NULL), 0);
  assert_non_null(strstr(heading, "of no tree that can be read"));
  assert_int_equal(first.told, 1);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  craft_end(&c);
}

struct page_told {
  uint64_t offset; /* of the page */
  uint32_t size;
  unsigned headings;
  bool wrong;
};

static int keep_page(void *context, const struct wodan_field *field) {
  struct page_told *told = context;
  bool page = strcmp(field->name, "page") == 0;
  told->headings += field->size == 0 && (page || told->headings > 0);
  if (page && told->headings == 1) told->offset = field->offset;
  if (field->size && told->headings == 1) told->size = (uint32_t)(field->offset + field->size - told->offset);
  told->wrong |= field->problem && strstr(field->problem, "its checksum is not the index's");
  return 0;
}

/* Every byte of a page wrong: whoever looks at the page is told that it is not the one of the index, whatever its fields say. */
static void test_inspect_damage__a_page_that_is_not_the_indexs_is_told(void **state) {
  (void)state;
  struct craft c;
  struct first first = {0};
  struct wodan_device *device;
  struct page_told whole = {0};
  lay(&c);
  struct wodan_inspect *inspect = craft_look(&c, &first, &device);
  assert_int_equal(wodan_inspect_tree(inspect, 0, first_object, &first, NULL), 0);
  uint64_t block = 0;
  for (uint64_t at = first.leaf; whole.size == 0; at++) { /* behind the header */
    assert_true(at < first.leaf + 8);
    wodan_inspect_block(inspect, at, WODAN_VIEW_PAGE, keep_page, &whole, NULL);
    block = at;
  }
  assert_false(whole.wrong);
  for (uint32_t i = 0; i < whole.size; i++) {
    struct page_told told = {0};
    c.store.bytes[whole.offset + i] ^= 0x10;
    assert_int_equal(wodan_inspect_block(inspect, block, WODAN_VIEW_PAGE, keep_page, &told, NULL), 0);
    if (!told.wrong) fail_msg("byte %u of a page is wrong, and nothing told", i);
    c.store.bytes[whole.offset + i] ^= 0x10;
  }
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  craft_end(&c);
}

struct large_told {
  unsigned fields, chunks, tables, unseen; /* of the value's: chunks, its table; that its chunks are not looked at */
};

static int large_field(void *context, const struct wodan_field *field) {
  struct large_told *told = context;
  told->fields++;
  told->chunks += strstr(field->text, " of the value") != NULL;
  told->tables += strcmp(field->name, "table of chunks") == 0;
  told->unseen += strcmp(field->text, "its chunks are not looked at") == 0 && field->problem;
  return 0;
}

/* The first number of this name (NULL: none) of the first large value is told as `value`, with all checksums right; block by block of it. */
static struct large_told look_at_large(const char *field, uint64_t value, uint64_t *blocks) {
  static struct forge_map map;
  struct store store = store_create(FORGE_SIZE, FORGE_BLOCK);
  struct forge_lie lie = {.site = FORGE_HONEST, .pointer = FORGE_HONEST, .value = value};
  struct large_told told = {0};
  struct wodan_inspect *inspect = NULL;
  uint32_t object = 0, site = 0;
  forge_volume(&lie, store.bytes, &map);
  while (map.objects[object].kind != FORGE_BLOB) object++;
  while (field && (strcmp(map.sites[site].structure, map.objects[object].name) != 0 ||
                   strcmp(map.sites[site].field, field) != 0))
    site++;
  if (field) lie.site = site, forge_volume(&lie, store.bytes, &map);
  const struct extent *place = map.objects[object].ptr.extents;
  struct wodan_device *device = store_open(&store);
  assert_int_equal(wodan_inspect_open(device, NULL, &inspect, NULL), 0);
  *blocks = place->count;
  for (uint64_t i = 0; i < place->count; i++)
    assert_int_equal(wodan_inspect_block(inspect, place->first + i, WODAN_VIEW_PAGE, large_field, &told, NULL), 0);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  store_free(&store);
  return told;
}

/* A header that tells another size than its sections can have, a table that tells other chunks than there are: what they say of
 * chunks is not followed. */
static void test_inspect_damage__chunks_that_cannot_be_are_not_looked_at(void **state) {
  (void)state;
  uint64_t blocks;
  struct large_told honest = look_at_large(NULL, 0, &blocks);
  assert_true(honest.chunks >= blocks - 1 && honest.tables >= 1 && honest.unseen == 0);
  struct large_told header = look_at_large("value size", 1, &blocks);
  assert_true(header.chunks == 0 && header.tables == 0 && header.unseen == blocks);
  struct large_told table = look_at_large("chunk: stored length", 1, &blocks);
  assert_true(table.chunks == 0 && table.tables == blocks && table.unseen == 0);
}

static int any_root(void *context, const struct wodan_root *root) {
  *(unsigned *)context += root->generation > 0;
  return 0;
}

static int any_block(void *context, const struct wodan_journal_block *block) {
  *(unsigned *)context += block->kind == WODAN_JOURNAL_INVALID;
  return 0;
}

/* A journal that could not be read at all gave an empty list of roots, and nothing else. */
static void test_inspect_damage__an_unreadable_journal_block_is_told(void **state) {
  (void)state;
  struct craft c;
  struct first first = {0};
  struct wodan_device *device;
  unsigned roots = 0, before = 0, invalid = 0, invalid_before = 0;
  lay(&c);
  struct wodan_inspect *inspect = craft_look(&c, &first, &device);
  assert_int_equal(wodan_inspect_roots(inspect, any_root, &before, NULL), 0);
  assert_int_equal(wodan_inspect_journal(inspect, any_block, &invalid_before, NULL), 0);
  assert_int_equal(first.told, 0);
  c.store.broken = SECTOR;
  c.store.broken_end = 3 * SECTOR;
  assert_int_equal(wodan_inspect_roots(inspect, any_root, &roots, NULL), 0);
  assert_int_equal(first.told, 2);
  assert_int_equal(wodan_inspect_journal(inspect, any_block, &invalid, NULL), 0);
  assert_int_equal(first.told, 4);
  assert_true(before > 0 && roots <= before && invalid >= invalid_before);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  craft_end(&c);
}

/* ---- what the check says of the same damage ------------------------------------------------------------------------- */

enum { RANGES_MAX = 256 };
struct range {
  uint64_t block;
  uint32_t kind, has_lower, has_upper;
  char lower[64], upper[64];
};
struct key_ranges {
  struct range list[RANGES_MAX];
  uint32_t count, heard;
  const struct range *expected;
};

static void range_bound(char out[64], struct wodan_slice key) {
  snprintf(out, 64, "%.*s", (int)key.size, key.size ? (const char *)key.data : "");
}

static int range_keep(void *context, const struct wodan_object *object) {
  struct key_ranges *ranges = context;
  assert_true(ranges->count < RANGES_MAX);
  struct range *range = &ranges->list[ranges->count++];
  *range = (struct range){object->block, object->kind, object->has_lower, object->has_upper, "", ""};
  range_bound(range->lower, object->lower);
  range_bound(range->upper, object->upper);
  return 0;
}

static void range_finding(void *context, const struct wodan_finding *finding) {
  struct key_ranges *ranges = context;
  const struct range *expected = ranges->expected;
  char lower[64], upper[64];
  if (finding->severity != WODAN_DAMAGE) return;
  ranges->heard++;
  assert_int_equal(finding->block, expected->block);
  assert_int_equal(finding->has_range, 1);
  assert_int_equal(finding->has_lower, expected->has_lower);
  assert_int_equal(finding->has_upper, expected->has_upper);
  range_bound(lower, finding->lower);
  range_bound(upper, finding->upper);
  assert_string_equal(lower, expected->lower);
  assert_string_equal(upper, expected->upper);
}

static void test_inspect_damage__findings_tell_the_keys_concerned(void **state) {
  (void)state;
  struct store image = rig_image();
  struct key_ranges *ranges = calloc(1, sizeof *ranges);
  struct wodan_device *device = store_open(&image);
  struct wodan_inspect *inspect = NULL;
  uint32_t bounded = 0;
  assert_int_equal(wodan_inspect_open(device, NULL, &inspect, NULL), 0);
  assert_int_equal(wodan_inspect_tree(inspect, 0, range_keep, ranges, NULL), 0);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  for (uint32_t i = 0; i < ranges->count; i++) {
    struct wodan_check_report report;
    const struct wodan_check_options options = {.size = sizeof options, .context = ranges, .finding = range_finding};
    uint8_t *byte = &image.bytes[ranges->list[i].block * RIG_SECTOR + 40];
    ranges->expected = &ranges->list[i];
    ranges->heard = 0;
    bounded += ranges->list[i].has_lower && ranges->list[i].has_upper;
    *byte ^= 1;
    device = store_open(&image);
    assert_int_equal(wodan_check(device, &options, &report, NULL), 0);
    wodan_device_close(device);
    *byte ^= 1;
    assert_int_equal(ranges->heard, 1);
  }
  assert_true(bounded >= 3);
  free(ranges);
  store_free(&image);
}

/* ---- trees that lie ------------------------------------------------------------------------------------------------- */

static void test_inspect_damage__a_block_owned_twice_is_counted_once(void **state) {
  (void)state;
  struct craft c;
  struct first first = {0};
  struct wodan_device *device;
  struct wodan_map_cell cells[256];
  uint64_t per_cell, used = 0;
  craft_begin(&c);
  const struct object low = {.pages = {{{.key = "\1b"}}}}, high = {.pages = {{{.key = "\1m"}}}, .at = c.next_block};
  struct node_image_entry leaves[2] = {leaf_of("\1b", craft_object(&c, &low)), leaf_of("\1m", craft_object(&c, &high))};
  craft_checkpoint(&c, craft_node(&c, leaves, 2, NULL, 0));
  struct wodan_inspect *inspect = craft_look(&c, &first, &device);
  assert_int_equal(wodan_inspect_map(inspect, cells, 256, &per_cell, NULL), 0);
  for (size_t i = 0; i < 256; i++) {
    uint64_t sum = 0;
    for (unsigned kind = 0; kind < WODAN_MAP_KINDS; kind++) sum += cells[i].blocks[kind];
    assert_int_equal(sum, 1);
    used += cells[i].blocks[WODAN_MAP_LEAF] + cells[i].blocks[WODAN_MAP_NODE];
  }
  assert_int_equal(used, c.next_block - c.io.bounds.data_first);
  assert_int_equal(first.told, 1);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  craft_end(&c);
}

/* Fifteen levels that each name the next node twice: 32,768 ways down, cut off by the blocks there are. */
static void test_inspect_damage__a_node_named_many_times_ends_the_walk(void **state) {
  (void)state;
  struct craft c;
  struct rig_memory memory = {0};
  craft_begin(&c);
  const struct object leaf = {.pages = {{{.key = "\1a"}, {.key = "\1z"}}}};
  struct node_image_entry entries[2] = {leaf_of("\1g", craft_object(&c, &leaf))};
  struct block_ptr node = craft_node(&c, entries, 1, NULL, 0);
  for (uint32_t level = 1; level < NODE_LEVELS_MAX; level++) {
    entries[0] = leaf_of("\1b", node);
    entries[1] = leaf_of("\1c", node);
    node = craft_node_at(&c, level, entries, 2, NULL, 0);
  }
  craft_checkpoint(&c, node);
  c.store.reads = c.store.writes = 0;
  struct rig_told told = rig_ask(&c.store, &memory);
  assert_int_equal(told.status, 0);
  assert_true(told.damages > 0);
  assert_true(told.nodes <= c.sb.device_blocks);
  assert_true(c.store.reads < 1000000);
  craft_end(&c);
}

/* ---- anything behind good checksums --------------------------------------------------------------------------------- */

/* Changes a few bytes behind the header, and makes all checksums right again: what somebody unkind would write. */
static void spoil_and_seal(struct craft *c, uint64_t *random, struct block_ptr *ptr) {
  uint8_t *bytes = c->store.bytes + ptr->extents[0].first * SECTOR;
  struct object_header header;
  assert_true(object_header_decode(bytes, ptr->header_length, c->io.seed, c->io.fsid, &c->io.bounds, &header));
  for (uint64_t n = random_below(random, 4); n > 0 && ptr->length > ptr->header_length; n--) {
    uint64_t at = ptr->header_length + random_below(random, ptr->length - ptr->header_length);
    bytes[at] = random_below(random, 3) ? (uint8_t)random_next(random) : 0xff;
  }
  for (uint32_t i = 0; i < header.section_count; i++) {
    struct section *section = &header.sections[i];
    if (section->tag != SECTION_PAGES)
      section->checksum = checksum(c->io.seed, bytes + section->offset, (size_t)section->length);
  }
  uint8_t low[64], high[64]; /* the slices lie in the bytes that are written */
  assert_true(header.low.size < 64 && header.high.size < 64);
  memcpy(low, header.low.data ? header.low.data : "", header.low.size);
  memcpy(high, header.high.data ? header.high.data : "", header.high.size);
  header.low.data = low;
  header.high.data = high;
  assert_true(object_header_encode(&header, c->io.seed, bytes));
  ptr->checksum = header.checksum;
}

static struct block_ptr spoiled_run(struct craft *c, uint64_t *random) {
  static const char *const KEYS[] = {"\1a", "\1key 07919", "\1key 3", "\1m", "\1z"};
  struct object run = {.filter = random_below(random, 2), .page_malformed = random_below(random, 4) == 0};
  unsigned page = 0, at = 0;
  for (unsigned k = 0; k < 5; k++) {
    if (k && random_below(random, 3) == 0) continue;
    run.pages[page][at++] = (struct entry){.key = KEYS[k], .sequence = 1 + random_below(random, 90)};
    if (page + 1 < PAGES_MAX && random_below(random, 2)) page++, at = 0;
    if (at == RECORDS_MAX) break;
  }
  struct block_ptr ptr = craft_object(c, &run);
  spoil_and_seal(c, random, &ptr);
  return ptr;
}

/* A tree of whatever was laid before it, most of it nonsense. */
static struct block_ptr spoiled_tree(struct craft *c, uint64_t *random) {
  static const char *const PIVOTS[] = {"\1a", "\1b", "\1key 1", "\1m", "\1z"};
  struct block_ptr made[24];
  for (uint32_t count = 0; count < 24; count++) {
    struct node_image_entry entries[5];
    struct block_ptr runs[2];
    uint32_t entry_count = 0, run_count = 0;
    if (count < 8) {
      made[count] = spoiled_run(c, random);
      continue;
    }
    for (uint32_t k = 0; k < 5; k++)
      if (random_below(random, 3)) {
        entries[entry_count] = leaf_of(PIVOTS[k], made[random_below(random, count)]);
        entries[entry_count++].branch.flushed_upto = random_below(random, 4) ? 0 : random_below(random, 12);
      }
    if (!entry_count) entries[entry_count++] = leaf_of("\1k", made[count - 1]);
    for (uint32_t r = 8; r-- > 0 && run_count < 2;)
      if (random_below(random, 4) == 0) runs[run_count++] = made[r];
    uint32_t level = count < 14 ? 0 : (uint32_t)random_below(random, 4);
    made[count] = craft_node_at(c, level, entries, entry_count, runs, run_count);
    spoil_and_seal(c, random, &made[count]);
  }
  return made[23];
}

static void test_inspect_damage__anything_behind_good_checksums(void **state) {
  (void)state;
  uint64_t shown = 0, told = 0;
  for (uint64_t seed = 1; seed <= 400; seed++) {
    struct rig_memory memory = {.stride = 5, .start = seed};
    struct craft c;
    uint64_t random = seed;
    craft_begin(&c);
    craft_checkpoint(&c, spoiled_tree(&c, &random));
    if (seed % 3 == 0) craft_checkpoint(&c, spoiled_tree(&c, &random));
    c.store.reads = c.store.writes = 0;
    struct rig_told heard = rig_ask(&c.store, &memory);
    if (heard.status != 0 || c.store.reads > 100000)
      fail_msg("seed %llu: status %d after %llu reads", (unsigned long long)seed, heard.status,
               (unsigned long long)c.store.reads);
    shown += heard.nodes > 3;
    told += heard.damages > 0;
    craft_end(&c);
  }
  assert_true(shown > 100 && told > 100);
}

/* An image that tells a size of a petabyte, and a ring of a quarter of it, takes the memory and the time of its device. */
static void test_inspect_damage__a_told_size_costs_nothing(void **state) {
  (void)state;
  for (int ring = 0; ring < 2; ring++) {
    struct store store;
    struct superblock sb;
    struct rig_memory memory = {0};
    struct wodan_map_cell cells[16];
    struct wodan_inspect *inspect = NULL;
    uint64_t per_cell = 0;
    rig_format(&store, 2 << 20, WODAN_COMPRESSION_OFF);
    assert_int_equal(superblock_decode(store.bytes, &sb, NULL), 0);
    sb.device_blocks = UINT64_C(1) << 38;
    if (ring) sb.journal_blocks = UINT64_C(1) << 36;
    superblock_encode(&sb, store.bytes);
    superblock_encode(&sb, store.bytes + store.size - SUPERBLOCK_SIZE);
    const struct wodan_inspect_options options = {.size = sizeof options,
                                                  .allocator = {&memory, rig_allocate, rig_release}};
    struct wodan_device *device = store_open(&store);
    assert_int_equal(wodan_inspect_open(device, &options, &inspect, NULL), 0);
    assert_int_equal(wodan_inspect_map(inspect, cells, 16, &per_cell, NULL), 0);
    uint64_t lost = 0;
    for (int i = 0; i < 16; i++) lost += cells[i].blocks[WODAN_MAP_LOST];
    assert_int_equal(lost, ring ? (UINT64_C(1) << 38) - 512 : 0); /* the checkpoint knows the size, where it is found */
    assert_true(memory.peak < 512 * 1024);
    wodan_inspect_close(inspect);
    wodan_device_close(device);
    store_free(&store);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_inspect_damage__a_told_size_costs_nothing),
      cmocka_unit_test(test_inspect_damage__a_flip_in_any_block_leaves_all_functions_standing),
      cmocka_unit_test(test_inspect_damage__random_bytes_in_many_places),
      cmocka_unit_test(test_inspect_damage__shorter_and_shorter_devices),
      cmocka_unit_test(test_inspect_damage__a_map_of_shorter_devices_counts_each_block_once),
      cmocka_unit_test(test_inspect_damage__unreadable_sectors),
      cmocka_unit_test(test_inspect_damage__both_superblocks_count),
      cmocka_unit_test(test_inspect_damage__a_volume_larger_than_its_device_is_mapped),
      cmocka_unit_test(test_inspect_damage__no_memory_at_any_point),
      cmocka_unit_test(test_inspect_damage__probes_tell_what_they_found),
      cmocka_unit_test(test_inspect_damage__a_damaged_run_makes_what_is_below_unsure),
      cmocka_unit_test(test_inspect_damage__a_damaged_node_is_shown_where_it_should_be),
      cmocka_unit_test(test_inspect_damage__a_page_that_is_not_the_indexs_is_told),
      cmocka_unit_test(test_inspect_damage__chunks_that_cannot_be_are_not_looked_at),
      cmocka_unit_test(test_inspect_damage__what_lies_behind_damage_is_not_said_to_be_of_no_tree),
      cmocka_unit_test(test_inspect_damage__an_unreadable_journal_block_is_told),
      cmocka_unit_test(test_inspect_damage__findings_tell_the_keys_concerned),
      cmocka_unit_test(test_inspect_damage__a_block_owned_twice_is_counted_once),
      cmocka_unit_test(test_inspect_damage__a_node_named_many_times_ends_the_walk),
      cmocka_unit_test(test_inspect_damage__anything_behind_good_checksums),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

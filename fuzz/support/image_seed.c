/* What: seed images, written by the product: format, a few workloads, and what a killed process leaves.
 *
 * See: image.h. */
#include <stdio.h>
#include <string.h>
#include <wodan/wodan.h>
#include "support/image.h"
#include "support/kept_device.h"
#include "support/random.h"

struct recipe {
  size_t size;
  uint32_t block, node_leaves, node_children;
  unsigned keys, value, rounds; /* each round: every key once, some deletes, a checkpoint but after the last */
  bool compact, killed;
  uint32_t compression; /* enum wodan_compression */
  unsigned large;       /* bytes of every fourth value; 0: none is large */
  bool ranges;          /* each round deletes some */
};

static const struct recipe recipes[] = {
    {.size = 32 << 10},
    {.size = 32 << 10, .keys = 5, .value = 20, .rounds = 1, .killed = true},
    {.size = 32 << 10, .keys = 12, .value = 60, .rounds = 3},
    {.size = 64 << 10, .keys = 60, .value = 80, .rounds = 3, .killed = true},
    {.size = 64 << 10, .keys = 60, .value = 100, .rounds = 2, .compact = true},
    {.size = 64 << 10, .block = 1024, .keys = 30, .value = 40, .rounds = 4},
    {.size = 128 << 10, .node_leaves = 4, .node_children = 4, .keys = 240, .value = 90, .rounds = 2},
    {.size = 128 << 10, .node_leaves = 4, .node_children = 4, .keys = 150, .value = 120, .rounds = 4, .killed = true},
    {.size = 64 << 10, .keys = 60, .value = 100, .rounds = 2, .compact = true, .compression = WODAN_COMPRESSION_FAST},
    {.size = 128 << 10,
     .node_leaves = 4,
     .keys = 240,
     .value = 110,
     .rounds = 3,
     .compression = WODAN_COMPRESSION_HIGH},
    {.size = 64 << 10, .keys = 20, .value = 60, .rounds = 2, .large = 700},
    {.size = 64 << 10, .keys = 12, .value = 60, .rounds = 2, .large = 4500, .ranges = true, .killed = true},
    {.size = 128 << 10,
     .node_leaves = 4,
     .node_children = 4,
     .keys = 160,
     .value = 100,
     .rounds = 3,
     .large = 300,
     .ranges = true},
    {.size = 128 << 10,
     .keys = 40,
     .value = 60,
     .rounds = 3,
     .large = 3000,
     .compact = true,
     .ranges = true,
     .compression = WODAN_COMPRESSION_FAST},
};

enum { LARGE_MAX = 4500 };

static int next_random(void *context, void *buffer, size_t size) {
  for (size_t i = 0; i < size; i++) ((uint8_t *)buffer)[i] = (uint8_t)random_next(context);
  return 0;
}

static void expect(int status, const char *what) {
  if (status < 0 && status != WODAN_ENOSPC) FUZZ_FAIL("a seed image: %s answers %d", what, status);
}

static void one_round(struct wodan_db *db, const struct recipe *recipe, unsigned round) {
  uint8_t value[LARGE_MAX];
  for (unsigned i = 0; i < recipe->keys; i++) {
    char key[32];
    int size = snprintf(key, sizeof key, i % 3 ? "%04u" : "a/common/prefix/%04u", i * 7919 % 9973);
    memset(value, (int)('a' + (i + round) % 26), sizeof value);
    for (unsigned b = 200; b < sizeof value; b += 50) value[b] = (uint8_t)b;
    if ((i + round) % 5 == 4)
      expect(wodan_delete(db, (struct wodan_slice){key, (size_t)size}, NULL), "a delete");
    else
      expect(wodan_put(db, (struct wodan_slice){key, (size_t)size},
                       (struct wodan_slice){value, i % 4 == 1 && recipe->large ? recipe->large : recipe->value}, NULL),
             "a put");
    if (i % 40 == 20) expect(wodan_sync(db), "sync");
  }
}

/* One in the middle of the keys, another at their end. */
static void some_ranges(struct wodan_db *db, unsigned round) {
  char from[] = "2000", to[] = "2600", end[] = "9500";
  from[1] = to[1] = (char)('0' + round);
  struct wodan_slice lower = {from, 4}, upper = {to, 4}, last = {end, 4};
  expect(wodan_delete_range(db, &lower, &upper, NULL), "a range delete");
  expect(wodan_delete_range(db, &last, NULL, NULL), "a range delete");
}

static void work(struct wodan_db *db, const struct recipe *recipe) {
  for (unsigned round = 0; round < recipe->rounds; round++) {
    one_round(db, recipe, round);
    if (recipe->ranges) some_ranges(db, round);
    if (round + 1 < recipe->rounds) expect(wodan_checkpoint(db, NULL), "checkpoint");
  }
  if (recipe->compact) expect(wodan_compact(db, NULL, NULL, 0, NULL), "compact");
  expect(wodan_sync(db), "sync");
}

size_t image_seed(unsigned number, uint8_t *out, size_t size_max) {
  if (number >= sizeof recipes / sizeof recipes[0] || recipes[number].size > size_max) return 0;
  const struct recipe *recipe = &recipes[number];
  uint64_t random = number;
  struct kept_bytes *kept = kept_create(recipe->size);
  struct wodan_hooks hooks = {.context = &random, .random = next_random};
  struct wodan_format_options format = {.block_size = recipe->block,
                                        .node_leaves = recipe->node_leaves,
                                        .node_children = recipe->node_children,
                                        .compression = recipe->compression,
                                        .hooks = hooks};
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE, .hooks = hooks};
  struct wodan_device *device = kept_plug(kept, 512, 0);
  struct wodan_db *db = NULL;
  expect(wodan_format(device, &format, NULL), "format");
  expect(wodan_open(device, &options, &db, NULL), "open");
  work(db, recipe);
  memcpy(out, kept->data, recipe->size);
  expect(wodan_close(db, NULL), "close");
  if (!recipe->killed) memcpy(out, kept->data, recipe->size);
  kept_free(kept);
  return recipe->size;
}

/* What: checks any bytes as an image of MirageOS Wodan, and takes its records.
 *
 * Demanded: no crash; no byte outside is read, and no block more than twice, but for its header; the report agrees with the
 * findings told; without damage the records ascend, each is what a lookup from the root down finds (written here once
 * more, the simple way), and there are as many as nodes hold values that such a lookup finds. With damage there are none
 * behind it. */
#include <string.h>
#include "base/wire.h"
#include "fuzz.h"
#include "mirage.h"
#include "support/mirage_craft.h"

const size_t fuzz_size_max = 16 << 10;
enum { SUPERBLOCK = 512, HEADER = 29, ROOT_HEADER = 33, KEY_MAX = 255 };

/* ---- the image --------------------------------------------------------------------------------------------------- */

struct bytes {
  const uint8_t *data;
  size_t size;
  uint64_t read;
};

static int read_bytes(void *context, uint64_t offset, void *buffer, size_t size) {
  struct bytes *bytes = context;
  FUZZ_CHECK(offset <= bytes->size && size <= bytes->size - offset);
  bytes->read += size;
  memcpy(buffer, bytes->data + offset, size);
  return 0;
}

static size_t block_size(const uint8_t *data) { return load_u32(data + 28); }
static size_t key_size(const uint8_t *data) { return data[32]; }
static bool tombstones(const uint8_t *data) { return data[24] & 8; }

/* ---- the simple way ---------------------------------------------------------------------------------------------- */

static const uint8_t *values(const uint8_t *node) { return node + (node[0] == 1 ? ROOT_HEADER : HEADER); }

static const uint8_t *next_value(const uint8_t *data, const uint8_t *value) {
  return value + key_size(data) + 2 + load_u16(value + key_size(data));
}

static const uint8_t *values_end(const uint8_t *data, const uint8_t *node) {
  const uint8_t *value = values(node);
  for (uint32_t count = load_u32(node + 25); count > 0; count--) value = next_value(data, value);
  return value;
}

/* The link number `number` from the end of the block, or NULL behind the last. */
static const uint8_t *link_of(const uint8_t *data, const uint8_t *node, size_t number) {
  size_t size = key_size(data) + 8, room = block_size(data) - 4 - (size_t)(values_end(data, node) - node);
  if (room / size <= number) return NULL;
  const uint8_t *link = node + block_size(data) - 4 - (number + 1) * size;
  return load_u64(link + key_size(data)) ? link : NULL;
}

static const uint8_t *child_of(const uint8_t *data, const uint8_t *link) {
  return data + load_u64(link + key_size(data)) * block_size(data);
}

/* The value of the key, in place; NULL: there is none. */
static const uint8_t *look_up(const uint8_t *data, const uint8_t *node, const uint8_t *key) {
  const uint8_t *value = values(node), *best = NULL, *link;
  for (uint32_t count = load_u32(node + 25); count > 0; count--, value = next_value(data, value)) {
    if (memcmp(value, key, key_size(data)) == 0) return value;
  }
  for (size_t i = 0; (link = link_of(data, node, i)); i++) {
    if (memcmp(link, key, key_size(data)) < 0) continue;
    if (!best || memcmp(link, best, key_size(data)) < 0) best = link;
  }
  return best ? look_up(data, child_of(data, best), key) : NULL;
}

/* How many values at and below the node are found from the root and are no deletion. */
static uint64_t count_found(const uint8_t *data, const uint8_t *root, const uint8_t *node) {
  uint64_t found = 0;
  const uint8_t *value = values(node), *link;
  for (uint32_t count = load_u32(node + 25); count > 0; count--, value = next_value(data, value)) {
    bool deletion = tombstones(data) && load_u16(value + key_size(data)) == 0;
    found += !deletion && look_up(data, root, value) == value;
  }
  for (size_t i = 0; (link = link_of(data, node, i)); i++) found += count_found(data, root, child_of(data, link));
  return found;
}

/* ---- what is told ------------------------------------------------------------------------------------------------ */

struct heard {
  uint64_t counts[3];
  uint64_t progress;
  const uint8_t *data, *root;
  uint64_t records;
  uint8_t last[KEY_MAX];
};

static void hear(void *context, const struct wodan_finding *finding) {
  struct heard *heard = context;
  FUZZ_CHECK(finding->severity <= WODAN_DAMAGE && finding->id && finding->message && finding->message[0]);
  heard->counts[finding->severity]++;
}

static int hear_progress(void *context, uint64_t done, uint64_t total) {
  struct heard *heard = context;
  FUZZ_CHECK(done <= total && done >= heard->progress);
  heard->progress = done;
  return 0;
}

static int hear_record(void *context, struct wodan_slice key, struct wodan_slice value) {
  struct heard *heard = context;
  FUZZ_CHECK(key.size == key_size(heard->data));
  if (heard->records++) FUZZ_CHECK(memcmp(heard->last, key.data, key.size) < 0);
  memcpy(heard->last, key.data, key.size);
  if (!heard->root) return 0;
  const uint8_t *found = look_up(heard->data, heard->root, key.data);
  FUZZ_CHECK(found && load_u16(found + key.size) == value.size);
  FUZZ_CHECK(value.size == 0 || memcmp(found + key.size + 2, value.data, value.size) == 0);
  return 0;
}

static void take_records(const struct mirage_source *source, const struct mirage_summary *summary,
                         struct heard *heard) {
  const struct wodan_check_report *report = &summary->report;
  struct wodan_error error;
  if (report->damages == 0) heard->root = heard->data + summary->root_block * summary->block_size;
  int status = mirage_records(source, 0, hear_record, heard, &error);
  if (status < 0) {
    FUZZ_CHECK(status == WODAN_ECORRUPT && report->damages > 0 && error.message[0]);
    FUZZ_CHECK(heard->records <= report->records);
    return;
  }
  FUZZ_CHECK(status == 0 && report->damages == 0 && heard->records == report->records);
  FUZZ_CHECK(count_found(heard->data, heard->root, heard->root) == heard->records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct bytes bytes = {.data = data, .size = size};
  struct heard heard = {.data = data};
  struct mirage_source source = {.context = &bytes, .read = read_bytes, .size = size};
  struct mirage_summary summary;
  struct wodan_error error;
  const struct wodan_check_options options = {
      .size = sizeof options, .context = &heard, .finding = hear, .progress = hear_progress, .memory_limit = 1 << 20};
  int status = mirage_check(&source, &options, &summary, &error);
  const struct wodan_check_report *report = &summary.report;
  FUZZ_CHECK(report->notes == heard.counts[WODAN_NOTE] && report->warnings == heard.counts[WODAN_WARNING] &&
             report->damages == heard.counts[WODAN_DAMAGE]);
  if (status < 0) {
    FUZZ_CHECK((status == WODAN_EFORMAT || status == WODAN_EBUDGET) && error.message[0]);
    return 0;
  }
  FUZZ_CHECK(report->complete || report->damages > 0);
  if (report->generation == 0) return 0; /* no root to look at */
  uint64_t blocks = size / summary.block_size;
  FUZZ_CHECK(bytes.read <= SUPERBLOCK + blocks * 2 * (summary.block_size + HEADER));
  take_records(&source, &summary, &heard);
  return 0;
}

/* ---- mutation ---------------------------------------------------------------------------------------------------- */

/* Makes all checksums right, whatever is behind them. */
static void repair(uint8_t *data, size_t size) {
  craft_seal_bytes(data, SUPERBLOCK);
  size_t block = block_size(data);
  if (block < SUPERBLOCK || block > size) return;
  for (size_t at = block; at + block <= size; at += block) {
    if (data[at] != 0) craft_seal_bytes(data + at, block);
  }
}

/* The places that say most: the superblock's fields; of a node the header, or the links, or anything. */
static void change(uint8_t *data, size_t size, unsigned seed) {
  size_t block = block_size(data), blocks = block ? size / block : 0;
  if (seed % 8 == 0 || block < SUPERBLOCK || blocks < 2) {
    LLVMFuzzerMutate(data + 16, 50, 50);
    return;
  }
  uint8_t *node = data + block * (1 + seed / 8 % (blocks - 1));
  switch (seed % 8) {
  case 1:
  case 2:
    LLVMFuzzerMutate(node, ROOT_HEADER, ROOT_HEADER);
    return;
  case 3:
  case 4:
    LLVMFuzzerMutate(node + block - 4 - 36, 36, 36);
    return;
  case 5: /* another node's bytes */
    memcpy(node, data + block * (1 + seed / 64 % (blocks - 1)), block);
    return;
  default:
    LLVMFuzzerMutate(node, block, block);
  }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  if (size < SUPERBLOCK || seed % 32 == 0)
    size = LLVMFuzzerMutate(data, size, size_max);
  else
    change(data, size, seed / 32);
  if (size >= SUPERBLOCK && seed % 16 != 1) repair(data, size);
  return size;
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) {
  struct craft craft;
  if (number > 2) return 0;
  if (number < 2)
    craft_two_levels(&craft, number ? 15 : 7);
  else
    craft_three_levels(&craft);
  size_t size = craft.size <= size_max ? craft.size : 0;
  memcpy(out, craft.bytes, size);
  craft_free(&craft);
  return size;
}

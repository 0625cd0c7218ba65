/* Owns: finding structures by name in the image as it was.
 *
 * Always true: what is found lies in the image, because the library's own readers proved the way to it.
 *
 * See: patch.h; FORMAT.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "format/blob.h"
#include "format/node_header.h"
#include "format/page.h"
#include "support/patch_private.h"
#include "tree/node_image.h"

enum { WORDS = 4 };

static bool refuse(char why[256], const char *what, const char *text) {
  snprintf(why, 256, "%s: '%s'", what, text);
  return false;
}

uint64_t patch_place_at(const struct patch *patch, const struct patch_place *place, uint64_t i) {
  uint64_t offset = place->offset + i, size = patch->superblock.block_size;
  if (!place->object.generation) return offset;
  return block_io_locate(&patch->io, place->object.extents, place->object.extent_count, offset) * size + offset % size;
}

/* ---- the ring ---------------------------------------------------------------------------------------------------- */

bool patch_journal_sequence(const struct patch *patch, const char *text, uint64_t *sequence) {
  const struct journal_mounted *m = &patch->mounted;
  const struct {
    const char *name;
    uint64_t sequence;
  } names[] = {{"newest", m->newest_mark.sequence},
               {"older", m->older_mark.sequence},
               {"tail", m->newest.tail},
               {"head", m->head}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    size_t length = strlen(names[i].name);
    if (strncmp(text, names[i].name, length) != 0) continue;
    char *end = NULL;
    long long shift = text[length] ? strtoll(text + length, &end, 10) : 0;
    if (end && *end) return false;
    *sequence = names[i].sequence + (uint64_t)shift;
    return true;
  }
  return false;
}

static bool journal_place(const struct patch *patch, const char *text, struct patch_place *place) {
  const struct superblock *sb = &patch->superblock;
  uint64_t sequence;
  if (!text || !patch_journal_sequence(patch, text, &sequence)) return false;
  place->offset = sb->block_size + sequence % superblock_ring_blocks(sb) * sb->journal_block_size;
  place->size = sb->journal_block_size;
  return true;
}

/* ---- objects ----------------------------------------------------------------------------------------------------- */

/* One step down from the node behind *ptr. */
static bool step_down(struct patch *patch, const char *step, char **end, struct block_ptr *ptr) {
  struct node_image image;
  bool run = *step == '/';
  long long i = strtoll(step + 1, end, 10);
  if (node_image_read(&patch->io, ptr, &image, NULL) < 0) return false;
  uint32_t count = run ? image.run_count : image.entry_count;
  if (i < 0) i += count;
  bool there = *end != step + 1 && i >= 0 && i < (long long)count;
  if (there) *ptr = run ? image.runs[i].ptr : image.entries[i].branch.ptr;
  node_image_release(&image);
  return there;
}

static bool header_of(struct patch *patch, const struct block_ptr *ptr, struct object_header *header) {
  for (uint8_t type = OBJECT_RUN; type <= OBJECT_BLOB; type++) {
    uint8_t *buffer = NULL;
    if (block_io_read_header(&patch->io, ptr, type, header, &buffer, NULL) < 0) continue;
    mem_free(&patch->mem, buffer, ptr->header_length);
    return true;
  }
  return false;
}

/* What "*I" picks among several large values. */
struct pick {
  const struct patch *patch;
  long long index;
  struct block_ptr *ptr;
  bool found;
};

static int pick_named(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct pick *pick = context;
  struct blob_ref ref;
  (void)block, (void)error;
  if (record->kind != RECORD_BLOB || pick->index-- != 0) return 0;
  pick->found = blob_ref_decode(record->value.data, record->value.size, &pick->patch->io.bounds, &ref);
  *pick->ptr = ref.ptr;
  return 0;
}

static bool replayed(struct patch *patch, const char *index, struct block_ptr *ptr) {
  const struct journal_mounted *m = &patch->mounted;
  struct pick pick = {.patch = patch, .index = strtoll(index, NULL, 10), .ptr = ptr};
  const struct journal_replay replay = {
      .mark = m->newest_mark, .head = m->head, .covered = m->newest.sequence, .apply = pick_named, .context = &pick};
  return journal_replay(&patch->journal, &replay, NULL) == 0 && pick.found;
}

/* From the run behind *ptr to a large value of its list. */
static bool listed(struct patch *patch, const char *step, char **end, struct block_ptr *ptr) {
  struct object_header header;
  uint8_t *bytes = NULL;
  long long i = strtoll(step + 1, end, 10);
  if (!header_of(patch, ptr, &header)) return false;
  const struct section *section = object_section(&header, SECTION_BLOBS);
  if (!section || block_io_read_section(&patch->io, ptr, section, &bytes, NULL) < 0) return false;
  struct wire_reader r = wire_reader(bytes, (size_t)section->length);
  long long count = (long long)wire_get_varint(&r);
  bool there = i >= 0 && i < count;
  for (long long k = 0; k <= i && there; k++) there = block_ptr_decode(&r, &patch->io.bounds, ptr);
  mem_free(&patch->mem, bytes, (size_t)section->length);
  return there;
}

static bool object_find(struct patch *patch, const char *path, struct block_ptr *ptr) {
  const struct journal_mounted *m = &patch->mounted;
  if (strncmp(path, "replay*", 7) == 0) return replayed(patch, path + 7, ptr);
  bool older = strncmp(path, "older", 5) == 0;
  if (!older && strncmp(path, "root", 4) != 0) return false;
  *ptr = older ? m->older.root : m->newest.root;
  char *at = (char *)path + (older ? 5 : 4);
  while (*at == '.' || *at == '/')
    if (!step_down(patch, at, &at, ptr)) return false;
  if (*at == '*' && !listed(patch, at, &at, ptr)) return false;
  return *at == '\0' && ptr->generation;
}

static bool section_place(struct patch *patch, uint8_t tag, struct patch_place *place) {
  struct object_header header;
  if (!header_of(patch, &place->object, &header)) return false;
  const struct section *section = object_section(&header, tag);
  if (!section && tag == SECTION_LEAVES) section = object_section(&header, SECTION_CHILDREN);
  if (!section) return false;
  place->offset = section->offset;
  place->size = section->length;
  return true;
}

/* Page i of a run. */
static bool page_place(struct patch *patch, const char *text, struct patch_place *place) {
  struct object_header header;
  struct index_entry entry;
  uint8_t *bytes = NULL;
  if (!text || !header_of(patch, &place->object, &header)) return false;
  const struct section *index = object_section(&header, SECTION_INDEX);
  if (!index || block_io_read_section(&patch->io, &place->object, index, &bytes, NULL) < 0) return false;
  struct page page = page_view(bytes);
  long long i = strtoll(text, NULL, 10);
  if (i < 0) i += page.count;
  bool there = i >= 0 && i < (long long)page.count;
  if (there) {
    struct page_record record = page_record(&page, (uint32_t)i);
    there = index_entry_decode(record.value.data, record.value.size, &entry);
    place->offset = entry.offset;
    place->size = entry.length;
  }
  mem_free(&patch->mem, bytes, (size_t)index->length);
  return there;
}

/* Chunk `index` of a large value. */
static bool chunk_place(struct patch *patch, struct patch_place *place) {
  struct object_header header;
  uint8_t *bytes = NULL;
  if (!header_of(patch, &place->object, &header)) return false;
  const struct section *table = object_section(&header, SECTION_CHUNK_TABLE);
  if (!table || block_io_read_section(&patch->io, &place->object, table, &bytes, NULL) < 0) return false;
  struct wire_reader r = wire_reader(bytes, (size_t)table->length);
  place->offset = object_section(&header, SECTION_CHUNKS)->offset;
  for (uint64_t i = 0; i <= place->index; i++) {
    place->offset += place->size;
    place->size = wire_get_varint(&r);
    wire_get_u64(&r);
  }
  mem_free(&patch->mem, bytes, (size_t)table->length);
  return !r.failed;
}

/* What lies inside an object: word by word "entry root.0 2". */
static bool inside(struct patch *patch, char *const words[WORDS], struct patch_place *place) {
  static const struct {
    const char *name;
    uint8_t tag;
    enum patch_structure structure;
  } sections[] = {{"table", SECTION_LEAVES, PATCH_PAGE},
                  {"entry", SECTION_LEAVES, PATCH_ENTRY},
                  {"list", SECTION_RUNS, PATCH_LIST},
                  {"buffered", SECTION_RUNS, PATCH_BUFFERED},
                  {"index", SECTION_INDEX, PATCH_PAGE},
                  {"indexed", SECTION_INDEX, PATCH_INDEXED},
                  {"filter", SECTION_FILTER, PATCH_BYTES},
                  {"pages", SECTION_PAGES, PATCH_BYTES},
                  {"range", SECTION_RANGE_TOMBSTONES, PATCH_RANGE},
                  {"blobs", SECTION_BLOBS, PATCH_BLOBS},
                  {"blob", SECTION_BLOBS, PATCH_BLOB},
                  {"chunked", SECTION_CHUNK_TABLE, PATCH_CHUNKED}};
  const char *last = words[3] ? words[3] : words[2];
  if (!words[1] || !object_find(patch, words[1], &place->object)) return false;
  place->index = last ? strtoull(last, NULL, 10) : 0;
  if (strcmp(words[0], "header") == 0) {
    place->structure = PATCH_HEADER;
    place->size = place->object.header_length;
    return true;
  }
  if (strcmp(words[0], "object") == 0) {
    place->size = block_ptr_blocks(&place->object) * patch->superblock.block_size;
    return true;
  }
  if (strcmp(words[0], "page") == 0 || strcmp(words[0], "record") == 0) {
    place->structure = words[0][0] == 'p' ? PATCH_PAGE : PATCH_RECORD;
    return page_place(patch, words[2], place);
  }
  if (strcmp(words[0], "chunk") == 0) return chunk_place(patch, place);
  for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
    if (strcmp(words[0], sections[i].name) != 0) continue;
    place->structure = sections[i].structure;
    return section_place(patch, sections[i].tag, place);
  }
  return false;
}

/* ---- the device -------------------------------------------------------------------------------------------------- */

static bool outside(const struct patch *patch, char *const words[WORDS], struct patch_place *place) {
  const struct superblock *sb = &patch->superblock;
  const char *name = words[0];
  if (strcmp(name, "journal") == 0 || strcmp(name, "checkpoint") == 0) {
    place->structure = *name == 'j' ? PATCH_JOURNAL : PATCH_CHECKPOINT;
    return journal_place(patch, words[1], place);
  }
  if (strcmp(name, "superblock") == 0 || strcmp(name, "copy") == 0) {
    place->structure = PATCH_SUPERBLOCK;
    place->size = SUPERBLOCK_SIZE;
    if (*name == 'c') place->offset = sb->device_blocks * sb->block_size - SUPERBLOCK_SIZE;
    return true;
  }
  if (strcmp(name, "ring") == 0 || strcmp(name, "data") == 0) {
    uint64_t first = superblock_data_first(sb);
    place->offset = *name == 'r' ? sb->block_size : first * sb->block_size;
    place->size = (*name == 'r' ? first - 1 : sb->device_blocks - 1 - first) * sb->block_size;
    return true;
  }
  if (strncmp(name, "block", 5) != 0 || !words[1]) return false;
  place->offset = strtoull(words[1], NULL, 10) * sb->block_size;
  place->size = (words[2] ? strtoull(words[2], NULL, 10) : 1) * sb->block_size;
  return true;
}

bool patch_place_find(struct patch *patch, const char *text, struct patch_place *place, char why[256]) {
  char copy[128], *rest = copy, *words[WORDS + 1] = {0}, *word;
  size_t count = 0;
  *place = (struct patch_place){.structure = PATCH_BYTES};
  snprintf(copy, sizeof copy, "%s", text);
  while (count < WORDS && (word = strsep(&rest, " ")))
    if (*word) words[count++] = word;
  if (count == 0) return refuse(why, "no place", text);
  if (outside(patch, words, place)) return place->offset + place->size <= patch->size || refuse(why, "outside", text);
  *place = (struct patch_place){.structure = PATCH_BYTES};
  return inside(patch, words, place) || refuse(why, "there is no such place", text);
}

/* Owns: the serialised content of a database, and how two of them differ.
 * Always true: records lie one behind the other in the order they were added; equal contents are equal bytes.
 * See: model.c, which has the contents that are due; tests/unit/test_content.c. */
#include "crash/content.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>
#include "base/wire.h"

enum { HEADER = 8, SHOWN = 24 };

void content_init(struct content *content, struct mem *mem) { *content = (struct content){.mem = mem}; }

void content_clear(struct content *content) {
  content->size = content->count = 0;
  content->failed = false;
}

void content_release(struct content *content) {
  mem_free(content->mem, content->bytes, content->capacity);
  content_init(content, content->mem);
}

void content_copy(struct content *content, const struct content *from) {
  void *array = content->bytes;
  content_clear(content);
  content->failed = from->failed || !mem_array_grow(content->mem, &array, &content->capacity, from->size, 1);
  content->bytes = array;
  if (content->failed || !from->size) return;
  memcpy(content->bytes, from->bytes, from->size);
  content->size = from->size;
  content->count = from->count;
}

void content_add(struct content *content, struct wodan_slice key, struct wodan_slice value) {
  void *array = content->bytes;
  size_t more = HEADER + key.size + value.size;
  if (!mem_array_grow(content->mem, &array, &content->capacity, content->size + more, 1)) {
    content->failed = true;
    return;
  }
  content->bytes = array;
  uint8_t *at = content->bytes + content->size;
  store_u32(at, (uint32_t)key.size);
  store_u32(at + 4, (uint32_t)value.size);
  if (key.size) memcpy(at + HEADER, key.data, key.size);
  if (value.size) memcpy(at + HEADER + key.size, value.data, value.size);
  content->size += more;
  content->count++;
}

bool content_next(const struct content *content, size_t *at, struct wodan_slice *key, struct wodan_slice *value) {
  if (*at >= content->size) return false;
  const uint8_t *record = content->bytes + *at;
  *key = (struct wodan_slice){record + HEADER, load_u32(record)};
  *value = (struct wodan_slice){record + HEADER + key->size, load_u32(record + 4)};
  *at += HEADER + key->size + value->size;
  return true;
}

bool content_equal(const struct content *a, const struct content *b) {
  return a->size == b->size && !a->failed && !b->failed && (!a->size || memcmp(a->bytes, b->bytes, a->size) == 0);
}

uint64_t content_hash(const struct content *content, uint64_t seed) {
  return XXH3_64bits_withSeed(content->bytes, content->size, seed);
}

static int compare(struct wodan_slice a, struct wodan_slice b) {
  int c = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
  return c ? c : (a.size > b.size) - (a.size < b.size);
}

static int shown(struct wodan_slice slice) { return slice.size < SHOWN ? (int)slice.size : SHOWN; }

void content_differ(const struct content *found, const struct content *due, char *why, size_t why_size) {
  struct wodan_slice k = {0}, v = {0}, due_k = {0}, due_v = {0};
  size_t at = 0, due_at = 0;
  if (found->failed || due->failed) {
    snprintf(why, why_size, "no memory to compare");
    return;
  }
  for (;;) {
    bool more = content_next(found, &at, &k, &v), due_more = content_next(due, &due_at, &due_k, &due_v);
    if (!more && !due_more) return;
    int c = !more ? 1 : !due_more ? -1 : compare(k, due_k);
    if (c > 0)
      snprintf(why, why_size, "key '%.*s' is missing", shown(due_k), (const char *)due_k.data);
    else if (c < 0)
      snprintf(why, why_size, "key '%.*s' is too many", shown(k), (const char *)k.data);
    else if (v.size != due_v.size || (v.size && memcmp(v.data, due_v.data, v.size) != 0))
      snprintf(why, why_size, "key '%.*s' has the wrong value '%.*s' for '%.*s'", shown(k), (const char *)k.data,
               shown(v), (const char *)v.data, shown(due_v), (const char *)due_v.data);
    else
      continue;
    return;
  }
}

int content_read(struct content *content, struct wodan_db *db, bool reverse) {
  struct wodan_cursor *cursor;
  content_clear(content);
  int status = wodan_cursor_open(db, NULL, &cursor);
  if (status < 0) return status;
  status = reverse ? wodan_cursor_last(cursor) : wodan_cursor_first(cursor);
  while (status == 0) {
    struct wodan_slice value = wodan_cursor_value(cursor);
    struct wodan_error error = {.code = 0};
    if (!value.data) wodan_last_error(db, &error); /* a large one that cannot be read */
    if (error.code < 0) {
      wodan_cursor_close(cursor);
      return error.code;
    }
    content_add(content, wodan_cursor_key(cursor), value);
    status = reverse ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor);
  }
  wodan_cursor_close(cursor);
  if (status < 0) return status;
  return content->failed ? WODAN_ENOMEM : 0;
}

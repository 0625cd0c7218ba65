/* Owns: the reference map and its history. Simple on purpose: sorted keys, each with the list of its versions.
 * Always true: entries rise by key, changes of an entry by version; `failed` once memory was missing, and then nothing
 * matches.
 * See: content.c, tests/unit/test_model.c. */
#include "crash/model.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "crash/content.h"

struct change {
  size_t version;
  bool present;
  uint8_t *value;
  size_t size;
};

struct entry {
  uint8_t *key;
  size_t size;
  struct change *changes; /* by rising version */
  size_t count, capacity;
};

struct model {
  struct mem mem;
  struct entry *entries; /* by key */
  size_t count, capacity;
  size_t version;
  bool failed;
};

static int compare(const void *a, size_t as, const void *b, size_t bs) {
  int c = memcmp(a, b, as < bs ? as : bs);
  return c ? c : (as > bs) - (as < bs);
}

struct model *model_create(void) {
  struct mem mem;
  mem_init(&mem, NULL);
  struct model *model = mem_zalloc(&mem, sizeof *model);
  if (model) mem_init(&model->mem, NULL);
  return model;
}

static void free_change(struct model *model, struct change *change) {
  mem_free(&model->mem, change->value, change->size);
}

void model_free(struct model *model) {
  if (!model) return;
  for (size_t i = 0; i < model->count; i++) {
    struct entry *entry = &model->entries[i];
    for (size_t c = 0; c < entry->count; c++) free_change(model, &entry->changes[c]);
    mem_array_free(&model->mem, entry->changes, entry->capacity, sizeof *entry->changes);
    mem_free(&model->mem, entry->key, entry->size);
  }
  mem_array_free(&model->mem, model->entries, model->capacity, sizeof *model->entries);
  assert(mem_used(&model->mem) == 0);
  struct mem mem;
  mem_init(&mem, NULL);
  mem_free(&mem, model, sizeof *model);
}

static size_t find(const struct model *model, const void *key, size_t size, bool *exact) {
  size_t low = 0, high = model->count;
  *exact = false;
  while (low < high) {
    size_t middle = (low + high) / 2;
    int c = compare(model->entries[middle].key, model->entries[middle].size, key, size);
    if (c == 0) *exact = true;
    if (c < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static uint8_t *copy(struct model *model, const void *bytes, size_t size) {
  uint8_t *made = mem_alloc(&model->mem, size);
  if (made && size) memcpy(made, bytes, size);
  return made;
}

/* The entry of a key, made when it is new; NULL: no memory. */
static struct entry *entry_of(struct model *model, const void *key, size_t size) {
  bool exact;
  size_t at = find(model, key, size, &exact);
  if (exact) return &model->entries[at];
  void *array = model->entries;
  if (!mem_array_grow(&model->mem, &array, &model->capacity, model->count + 1, sizeof *model->entries)) return NULL;
  model->entries = array;
  uint8_t *own = copy(model, key, size);
  if (!own) return NULL;
  memmove(&model->entries[at + 1], &model->entries[at], (model->count - at) * sizeof *model->entries);
  model->entries[at] = (struct entry){.key = own, .size = size};
  model->count++;
  return &model->entries[at];
}

static void add(struct model *model, struct wodan_slice key, struct wodan_slice value, bool present) {
  struct entry *entry = entry_of(model, key.data, key.size);
  struct change change = {.version = model->version + 1, .present = present, .size = value.size};
  change.value = entry ? copy(model, value.data, value.size) : NULL;
  if (!change.value) {
    model->failed = true;
    return;
  }
  if (entry->count && entry->changes[entry->count - 1].version == change.version) {
    free_change(model, &entry->changes[entry->count - 1]);
    entry->changes[entry->count - 1] = change;
    return;
  }
  void *array = entry->changes;
  if (!mem_array_grow(&model->mem, &array, &entry->capacity, entry->count + 1, sizeof *entry->changes)) {
    free_change(model, &change);
    model->failed = true;
    return;
  }
  entry->changes = array;
  entry->changes[entry->count++] = change;
}

void model_put(struct model *model, const void *key, size_t key_size, const void *value, size_t value_size) {
  add(model, (struct wodan_slice){key, key_size}, (struct wodan_slice){value, value_size}, true);
}

void model_delete(struct model *model, const void *key, size_t key_size) {
  add(model, (struct wodan_slice){key, key_size}, (struct wodan_slice){NULL, 0}, false);
}

void model_delete_range(struct model *model, const struct wodan_slice *from, const struct wodan_slice *to) {
  bool exact;
  for (size_t i = from ? find(model, from->data, from->size, &exact) : 0; i < model->count; i++) {
    const struct entry *entry = &model->entries[i];
    if (to && compare(entry->key, entry->size, to->data, to->size) >= 0) break;
    model_delete(model, entry->key, entry->size); /* the key is known: no entry moves */
  }
}

void model_commit(struct model *model) { model->version++; }

size_t model_version(const struct model *model) { return model->version; }

void model_roll_back(struct model *model, size_t version) {
  assert(version <= model->version);
  model->version = version;
  for (size_t i = 0; i < model->count; i++) {
    struct entry *entry = &model->entries[i];
    while (entry->count && entry->changes[entry->count - 1].version > version)
      free_change(model, &entry->changes[--entry->count]);
  }
}

static const struct change *at_version(const struct entry *entry, size_t version) {
  const struct change *found = NULL;
  for (size_t c = 0; c < entry->count && entry->changes[c].version <= version; c++) found = &entry->changes[c];
  return found && found->present ? found : NULL;
}

const void *model_get(const struct model *model, const void *key, size_t key_size, size_t *value_size) {
  bool exact;
  size_t at = find(model, key, key_size, &exact);
  const struct change *change = exact ? at_version(&model->entries[at], model->version) : NULL;
  if (!change) return NULL;
  *value_size = change->size;
  return change->value;
}

static void collect(const struct model *model, size_t version, bool reverse, struct content *content) {
  content_clear(content);
  content->failed = model->failed;
  for (size_t n = 0; n < model->count; n++) {
    const struct entry *entry = &model->entries[reverse ? model->count - 1 - n : n];
    const struct change *change = at_version(entry, version);
    if (!change) continue;
    content_add(content, (struct wodan_slice){entry->key, entry->size},
                (struct wodan_slice){change->value, change->size});
  }
}

void model_content(const struct model *model, size_t version, struct content *content) {
  collect(model, version, false, content);
}

size_t model_match(const struct model *model, struct wodan_db *db, size_t least, char *why, size_t why_size) {
  struct mem mem;
  struct content there, due;
  mem_init(&mem, NULL);
  content_init(&there, &mem);
  content_init(&due, &mem);
  size_t found = SIZE_MAX;
  int status = content_read(&there, db, false);
  if (status < 0) {
    struct wodan_error error;
    wodan_last_error(db, &error);
    snprintf(why, why_size, "reading failed: %.200s", status == WODAN_ENOMEM ? "no memory" : error.message);
  }
  for (size_t version = model->version + 1; status == 0 && version-- > least && found == SIZE_MAX;) {
    collect(model, version, false, &due);
    if (content_equal(&there, &due)) {
      found = version;
      break;
    }
    int used = snprintf(why, why_size, "version %zu: ", version);
    if (used > 0 && (size_t)used < why_size) content_differ(&there, &due, why + used, why_size - (size_t)used);
  }
  content_release(&there);
  content_release(&due);
  return found;
}

static bool points_equal(const struct model *model, struct wodan_db *db, char *why, size_t why_size) {
  for (size_t i = 0; i < model->count; i++) {
    const struct entry *entry = &model->entries[i];
    const struct change *change = at_version(entry, model->version);
    void *value = NULL;
    size_t size = 0;
    int status = wodan_get_alloc(db, NULL, (struct wodan_slice){entry->key, entry->size}, &value, &size);
    bool ok = change ? status == 0 && size == change->size && memcmp(value, change->value, size) == 0
                     : status == WODAN_ENOTFOUND;
    wodan_free(db, value);
    if (ok) continue;
    snprintf(why, why_size, "get of key '%.*s' answered %d", (int)entry->size, (char *)entry->key, status);
    return false;
  }
  return true;
}

bool model_equals(const struct model *model, struct wodan_db *db, char *why, size_t why_size) {
  struct mem mem;
  struct content there, due;
  mem_init(&mem, NULL);
  content_init(&there, &mem);
  content_init(&due, &mem);
  bool ok = true;
  for (int reverse = 0; reverse < 2 && ok; reverse++) {
    int status = content_read(&there, db, reverse);
    collect(model, model->version, reverse, &due);
    ok = status == 0 && content_equal(&there, &due);
    if (status < 0)
      snprintf(why, why_size, "reading failed with %d", status);
    else if (!ok)
      content_differ(&there, &due, why, why_size);
  }
  content_release(&there);
  content_release(&due);
  return ok && points_equal(model, db, why, why_size);
}

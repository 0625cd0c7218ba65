/* Owns: the reference map and its history. Simple on purpose: sorted keys, each with the list of its versions. */
#include "support/model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
  struct entry *entries; /* by key */
  size_t count, capacity;
  size_t version;
};

static int compare(const void *a, size_t as, const void *b, size_t bs) {
  int c = memcmp(a, b, as < bs ? as : bs);
  return c ? c : (as > bs) - (as < bs);
}

struct model *model_create(void) {
  return calloc(1, sizeof(struct model));
}

void model_free(struct model *model) {
  if (!model) return;
  for (size_t i = 0; i < model->count; i++) {
    for (size_t c = 0; c < model->entries[i].count; c++) free(model->entries[i].changes[c].value);
    free(model->entries[i].changes);
    free(model->entries[i].key);
  }
  free(model->entries);
  free(model);
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

static void add(struct model *model, const void *key, size_t key_size, const void *value, size_t value_size,
                bool present) {
  bool exact;
  size_t at = find(model, key, key_size, &exact);
  if (!exact) {
    if (model->count == model->capacity) {
      model->capacity = model->capacity ? model->capacity * 2 : 64;
      model->entries = realloc(model->entries, model->capacity * sizeof *model->entries);
    }
    memmove(&model->entries[at + 1], &model->entries[at], (model->count - at) * sizeof *model->entries);
    model->entries[at] = (struct entry){.key = malloc(key_size ? key_size : 1), .size = key_size};
    memcpy(model->entries[at].key, key, key_size);
    model->count++;
  }
  struct entry *entry = &model->entries[at];
  struct change change = {.version = model->version + 1, .present = present, .size = value_size};
  change.value = malloc(value_size ? value_size : 1);
  if (value_size) memcpy(change.value, value, value_size);
  if (entry->count && entry->changes[entry->count - 1].version == change.version) {
    free(entry->changes[entry->count - 1].value);
    entry->changes[entry->count - 1] = change;
    return;
  }
  if (entry->count == entry->capacity) {
    entry->capacity = entry->capacity ? entry->capacity * 2 : 4;
    entry->changes = realloc(entry->changes, entry->capacity * sizeof *entry->changes);
  }
  entry->changes[entry->count++] = change;
}

void model_put(struct model *model, const void *key, size_t key_size, const void *value, size_t value_size) {
  add(model, key, key_size, value, value_size, true);
}

void model_delete(struct model *model, const void *key, size_t key_size) { add(model, key, key_size, NULL, 0, false); }

void model_commit(struct model *model) { model->version++; }

size_t model_version(const struct model *model) { return model->version; }

void model_roll_back(struct model *model, size_t version) {
  assert(version <= model->version);
  model->version = version;
  for (size_t i = 0; i < model->count; i++) {
    struct entry *entry = &model->entries[i];
    while (entry->count && entry->changes[entry->count - 1].version > version)
      free(entry->changes[--entry->count].value);
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

struct pair {
  uint8_t *key, *value;
  size_t key_size, value_size;
};

static struct pair *read_all(struct wodan_db *db, bool reverse, size_t *count, int *status) {
  struct wodan_cursor *cursor;
  struct pair *pairs = NULL;
  size_t capacity = 0;
  *count = 0;
  *status = wodan_cursor_open(db, NULL, &cursor);
  if (*status < 0) return NULL;
  *status = reverse ? wodan_cursor_last(cursor) : wodan_cursor_first(cursor);
  while (*status == 0) {
    struct wodan_slice k = wodan_cursor_key(cursor), v = wodan_cursor_value(cursor);
    if (*count == capacity) pairs = realloc(pairs, (capacity = capacity ? 2 * capacity : 64) * sizeof *pairs);
    struct pair pair = {malloc(k.size + 1), malloc(v.size + 1), k.size, v.size};
    memcpy(pair.key, k.data, k.size);
    if (v.size) memcpy(pair.value, v.data, v.size);
    pairs[(*count)++] = pair;
    *status = reverse ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor);
  }
  if (*status == WODAN_DONE) *status = 0;
  wodan_cursor_close(cursor);
  return pairs;
}

static void free_pairs(struct pair *pairs, size_t count) {
  for (size_t i = 0; i < count; i++) {
    free(pairs[i].key);
    free(pairs[i].value);
  }
  free(pairs);
}

static bool same(const struct model *model, size_t version, const struct pair *pairs, size_t count, bool reverse,
                 char *why, size_t why_size) {
  size_t n = 0;
  for (size_t i = 0; i < model->count; i++) {
    const struct entry *entry = &model->entries[i];
    const struct change *change = at_version(entry, version);
    if (!change) continue;
    if (n == count) {
      snprintf(why, why_size, "version %zu: key '%.*s' is missing", version, (int)entry->size, (char *)entry->key);
      return false;
    }
    const struct pair *pair = &pairs[reverse ? count - 1 - n : n];
    if (compare(pair->key, pair->key_size, entry->key, entry->size)) {
      snprintf(why, why_size, "version %zu: found key '%.*s' where '%.*s' is due", version, (int)pair->key_size,
               (char *)pair->key, (int)entry->size, (char *)entry->key);
      return false;
    }
    if (pair->value_size != change->size || memcmp(pair->value, change->value, change->size)) {
      snprintf(why, why_size, "version %zu: key '%.*s' has the wrong value '%.*s' for '%.*s'", version,
               (int)entry->size, (char *)entry->key, (int)(pair->value_size < 16 ? pair->value_size : 16),
               (char *)pair->value, (int)(change->size < 16 ? change->size : 16), (char *)change->value);
      return false;
    }
    n++;
  }
  if (n < count)
    snprintf(why, why_size, "version %zu: key '%.*s' too many (%zu for %zu)", version,
             (int)pairs[reverse ? count - 1 - n : n].key_size, (char *)pairs[reverse ? count - 1 - n : n].key, count,
             n);
  return n == count;
}

size_t model_match(const struct model *model, struct wodan_db *db, size_t least, char *why, size_t why_size) {
  size_t count, found = SIZE_MAX;
  int status;
  struct pair *pairs = read_all(db, false, &count, &status);
  if (status < 0) {
    struct wodan_error error;
    wodan_last_error(db, &error);
    snprintf(why, why_size, "reading failed: %.200s", error.message);
  }
  for (size_t version = model->version + 1; status == 0 && version-- > least && found == SIZE_MAX;)
    if (same(model, version, pairs, count, false, why, why_size)) found = version;
  free_pairs(pairs, count);
  return found;
}

bool model_equals(const struct model *model, struct wodan_db *db, char *why, size_t why_size) {
  for (int reverse = 0; reverse < 2; reverse++) {
    size_t count;
    int status;
    struct pair *pairs = read_all(db, reverse, &count, &status);
    bool ok = status == 0 && same(model, model->version, pairs, count, reverse, why, why_size);
    if (status < 0) snprintf(why, why_size, "reading failed with %d", status);
    free_pairs(pairs, count);
    if (!ok) return false;
  }
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

/* Owns: the interpreter of base images' scripts, and their keys and values.
 *
 * Always true: the same script and seed give the same bytes on every machine: work is done inline, and the only random
 * numbers are fsid and epochs, from the seed. Every value starts with the number of the operation that gave it.
 *
 * See: base_image.h. */
#include "support/base_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wodan/wodan.h>
#include "support/kept_device.h"
#include "support/random.h"

enum { WORDS_MAX = 20, VALUE_DEFAULT = 64, FAILED = -1, ENDED = 1 };

struct maker {
  struct base_image *image;
  struct kept_bytes *kept;
  struct wodan_db *db;
  uint64_t random;
  uint32_t value_size;
  char *why;
};

static int next_random(void *context, void *buffer, size_t size) {
  for (size_t i = 0; i < size; i++) ((uint8_t *)buffer)[i] = (uint8_t)random_next(context);
  return 0;
}

void base_key(uint32_t key, char out[BASE_KEY_SIZE + 1]) { snprintf(out, BASE_KEY_SIZE + 1, "key %05u", key % 100000); }

struct wodan_slice base_value(const struct base_image *image, uint32_t number, char out[BASE_VALUE_MAX]) {
  const struct base_operation *operation = &image->operations[number];
  int used = snprintf(out, BASE_VALUE_MAX, "value %06u of key %05u ", number, operation->key);
  enum { ALIKE = 1024 };
  memset(out + used, 'a' + (int)(number % 26), BASE_VALUE_MAX - (size_t)used);
  for (size_t i = ALIKE; i < BASE_VALUE_MAX; i += 100)
    out[i] = (char)('A' + i / 100 % 26); /* no chunk is like another */
  return (struct wodan_slice){out, operation->value_size};
}

bool base_concerns(const struct base_operation *operation, uint32_t key) {
  uint32_t count = operation->erases ? operation->erases : 1;
  return key >= operation->key && key - operation->key < count;
}

uint32_t base_newest(const struct base_image *image, uint32_t key) {
  for (uint32_t i = image->operation_count; i-- > 0;)
    if (base_concerns(&image->operations[i], key)) return i;
  return UINT32_MAX;
}

/* ---- the operations ---------------------------------------------------------------------------------------------- */

static int fail(struct maker *maker, const char *what, int status) {
  snprintf(maker->why, 256, "%s: %s", what, status ? wodan_strerror(status) : "malformed");
  return FAILED;
}

static bool number(const char *text, uint64_t *value) {
  char *end;
  if (!text || *text < '0' || *text > '9') return false;
  *value = strtoull(text, &end, 10);
  if (*end == 'K' || *end == 'M') *value <<= *end++ == 'K' ? 10 : 20;
  return *end == '\0';
}

static struct wodan_hooks hooks(struct maker *maker) {
  return (struct wodan_hooks){.context = &maker->random, .random = next_random};
}

static int open_it(struct maker *maker) {
  const struct wodan_open_options options = {.size = sizeof options, .flags = WODAN_OPEN_INLINE, .hooks = hooks(maker)};
  int status = wodan_open(kept_plug(maker->kept, BASE_SECTOR, 0), &options, &maker->db, NULL);
  return status ? fail(maker, "open", status) : 0;
}

static int format(struct maker *maker, char **words) {
  struct wodan_format_options options = {.size = sizeof options, .hooks = hooks(maker)};
  uint64_t size;
  if (maker->kept || !number(words[1], &size)) return fail(maker, "format", 0);
  for (char **word = words + 2; *word; word += 2) {
    uint64_t value;
    if (!number(word[1], &value)) return fail(maker, "format", 0);
    if (strcmp(*word, "block") == 0) options.block_size = (uint32_t)value;
    if (strcmp(*word, "page") == 0) options.page_size = (uint32_t)value;
    if (strcmp(*word, "leaf") == 0) options.leaf_size = (uint32_t)value;
    if (strcmp(*word, "leaves") == 0) options.node_leaves = (uint32_t)value;
    if (strcmp(*word, "children") == 0) options.node_children = (uint32_t)value;
    if (strcmp(*word, "compression") == 0) options.compression = (uint32_t)value;
    if (strcmp(*word, "memtable") == 0) options.memtable_size = value;
    if (strcmp(*word, "journal") == 0) options.journal_size = value;
  }
  maker->kept = kept_create(size);
  struct wodan_device *device = kept_plug(maker->kept, BASE_SECTOR, 0);
  int status = wodan_format(device, &options, NULL);
  wodan_device_close(device);
  return status ? fail(maker, "format", status) : open_it(maker);
}

static void note_operation(struct maker *maker, struct base_operation operation) {
  struct base_image *image = maker->image;
  if (image->operation_count == image->operation_room) {
    image->operation_room = image->operation_room ? 2 * image->operation_room : 1024;
    image->operations = realloc(image->operations, image->operation_room * sizeof *image->operations);
  }
  image->operations[image->operation_count++] = operation;
}

static int change_one(struct maker *maker, uint32_t key, uint32_t value_size) {
  struct base_image *image = maker->image;
  char name[BASE_KEY_SIZE + 1], value[BASE_VALUE_MAX];
  note_operation(maker, (struct base_operation){.key = key, .value_size = value_size});
  base_key(key, name);
  const struct wodan_slice slice = {name, BASE_KEY_SIZE};
  return value_size ? wodan_put(maker->db, slice, base_value(image, image->operation_count - 1, value), NULL)
                    : wodan_delete(maker->db, slice, NULL);
}

/* Keys first .. first + count - 1 by one range delete. */
static int erase(struct maker *maker, char **words) {
  uint64_t first, count;
  char from_name[BASE_KEY_SIZE + 1], to_name[BASE_KEY_SIZE + 1];
  if (!number(words[1], &first) || !number(words[2], &count)) return fail(maker, words[0], 0);
  base_key((uint32_t)first, from_name);
  base_key((uint32_t)(first + count), to_name);
  const struct wodan_slice from = {from_name, BASE_KEY_SIZE}, to = {to_name, BASE_KEY_SIZE};
  int status = wodan_delete_range(maker->db, &from, &to, NULL);
  note_operation(maker, (struct base_operation){.key = (uint32_t)first, .erases = (uint32_t)count});
  return status ? fail(maker, words[0], status) : 0;
}

static int change(struct maker *maker, char **words, uint32_t value_size) {
  uint64_t first, count, step = 1;
  if (!number(words[1], &first) || !number(words[2], &count) || (words[3] && !number(words[3], &step)))
    return fail(maker, words[0], 0);
  if (first + count * step > BASE_KEYS_MAX) return fail(maker, "more keys than there may be", 0);
  for (uint64_t i = 0; i < count; i++) {
    int status = change_one(maker, (uint32_t)(first + i * step), value_size);
    if (status) return fail(maker, words[0], status);
  }
  return 0;
}

static uint8_t *copy_of(const struct maker *maker) {
  uint8_t *copy = malloc(maker->kept->size);
  return memcpy(copy, maker->kept->data, maker->kept->size);
}

static int mark(struct maker *maker, const char *name) {
  struct base_image *image = maker->image;
  if (!name || image->mark_count == BASE_MARKS_MAX) return fail(maker, "mark", 0);
  struct base_mark *to = &image->marks[image->mark_count++];
  snprintf(to->name, sizeof to->name, "%s", name);
  to->bytes = copy_of(maker);
  return 0;
}

static int close_it(struct maker *maker) {
  int status = wodan_close(maker->db, NULL);
  maker->db = NULL;
  return status ? fail(maker, "close", status) : 0;
}

static int end(struct maker *maker, const char *how) {
  bool killed = how && strcmp(how, "killed") == 0;
  if (!killed && !(how && strcmp(how, "close") == 0)) return fail(maker, "end", 0);
  maker->image->size = maker->kept->size;
  if (killed) maker->image->bytes = copy_of(maker);
  if (close_it(maker) < 0) return FAILED;
  if (!killed) maker->image->bytes = copy_of(maker);
  return ENDED;
}

static int run_line(struct maker *maker, char **words) {
  const char *verb = words[0];
  uint64_t value;
  int status;
  if (strcmp(verb, "format") == 0) return format(maker, words);
  if (!maker->db) return fail(maker, "nothing is formatted", 0);
  if (strcmp(verb, "put") == 0) return change(maker, words, maker->value_size);
  if (strcmp(verb, "delete") == 0) return change(maker, words, 0);
  if (strcmp(verb, "erase") == 0) return erase(maker, words);
  if (strcmp(verb, "mark") == 0) return mark(maker, words[1]);
  if (strcmp(verb, "end") == 0) return end(maker, words[1]);
  if (strcmp(verb, "reopen") == 0) return close_it(maker) < 0 ? FAILED : open_it(maker);
  if (strcmp(verb, "value") == 0 && number(words[1], &value) && value >= VALUE_DEFAULT / 2 && value <= BASE_VALUE_MAX) {
    maker->value_size = (uint32_t)value;
    return 0;
  }
  if (strcmp(verb, "sync") == 0)
    status = wodan_sync(maker->db);
  else if (strcmp(verb, "checkpoint") == 0)
    status = wodan_checkpoint(maker->db, NULL);
  else if (strcmp(verb, "compact") == 0)
    status = wodan_compact(maker->db, NULL, NULL, 0, NULL);
  else
    return fail(maker, verb, 0);
  return status ? fail(maker, verb, status) : 0;
}

static int run_script(struct maker *maker, char *script) {
  char *rest = script;
  int status = 0;
  for (char *line; status == 0 && (line = strsep(&rest, "\n"));) {
    char *words[WORDS_MAX + 2] = {0}, *word;
    size_t count = 0;
    line[strcspn(line, "#")] = '\0';
    while (count < WORDS_MAX && (word = strsep(&line, " \t")))
      if (*word) words[count++] = word;
    if (count) status = run_line(maker, words);
  }
  return status ? status : fail(maker, "there is no end", 0);
}

bool base_image_make(struct base_image *image, const char *script, uint64_t seed, char why[256]) {
  struct maker maker = {.image = image, .random = seed, .value_size = VALUE_DEFAULT, .why = why};
  *image = (struct base_image){0};
  char *copy = strdup(script);
  int status = run_script(&maker, copy);
  free(copy);
  if (maker.db) wodan_close(maker.db, NULL);
  if (maker.kept) kept_free(maker.kept);
  if (status != ENDED) base_image_free(image);
  return status == ENDED;
}

void base_image_free(struct base_image *image) {
  for (uint32_t i = 0; i < image->mark_count; i++) free(image->marks[i].bytes);
  free(image->operations);
  free(image->bytes);
  *image = (struct base_image){0};
}

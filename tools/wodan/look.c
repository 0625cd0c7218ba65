/* What: opening an image for looking, collecting damage, and the pieces of text and JSON that the verbs share.
 *
 * Always true: the device is opened for reading only; damage is exit code 3, told once at the end, on standard output as a
 * list and on standard error as one sentence.
 *
 * Order: look_open, the verb's output, look_end, look_close.
 *
 * See: include/wodan/inspect.h; tests/cli/test_inspect.sh. */
#include "look.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "encoding.h"
#include "report.h"

enum { DAMAGE_MAX = 1000 };

/* Several walks meet the same damage. */
static bool known(const struct look *look, const struct wodan_damage *damage) {
  for (size_t i = 0; i < json_object_array_length(look->damage); i++) {
    struct json_object *object = json_object_array_get_idx(look->damage, i), *message = NULL;
    json_object_object_get_ex(object, "message", &message);
    if (strcmp(json_object_get_string(message), damage->message) == 0) return true;
  }
  return false;
}

static void on_damage(void *context, const struct wodan_damage *damage) {
  struct look *look = context;
  if (known(look, damage)) return;
  if (look->damages++ >= DAMAGE_MAX) return;
  struct json_object *object = json_object_new_object();
  look_add_block(object, "block", damage->block);
  look_add_number(object, "generation", damage->generation);
  look_add_text(object, "message", damage->message);
  json_object_array_add(look->damage, object);
}

int look_open(struct look *look, const struct options *options) {
  *look = (struct look){.options = options, .damage = json_object_new_array()};
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  unsigned flags = WODAN_PATH_READ_ONLY | (options->direct ? WODAN_PATH_DIRECT : 0u);
  int status = wodan_path_device(options->image, flags, 0, &look->device, &error);
  const struct wodan_inspect_options how = {
      .size = sizeof how, .generation = options->generation, .context = look, .damage = on_damage};
  if (status == 0) status = wodan_inspect_open(look->device, &how, &look->inspect, &error);
  if (status < 0) {
    error.code = status;
    return report_error(options->json, options->image, &error);
  }
  look->summary = (struct wodan_summary){.size = sizeof look->summary};
  wodan_inspect_summary(look->inspect, &look->summary);
  return EXIT_CODE_OK;
}

static void print_damage(const struct look *look) {
  size_t shown = json_object_array_length(look->damage);
  if (shown) printf("\nDamage:\n");
  for (size_t i = 0; i < shown; i++) {
    struct json_object *object = json_object_array_get_idx(look->damage, i), *block = NULL, *message = NULL;
    json_object_object_get_ex(object, "block", &block);
    json_object_object_get_ex(object, "message", &message);
    if (block != NULL) printf("  block %s: ", json_object_get_string(block));
    printf("%s%s\n", block == NULL ? "  " : "", json_object_get_string(message));
  }
  if (look->damages > shown) printf("  and %llu more\n", (unsigned long long)(look->damages - shown));
}

int look_end(struct look *look, struct json_object *object, int exit_code) {
  if (object != NULL) {
    json_object_object_add(object, "damage", json_object_get(look->damage));
    report_object(true, object);
  } else {
    print_damage(look);
  }
  exit_code = report_flush(exit_code);
  if (look->damages == 0 || (exit_code != EXIT_CODE_OK && exit_code != EXIT_CODE_NEGATIVE)) return exit_code;
  return report_failure(false, look->options->image, WODAN_ECORRUPT, EXIT_CODE_DAMAGED,
                        "the image is damaged in %llu place%s, listed above", (unsigned long long)look->damages,
                        look->damages == 1 ? "" : "s");
}

void look_close(struct look *look) {
  wodan_inspect_close(look->inspect);
  wodan_device_close(look->device); /* nothing was written, so nothing can be lost here */
  json_object_put(look->damage);
  *look = (struct look){0};
}

int look_fail(const struct look *look, int status, const struct wodan_error *error) {
  if (status >= 0) return EXIT_CODE_OK;
  struct wodan_error told = *error;
  told.code = status;
  return report_error(look->options->json, look->options->image, &told);
}

bool look_is_image(const struct options *options, const char *path) {
  struct stat image, other;
  return stat(options->image, &image) == 0 && stat(path, &other) == 0 && image.st_dev == other.st_dev &&
         image.st_ino == other.st_ino;
}

const char *look_bytes(char *out, size_t room, struct wodan_slice bytes) {
  const unsigned char *at = bytes.data;
  size_t used = 0;
  out[used++] = '"';
  for (size_t i = 0; i < bytes.size; i++) {
    if (used + 10 > room) {
      used += (size_t)snprintf(out + used, room - used, "...");
      break;
    }
    if (at[i] >= 0x20 && at[i] < 0x7f && at[i] != '"' && at[i] != '\\') {
      out[used++] = (char)at[i];
    } else {
      used += (size_t)snprintf(out + used, room - used, "\\x%02x", at[i]);
    }
  }
  snprintf(out + used, room - used, "\"");
  return out;
}

void look_add_number(struct json_object *object, const char *name, uint64_t value) {
  json_object_object_add(object, name, json_object_new_uint64(value));
}

void look_add_text(struct json_object *object, const char *name, const char *text) {
  json_object_object_add(object, name, text == NULL ? NULL : json_object_new_string(text));
}

void look_add_block(struct json_object *object, const char *name, uint64_t block) {
  json_object_object_add(object, name, block == WODAN_NO_BLOCK ? NULL : json_object_new_uint64(block));
}

void look_add_bytes(struct json_object *object, const char *name, struct wodan_slice bytes) {
  char other[40];
  struct buffer text = {0};
  bool plain = utf8_valid(bytes);
  if (!plain) base64_append(&text, bytes);
  struct wodan_slice shown = plain ? bytes : buffer_slice(&text);
  snprintf(other, sizeof other, "%s_base64", name);
  const char *data = shown.size ? shown.data : "";
  json_object_object_add(object, plain ? name : other, json_object_new_string_len(data, (int)shown.size));
  buffer_release(&text);
}

struct json_object *look_describe_root(const struct wodan_root *root) {
  if (root->generation == 0) return NULL;
  struct json_object *object = json_object_new_object();
  look_add_number(object, "generation", root->generation);
  look_add_number(object, "sequence", root->sequence);
  look_add_number(object, "journal_block", root->journal_block);
  look_add_number(object, "block", root->block);
  look_add_number(object, "tail", root->tail);
  look_add_number(object, "previous", root->previous);
  look_add_number(object, "blocks", root->blocks);
  look_add_block(object, "tree_block", root->tree_block);
  look_add_number(object, "tree_generation", root->tree_generation);
  return object;
}

const char *look_number(char text[32], uint64_t value) {
  char digits[24];
  int count = snprintf(digits, sizeof digits, "%" PRIu64, value), at = 0;
  for (int i = 0; i < count; i++) {
    if (i > 0 && (count - i) % 3 == 0) text[at++] = ',';
    text[at++] = digits[i];
  }
  text[at] = '\0';
  return text;
}

const char *look_percent(char text[16], uint64_t part, uint64_t whole) {
  double percent = whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
  snprintf(text, 16, percent > 0 && percent < 9.95 ? "%.1f %%" : "%.0f %%", percent);
  return text;
}

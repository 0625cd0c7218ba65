/* What: opening an image for looking, collecting damage, and the pieces of text and JSON that the verbs share.
 *
 * Always true: the device is opened for reading only; damage is exit code 3, told once at the end, on standard output as a
 * list and on standard error as one sentence.
 *
 * Order: look_open, the verb's output, look_end, look_close.
 *
 * See: include/wodan/inspect.h; tests/cli/test_inspect.sh. */
#include "look.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "report.h"

enum { DAMAGE_MAX = 1000, MESSAGE_MAX = 320 };

struct look_damage {
  uint64_t block, generation;
  char message[MESSAGE_MAX];
};

static size_t told(const struct look *look) { return look->damage.size / sizeof(struct look_damage); }

static const struct look_damage *damage_at(const struct look *look, size_t i) {
  return (const struct look_damage *)(const void *)look->damage.data + i;
}

/* Several walks meet the same damage. */
static void on_damage(void *context, const struct wodan_damage *damage) {
  struct look *look = context;
  struct look_damage one = {.block = damage->block, .generation = damage->generation};
  snprintf(one.message, sizeof one.message, "%s", damage->message);
  for (size_t i = 0; i < told(look); i++) {
    if (strcmp(damage_at(look, i)->message, one.message) == 0) return;
  }
  if (look->damages++ < DAMAGE_MAX) buffer_append(&look->damage, &one, sizeof one);
}

int look_open(struct look *look, const struct options *options) {
  *look = (struct look){.options = options};
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
  size_t shown = told(look);
  if (shown) printf("\nDamage:\n");
  for (size_t i = 0; i < shown; i++) {
    const struct look_damage *one = damage_at(look, i);
    if (one->block != WODAN_NO_BLOCK) printf("  block %" PRIu64 ": ", one->block);
    printf("%s%s\n", one->block == WODAN_NO_BLOCK ? "  " : "", one->message);
  }
  if (look->damages > shown) printf("  and %llu more\n", (unsigned long long)(look->damages - shown));
}

static void add_damage(const struct look *look, struct json *json) {
  json_open(json, "damage", '[');
  for (size_t i = 0; i < told(look); i++) {
    const struct look_damage *one = damage_at(look, i);
    json_open(json, NULL, '{');
    json_block(json, "block", one->block);
    json_number(json, "generation", one->generation);
    json_text(json, "message", one->message);
    json_close(json, '}');
  }
  json_close(json, ']');
  if (look->damage.failed) json->text.failed = true;
}

bool look_show(const struct look *look, struct json *json) {
  if (json != NULL) {
    add_damage(look, json);
    json_close(json, '}');
    return report_json(json);
  }
  print_damage(look);
  if (look->damage.failed) report_errno(false, look->options->image, ENOMEM);
  return !look->damage.failed;
}

int look_end(const struct look *look, struct json *json, int exit_code) {
  if (!look_show(look, json)) return EXIT_CODE_IO;
  exit_code = report_flush(exit_code);
  if (look->damages == 0 || (exit_code != EXIT_CODE_OK && exit_code != EXIT_CODE_NEGATIVE)) return exit_code;
  return report_failure(false, look->options->image, WODAN_ECORRUPT, EXIT_CODE_DAMAGED,
                        "the image is damaged in %llu place%s, listed above", (unsigned long long)look->damages,
                        look->damages == 1 ? "" : "s");
}

void look_close(struct look *look) {
  wodan_inspect_close(look->inspect);
  wodan_device_close(look->device); /* nothing was written, so nothing can be lost here */
  buffer_release(&look->damage);
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

void look_add_root(struct json *json, const char *name, const struct wodan_root *root) {
  if (root->generation == 0) {
    json_text(json, name, NULL);
    return;
  }
  json_open(json, name, '{');
  json_number(json, "generation", root->generation);
  json_number(json, "sequence", root->sequence);
  json_number(json, "journal_block", root->journal_block);
  json_number(json, "block", root->block);
  json_number(json, "tail", root->tail);
  json_number(json, "previous", root->previous);
  json_number(json, "blocks", root->blocks);
  json_block(json, "tree_block", root->tree_block);
  json_number(json, "tree_generation", root->tree_generation);
  json_close(json, '}');
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

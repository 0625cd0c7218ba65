/* What: JSON as the commands write it.
 *
 * Always true: well-formed as long as every json_open has its json_close; names are our own and hold nothing to be
 * escaped; a comma is due behind whatever does not open something; without memory the text says so.
 *
 * Order: members come out as they are said.
 *
 * See: tests/unit/test_json.c; DESIGN.md section 9 for why no library does this. */
#include "json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "encoding.h"

enum { NAME_WIDTH = 24 };

void json_append_string(struct buffer *out, struct wodan_slice bytes) {
  const unsigned char *at = bytes.data;
  buffer_append_byte(out, '"');
  for (size_t i = 0; i < bytes.size; i++) {
    if (at[i] == '"' || at[i] == '\\') {
      buffer_append_byte(out, '\\');
      buffer_append_byte(out, at[i]);
    } else if (at[i] == '\n') {
      buffer_append_text(out, "\\n");
    } else if (at[i] == '\t') {
      buffer_append_text(out, "\\t");
    } else if (at[i] < 0x20 || at[i] == 0x7f) {
      buffer_append_text(out, "\\u00");
      hex_append(out, (struct wodan_slice){.data = at + i, .size = 1});
    } else {
      buffer_append_byte(out, at[i]);
    }
  }
  buffer_append_byte(out, '"');
}

void json_append_bytes(struct buffer *out, const char *name, struct wodan_slice bytes) {
  bool plain = utf8_valid(bytes);
  buffer_append_byte(out, '"');
  buffer_append_text(out, name);
  buffer_append_text(out, plain ? "\":" : "_base64\":\"");
  if (plain) {
    json_append_string(out, bytes);
  } else {
    base64_append(out, bytes);
    buffer_append_byte(out, '"');
  }
}

static void comma(struct json *json) {
  const struct buffer *text = &json->text;
  if (text->size > 0 && strchr("{[", text->data[text->size - 1]) == NULL) buffer_append_byte(&json->text, ',');
}

/* What stands before a value. */
static void begin(struct json *json, const char *name) {
  if (json->lines) {
    size_t size = strlen(name);
    buffer_append(&json->text, name, size);
    do {
      buffer_append_byte(&json->text, ' ');
    } while (size++ < NAME_WIDTH);
    return;
  }
  comma(json);
  if (name == NULL) return;
  buffer_append_byte(&json->text, '"');
  buffer_append_text(&json->text, name);
  buffer_append_text(&json->text, "\":");
}

/* A value that is the same in both forms. */
static void value(struct json *json, const char *name, const char *text) {
  begin(json, name);
  buffer_append_text(&json->text, text);
  if (json->lines) buffer_append_byte(&json->text, '\n');
}

static void null(struct json *json, const char *name) { value(json, name, json->lines ? "-" : "null"); }

void json_open(struct json *json, const char *name, char bracket) {
  if (json->lines) return;
  begin(json, name);
  buffer_append_byte(&json->text, (unsigned char)bracket);
}

void json_close(struct json *json, char bracket) {
  if (!json->lines) buffer_append_byte(&json->text, (unsigned char)bracket);
}

void json_number(struct json *json, const char *name, uint64_t number) {
  char text[24];
  snprintf(text, sizeof text, "%" PRIu64, number);
  value(json, name, text);
}

void json_real(struct json *json, const char *name, double number) {
  char text[64];
  snprintf(text, sizeof text, "%.3f", number);
  value(json, name, text);
}

void json_bool(struct json *json, const char *name, bool truth) { value(json, name, truth ? "true" : "false"); }

void json_text(struct json *json, const char *name, const char *text) {
  if (text == NULL) {
    null(json, name);
  } else if (json->lines) {
    value(json, name, text);
  } else {
    begin(json, name);
    json_append_string(&json->text, (struct wodan_slice){.data = text, .size = strlen(text)});
  }
}

void json_block(struct json *json, const char *name, uint64_t block) {
  if (block == WODAN_NO_BLOCK)
    null(json, name);
  else
    json_number(json, name, block);
}

void json_bytes(struct json *json, const char *name, struct wodan_slice bytes) {
  comma(json);
  json_append_bytes(&json->text, name, bytes);
}

void json_hex(struct json *json, const char *name, struct wodan_slice bytes) {
  begin(json, name);
  buffer_append_byte(&json->text, '"');
  hex_append(&json->text, bytes);
  buffer_append_byte(&json->text, '"');
}

void json_append(struct json *json, const char *name, const struct json *other) {
  if (other->text.failed) json->text.failed = true;
  if (other->text.size == 0) {
    null(json, name);
    return;
  }
  begin(json, name);
  buffer_append(&json->text, other->text.data, other->text.size);
}

void json_release(struct json *json) { buffer_release(&json->text); }

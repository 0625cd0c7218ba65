/* JSON that grows in a buffer, in the order in which it is said: json_open, members, json_close. A name is NULL inside a
 * list. Without memory `text.failed` is set and nothing more happens: report_json tells, once, at the end. */
#ifndef WODAN_CLI_JSON_H
#define WODAN_CLI_JSON_H

#include <stdint.h>
#include <wodan/status.h>

#include "buffer.h"

struct json {
  struct buffer text;
  bool lines; /* not JSON: a line "name  value" a member, for objects without others inside */
};

/* An object between '{' and '}', a list between '[' and ']'. */
void json_open(struct json *json, const char *name, char bracket);
void json_close(struct json *json, char bracket);
void json_number(struct json *json, const char *name, uint64_t value);
void json_real(struct json *json, const char *name, double value); /* with three decimals */
void json_bool(struct json *json, const char *name, bool value);
void json_text(struct json *json, const char *name, const char *text); /* NULL: null */
/* A block; WODAN_NO_BLOCK: null. */
void json_block(struct json *json, const char *name, uint64_t block);
/* As NAME when they are UTF-8, else as NAME_base64. */
void json_bytes(struct json *json, const char *name, struct wodan_slice bytes);
void json_hex(struct json *json, const char *name, struct wodan_slice bytes);
/* A list or object that was said elsewhere; nothing said: null. */
void json_append(struct json *json, const char *name, const struct json *value);

void json_release(struct json *json);

/* The same two for a buffer of whoever puts the text together itself: "…" with its escapes, and `"name":"…"` or
 * `"name_base64":"…"`. */
void json_append_string(struct buffer *out, struct wodan_slice bytes);
void json_append_bytes(struct buffer *out, const char *name, struct wodan_slice bytes);

#endif

/* Looking into an image without opening it as a database: what the verbs of inspection have in common. Damage does not end
 * them: it is collected, told at the end, and is exit code 3. */
#ifndef WODAN_CLI_LOOK_H
#define WODAN_CLI_LOOK_H

#include <wodan/inspect.h>

#include "options.h"

struct json_object;

struct look {
  const struct options *options;
  struct wodan_device *device;
  struct wodan_inspect *inspect;
  struct wodan_summary summary;
  struct json_object *damage; /* an array, all of what is told */
  uint64_t damages;
};

/* 0, or the exit code of the reported failure; look_close in any case. */
int look_open(struct look *look, const struct options *options);
/* Prints the object (freed) with --json, with member "damage"; without it (object NULL) the damage as lines. Then the one
 * sentence on standard error when there was any. Returns the exit code. */
int look_end(struct look *look, struct json_object *object, int exit_code);
void look_close(struct look *look);
/* Of a failed call: reports it, returns the exit code. 0 for 0. */
int look_fail(const struct look *look, int status, const struct wodan_error *error);

/* The file is the image itself, under whatever name. */
bool look_is_image(const struct options *options, const char *path);

/* Bytes in quotes, \xHH for what does not print, cut with "..." at `room`. Returns out. */
const char *look_bytes(char *out, size_t room, struct wodan_slice bytes);
/* Members of an object. Bytes: as NAME when they are UTF-8, else as NAME_base64. */
void look_add_number(struct json_object *object, const char *name, uint64_t value);
void look_add_text(struct json_object *object, const char *name, const char *text);
void look_add_bytes(struct json_object *object, const char *name, struct wodan_slice bytes);
/* A block; WODAN_NO_BLOCK: null. */
void look_add_block(struct json_object *object, const char *name, uint64_t block);
struct json_object *look_describe_root(const struct wodan_root *root);
/* "1,234,567" */
const char *look_number(char text[32], uint64_t value);
/* "12 %", "0.3 %" */
const char *look_percent(char text[16], uint64_t part, uint64_t whole);

#endif

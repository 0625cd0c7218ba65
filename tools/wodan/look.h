/* Looking into an image without opening it as a database: what the verbs of inspection have in common. Damage does not end
 * them: it is collected, told at the end, and is exit code 3. */
#ifndef WODAN_CLI_LOOK_H
#define WODAN_CLI_LOOK_H

#include <wodan/inspect.h>

#include "json.h"
#include "options.h"

struct look {
  const struct options *options;
  struct wodan_device *device;
  struct wodan_inspect *inspect;
  struct wodan_summary summary;
  struct buffer damage; /* of struct look_damage, all of what is told */
  uint64_t damages;
};

/* 0, or the exit code of the reported failure; look_close in any case. */
int look_open(struct look *look, const struct options *options);
/* With --json: ends the object, which is open yet, with a member "damage", prints and releases it; without it (NULL) prints
 * the damage as lines. false: that failed and was reported. */
bool look_show(const struct look *look, struct json *json);
/* The same, then the one sentence on standard error when there was damage. Returns the exit code. */
int look_end(const struct look *look, struct json *json, int exit_code);
void look_close(struct look *look);
/* Of a failed call: reports it, returns the exit code. 0 for 0. */
int look_fail(const struct look *look, int status, const struct wodan_error *error);

/* The file is the image itself, under whatever name. */
bool look_is_image(const struct options *options, const char *path);

/* Bytes in quotes, \xHH for what does not print, cut with "..." at `room`. Returns out. */
const char *look_bytes(char *out, size_t room, struct wodan_slice bytes);
/* null: there is none. */
void look_add_root(struct json *json, const char *name, const struct wodan_root *root);
/* "1,234,567" */
const char *look_number(char text[32], uint64_t value);
/* "12 %", "0.3 %" */
const char *look_percent(char text[16], uint64_t part, uint64_t whole);

#endif

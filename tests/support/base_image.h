/* Images made by a script of the engine's own operations, the same bytes each time, and what they hold by a model: what the
 * recipes of tests/repair start from.
 *
 * A script is lines of words; '#' starts a comment. Sizes take K and M.
 *   format SIZE [block N] [page N] [leaf N] [leaves N] [children N] [memtable N] [journal N]    first; N of wodan_format_options
 *                             [compression N]
 *   value N                   bytes of a value from here on (64)
 *   put FIRST COUNT [STEP]    keys FIRST, FIRST + STEP, ...: each gets a value that no other put gave
 *   delete FIRST COUNT [STEP]
 *   erase FIRST COUNT         one range delete
 *   sync | checkpoint | compact | reopen
 *   mark NAME                 keeps the bytes as they are now, as a killed process leaves them
 *   end close | end killed    last; killed: as the process leaves it behind its last sync */
#ifndef SUPPORT_BASE_IMAGE_H
#define SUPPORT_BASE_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <wodan/types.h>

enum { BASE_KEYS_MAX = 4096, BASE_MARKS_MAX = 8, BASE_KEY_SIZE = 9, BASE_VALUE_MAX = 6000, BASE_SECTOR = 512 };

/* One operation, in the order of the engine's sequence numbers. */
struct base_operation {
  uint32_t key;
  uint32_t value_size; /* 0: a delete */
  uint32_t erases;     /* of so many keys from `key` on, as a range; 0: of that key alone */
};

struct base_image {
  uint8_t *bytes;
  uint64_t size;
  struct base_operation *operations; /* number i has sequence i + 1 */
  uint32_t operation_count, operation_room;
  struct base_mark {
    char name[16];
    uint8_t *bytes;
  } marks[BASE_MARKS_MAX];
  uint32_t mark_count;
};

/* Runs the script; seed: of fsid and epochs. false: `why` tells the line and what is wrong. */
bool base_image_make(struct base_image *image, const char *script, uint64_t seed, char why[256]);
void base_image_free(struct base_image *image);

/* The bytes of key number `key`, BASE_KEY_SIZE of them. */
void base_key(uint32_t key, char out[BASE_KEY_SIZE + 1]);
/* The value that operation `number` gave its key. */
struct wodan_slice base_value(const struct base_image *image, uint32_t number, char out[BASE_VALUE_MAX]);
/* The operation is on the key, or on a range around it. */
bool base_concerns(const struct base_operation *operation, uint32_t key);
/* The last operation on the key; UINT32_MAX: there is none. */
uint32_t base_newest(const struct base_image *image, uint32_t key);

#endif

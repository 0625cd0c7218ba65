/* States: contents of a database of KEYS known keys, and which of them are possible. */
#ifndef FUZZ_SUPPORT_STATES_H
#define FUZZ_SUPPORT_STATES_H

#include <stdbool.h>
#include <stdint.h>
#include <wodan/types.h>

enum { KEYS = 96, KEY_MAX = 64, STATES_MAX = 3000, VALUES_MAX = 4000, VALUE_MAX = 8200 };

/* Key `i`; they ascend in i. */
struct wodan_slice key_at(unsigned i);
/* Its number, -1 when it is none of them. */
int key_find(struct wodan_slice key);

struct state {
  uint16_t values[KEYS]; /* numbers of values; 0: absent */
  uint32_t parent;
};

struct states {
  struct state *all;
  uint32_t count;
  uint16_t value_sizes[VALUES_MAX];
  uint16_t value_count;
};

struct possible {
  uint16_t states[STATES_MAX];
  uint32_t count;
};

/* One state, number 0, empty. */
void states_clear(struct states *states);
/* A new value of so many bytes; 0: there are too many. */
uint16_t states_value(struct states *states, uint16_t size);
struct wodan_slice states_value_bytes(const struct states *states, uint16_t value, uint8_t out[VALUE_MAX]);

struct change {
  uint8_t key;
  uint16_t value; /* 0: deleted */
};
/* Each possible state becomes that with the changes. false: too many. */
bool states_commit(struct states *states, struct possible *possible, const struct change *changes, uint32_t count);
/* `newest` and its ancestors up to `oldest`. */
void states_line(const struct states *states, uint32_t newest, uint32_t oldest, struct possible *possible);
void states_all(const struct states *states, struct possible *possible);
/* Of those with the same content only the newest stays. */
void states_merge(const struct states *states, struct possible *possible);

/* An answer: `key` has `value` (found), or is absent. Drops those states that say otherwise. */
bool possible_value(const struct states *states, struct possible *possible, unsigned key, bool found,
                    struct wodan_slice value);
/* An answer: the value is of so many bytes, and at `offset` of it is this stretch. */
struct stretch_seen {
  uint64_t offset, value_size;
  struct wodan_slice bytes;
};
bool possible_stretch(const struct states *states, struct possible *possible, unsigned key,
                      const struct stretch_seen *seen);
/* An answer: from `key` on (inclusive, maybe beyond the ends) upwards or downwards, the first key there is, is `next`; -1:
 * there is none. */
bool possible_next(const struct states *states, struct possible *possible, int key, bool down, int next);

#endif

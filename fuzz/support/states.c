/* What: contents, commits, and what answers say about them. See states.h. */
#include "support/states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codec/checksum.h"
#include "format/record.h"
#include "fuzz.h"

/* ---- keys and values ----------------------------------------------------------------------------------------------- */

static struct {
  uint8_t bytes[KEY_MAX];
  size_t size;
} keys[KEYS];

static int compare_keys(const void *a, const void *b) {
  const uint8_t *x = a, *y = b;
  size_t sizes[2];
  memcpy(&sizes[0], x + KEY_MAX, sizeof(size_t));
  memcpy(&sizes[1], y + KEY_MAX, sizeof(size_t));
  return key_compare((struct wodan_slice){x, sizes[0]}, (struct wodan_slice){y, sizes[1]});
}

/* Short ones, prefixes of each other, zero and 0xff bytes, a long common prefix, the longest there can be. */
static void keys_make(void) {
  for (unsigned i = 0; i < KEYS; i++) {
    uint8_t *key = keys[i].bytes;
    unsigned n = i / 6;
    switch (i % 6) {
    case 0:
      keys[i].size = (size_t)snprintf((char *)key, KEY_MAX, "k%03u", n * 37 % 100);
      break;
    case 1:
      keys[i].size = (size_t)snprintf((char *)key, KEY_MAX, "a/long/common/prefix/of/many/%02u", n);
      break;
    case 2:
      memset(key, 'p', n + 1); /* p, pp, ppp */
      keys[i].size = n + 1;
      break;
    case 3:
      key[0] = (uint8_t)(n * 17);
      key[1] = 0;
      keys[i].size = 1 + n % 2;
      break;
    case 4:
      memset(key, 0xff, 4);
      key[3] = (uint8_t)n;
      keys[i].size = 4;
      break;
    default:
      memset(key, 'z', KEY_MAX);
      key[40] = (uint8_t)n;
      keys[i].size = KEY_MAX;
    }
  }
  qsort(keys, KEYS, sizeof keys[0], compare_keys);
  for (unsigned i = 1; i < KEYS; i++) FUZZ_CHECK(compare_keys(&keys[i - 1], &keys[i]) < 0);
}

struct wodan_slice key_at(unsigned i) {
  if (!keys[0].size) keys_make();
  return (struct wodan_slice){keys[i].bytes, keys[i].size};
}

int key_find(struct wodan_slice key) {
  int low = 0, high = KEYS;
  while (low < high) {
    int middle = (low + high) / 2, order = key_compare(key_at((unsigned)middle), key);
    if (order == 0) return middle;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return -1;
}

uint16_t states_value(struct states *states, uint16_t size) {
  if (states->value_count + 1 >= VALUES_MAX) return 0;
  states->value_sizes[++states->value_count] = size;
  return states->value_count;
}

struct wodan_slice states_value_bytes(const struct states *states, uint16_t value, uint8_t out[VALUE_MAX]) {
  size_t size = states->value_sizes[value];
  enum { ALIKE = 256 };
  memset(out, (int)('a' + value % 26), size < ALIKE ? size : ALIKE);
  for (size_t i = ALIKE; i < size; i++) out[i] = (uint8_t)(value + i / 5); /* no chunk of it is like another */
  for (size_t i = 0; i < 2 && i < size; i++) out[i] = (uint8_t)(value >> 8 * i);
  return (struct wodan_slice){out, size};
}

/* ---- states -------------------------------------------------------------------------------------------------------- */

void states_clear(struct states *states) {
  if (!states->all) states->all = malloc(STATES_MAX * sizeof *states->all);
  if (!states->all) FUZZ_FAIL("no memory");
  memset(&states->all[0], 0, sizeof states->all[0]);
  states->count = 1;
  states->value_count = 0;
}

bool states_commit(struct states *states, struct possible *possible, const struct change *changes, uint32_t count) {
  if (states->count + possible->count > STATES_MAX) return false;
  for (uint32_t i = 0; i < possible->count; i++) {
    struct state *fresh = &states->all[states->count];
    *fresh = states->all[possible->states[i]];
    fresh->parent = possible->states[i];
    for (uint32_t c = 0; c < count; c++) fresh->values[changes[c].key] = changes[c].value;
    possible->states[i] = (uint16_t)states->count++;
  }
  return true;
}

void states_line(const struct states *states, uint32_t newest, uint32_t oldest, struct possible *possible) {
  possible->count = 0;
  for (uint32_t at = newest;; at = states->all[at].parent) {
    possible->states[possible->count++] = (uint16_t)at;
    if (at == oldest) return;
    FUZZ_CHECK(at > 0); /* the acknowledged state is an ancestor */
  }
}

void states_all(const struct states *states, struct possible *possible) {
  possible->count = 0;
  for (uint32_t i = states->count; i-- > 0;) possible->states[possible->count++] = (uint16_t)i;
}

void states_merge(const struct states *states, struct possible *possible) {
  enum { SLOTS = 8192 };
  static uint16_t slots[SLOTS]; /* state + 1, by content */
  if (possible->count < 2) return;
  memset(slots, 0, sizeof slots);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < possible->count; i++) {
    uint16_t number = possible->states[i];
    const uint16_t *values = states->all[number].values;
    size_t slot = checksum(0, values, sizeof states->all[0].values) % SLOTS;
    while (slots[slot] && memcmp(states->all[slots[slot] - 1].values, values, sizeof states->all[0].values) != 0)
      slot = (slot + 1) % SLOTS;
    if (slots[slot]) continue;
    slots[slot] = (uint16_t)(number + 1);
    possible->states[kept++] = number;
  }
  possible->count = kept;
}

/* ---- answers ------------------------------------------------------------------------------------------------------- */

bool possible_value(const struct states *states, struct possible *possible, unsigned key, bool found,
                    struct wodan_slice value) {
  uint32_t kept = 0;
  uint16_t last = UINT16_MAX; /* states mostly agree */
  bool last_same = false;
  uint8_t bytes[VALUE_MAX];
  for (uint32_t i = 0; i < possible->count; i++) {
    uint16_t there = states->all[possible->states[i]].values[key];
    if (there != last) {
      struct wodan_slice due = states_value_bytes(states, there, bytes);
      last = there;
      last_same = there == 0
                      ? !found
                      : found && value.size == due.size && (!due.size || memcmp(value.data, due.data, due.size) == 0);
    }
    if (last_same) possible->states[kept++] = possible->states[i];
  }
  possible->count = kept;
  return kept > 0;
}

bool possible_stretch(const struct states *states, struct possible *possible, unsigned key,
                      const struct stretch_seen *seen) {
  uint32_t kept = 0;
  uint8_t bytes[VALUE_MAX];
  for (uint32_t i = 0; i < possible->count; i++) {
    uint16_t there = states->all[possible->states[i]].values[key];
    if (there == 0 || states->value_sizes[there] != seen->value_size) continue;
    if (seen->offset > seen->value_size || seen->bytes.size > seen->value_size - seen->offset) continue;
    states_value_bytes(states, there, bytes);
    if (seen->bytes.size && memcmp(bytes + seen->offset, seen->bytes.data, seen->bytes.size) != 0) continue;
    possible->states[kept++] = possible->states[i];
  }
  possible->count = kept;
  return kept > 0;
}

bool possible_next(const struct states *states, struct possible *possible, int key, bool down, int next) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < possible->count; i++) {
    const uint16_t *values = states->all[possible->states[i]].values;
    int at = key;
    while (at >= 0 && at < KEYS && values[at] == 0) at += down ? -1 : 1;
    if (at < 0 || at >= KEYS) at = -1;
    if (at == next) possible->states[kept++] = possible->states[i];
  }
  possible->count = kept;
  return kept > 0;
}

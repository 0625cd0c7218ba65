/* What: CRC-32C, four bytes at a time from four tables.
 *
 * Always true: the value does not depend on the machine's byte order or on how the data is aligned.
 *
 * Order: the tables are filled at the first call.
 *
 * See: tests/unit/test_mirage.c. */
#include "crc32c.h"

#include <stdbool.h>

#include "base/wire.h"

enum { SLICES = 4 };
static const uint32_t POLYNOMIAL = 0x82f63b78; /* reflected */

static uint32_t tables[SLICES][256]; /* [k][b]: byte b with k zero bytes behind it */
static bool filled;

static void fill(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? POLYNOMIAL : 0);
    tables[0][byte] = value;
  }
  for (size_t k = 1; k < SLICES; k++) {
    for (size_t byte = 0; byte < 256; byte++)
      tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 255];
  }
  filled = true;
}

uint32_t mirage_crc32c(const void *data, size_t size) {
  const uint8_t *at = data;
  uint32_t value = UINT32_MAX;
  if (!filled) fill();
  for (; size >= SLICES; at += SLICES, size -= SLICES) {
    value ^= load_u32(at);
    value =
        tables[3][value & 255] ^ tables[2][value >> 8 & 255] ^ tables[1][value >> 16 & 255] ^ tables[0][value >> 24];
  }
  for (; size > 0; at++, size--) value = value >> 8 ^ tables[0][(value ^ *at) & 255];
  return ~value;
}

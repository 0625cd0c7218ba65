/* Owns: the order of proofs of a data page.
 *
 * Always true: a decompressor sees only bytes whose checksum is right, and a page is looked into only when it was validated.
 *
 * Order: checksum of what is stored, decompression to exactly the size of the index entry, the page's own rules.
 *
 * See: FORMAT.md "Runs"; tests/unit/test_run_packed.c, test_check_findings.c. */
#include "format/stored_page.h"

#include <assert.h>
#include "codec/checksum.h"
#include "codec/compress.h"

enum stored_page stored_page_take(uint64_t seed, const struct index_entry *entry, const uint8_t *stored,
                                  uint8_t *bytes) {
  assert(stored_page_packed(entry) || stored == bytes);
  if (checksum(seed, stored, entry->length) != entry->checksum) return STORED_PAGE_CHECKSUM; /* guard: checksum */
  if (stored_page_packed(entry) && !compress_unpack(stored, entry->length, bytes, entry->size))
    return STORED_PAGE_PACKING;                                         /* guard: bounds */
  if (!page_validate(bytes, entry->size)) return STORED_PAGE_MALFORMED; /* guard: bounds */
  return STORED_PAGE_GOOD;
}

const char *stored_page_text(enum stored_page state) {
  static const char *const texts[] = {[STORED_PAGE_GOOD] = NULL,
                                      [STORED_PAGE_CHECKSUM] = "a page has a wrong checksum",
                                      [STORED_PAGE_PACKING] =
                                          "a compressed page does not become a page of the size its index names",
                                      [STORED_PAGE_MALFORMED] = "a page breaks the rules of its format"};
  return texts[state];
}

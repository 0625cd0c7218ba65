/* From what stands on the device for a data page to the page: the one proof of it for all who read runs. */
#ifndef FORMAT_STORED_PAGE_H
#define FORMAT_STORED_PAGE_H

#include "format/node_header.h"
#include "format/page.h"

enum stored_page { STORED_PAGE_GOOD, STORED_PAGE_CHECKSUM, STORED_PAGE_PACKING, STORED_PAGE_MALFORMED };

/* Whether what is stored is the page compressed, so that the page needs memory of its own. */
static inline bool stored_page_packed(const struct index_entry *entry) { return entry->length < entry->size; }

/* The entry->length bytes at `stored` are the page that the entry names: then entry->size bytes of it are in `bytes`, which
 * page_view may take. For a page that is not compressed `bytes` is `stored`. Nothing is trusted but the entry's two sizes. */
enum stored_page stored_page_take(uint64_t seed, const struct index_entry *entry, const uint8_t *stored,
                                  uint8_t *bytes);

/* What is wrong, as a sentence about "a page"; NULL: nothing. */
const char *stored_page_text(enum stored_page state);

#endif

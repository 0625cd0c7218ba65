/* What: the list of record formats, and the record a line is read into.
 *
 * Always true: every format writes exactly one line per record and reads back every record it wrote.
 *
 * Order: none that matters.
 *
 * See: text_tsv.c, text_base64.c, text_jsonl.c; tests/unit/test_text_formats.c. */
#include "text_format.h"

#include <string.h>

#include "text_base64.h"
#include "text_jsonl.h"
#include "text_tsv.h"

static const struct text_format formats[] = {
    {.name = "tsv", .append = text_tsv_append, .parse = text_tsv_parse},
    {.name = "base64", .append = text_base64_append, .parse = text_base64_parse},
    {.name = "jsonl", .append = text_jsonl_append, .parse = text_jsonl_parse},
};

const struct text_format *text_format_find(const char *name) {
  for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
    if (strcmp(formats[i].name, name) == 0) return &formats[i];
  }
  return NULL;
}

void text_record_clear(struct text_record *record) {
  buffer_clear(&record->key);
  buffer_clear(&record->value);
  buffer_clear(&record->scratch);
}

void text_record_release(struct text_record *record) {
  buffer_release(&record->key);
  buffer_release(&record->value);
  buffer_release(&record->scratch);
}

bool text_record_failed(const struct text_record *record) {
  return record->key.failed || record->value.failed || record->scratch.failed;
}

/* The record formats of dump and load: one record a line, no line break inside. */
#ifndef WODAN_CLI_TEXT_FORMAT_H
#define WODAN_CLI_TEXT_FORMAT_H

#include "encoding.h"

/* A record read from a line. The buffers are kept from line to line; all-zero is the empty record. */
struct text_record {
  struct buffer key;
  struct buffer value;
  struct buffer scratch; /* of the parser */
};

void text_record_clear(struct text_record *record);
void text_record_release(struct text_record *record);
/* An allocation failed while the record was read: what was parsed is not whole. */
bool text_record_failed(const struct text_record *record);

struct text_format {
  const char *name;
  /* Appends one record with its newline. */
  void (*append)(struct buffer *out, struct wodan_slice key, struct wodan_slice value);
  /* Reads one line (without its newline) into a cleared record. false with *fault set when it is malformed; an empty
   * key is malformed. On true, ask text_record_failed. */
  bool (*parse)(struct wodan_slice line, struct text_record *record, struct text_fault *fault);
};

/* NULL when there is no such format. */
const struct text_format *text_format_find(const char *name);

#endif

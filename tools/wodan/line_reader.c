/* What: cuts a byte stream into lines with bounded memory.
 *
 * Always true: begin <= end <= capacity <= 2 * (limit + 64 KiB); no byte is scanned for a newline twice, but for the
 * ones moved to the front with an incomplete line; a line that arrived whole on a pipe is given without waiting for
 * the next one.
 *
 * Order: none that matters; one thread owns a reader.
 *
 * See: tests/unit/test_text_formats.c. */
#include "line_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

void line_reader_init(struct line_reader *reader, int fd, size_t limit) {
  *reader = (struct line_reader){.fd = fd, .limit = limit};
}

void line_reader_release(struct line_reader *reader) {
  free(reader->data);
  *reader = (struct line_reader){.fd = -1};
}

/* Reads at least one more byte behind end, or sets at_end. false: errno. */
static bool fill(struct line_reader *reader) {
  if (reader->begin > 0) {
    memmove(reader->data, reader->data + reader->begin, reader->end - reader->begin);
    reader->end -= reader->begin;
    reader->begin = 0;
  }
  if (reader->capacity - reader->end < CHUNK) {
    size_t capacity = (reader->end + CHUNK) * 2;
    unsigned char *data = realloc(reader->data, capacity);
    if (data == NULL) return false;
    reader->data = data;
    reader->capacity = capacity;
  }
  ssize_t got;
  do {
    got = read(reader->fd, reader->data + reader->end, CHUNK);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return false;
  reader->end += (size_t)got;
  reader->at_end = got == 0;
  return true;
}

enum line_result line_reader_next(struct line_reader *reader, struct wodan_slice *line) {
  size_t scanned = 0; /* bytes behind begin known to hold no newline */
  for (;;) {
    size_t have = reader->end - reader->begin;
    unsigned char *start = have == 0 ? NULL : reader->data + reader->begin;
    unsigned char *newline = have == scanned ? NULL : memchr(start + scanned, '\n', have - scanned);
    size_t size = newline == NULL ? have : (size_t)(newline - start);
    if (size > reader->limit) {
      reader->line++;
      return LINE_TOO_LONG;
    }
    if (newline != NULL || (reader->at_end && size > 0)) {
      *line = (struct wodan_slice){.data = start, .size = size};
      reader->begin += newline != NULL ? size + 1 : size;
      reader->line++;
      return LINE_READ;
    }
    if (reader->at_end) return LINE_END;
    scanned = have;
    if (!fill(reader)) return LINE_FAILED;
  }
}

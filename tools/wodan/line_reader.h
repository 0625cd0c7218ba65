/* Lines of a file, pipe or terminal, each given as soon as it is whole. Any byte but newline may be in a line. */
#ifndef WODAN_CLI_LINE_READER_H
#define WODAN_CLI_LINE_READER_H

#include <stdbool.h>
#include <stdint.h>
#include <wodan/types.h>

struct line_reader {
  int fd;        /* the caller's */
  size_t limit;  /* longest line taken, bytes */
  uint64_t line; /* number of the line last given, from 1 */
  unsigned char *data;
  size_t begin, end; /* bytes read and not given yet */
  size_t capacity;
  bool at_end; /* read() said so */
};

enum line_result {
  LINE_READ,     /* *line holds it, without its newline, until the next call */
  LINE_END,      /* no more lines; a last line without newline was given as a line */
  LINE_TOO_LONG, /* line number reader->line is longer than limit; reading on is not possible */
  LINE_FAILED,   /* read or allocation failed: errno */
};

/* Starts at the descriptor's place. Release frees the memory and leaves fd open. */
void line_reader_init(struct line_reader *reader, int fd, size_t limit);
void line_reader_release(struct line_reader *reader);
enum line_result line_reader_next(struct line_reader *reader, struct wodan_slice *line);

#endif

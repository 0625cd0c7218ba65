/* A growing byte buffer. A failed allocation sets `failed` and later appends do nothing: check once, at the end. */
#ifndef WODAN_CLI_BUFFER_H
#define WODAN_CLI_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <wodan/types.h>

struct buffer {
  unsigned char *data;
  size_t size;     /* bytes in use */
  size_t capacity; /* bytes held */
  bool failed;     /* an allocation failed since the last clear */
};

/* Frees the memory; the buffer is then empty and usable. Safe on an all-zero buffer. */
void buffer_release(struct buffer *buffer);
/* Empties it and keeps the memory. */
void buffer_clear(struct buffer *buffer);
void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_append_byte(struct buffer *buffer, unsigned char byte);
void buffer_append_text(struct buffer *buffer, const char *text);
/* Room for `size` more bytes behind the end; false (and failed) when there is no memory. */
bool buffer_reserve(struct buffer *buffer, size_t size);

static inline struct wodan_slice buffer_slice(const struct buffer *buffer) {
  return (struct wodan_slice){.data = buffer->data, .size = buffer->size};
}

#endif

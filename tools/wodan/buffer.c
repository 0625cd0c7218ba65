/* What: the growing byte buffer under keys, values and output lines of the command.
 *
 * Always true: size <= capacity; data is NULL only while capacity is 0; after a failed allocation the content is
 * what it was before it, and nothing is appended until a clear.
 *
 * Order: none that matters; one thread owns a buffer.
 *
 * See: tests/unit/test_text_formats.c. */
#include "buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void buffer_release(struct buffer *buffer) {
  free(buffer->data);
  *buffer = (struct buffer){0};
}

void buffer_clear(struct buffer *buffer) {
  buffer->size = 0;
  buffer->failed = false;
}

bool buffer_reserve(struct buffer *buffer, size_t size) {
  if (buffer->failed) return false;
  if (size <= buffer->capacity - buffer->size) return true;
  if (size > SIZE_MAX / 4 - buffer->size) {
    buffer->failed = true;
    return false;
  }
  size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
  while (capacity < buffer->size + size) capacity *= 2;
  unsigned char *data = realloc(buffer->data, capacity);
  if (data == NULL) {
    buffer->failed = true;
    return false;
  }
  buffer->data = data;
  buffer->capacity = capacity;
  return true;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size) {
  if (size == 0 || !buffer_reserve(buffer, size)) return;
  memcpy(buffer->data + buffer->size, data, size);
  buffer->size += size;
}

void buffer_append_byte(struct buffer *buffer, unsigned char byte) {
  if (!buffer_reserve(buffer, 1)) return;
  buffer->data[buffer->size++] = byte;
}

void buffer_append_text(struct buffer *buffer, const char *text) { buffer_append(buffer, text, strlen(text)); }

/* Bounded little-endian reader and writer. Bytes from a device are read only through here (or a validated view made
 * with it); a struct is never cast onto bytes. Both keep a sticky `failed` flag: encode or decode a whole structure,
 * then check once. Varints are LEB128, shortest form only (so decode and encode give back the same bytes). */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t load_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t load_u32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t load_u64(const uint8_t *p) { return load_u32(p) | (uint64_t)load_u32(p + 4) << 32; }
static inline void store_u16(uint8_t *p, uint16_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}
static inline void store_u32(uint8_t *p, uint32_t v) {
  store_u16(p, (uint16_t)v);
  store_u16(p + 2, (uint16_t)(v >> 16));
}
static inline void store_u64(uint8_t *p, uint64_t v) {
  store_u32(p, (uint32_t)v);
  store_u32(p + 4, (uint32_t)(v >> 32));
}

struct wire_reader {
  const uint8_t *data;
  size_t size, at;
  bool failed; /* ran out, or a varint was not in shortest form */
};

static inline struct wire_reader wire_reader(const void *data, size_t size) {
  return (struct wire_reader){.data = data, .size = size, .at = 0, .failed = false};
}

/* The next `size` bytes in place, or NULL. */
static inline const uint8_t *wire_get_bytes(struct wire_reader *r, uint64_t size) {
  if (r->failed || size > r->size - r->at) { /* guard: bounds */
    r->failed = true;
    return NULL;
  }
  const uint8_t *p = r->data + r->at;
  r->at += (size_t)size;
  return p;
}
static inline uint8_t wire_get_u8(struct wire_reader *r) {
  const uint8_t *p = wire_get_bytes(r, 1);
  return p ? *p : 0;
}
static inline uint16_t wire_get_u16(struct wire_reader *r) {
  const uint8_t *p = wire_get_bytes(r, 2);
  return p ? load_u16(p) : 0;
}
static inline uint32_t wire_get_u32(struct wire_reader *r) {
  const uint8_t *p = wire_get_bytes(r, 4);
  return p ? load_u32(p) : 0;
}
static inline uint64_t wire_get_u64(struct wire_reader *r) {
  const uint8_t *p = wire_get_bytes(r, 8);
  return p ? load_u64(p) : 0;
}
static inline uint64_t wire_get_varint(struct wire_reader *r) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const uint8_t *p = wire_get_bytes(r, 1);
    if (!p) return 0;
    if (shift == 63 && *p > 1) break; /* guard: bounds */
    value |= (uint64_t)(*p & 0x7f) << shift;
    if (*p < 0x80) {
      if (*p == 0 && shift) break; /* guard: bounds */
      return value;
    }
  }
  r->failed = true; /* no guard: what breaks out of the loop */
  return 0;
}

struct wire_writer {
  uint8_t *data;
  size_t size, at;
  bool failed; /* did not fit; `at` stays where it was */
};

static inline struct wire_writer wire_writer(void *data, size_t size) {
  return (struct wire_writer){.data = data, .size = size, .at = 0, .failed = false};
}

/* Room for `size` bytes to be filled by the caller, or NULL. */
static inline uint8_t *wire_put_room(struct wire_writer *w, size_t size) {
  if (w->failed || size > w->size - w->at) { /* no guard: ours to write */
    w->failed = true;
    return NULL;
  }
  uint8_t *p = w->data + w->at;
  w->at += size;
  return p;
}
static inline void wire_put_bytes(struct wire_writer *w, const void *bytes, size_t size) {
  uint8_t *p = wire_put_room(w, size);
  if (p && size) memcpy(p, bytes, size);
}
static inline void wire_put_u8(struct wire_writer *w, uint8_t v) { wire_put_bytes(w, &v, 1); }
static inline void wire_put_u16(struct wire_writer *w, uint16_t v) {
  uint8_t *p = wire_put_room(w, 2);
  if (p) store_u16(p, v);
}
static inline void wire_put_u32(struct wire_writer *w, uint32_t v) {
  uint8_t *p = wire_put_room(w, 4);
  if (p) store_u32(p, v);
}
static inline void wire_put_u64(struct wire_writer *w, uint64_t v) {
  uint8_t *p = wire_put_room(w, 8);
  if (p) store_u64(p, v);
}
static inline size_t wire_varint_size(uint64_t v) {
  size_t n = 1;
  while (v >= 0x80) v >>= 7, n++;
  return n;
}
static inline void wire_put_varint(struct wire_writer *w, uint64_t v) {
  uint8_t *p = wire_put_room(w, wire_varint_size(v));
  if (!p) return;
  for (; v >= 0x80; v >>= 7) *p++ = (uint8_t)(v | 0x80);
  *p = (uint8_t)v;
}

#endif

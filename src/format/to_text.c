/* Owns: superblock, journal block and checkpoint record as text, and how a field leaves.
 *
 * Always true: bytes are read through a bounded reader; a field that is not there ends its structure with the problem
 * "the bytes end here"; texts are cut to fixed buffers.
 *
 * Order: fields as they lie in the bytes, as in the tables on top of the headers.
 *
 * See: to_text.h; tests/unit/test_to_text.c. */
#include "format/to_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/wire.h"
#include "codec/checksum.h"
#include "format/journal_block.h"
#include "format/record.h"
#include "format/to_text_private.h"

void text_put(struct text_sink *sink, size_t offset, size_t size, const char *problem, const char *name,
              const char *format, ...) {
  char text[TEXT_MAX];
  if (sink->status) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (problem && sink->problems++ == 0) snprintf(sink->problem, sizeof sink->problem, "%s: %s", name, problem);
  const struct text_field field = {
      .offset = offset, .size = size, .depth = sink->depth, .name = name, .text = text, .problem = problem};
  sink->status = sink->field(sink->context, &field);
}

const char *text_bytes(char *out, size_t room, const void *bytes, size_t size) {
  const uint8_t *at = bytes;
  size_t used = 0;
  out[used++] = '"';
  for (size_t i = 0; i < size; i++) {
    if (used + 10 > room) {
      used += (size_t)snprintf(out + used, room - used, "...");
      break;
    }
    if (at[i] >= 0x20 && at[i] < 0x7f && at[i] != '"' && at[i] != '\\')
      out[used++] = (char)at[i];
    else
      used += (size_t)snprintf(out + used, room - used, "\\x%02x", at[i]);
  }
  snprintf(out + used, room - used, "\"");
  return out;
}

bool text_ended(struct text_sink *sink, const struct wire_reader *r, const char *name) {
  if (!r->failed) return sink->status != 0; /* guard: bounds, passes */
  text_put(sink, r->at, 0, "the bytes end here, or a number is malformed", name, "-");
  return true;
}

uint64_t text_u64(struct text_sink *sink, struct wire_reader *r, const char *name, const char *unit) {
  size_t from = r->at;
  uint64_t value = wire_get_u64(r);
  if (!r->failed) text_put(sink, from, 8, NULL, name, "%" PRIu64 "%s", value, unit);
  return value;
}

uint32_t text_u32(struct text_sink *sink, struct wire_reader *r, const char *name, const char *unit) {
  size_t from = r->at;
  uint32_t value = wire_get_u32(r);
  if (!r->failed) text_put(sink, from, 4, NULL, name, "%" PRIu32 "%s", value, unit);
  return value;
}

uint64_t text_hash(struct text_sink *sink, struct wire_reader *r, const char *name) {
  size_t from = r->at;
  uint64_t value = wire_get_u64(r);
  if (!r->failed) text_put(sink, from, 8, NULL, name, "0x%016" PRIx64, value);
  return value;
}

void text_checksum(struct text_sink *sink, size_t offset, uint64_t stored, uint64_t right) {
  text_put(sink, offset, 8, stored == right ? NULL : "does not match the bytes", "checksum",
           stored == right ? "0x%016" PRIx64 ", right" : "0x%016" PRIx64 ", wrong: should be 0x%016" PRIx64, stored,
           right);
}

void text_fsid(struct text_sink *sink, struct wire_reader *r, const uint8_t *expected) {
  char text[33] = "";
  size_t from = r->at;
  const uint8_t *fsid = wire_get_bytes(r, 16);
  for (size_t i = 0; fsid && i < 16; i++) snprintf(text + 2 * i, 3, "%02x", fsid[i]);
  bool foreign = fsid && expected && memcmp(fsid, expected, 16) != 0;
  if (fsid) text_put(sink, from, 16, foreign ? "of another volume" : NULL, "fsid", "%s", text);
}

void text_zeros(struct text_sink *sink, const uint8_t *bytes, size_t offset, size_t size) {
  size_t i = 0;
  while (i < size && bytes[offset + i] == 0) i++;
  if (size) text_put(sink, offset, size, i < size ? "not zero" : NULL, "zeros", "%zu bytes", size);
}

/* ---- superblock ------------------------------------------------------------------------------------------------- */

void superblock_to_text(struct text_sink *sink, const uint8_t bytes[SUPERBLOCK_SIZE]) {
  static const char MAGIC[16] = "Wodan-C volume\n";
  struct wire_reader r = wire_reader(bytes, SUPERBLOCK_SIZE);
  struct superblock ignored;
  struct wodan_error why = {0};
  char text[80];
  wire_get_bytes(&r, 16);
  text_put(sink, 0, 16, memcmp(bytes, MAGIC, 16) ? "not a superblock's" : NULL, "magic", "%s",
           text_bytes(text, sizeof text, bytes, 16));
  text_u32(sink, &r, "version", "");
  text_u32(sink, &r, "block size", " bytes");
  text_hash(sink, &r, "compat flags");
  text_hash(sink, &r, "read-only flags");
  text_hash(sink, &r, "incompat flags");
  text_fsid(sink, &r, NULL);
  text_u32(sink, &r, "sector", " bytes");
  text_u32(sink, &r, "journal block size", " bytes");
  text_u64(sink, &r, "device blocks", " at format");
  text_u64(sink, &r, "journal blocks", " allocation blocks of the ring");
  text_u64(sink, &r, "memtable size", " bytes of records");
  text_u32(sink, &r, "page size", " bytes");
  text_u32(sink, &r, "leaf size", " bytes");
  text_u32(sink, &r, "step size", " bytes");
  text_u32(sink, &r, "node leaves", " before a bottom node splits");
  text_u32(sink, &r, "node children", " before an inner node splits");
  text_u32(sink, &r, "compression", " of leaves: 0 off, 1 fast, 2 high");
  text_zeros(sink, bytes, r.at, SUPERBLOCK_SIZE - 8 - r.at);
  text_checksum(sink, SUPERBLOCK_SIZE - 8, load_u64(bytes + SUPERBLOCK_SIZE - 8),
                checksum(0, bytes, SUPERBLOCK_SIZE - 8));
  if (sink->problems == 0 && superblock_decode(bytes, &ignored, &why) < 0)
    text_put(sink, 0, 0, why.message, "fields", "they do not fit together");
}

/* ---- checkpoint record ------------------------------------------------------------------------------------------ */

void checkpoint_record_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size, size_t offset,
                               const struct text_volume *volume) {
  struct wire_reader r = wire_reader(bytes, offset + size);
  struct text_volume now = *volume;
  r.at = offset;
  text_u64(sink, &r, "generation", "");
  text_u64(sink, &r, "sequence", ": last operation in the tree");
  text_u64(sink, &r, "tail", ": journal block where replay starts");
  text_u64(sink, &r, "previous", ": journal block of the checkpoint before");
  text_hash(sink, &r, "previous hash");
  uint64_t blocks = text_u64(sink, &r, "device blocks", " of the volume now");
  text_hash(sink, &r, "compat flags");
  text_hash(sink, &r, "read-only flags");
  text_hash(sink, &r, "incompat flags");
  if (text_ended(sink, &r, "checkpoint record")) return;
  if (blocks > now.bounds.data_first + 1 && blocks - 1 < now.bounds.data_end) now.bounds.data_end = blocks - 1;
  text_pointer(sink, &r, "root", &now.bounds);
  text_pointer(sink, &r, "catalog", &now.bounds);
  if (!text_ended(sink, &r, "checkpoint record") && r.at != r.size)
    text_put(sink, r.at, r.size - r.at, "behind the record's end", "rest", "%zu bytes", r.size - r.at);
}

/* ---- journal block ---------------------------------------------------------------------------------------------- */

/* What a block says of its payload. */
struct payload {
  uint32_t length;
  uint8_t kind;
  uint32_t fragment, fragments;
};

/* One operation behind its number: the key, and its value, or where a range ends. */
static void operation_to_text(struct text_sink *sink, size_t from, size_t size, uint64_t sequence,
                              const struct journal_operation *operation, const struct text_volume *volume) {
  static const char *const NAMES[] = {[RECORD_PUT] = "put",
                                      [RECORD_DELETE] = "delete",
                                      [RECORD_BLOB] = "large",
                                      [RECORD_DELETE_RANGE] = "delete range"};
  char key[TEXT_KEY_MAX], value[TEXT_MAX];
  const char *problem = NULL, *between = " = ", *second = value;
  struct wodan_slice v = operation->value;
  switch (operation->kind) {
  case RECORD_DELETE:
    between = second = "";
    break;
  case RECORD_BLOB:
    text_reference(value, v, &volume->bounds, &problem);
    break;
  case RECORD_DELETE_RANGE:
    between = " up to ";
    second = v.size == TABLE_ID_SIZE ? "the end" : text_tree_key(value, TEXT_KEY_MAX, v);
    break;
  default:
    text_bytes(value, TEXT_KEY_MAX, v.data, v.size);
  }
  text_put(sink, from, size, problem, NAMES[operation->kind], "%" PRIu64 " %s%s%s", sequence,
           text_tree_key(key, sizeof key, operation->key), between, second);
}

static void operations_to_text(struct text_sink *sink, const uint8_t *bytes, const struct payload *payload,
                               const struct text_volume *volume) {
  struct wire_reader r = wire_reader(bytes, JOURNAL_HEADER_SIZE + payload->length);
  r.at = JOURNAL_HEADER_SIZE;
  uint64_t first = text_u64(sink, &r, "first", ": first operation of the record");
  uint64_t last = text_u64(sink, &r, "last", ": last operation of the record");
  if (text_ended(sink, &r, "operations")) return;
  sink->depth++;
  for (uint64_t sequence = first; sequence <= last && sequence >= first && r.at < r.size && !sink->status; sequence++) {
    struct journal_operation operation;
    size_t from = r.at;
    if (!journal_operation_decode(&r, &operation)) {
      text_put(sink, from, 0, payload->fragments == 1 ? "malformed" : NULL, "operation",
               "goes on in the next fragment");
      break;
    }
    operation_to_text(sink, from, r.at - from, sequence, &operation, volume);
  }
  sink->depth--;
}

static void payload_to_text(struct text_sink *sink, const uint8_t *bytes, const struct payload *payload,
                            const struct text_volume *volume) {
  uint32_t length = payload->length, fragments = payload->fragments;
  uint8_t kind = payload->kind;
  if (kind == JOURNAL_CHECKPOINT) {
    text_put(sink, JOURNAL_HEADER_SIZE, 0, NULL, "checkpoint record", "%s", "");
    sink->depth++;
    checkpoint_record_to_text(sink, bytes, length, JOURNAL_HEADER_SIZE, volume);
    sink->depth--;
  } else if (kind == JOURNAL_RECORD && payload->fragment == 0) {
    text_put(sink, JOURNAL_HEADER_SIZE, 0, NULL, "record", fragments == 1 ? "%s" : "its first fragment%s", "");
    sink->depth++;
    operations_to_text(sink, bytes, payload, volume);
    sink->depth--;
  } else if (length) {
    text_put(sink, JOURNAL_HEADER_SIZE, length, NULL, "payload", "%" PRIu32 " bytes", length);
  }
}

void journal_block_to_text(struct text_sink *sink, const uint8_t *bytes, uint32_t size,
                           const struct text_volume *volume) {
  static const char *const KINDS[] = {"empty", "record", "checkpoint", "seal"};
  struct wire_reader r = wire_reader(bytes, size);
  char text[40];
  if (size < JOURNAL_HEADER_SIZE) return;
  text_checksum(sink, 0, wire_get_u64(&r), checksum(volume->seed, bytes + 8, size - 8));
  const uint8_t *magic = wire_get_bytes(&r, 4);
  text_put(sink, 8, 4, memcmp(magic, "WJNL", 4) ? "not a journal block's" : NULL, "magic", "%s",
           text_bytes(text, sizeof text, magic, 4));
  uint8_t kind = wire_get_u8(&r);
  bool known = kind <= JOURNAL_SEAL; /* guard: bounds */
  text_put(sink, 12, 1, known ? NULL : "not known", "kind", "%u %s", kind, known ? KINDS[kind] : "");
  uint8_t flags = wire_get_u8(&r);
  bool may = flags == 0 || (flags == JOURNAL_UNPROVEN && kind == JOURNAL_RECORD); /* guard: bounds */
  text_put(sink, 13, 1, may ? NULL : "not known", "flags", "%u%s", flags,
           flags & JOURNAL_UNPROVEN ? " unproven: no barrier between its large values and it" : "");
  wire_get_bytes(&r, 2);
  text_zeros(sink, bytes, 14, 2);
  text_fsid(sink, &r, volume->fsid);
  text_u64(sink, &r, "epoch", "");
  text_hash(sink, &r, "epoch random");
  text_u64(sink, &r, "sequence", "");
  text_hash(sink, &r, "previous");
  text_u64(sink, &r, "flushed through", "");
  text_u64(sink, &r, "checkpoint", ": block of the last durable one");
  text_hash(sink, &r, "checkpoint hash");
  uint32_t fragment = text_u32(sink, &r, "fragment", "");
  uint32_t fragments = wire_get_u32(&r);
  text_put(sink, 92, 4, fragment >= fragments ? "not above its fragment" : NULL, "fragments", "%" PRIu32, fragments);
  uint32_t length = wire_get_u32(&r);
  bool fits = length <= size - JOURNAL_HEADER_SIZE; /* guard: bounds */
  text_put(sink, 96, 4, fits ? NULL : "more than the block holds", "payload length", "%" PRIu32 " bytes", length);
  text_zeros(sink, bytes, 100, 4);
  const struct payload payload = {fits ? length : 0, kind, fragment, fragments};
  payload_to_text(sink, bytes, &payload, volume);
  if (fits) text_zeros(sink, bytes, JOURNAL_HEADER_SIZE + length, size - JOURNAL_HEADER_SIZE - length);
}

/* What: the command's text formats. The first byte chooses one; the rest is read as lines, and as a key and a value.
 *
 * Demanded: a line that is taken, written and read again gives the same record, and is one line; so do any key and value;
 * a fault names a column of the line; the line reader gives the lines that are there. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fuzz.h"
#include "line_reader.h"
#include "text_format.h"

const size_t fuzz_size_max = 1024;

static const struct text_format *format_of(uint8_t number) {
  static const char *const names[] = {"tsv", "base64", "jsonl"};
  return text_format_find(names[number % 3]);
}

static bool same(struct wodan_slice a, struct wodan_slice b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Written and read again. */
static void round_trip(const struct text_format *format, struct wodan_slice key, struct wodan_slice value) {
  static struct buffer line;
  static struct text_record record;
  struct text_fault fault = {0};
  buffer_clear(&line);
  format->append(&line, key, value);
  if (line.failed) return;
  FUZZ_CHECK(line.size > 0 && memchr(line.data, '\n', line.size) == line.data + line.size - 1);
  FUZZ_CHECK(utf8_valid(buffer_slice(&line)));
  text_record_clear(&record);
  if (!format->parse((struct wodan_slice){line.data, line.size - 1}, &record, &fault))
    FUZZ_FAIL("%s does not read what it wrote: column %zu: %s", format->name, fault.column, fault.message);
  FUZZ_CHECK(same(buffer_slice(&record.key), key) && same(buffer_slice(&record.value), value));
}

static void parse(const struct text_format *format, struct wodan_slice line) {
  static struct text_record record;
  struct text_fault fault = {0};
  text_record_clear(&record);
  if (!format->parse(line, &record, &fault)) {
    FUZZ_CHECK(fault.message && fault.column >= 1 && fault.column <= line.size + 1);
    return;
  }
  if (text_record_failed(&record)) return;
  FUZZ_CHECK(record.key.size > 0);
  round_trip(format, buffer_slice(&record.key), buffer_slice(&record.value));
}

static void parse_lines(const struct text_format *format, const uint8_t *data, size_t size) {
  for (size_t at = 0; at < size;) {
    const uint8_t *end = memchr(data + at, '\n', size - at);
    size_t length = end ? (size_t)(end - data) - at : size - at;
    parse(format, (struct wodan_slice){data + at, length});
    at += length + 1;
  }
}

static void parse_codes(const uint8_t *data, size_t size) {
  static struct buffer bytes, text;
  struct text_fault fault;
  buffer_clear(&bytes);
  buffer_clear(&text);
  if (base64_decode(&bytes, (struct wodan_slice){data, size}, &fault)) {
    base64_append(&text, buffer_slice(&bytes));
    FUZZ_CHECK(same(buffer_slice(&text), (struct wodan_slice){data, size}));
  }
  buffer_clear(&bytes);
  if (hex_decode(&bytes, (struct wodan_slice){data, size}, &fault)) FUZZ_CHECK(bytes.size == size / 2);
}

static void read_lines(const uint8_t *data, size_t size, size_t limit) {
  static int fd = -1;
  if (fd < 0) fd = memfd_create("lines", 0);
  if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size || lseek(fd, 0, SEEK_SET) < 0) return;
  struct line_reader reader;
  struct wodan_slice line;
  size_t at = 0;
  enum line_result result;
  line_reader_init(&reader, fd, limit);
  while ((result = line_reader_next(&reader, &line)) == LINE_READ) {
    FUZZ_CHECK(line.size <= limit && at + line.size <= size &&
               (line.size == 0 || !memcmp(line.data, data + at, line.size)));
    at += line.size + 1;
  }
  if (result == LINE_END) FUZZ_CHECK(at == size || at == size + 1);
  if (result == LINE_TOO_LONG) FUZZ_CHECK(size - at > limit);
  line_reader_release(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  const struct text_format *format = format_of(data[0]);
  size_t rest = size - 1, split;
  const uint8_t *text = data + 1;
  parse_lines(format, text, rest);
  parse_codes(text, rest);
  if (data[0] >= 240) read_lines(text, rest, 1 + (data[0] - 240) * 8);
  for (split = 0; split < rest && text[split]; split++) {
  }
  if (split) {
    size_t value = split < rest ? split + 1 : rest;
    round_trip(format, (struct wodan_slice){text, split}, (struct wodan_slice){text + value, rest - value});
  }
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  (void)seed; /* no checksum here */
  return LLVMFuzzerMutate(data, size, size_max);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) {
  static const struct {
    const char *key, *value;
  } records[] = {{"city", "Paris"}, {"tab\there", "back\\slash\r\n"}, {"\xff\x00\x01", "\xc3\xa9t\xc3\xa9"}, {"k", ""}};
  if (number >= 6) return 0;
  struct buffer text = {0};
  buffer_append_byte(&text, (unsigned char)(number < 3 ? number : number + 237));
  for (size_t i = 0; i < sizeof records / sizeof records[0]; i++)
    format_of((uint8_t)(number < 3 ? number : number + 237))
        ->append(&text, (struct wodan_slice){records[i].key, strlen(records[i].key)},
                 (struct wodan_slice){records[i].value, strlen(records[i].value)});
  size_t size = text.size <= size_max ? text.size : size_max;
  if (size) memcpy(out, text.data, size);
  buffer_release(&text);
  return size;
}

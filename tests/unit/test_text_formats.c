/* What: the record formats of dump and load, the encodings under them, the line reader, and the arithmetic of the
 * benchmark (all of tools/wodan that needs no database).
 *
 * Always true: every test says what text or bytes it failed on.
 *
 * Order: none that matters.
 *
 * See: tools/wodan/text_*.c, encoding.c, line_reader.c, bench_records.c, histogram.c, delays.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench_records.h"
#include "delays.h"
#include "json.h"
#include "histogram.h"
#include "line_reader.h"
#include "text_base64.h"
#include "text_format.h"
#include "text_jsonl.h"
#include "text_tsv.h"

static const char *const format_names[] = {"tsv", "base64", "jsonl"};
enum { FORMATS = 3 };

static struct wodan_slice text_slice(const char *text) {
  return (struct wodan_slice){.data = text, .size = strlen(text)};
}

/* splitmix64: the same bytes for the same seed on every machine. */
static uint64_t next_random(uint64_t *state) {
  uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

static void assert_same(const struct buffer *found, struct wodan_slice wanted, const char *what, uint64_t seed) {
  if (found->size != wanted.size || (wanted.size > 0 && memcmp(found->data, wanted.data, wanted.size) != 0)) {
    fail_msg("%s differs (%zu bytes, wanted %zu), seed %llu", what, found->size, wanted.size, (unsigned long long)seed);
  }
}

/* Writes the record, checks that it is one line, reads it back. */
static void assert_roundtrip(const struct text_format *format, struct wodan_slice key, struct wodan_slice value,
                             uint64_t seed) {
  struct buffer out = {0};
  struct text_record record = {0};
  struct text_fault fault = {0};
  format->append(&out, key, value);
  assert_false(out.failed);
  assert_true(out.size > 0 && out.data[out.size - 1] == '\n');
  assert_ptr_equal(memchr(out.data, '\n', out.size), out.data + out.size - 1);
  struct wodan_slice line = {.data = out.data, .size = out.size - 1};
  if (!format->parse(line, &record, &fault)) {
    fail_msg("%s refuses its own line: column %zu: %s, seed %llu", format->name, fault.column, fault.message,
             (unsigned long long)seed);
  }
  assert_false(text_record_failed(&record));
  assert_same(&record.key, key, format->name, seed);
  assert_same(&record.value, value, format->name, seed);
  text_record_release(&record);
  buffer_release(&out);
}

static void test_text__every_byte_value_survives(void **state) {
  (void)state;
  for (unsigned f = 0; f < FORMATS; f++) {
    const struct text_format *format = text_format_find(format_names[f]);
    assert_non_null(format);
    unsigned char all[256];
    for (unsigned i = 0; i < 256; i++) {
      all[i] = (unsigned char)i;
      struct wodan_slice one = {.data = &all[i], .size = 1};
      assert_roundtrip(format, one, one, i);
    }
    struct wodan_slice bytes = {.data = all, .size = sizeof all};
    assert_roundtrip(format, bytes, bytes, 0);
    assert_roundtrip(format, bytes, (struct wodan_slice){.data = NULL, .size = 0}, 0);
  }
}

static void test_text__every_pair_of_bytes_survives(void **state) {
  (void)state;
  for (unsigned f = 0; f < FORMATS; f++) {
    const struct text_format *format = text_format_find(format_names[f]);
    for (unsigned i = 0; i < 65536; i += 7) {
      unsigned char pair[2] = {(unsigned char)(i >> 8), (unsigned char)i};
      struct wodan_slice bytes = {.data = pair, .size = 2};
      assert_roundtrip(format, bytes, bytes, i);
    }
  }
}

static void test_text__random_records_survive(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 2000; seed++) {
    uint64_t random = seed;
    unsigned char bytes[64];
    for (size_t i = 0; i < sizeof bytes; i++) {
      uint64_t draw = next_random(&random);
      static const unsigned char special[] = "\\\t\n\r\"{}:,=x\xc3\xa9\xf0\x9f\x98\x80\xed\xa0\x80";
      bytes[i] = draw % 3 == 0 ? (unsigned char)(draw >> 32) : special[(draw >> 32) % (sizeof special - 1)];
    }
    size_t split = 1 + next_random(&random) % (sizeof bytes - 1);
    struct wodan_slice key = {.data = bytes, .size = split};
    struct wodan_slice value = {.data = bytes + split, .size = sizeof bytes - split};
    for (unsigned f = 0; f < FORMATS; f++) assert_roundtrip(text_format_find(format_names[f]), key, value, seed);
  }
}

static void test_text__unknown_format_is_not_found(void **state) {
  (void)state;
  assert_null(text_format_find("csv"));
  assert_null(text_format_find(""));
}

struct written {
  const char *key, *value;
  size_t key_size, value_size;
  const char *line;
};

static void assert_written(const char *format_name, const struct written *cases, size_t count) {
  const struct text_format *format = text_format_find(format_name);
  struct buffer out = {0};
  for (size_t i = 0; i < count; i++) {
    buffer_clear(&out);
    format->append(&out, (struct wodan_slice){.data = cases[i].key, .size = cases[i].key_size},
                   (struct wodan_slice){.data = cases[i].value, .size = cases[i].value_size});
    buffer_append_byte(&out, 0);
    assert_string_equal((const char *)out.data, cases[i].line);
  }
  buffer_release(&out);
}

#define BYTES(text) text, sizeof(text) - 1
#define WRITTEN(k, v, line)                                                                                            \
  { k, v, sizeof(k) - 1, sizeof(v) - 1, line }

static void test_tsv__is_written_with_the_agreed_escapes(void **state) {
  (void)state;
  static const struct written cases[] = {
      WRITTEN("a", "b", "a\tb\n"),
      WRITTEN("a", "", "a\t\n"),
      WRITTEN("t\tn\nr\rb\\", "\x01\x1f\x7f", "t\\tn\\nr\\rb\\\\\t\\x01\\x1f\\x7f\n"),
      WRITTEN("\0", "\0z", "\\x00\t\\x00z\n"),
      WRITTEN("gr\xc3\xbc\xc3\x9f", "\xff\xc3", "gr\xc3\xbc\xc3\x9f\t\\xff\\xc3\n"),
      WRITTEN("\xed\xa0\x80", "\xc0\x80", "\\xed\\xa0\\x80\t\\xc0\\x80\n"),
  };
  assert_written("tsv", cases, sizeof cases / sizeof cases[0]);
}

static void test_base64__is_written_as_wodanc_does(void **state) {
  (void)state;
  static const struct written cases[] = {
      WRITTEN("f", "", "Zg==\t\n"),
      WRITTEN("fo", "foo", "Zm8=\tZm9v\n"),
      WRITTEN("foob", "\xff\xfe\xfd", "Zm9vYg==\t//79\n"),
      WRITTEN("\0\0", "\xfb\xef", "AAA=\t++8=\n"),
  };
  assert_written("base64", cases, sizeof cases / sizeof cases[0]);
}

static void test_jsonl__is_written_as_one_object(void **state) {
  (void)state;
  static const struct written cases[] = {
      WRITTEN("a", "", "{\"key\":\"a\",\"value\":\"\"}\n"),
      WRITTEN("q\"b\\", "\n\t\r\0", "{\"key\":\"q\\\"b\\\\\",\"value\":\"\\n\\t\\u000d\\u0000\"}\n"),
      WRITTEN("\xff", "\xc3\xa9", "{\"key_base64\":\"/w==\",\"value\":\"\xc3\xa9\"}\n"),
      WRITTEN("k", "\xc3", "{\"key\":\"k\",\"value_base64\":\"ww==\"}\n"),
  };
  assert_written("jsonl", cases, sizeof cases / sizeof cases[0]);
}

struct malformed {
  const char *line;
  size_t size;
  size_t column;
  const char *says; /* part of the message */
};

static void assert_malformed(const char *format_name, const struct malformed *cases, size_t count) {
  const struct text_format *format = text_format_find(format_name);
  for (size_t i = 0; i < count; i++) {
    struct text_record record = {0};
    struct text_fault fault = {0};
    struct wodan_slice line = {.data = cases[i].line, .size = cases[i].size};
    if (format->parse(line, &record, &fault)) fail_msg("%s takes line %zu: %s", format_name, i, cases[i].line);
    if (fault.column != cases[i].column || strstr(fault.message, cases[i].says) == NULL) {
      fail_msg("%s, line %zu '%s': column %zu: %s; wanted column %zu: %s", format_name, i, cases[i].line, fault.column,
               fault.message, cases[i].column, cases[i].says);
    }
    text_record_release(&record);
  }
}

static void test_tsv__malformed_lines_name_the_column(void **state) {
  (void)state;
  static const struct malformed cases[] = {
      {BYTES(""), 1, "no tab"},
      {BYTES("key"), 4, "no tab"},
      {BYTES("\tvalue"), 1, "key is empty"},
      {BYTES("a\tb\tc"), 4, "second tab"},
      {BYTES("a\\"), 2, "lone backslash"},
      {BYTES("a\tb\\"), 4, "lone backslash"},
      {BYTES("a\\q\tb"), 2, "unknown escape"},
      {BYTES("a\tbb\\0"), 5, "unknown escape"},
      {BYTES("\\x4"), 1, "two hexadecimal"},
      {BYTES("\\x4\tb"), 1, "two hexadecimal"},
      {BYTES("a\t\\xg0"), 3, "two hexadecimal"},
      {BYTES("a\t\\x"), 3, "two hexadecimal"},
  };
  assert_malformed("tsv", cases, sizeof cases / sizeof cases[0]);
}

static void test_base64__malformed_lines_name_the_column(void **state) {
  (void)state;
  static const struct malformed cases[] = {
      {BYTES(""), 1, "no tab"},
      {BYTES("Zg=="), 5, "no tab"},
      {BYTES("\tZg=="), 1, "key is empty"},
      {BYTES("Zg=\tZg=="), 4, "multiple of 4"},
      {BYTES("Zg\tZg=="), 3, "multiple of 4"},
      {BYTES("Z\tZg=="), 2, "multiple of 4"},
      {BYTES("Z===\tZg=="), 2, "not a base64 digit"},
      {BYTES("====\tZg=="), 1, "not a base64 digit"},
      {BYTES("=\tZg=="), 2, "multiple of 4"},
      {BYTES("Zg==\tZg==Zg=="), 8, "not a base64 digit"},
      {BYTES("Zg==\tZ g="), 7, "not a base64 digit"},
      {BYTES("Zg==\tZ-8="), 7, "not a base64 digit"},
      {BYTES("Zh==\tZg=="), 2, "stand for nothing"},
      {BYTES("Zm9=\tZg=="), 3, "stand for nothing"},
      {BYTES("Zg==\tZm9vZm9="), 12, "stand for nothing"},
      {BYTES("Zg==\tZg==\tZg=="), 10, "second tab"},
      {BYTES("Zg==\t\"Zg="), 6, "not a base64 digit"},
  };
  assert_malformed("base64", cases, sizeof cases / sizeof cases[0]);
}

static void test_jsonl__malformed_lines_name_the_column(void **state) {
  (void)state;
  static const struct malformed cases[] = {
      {BYTES(""), 1, "object in braces"},
      {BYTES("[]"), 1, "object in braces"},
      {BYTES("{}"), 2, "no member key"},
      {BYTES("{\"key\":\"a\"}"), 11, "no member value"},
      {BYTES("{\"value\":\"a\"}"), 13, "no member key"},
      {BYTES("{\"key\":\"\",\"value\":\"\"}"), 8, "key is empty"},
      {BYTES("{\"key\":\"a\",\"key\":\"a\"}"), 12, "key is given twice"},
      {BYTES("{\"key\":\"a\",\"key_base64\":\"YQ==\"}"), 12, "key is given twice"},
      {BYTES("{\"value\":\"a\",\"value\":\"a\"}"), 14, "value is given twice"},
      {BYTES("{\"kay\":\"a\"}"), 2, "unknown member"},
      {BYTES("{key:1}"), 2, "member name"},
      {BYTES("{\"key\" \"a\"}"), 8, "colon"},
      {BYTES("{\"key\":1,\"value\":\"\"}"), 8, "string in double quotes"},
      {BYTES("{\"key\":{\"key\":\"a\"}}"), 8, "string in double quotes"},
      {BYTES("{\"key\":\"a\" \"value\":\"\"}"), 12, "comma"},
      {BYTES("{\"key\":\"a\",}"), 12, "member name"},
      {BYTES("{\"key\":\"a\",\"value\":\"\"} x"), 24, "follows the object"},
      {BYTES("{\"key\":\"a\",\"value\":\"\"}{"), 23, "follows the object"},
      {BYTES("{\"key\":\"a"), 10, "does not end"},
      {BYTES("{\"key\":\"a\\"), 11, "does not end"},
      {BYTES("{\"key\":\"a\\x\"}"), 10, "unknown escape"},
      {BYTES("{\"key\":\"\\u12g4\"}"), 9, "four hexadecimal"},
      {BYTES("{\"key\":\"\\u12"), 9, "four hexadecimal"},
      {BYTES("{\"key\":\"\\ud800\"}"), 9, "first half"},
      {BYTES("{\"key\":\"\\ud800\\u0041\"}"), 9, "first half"},
      {BYTES("{\"key\":\"\\udc00\"}"), 9, "second half"},
      {BYTES("{\"key\":\"\x01\"}"), 9, "control byte"},
      {BYTES("{\"key\":\"\xff\"}"), 9, "UTF-8"},
      {BYTES("{\"key_base64\":\"YQ=\"}"), 19, "multiple of 4"},
      {BYTES("{\"key_base64\":\"Y!==\"}"), 17, "not a base64 digit"},
  };
  assert_malformed("jsonl", cases, sizeof cases / sizeof cases[0]);
}

/* A line cut anywhere must be refused or, where a shorter line is a record too, never read beyond its end (the
 * sanitizers see that: each cut is in memory of its own size). */
static void test_text__truncation_at_each_byte_is_safe(void **state) {
  (void)state;
  static const char *const lines[] = {
      "k\\x00\\\\\\t\tv\\nw\\x7f",
      "a2V5\tdmFsdWU=",
      "{\"key_base64\":\"a2V5/w==\",\"value\":\"\\ud83d\\ude00\\u00e9\\n\"}",
  };
  for (unsigned f = 0; f < FORMATS; f++) {
    size_t whole = strlen(lines[f]);
    for (size_t size = 0; size <= whole; size++) {
      char *cut = malloc(size == 0 ? 1 : size);
      assert_non_null(cut);
      memcpy(cut, lines[f], size);
      struct text_record record = {0};
      struct text_fault fault = {0};
      bool fits =
          text_format_find(format_names[f])->parse((struct wodan_slice){.data = cut, .size = size}, &record, &fault);
      if (!fits && (fault.message == NULL || fault.column == 0 || fault.column > size + 1)) {
        fail_msg("%s cut at %zu: column %zu", format_names[f], size, fault.column);
      }
      if (size == whole && !fits) fail_msg("%s whole: %s", format_names[f], fault.message);
      if (size < whole && f == 2 && fits) fail_msg("jsonl cut at %zu is taken", size);
      text_record_release(&record);
      free(cut);
    }
  }
}

static void assert_parsed(const char *format_name, const char *line, struct wodan_slice key, struct wodan_slice value) {
  struct text_record record = {0};
  struct text_fault fault = {0};
  if (!text_format_find(format_name)->parse(text_slice(line), &record, &fault)) {
    fail_msg("%s refuses '%s': column %zu: %s", format_name, line, fault.column, fault.message);
  }
  assert_same(&record.key, key, line, 0);
  assert_same(&record.value, value, line, 0);
  text_record_release(&record);
}

static void test_tsv__raw_bytes_are_taken_as_they_are(void **state) {
  (void)state;
  assert_parsed("tsv", "\x01\xff\r\t\x7f\xc3\r", (struct wodan_slice){BYTES("\x01\xff\r")},
                (struct wodan_slice){BYTES("\x7f\xc3\r")});
  assert_parsed("tsv", "\\x41\\xfF\t\\x0a", (struct wodan_slice){BYTES("A\xff")}, (struct wodan_slice){BYTES("\n")});
}

static void test_base64__csv_quotes_and_carriage_return_are_taken(void **state) {
  (void)state;
  assert_parsed("base64", "\"Zm9v\"\t\"\"\r", text_slice("foo"), text_slice(""));
}

static void test_jsonl__escapes_and_spaces_are_taken(void **state) {
  (void)state;
  assert_parsed("jsonl", " { \"value\" : \"\\/\\b\\f\\r\\u0041\\uD83D\\uDE00\" ,\t\"key_base64\":\"/w==\" } ",
                text_slice("\xff"), text_slice("/\b\f\rA\xf0\x9f\x98\x80"));
  assert_parsed("jsonl", "{\"\\u006bey\":\"k\",\"value\":\"\\u07ff\\uffff\"}", text_slice("k"),
                text_slice("\xdf\xbf\xef\xbf\xbf"));
}

static void test_hex__faults_name_the_column(void **state) {
  (void)state;
  struct buffer out = {0};
  struct text_fault fault = {0};
  assert_true(hex_decode(&out, text_slice("00fFaB"), &fault));
  assert_same(&out, (struct wodan_slice){BYTES("\x00\xff\xab")}, "hex", 0);
  assert_false(hex_decode(&out, text_slice("0g"), &fault));
  assert_int_equal(fault.column, 2);
  assert_false(hex_decode(&out, text_slice("123"), &fault));
  assert_int_equal(fault.column, 4);
  buffer_release(&out);
}

static void test_utf8__borders_are_exact(void **state) {
  (void)state;
  static const char *const good[] = {"\x7f",         "\xc2\x80",         "\xdf\xbf",
                                     "\xe0\xa0\x80", "\xed\x9f\xbf",     "\xee\x80\x80",
                                     "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
  static const char *const bad[] = {"\x80",
                                    "\xc1\xbf",
                                    "\xc2",
                                    "\xc2\x7f",
                                    "\xe0\x9f\xbf",
                                    "\xed\xa0\x80",
                                    "\xef\xbf",
                                    "\xf0\x8f\xbf\xbf",
                                    "\xf4\x90\x80\x80",
                                    "\xf5\x80\x80\x80",
                                    "\xff"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) assert_true(utf8_valid(text_slice(good[i])));
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    if (utf8_valid(text_slice(bad[i]))) fail_msg("malformed sequence %zu is taken", i);
  }
}

/* A pipe that holds the text and has ended. */
static int pipe_with(const char *text, size_t size) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(write(ends[1], text, size), (ssize_t)size);
  close(ends[1]);
  return ends[0];
}

static void test_line_reader__counts_lines_and_gives_a_last_one_without_newline(void **state) {
  (void)state;
  static const char text[] = "one\n\ntwo\0x\nlast";
  static const struct wodan_slice wanted[] = {{BYTES("one")}, {BYTES("")}, {BYTES("two\0x")}, {BYTES("last")}};
  int fd = pipe_with(text, sizeof text - 1);
  struct line_reader reader;
  struct wodan_slice line;
  line_reader_init(&reader, fd, 100);
  for (uint64_t i = 0; i < 4; i++) {
    assert_int_equal(line_reader_next(&reader, &line), LINE_READ);
    assert_int_equal(reader.line, i + 1);
    assert_int_equal(line.size, wanted[i].size);
    assert_memory_equal(line.data, wanted[i].data, line.size);
  }
  assert_int_equal(line_reader_next(&reader, &line), LINE_END);
  assert_int_equal(line_reader_next(&reader, &line), LINE_END);
  line_reader_release(&reader);
  close(fd);
}

static void test_line_reader__gives_a_line_before_the_next_one_arrives(void **state) {
  (void)state;
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  struct line_reader reader;
  struct wodan_slice line;
  line_reader_init(&reader, ends[0], 100);
  for (int i = 0; i < 3; i++) { /* the write end stays open: a reader that waits for more would hang here */
    assert_int_equal(write(ends[1], "abc\n", 4), 4);
    assert_int_equal(line_reader_next(&reader, &line), LINE_READ);
    assert_int_equal(line.size, 3);
  }
  line_reader_release(&reader);
  close(ends[0]);
  close(ends[1]);
}

static void test_line_reader__too_long_a_line_is_named(void **state) {
  (void)state;
  int fd = pipe_with("1234\n12345\n", 11);
  struct line_reader reader;
  struct wodan_slice line;
  line_reader_init(&reader, fd, 4);
  assert_int_equal(line_reader_next(&reader, &line), LINE_READ);
  assert_int_equal(line_reader_next(&reader, &line), LINE_TOO_LONG);
  assert_int_equal(reader.line, 2);
  line_reader_release(&reader);
  close(fd);
}

static void test_line_reader__lines_longer_than_its_chunks_are_whole(void **state) {
  (void)state;
  FILE *file = tmpfile();
  assert_non_null(file);
  static const size_t sizes[] = {0, 65535, 65536, 65537, 300000, 1, 131072};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    for (size_t k = 0; k < sizes[i]; k++) fputc('a' + (int)(i + k) % 26, file);
    fputc('\n', file);
  }
  assert_int_equal(fflush(file), 0);
  rewind(file);
  struct line_reader reader;
  struct wodan_slice line;
  line_reader_init(&reader, fileno(file), 300000);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    assert_int_equal(line_reader_next(&reader, &line), LINE_READ);
    assert_int_equal(line.size, sizes[i]);
    const unsigned char *at = line.data;
    for (size_t k = 0; k < line.size; k++) assert_true(at[k] == 'a' + (int)(i + k) % 26);
  }
  assert_int_equal(line_reader_next(&reader, &line), LINE_END);
  line_reader_release(&reader);
  fclose(file);
}

static void test_bench_records__keys_ascend_and_absent_keys_lie_between(void **state) {
  (void)state;
  static const uint64_t counts[] = {1, 2, 3, 1000, UINT64_C(1) << 40};
  for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
    struct bench_records records;
    bench_records_init(&records, counts[c], 16, 100, 7);
    uint64_t last = counts[c] < 2000 ? counts[c] : 2000;
    unsigned char before[16], key[16];
    for (uint64_t i = counts[c] - last; i < counts[c]; i++) {
      bench_records_key(&records, i, false, key);
      if (i > counts[c] - last) assert_true(memcmp(before, key, sizeof key) < 0);
      bench_records_key(&records, i, true, before);
      assert_true(memcmp(key, before, sizeof key) < 0);
    }
  }
}

static void test_bench_records__shuffle_is_a_permutation(void **state) {
  (void)state;
  static const uint64_t counts[] = {1, 2, 3, 4, 5, 16, 17, 1000, 4096, 4097};
  for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
    struct bench_records records;
    bench_records_init(&records, counts[c], 8, 0, c);
    unsigned char *seen = calloc(counts[c], 1);
    assert_non_null(seen);
    uint64_t in_place = 0;
    for (uint64_t i = 0; i < counts[c]; i++) {
      uint64_t index = bench_records_shuffle(&records, i);
      assert_true(index < counts[c] && !seen[index]);
      seen[index] = 1;
      in_place += index == i;
    }
    if (counts[c] >= 1000) assert_true(in_place < counts[c] / 10);
    free(seen);
  }
}

static void test_bench_records__values_depend_on_seed_and_repeat_their_half(void **state) {
  (void)state;
  struct bench_records one, two;
  bench_records_init(&one, 10, 8, 101, 1);
  bench_records_init(&two, 10, 8, 101, 2);
  unsigned char a[101], b[101];
  bench_records_value(&one, 3, a);
  bench_records_value(&two, 3, b);
  assert_memory_not_equal(a, b, sizeof a);
  bench_records_value(&one, 3, b);
  assert_memory_equal(a, b, sizeof a);
  bench_records_value(&one, 4, b);
  assert_memory_not_equal(a, b, sizeof a);
  assert_memory_equal(a, a + 51, 50);
}

static void test_histogram__quantiles_are_within_two_percent(void **state) {
  (void)state;
  for (unsigned shift = 0; shift < 44; shift += 4) {
    struct histogram *histogram = calloc(1, sizeof *histogram);
    assert_non_null(histogram);
    for (uint64_t i = 1; i <= 10000; i++) histogram_add(histogram, i << shift);
    static const unsigned quantiles[] = {1, 500, 990, 1000};
    for (size_t q = 0; q < 4; q++) {
      double exact = (double)quantiles[q] * 10 * (double)(UINT64_C(1) << shift);
      double found = (double)histogram_quantile(histogram, quantiles[q]);
      if (found < exact * 0.98 || found > exact * 1.02) fail_msg("shift %u: %.0f, wanted %.0f", shift, found, exact);
    }
    double tail = (double)histogram_quantile_ppm(histogram, 999900), true_tail = (double)(UINT64_C(9999) << shift);
    assert_true(tail > true_tail * 0.98 && tail < true_tail * 1.02);
    assert_true(histogram->largest == UINT64_C(10000) << shift);
    free(histogram);
  }
}

static void test_histogram__takes_the_extremes(void **state) {
  (void)state;
  struct histogram *histogram = calloc(2, sizeof *histogram);
  assert_non_null(histogram);
  assert_int_equal(histogram_quantile(&histogram[0], 500), 0);
  histogram_add(&histogram[0], 0);
  histogram_add(&histogram[1], UINT64_MAX);
  histogram_merge(&histogram[0], &histogram[1]);
  assert_int_equal(histogram_quantile(&histogram[0], 500), 0);
  assert_true(histogram_quantile(&histogram[0], 1000) > UINT64_MAX / 100 * 98);
  free(histogram);
}

/* What delays_print writes; freed by the caller. */
static char *printed_delays(const struct wodan_stats *stats) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  assert_non_null(out);
  delays_print(out, stats);
  assert_int_equal(fclose(out), 0);
  return text;
}

static void assert_delays_json(const struct wodan_stats *stats, const char *wanted) {
  struct json json = {0};
  delays_add(&json, NULL, stats);
  buffer_append_byte(&json.text, 0);
  assert_false(json.text.failed);
  assert_string_equal((const char *)json.text.data, wanted);
  json_release(&json);
}

static void test_delays__units_read_well(void **state) {
  (void)state;
  static const struct {
    uint64_t nanoseconds;
    const char *text;
  } table[] = {{0, "0 ns"},
               {999, "999 ns"},
               {1024, "1.02 us"},
               {999499, "999 us"},
               {999501, "1 ms"},
               {1 << 20, "1.05 ms"},
               {UINT64_C(1) << 40, "1.1e+03 s"},
               {50000000, "50 ms"}};
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    char text[24];
    delays_text(text, table[i].nanoseconds);
    assert_string_equal(text, table[i].text);
  }
}

static void test_delays__nothing_counted_prints_nothing(void **state) {
  (void)state;
  struct wodan_stats stats = {.size = sizeof stats};
  char *text = printed_delays(&stats);
  assert_string_equal(text, "");
  free(text);
  assert_delays_json(&stats, "[]");
}

static void test_delays__every_commit_is_named_once(void **state) {
  (void)state;
  struct wodan_stats stats = {.size = sizeof stats};
  stats.put_delays[0] = 985;
  stats.put_delays[10] = 10;
  stats.put_delays[WODAN_DELAY_BUCKETS - 2] = 4;
  stats.put_delays[WODAN_DELAY_BUCKETS - 1] = 1;
  assert_int_equal(delays_commits(&stats), 1000);
  char *text = printed_delays(&stats);
  assert_string_equal(text, "delay by the engine           commits      share\n"
                            "  none                            985  98.5000 %\n"
                            "  below 1.02 us                    10   1.0000 %\n"
                            "  below 7.04e+04 s                  4   0.4000 %\n"
                            "  7.04e+04 s and more               1   0.1000 %\n");
  free(text);
  assert_delays_json(&stats, "[{\"below_ns\":1,\"commits\":985},{\"below_ns\":1024,\"commits\":10},"
                             "{\"below_ns\":70368744177664,\"commits\":4},{\"below_ns\":null,\"commits\":1}]");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_text__every_byte_value_survives),
      cmocka_unit_test(test_text__every_pair_of_bytes_survives),
      cmocka_unit_test(test_text__random_records_survive),
      cmocka_unit_test(test_text__unknown_format_is_not_found),
      cmocka_unit_test(test_text__truncation_at_each_byte_is_safe),
      cmocka_unit_test(test_tsv__is_written_with_the_agreed_escapes),
      cmocka_unit_test(test_tsv__malformed_lines_name_the_column),
      cmocka_unit_test(test_tsv__raw_bytes_are_taken_as_they_are),
      cmocka_unit_test(test_base64__is_written_as_wodanc_does),
      cmocka_unit_test(test_base64__malformed_lines_name_the_column),
      cmocka_unit_test(test_base64__csv_quotes_and_carriage_return_are_taken),
      cmocka_unit_test(test_jsonl__is_written_as_one_object),
      cmocka_unit_test(test_jsonl__malformed_lines_name_the_column),
      cmocka_unit_test(test_jsonl__escapes_and_spaces_are_taken),
      cmocka_unit_test(test_hex__faults_name_the_column),
      cmocka_unit_test(test_utf8__borders_are_exact),
      cmocka_unit_test(test_line_reader__counts_lines_and_gives_a_last_one_without_newline),
      cmocka_unit_test(test_line_reader__gives_a_line_before_the_next_one_arrives),
      cmocka_unit_test(test_line_reader__too_long_a_line_is_named),
      cmocka_unit_test(test_line_reader__lines_longer_than_its_chunks_are_whole),
      cmocka_unit_test(test_bench_records__keys_ascend_and_absent_keys_lie_between),
      cmocka_unit_test(test_bench_records__shuffle_is_a_permutation),
      cmocka_unit_test(test_bench_records__values_depend_on_seed_and_repeat_their_half),
      cmocka_unit_test(test_histogram__quantiles_are_within_two_percent),
      cmocka_unit_test(test_histogram__takes_the_extremes),
      cmocka_unit_test(test_delays__units_read_well),
      cmocka_unit_test(test_delays__nothing_counted_prints_nothing),
      cmocka_unit_test(test_delays__every_commit_is_named_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

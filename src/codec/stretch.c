/* Owns: the rewriting of an LZ4 block with fewer matches.
 *
 * Always true: what is written decodes to the same bytes; never more than `target` bytes are written.
 *
 * Order: an LZ4 block is a row of sequences: a token (two lengths of 4 bits), more of the first length, literals, an offset of
 * two bytes, more of the second length; the last one ends behind its literals. From the first on, as much of each match
 * as there is room for becomes literals; a match that becomes literals whole joins its sequence with the next one. A byte
 * more of literals may cost two, where a length grows by a byte; so where one byte is left over, another match is tried.
 *
 * See: codec/compress.h; tests/unit/test_compress.c. */
#include "codec/stretch.h"

#include <string.h>

enum { MATCH_MIN = 4, NIBBLE = 15, OFFSET_SIZE = 2, ATTEMPTS = 16 };

struct stretch {
  const uint8_t *in, *in_end, *bytes; /* what is next */
  uint8_t *out;
  size_t run;      /* literals before `bytes` that are not written yet */
  ptrdiff_t spare; /* bytes to be added yet; a run's own are counted */
};

struct sequence {
  size_t literals, match;
  const uint8_t *offset;
};

/* Bytes behind the token that a length takes. */
static size_t more(size_t length) { return length < NIBBLE ? 0 : (length - NIBBLE) / 255 + 1; }

static size_t get_length(struct stretch *s, size_t nibble) {
  size_t length = nibble;
  if (nibble < NIBBLE) return length;
  uint8_t byte;
  do length += byte = *s->in++;
  while (byte == 255);
  return length;
}

static void put_length(struct stretch *s, size_t length) {
  if (length < NIBBLE) return;
  for (length -= NIBBLE; length >= 255; length -= 255) *s->out++ = 255;
  *s->out++ = (uint8_t)length;
}

/* false: it is the last one, without a match. */
static bool get_sequence(struct stretch *s, struct sequence *sequence) {
  uint8_t token = *s->in++;
  sequence->literals = get_length(s, token >> 4);
  s->in += sequence->literals;
  if (s->in == s->in_end) return false;
  sequence->offset = s->in;
  s->in += OFFSET_SIZE;
  sequence->match = get_length(s, token & NIBBLE) + MATCH_MIN;
  return true;
}

static void put_literals(struct stretch *s, size_t count, size_t match_nibble) {
  *s->out++ = (uint8_t)((count < NIBBLE ? count : NIBBLE) << 4 | match_nibble);
  put_length(s, count);
  memcpy(s->out, s->bytes - count, count);
  s->out += count;
}

/* Bytes that are added when the sequence gets so many literals behind those that wait, and its match as much less. Less than
 * none: two lengths that become one may save a byte. */
static ptrdiff_t added(const struct stretch *s, const struct sequence *sequence, size_t literals) {
  size_t rest = sequence->match - literals;
  size_t now = literals + more(s->run + sequence->literals + literals) + (rest ? more(rest - MATCH_MIN) : 0);
  size_t was = more(s->run) + more(sequence->literals) + more(sequence->match - MATCH_MIN);
  return (ptrdiff_t)now - (ptrdiff_t)was - (rest ? 0 : 1 + OFFSET_SIZE);
}

/* How much of the match becomes literals. All of it only with a byte to spare, for the length of the run that it joins. */
static size_t choose(const struct stretch *s, const struct sequence *sequence) {
  if (added(s, sequence, sequence->match) + 1 <= s->spare) return sequence->match;
  size_t literals = sequence->match - MATCH_MIN;
  while (literals && added(s, sequence, literals) > s->spare) literals--;
  return literals;
}

static void rewrite(struct stretch *s, const struct sequence *sequence, size_t literals) {
  size_t rest = sequence->match - literals;
  s->spare -= added(s, sequence, literals);
  s->run += sequence->literals + literals;
  s->bytes += sequence->literals + literals;
  if (!rest) return;
  size_t length = rest - MATCH_MIN;
  put_literals(s, s->run, length < NIBBLE ? length : NIBBLE);
  memcpy(s->out, sequence->offset, OFFSET_SIZE);
  s->out += OFFSET_SIZE;
  put_length(s, length);
  s->bytes += rest;
  s->run = 0;
}

/* A match of its least length is taken off: the sequence becomes what is left of it. */
static void split(struct stretch *s, struct sequence *sequence) {
  struct sequence first = {sequence->literals, MATCH_MIN, sequence->offset};
  size_t rest = sequence->match - MATCH_MIN;
  s->spare -= 1 + OFFSET_SIZE + (ptrdiff_t)more(rest - MATCH_MIN) - (ptrdiff_t)more(sequence->match - MATCH_MIN);
  rewrite(s, &first, 0);
  sequence->literals = 0;
  sequence->match = rest;
}

/* The first `kept` matches stay as they are; with `in_two` the one behind them is split. */
static bool attempt(struct stretch s, size_t kept, bool in_two, size_t target) {
  const uint8_t *start = s.out;
  struct sequence sequence;
  for (size_t i = 0; get_sequence(&s, &sequence); i++) {
    if (in_two && i == kept && sequence.match >= 2 * MATCH_MIN && s.spare > 2 + OFFSET_SIZE) split(&s, &sequence);
    rewrite(&s, &sequence, i < kept ? 0 : choose(&s, &sequence));
  }
  size_t last = s.run + sequence.literals;
  ptrdiff_t joined = (ptrdiff_t)more(last) - (ptrdiff_t)(more(s.run) + more(sequence.literals));
  if (s.spare != joined) return false;
  s.bytes += sequence.literals;
  put_literals(&s, last, 0);
  return (size_t)(s.out - start) == target;
}

bool stretch_block(const uint8_t *packed, size_t length, const uint8_t *bytes, uint8_t *out, size_t target) {
  if (length > target) return false;
  const struct stretch s = {
      .in = packed, .in_end = packed + length, .bytes = bytes, .out = out, .spare = (ptrdiff_t)(target - length)};
  for (size_t kept = 0; kept < ATTEMPTS; kept++)
    if (attempt(s, kept, false, target) || attempt(s, kept, true, target)) return true;
  return false;
}

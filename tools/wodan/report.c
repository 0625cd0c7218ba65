/* What: everything the command says about success and failure, in one place.
 *
 * Always true: one sentence per failure on standard error, never two; standard output holds data or JSON only; the
 * exit code of a status is the same in every verb.
 *
 * Order: none that matters.
 *
 * See: tests/cli/test_cli.sh. */
#include "report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "json.h"

enum { MESSAGE_ROOM = 512, ERROR_ROOM = 6 * MESSAGE_ROOM + 128 };

int report_exit_code(int status) {
  switch (status) {
  case WODAN_OK:
  case WODAN_DONE:
    return EXIT_CODE_OK;
  case WODAN_ENOTFOUND:
  case WODAN_EEXIST:
    return EXIT_CODE_NEGATIVE;
  case WODAN_EINVAL:
  case WODAN_ETOOBIG:
    return EXIT_CODE_USAGE;
  case WODAN_ECORRUPT:
  case WODAN_EFORMAT:
  case WODAN_EVERSION:
    return EXIT_CODE_DAMAGED;
  case WODAN_ENOSPC:
  case WODAN_EPINNED:
  case WODAN_ENEEDSFLUSH:
    return EXIT_CODE_NO_SPACE;
  case WODAN_EBUSY:
    return EXIT_CODE_BUSY;
  default:
    return EXIT_CODE_IO;
  }
}

static bool is_full(int number) { return number == ENOSPC || number == EDQUOT; }

int report_error_exit_code(const struct wodan_error *error) {
  if (error->code == WODAN_EFAILED && is_full(error->device_errno)) return EXIT_CODE_NO_SPACE;
  return report_exit_code(error->code);
}

static const char *status_name(int status) {
  switch (status) {
#define REPORT_STATUS_NAME(name, number, sentence)                                                                     \
  case number:                                                                                                         \
    return #name;
    WODAN_STATUS_TABLE(REPORT_STATUS_NAME)
#undef REPORT_STATUS_NAME
  default:
    return "WODAN_UNKNOWN";
  }
}

/* block may be WODAN_NO_BLOCK. */
static void add_error(struct json *json, int status, uint64_t block, const char *message) {
  json_open(json, "error", '{');
  json_text(json, "code", status_name(status));
  json_text(json, "message", message);
  if (block != WODAN_NO_BLOCK) json_number(json, "block", block);
  json_close(json, '}');
}

static void print_failure(bool json, const char *subject, int status, uint64_t block, const char *message) {
  fflush(stdout);
  fprintf(stderr, "wodan: %s%s%s\n", subject == NULL ? "" : subject, subject == NULL ? "" : ": ", message);
  if (!json) return;
  unsigned char room[ERROR_ROOM]; /* enough, so that a lack of memory can be told */
  struct json told = {.text = {.data = room, .capacity = sizeof room}};
  json_open(&told, NULL, '{');
  add_error(&told, status, block, message);
  json_close(&told, '}');
  fwrite(told.text.data, 1, told.text.size, stdout);
  putchar('\n');
  fflush(stdout);
}

/* The block to name, or WODAN_NO_BLOCK. */
static uint64_t block_of(const struct wodan_error *error) {
  return error->code == WODAN_ECORRUPT ? error->block : WODAN_NO_BLOCK;
}

/* The sentence without a beginning that only repeats the subject: "subject: …" or "'subject' …". */
static const char *without_subject(const char *sentence, const char *subject) {
  size_t size = subject == NULL ? 0 : strlen(subject);
  if (size == 0) return sentence;
  if (strncmp(sentence, subject, size) == 0 && strncmp(sentence + size, ": ", 2) == 0) return sentence + size + 2;
  bool quoted = sentence[0] == '\'' && strncmp(sentence + 1, subject, size) == 0;
  return quoted && strncmp(sentence + 1 + size, "' ", 2) == 0 ? sentence + size + 3 : sentence;
}

/* The whole sentence: what the library says, the system's reason where that is the cause and not told yet, the block. */
static void compose(char message[MESSAGE_ROOM], const char *subject, const struct wodan_error *error) {
  const char *sentence = error->message[0] != '\0' ? error->message : wodan_strerror(error->code);
  sentence = without_subject(sentence, subject);
  size_t size = (size_t)snprintf(message, 300, "%s", sentence);
  if (size >= 300) size = 299;
  bool by_system = error->code == WODAN_EIO || error->code == WODAN_ENOSPC || error->code == WODAN_EFAILED;
  const char *reason = error->device_errno == 0 ? "" : strerror(error->device_errno);
  if (by_system && strcasestr(sentence, reason) == NULL) {
    size += (size_t)snprintf(message + size, 100, ": %.90s", reason);
  }
  if (block_of(error) != WODAN_NO_BLOCK && strstr(sentence, "block") == NULL) {
    snprintf(message + size, 100, " (block %llu)", (unsigned long long)error->block);
  }
}

int report_error(bool json, const char *subject, const struct wodan_error *error) {
  char message[MESSAGE_ROOM];
  compose(message, subject, error);
  print_failure(json, subject, error->code, block_of(error), message);
  return report_error_exit_code(error);
}

void report_add_error(struct json *json, const struct wodan_error *error) {
  char message[MESSAGE_ROOM];
  compose(message, NULL, error);
  add_error(json, error->code, block_of(error), message);
}

void report_error_member(const struct wodan_error *error) {
  unsigned char room[ERROR_ROOM];
  struct json member = {.text = {.data = room, .capacity = sizeof room}};
  report_add_error(&member, error);
  putchar(',');
  fwrite(member.text.data, 1, member.text.size, stdout);
}

int report_failure(bool json, const char *subject, int status, int exit_code, const char *format, ...) {
  char message[MESSAGE_ROOM];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  print_failure(json, subject, status, WODAN_NO_BLOCK, message);
  return exit_code;
}

int report_errno(bool json, const char *subject, int number) {
  bool full = is_full(number);
  return report_failure(json, subject,
                        full               ? WODAN_ENOSPC
                        : number == ENOMEM ? WODAN_ENOMEM
                                           : WODAN_EIO,
                        full ? EXIT_CODE_NO_SPACE : EXIT_CODE_IO, "%s", strerror(number));
}

bool report_json(struct json *json) {
  if (!json->lines) buffer_append_byte(&json->text, '\n');
  bool done = report_bytes(!json->lines, &json->text);
  json_release(json);
  return done;
}

bool report_bytes(bool json, const struct buffer *buffer) {
  if (buffer->failed) {
    report_errno(json, "output", ENOMEM);
    return false;
  }
  if (buffer->size == 0 || fwrite(buffer->data, 1, buffer->size, stdout) == buffer->size) return true;
  report_failure(false, "standard output", WODAN_EIO, EXIT_CODE_IO, "%s", strerror(errno));
  return false;
}

int report_flush(int exit_code) {
  errno = 0;
  if (fflush(stdout) == 0 && !ferror(stdout)) return exit_code;
  if (exit_code != EXIT_CODE_OK) return exit_code;
  /* No JSON: it would go where nothing can be written. */
  return report_failure(false, "standard output", WODAN_EIO, EXIT_CODE_IO, "%s",
                        errno == 0 ? "an earlier write failed" : strerror(errno));
}

void report_size_text(char text[24], unsigned long long bytes) {
  static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double scaled = (double)bytes;
  size_t unit = 0;
  while (scaled >= 1024 && unit < 6) {
    scaled /= 1024;
    unit++;
  }
  bool whole = scaled < 1e9 && (double)(unsigned long long)scaled >= scaled;
  snprintf(text, 24, whole ? "%.0f %s" : "%.1f %s", scaled, units[unit]);
}

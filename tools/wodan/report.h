/* How a command ends: exit codes, error sentences on standard error, and JSON on standard output. */
#ifndef WODAN_CLI_REPORT_H
#define WODAN_CLI_REPORT_H

#include <stdbool.h>
#include <wodan/status.h>

struct buffer;
struct json;

/* Part of the command's contract; numbers never change. */
enum exit_code {
  EXIT_CODE_OK = 0,
  EXIT_CODE_NEGATIVE = 1, /* the answer is no: an absent key, a malformed line, something there already */
  EXIT_CODE_USAGE = 2,
  EXIT_CODE_DAMAGED = 3, /* or no Wodan image, or of a version this build does not read */
  EXIT_CODE_IO = 4,
  EXIT_CODE_NO_SPACE = 5,
  EXIT_CODE_BUSY = 6,
};

/* The exit code for a library status; 0 for WODAN_OK and WODAN_DONE. */
int report_exit_code(int status);
/* The same, with the cause known: a handle that failed because the host's disk is full is EXIT_CODE_NO_SPACE. */
int report_error_exit_code(const struct wodan_error *error);

/* Prints `wodan: SUBJECT: sentence` on standard error and, with json, {"error":{"code":…,"message":…}} on standard
 * output. Returns the exit code of error->code. */
int report_error(bool json, const char *subject, const struct wodan_error *error);

/* The member "error":{"code":…,"message":…}, for an object that shows more than the error. */
void report_add_error(struct json *json, const struct wodan_error *error);

/* Prints `,"error":{…}` on standard output, inside an object that was begun there. */
void report_error_member(const struct wodan_error *error);

/* As report_error with a sentence of our own, under the name of `status`; returns exit_code. */
int report_failure(bool json, const char *subject, int status, int exit_code, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* As report_error for a system call that failed: EXIT_CODE_NO_SPACE for ENOSPC, else EXIT_CODE_IO. */
int report_errno(bool json, const char *subject, int number);

/* Prints what was said, on one line when it is JSON, and releases it. false (reported) as below. */
bool report_json(struct json *json);

/* Writes the buffer's bytes to standard output. false (reported) when they, or the buffer, failed. */
bool report_bytes(bool json, const struct buffer *buffer);

/* Flushes standard output. Returns exit_code, or when output failed and exit_code is 0, EXIT_CODE_IO (reported). */
int report_flush(int exit_code);

/* "256 MiB" for whole numbers of a unit, else "1.4 GiB"; text holds at least 24 bytes. */
void report_size_text(char text[24], unsigned long long bytes);

#endif

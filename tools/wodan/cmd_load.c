/* What: `wodan load`: records from lines of text, committed durably every so many lines.
 *
 * Always true: lines are committed in their order; `acked N` on standard output means that lines 1..N survive any
 * crash from now on; a line is whole in the image or not at all; a bad line stops the load after everything before
 * it is durable; loading the same file again changes nothing.
 *
 * Order: commit durably, then count, then print and flush the acknowledgement. Never the other way round.
 *
 * See: text_format.c, line_reader.c; tests/cli/test_cli.sh. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "delays.h"
#include "image.h"
#include "json.h"
#include "line_reader.h"
#include "progress.h"
#include "report.h"
#include "text_format.h"

enum { LINES_PER_BATCH = 1000 };
enum { RECORD_OVERHEAD = 64 }; /* at least what a batch adds to the bytes of a key and its value */

struct load_options {
  struct options common;
  const char *format_name;
  const struct text_format *format;
  const char *file; /* NULL or "-": standard input */
  uint64_t batch_lines;
  bool ack;
  bool stats;
  bool keep; /* keys that are there already keep their value */
};

static void check(const struct argp_state *state, void *options) {
  struct load_options *load = options;
  load->format = text_format_find(load->format_name);
  if (load->format == NULL) argp_error(state, "--format: '%s' is none of tsv, base64, jsonl", load->format_name);
}

static const struct options_verb verb = {
    .arguments = "IMAGE [FILE]",
    .doc = "Loads records, one a line, from FILE or standard input, in a format of `wodan dump'. A batch that is too "
           "big for the image is committed earlier. A malformed line ends the load with exit code 1 and its number; "
           "the lines before it are loaded. With --json the acknowledgements are objects {\"acked\":LINES}, and the "
           "last line is {\"lines\":N,\"batches\":M}.",
    .shared = OPTIONS_PUT,
    .rows = {{"format", 'f', "FORMAT", OPTIONS_TEXT, offsetof(struct load_options, format_name), 0, 0,
              "tsv (default), base64 (as MirageOS wodanc writes it) or jsonl"},
             {"batch", 'b', "N", OPTIONS_COUNT, offsetof(struct load_options, batch_lines), 1, 0,
              "Commit durably every N lines (default 1000)"},
             {"ack", 0, NULL, OPTIONS_FLAG, offsetof(struct load_options, ack), 0, 0,
              "After each commit print `acked LINES': that many input lines are durable"},
             {"keep-existing", 0, NULL, OPTIONS_FLAG, offsetof(struct load_options, keep), 0, 0,
              "Leave keys alone that are there already; of lines with the same key the first stands, as it must in a "
              "dump of wodanc"},
             {"stats", 0, NULL, OPTIONS_FLAG, offsetof(struct load_options, stats), 0, 0,
              "At the end checkpoint, and tell lines, batches, what the device was asked to write and the delays of "
              "commits"}},
    .operands = {OPTIONS_IMAGE, {"file", OPTIONS_TEXT, offsetof(struct load_options, file), true}},
    .check = check,
};

struct loader {
  const struct load_options *options;
  struct image image;
  struct wodan_info info;
  struct wodan_batch *batch;
  const char *source; /* name of the input in messages */
  uint64_t pending_lines;
  uint64_t acked_lines;
  uint64_t batches;
  struct wodan_stats stats; /* with --stats, at the end */
  struct progress progress;
};

/* 0 for WODAN_OK. */
static int fail(struct loader *loader, int status) {
  if (status == WODAN_OK) return EXIT_CODE_OK;
  progress_end(&loader->progress);
  return image_fail(&loader->image, status);
}

static int acknowledge(const struct loader *loader) {
  if (!loader->options->ack) return EXIT_CODE_OK;
  unsigned long long lines = loader->acked_lines;
  if (loader->options->common.json) {
    printf("{\"acked\":%llu}\n", lines);
  } else {
    printf("acked %llu\n", lines);
  }
  return report_flush(EXIT_CODE_OK);
}

/* Makes the pending lines durable. 0 or an exit code. */
static int commit(struct loader *loader) {
  if (loader->pending_lines == 0) return EXIT_CODE_OK;
  int status = loader->options->keep ? wodan_sync(loader->image.db) : image_commit(&loader->image, loader->batch);
  if (status < 0) {
    progress_end(&loader->progress);
    struct wodan_error error;
    image_error(&loader->image, status, &error);
    const char *sentence = error.message[0] != '\0' ? error.message : wodan_strerror(status);
    return report_failure(loader->options->common.json, loader->options->common.image, status,
                          report_error_exit_code(&error), "%s (the first %llu lines are durable)", sentence,
                          (unsigned long long)loader->acked_lines);
  }
  loader->acked_lines += loader->pending_lines;
  loader->pending_lines = 0;
  loader->batches++;
  progress_step(&loader->progress, loader->acked_lines);
  return acknowledge(loader);
}

/* Commits what comes before the bad line, then reports it. column 0: the whole line. */
static int refuse_line(struct loader *loader, uint64_t line, size_t column, const char *message) {
  int exit_code = commit(loader);
  if (exit_code != EXIT_CODE_OK) return exit_code;
  progress_end(&loader->progress);
  char place[48] = "";
  if (column != 0) snprintf(place, sizeof place, ", column %zu", column);
  return report_failure(loader->options->common.json, loader->source, WODAN_EINVAL, EXIT_CODE_NEGATIVE,
                        "line %llu%s: %s (the lines before it are loaded)", (unsigned long long)line, place, message);
}

static int refuse_size(struct loader *loader, uint64_t line, const char *what, size_t size, uint64_t limit) {
  char message[120];
  snprintf(message, sizeof message, "the %s has %zu bytes, this image takes at most %llu", what, size,
           (unsigned long long)limit);
  return refuse_line(loader, line, 0, message);
}

/* With --keep-existing there is no batch: each line is put when its key is not there, and the next line sees it. */
static int put_absent(struct loader *loader, struct wodan_slice key, struct wodan_slice value) {
  struct wodan_db *db = loader->image.db;
  size_t size = 0;
  int status = wodan_get(db, NULL, key, NULL, 0, &size);
  if (status == WODAN_ERANGE) return WODAN_OK;
  if (status == WODAN_ENOTFOUND) status = wodan_put(db, key, value, NULL);
  if (status != WODAN_ENEEDSFLUSH) return status;
  int made = wodan_checkpoint(db, NULL); /* as image_commit does */
  return made < 0 ? made : status;
}

/* Collects the record for the next commit. 0, or an exit code. */
static int add_to_batch(struct loader *loader, uint64_t line, struct wodan_slice key, struct wodan_slice value) {
  uint64_t bytes = wodan_batch_bytes(loader->batch) + key.size + value.size + RECORD_OVERHEAD;
  if (loader->pending_lines > 0 && bytes > loader->info.batch_size_max) {
    int exit_code = commit(loader);
    if (exit_code != EXIT_CODE_OK) return exit_code;
  }
  int status = wodan_batch_put(loader->batch, key, value);
  if (status == WODAN_ETOOBIG && loader->pending_lines > 0) {
    int exit_code = commit(loader);
    if (exit_code != EXIT_CODE_OK) return exit_code;
    status = wodan_batch_put(loader->batch, key, value);
  }
  if (status == WODAN_ETOOBIG) return refuse_line(loader, line, 0, wodan_strerror(status));
  return status < 0 ? fail(loader, status) : EXIT_CODE_OK;
}

static int add_record(struct loader *loader, uint64_t line, const struct text_record *record) {
  struct wodan_slice key = buffer_slice(&record->key);
  struct wodan_slice value = buffer_slice(&record->value);
  const struct wodan_info *info = &loader->info;
  if (key.size > info->key_size_max) return refuse_size(loader, line, "key", key.size, info->key_size_max);
  if (value.size > info->value_size_max) return refuse_size(loader, line, "value", value.size, info->value_size_max);
  int exit_code =
      loader->options->keep ? fail(loader, put_absent(loader, key, value)) : add_to_batch(loader, line, key, value);
  if (exit_code != EXIT_CODE_OK) return exit_code;
  loader->pending_lines++;
  return loader->pending_lines >= loader->options->batch_lines ? commit(loader) : EXIT_CODE_OK;
}

static int load_line(struct loader *loader, uint64_t number, struct wodan_slice line, struct text_record *record) {
  struct text_fault fault = {0};
  text_record_clear(record);
  if (!loader->options->format->parse(line, record, &fault)) {
    return refuse_line(loader, number, fault.column, fault.message);
  }
  if (text_record_failed(record)) return report_errno(loader->options->common.json, loader->source, ENOMEM);
  return add_record(loader, number, record);
}

static int load_lines(struct loader *loader, struct line_reader *reader) {
  struct text_record record = {0};
  struct wodan_slice line;
  int exit_code = EXIT_CODE_OK;
  enum line_result result = LINE_READ;
  while (exit_code == EXIT_CODE_OK && (result = line_reader_next(reader, &line)) == LINE_READ) {
    exit_code = load_line(loader, reader->line, line, &record);
  }
  if (exit_code == EXIT_CODE_OK && result == LINE_END) exit_code = commit(loader);
  if (exit_code == EXIT_CODE_OK && result == LINE_TOO_LONG) {
    exit_code = refuse_line(loader, reader->line, 0, "the line is longer than any record of this image can be");
  }
  if (exit_code == EXIT_CODE_OK && result == LINE_FAILED) {
    int number = errno;
    exit_code = commit(loader);
    progress_end(&loader->progress);
    if (exit_code == EXIT_CODE_OK) exit_code = report_errno(loader->options->common.json, loader->source, number);
  }
  text_record_release(&record);
  return exit_code;
}

/* The longest line a record can make in any format: \u00HH is six bytes for one, and names, quotes and spaces. */
static size_t line_limit(const struct wodan_info *info) {
  uint64_t limit = (info->key_size_max + info->value_size_max) * 6 + 4096;
  return limit > SIZE_MAX / 8 ? SIZE_MAX / 8 : (size_t)limit;
}

static int load_from(struct loader *loader, int fd) {
  int status = wodan_info(loader->image.db, &loader->info);
  if (status == 0) status = wodan_batch_create(loader->image.db, &loader->batch);
  if (status < 0) return fail(loader, status);
  struct line_reader reader;
  line_reader_init(&reader, fd, line_limit(&loader->info));
  int exit_code = load_lines(loader, &reader);
  line_reader_release(&reader);
  wodan_batch_free(loader->batch);
  loader->batch = NULL;
  return exit_code;
}

/* The counters of this load, with everything it wrote in its place. 0 or an exit code. */
static int take_stats(struct loader *loader) {
  loader->stats = (struct wodan_stats){.size = sizeof loader->stats};
  int status = wodan_checkpoint(loader->image.db, NULL);
  if (status == 0) status = wodan_stats(loader->image.db, &loader->stats);
  return status < 0 ? fail(loader, status) : EXIT_CODE_OK;
}

static void add_stats(struct json *json, const struct wodan_stats *stats) {
  json_number(json, "user_bytes_written", stats->user_bytes_written);
  json_number(json, "device_write_bytes", stats->device_write_bytes);
  json_number(json, "device_flushes", stats->device_flushes);
  json_real(json, "write_amplification", stats->write_amplification);
  json_number(json, "put_delay_p999_ns", wodan_delay_percentile(stats, 99.9));
  json_number(json, "put_delay_max_ns", stats->put_delay_max);
}

static int print_summary(const struct loader *loader) {
  struct json json = {.lines = !loader->options->common.json};
  json_open(&json, NULL, '{');
  json_number(&json, "lines", loader->acked_lines);
  json_number(&json, "batches", loader->batches);
  if (loader->options->stats) add_stats(&json, &loader->stats);
  json_close(&json, '}');
  if (!report_json(&json)) return EXIT_CODE_IO;
  if (loader->options->stats && !loader->options->common.json) delays_print(stdout, &loader->stats);
  return report_flush(EXIT_CODE_OK);
}

int cmd_load(int argc, char **argv) {
  struct load_options load = {.format_name = "tsv", .batch_lines = LINES_PER_BATCH};
  options_parse(&verb, argc, argv, &load);
  struct loader loader = {.options = &load, .info = {.size = sizeof loader.info}, .source = "standard input"};
  int fd = STDIN_FILENO;
  if (load.file != NULL && strcmp(load.file, "-") != 0) {
    loader.source = load.file;
    fd = open(load.file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return report_errno(load.common.json, load.file, errno);
  }
  int exit_code = image_open(&loader.image, &load.common, true);
  progress_start(&loader.progress, "lines loaded", 0);
  if (exit_code == EXIT_CODE_OK) exit_code = load_from(&loader, fd);
  if (exit_code == EXIT_CODE_OK && load.stats) exit_code = take_stats(&loader);
  progress_end(&loader.progress);
  exit_code = image_close(&loader.image, exit_code);
  if (fd != STDIN_FILENO) close(fd);
  if (exit_code == EXIT_CODE_OK && (load.common.json || load.stats)) exit_code = print_summary(&loader);
  return exit_code;
}

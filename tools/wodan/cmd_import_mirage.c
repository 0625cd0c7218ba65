/* What: `wodan import-mirage`: the records of a MirageOS Wodan image, put into one of ours.
 *
 * Always true: the source is opened for reading only; nothing is written before the source was checked whole and its keys
 * and values are known to fit; records go in in key order, in durable batches; doing it again puts the same records, so an
 * import that was interrupted is completed by running it again.
 *
 * Order: check, then open the destination, then read the source once more and write.
 *
 * See: tools/mirage/mirage.h; tests/cli/test_mirage.sh. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "image.h"
#include "json.h"
#include "mirage.h"
#include "progress.h"
#include "report.h"

enum { RECORDS_PER_BATCH = 1000 };
enum { RECORD_OVERHEAD = 64 }; /* at least what a batch adds to the bytes of a key and its value */

struct import_options {
  struct options common; /* image: the destination */
  const char *source;
  uint64_t batch_records;
  bool older_root;
};

static const struct options_verb verb = {
    .arguments = "SOURCE IMAGE",
    .doc =
        "Puts all records of SOURCE, an image of MirageOS Wodan (OCaml, format version 1), into IMAGE, which `wodan "
        "format' made. SOURCE is checked first, as `wodan-fsck --mirage' does, and never written; a damaged one is "
        "refused. Records that are in IMAGE already stay, but for those with a key of SOURCE. Interrupted, it is run "
        "again.",
    .shared = OPTIONS_WRITE,
    .rows = {{"batch", 'b', "N", OPTIONS_COUNT, offsetof(struct import_options, batch_records), 1, 0,
              "Commit durably every N records (default 1000)"},
             {"older-root", 0, NULL, OPTIONS_FLAG, offsetof(struct import_options, older_root), 0, 0,
              "When the newest root is damaged, or may be, import the newest root that is whole"}},
    .operands = {{"source", OPTIONS_TEXT, offsetof(struct import_options, source), false}, OPTIONS_IMAGE},
};

struct import {
  const struct import_options *options;
  struct mirage_source source;
  struct mirage_summary summary;
  char first_damage[240];
  struct image image;
  struct wodan_info info;
  struct wodan_batch *batch;
  uint64_t records; /* durable */
  struct progress progress;
};

/* ---- the source -------------------------------------------------------------------------------------------------- */

static void on_finding(void *context, const struct wodan_finding *finding) {
  struct import *import = context;
  bool blocked = finding->block != WODAN_NO_BLOCK;
  char place[32] = "";
  if (finding->severity == WODAN_NOTE || import->first_damage[0] != '\0') return;
  if (blocked) snprintf(place, sizeof place, "block %llu: ", (unsigned long long)finding->block);
  snprintf(import->first_damage, sizeof import->first_damage, "%s%s", place, finding->message);
}

static int check_root(struct import *import, uint64_t generation, struct wodan_error *error) {
  const struct wodan_check_options options = {
      .size = sizeof options, .context = import, .finding = on_finding, .generation = generation};
  return mirage_check(&import->source, &options, &import->summary, error);
}

static int refuse_source(const struct import *import) {
  const struct wodan_check_report *report = &import->summary.report;
  return report_failure(import->options->common.json, import->options->source, WODAN_ECORRUPT, EXIT_CODE_DAMAGED,
                        "%s (%llu damage, %llu warnings; nothing was imported; wodan-fsck --mirage tells all%s)",
                        import->first_damage, (unsigned long long)report->damages, (unsigned long long)report->warnings,
                        import->options->older_root ? "" : ", --older-root takes the newest root that is whole");
}

/* Goes down the roots until one is whole. 0 or an exit code. */
static int check_source(struct import *import) {
  bool json = import->options->common.json;
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  int status = check_root(import, 0, &error);
  uint64_t generation = import->summary.report.generation;
  if (status < 0) return report_error(json, import->options->source, &error);
  const struct wodan_check_report *report = &import->summary.report;
  if (report->damages == 0 && (report->warnings == 0 || import->options->older_root)) return EXIT_CODE_OK;
  while (import->options->older_root && report->damages > 0 && generation > 0) {
    status = mirage_root_below(&import->source, generation, &generation, &error);
    if (status == WODAN_ENOTFOUND || status == WODAN_ECORRUPT) break;
    if (status == 0) status = check_root(import, generation, &error);
    if (status < 0) return report_error(json, import->options->source, &error);
  }
  if (report->damages > 0 || !import->options->older_root) return refuse_source(import);
  fprintf(stderr, "wodan: %s: importing an older root, generation %llu\n", import->options->source,
          (unsigned long long)generation);
  return EXIT_CODE_OK;
}

/* What the image cannot take is told before anything is written. */
static int check_limits(const struct import *import) {
  const struct mirage_summary *summary = &import->summary;
  const struct wodan_info *info = &import->info;
  const char *what = NULL;
  unsigned long long size = 0, limit = 0;
  if (summary->report.records > 0 && summary->key_size > info->key_size_max) {
    what = "keys";
    size = summary->key_size;
    limit = info->key_size_max;
  } else if (summary->value_size_max > info->value_size_max) {
    what = "values";
    size = summary->value_size_max;
    limit = info->value_size_max;
  }
  if (!what) return EXIT_CODE_OK;
  return report_failure(import->options->common.json, import->options->source, WODAN_ETOOBIG, EXIT_CODE_USAGE,
                        "it has %s of %llu bytes, and %s takes at most %llu; nothing was imported", what, size,
                        import->options->common.image, limit);
}

/* ---- the records ------------------------------------------------------------------------------------------------- */

static int commit(struct import *import) {
  size_t count = wodan_batch_count(import->batch);
  if (count == 0) return WODAN_OK;
  int status = image_commit(&import->image, import->batch);
  if (status == 0) import->records += count;
  progress_step(&import->progress, import->records);
  return status;
}

static int on_record(void *context, struct wodan_slice key, struct wodan_slice value) {
  struct import *import = context;
  uint64_t bytes = wodan_batch_bytes(import->batch) + key.size + value.size + RECORD_OVERHEAD;
  bool full = wodan_batch_count(import->batch) >= import->options->batch_records;
  int status = full || bytes > import->info.batch_size_max ? commit(import) : WODAN_OK;
  return status < 0 ? status : wodan_batch_put(import->batch, key, value);
}

/* A failure of the image, or of the source behind its check. */
static int fail(struct import *import, int status, const struct wodan_error *source_error) {
  struct wodan_error error = *source_error;
  bool json = import->options->common.json;
  progress_end(&import->progress);
  const char *subject = import->options->source;
  if (error.code != status) {
    subject = import->options->common.image;
    image_error(&import->image, status, &error);
  }
  const char *sentence = error.message[0] != '\0' ? error.message : wodan_strerror(status);
  return report_failure(json, subject, status, report_error_exit_code(&error), "%s (%llu of %llu records are durable)",
                        sentence, (unsigned long long)import->records,
                        (unsigned long long)import->summary.report.records);
}

static int import_records(struct import *import) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  int status = wodan_batch_create(import->image.db, &import->batch);
  progress_start(&import->progress, "records imported", import->summary.report.records);
  if (status == 0)
    status = mirage_records(&import->source, import->summary.report.generation, on_record, import, &error);
  if (status == 0) status = commit(import);
  int exit_code = status == 0 ? EXIT_CODE_OK : fail(import, status, &error);
  progress_end(&import->progress);
  wodan_batch_free(import->batch);
  return exit_code;
}

static bool print_summary(const struct import *import) {
  const struct mirage_summary *summary = &import->summary;
  struct json json = {.lines = !import->options->common.json};
  json_open(&json, NULL, '{');
  json_number(&json, "records", import->records);
  json_number(&json, "generation", summary->report.generation);
  json_number(&json, "nodes", summary->report.nodes);
  json_number(&json, "shadowed", summary->shadowed);
  json_number(&json, "deleted", summary->deletions);
  json_close(&json, '}');
  return report_json(&json);
}

int cmd_import_mirage(int argc, char **argv) {
  struct import_options options = {.batch_records = RECORDS_PER_BATCH};
  options_parse(&verb, argc, argv, &options);
  struct import import = {.options = &options, .info = {.size = sizeof import.info}};
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  if (mirage_source_open(&import.source, options.source, &error) < 0)
    return report_error(options.common.json, options.source, &error);
  int exit_code = check_source(&import);
  if (exit_code == EXIT_CODE_OK) exit_code = image_open(&import.image, &options.common, true);
  if (exit_code == EXIT_CODE_OK) exit_code = image_fail(&import.image, wodan_info(import.image.db, &import.info));
  if (exit_code == EXIT_CODE_OK) exit_code = check_limits(&import);
  if (exit_code == EXIT_CODE_OK) exit_code = import_records(&import);
  exit_code = image_close(&import.image, exit_code);
  mirage_source_close(&import.source);
  if (exit_code == EXIT_CODE_OK) exit_code = print_summary(&import) ? report_flush(exit_code) : EXIT_CODE_IO;
  return exit_code;
}

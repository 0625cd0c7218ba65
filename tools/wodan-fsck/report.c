/* Owns: what wodan-fsck prints of a check: findings, progress, summary.
 *
 * Always true: findings go to standard output, the progress bar to standard error when that is a terminal.
 *
 * Order: findings are printed as they are found; the summary is the last thing on standard output, also after Ctrl-C.
 *
 * See: wodan-fsck(8), tests/cli/test_fsck.sh. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "fsck.h"
#include "progress.h"

enum { BAR_WIDTH = 40, SECOND_NS = 1000000000 };

/* ---- what is found ---------------------------------------------------------------------------------------------- */

static const char *severity_name(uint32_t severity) {
  static const char *const names[] = {[WODAN_NOTE] = "note", [WODAN_WARNING] = "warning", [WODAN_DAMAGE] = "damage"};
  return severity < sizeof names / sizeof *names ? names[severity] : "unknown";
}

const char *status_name(int status) {
  switch (status) {
#define NAME(name, number, sentence)                                                                                   \
  case name:                                                                                                           \
    return #name;
    WODAN_STATUS_TABLE(NAME)
#undef NAME
  }
  return "unknown";
}

void bar_wipe(struct fsck *fsck) {
  if (fsck->bar_shown) fputs("\r\033[K", stderr);
  fsck->bar_shown = false;
}

static int percent_of(uint64_t done, uint64_t total) { return total ? (int)((double)done * 100 / (double)total) : 0; }

static void bar_show(struct fsck *fsck, uint64_t done, uint64_t total) {
  int percent = percent_of(done, total);
  uint64_t now = progress_clock_ns();
  if (fsck->bar_start == 0 || done < fsck->bar_done) fsck->bar_start = now; /* work of another kind */
  fsck->bar_done = done;
  if (fsck->bar_shown && percent == fsck->percent && now < fsck->bar_next) return;
  char left[PROGRESS_LEFT_SIZE];
  int filled = percent * BAR_WIDTH / 100;
  progress_left_text(left, (now - fsck->bar_start) / SECOND_NS, total ? (double)done / (double)total : 0);
  fprintf(stderr, "\r%s [%.*s%*s] %3d %%%s\033[K", fsck->image, filled, "########################################",
          BAR_WIDTH - filled, "", percent, left);
  fflush(stderr);
  fsck->bar_shown = true;
  fsck->bar_next = now + SECOND_NS;
  fsck->percent = percent;
}

int on_progress(void *context, uint64_t done, uint64_t total) {
  struct fsck *fsck = context;
  if (fsck->bar) bar_show(fsck, done, total);
  if (fsck->progress_fd >= 0 && percent_of(done, total) != fsck->percent) {
    fsck->percent = percent_of(done, total);
    dprintf(fsck->progress_fd, "%" PRIu64 " %" PRIu64 " %d\n", done, total, fsck->percent);
  }
  if (fsck_interrupted) fsck->cancelled = true;
  return fsck->cancelled;
}

/* A key in quotes, \xHH for what does not print, cut after 40 characters. */
static void key_text(char out[64], struct wodan_slice key) {
  const unsigned char *at = key.data;
  size_t used = 0;
  out[used++] = '"';
  for (size_t i = 0; i < key.size && used < 48; i++) {
    bool plain = at[i] >= 0x20 && at[i] < 0x7f && at[i] != '"' && at[i] != '\\';
    used += (size_t)snprintf(out + used, 64 - used, plain ? "%c" : "\\x%02x", at[i]);
    if (used >= 44 && i + 1 < key.size) {
      used += (size_t)snprintf(out + used, 64 - used, "...");
      break;
    }
  }
  snprintf(out + used, 64 - used, "\"");
}

void range_text(char out[RANGE_TEXT_SIZE], const struct key_range *range) {
  char lower[64] = "first", upper[64] = "last";
  out[0] = '\0';
  if (!range->has_lower && !range->has_upper) return;
  if (range->has_lower) key_text(lower, range->lower);
  if (range->has_upper) key_text(upper, range->upper);
  snprintf(out, RANGE_TEXT_SIZE, " [keys %s .. %s]", lower, upper);
}

/* A bound as a string when it is ASCII, else as an object {"hex":...}; null: open. */
static void add_bound(struct json *json, const char *name, uint32_t there, struct wodan_slice key) {
  const unsigned char *at = key.data;
  bool plain = true;
  for (size_t i = 0; i < key.size; i++) plain = plain && at[i] < 0x80;
  if (!there) {
    json_text(json, name, NULL);
  } else if (plain) {
    json_bytes(json, name, key);
  } else {
    json_open(json, name, '{');
    json_hex(json, "hex", key);
    json_close(json, '}');
  }
}

void range_json(struct json *json, const char *name, const struct key_range *range) {
  if (!range->has_range) {
    json_text(json, name, NULL);
    return;
  }
  json_open(json, name, '{');
  add_bound(json, "lower", range->has_lower, range->lower);
  add_bound(json, "upper", range->has_upper, range->upper);
  json_close(json, '}');
}

/* What repairs a finding. */
static const char *repair_name(uint32_t repair) {
  static const char *const names[] = {[WODAN_REPAIR_NOTHING] = "nothing",
                                      [WODAN_REPAIR_SAFE] = "safe",
                                      [WODAN_REPAIR_LOSSY] = "lossy",
                                      [WODAN_REPAIR_SALVAGE] = "salvage"};
  return repair < sizeof names / sizeof *names ? names[repair] : "unknown";
}

/* The option, and what it does, in a line of its own. */
static void print_remedy(const struct wodan_finding *finding) {
  static const char *const options[] = {
      [WODAN_REPAIR_SAFE] = "-p", [WODAN_REPAIR_LOSSY] = "-y", [WODAN_REPAIR_SALVAGE] = "-o"};
  const char *option = finding->repair < sizeof options / sizeof *options ? options[finding->repair] : NULL;
  if (option) printf("    %s: %s\n", option, finding->remedy);
}

void on_finding(void *context, const struct wodan_finding *finding) {
  struct fsck *fsck = context;
  const struct key_range range = {finding->has_range, finding->has_lower, finding->has_upper, finding->lower,
                                  finding->upper};
  char id[16], keys[RANGE_TEXT_SIZE];
  snprintf(id, sizeof id, "%s%04" PRIu32, fsck->mirage ? "WM" : "WF", finding->id);
  range_text(keys, &range);
  bar_wipe(fsck);
  if (!fsck->json) {
    printf("%s %s", id, severity_name(finding->severity));
    if (finding->block != WODAN_NO_BLOCK) printf(" block %" PRIu64, finding->block);
    printf(": %s%s\n", finding->message, keys);
    print_remedy(finding);
    return;
  }
  struct json *json = &fsck->answer;
  json_open(json, NULL, '{');
  json_text(json, "id", id);
  json_text(json, "severity", severity_name(finding->severity));
  json_block(json, "block", finding->block);
  json_number(json, "generation", finding->generation);
  json_text(json, "message", finding->message);
  range_json(json, "keys", &range);
  json_text(json, "repair", repair_name(finding->repair));
  json_text(json, "remedy", finding->remedy);
  json_close(json, '}');
}

/* ---- the summary ------------------------------------------------------------------------------------------------ */

/* The report's numbers, by the names they have in JSON and with -v. */
struct figure {
  const char *name;
  uint64_t value;
};
enum { FIGURES = 17 };

static void figures_of(const struct wodan_check_report *r, struct figure out[FIGURES]) {
  const struct figure figures[FIGURES] = {
      {"notes", r->notes},
      {"warnings", r->warnings},
      {"damages", r->damages},
      {"generation", r->generation},
      {"previous_generation", r->previous_generation},
      {"blocks", r->blocks},
      {"blocks_live", r->blocks_live},
      {"blocks_previous", r->blocks_previous},
      {"levels", r->levels},
      {"nodes", r->nodes},
      {"runs", r->runs},
      {"leaves", r->leaves},
      {"pages", r->pages},
      {"page_bytes", r->page_bytes},
      {"page_stored_bytes", r->page_stored_bytes},
      {"records", r->records},
      {"journal_records", r->journal_records},
  };
  memcpy(out, figures, sizeof figures);
}

static const char *state_of(const struct fsck *fsck, const struct wodan_check_report *report, int status) {
  if (status < 0) return "unchecked";
  if (report->damages) return "damaged";
  if (report->warnings) return "warnings";
  return fsck->cancelled ? "cancelled" : "clean";
}

void report_begin(struct fsck *fsck, const char *schema, uint64_t version, const char *list) {
  if (!fsck->json) return;
  json_open(&fsck->answer, NULL, '{');
  json_text(&fsck->answer, "schema", schema);
  json_number(&fsck->answer, "version", version);
  json_text(&fsck->answer, "image", fsck->image);
  json_open(&fsck->answer, list, '[');
}

int report_end(struct fsck *fsck, int exit_code) {
  if (!fsck->json) return exit_code;
  struct buffer *text = &fsck->answer.text;
  json_close(&fsck->answer, '}');
  buffer_append_byte(text, '\n');
  if (text->failed) {
    if (!(exit_code & FSCK_OPERATIONAL))
      fprintf(stderr, "wodan-fsck: %s: not enough memory for the answer\n", fsck->image);
    exit_code |= FSCK_OPERATIONAL;
  } else {
    fwrite(text->data, 1, text->size, stdout);
  }
  json_release(&fsck->answer);
  json_release(&fsck->extra);
  return exit_code;
}

static int print_json(struct fsck *fsck, const struct wodan_check_report *report, int status,
                      const struct wodan_error *error, int exit_code) {
  struct figure figures[FIGURES];
  struct json *json = &fsck->answer;
  figures_of(report, figures);
  json_close(json, ']');
  if (fsck->extra_name) json_append(json, fsck->extra_name, &fsck->extra);
  json_open(json, "summary", '{');
  json_text(json, "state", state_of(fsck, report, status));
  json_bool(json, "complete", status == 0 && report->complete);
  json_bool(json, "cancelled", fsck->cancelled);
  for (size_t i = 0; i < FIGURES; i++) json_number(json, figures[i].name, figures[i].value);
  if (status < 0) {
    json_open(json, "error", '{');
    json_text(json, "code", status_name(status));
    json_text(json, "message", error->message);
    json_block(json, "block", error->block);
    json_close(json, '}');
  } else {
    json_text(json, "error", NULL);
  }
  json_number(json, "exit_code", (uint64_t)exit_code);
  json_close(json, '}');
  return report_end(fsck, exit_code);
}

static void print_lines(const struct fsck *fsck, const struct wodan_check_report *r) {
  struct figure figures[FIGURES];
  figures_of(r, figures);
  for (size_t i = 0; i < FIGURES && fsck->verbose; i++)
    printf("%-20s %" PRIu64 "\n", figures[i].name, figures[i].value);
  if (r->damages || r->warnings)
    printf("%s: %" PRIu64 " damage, %" PRIu64 " warnings", fsck->image, r->damages, r->warnings);
  else if (fsck->cancelled)
    printf("%s: nothing found so far", fsck->image);
  else if (fsck->mirage)
    printf("%s: clean, generation %" PRIu64 ", %" PRIu64 "/%" PRIu64 " blocks used, %" PRIu64 " records in %" PRIu64
           " nodes",
           fsck->image, r->generation, r->blocks_live, r->blocks, r->records, r->nodes);
  else
    printf("%s: clean, generation %" PRIu64 ", %" PRIu64 "/%" PRIu64 " blocks used, %" PRIu64 " records in %" PRIu64
           " leaves and %" PRIu64 " runs, %" PRIu64 " in the journal",
           fsck->image, r->generation, r->blocks_live, r->blocks, r->records, r->leaves, r->runs, r->journal_records);
  puts(fsck->cancelled ? " (cancelled)" : r->complete ? "" : " (not everything could be reached)");
}

int report_summary(struct fsck *fsck, const struct wodan_check_report *report, int status,
                   const struct wodan_error *error, int exit_code) {
  if (fsck->json) return print_json(fsck, report, status, error, exit_code);
  if (status == 0) print_lines(fsck, report);
  return exit_code;
}

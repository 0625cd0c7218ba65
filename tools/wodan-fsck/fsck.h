/* One run of wodan-fsck, shared by its files. */
#ifndef WODAN_FSCK_H
#define WODAN_FSCK_H

#include <signal.h>
#include <stdbool.h>
#include <wodan/wodan.h>

#include "json.h"

/* fsck(8), added up; numbers never change. */
enum {
  FSCK_OK = 0,
  FSCK_CORRECTED = 1,
  FSCK_UNCORRECTED = 4,
  FSCK_OPERATIONAL = 8,
  FSCK_USAGE = 16,
  FSCK_CANCELLED = 32
};
enum { JSON_VERSION = 2 }; /* 1: without "repair" in findings, and without "salvage" and "repair" */

enum fsck_mode { FSCK_CHECK, FSCK_LIST_ROOTS, FSCK_REPAIR_SAFE, FSCK_REPAIR_ALL, FSCK_SALVAGE };

struct fsck {
  const char *image, *out; /* out: of FSCK_SALVAGE */
  enum fsck_mode mode;
  bool mirage;  /* an image of MirageOS Wodan */
  bool dry_run; /* of a repair: tells what it would do */
  bool verbose, json, bar;
  uint64_t generation, memory; /* 0: the newest root; no limit */
  int progress_fd;             /* numbers go there; -1: nowhere */
  bool bar_shown;
  int percent;                  /* shown last */
  uint64_t bar_done;            /* told last */
  uint64_t bar_start, bar_next; /* nanoseconds: when the work began; when the bar is drawn even if nothing changed */
  bool cancelled;
  struct json answer, extra; /* with json: the object, open in its list; what else was done, when extra_name */
  const char *extra_name;
};

extern volatile sig_atomic_t fsck_interrupted;

/* ---- report.c ------------------------------------------------------------------------------------------------------- */

void on_finding(void *context, const struct wodan_finding *finding); /* context: struct fsck */
int on_progress(void *context, uint64_t done, uint64_t total);
void bar_wipe(struct fsck *fsck);
const char *status_name(int status);
/* The keys of a finding or a step: " [keys "a" .. "m"]" or "", and as JSON. */
struct key_range {
  uint32_t has_range, has_lower, has_upper;
  struct wodan_slice lower, upper;
};
enum { RANGE_TEXT_SIZE = 160 };
void range_text(char out[RANGE_TEXT_SIZE], const struct key_range *range);
void range_json(struct json *json, const char *name, const struct key_range *range);
/* With json, the answer's first members, up to the inside of its list. */
void report_begin(struct fsck *fsck, const char *schema, uint64_t version, const char *list);
/* With json, ends the answer, prints and releases it. Returns the exit code, with what became of that. */
int report_end(struct fsck *fsck, int exit_code);
/* The last lines, or the rest of the JSON object. Returns the exit code, with what became of that. */
int report_summary(struct fsck *fsck, const struct wodan_check_report *report, int status,
                   const struct wodan_error *error, int exit_code);

/* ---- the other modes; each returns the exit code --------------------------------------------------------------------- */

int list_roots(struct fsck *fsck);
int salvage(struct fsck *fsck);
int repair(struct fsck *fsck);

#endif

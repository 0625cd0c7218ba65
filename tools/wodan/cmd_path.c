/* What: `wodan path`: the way of one key: journal, nodes, runs probed, leaf, and every version that is there.
 *
 * Always true: the first version marked is what `wodan get` answers; exit code 1 when that is none or a delete.
 *
 * Order: as a lookup goes, and on down to the leaf.
 *
 * See: include/wodan/inspect.h; tests/cli/test_inspect.sh. */
#include <inttypes.h>
#include <stdio.h>

#include "commands.h"
#include "look.h"
#include "report.h"

struct path_options {
  struct options common;
  const char *key;
  bool previous;
};

static const struct options_verb verb = {
    .arguments = "IMAGE KEY",
    .doc = "Shows the way of a key: the operations of the journal, the nodes it passes, each buffered run and the leaf "
           "with what probing it gave (its filter said no, a page was read, a version was found), newest first. '=>' "
           "marks what a lookup answers; exit code 1 when that is nothing. Reads only, damaged images too."
           "\vThe key is taken as it is, or with --hex or --base64.",
    .shared = OPTIONS_LOOK | OPTIONS_ENCODING,
    .rows = {{"previous", 0, NULL, OPTIONS_FLAG, offsetof(struct path_options, previous), 0, 0,
              "In the tree of the root before the newest, without the journal"}},
    .operands = {OPTIONS_IMAGE, {"key", OPTIONS_TEXT, offsetof(struct path_options, key), false}},
};

struct showing {
  struct json *json; /* with --json */
  uint64_t pages, versions, filtered;
};

static void place_text(char text[40], const struct wodan_path_step *step) {
  if (step->in_journal)
    snprintf(text, 40, "journal");
  else if (step->kind == WODAN_OBJECT_NODE)
    snprintf(text, 40, "node, level %u", step->level);
  else
    snprintf(text, 40, step->kind == WODAN_OBJECT_RUN ? "  run, level %u" : "  leaf", step->level);
}

static const char *look_value(char *out, size_t room, const struct wodan_path_step *step) {
  if (step->large_size == 0) return look_bytes(out, room, step->value);
  snprintf(out, room, "of %" PRIu64 " bytes, large, at block %" PRIu64, step->large_size, step->large_block);
  return out;
}

static void probe_text(char text[300], const struct wodan_path_step *step) {
  char value[120], page[80] = "";
  if (step->page_block != WODAN_NO_BLOCK)
    snprintf(page, sizeof page, ", page at block %" PRIu64 " (%u records)", step->page_block, step->page_count);
  switch (step->probe) {
  case WODAN_PROBE_NODE:
    snprintf(text, 300, "entry %u of %u, %u runs, flushed up to %" PRIu64, step->entry + 1, step->entries, step->runs,
             step->flushed_upto);
    break;
  case WODAN_PROBE_ABSORBED:
    snprintf(text, 300, "passed over: absorbed below");
    break;
  case WODAN_PROBE_FILTERED:
    snprintf(text, 300, "no: its filter says so");
    break;
  case WODAN_PROBE_OUTSIDE:
    snprintf(text, 300, "no: it has no page for the key");
    break;
  case WODAN_PROBE_ABSENT:
    snprintf(text, 300, "no%s%s", step->has_filter ? ", though its filter let it through" : "", page);
    break;
  case WODAN_PROBE_FOUND:
    snprintf(text, 300, "%s, operation %" PRIu64 "%s%s%s",
             step->ranged    ? "DELETED with a range"
             : step->deleted ? "DELETED"
                             : "FOUND",
             step->sequence, page, step->deleted ? "" : ", value ",
             step->deleted ? "" : look_value(value, sizeof value, step));
    break;
  default:
    snprintf(text, 300, "DAMAGED%s", page);
  }
}

static const char *probe_name(uint32_t probe) {
  static const char *const names[] = {"node", "absorbed", "filtered", "outside", "absent", "found", "damaged"};
  return probe <= WODAN_PROBE_DAMAGED ? names[probe] : "unknown";
}

static void describe(struct json *json, const struct wodan_path_step *step) {
  json_open(json, NULL, '{');
  static const char *const kinds[] = {"node", "leaf", "run"};
  json_text(json, "kind", step->in_journal ? "journal" : kinds[step->kind]);
  json_text(json, "probe", probe_name(step->probe));
  json_block(json, "block", step->block);
  if (!step->in_journal) {
    json_number(json, "level", step->level);
    json_number(json, "generation", step->generation);
  }
  if (step->probe == WODAN_PROBE_NODE) {
    json_number(json, "entries", step->entries);
    json_number(json, "entry", step->entry);
    json_number(json, "runs", step->runs);
    json_number(json, "flushed_upto", step->flushed_upto);
  }
  if (step->page_block != WODAN_NO_BLOCK) {
    json_number(json, "page_block", step->page_block);
    json_number(json, "page_offset", step->page_offset);
    json_number(json, "page_size", step->page_size);
    json_number(json, "page_stored", step->page_stored);
    json_number(json, "page_records", step->page_count);
  }
  if (step->probe == WODAN_PROBE_FOUND) {
    json_number(json, "sequence", step->sequence);
    json_bool(json, "deleted", step->deleted != 0);
    if (step->ranged) json_bool(json, "range", true);
    json_bool(json, "decides", step->decides != 0);
    if (step->large_size) json_number(json, "large_size", step->large_size);
    if (step->large_size) json_block(json, "large_block", step->large_block);
    if (!step->deleted && !step->large_size) json_bytes(json, "value", step->value);
  }
  json_close(json, '}');
}

static int on_step(void *context, const struct wodan_path_step *step) {
  struct showing *showing = context;
  char place[40], text[300];
  showing->pages += step->page_block != WODAN_NO_BLOCK;
  showing->versions += step->probe == WODAN_PROBE_FOUND;
  showing->filtered += step->probe == WODAN_PROBE_FILTERED;
  if (showing->json != NULL) {
    describe(showing->json, step);
    return 0;
  }
  place_text(place, step);
  probe_text(text, step);
  if (step->in_journal)
    printf("%2s %-16s block %-10" PRIu64 " %-15s  %s\n", step->decides ? "=>" : "", place, step->block, "", text);
  else
    printf("%2s %-16s block %-10" PRIu64 " gen %-11" PRIu64 "  %s\n", step->decides ? "=>" : "", place, step->block,
           step->generation, text);
  return 0;
}

static int show_path(struct look *look, const struct path_options *options, struct wodan_slice key) {
  struct json json = {0}, *shown = options->common.json ? &json : NULL;
  struct showing showing = {.json = shown};
  struct wodan_error error;
  if (shown != NULL) {
    json_open(shown, NULL, '{');
    json_bytes(shown, "key", key);
    json_open(shown, "steps", '[');
  }
  int status = wodan_inspect_path(look->inspect, options->previous ? WODAN_OLDER_ROOT : WODAN_NEWEST_ROOT, key, on_step,
                                  &showing, &error);
  if (status < 0 && status != WODAN_ENOTFOUND && status != WODAN_ECORRUPT) {
    json_release(&json);
    return look_fail(look, status, &error);
  }
  if (shown != NULL) {
    json_close(shown, ']');
    json_bool(shown, "found", status == 0);
    json_number(shown, "pages_read", showing.pages);
    json_number(shown, "versions", showing.versions);
  } else {
    printf("%" PRIu64 " version%s, %" PRIu64 " page%s read, %" PRIu64 " run%s denied by filter%s%s\n", showing.versions,
           showing.versions == 1 ? "" : "s", showing.pages, showing.pages == 1 ? "" : "s", showing.filtered,
           showing.filtered == 1 ? "" : "s", status < 0 ? "; a lookup fails: " : "", status < 0 ? error.message : "");
  }
  int exit_code = look_end(look, shown, EXIT_CODE_OK);
  if (exit_code != EXIT_CODE_OK || status == 0) return exit_code;
  return report_failure(false, look->options->image, status, report_exit_code(status), "%s", error.message);
}

int cmd_path(int argc, char **argv) {
  struct path_options options = {0};
  options_parse(&verb, argc, argv, &options);
  struct look look = {0};
  struct buffer key = {0};
  int exit_code = options_decode(&options.common, "KEY", options.key, &key);
  if (exit_code == EXIT_CODE_OK) exit_code = look_open(&look, &options.common);
  if (exit_code == EXIT_CODE_OK) exit_code = show_path(&look, &options, buffer_slice(&key));
  look_close(&look);
  buffer_release(&key);
  return exit_code;
}

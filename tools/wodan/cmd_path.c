/* What: `wodan path`: the way of one key: journal, nodes, runs probed, leaf, and every version that is there.
 *
 * Always true: the first version marked is what `wodan get` answers; exit code 1 when that is none or a delete.
 *
 * Order: as a lookup goes, and on down to the leaf.
 *
 * See: include/wodan/inspect.h; tests/cli/test_inspect.sh. */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

#include "commands.h"
#include "look.h"
#include "report.h"

enum { KEY_PREVIOUS = 0x3200 };

struct path_options {
  struct look_options look;
  struct options_encoding encoding;
  const char *key;
  bool previous;
};

static const struct argp_option option_list[] = {
    {"previous", KEY_PREVIOUS, NULL, 0, "In the tree of the root before the newest, without the journal", 0}, {0}};

static const struct argp_child children[] = {{&look_argp, 0, NULL, 0}, {&options_encoding_argp, 0, NULL, 0}, {0}};

static error_t parse(int key, char *argument, struct argp_state *state) {
  struct path_options *path = state->input;
  switch (key) {
  case ARGP_KEY_INIT:
    state->child_inputs[0] = &path->look;
    state->child_inputs[1] = &path->encoding;
    return 0;
  case KEY_PREVIOUS:
    path->previous = true;
    return 0;
  case ARGP_KEY_ARG:
    if (state->arg_num == 0)
      path->look.common.image = argument;
    else if (state->arg_num == 1)
      path->key = argument;
    else
      argp_error(state, "one key is enough");
    return 0;
  case ARGP_KEY_END:
    if (path->key == NULL) argp_error(state, "image and key are needed");
    return 0;
  default:
    return ARGP_ERR_UNKNOWN;
  }
}

static const struct argp argp = {
    .options = option_list,
    .parser = parse,
    .args_doc = "IMAGE KEY",
    .doc = "Shows the way of a key: the operations of the journal, the nodes it passes, each buffered run and the leaf "
           "with what probing it gave (its filter said no, a page was read, a version was found), newest first. '=>' "
           "marks what a lookup answers; exit code 1 when that is nothing. Reads only, damaged images too."
           "\vThe key is taken as it is, or with --hex or --base64.",
    .children = children};

struct showing {
  struct json_object *steps; /* with --json */
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
    snprintf(text, 300, "no: all its keys are smaller");
    break;
  case WODAN_PROBE_ABSENT:
    snprintf(text, 300, "no%s%s", step->has_filter ? ", though its filter let it through" : "", page);
    break;
  case WODAN_PROBE_FOUND:
    snprintf(text, 300, "%s, operation %" PRIu64 "%s%s%s", step->deleted ? "DELETED" : "FOUND", step->sequence, page,
             step->deleted ? "" : ", value ", step->deleted ? "" : look_bytes(value, sizeof value, step->value));
    break;
  default:
    snprintf(text, 300, "DAMAGED%s", page);
  }
}

static const char *probe_name(uint32_t probe) {
  static const char *const names[] = {"node", "absorbed", "filtered", "outside", "absent", "found", "damaged"};
  return probe <= WODAN_PROBE_DAMAGED ? names[probe] : "unknown";
}

static struct json_object *describe(const struct wodan_path_step *step) {
  struct json_object *json = json_object_new_object();
  static const char *const kinds[] = {"node", "leaf", "run"};
  look_add_text(json, "kind", step->in_journal ? "journal" : kinds[step->kind]);
  look_add_text(json, "probe", probe_name(step->probe));
  look_add_block(json, "block", step->block);
  if (!step->in_journal) {
    look_add_number(json, "level", step->level);
    look_add_number(json, "generation", step->generation);
  }
  if (step->probe == WODAN_PROBE_NODE) {
    look_add_number(json, "entries", step->entries);
    look_add_number(json, "entry", step->entry);
    look_add_number(json, "runs", step->runs);
    look_add_number(json, "flushed_upto", step->flushed_upto);
  }
  if (step->page_block != WODAN_NO_BLOCK) {
    look_add_number(json, "page_block", step->page_block);
    look_add_number(json, "page_offset", step->page_offset);
    look_add_number(json, "page_size", step->page_size);
    look_add_number(json, "page_stored", step->page_stored);
    look_add_number(json, "page_records", step->page_count);
  }
  if (step->probe != WODAN_PROBE_FOUND) return json;
  look_add_number(json, "sequence", step->sequence);
  json_object_object_add(json, "deleted", json_object_new_boolean(step->deleted != 0));
  json_object_object_add(json, "decides", json_object_new_boolean(step->decides != 0));
  if (!step->deleted) look_add_bytes(json, "value", step->value);
  return json;
}

static int on_step(void *context, const struct wodan_path_step *step) {
  struct showing *showing = context;
  char place[40], text[300];
  showing->pages += step->page_block != WODAN_NO_BLOCK;
  showing->versions += step->probe == WODAN_PROBE_FOUND;
  showing->filtered += step->probe == WODAN_PROBE_FILTERED;
  if (showing->steps != NULL) {
    json_object_array_add(showing->steps, describe(step));
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
  struct showing showing = {0};
  struct json_object *json = NULL;
  struct wodan_error error;
  if (options->look.common.json) {
    json = json_object_new_object();
    look_add_bytes(json, "key", key);
    json_object_object_add(json, "steps", showing.steps = json_object_new_array());
  }
  int status = wodan_inspect_path(look->inspect, options->previous ? WODAN_OLDER_ROOT : WODAN_NEWEST_ROOT, key, on_step,
                                  &showing, &error);
  if (status < 0 && status != WODAN_ENOTFOUND && status != WODAN_ECORRUPT) {
    json_object_put(json);
    return look_fail(look, status, &error);
  }
  if (json != NULL) {
    json_object_object_add(json, "found", json_object_new_boolean(status == 0));
    look_add_number(json, "pages_read", showing.pages);
    look_add_number(json, "versions", showing.versions);
  } else {
    printf("%" PRIu64 " version%s, %" PRIu64 " page%s read, %" PRIu64 " run%s denied by filter%s%s\n", showing.versions,
           showing.versions == 1 ? "" : "s", showing.pages, showing.pages == 1 ? "" : "s", showing.filtered,
           showing.filtered == 1 ? "" : "s", status < 0 ? "; a lookup fails: " : "", status < 0 ? error.message : "");
  }
  int exit_code = look_end(look, json, EXIT_CODE_OK);
  if (exit_code != EXIT_CODE_OK || status == 0) return exit_code;
  return report_failure(false, look->options->image, status, report_exit_code(status), "%s", error.message);
}

int cmd_path(int argc, char **argv) {
  struct path_options options = {0};
  options_parse(&argp, argc, argv, &options);
  struct look look = {0};
  struct buffer key = {0};
  int exit_code = options_decode(&options.look.common, &options.encoding, "KEY", options.key, &key);
  if (exit_code == EXIT_CODE_OK) exit_code = look_open(&look, &options.look.common, options.look.generation);
  if (exit_code == EXIT_CODE_OK) exit_code = show_path(&look, &options, buffer_slice(&key));
  look_close(&look);
  buffer_release(&key);
  return exit_code;
}

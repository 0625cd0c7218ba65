/* What: `wodan journal`: the ring block by block, oldest first, with the roots, the tail and the head named.
 *
 * Always true: every block of the ring is in some line; without --all neighbours that nothing needs any more share one.
 *
 * Order: by sequence, so the head's place comes first and last.
 *
 * See: include/wodan/inspect.h; tests/cli/test_inspect.sh. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "look.h"
#include "report.h"

struct journal_options {
  struct options common;
  bool all;
};

static const struct options_verb verb = {
    .arguments = "IMAGE",
    .doc =
        "Shows the journal: sequence, place and epoch of each block, records with their operations, checkpoints with "
        "their generations; '-' stands before blocks of the newest root's replay, '|' where the chain is whole. "
        "Reads only, damaged images too.",
    .shared = OPTIONS_LOOK,
    .rows = {{"all", 'a', NULL, OPTIONS_FLAG, offsetof(struct journal_options, all), 0, 0,
              "A line for every block, also for those that nothing needs any more"}},
    .operands = {OPTIONS_IMAGE},
};

/* Neighbours of one kind that share a line. */
struct stretch {
  uint64_t count, first_sequence, last_sequence, first_position, last_position;
  uint32_t kind;
};

struct showing {
  bool all;
  struct stretch stretch;
  struct json *json; /* with --json */
  uint64_t counts[WODAN_JOURNAL_INVALID + 1];
};

static const char *kind_name(uint32_t kind) {
  static const char *const names[] = {"empty", "record", "checkpoint", "seal", "invalid"};
  return kind <= WODAN_JOURNAL_INVALID ? names[kind] : "unknown";
}

static void print_stretch(struct showing *showing) {
  struct stretch *s = &showing->stretch;
  if (s->count == 0) return;
  if (s->kind == WODAN_JOURNAL_INVALID)
    printf("  %12s  positions %" PRIu64 " to %" PRIu64 ": %" PRIu64 " blocks hold nothing valid\n", "-",
           s->first_position, s->last_position, s->count);
  else
    printf("  %12" PRIu64 "  to %" PRIu64 ": %" PRIu64 " %s blocks that nothing needs any more\n", s->first_sequence,
           s->last_sequence, s->count, s->kind == WODAN_JOURNAL_EMPTY ? "empty" : "older");
  *s = (struct stretch){0};
}

static void add_roles(char text[120], uint32_t roles) {
  static const struct {
    uint32_t role;
    const char *text;
  } names[] = {{WODAN_JOURNAL_NEWEST, "newest root"},
               {WODAN_JOURNAL_OLDER, "previous root"},
               {WODAN_JOURNAL_TAIL, "tail: replay starts here"},
               {WODAN_JOURNAL_HEAD, "head: the next block goes here"},
               {WODAN_JOURNAL_REJECTED, "not whole: a large value is missing"}};
  text[0] = '\0';
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (!(roles & names[i].role)) continue;
    snprintf(text + strlen(text), 120 - strlen(text), "%s%s", text[0] == '\0' ? "  <- " : ", ", names[i].text);
  }
}

static void print_block(const struct wodan_journal_block *b) {
  char what[160] = "", roles[120];
  add_roles(roles, b->roles);
  if (b->kind == WODAN_JOURNAL_INVALID) {
    printf("  %12s %9" PRIu64 " %9" PRIu64 "  invalid%s\n", "-", b->position, b->block, roles);
    return;
  }
  if (b->kind == WODAN_JOURNAL_RECORD && b->fragment > 0)
    snprintf(what, sizeof what, "%u of %u", b->fragment + 1, b->fragments);
  else if (b->kind == WODAN_JOURNAL_RECORD && b->operations)
    snprintf(what, sizeof what, "%u of %u, operations %" PRIu64 " to %" PRIu64, b->fragment + 1, b->fragments, b->first,
             b->last);
  else if (b->kind == WODAN_JOURNAL_CHECKPOINT && b->root.generation)
    snprintf(what, sizeof what, "generation %" PRIu64 ", up to operation %" PRIu64 ", tail %" PRIu64,
             b->root.generation, b->root.sequence, b->root.tail);
  else if (b->kind == WODAN_JOURNAL_RECORD || b->kind == WODAN_JOURNAL_CHECKPOINT)
    snprintf(what, sizeof what, "malformed");
  printf("%c%c%12" PRIu64 " %9" PRIu64 " %9" PRIu64 " %6" PRIu64 "  %-10s %6u %12" PRIu64 "  %s%s\n",
         b->roles & WODAN_JOURNAL_REPLAYED ? '-' : ' ', b->roles & WODAN_JOURNAL_CHAINED ? '|' : ' ', b->sequence,
         b->position, b->block, b->epoch, kind_name(b->kind), b->payload, b->flushed_through, what, roles);
}

/* The members that every valid block has. */
static void add_valid(struct json *json, const struct wodan_journal_block *b) {
  json_number(json, "sequence", b->sequence);
  json_number(json, "epoch", b->epoch);
  json_number(json, "flushed_through", b->flushed_through);
  json_number(json, "checkpoint", b->checkpoint);
  json_number(json, "payload", b->payload);
  json_number(json, "fragment", b->fragment);
  json_number(json, "fragments", b->fragments);
  if (b->operations) json_number(json, "first_operation", b->first);
  if (b->operations) json_number(json, "last_operation", b->last);
  if (b->root.generation) look_add_root(json, "root", &b->root);
}

static void describe(struct json *json, const struct wodan_journal_block *b) {
  static const struct {
    uint32_t role;
    const char *text;
  } names[] = {{WODAN_JOURNAL_LIVE, "live"},           {WODAN_JOURNAL_REPLAYED, "replayed"},
               {WODAN_JOURNAL_TAIL, "tail"},           {WODAN_JOURNAL_NEWEST, "newest_root"},
               {WODAN_JOURNAL_OLDER, "previous_root"}, {WODAN_JOURNAL_HEAD, "head"},
               {WODAN_JOURNAL_CHAINED, "chained"},     {WODAN_JOURNAL_UNPROVEN, "unproven"},
               {WODAN_JOURNAL_REJECTED, "rejected"}};
  json_open(json, NULL, '{');
  json_number(json, "position", b->position);
  json_number(json, "block", b->block);
  json_text(json, "kind", kind_name(b->kind));
  json_open(json, "roles", '[');
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (b->roles & names[i].role) json_text(json, NULL, names[i].text);
  }
  json_close(json, ']');
  if (b->kind != WODAN_JOURNAL_INVALID) add_valid(json, b);
  json_close(json, '}');
}

static int on_block(void *context, const struct wodan_journal_block *b) {
  struct showing *showing = context;
  showing->counts[b->kind]++;
  if (showing->json != NULL) {
    describe(showing->json, b);
    return 0;
  }
  uint32_t needed = WODAN_JOURNAL_LIVE | WODAN_JOURNAL_HEAD | WODAN_JOURNAL_NEWEST | WODAN_JOURNAL_OLDER;
  uint32_t kind = b->kind == WODAN_JOURNAL_EMPTY || b->kind == WODAN_JOURNAL_INVALID ? b->kind : WODAN_JOURNAL_RECORD;
  bool alone = showing->all || (b->roles & needed);
  struct stretch *s = &showing->stretch;
  if (s->count > 0 && (alone || s->kind != kind)) print_stretch(showing);
  if (alone) {
    print_block(b);
    return 0;
  }
  if (s->count++ == 0) {
    s->kind = kind;
    s->first_sequence = b->sequence;
    s->first_position = b->position;
  }
  s->last_sequence = b->sequence;
  s->last_position = b->position;
  return 0;
}

static void print_top(const struct wodan_summary *s) {
  char size[24];
  report_size_text(size, (unsigned long long)s->ring * s->journal_block_size);
  printf("Ring of %" PRIu64 " blocks of %u bytes (%s), head %" PRIu64 ", epoch %" PRIu64 "\n", s->ring,
         s->journal_block_size, size, s->head, s->epoch);
  if (s->has_root)
    printf("Replay on generation %" PRIu64 ": %" PRIu64 " records with %" PRIu64 " operations, up to operation %" PRIu64
           "\n",
           s->newest.generation, s->replay_records, s->replay_operations, s->sequence);
  if (s->journal_linear) printf("The end could not be bisected; the whole ring was read.\n");
  printf("\n  %12s %9s %9s %6s  %-10s %6s %12s\n", "sequence", "position", "block", "epoch", "kind", "bytes",
         "flushed");
}

static int show_journal(struct look *look, const struct journal_options *options) {
  const struct wodan_summary *s = &look->summary;
  struct json json = {0}, *shown = options->common.json ? &json : NULL;
  struct showing showing = {.all = options->all, .json = shown};
  struct wodan_error error;
  if (shown != NULL) {
    json_open(shown, NULL, '{');
    json_number(shown, "ring", s->ring);
    json_number(shown, "journal_block_size", s->journal_block_size);
    json_number(shown, "head", s->head);
    json_number(shown, "epoch", s->epoch);
    json_number(shown, "replay_records", s->replay_records);
    json_number(shown, "replay_operations", s->replay_operations);
    look_add_root(shown, "newest", &s->newest);
    look_add_root(shown, "previous", &s->older);
    json_open(shown, "blocks", '[');
  } else {
    print_top(s);
  }
  int status = wodan_inspect_journal(look->inspect, on_block, &showing, &error);
  if (status < 0) {
    json_release(&json);
    return look_fail(look, status, &error);
  }
  if (shown != NULL)
    json_close(shown, ']');
  else
    print_stretch(&showing);
  return look_end(look, shown, EXIT_CODE_OK);
}

int cmd_journal(int argc, char **argv) {
  struct journal_options options = {0};
  options_parse(&verb, argc, argv, &options);
  struct look look;
  int exit_code = look_open(&look, &options.common);
  if (exit_code == EXIT_CODE_OK) exit_code = show_journal(&look, &options);
  look_close(&look);
  return exit_code;
}

/* What: `wodan info`: superblock, derived settings and why they are what they are, roots, journal, and the state that an
 * open finds.
 *
 * Always true: reads only; an image that cannot be opened shows all but what only an open can tell.
 *
 * Order: looked at first, opened second: so damage is told before the open that fails of it.
 *
 * See: include/wodan/stats.h; tests/cli/test_cli.sh. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "image.h"
#include "look.h"
#include "report.h"

static const struct options_verb verb = {
    .arguments = "IMAGE",
    .doc = "Tells what the image is: superblock, geometry, settings and where they come from, both "
           "roots, the journal, and the state an open finds. Reads only, damaged images too.",
    .shared = OPTIONS_READ,
    .operands = {OPTIONS_IMAGE},
};

/* ---- what only an open tells ------------------------------------------------------------------------------------ */

static const char *compression_text(uint32_t how) {
  static const char *const names[] = {"unknown", "off", "fast", "high"};
  return names[how <= WODAN_COMPRESSION_HIGH ? how : 0];
}

static void add_text_size(struct json *json, const char *name, uint64_t bytes) {
  char text[24];
  report_size_text(text, bytes);
  json_text(json, name, text);
}

static void add_opened(struct json *json, const struct wodan_info *info) {
  static const char *const orderings[] = {"none", "by flush", "native"};
  json_text(json, "ordering", info->ordering < 3 ? orderings[info->ordering] : "unknown");
  json_bool(json, "durable", info->durable != 0);
  json_number(json, "key_size_max", info->key_size_max);
  json_number(json, "value_size_max", info->value_size_max);
  json_number(json, "batch_size_max", info->batch_size_max);
  json_number(json, "epoch", info->epoch);
  json_number(json, "generation", info->generation);
  json_number(json, "previous_generation", info->previous_generation);
  json_number(json, "sequence", info->sequence);
  json_number(json, "replayed_operations", info->replayed_operations);
  json_number(json, "dropped_generations", info->dropped_generations);
  json_number(json, "memory_needed", info->memory_needed);
}

/* info NULL: the image could not be opened. */
static void add_image(struct json *json, const struct wodan_summary *s, const struct wodan_info *info) {
  char fsid[2 * sizeof s->fsid + 1];
  for (size_t i = 0; i < sizeof s->fsid; i++) snprintf(fsid + 2 * i, 3, "%02x", s->fsid[i]);
  json_text(json, "fsid", fsid);
  json_number(json, "format_version", s->format_version);
  if (json->lines) add_text_size(json, "size", s->device_size);
  json_number(json, "device_size", s->device_size);
  json_number(json, "blocks", s->blocks);
  json_number(json, "block_size", s->block_size);
  json_number(json, "sector", s->sector);
  json_number(json, "page_size", s->page_size);
  json_number(json, "leaf_size", s->leaf_size);
  json_number(json, "node_leaves", s->node_leaves);
  json_number(json, "node_children", s->node_children);
  json_text(json, "compression", compression_text(s->compression));
  json_number(json, "memtable_size", s->memtable_size);
  json_number(json, "journal_size", s->journal_blocks * s->block_size);
  json_number(json, "journal_block_size", s->journal_block_size);
  if (info != NULL) add_opened(json, info);
}

/* ---- settings and where they come from -------------------------------------------------------------------------- */

struct setting {
  const char *name;
  uint64_t value, usual; /* usual 0: there is none to compare with */
  bool bytes;
  const char *reason;
};

static uint64_t within(uint64_t value, uint64_t least, uint64_t most) {
  return value < least ? least : value > most ? most : value;
}

static uint64_t power_below(uint64_t value) {
  uint64_t power = 1;
  while (power <= value / 2) power *= 2;
  return power;
}

enum { SETTINGS = 12, MIB = 1 << 20 };

static void settings_of(const struct wodan_summary *s, struct setting out[SETTINGS]) {
  uint64_t size = s->blocks_at_format * s->block_size, pages = 4 * (uint64_t)s->page_size;
  uint64_t ring = s->journal_blocks * s->block_size;
  const struct setting settings[SETTINGS] = {
      {"block", s->block_size, size < MIB ? 512 : 4096, true,
       "what space is given out in; 4096 bytes, 512 below 1 MiB"},
      {"page", s->page_size, within(power_below(size / 256), 512, 16384), true,
       "what a lookup reads; volume/256, 512 bytes to 16 KiB"},
      {"key, at most", s->page_size / 8, 0, true, "page/8"},
      {"value in a page", s->page_size / 4, 0, true, "at most page/4; larger ones have blocks of their own"},
      {"memtable", s->memtable_size, within(size / 64, pages, (uint64_t)64 * MIB), true,
       "what becomes a run, and most of what an open replays; volume/64, 4 pages to 64 MiB"},
      {"leaf", s->leaf_size, within(size / 256, pages, MIB / 2), true,
       "what a sweep writes; volume/256, 4 pages to 512 KiB"},
      {"step", s->step_size, 0, true, "work of maintenance at once"},
      {"leaves of a node", s->node_leaves, within(16 * s->memtable_size / s->leaf_size, 16, 2048), false,
       "before it splits; those of 16 memtables, 16 to 2048"},
      {"children of a node", s->node_children, 16, false, "before it splits; 16"},
      {"journal", ring, 0, true, "volume/32, 8 journal blocks to 128 MiB"},
      {"journal block", s->journal_block_size, size < MIB ? 512 : 4096, true, "what a durable commit writes at least"},
      {"journal record, at most", ring / 4, 0, true, "a quarter of the ring; more is checkpointed instead"},
  };
  memcpy(out, settings, sizeof settings);
}

static void add_settings(struct json *json, const struct wodan_summary *s) {
  struct setting settings[SETTINGS];
  json_open(json, "settings", '[');
  settings_of(s, settings);
  for (unsigned i = 0; i < SETTINGS; i++) {
    json_open(json, NULL, '{');
    json_text(json, "name", settings[i].name);
    json_number(json, "value", settings[i].value);
    if (settings[i].usual) json_number(json, "usual", settings[i].usual);
    json_text(json, "reason", settings[i].reason);
    json_close(json, '}');
  }
  json_close(json, ']');
}

static void value_text(char text[32], const struct setting *setting, uint64_t value) {
  if (setting->bytes)
    report_size_text(text, value);
  else
    look_number(text, value);
}

static void print_settings(const struct wodan_summary *s) {
  struct setting settings[SETTINGS];
  settings_of(s, settings);
  printf("\nSettings, and where they come from:\n");
  for (unsigned i = 0; i < SETTINGS; i++) {
    char value[32], usual[32];
    value_text(value, &settings[i], settings[i].value);
    printf("  %-24s %12s  %s", settings[i].name, value, settings[i].reason);
    value_text(usual, &settings[i], settings[i].usual);
    if (settings[i].usual && settings[i].usual != settings[i].value) printf(" (would be %s)", usual);
    printf("\n");
  }
}

/* ---- superblock, roots, journal --------------------------------------------------------------------------------- */

static const char *superblock_text(uint32_t state) {
  static const char *const texts[] = {
      "whole, block 0 and the copy agree", "block 0 is good, the copy at the end is not",
      "block 0 is damaged, the copy at the end was used", "block 0 is good, the copy is behind the device's end"};
  return state <= WODAN_SUPERBLOCK_NO_COPY ? texts[state] : "unknown";
}

static void add_superblock(struct json *json, const struct wodan_summary *s) {
  static const char *const names[] = {"whole", "copy_damaged", "first_damaged", "copy_lost"};
  json_open(json, "superblock", '{');
  json_text(json, "state", s->superblock_state <= WODAN_SUPERBLOCK_NO_COPY ? names[s->superblock_state] : NULL);
  json_number(json, "compat", s->compat);
  json_number(json, "read_only_compat", s->read_only_compat);
  json_number(json, "incompat", s->incompat);
  json_number(json, "blocks_at_format", s->blocks_at_format);
  json_number(json, "data_first", s->data_first);
  json_number(json, "data_end", s->data_end);
  json_close(json, '}');
}

static void add_journal(struct json *json, const struct wodan_summary *s) {
  json_open(json, "journal", '{');
  json_number(json, "ring", s->ring);
  json_number(json, "head", s->head);
  json_number(json, "epoch", s->epoch);
  json_bool(json, "mounted", s->journal_mounted != 0);
  json_bool(json, "linear", s->journal_linear != 0);
  json_number(json, "replay_records", s->replay_records);
  json_number(json, "replay_operations", s->replay_operations);
  json_close(json, '}');
}

static void print_root(const char *name, const struct wodan_root *root) {
  char operations[32];
  if (root->generation == 0) {
    printf("  %-24s none\n", name);
    return;
  }
  printf("  %-24s generation %" PRIu64 ", up to operation %s; record in journal block %" PRIu64 " (block %" PRIu64
         "), replay from %" PRIu64,
         name, root->generation, look_number(operations, root->sequence), root->journal_block, root->block, root->tail);
  if (root->tree_generation)
    printf("; tree at block %" PRIu64 "\n", root->tree_block);
  else
    printf("; empty tree\n");
}

static void print_rest(const struct wodan_summary *s) {
  print_settings(s);
  printf("\nSuperblock:\n  %-24s %s\n  %-24s compat 0x%" PRIx64 ", read-only 0x%" PRIx64 ", incompat 0x%" PRIx64 "\n",
         "state", superblock_text(s->superblock_state), "features", s->compat, s->read_only_compat, s->incompat);
  printf("  %-24s %s\n", "compression of leaves", compression_text(s->compression));
  printf("  %-24s 0 superblock, 1 to %" PRIu64 " journal, %" PRIu64 " to %" PRIu64 " data, %" PRIu64 " copy\n",
         "blocks", s->data_first - 1, s->data_first, s->data_end - 1, s->data_end);
  printf("\nRoots:\n");
  print_root("newest", &s->newest);
  print_root("previous", &s->older);
  printf("\nJournal:\n  %-24s %" PRIu64 " blocks of %u bytes\n  %-24s journal block %" PRIu64 ", epoch %" PRIu64 "\n",
         "ring", s->ring, s->journal_block_size, "head", s->head, s->epoch);
  printf("  %-24s %" PRIu64 " records with %" PRIu64 " operations, up to operation %" PRIu64 "%s\n", "replay",
         s->replay_records, s->replay_operations, s->sequence,
         s->has_root && !s->journal_mounted ? " (on an older root: the newest is out of reach)" : "");
}

/* ---- the command ------------------------------------------------------------------------------------------------ */

/* What an open finds; a status. */
static int open_info(const struct options *options, struct wodan_info *info, struct wodan_error *error) {
  struct wodan_open_options open = {
      .size = sizeof open, .flags = WODAN_OPEN_READ_ONLY, .memory_budget = options->cache};
  struct wodan_db *db = NULL;
  if (options->older_root) open.flags |= WODAN_OPEN_OLDER_ROOT;
  if (options->direct) open.flags |= WODAN_OPEN_DIRECT;
  int status = wodan_open_path(options->image, &open, &db, error);
  error->code = status;
  if (status < 0) return status;
  *info = (struct wodan_info){.size = sizeof *info};
  wodan_info(db, info);
  return wodan_close(db, error);
}

static int show_info(struct look *look) {
  struct wodan_info info;
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  int status = open_info(look->options, &info, &error);
  struct json json = {.lines = !look->options->json};
  json_open(&json, NULL, '{');
  add_image(&json, &look->summary, status < 0 ? NULL : &info);
  if (look->options->json) {
    add_superblock(&json, &look->summary);
    json_open(&json, "roots", '{');
    look_add_root(&json, "newest", &look->summary.newest);
    look_add_root(&json, "previous", &look->summary.older);
    json_close(&json, '}');
    add_journal(&json, &look->summary);
    add_settings(&json, &look->summary);
    if (status < 0) report_add_error(&json, &error);
  } else {
    if (!report_json(&json)) return EXIT_CODE_IO;
    print_rest(&look->summary);
  }
  struct json *shown = json.lines ? NULL : &json;
  if (status == 0) return look_end(look, shown, EXIT_CODE_OK);
  if (!look_show(look, shown)) return EXIT_CODE_IO;
  return report_error(false, look->options->image, &error);
}

int cmd_info(int argc, char **argv) {
  struct options options = {0};
  options_parse(&verb, argc, argv, &options);
  struct look look;
  int exit_code = look_open(&look, &options);
  if (exit_code == EXIT_CODE_OK) exit_code = show_info(&look);
  look_close(&look);
  return exit_code;
}

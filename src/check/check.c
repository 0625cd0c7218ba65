/* Owns: the order of the passes, how findings, progress and failures leave the check.
 *
 * Always true:
 *  - nothing is written to the device: only device_read is reached from this folder;
 *  - damage is a finding and the check goes on; only a lack of memory, an image that is none, or the caller's wish ends it;
 *  - work is bounded: each run and leaf is looked into at most once, and only when its blocks are its own, so they cost no
 *    more than reading the device twice; nodes, and lists of large values, are read once more, to know the whole for
 *    progress, no more blocks than there are; recursion only from level to level of nodes;
 *  - memory: two bits a block, a node for each level, two hash slots per object, some pages, an index and the lines of a filter
 *    that there is room for; never more than 16 bytes a block, 64 KiB and 4 pages, nor more than two reads a block and 16,
 *    unless the caller gave a limit: what is beyond is told and left out.
 *
 * Order: superblock, then journal (it names the roots and the volume's size), then the copy at the volume's end, then the
 * newest tree, and the previous tree last, because only what the newest one does not own is a lesser loss.
 *
 * See: FORMAT.md; tests/unit/test_check.c. */
#include "check/check.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "check/check_private.h"
#include "codec/checksum.h"
#include "format/record.h"
#include "tree/walk.h"

enum { PROGRESS_BYTES = 1 << 20, HEAP_BYTES = 64 << 10, HEAP_PAGES = 4, BOUNCE_BYTES = 16 << 10 };

static void count_finding(struct wodan_check_report *report, uint32_t severity) {
  switch (severity) {
  case WODAN_NOTE:
    report->notes++;
    break;
  case WODAN_WARNING:
    report->warnings++;
    break;
  default:
    report->damages++;
  }
}

/* The sentence with its %s filled; the rest of it stays whole when the detail is long. */
static void compose(char *out, size_t size, const char *prefix, const char *sentence, const char *detail) {
  const char *gap = strstr(sentence, "%s");
  if (!gap) {
    snprintf(out, size, "%s%s", prefix, sentence);
    return;
  }
  snprintf(out, size, "%s%.*s%s%s", prefix, (int)(gap - sentence), sentence, detail, gap + 2);
}

static struct wodan_slice user_key(struct wodan_slice key) {
  if (key.size < TABLE_ID_SIZE) return (struct wodan_slice){NULL, 0};
  return (struct wodan_slice){(const uint8_t *)key.data + TABLE_ID_SIZE, key.size - TABLE_ID_SIZE};
}

static void tell_range(const struct check *check, struct wodan_finding *finding) {
  const struct node_place *range = check->range;
  if (!range) return;
  finding->has_range = 1;
  finding->has_lower = range->has_lower;
  finding->has_upper = range->has_upper;
  if (range->has_lower) finding->lower = user_key(range->lower);
  if (range->has_upper) finding->upper = user_key(range->upper);
}

void check_found(struct check *check, enum finding_id id, uint64_t block, uint64_t generation, const char *detail,
                 ...) {
  const struct finding_row *row = finding_row(id);
  assert(row);
  char filled[320], message[512];
  va_list arguments;
  va_start(arguments, detail);
  vsnprintf(filled, sizeof filled, detail, arguments);
  va_end(arguments);
  compose(message, sizeof message, check->previous ? "previous root: " : "", row->sentence, filled);
  struct wodan_finding finding = {.id = row->id,
                                  .severity = row->severity,
                                  .repair = row->repair,
                                  .block = block,
                                  .generation = generation,
                                  .message = message,
                                  .remedy = row->remedy};
  if (check->previous && finding.severity == WODAN_DAMAGE) {
    finding.severity = WODAN_WARNING;
    finding.repair = WODAN_REPAIR_SAFE;
    finding.remedy = REMEDY_PUBLISHED_AGAIN;
  }
  if (check->salvage_only && finding.repair && finding.repair != WODAN_REPAIR_SALVAGE) {
    finding.repair = WODAN_REPAIR_SALVAGE;
    finding.remedy = REMEDY_SALVAGED;
  }
  tell_range(check, &finding);
  count_finding(check->report, finding.severity);
  if (check->options->finding) check->options->finding(check->options->context, &finding);
}

void check_left_out(struct check *check, const char *what, uint64_t block, uint64_t generation) {
  check->unreached = true;
  check_found(check, FOUND_MEMORY_BOUND, block, generation, "%s of generation %" PRIu64 "; there are %zu bytes", what,
              generation, check->mem.limit); /* no guard: its callers judge */
}

int check_spared(struct check *check, int status, const char *what, uint64_t block, uint64_t generation) {
  uint64_t refused = mem_refused(&check->mem);
  if (status != WODAN_ENOMEM || !check->bounded || refused == check->refused) return status;
  check->refused = refused;
  check_left_out(check, what, block, generation);
  return 0;
}

int check_failed(struct check *check, const struct wodan_error *failure, enum finding_id id, uint64_t block,
                 uint64_t generation, const char *what) {
  assert(failure->code < 0);
  if (failure->code == WODAN_ENOMEM) {
    *check->error = *failure;
    return check_spared(check, WODAN_ENOMEM, what ? what : "object", block, generation);
  }
  if (failure->code == WODAN_EBUDGET) check->unreached = true; /* told in the end */
  if (failure->code == WODAN_EBUDGET) return 0;
  if (failure->block != WODAN_NO_BLOCK) block = failure->block;
  check_found(check, id, block, generation, "%s%s%s", what ? what : "", what ? ": " : "",
              failure->message); /* no guard: told before */
  return 0;
}

int check_progress(struct check *check, uint64_t done) {
  assert(check->superblock.block_size);
  check->done = done;
  uint64_t all = done + check->large_done, total = check->total;
  if (all > total || done >= total) all = total;
  if (!check->options->progress) return 0;
  uint64_t step = PROGRESS_BYTES / check->superblock.block_size;
  if (all && all < check->told + step && all != total) return 0; /* the very first call is always told */
  check->told = all;
  return check->options->progress(check->options->context, all, total) ? CHECK_STOPPED : 0;
}

void check_buffer_release(struct check *check, struct check_buffer *buffer) {
  mem_free(&check->mem, buffer->data, buffer->capacity);
  *buffer = (struct check_buffer){0};
}

int check_buffer_reserve(struct check *check, struct check_buffer *buffer, size_t size) {
  if (size <= buffer->capacity) return 0;
  mem_free(&check->mem, buffer->data, buffer->capacity);
  buffer->data = mem_alloc_aligned(&check->mem, size, BLOCK_IO_ALIGNMENT);
  buffer->capacity = buffer->data ? size : 0;
  return buffer->data ? 0 : status_nomem(check->error);
}

static uint64_t read_limit(const struct superblock *sb, uint64_t blocks) { return (2 * blocks + 16) * sb->block_size; }

/* What the check allows itself, of a device of so many blocks. What could not be read does not count: it is asked for in one
 * piece first, and then block by block. */
static void set_bounds(struct check *check, uint64_t blocks) {
  const struct superblock *sb = &check->superblock;
  if (!check->bounded) return;
  uint64_t ring =
      2ull * sb->journal_block_size; /* one of its blocks, while sectors as large are read for what it names */
  uint64_t heap = 16 * blocks + HEAP_BYTES + ring + HEAP_PAGES * (uint64_t)sb->page_size;
  check->mem.limit = heap < SIZE_MAX ? (size_t)heap : SIZE_MAX;
  uint64_t reads = read_limit(sb, blocks), done = atomic_load(&check->device.counters.read_bytes);
  check->device.reads_left = done < reads ? reads - done : 0;
}

static void volume_setup(struct check *check) {
  const struct superblock *sb = &check->superblock;
  uint64_t there = check->device.raw->geometry.size / sb->block_size;
  check->volume_blocks = sb->device_blocks;
  check->io = (struct block_io){.device = &check->device, .mem = &check->mem, .seed = checksum_seed(sb->fsid)};
  memcpy(check->io.fsid, sb->fsid, sizeof check->io.fsid);
  uint32_t sector = check->device.raw->geometry.sector;
  check->window.capacity = sector < BOUNCE_BYTES ? BOUNCE_BYTES : sector;
  check->io.bounce_max = check->window.capacity;
  check->io.window = &check->window;
  uint64_t most = there > sb->device_blocks ? there : sb->device_blocks; /* a volume may have grown since format */
  check->io.bounds = (struct volume_bounds){
      .block_size = sb->block_size, .data_first = superblock_data_first(sb), .data_end = most - 1};
  check->total = there;
  set_bounds(check, there);
}

static int run_passes(struct check *check) {
  int status = check_superblock(check);
  if (status) return status;
  volume_setup(check);
  status = check_progress(check, 0);
  if (status == 0) status = check_journal(check);
  if (status == 0) status = check_superblock_copy(check);
  if (status == 0) status = check_trees(check);
  check->previous = check->salvage_only = false;
  if (check->device.reads_refused)
    check_found(check, FOUND_READ_BOUND, WODAN_NO_BLOCK, 0, "%" PRIu64 " bytes",
                read_limit(&check->superblock, check->total)); /* no guard: the device's wrapper refused */
  if (status == 0) status = check_progress(check, check->total);
  return status;
}

int check_image(struct wodan_device *device, const struct wodan_check_options *options,
                struct wodan_check_report *report, struct wodan_error *error) {
  struct wodan_error unheard;
  struct check check = {.options = options, .report = report, .error = error ? error : &unheard};
  memset(report, 0, sizeof *report);
  mem_init(&check.mem, &options->allocator);
  check.mem.limit = options->memory_limit < SIZE_MAX ? (size_t)options->memory_limit : 0;
  check.bounded = options->memory_limit == 0;
  int status = device_init(&check.device, device, check.error);
  if (status < 0) return status;
  status = run_passes(&check);
  check_space_count(&check);
  check_space_release(&check);
  block_io_release_window(&check.io);
  struct check_buffer *buffers[] = {&check.page, &check.key, &check.bound, &check.chunk};
  for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) check_buffer_release(&check, buffers[i]);
  assert(check.mem.used == 0);
  report->blocks = check.volume_blocks;
  report->complete = status == 0 && !check.unreached;
  if (status == WODAN_ENOMEM && mem_refused(&check.mem))
    status =
        status_set(check.error, WODAN_EBUDGET, 0, WODAN_NO_BLOCK,
                   "the check needs more memory than the %llu bytes it may take", (unsigned long long)check.mem.limit);
  return status < 0 ? status : 0;
}

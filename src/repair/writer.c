/* Owns: what repair and salvage write, and its order.
 *
 * Always true: nothing is written to a block that was claimed; objects are ordered before the record that names them; a
 * record is written only while the ring has room for it behind the tail of the root before (rule 7).
 *
 * Order: objects; barrier; record; flush: from then on the new tree counts, before it the old one did. The second record
 * names the same tree, and what only the old one used is free for whoever opens the volume next.
 *
 * See: FORMAT.md "Protocol"; tests/unit/test_repair_crash.c. */
#include "repair/writer.h"

#include <assert.h>
#include "base/random.h"

enum { FILTER_KEYS_MAX = 1 << 22 }; /* eight bytes of memory each while a run is written */

int writer_open(struct writer *writer, struct volume *volume, const struct wodan_hooks *hooks,
                struct wodan_error *error) {
  struct block_io *io = &volume->io;
  struct epoch epoch = volume->end.epoch_max;
  *writer = (struct writer){.volume = volume, .generation = volume->end.generation_max};
  if (!journal_counters_sound(&volume->end, 0))
    return status_corrupt(error, WODAN_NO_BLOCK,
                          "a counter in the journal is beyond what a volume can reach"); /* guard: bounds */
  epoch.number++;
  if (random_number(hooks, &epoch.random) < 0)
    return status_set(error, WODAN_EIO, 0, WODAN_NO_BLOCK, "no random bytes for the epoch");
  writer->space = space_create(volume->mem, io->bounds.data_first, io->bounds.data_end);
  if (!writer->space) return status_nomem(error);
  writer->env = (struct run_env){.mem = volume->mem,
                                 .io = io,
                                 .space = writer->space,
                                 .page_size = volume->superblock.page_size,
                                 .filter_keys = FILTER_KEYS_MAX,
                                 .epoch = epoch};
  if (volume->superblock.compression != COMPRESSION_OFF) {
    writer->env.compressor =
        compressor_create(volume->mem, volume->superblock.compression, volume->superblock.page_size);
    if (!writer->env.compressor) return status_nomem(error);
  }
  journal_continue(&volume->journal, &volume->end, epoch);
  return 0;
}

void writer_release(struct writer *writer) {
  compressor_free(writer->env.compressor);
  writer->env.compressor = NULL;
  space_free(writer->space);
  writer->space = NULL;
}

void writer_claim(struct writer *writer, const struct block_ptr *ptr) {
  bool newer = ptr->generation > writer->generation && ptr->generation < JOURNAL_COUNTER_LIMIT;
  if (newer) writer->generation = ptr->generation; /* a large value that only the journal names */
  space_claim_previous(writer->space, ptr->extents, ptr->extent_count);
}

int writer_run(struct writer *writer, enum space_kind kind, uint64_t size_max, struct run_builder **builder,
               struct wodan_error *error) {
  const struct run_build_options options = {.size_max = size_max,
                                            .kind = kind,
                                            .filter = kind == SPACE_BUFFER,
                                            .ranges = kind == SPACE_BUFFER,
                                            .compress = kind == SPACE_LEAF ? writer->volume->superblock.compression
                                                                           : COMPRESSION_OFF};
  return run_builder_create(&writer->env, &options, builder, error);
}

static int allocate(void *context, uint64_t blocks, struct extent *extents, uint32_t *count,
                    struct wodan_error *error) {
  return space_allocate_reserved(context, SPACE_NODE, blocks, extents, count, error);
}

int writer_node(struct writer *writer, const struct node_image *image, struct block_ptr *ptr,
                struct wodan_error *error) {
  struct block_io *io = &writer->volume->io;
  uint8_t *bytes = NULL;
  size_t size = 0;
  const struct node_image_target target = {
      .generation = ++writer->generation, .epoch = writer->env.epoch, .allocate = allocate, .context = writer->space};
  int status = node_image_encode(io, image, &target, &bytes, &size, ptr, error);
  if (status < 0) return status;
  status = block_io_write(io, ptr->extents, ptr->extent_count, 0, bytes, size, error);
  mem_free(io->mem, bytes, size);
  return status;
}

static int publish_once(struct writer *writer, const struct writer_root *root, struct wodan_error *error) {
  struct journal *journal = &writer->volume->journal;
  const struct checkpoint_record record = {.generation = ++writer->generation,
                                           .sequence = root->sequence,
                                           .tail = root->tail ? root->tail : journal->head,
                                           .previous = journal->durable.sequence,
                                           .previous_hash = journal->durable.hash,
                                           .device_blocks = root->device_blocks,
                                           .incompat = writer->volume->superblock.incompat & FEATURE_BLOBS,
                                           .root = root->root,
                                           .catalog = root->catalog};
  int status = device_barrier(&writer->volume->device, error);
  if (status == 0) status = journal_append_checkpoint(journal, &record, error);
  if (status == 0) status = device_flush(&writer->volume->device, error);
  if (status == 0) journal_flushed(journal);
  return status;
}

int writer_publish(struct writer *writer, const struct writer_root *root, bool twice, struct wodan_error *error) {
  struct journal *journal = &writer->volume->journal;
  if (!journal_room_for_checkpoint(journal))
    return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK, "the journal has no room for a checkpoint");
  int status = publish_once(writer, root, error);
  if (status == 0 && twice && journal_room_for_checkpoint(journal)) status = publish_once(writer, root, error);
  if (status < 0 || !journal_room(journal, 1)) return status;
  status = journal_append_seal(journal, error); /* bears witness for the record before it */
  if (status == 0) status = device_flush(&writer->volume->device, error);
  if (status == 0) journal_flushed(journal);
  return status;
}

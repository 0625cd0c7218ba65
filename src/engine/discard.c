/* Owns: the discards of an open database: which policy it has, and sending what is due to the device.
 *
 * Always true: an extent is discarded only while space holds it, and nothing here makes any other operation fail. Locks are not
 * held while the device is at it.
 *
 * Order: what became free did so behind the flush of the checkpoint that gave it up for good (space_checkpoint_durable), so no
 * discard reaches the device before a root that does not need the place is durable. A write into the place is only made behind
 * the return of the discard; that the later of the two stands is the device's contract (device.h), as for two writes. So no
 * barrier is needed between them.
 *
 * See: space/discard.h, DESIGN.md "Discards", tests/crash/test_discards.c. */
#include "base/clock.h"
#include "engine/engine.h"

enum { AT_A_TIME = 16 };

int engine_discard_begin(struct wodan_db *db, const struct wodan_open_options *options, struct wodan_error *error) {
  static const enum discard_policy policies[] = {
      [WODAN_DISCARD_BATCHED] = DISCARD_BATCHED,
      [WODAN_DISCARD_OFF] = DISCARD_OFF,
      [WODAN_DISCARD_EAGER] = DISCARD_EAGER,
  };
  struct discard_setup setup = {.policy = db->read_only ? DISCARD_OFF : policies[options->discard],
                                .block_size = db->io.bounds.block_size,
                                .granularity = db->device.raw->geometry.discard_granularity,
                                .rate = options->discard_rate};
  return space_discard_begin(db->space, &setup) ? 0 : status_nomem(error);
}

/* Sends the extent that is held. Returns what the device answered. */
static int send(struct wodan_db *db, const struct extent *extent, uint64_t *done) {
  uint64_t block = db->io.bounds.block_size;
  int status = device_discard(&db->device, extent->first * block, extent->count * block, done);
  if (status == WODAN_ENOTSUP) engine_log(db, WODAN_LOG_INFO, "the device does not discard; it is not asked any more");
  space_discard_done(db->space, *done / block, status == WODAN_ENOTSUP);
  return status;
}

bool engine_discard(struct wodan_db *db) {
  struct extent extent;
  uint64_t done;
  for (int n = 0; n < AT_A_TIME && !engine_failed(db); n++) {
    if (!space_discard_next(db->space, clock_now(&db->hooks), &extent)) return false;
    send(db, &extent, &done);
  }
  return !engine_failed(db);
}

static int unsupported(struct wodan_error *error) {
  return status_set(error, WODAN_ENOTSUP, 0, WODAN_NO_BLOCK, "the device does not discard");
}

int engine_trim(struct wodan_db *db, const struct wodan_trim_options *options, struct wodan_trim_report *report,
                struct wodan_error *error) {
  uint64_t block = db->io.bounds.block_size;
  bool look = options->flags & WODAN_TRIM_DRY_RUN;
  struct space_trim trim = {.least = options->minimum / block + (options->minimum % block != 0),
                            .most = options->maximum / block,
                            .waiting = options->flags & WODAN_TRIM_WAITING,
                            .look = look};
  struct extent extent;
  int status = 0, stop = 0;
  if (options->maximum && !trim.most) trim.most = 1;
  if (!db->device.raw->geometry.discard_granularity) return unsupported(error);
  while (status == 0 && !stop) {
    if (!look) status = engine_writable(db, error);
    if (status < 0 || !space_trim_next(db->space, &trim, &extent)) break;
    uint64_t done = extent.count * block;
    if (!look) status = send(db, &extent, &done);
    report->discards++;
    report->bytes += done;
    report->refused += extent.count * block - done;
    if (options->progress) stop = options->progress(options->context, report);
    if (status == WODAN_EIO) status = 0;
  }
  return status == WODAN_ENOTSUP ? unsupported(error) : status;
}

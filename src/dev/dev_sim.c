/* Owns: the simulated device while the power is on: its cache and window, its faults, its counters.
 *
 * Always true:
 *  - content = medium with the window applied in order, except for what a fault dropped or pretended;
 *  - the medium changes only by an honest flush, a resize, sim_poke and sim_load;
 *  - once off, no operation has any effect until sim_load;
 *  - faults on reads never change a stored byte; the same calls give the same bytes.
 *
 * Order: a mutation is counted and may cut the power before the hook sees it and before any effect, so the window
 * at the cut is exactly what was in flight.
 *
 * See: dev_sim.h, tests/unit/test_dev_sim.c. The crash states are dev_sim_crash.c. */
#include <assert.h>

#include "dev/dev_sim_private.h"

enum { SECTOR_MIN = 64, SECTOR_MAX = 4096 };

static struct sim *sim_of(struct wodan_device *device) { return (struct sim *)(void *)device; }

/* ---- faults ---------------------------------------------------------------------------------------------------- */

static bool overlaps(const struct sim_fault *f, uint64_t offset, uint64_t size) {
  if (f->kind == SIM_READ_FLIP) return f->argument / 8 >= offset && f->argument / 8 - offset < size;
  if (f->size == 0) return true;
  return f->offset < offset + size && offset < f->offset + f->size;
}

/* Counts a match; true when the fault strikes this time. */
static bool strikes(struct sim *sim, struct sim_fault_state *f) {
  if (f->seen++ < f->fault.skip || (f->fault.times && f->struck >= f->fault.times)) return false;
  f->struck++;
  sim->struck++;
  return true;
}

/* The first fault of this kind that strikes a request, or NULL. */
static const struct sim_fault *struck_by(struct sim *sim, uint8_t kind, uint64_t offset, uint64_t size) {
  for (size_t i = 0; i < sim->fault_count; i++)
    if (sim->faults[i].fault.kind == kind && overlaps(&sim->faults[i].fault, offset, size) &&
        strikes(sim, &sim->faults[i]))
      return &sim->faults[i].fault;
  return NULL;
}

int sim_fault_add(struct sim *sim, const struct sim_fault *fault) {
  void *array = sim->faults;
  if (!mem_array_grow(&sim->mem, &array, &sim->fault_capacity, sim->fault_count + 1, sizeof *sim->faults))
    return WODAN_ENOMEM;
  sim->faults = array;
  sim->faults[sim->fault_count++] = (struct sim_fault_state){.fault = *fault};
  return 0;
}

void sim_faults_clear(struct sim *sim) { sim->fault_count = 0; }
uint64_t sim_faults_struck(const struct sim *sim) { return sim->struck; }

static void heal(struct sim *sim, uint64_t offset, uint64_t size) {
  size_t kept = 0;
  for (size_t i = 0; i < sim->fault_count; i++) {
    const struct sim_fault *f = &sim->faults[i].fault;
    bool healed = f->until_written && f->kind <= SIM_READ_MISDIRECTED && overlaps(f, offset, size);
    if (!healed) sim->faults[kept++] = sim->faults[i];
  }
  sim->fault_count = kept;
}

/* ---- reads ----------------------------------------------------------------------------------------------------- */

/* The part of the read [offset, offset + size) a fault lies on. */
static void clip(const struct sim_fault *f, uint64_t offset, uint64_t size, uint64_t *from, uint64_t *until) {
  *from = offset;
  *until = offset + size;
  if (f->size == 0) return;
  if (f->offset > *from) *from = f->offset;
  if (f->offset + f->size < *until) *until = f->offset + f->size;
}

static void distort(const struct sim *sim, const struct sim_fault *f, uint64_t offset, uint64_t size, uint8_t *data) {
  uint64_t from, until;
  clip(f, offset, size, &from, &until);
  uint8_t sector[SECTOR_MAX];
  for (uint64_t at = from; at < until; at++) {
    uint64_t other = f->argument + (at - (f->size ? f->offset : offset));
    uint8_t *byte = &data[at - offset];
    switch (f->kind) {
    case SIM_READ_ZERO:
      *byte = 0;
      break;
    case SIM_READ_GARBAGE:
      if (at == from || at % sim->sector == 0) sim_garbage(sim, at / sim->sector, UINT64_MAX - 1, sector);
      *byte = sector[at % sim->sector];
      break;
    case SIM_READ_STALE:
      if (sim->older) *byte = sim->older[at];
      break;
    default:
      *byte = other < sim->device.geometry.size ? sim->content[other] : 0;
    }
  }
}

static int do_read(struct sim *sim, uint64_t offset, size_t size, uint8_t *data) {
  memcpy(data, sim->content + offset, size);
  int status = 0;
  for (uint64_t s = 0; sim->marked && s < size / sim->sector; s++) {
    uint8_t mark = sim->content_marks[offset / sim->sector + s];
    if (mark == SIM_MARK_UNREADABLE) status = WODAN_EIO;
    if (mark == SIM_MARK_RANDOM) sim_fill_random(&sim->random, data + s * sim->sector, sim->sector);
  }
  for (size_t i = 0; i < sim->fault_count; i++) {
    struct sim_fault_state *f = &sim->faults[i];
    if (f->fault.kind > SIM_READ_MISDIRECTED || !overlaps(&f->fault, offset, size) || !strikes(sim, f)) continue;
    if (f->fault.kind == SIM_READ_EIO)
      status = WODAN_EIO;
    else if (f->fault.kind == SIM_READ_FLIP)
      data[f->fault.argument / 8 - offset] ^= (uint8_t)(1u << f->fault.argument % 8);
    else
      distort(sim, &f->fault, offset, size, data);
  }
  if (status) memset(data, 0xee, size); /* nobody may use what a failed read left */
  return status;
}

/* ---- writes and discards: into the window ---------------------------------------------------------------------- */

/* The answer to what there is no memory for; nothing of it was done. */
static int starve(struct sim *sim) {
  sim->starved = true;
  return WODAN_EIO;
}

static struct sim_element *element_add(struct sim *sim, uint64_t offset, uint64_t size, bool discard) {
  void *array = sim->elements;
  if (!mem_array_grow(&sim->mem, &array, &sim->element_capacity, sim->element_count + 1, sizeof *sim->elements))
    return NULL;
  sim->elements = array;
  struct sim_element *e = &sim->elements[sim->element_count];
  *e = (struct sim_element){.first = offset / sim->sector,
                            .mutation = sim->mutations,
                            .data = sim->arena_used,
                            .sectors = (uint32_t)(size / sim->sector),
                            .segment = sim->segment,
                            .discard = discard};
  return e;
}

static void serve(struct sim *sim, uint64_t offset, const void *data, size_t size) {
  memcpy(sim->content + offset, data, size);
  memset(sim->content_marks + offset / sim->sector, SIM_MARK_NONE, size / sim->sector);
}

static int take_write(struct sim *sim, uint64_t offset, const void *data, size_t size) {
  if (size == 0) return 0;
  struct sim_element *e = element_add(sim, offset, size, false);
  void *arena = sim->arena;
  if (!e || !mem_array_grow(&sim->mem, &arena, &sim->arena_capacity, sim->arena_used + size, 1)) return starve(sim);
  sim->arena = arena;
  memcpy(sim->arena + sim->arena_used, data, size);
  sim->arena_used += size;
  sim->element_count++;
  serve(sim, offset, data, size);
  for (uint64_t s = 0; s < e->sectors; s++) sim->writes[e->first + s]++;
  heal(sim, offset, size);
  return 0;
}

/* The host's space: false when this write does not fit. */
static bool take_quota(struct sim *sim, uint64_t offset, uint64_t size) {
  if (!sim->options.quota) return true;
  uint64_t first = offset / sim->sector, end = first + size / sim->sector, more = 0;
  for (uint64_t s = first; s < end; s++) more += !sim->stored[s];
  if (sim->stored_count + more > sim->options.quota) return false;
  for (uint64_t s = first; s < end; s++) sim->stored[s] = 1;
  sim->stored_count += more;
  return true;
}

static int do_write(struct sim *sim, uint64_t offset, size_t size, const uint8_t *data) {
  const struct sim_fault *f = struck_by(sim, SIM_WRITE_EIO, offset, size);
  if (f) {
    size_t taken = f->argument < size ? (size_t)(f->argument - f->argument % sim->sector) : size;
    take_write(sim, offset, data, taken);
    return WODAN_EIO;
  }
  if (!take_quota(sim, offset, size)) {
    if (!sim->options.quota_at_flush) return WODAN_ENOSPC;
    sim->over_quota = true;
  }
  f = struck_by(sim, SIM_WRITE_LOST, offset, size);
  if (f) {
    if (f->argument) serve(sim, offset, data, size);
    return 0;
  }
  f = struck_by(sim, SIM_WRITE_MISDIRECTED, offset, size);
  if (f) {
    uint64_t last = sim->device.geometry.size - size, other = f->argument - f->argument % sim->sector;
    offset = other < last ? other : last;
  }
  return take_write(sim, offset, data, size);
}

static int do_discard(struct sim *sim, uint64_t offset, uint64_t size) {
  const struct sim_fault *f = struck_by(sim, SIM_DISCARD_EIO, offset, size);
  if (f) return f->argument ? WODAN_ENOTSUP : WODAN_EIO;
  if (sim->device.geometry.discard_granularity == 0) return WODAN_ENOTSUP;
  struct sim_element *e = element_add(sim, offset, size, true);
  if (!e) return starve(sim);
  sim->element_count++;
  for (uint32_t i = 0; i < e->sectors; i++) {
    sim_apply(sim, e, i, sim->options.discard, sim->content, sim->content_marks);
    if (sim->options.discard == SIM_DISCARD_NOT_DONE) continue;
    sim->stored_count -= sim->stored[e->first + i];
    sim->stored[e->first + i] = 0;
  }
  sim->marked |= sim->options.discard == SIM_DISCARD_RANDOM;
  return 0;
}

/* ---- barriers and flushes -------------------------------------------------------------------------------------- */

static void window_clear(struct sim *sim) {
  sim->element_count = 0;
  sim->arena_used = 0;
  sim->segment = 0;
}

static void window_land(struct sim *sim) {
  for (size_t n = 0; n < sim->element_count; n++) {
    const struct sim_element *e = &sim->elements[n];
    for (uint32_t i = 0; i < e->sectors; i++) {
      size_t at = (size_t)(e->first + i) * sim->sector;
      if (sim->older && !e->discard) memcpy(sim->older + at, sim->medium + at, sim->sector);
      sim_apply(sim, e, i, sim_landed(sim, e), sim->medium, sim->medium_marks);
    }
  }
  window_clear(sim);
}

static void segment_next(struct sim *sim) {
  if (sim->element_count && sim->elements[sim->element_count - 1].segment == sim->segment) sim->segment++;
}

static int window_fate(struct sim *sim, uint64_t fate, int status) {
  if (fate == SIM_WINDOW_KEPT) return status;
  if (fate == SIM_WINDOW_DROPPED) {
    for (size_t n = 0; n < sim->element_count; n++) {
      const struct sim_element *e = &sim->elements[n];
      size_t at = (size_t)e->first * sim->sector;
      memcpy(sim->content + at, sim->medium + at, (size_t)e->sectors * sim->sector);
      memcpy(sim->content_marks + e->first, sim->medium_marks + e->first, e->sectors);
    }
  }
  window_clear(sim);
  return status;
}

static int do_flush(struct sim *sim) {
  const struct sim_fault *f = struck_by(sim, SIM_FLUSH_EIO, 0, 0);
  if (f) return window_fate(sim, f->argument, WODAN_EIO);
  if (sim->over_quota) {
    sim->over_quota = false;
    return window_fate(sim, SIM_WINDOW_DROPPED_SERVED, WODAN_ENOSPC);
  }
  if (struck_by(sim, SIM_FLUSH_LIE, 0, 0) || sim->options.flush == SIM_FLUSH_LYING) return 0;
  if (sim->options.flush == SIM_FLUSH_ORDER_ONLY)
    segment_next(sim);
  else
    window_land(sim);
  return 0;
}

static int do_barrier(struct sim *sim) {
  if (struck_by(sim, SIM_BARRIER_EIO, 0, 0)) return WODAN_EIO;
  if (sim->options.barrier == SIM_BARRIER_BY_FLUSH) return do_flush(sim);
  if (sim->options.barrier == SIM_BARRIER_NATIVE) segment_next(sim);
  return 0;
}

/* ---- the table of functions ------------------------------------------------------------------------------------ */

static bool request_legal(const struct sim *sim, const struct wodan_io *io) {
  const struct wodan_geometry *g = &sim->device.geometry;
  if (io->kind > WODAN_IO_DISCARD || io->size == 0 || io->offset % g->sector || io->size % g->sector) return false;
  if (io->offset > g->size || io->size > g->size - io->offset) return false;
  if (io->kind != WODAN_IO_READ && g->read_only) return false;
  if (io->kind == WODAN_IO_DISCARD) {
    uint32_t granularity = g->discard_granularity;
    return !granularity || (io->offset % granularity == 0 && io->size % granularity == 0);
  }
  if (!io->data || (g->memory_alignment && (uintptr_t)io->data % g->memory_alignment)) return false;
  return !g->io_maximum || io->size <= g->io_maximum;
}

/* Counts an operation; false when the power is off (now). */
static bool powered(struct sim *sim, uint8_t kind) {
  bool mutation = kind != SIM_READ && kind != SIM_RESIZE;
  if (mutation && sim->mutations >= sim->cut) sim->off = true;
  if (sim->off) return false;
  sim->counts[kind]++;
  return true;
}

static int perform(struct sim *sim, const struct sim_operation *op, void *data) {
  switch (op->kind) {
  case SIM_READ:
    return do_read(sim, op->offset, (size_t)op->size, data);
  case SIM_WRITE:
    return do_write(sim, op->offset, (size_t)op->size, data);
  case SIM_DISCARD:
    return do_discard(sim, op->offset, op->size);
  case SIM_BARRIER:
    return do_barrier(sim);
  default:
    assert(op->kind == SIM_FLUSH);
    return do_flush(sim);
  }
}

/* Before anything is done, so that nothing is done that is not kept. */
static bool log_reserve(struct sim *sim) {
  void *array = sim->log;
  if (!sim->options.log) return true;
  bool grown = mem_array_grow(&sim->mem, &array, &sim->log_capacity, sim->log_count + 1, sizeof *sim->log);
  sim->log = array;
  return grown;
}

static void log_add(struct sim *sim, const struct sim_operation *op) {
  if (sim->options.log) sim->log[sim->log_count++] = *op;
}

static int operate(struct sim *sim, uint8_t kind, uint64_t offset, uint64_t size, void *data) {
  if (!log_reserve(sim)) return starve(sim);
  if (!powered(sim, kind)) return WODAN_EIO;
  struct sim_operation op = {.kind = kind, .offset = offset, .size = size, .mutation = sim->mutations};
  if (kind != SIM_READ && sim->options.before) op.status = sim->options.before(sim->options.context, sim, &op);
  if (op.status)
    sim->violations++;
  else
    op.status = perform(sim, &op, data);
  if (kind != SIM_READ) sim->mutations++;
  log_add(sim, &op);
  return op.status;
}

static int sim_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  static const uint8_t kinds[] = {SIM_READ, SIM_WRITE, SIM_DISCARD};
  struct sim *sim = sim_of(device);
  int first = 0;
  lock_acquire(&sim->lock);
  for (size_t i = 0; i < count; i++) {
    struct wodan_io *io = &requests[i];
    io->device_errno = 0;
    if (request_legal(sim, io)) {
      io->status = operate(sim, kinds[io->kind], io->offset, io->size, io->data);
    } else {
      sim->violations++;
      io->status = WODAN_EIO;
    }
    if (!first) first = io->status;
  }
  lock_leave(&sim->lock);
  return first;
}

static int sim_simple(struct wodan_device *device, uint8_t kind) {
  struct sim *sim = sim_of(device);
  lock_acquire(&sim->lock);
  int status = operate(sim, kind, 0, 0, NULL);
  lock_leave(&sim->lock);
  return status;
}

static int sim_barrier(struct wodan_device *device) { return sim_simple(device, SIM_BARRIER); }
static int sim_flush(struct wodan_device *device) { return sim_simple(device, SIM_FLUSH); }

/* Cuts one new allocation into planes, zeroed, and copies what both sizes have. Frees the old one. */
static int planes_make(struct sim *sim, uint64_t sectors) {
  struct sim old = *sim;
  size_t n = (size_t)sectors, bytes = n * sim->sector, planes = sim->options.keep_older ? 3 : 2;
  size_t size = n * sizeof *sim->writes + planes * bytes + 3 * n;
  uint8_t *p = mem_zalloc(&sim->mem, size);
  if (!p) return WODAN_ENOMEM;
  sim->planes = p;
  sim->planes_size = size;
  sim->sectors = sectors;
  sim->writes = (uint32_t *)(void *)p;
  sim->medium = p + n * sizeof *sim->writes;
  sim->content = sim->medium + bytes;
  sim->older = planes == 3 ? sim->content + bytes : NULL;
  sim->medium_marks = sim->medium + planes * bytes;
  sim->content_marks = sim->medium_marks + n;
  sim->stored = sim->content_marks + n;
  size_t common = (size_t)(old.sectors < sectors ? old.sectors : sectors);
  if (!old.planes) return 0;
  memcpy(sim->writes, old.writes, common * sizeof *sim->writes);
  memcpy(sim->medium, old.medium, common * sim->sector);
  memcpy(sim->content, old.content, common * sim->sector);
  if (sim->older && old.older) memcpy(sim->older, old.older, common * sim->sector);
  memcpy(sim->medium_marks, old.medium_marks, common);
  memcpy(sim->content_marks, old.content_marks, common);
  memcpy(sim->stored, old.stored, common);
  mem_free(&sim->mem, old.planes, old.planes_size);
  return 0;
}

/* Durable at once. Growing leaves the window in flight; shrinking lands it first. */
static int resize_to(struct sim *sim, uint64_t size) {
  if (sim->device.geometry.read_only) return WODAN_EREADONLY;
  if (size == 0 || size % sim->sector || size > SIZE_MAX / 8) return WODAN_EINVAL;
  if (size < sim->device.geometry.size) window_land(sim);
  int status = planes_make(sim, size / sim->sector);
  if (status < 0) return status;
  sim->device.geometry.size = size;
  sim->stored_count = 0;
  for (uint64_t s = 0; s < sim->sectors; s++) sim->stored_count += sim->stored[s];
  return 0;
}

static int sim_resize(struct wodan_device *device, uint64_t size) {
  struct sim *sim = sim_of(device);
  int status = WODAN_EIO;
  lock_acquire(&sim->lock);
  if (!log_reserve(sim)) {
    status = starve(sim);
  } else if (powered(sim, SIM_RESIZE)) {
    status = resize_to(sim, size);
    struct sim_operation op = {.kind = SIM_RESIZE, .status = status, .size = size, .mutation = sim->mutations};
    log_add(sim, &op);
  }
  lock_leave(&sim->lock);
  return status;
}

static int sim_close_device(struct wodan_device *device) {
  struct sim *sim = sim_of(device);
  mem_free(&sim->mem, sim->planes, sim->planes_size);
  mem_array_free(&sim->mem, sim->elements, sim->element_capacity, sizeof *sim->elements);
  mem_free(&sim->mem, sim->arena, sim->arena_capacity);
  mem_array_free(&sim->mem, sim->faults, sim->fault_capacity, sizeof *sim->faults);
  mem_array_free(&sim->mem, sim->log, sim->log_capacity, sizeof *sim->log);
  assert(sim->mem.used == 0);
  lock_release(&sim->lock);
  struct mem mem;
  mem_init(&mem, NULL);
  mem_free(&mem, sim, sizeof *sim);
  return 0;
}

static const struct wodan_device_ops sim_ops = {
    .size = sizeof sim_ops,
    .transfer = sim_transfer,
    .barrier = sim_barrier,
    .flush = sim_flush,
    .resize = sim_resize,
    .close = sim_close_device,
};

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void geometry_fill(struct sim *sim, uint64_t size) {
  static const uint8_t ordering[] = {WODAN_ORDER_NATIVE, WODAN_ORDER_BY_FLUSH, WODAN_ORDER_NONE, WODAN_ORDER_NATIVE};
  const struct sim_options *o = &sim->options;
  uint32_t granularity = o->discard_granularity ? o->discard_granularity : sim->sector;
  sim->device.ops = &sim_ops;
  sim->device.geometry = (struct wodan_geometry){.size = size,
                                                 .sector = sim->sector,
                                                 .memory_alignment = o->memory_alignment,
                                                 .io_maximum = o->io_maximum,
                                                 .discard_granularity = granularity == UINT32_MAX ? 0 : granularity,
                                                 .ordering = ordering[o->barrier],
                                                 .durable = !o->not_durable,
                                                 .read_only = o->read_only};
}

int sim_create(uint64_t size, uint32_t sector, const struct sim_options *options, struct sim **made) {
  static const struct sim_options none;
  if (!options) options = &none;
  *made = NULL;
  if (sector < SECTOR_MIN || sector > SECTOR_MAX || (sector & (sector - 1))) return WODAN_EINVAL;
  if (size == 0 || size % sector || size > SIZE_MAX / 8) return WODAN_EINVAL;
  if (options->barrier > SIM_BARRIER_LYING || options->flush > SIM_FLUSH_LYING ||
      options->discard >= SIM_DISCARD_CHOICES)
    return WODAN_EINVAL;
  struct mem mem;
  mem_init(&mem, NULL);
  struct sim *sim = mem_zalloc(&mem, sizeof *sim);
  if (!sim) return WODAN_ENOMEM;
  mem_init(&sim->mem, NULL);
  sim->options = *options;
  sim->sector = sector;
  sim->cut = UINT64_MAX;
  sim->random = options->seed;
  if (planes_make(sim, size / sector) < 0 || lock_init(&sim->lock)) {
    mem_free(&sim->mem, sim->planes, sim->planes_size);
    mem_free(&mem, sim, sizeof *sim);
    return WODAN_ENOMEM;
  }
  geometry_fill(sim, size);
  *made = sim;
  return 0;
}

void sim_close(struct sim *sim) {
  if (sim) sim_close_device(&sim->device);
}

static bool copy_array(struct sim *copy, void **to, size_t *capacity, const void *from, size_t count, size_t size) {
  if (!count) return true;
  if (!mem_array_grow(&copy->mem, to, capacity, count, size)) return false;
  memcpy(*to, from, count * size);
  return true;
}

/* The arrays of a clone; counts are set when everything is there. */
static bool copy_arrays(const struct sim *sim, struct sim *copy) {
  void *elements = NULL, *arena = NULL, *faults = NULL, *log = NULL;
  bool done =
      copy_array(copy, &elements, &copy->element_capacity, sim->elements, sim->element_count, sizeof *sim->elements) &&
      copy_array(copy, &arena, &copy->arena_capacity, sim->arena, sim->arena_used, 1) &&
      copy_array(copy, &faults, &copy->fault_capacity, sim->faults, sim->fault_count, sizeof *sim->faults) &&
      copy_array(copy, &log, &copy->log_capacity, sim->log, sim->log_count, sizeof *sim->log);
  copy->elements = elements;
  copy->arena = arena;
  copy->faults = faults;
  copy->log = log;
  return done;
}

/* A device of the same size and options, its planes copied. */
static int sim_like(const struct sim *sim, uint64_t size, struct sim **made) {
  int status = sim_create(size, sim->sector, &sim->options, made);
  if (status < 0 || size != sim->device.geometry.size) return status;
  struct sim *copy = *made;
  assert(copy->planes_size == sim->planes_size);
  memcpy(copy->planes, sim->planes, sim->planes_size);
  copy->stored_count = sim->stored_count;
  return 0;
}

int sim_clone(const struct sim *sim, struct sim **made) {
  int status = sim_like(sim, sim->device.geometry.size, made);
  if (status < 0) return status;
  struct sim *copy = *made;
  if (!copy_arrays(sim, copy)) {
    sim_close(copy);
    *made = NULL;
    return WODAN_ENOMEM;
  }
  copy->element_count = sim->element_count;
  copy->arena_used = sim->arena_used;
  copy->fault_count = sim->fault_count;
  copy->log_count = sim->log_count;
  memcpy(copy->counts, sim->counts, sizeof copy->counts);
  copy->segment = sim->segment;
  copy->mutations = sim->mutations;
  copy->violations = sim->violations;
  copy->struck = sim->struck;
  copy->cut = sim->cut;
  copy->random = sim->random;
  copy->marked = sim->marked;
  copy->off = sim->off;
  copy->over_quota = sim->over_quota;
  copy->starved = sim->starved;
  return 0;
}

static void load(struct sim *sim, const struct sim_image *image) {
  memcpy(sim->medium, image->bytes, (size_t)image->size);
  memcpy(sim->content, image->bytes, (size_t)image->size);
  memcpy(sim->medium_marks, image->marks, (size_t)sim->sectors);
  memcpy(sim->content_marks, image->marks, (size_t)sim->sectors);
  memset(sim->writes, 0, (size_t)sim->sectors * sizeof *sim->writes);
  sim->marked = memchr(image->marks, SIM_MARK_UNREADABLE, (size_t)sim->sectors) ||
                memchr(image->marks, SIM_MARK_RANDOM, (size_t)sim->sectors);
  window_clear(sim);
  memset(sim->counts, 0, sizeof sim->counts);
  sim->fault_count = sim->log_count = 0;
  sim->mutations = sim->violations = sim->struck = 0;
  sim->cut = UINT64_MAX;
  sim->random = sim->options.seed;
  sim->off = sim->over_quota = sim->starved = false;
}

static bool fits(const struct sim *sim, const struct sim_image *image) {
  return image->size == sim->device.geometry.size && image->sector == sim->sector;
}

int sim_load(struct sim *sim, const struct sim_image *image) {
  if (!fits(sim, image)) return WODAN_EINVAL;
  for (uint64_t s = 0; sim->older && s < sim->sectors; s++) {
    size_t at = (size_t)s * sim->sector;
    if (memcmp(sim->medium + at, image->bytes + at, sim->sector))
      memcpy(sim->older + at, sim->medium + at, sim->sector);
  }
  load(sim, image);
  return 0;
}

int sim_restart(struct sim *sim, const struct sim_image *image) {
  if (!fits(sim, image)) return WODAN_EINVAL;
  if (sim->older) memcpy(sim->older, image->bytes, (size_t)image->size);
  load(sim, image);
  return 0;
}

int sim_reboot(const struct sim *sim, const struct sim_image *image, struct sim **fresh) {
  int status = sim_like(sim, image->size, fresh);
  if (status < 0) return status;
  status = sim_load(*fresh, image);
  if (status < 0) {
    sim_close(*fresh);
    *fresh = NULL;
  }
  return status;
}

/* ---- looking --------------------------------------------------------------------------------------------------- */

struct wodan_device *sim_device(struct sim *sim) {
  return &sim->device;
}
struct sim_options *sim_options(struct sim *sim) {
  return &sim->options;
}
uint64_t sim_size(const struct sim *sim) { return sim->device.geometry.size; }
uint32_t sim_sector(const struct sim *sim) { return sim->sector; }
const uint8_t *sim_medium(const struct sim *sim) { return sim->medium; }
const uint8_t *sim_content(const struct sim *sim) { return sim->content; }

void sim_poke(struct sim *sim, uint64_t offset, const void *bytes, size_t size) {
  assert(offset <= sim->device.geometry.size && size <= sim->device.geometry.size - offset);
  memcpy(sim->medium + offset, bytes, size);
  memcpy(sim->content + offset, bytes, size);
}

uint64_t sim_count(const struct sim *sim, enum sim_kind kind) { return sim->counts[kind]; }
uint64_t sim_mutations(const struct sim *sim) { return sim->mutations; }
bool sim_is_starved(const struct sim *sim) { return sim->starved; }
uint32_t sim_write_count(const struct sim *sim, uint64_t sector_index) { return sim->writes[sector_index]; }
uint64_t sim_violations(const struct sim *sim) { return sim->violations; }
void sim_cut_at(struct sim *sim, uint64_t mutation) { sim->cut = mutation; }
bool sim_is_off(const struct sim *sim) { return sim->off; }

const struct sim_operation *sim_log(const struct sim *sim, size_t *count) {
  *count = sim->log_count;
  return sim->log;
}

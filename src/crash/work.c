/* Owns: workloads: their enumeration, and running one beside its model.
 *
 * Always true: versions[newest] is the content after the last commit tried (entered before the call: a crash during the call
 * may show it already); `acknowledged` the last one known durable.
 *
 * Order: the hook sees a flush before it has any effect, when the window is what a power cut may lose.
 *
 * See: crash_run.c, tests/crash/test_crash_run.c. */
#include "crash/work.h"

#include <stdio.h>
#include <string.h>
#include "crash/sim_plug.h"

enum { KEY_MAX = 40, SMALL_MAX = 120, VALUE_MAX = 2300, FILL_PUTS = 12, BATCH_PUTS = 3 };

const struct work_geometry work_geometries[] = {
    {"tiny", 32 << 10, 512, 512, 0, 0, SIM_DISCARD_ZERO},
    {"torn", 32 << 10, 128, 512, 0, 0, SIM_DISCARD_GARBAGE},
    {"wide", 64 << 10, 512, 1024, 0, 0, SIM_DISCARD_RANDOM},
    {"tree", 64 << 10, 256, 512, 4, 4, SIM_DISCARD_FF},
};
const unsigned work_geometry_count = sizeof work_geometries / sizeof *work_geometries;

static const char letters_all[] = {
#define LETTER(letter, name, share) letter,
    WORK_OPERATIONS(LETTER)
#undef LETTER
};
static const uint8_t shares[] = {
#define SHARE(letter, name, share) share,
    WORK_OPERATIONS(SHARE)
#undef SHARE
};

static uint64_t mix(uint64_t *state) { /* splitmix64 */
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static int next_random(void *context, void *buffer, size_t size) {
  for (size_t i = 0; i < size; i++) ((uint8_t *)buffer)[i] = (uint8_t)mix(context);
  return 0;
}

/* ---- enumeration ------------------------------------------------------------------------------------------------- */

uint64_t work_sequences(unsigned length) {
  uint64_t n = 1;
  for (unsigned i = 0; i < length; i++) n *= WORK_SYSTEMATIC;
  return n;
}

bool work_sequence(unsigned length, uint64_t index, char letters[WORK_LENGTH_MAX + 1]) {
  if (length > WORK_LENGTH_MAX || index >= work_sequences(length)) return false;
  letters[length] = 0;
  for (unsigned i = length; i-- > 0; index /= WORK_SYSTEMATIC) letters[i] = letters_all[index % WORK_SYSTEMATIC];
  return true;
}

void work_random(uint64_t *seed, char letters[WORK_LENGTH_MAX + 1]) {
  unsigned all = 0, length = 4 + (unsigned)(mix(seed) % (WORK_LENGTH_MAX - 3));
  for (size_t i = 0; i < sizeof shares; i++) all += shares[i];
  for (unsigned n = 0; n < length; n++) {
    unsigned at = (unsigned)(mix(seed) % all);
    size_t i = 0;
    while (at >= shares[i]) at -= shares[i++];
    letters[n] = letters_all[i];
  }
  letters[length] = 0;
}

bool work_legal(const char *letters) {
  size_t length = strlen(letters);
  for (size_t i = 0; i < length; i++)
    if (!memchr(letters_all, letters[i], sizeof letters_all)) return false;
  return length > 0 && length <= WORK_LENGTH_MAX;
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

int work_device(const struct work_geometry *geometry, bool lying, struct sim **sim) {
  struct sim_options options = {.flush = lying ? SIM_FLUSH_LYING : SIM_FLUSH_HONEST, .discard = geometry->discard};
  return sim_create(geometry->size, geometry->sector, &options, sim);
}

int work_format(const struct work_geometry *geometry, struct sim_image *image) {
  uint64_t random = 1;
  struct wodan_format_options options = {.block_size = geometry->block,
                                         .node_leaves = geometry->node_leaves,
                                         .node_children = geometry->node_children,
                                         .hooks = {.context = &random, .random = next_random}};
  struct sim *sim;
  *image = (struct sim_image){.size = 0};
  int status = work_device(geometry, false, &sim);
  if (status < 0) return status;
  status = wodan_format(sim_device(sim), &options, NULL);
  if (sim_is_starved(sim)) status = WODAN_ENOMEM;
  if (status == 0) status = sim_image_init(image, sim);
  sim_close(sim);
  return status;
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

static bool failed(struct work *work, const char *what, int status) {
  struct wodan_error error = {.message = ""};
  if (status == WODAN_ENOMEM) work->no_memory = true;
  if (work->db) wodan_last_error(work->db, &error);
  snprintf(work->why, sizeof work->why, "operation %zu: %s answers %d: %s", work->step, what, status, error.message);
  return false;
}

static size_t make_key(uint32_t number, uint8_t key[KEY_MAX]) {
  const char *shape = number % 3 == 1 ? "a/long/common/prefix/%05u" : "%05u";
  return (size_t)snprintf((char *)key, KEY_MAX, shape, number * 7919u % 99991u);
}

/* The value a commit gives a key: 0 to SMALL_MAX bytes, or a large one of up to two chunks. */
static size_t make_value(const struct work *work, uint32_t key, bool large, uint8_t value[VALUE_MAX]) {
  static const uint16_t small_sizes[] = {20, 100, 0, 60, SMALL_MAX, 3};
  static const uint16_t large_sizes[] = {300, 130, 1100, 513, VALUE_MAX, 400};
  const uint16_t *sizes = large ? large_sizes : small_sizes;
  uint64_t state = work->seed * 1000003 + key * 8191ull + model_version(work->model);
  for (size_t i = 0; i < VALUE_MAX; i++) value[i] = (uint8_t)('a' + mix(&state) % 26);
  return sizes[(key + model_version(work->model) + work->seed) % (sizeof small_sizes / sizeof *small_sizes)];
}

static bool grow(struct work *work) {
  void *array = work->versions;
  size_t before = work->capacity;
  if (!mem_array_grow(&work->mem, &array, &work->capacity, work->newest + 2, sizeof *work->versions)) return false;
  work->versions = array;
  for (size_t v = before; v < work->capacity; v++) content_init(&work->versions[v], &work->mem);
  return true;
}

static bool enter_commit(struct work *work) {
  if (!grow(work)) return failed(work, "memory", WODAN_ENOMEM);
  model_commit(work->model);
  work->newest = model_version(work->model);
  model_content(work->model, work->newest, &work->versions[work->newest]);
  return !work->versions[work->newest].failed || failed(work, "memory", WODAN_ENOMEM);
}

static void forget_after(struct work *work, size_t version) {
  model_roll_back(work->model, version);
  work->newest = version;
}

static void acknowledge(struct work *work) { work->acknowledged = work->newest; }

/* ---- operations -------------------------------------------------------------------------------------------------- */

static uint32_t some_key(struct work *work) {
  if (work->next_key == 0) return work->next_key++;
  return strlen(work->letters) > WORK_SYSTEMATIC ? (uint32_t)(mix(&work->random) % work->next_key) : 0;
}

static int put(struct work *work, struct wodan_batch *batch, uint32_t number, bool large) {
  uint8_t key[KEY_MAX], value[VALUE_MAX];
  struct wodan_slice k = {key, make_key(number, key)}, v = {value, make_value(work, number, large, value)};
  int status = wodan_batch_put(batch, k, v);
  if (status == 0) model_put(work->model, k.data, k.size, v.data, v.size);
  return status;
}

static int erase(struct work *work, struct wodan_batch *batch, uint32_t number) {
  uint8_t key[KEY_MAX];
  struct wodan_slice k = {key, make_key(number, key)};
  model_delete(work->model, k.data, k.size);
  return wodan_batch_delete(batch, k);
}

/* Takes the commit back when the volume is full. */
static bool commit(struct work *work, struct wodan_batch *batch, bool durable, bool *full) {
  struct wodan_commit how = {.durability = durable ? WODAN_DURABLE : WODAN_BUFFERED};
  if (!enter_commit(work)) return false;
  int status = wodan_batch_commit(work->db, batch, &how);
  if (status == WODAN_ENOSPC && how.sequence == 0) {
    forget_after(work, work->newest - 1);
    *full = true;
    return true;
  }
  if (status < 0) return failed(work, "a commit", status);
  if (durable) acknowledge(work);
  return true;
}

/* Everything from some key on, or up to it, and that key anew: it is newer than the range. */
static int erase_range(struct work *work, struct wodan_batch *batch) {
  uint8_t key[KEY_MAX];
  uint32_t number = some_key(work);
  struct wodan_slice k = {key, make_key(number, key)};
  bool above = (work->newest + work->seed) % 2;
  model_delete_range(work->model, above ? &k : NULL, above ? NULL : &k);
  int status = wodan_batch_delete_range(batch, above ? &k : NULL, above ? NULL : &k);
  return status ? status : put(work, batch, number, false);
}

static int collect(struct work *work, struct wodan_batch *batch, char letter, uint32_t number) {
  int status = 0;
  switch (letter) {
  case WORK_OVERWRITE:
    return put(work, batch, some_key(work), false);
  case WORK_DELETE:
    return erase(work, batch, some_key(work));
  case WORK_ERASE:
    return erase_range(work, batch);
  case WORK_EMPTY:
    return erase(work, batch, number);
  case WORK_BATCH:
    for (int i = 0; i < BATCH_PUTS && status == 0; i++) status = put(work, batch, work->next_key++, false);
    return status ? status : erase(work, batch, some_key(work));
  case WORK_LARGE:
  case WORK_LARGE_DURABLE:
    return put(work, batch, work->step % 2 ? some_key(work) : work->next_key++, true);
  default:
    return put(work, batch, work->next_key++, false);
  }
}

static bool change(struct work *work, char letter) {
  uint32_t count = letter == WORK_FILL ? FILL_PUTS : letter == WORK_EMPTY ? work->next_key : 1;
  bool full = false, good = true;
  for (uint32_t i = 0; i < count && good && !full && !work->stop; i++) {
    struct wodan_batch *batch;
    int status = wodan_batch_create(work->db, &batch);
    if (status < 0) return failed(work, "a batch", status);
    status = collect(work, batch, letter, i);
    bool durable = letter == WORK_DURABLE || letter == WORK_LARGE_DURABLE;
    full = status == WODAN_ENOSPC; /* of a large value, which is written before the commit */
    if (!full) good = status == 0 ? commit(work, batch, durable, &full) : failed(work, "a batch", status);
    wodan_batch_free(batch);
  }
  return good && (!full || letter != WORK_EMPTY || failed(work, "a delete on a full volume", WODAN_ENOSPC));
}

static bool open_database(struct work *work) {
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE,
                                       .memory_budget = (1 << 20) + 2 * work->geometry->size,
                                       .discard = WODAN_DISCARD_EAGER,
                                       .hooks = {.context = &work->random, .random = next_random}};
  struct wodan_error error;
  work->plug = sim_plug(work->sim);
  if (!work->plug) return failed(work, "memory", WODAN_ENOMEM);
  int status = wodan_open(work->plug, &options, &work->db, &error);
  if (status < 0) {
    wodan_device_close(work->plug);
    work->db = NULL;
    failed(work, "open", status);
    snprintf(work->why, sizeof work->why, "operation %zu: open: %s", work->step, error.message);
    return false;
  }
  status = content_read(&work->found, work->db, false);
  if (status < 0) return failed(work, "reading after an open", status);
  size_t version = work->newest;
  while (version > work->acknowledged && !content_equal(&work->found, &work->versions[version])) version--;
  if (!content_equal(&work->found, &work->versions[version])) {
    char what[160] = "";
    content_differ(&work->found, &work->versions[version], what, sizeof what);
    snprintf(work->why, sizeof work->why, "operation %zu: after an open: %s", work->step, what);
    return false;
  }
  forget_after(work, version);
  acknowledge(work); /* what a writable mount shows is durable */
  return true;
}

static void drop(struct work *work) {
  if (!work->db) return;
  sim_unplug(work->plug);
  wodan_close(work->db, NULL);
  work->db = NULL;
}

static bool reopen(struct work *work, bool kill) {
  int status = 0;
  if (kill)
    drop(work);
  else
    status = wodan_close(work->db, NULL);
  work->db = NULL;
  if (status < 0) return failed(work, "close", status);
  if (!kill) acknowledge(work);
  return open_database(work);
}

static bool operate(struct work *work, char letter) {
  int status = 0;
  switch (letter) {
  case WORK_SYNC:
    status = wodan_sync(work->db);
    break;
  case WORK_CHECKPOINT:
    status = wodan_checkpoint(work->db, NULL);
    break;
  case WORK_COMPACT:
    status = wodan_compact(work->db, NULL, NULL, 0, NULL);
    return status == 0 || status == WODAN_ENOSPC || failed(work, "compact", status);
  case WORK_REOPEN:
  case WORK_KILL:
    return reopen(work, letter == WORK_KILL);
  default:
    return change(work, letter);
  }
  if (status < 0) return failed(work, letter == WORK_SYNC ? "sync" : "checkpoint", status);
  acknowledge(work);
  return true;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void look(struct work *work) {
  work->busy = true;
  if (!work->stop) work->window(work->context, work);
  work->windows++;
  work->busy = false;
}

static int before(void *context, struct sim *sim, const struct sim_operation *operation) {
  struct work *work = context;
  if (operation->kind == SIM_FLUSH && !work->busy) look(work);
  return operation->kind == SIM_DISCARD ? discard_watch(&work->watch, sim, operation) : 0;
}

bool work_run(struct work *work) {
  mem_init(&work->mem, NULL);
  content_init(&work->found, &work->mem);
  work->watch = (struct discard_watch){.mem = &work->mem};
  work->model = model_create();
  work->random = work->seed;
  if (!work->model || !grow(work)) return failed(work, "memory", WODAN_ENOMEM);
  sim_options(work->sim)->before = before;
  sim_options(work->sim)->context = work;
  bool good = open_database(work);
  size_t length = strlen(work->letters);
  for (work->step = 1; good && !work->stop && work->step <= length; work->step++)
    good = operate(work, work->letters[work->step - 1]);
  work->step = length;
  if (good && !work->stop) look(work);
  sim_options(work->sim)->before = NULL;
  drop(work);
  work->no_memory |= sim_is_starved(work->sim);
  if (good && work->watch.wrong) good = failed(work, work->watch.why, WODAN_EIO);
  if (good && sim_violations(work->sim)) good = failed(work, "the device, used against its contract,", WODAN_EINVAL);
  return good || work->stop;
}

void work_release(struct work *work) {
  drop(work);
  model_free(work->model);
  content_release(&work->found);
  discard_watch_release(&work->watch);
  for (size_t v = 0; v < work->capacity; v++) content_release(&work->versions[v]);
  mem_array_free(&work->mem, work->versions, work->capacity, sizeof *work->versions);
}

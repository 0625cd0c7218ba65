/* Large values through the public API: every size around its borders, over memtables, journal, runs, leaves, crashes and
 * reopening; space that comes back; parts and streams. */
#include "engine_rig.h"

#include <wodan/check.h>
#include <wodan/repair.h>
#include "engine/engine.h"
#include "tree/node.h"

enum { MIB = 1 << 20, KEYS = 24 };

/* ---- values told by their numbers ---------------------------------------------------------------------------------- */

static uint64_t seed_of_test(uint64_t seed) {
  const char *text = getenv("WODAN_SEED");
  return text ? strtoull(text, NULL, 0) : seed;
}

struct truth {
  struct rig rig;
  uint32_t page, compression;
  uint64_t random, seed;
  uint32_t versions[KEYS]; /* 0: absent */
  uint32_t version;
};

#define truth_fail(truth, ...)                                                                                         \
  do {                                                                                                                 \
    print_error("replay with WODAN_SEED=%llu\n", (unsigned long long)(truth)->seed);                                   \
    fail_msg(__VA_ARGS__);                                                                                             \
  } while (0)

/* Sizes around the quarter page and the chunks, and any. */
static size_t size_of(const struct truth *truth, uint64_t key, uint32_t version) {
  uint64_t state = key * 977 + version;
  size_t chunk = 4u * truth->page, quarter = truth->page / 4;
  const size_t borders[] = {0,         1,     quarter - 1, quarter,   quarter + 1,   truth->page,
                            chunk - 1, chunk, chunk + 1,   2 * chunk, 3 * chunk - 1, quarter + 7};
  uint64_t pick = random_next(&state) % 16;
  return pick < 12 ? borders[pick] : random_next(&state) % (6 * chunk);
}

static struct wodan_slice value_of(const struct truth *truth, uint64_t key, uint32_t version, uint8_t *out) {
  size_t size = size_of(truth, key, version);
  uint64_t state = key << 32 ^ version;
  bool dull = version % 3 == 0; /* LZ4 gains by it */
  for (size_t i = 0; i < size; i++) out[i] = dull ? (uint8_t)(i / 64 + version) : (uint8_t)random_next(&state);
  return (struct wodan_slice){out, size};
}

static uint8_t *room_for(const struct truth *truth) {
  uint8_t *bytes = malloc(24u * truth->page + 16);
  assert_non_null(bytes);
  return bytes;
}

static void put_one(struct truth *truth, uint64_t key, uint32_t durability) {
  char name[32];
  uint8_t *bytes = room_for(truth);
  struct wodan_commit commit = {.durability = durability};
  uint32_t version = ++truth->version;
  assert_done(truth->rig.db,
              wodan_put(truth->rig.db, key_number(key, name), value_of(truth, key, version, bytes), &commit));
  truth->versions[key] = version;
  free(bytes);
}

static void judge_in(struct truth *truth, struct wodan_db *db, uint64_t key, uint32_t version) {
  char name[32];
  uint8_t *wanted = room_for(truth), *found = room_for(truth);
  size_t size = 0;
  int status = wodan_get(db, NULL, key_number(key, name), found, 24u * truth->page, &size);
  if (version == 0) {
    if (status != WODAN_ENOTFOUND) truth_fail(truth, "key %u is there", (unsigned)key);
  } else {
    struct wodan_slice value = value_of(truth, key, version, wanted);
    if (status < 0) truth_fail(truth, "key %u: %d %s", (unsigned)key, status, rig_why(db));
    if (size != value.size || memcmp(found, value.data, size) != 0)
      truth_fail(truth, "key %u has %zu other bytes than the %zu of version %u", (unsigned)key, size, value.size,
                 version);
  }
  free(wanted);
  free(found);
}

static void judge(struct truth *truth, struct wodan_db *db) {
  for (uint64_t key = 0; key < KEYS; key++) judge_in(truth, db, key, truth->versions[key]);
}

/* The image as it is now, or would be after a crash that lost nothing. */
static struct wodan_check_report checked(struct truth *truth, struct kept_bytes *kept) {
  struct wodan_check_report report = {0};
  struct wodan_check_options options = {.size = sizeof options};
  struct wodan_device *device = kept_plug(kept, truth->rig.sector, 0);
  assert_int_equal(wodan_check(device, &options, &report, NULL), 0);
  assert_int_equal(wodan_device_close(device), 0);
  if (!report.complete || report.damages || report.warnings)
    truth_fail(truth, "the check found %u damages and %u warnings", (unsigned)report.damages,
               (unsigned)report.warnings);
  return report;
}

static void judge_after_crash(struct truth *truth) {
  struct rig other = {.kept = kept_copy(truth->rig.kept), .sector = truth->rig.sector, .random = truth->random};
  checked(truth, other.kept);
  rig_open(&other);
  judge(truth, other.db);
  put_text(other.db, "after", "the crash");
  rig_close(&other);
  checked(truth, other.kept);
  rig_open(&other);
  judge(truth, other.db);
  rig_close(&other);
  kept_free(other.kept);
}

static void truth_start(struct truth *truth, uint64_t size, const struct wodan_format_options *format, uint64_t seed) {
  memset(truth, 0, sizeof *truth);
  rig_start(&truth->rig, size, format);
  struct wodan_info info = rig_info(truth->rig.db);
  truth->page = info.page_size;
  truth->seed = truth->random = seed;
}

/* Used and deferred blocks are exactly what the tree and its blobs have. */
static void assert_space_exact(struct truth *truth) {
  struct wodan_db *db = truth->rig.db;
  engine_tree_enter(db);
  uint64_t named = 0;
  for (uint64_t key = 0; key < KEYS; key++)
    named += truth->versions[key] && size_of(truth, key, truth->versions[key]) > truth->page / 4;
  assert_int_equal(blobs_counts(db->blobs).count, named);
  engine_tree_leave(db);
}

/* ---- tests --------------------------------------------------------------------------------------------------------- */

static void test_a_large_value_comes_back(void **state) {
  (void)state;
  struct truth truth;
  truth_start(&truth, 4 * MIB, NULL, 1);
  for (uint64_t key = 0; key < KEYS; key++) put_one(&truth, key, WODAN_BUFFERED);
  judge(&truth, truth.rig.db); /* memtable */
  assert_done(truth.rig.db, wodan_checkpoint(truth.rig.db, NULL));
  judge(&truth, truth.rig.db); /* run */
  assert_done(truth.rig.db, wodan_compact(truth.rig.db, NULL, NULL, 0, NULL));
  judge(&truth, truth.rig.db); /* leaves */
  rig_close(&truth.rig);
  checked(&truth, truth.rig.kept);
  rig_open(&truth.rig);
  judge(&truth, truth.rig.db);
  assert_space_exact(&truth);
  rig_end(&truth.rig);
}

static void test_a_durable_large_value_survives(void **state) {
  (void)state;
  struct truth truth;
  truth_start(&truth, 4 * MIB, NULL, 2);
  for (uint64_t key = 0; key < KEYS; key++) {
    put_one(&truth, key, WODAN_DURABLE);
    judge_after_crash(&truth);
  }
  rig_end(&truth.rig);
}

static void step(struct truth *truth) {
  char name[32];
  struct wodan_db *db = truth->rig.db;
  uint64_t key = random_next(&truth->random) % KEYS, dice = random_next(&truth->random) % 100;
  if (dice < 70) {
    put_one(truth, key, dice < 10 ? WODAN_DURABLE : WODAN_BUFFERED);
  } else if (dice < 85) {
    assert_done(db, wodan_delete(db, key_number(key, name), NULL));
    truth->versions[key] = 0;
  } else if (dice < 90) {
    assert_done(db, wodan_checkpoint(db, NULL));
  } else if (dice < 93) {
    assert_done(db, wodan_compact(db, NULL, NULL, 0, NULL));
  } else if (dice < 96) {
    assert_done(db, wodan_sync(db));
    judge_after_crash(truth);
  } else {
    rig_close(&truth->rig);
    checked(truth, truth->rig.kept);
    struct wodan_open_options options = rig_options(&truth->rig);
    options.compression = truth->compression ? 1 + (uint32_t)(random_next(&truth->random) % truth->compression) : 0;
    rig_open_with(&truth->rig, &options);
  }
}

/* A model over reopening and crashes, small pages and large, compression switched. */
static void test_model(void **state) {
  (void)state;
  static const struct {
    uint64_t size;
    uint32_t page, block, compression;
    unsigned steps;
  } shapes[] = {{256 << 10, 512, 512, 0, 700},
                {512 << 10, 1024, 512, WODAN_COMPRESSION_HIGH, 500},
                {8 * MIB, 4096, 4096, WODAN_COMPRESSION_FAST, 300},
                {24 * MIB, 16384, 4096, 0, 150}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    struct truth truth;
    const struct wodan_format_options format = {.size = sizeof format,
                                                .block_size = shapes[s].block,
                                                .page_size = shapes[s].page,
                                                .compression = shapes[s].compression};
    truth_start(&truth, shapes[s].size, &format, seed_of_test(40 + s));
    truth.compression = shapes[s].compression;
    for (unsigned i = 0; i < shapes[s].steps; i++) {
      step(&truth);
      if (i % 16 == 0) judge(&truth, truth.rig.db);
    }
    assert_done(truth.rig.db, wodan_checkpoint(truth.rig.db, NULL));
    assert_done(truth.rig.db, wodan_compact(truth.rig.db, NULL, NULL, 0, NULL));
    rig_reopen(&truth.rig);
    judge(&truth, truth.rig.db);
    assert_space_exact(&truth);
    rig_close(&truth.rig);
    checked(&truth, truth.rig.kept);
    rig_end(&truth.rig);
  }
}

/* ---- parts and streams --------------------------------------------------------------------------------------------- */

static void test_parts_and_streams(void **state) {
  (void)state;
  struct truth truth;
  const struct wodan_format_options format = {.size = sizeof format, .page_size = 1024};
  truth_start(&truth, 2 * MIB, &format, 3);
  struct wodan_db *db = truth.rig.db;
  enum { SIZE = 30000, STEP = 777 };
  uint8_t *bytes = malloc(SIZE), *found = malloc(SIZE);
  uint64_t random = 9;
  for (size_t i = 0; i < SIZE; i++) bytes[i] = (uint8_t)random_next(&random);
  for (unsigned hint = 0; hint < 3; hint++) { /* unknown, too little, right */
    struct wodan_value_writer *writer;
    struct wodan_commit commit = {.durability = WODAN_DURABLE};
    assert_done(db, wodan_value_writer_create(db, sl("stream"), hint * (SIZE / 2), &writer));
    for (size_t at = 0; at < SIZE; at += STEP)
      assert_done(db, wodan_value_writer_append(writer, bytes + at, SIZE - at < STEP ? SIZE - at : STEP));
    if (hint == 0) assert_absent(db, NULL, "stream");
    assert_done(db, wodan_value_writer_commit(writer, &commit));
    assert_int_equal(wodan_value_writer_commit(writer, &commit), WODAN_EINVAL);
    assert_int_equal(wodan_close(db, NULL), WODAN_EBUSY);
    wodan_value_writer_free(writer);
  }
  for (uint64_t at = 0; at < SIZE + 10; at += 1237) {
    struct wodan_part part = {.offset = at, .buffer = found, .capacity = 5000};
    assert_done(db, wodan_get_part(db, NULL, sl("stream"), &part));
    size_t due = at >= SIZE ? 0 : SIZE - at < 5000 ? (size_t)(SIZE - at) : 5000;
    assert_int_equal(part.size, due);
    assert_int_equal(part.value_size, SIZE);
    assert_memory_equal(found, bytes + (at < SIZE ? at : 0), due);
  }
  struct wodan_value_reader *reader;
  uint64_t size = 0;
  size_t got = 1, all = 0;
  assert_done(db, wodan_value_reader_open(db, NULL, sl("stream"), &reader, &size));
  assert_done(db, wodan_delete(db, sl("stream"), NULL)); /* the reader keeps it, whatever becomes of its key */
  assert_done(db, wodan_checkpoint(db, NULL));
  assert_done(db, wodan_compact(db, NULL, NULL, 0, NULL));
  for (int i = 0; i < 3; i++) assert_done(db, wodan_put(db, sl("other"), (struct wodan_slice){found, SIZE}, NULL));
  for (; got; all += got)
    assert_done(db, wodan_value_reader_read(reader, found + all, SIZE - all < STEP ? SIZE - all : STEP, &got));
  assert_int_equal(all, SIZE);
  assert_memory_equal(found, bytes, SIZE);
  wodan_value_reader_close(reader);
  struct wodan_value_writer *given_up;
  uint64_t free_before = rig_stats(db).space_free;
  assert_done(db, wodan_value_writer_create(db, sl("never"), 0, &given_up));
  for (int i = 0; i < 3; i++) assert_done(db, wodan_value_writer_append(given_up, bytes, SIZE));
  wodan_value_writer_free(given_up);
  assert_int_equal(rig_stats(db).space_free, free_before);
  struct wodan_pinned pinned;
  assert_done(db, wodan_put(db, sl("stream"), (struct wodan_slice){bytes, SIZE}, NULL));
  assert_done(db, wodan_get_pinned(db, NULL, sl("stream"), &pinned));
  assert_memory_equal(pinned.value.data, bytes, SIZE);
  wodan_unpin(db, &pinned);
  struct wodan_cursor *cursor;
  struct wodan_part part = {.offset = 20000, .buffer = found, .capacity = 100};
  assert_done(db, wodan_cursor_open(db, NULL, &cursor));
  assert_done(db, wodan_cursor_seek(cursor, sl("stream")));
  assert_int_equal(wodan_cursor_value(cursor).size, SIZE);
  assert_memory_equal(wodan_cursor_value(cursor).data, bytes, SIZE);
  assert_done(db, wodan_cursor_read(cursor, &part));
  assert_memory_equal(found, bytes + 20000, 100);
  wodan_cursor_close(cursor);
  free(bytes);
  free(found);
  rig_end(&truth.rig);
}

/* ---- space and writing --------------------------------------------------------------------------------------------- */

/* Values of 100 KB over and over in a volume a third full of them: each is written once, and the space of the former comes
 * back in time. */
static void test_written_once(void **state) {
  (void)state;
  enum { SIZE = 100000, LIVE = 50, PUTS = 600 };
  struct truth truth;
  truth_start(&truth, 16 * MIB, NULL, 4);
  struct wodan_db *db = truth.rig.db;
  uint8_t *bytes = malloc(SIZE);
  char name[32];
  uint64_t random = 5, puts = 0, before = 0, measured = 0;
  for (unsigned i = 0; i < PUTS; i++) {
    for (size_t b = 0; b < SIZE; b += 8) {
      uint64_t word = random_next(&random);
      memcpy(bytes + b, &word, 8);
    }
    if (i == LIVE) before = rig_stats(db).device_write_bytes;
    assert_done(db, wodan_put(db, key_number(i < LIVE ? i : random_next(&random) % LIVE, name),
                              (struct wodan_slice){bytes, SIZE}, NULL));
    puts += i >= LIVE;
  }
  assert_done(db, wodan_checkpoint(db, NULL));
  measured = rig_stats(db).device_write_bytes - before;
  double amplification = (double)measured / (double)(puts * SIZE);
  print_message("overwriting values of 100 KB: %.3f bytes written for each\n", amplification);
  assert_true(amplification <= 1.1);
  free(bytes);
  rig_close(&truth.rig);
  checked(&truth, truth.rig.kept);
  rig_end(&truth.rig);
}

/* What does not fit is refused before anything changed, and less still fits; what is deleted gives its space back. */
static void test_a_full_volume(void **state) {
  (void)state;
  enum { SIZE = 60000 };
  struct truth truth;
  truth_start(&truth, 4 * MIB, NULL, 6);
  struct wodan_db *db = truth.rig.db;
  uint8_t *bytes = calloc(1, 8 * MIB);
  char name[32];
  assert_int_equal(wodan_put(db, sl("huge"), (struct wodan_slice){bytes, 8 * MIB}, NULL), WODAN_ENOSPC);
  for (int round = 0; round < 3; round++) {
    uint64_t n = 0;
    int status = 0;
    while (status == 0) {
      status = wodan_put(db, key_number(n, name), (struct wodan_slice){bytes, SIZE}, NULL);
      n += status == 0;
    }
    assert_int_equal(status, WODAN_ENOSPC);
    assert_in_range(n, 30, 70);
    put_text(db, "small", "still fits");
    for (uint64_t i = 0; i < n; i++) assert_done(db, wodan_delete(db, key_number(i, name), NULL));
  }
  free(bytes);
  rig_close(&truth.rig);
  checked(&truth, truth.rig.kept);
  rig_end(&truth.rig);
}

/* ---- damage -------------------------------------------------------------------------------------------------------- */

static void count_finding(void *context, const struct wodan_finding *finding) {
  uint32_t *ids = context;
  if (finding->id < 128) ids[finding->id]++;
}

/* In place: afterwards the check finds nothing, what is there is right, and what is missing was told; or it is refused. */
static bool repaired_in_place(struct truth *truth, struct kept_bytes *kept) {
  struct wodan_device *device = kept_plug(kept, truth->rig.sector, 0);
  struct wodan_repair_report report = {0};
  const struct wodan_repair_options options = {.size = sizeof options, .allowed = WODAN_REPAIR_LOSSY};
  int status = wodan_repair(device, &options, &report, NULL);
  assert_int_equal(wodan_device_close(device), 0);
  if (status < 0 || report.after.damages) return false;
  checked(truth, kept);
  struct rig other = {.kept = kept, .sector = truth->rig.sector, .random = 1};
  rig_open(&other);
  for (uint64_t key = 0; key < KEYS; key++) {
    char name[32];
    size_t size;
    uint8_t *found = room_for(truth);
    status = wodan_get(other.db, NULL, key_number(key, name), found, 24u * truth->page, &size);
    if (status < 0 && (status != WODAN_ENOTFOUND || report.losses == 0))
      truth_fail(truth, "key %u answers %d after a repair that tells of %u losses", (unsigned)key, status,
                 (unsigned)report.losses);
    if (status == 0 && report.losses == 0) judge_in(truth, other.db, key, truth->versions[key]);
    free(found);
  }
  rig_close(&other);
  return true;
}

/* Each block of an image with large values rots in turn: the check tells, a read tells or is right, a salvage keeps the rest. */
static void test_rot(void **state) {
  (void)state;
  enum { SALVAGED = 8 }; /* one in so many places */
  struct truth truth;
  const struct wodan_format_options format = {.size = sizeof format, .page_size = 512, .block_size = 512};
  truth_start(&truth, 256 << 10, &format, 7);
  for (uint64_t key = 0; key < KEYS; key++) put_one(&truth, key, WODAN_BUFFERED);
  assert_done(truth.rig.db, wodan_checkpoint(truth.rig.db, NULL));
  assert_done(truth.rig.db, wodan_compact(truth.rig.db, NULL, NULL, 0, NULL));
  for (uint64_t key = 0; key < KEYS; key += 3) put_one(&truth, key, WODAN_BUFFERED);
  rig_close(&truth.rig);
  uint64_t told_blob = 0, told_list = 0, repaired = 0;
  for (uint64_t block = 1; block < truth.rig.kept->size / 512; block++) {
    struct kept_bytes *kept = kept_copy(truth.rig.kept), *new = kept_create(512 << 10);
    kept->data[block * 512 + 200 + block % 97] ^= 0x20;
    uint32_t ids[128] = {0};
    struct wodan_check_report report = {0};
    const struct wodan_check_options check = {.size = sizeof check, .context = ids, .finding = count_finding};
    struct wodan_device *device = kept_plug(kept, truth.rig.sector, 0);
    assert_int_equal(wodan_check(device, &check, &report, NULL), 0);
    told_blob += ids[72];
    told_list += ids[70];
    if (block % SALVAGED == 0 || ids[70]) {
      struct wodan_device *to = kept_plug(new, truth.rig.sector, 0);
      struct wodan_salvage_report salvaged = {0};
      const struct wodan_salvage_options options = {.size = sizeof options};
      struct wodan_error error;
      int status = wodan_salvage(device, to, &options, &salvaged, &error);
      if (status < 0) truth_fail(&truth, "block %u: salvage answered %d: %s", (unsigned)block, status, error.message);
      assert_int_equal(wodan_device_close(to), 0);
      checked(&truth, new);
      struct rig other = {.kept = new, .sector = truth.rig.sector, .random = 1};
      rig_open(&other);
      unsigned missing = 0;
      for (uint64_t key = 0; key < KEYS; key++) {
        char name[32];
        size_t size;
        uint8_t *found = room_for(&truth);
        if (wodan_get(other.db, NULL, key_number(key, name), found, 24u * truth.page, &size) == 0 &&
            (salvaged.losses == 0 || size == size_of(&truth, key, truth.versions[key])))
          judge_in(&truth, other.db, key, truth.versions[key]);
        else
          missing++;
        free(found);
      }
      if (missing && salvaged.losses == 0)
        truth_fail(&truth, "block %u: %u keys are missing and not told", (unsigned)block, missing);
      rig_close(&other);
    }
    assert_int_equal(wodan_device_close(device), 0);
    if (ids[72]) repaired += repaired_in_place(&truth, kept);
    kept_free(kept);
    kept_free(new);
  }
  assert_true(told_blob > 20 && told_list >= 1 && repaired > 20);
  kept_free(truth.rig.kept);
}

/* Where the large value of a key of the test is. */
static struct block_ptr place_of(struct wodan_db *db, struct wodan_slice key) {
  char name[33] = {TABLE_DEFAULT};
  struct engine_value value;
  struct wodan_error error;
  struct block_ptr ptr;
  memcpy(name + TABLE_ID_SIZE, key.data, key.size);
  assert_done(db, engine_get(db, NULL, (struct wodan_slice){name, TABLE_ID_SIZE + key.size}, &value, &error));
  blob_pointer(value.blob, &ptr);
  engine_value_release(db, &value);
  return ptr;
}

/* A small blob is one read; and a header above the chunks and the table of another value, all of them whole, is damage. */
static void test_a_small_one_is_one_read(void **state) {
  (void)state;
  struct truth truth;
  truth_start(&truth, 4 * MIB, NULL, 8);
  struct wodan_db *db = truth.rig.db;
  size_t chunk = 4u * truth.page, most = 4 * chunk, got;
  uint8_t *bytes = malloc(most), *found = malloc(most);
  struct block_ptr ptr[2];
  char name[32];
  for (size_t size = chunk / 2; size < most; size += chunk) {
    for (int i = 0; i < 2; i++) {
      memset(bytes, 'a' + i, size);
      assert_done(db, wodan_put(db, key_number((uint64_t)i, name), (struct wodan_slice){bytes, size}, NULL));
      ptr[i] = place_of(db, key_number((uint64_t)i, name));
      assert_int_equal(ptr[i].extent_count, 1);
    }
    uint64_t before = rig_stats(db).device_reads;
    assert_done(db, wodan_get(db, NULL, key_number(1, name), found, most, &got));
    assert_int_equal(got, size);
    assert_memory_equal(found, bytes, size);
    assert_int_equal(rig_stats(db).device_reads - before, 1);
    uint32_t block = rig_info(db).block_size, head = ptr[0].header_length;
    uint8_t *to = truth.rig.kept->data + ptr[0].extents[0].first * block + head;
    memcpy(to, truth.rig.kept->data + ptr[1].extents[0].first * block + head, (size_t)ptr[0].length - head);
    assert_int_equal(wodan_get(db, NULL, key_number(0, name), found, most, &got), WODAN_ECORRUPT);
  }
  free(bytes);
  free(found);
  rig_end(&truth.rig);
}

/* What a record may say: a reference to its last byte, of a size that a value can have, to a blob that somebody holds. */
static void test_a_reference_is_proven(void **state) {
  (void)state;
  struct truth truth;
  truth_start(&truth, 4 * MIB, NULL, 9);
  struct wodan_db *db = truth.rig.db;
  uint8_t bytes[BLOB_REF_SIZE_MAX + 1] = {0}, long_one[BLOB_REF_SIZE_MAX], value[5000] = {0};
  struct wodan_slice key = {"\1k", 2};
  struct engine_value held;
  struct wodan_error error;
  struct blob_ref ref;
  size_t size;
  assert_done(db, engine_large_write(db, key, (struct wodan_slice){value, sizeof value}, bytes, &size, &error));
  assert_done(db, engine_large_hold(db, (struct wodan_slice){bytes, size}, &held, &error));
  assert_int_equal(held.size, sizeof value);
  engine_value_release(db, &held);
  assert_int_equal(engine_large_hold(db, (struct wodan_slice){bytes, size + 1}, &held, &error), WODAN_ECORRUPT);
  assert_non_null(strstr(error.message, "malformed"));
  assert_true(blob_ref_decode(bytes, size, &db->io.bounds, &ref));
  ref.size = blob_value_max(truth.page) + 1;
  struct wodan_slice longer = {long_one, blob_ref_encode(&ref, long_one, sizeof long_one)};
  assert_int_equal(engine_large_hold(db, longer, &held, &error), WODAN_ECORRUPT);
  assert_non_null(strstr(error.message, "malformed"));
  engine_large_drop(db, (struct wodan_slice){bytes, size});
  assert_int_equal(engine_large_hold(db, (struct wodan_slice){bytes, size}, &held, &error), WODAN_ECORRUPT);
  assert_non_null(strstr(error.message, "does not list"));
  rig_end(&truth.rig);
}

/* Runs and leaves that a range delete drops unread give up their blobs, and so do memtables under one. */
static void test_a_range_delete_frees_them(void **state) {
  (void)state;
  struct truth truth;
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  truth_start(&truth, 4 * MIB, NULL, 3);
  struct wodan_db *db = truth.rig.db;
  for (uint64_t key = 0; key < KEYS; key++) put_one(&truth, key, WODAN_BUFFERED);
  assert_done(db, wodan_compact(db, NULL, NULL, 0, NULL));
  for (uint64_t key = 0; key < KEYS; key += 2) put_one(&truth, key, WODAN_BUFFERED);
  assert_done(db, wodan_checkpoint(db, NULL));
  for (uint64_t key = 0; key < KEYS; key += 3) put_one(&truth, key, WODAN_BUFFERED);
  assert_true(blobs_counts(db->blobs).count > 0);
  assert_done(db, wodan_delete_range(db, NULL, NULL, &commit));
  memset(truth.versions, 0, sizeof truth.versions);
  judge(&truth, db);
  judge_after_crash(&truth);
  put_one(&truth, 1, WODAN_BUFFERED);
  assert_done(db, wodan_checkpoint(db, NULL));
  assert_done(db, wodan_compact(db, NULL, NULL, 0, NULL));
  judge(&truth, db);
  assert_space_exact(&truth);
  rig_close(&truth.rig);
  checked(&truth, truth.rig.kept);
  rig_open(&truth.rig);
  judge(&truth, truth.rig.db);
  assert_space_exact(&truth);
  rig_end(&truth.rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_large_value_comes_back),
      cmocka_unit_test(test_a_durable_large_value_survives),
      cmocka_unit_test(test_model),
      cmocka_unit_test(test_parts_and_streams),
      cmocka_unit_test(test_a_small_one_is_one_read),
      cmocka_unit_test(test_a_reference_is_proven),
      cmocka_unit_test(test_written_once),
      cmocka_unit_test(test_a_full_volume),
      cmocka_unit_test(test_a_range_delete_frees_them),
      cmocka_unit_test(test_rot),
  };
  const char *pattern = getenv("WODAN_TEST");
  if (pattern) cmocka_set_test_filter(pattern);
  return cmocka_run_group_tests(tests, NULL, NULL);
}

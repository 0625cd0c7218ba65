/* Findings: everything a check can say. Rows may move, numbers never change, a number given up is never used again.
 * The sentence holds at most one %s, filled with the details of the place. A row of severity damage that concerns
 * only the previous root is reported as a warning, and its sentence starts with "previous root: "; its repair is
 * WODAN_REPAIR_SAFE: the newest root is written once more, which makes the root before it one that is whole. */
#ifndef CHECK_FINDINGS_H
#define CHECK_FINDINGS_H

#include <wodan/check.h>

/*  X(name, number, severity, repair, sentence) */
#define CHECK_FINDINGS_TABLE(X)                                                                                        \
  /* superblock */                                                                                                     \
  X(BLOCK0_DAMAGED, 1, WODAN_WARNING, WODAN_REPAIR_SAFE,                                                               \
    "block 0 holds no valid superblock (%s); the copy at the end was used")                                            \
  X(COPY_DAMAGED, 2, WODAN_WARNING, WODAN_REPAIR_SAFE,                                                                 \
    "the superblock's copy at the end of the volume is not valid: %s")                                                 \
  X(COPY_DIFFERS, 3, WODAN_WARNING, WODAN_REPAIR_SAFE,                                                                 \
    "the superblock's copy at the end of the volume differs from block 0")                                             \
  X(DEVICE_SHORT, 4, WODAN_DAMAGE, WODAN_REPAIR_SALVAGE, "the device is shorter than the volume on it: %s")            \
  X(FEATURES, 5, WODAN_NOTE, WODAN_REPAIR_NOTHING,                                                                     \
    "the volume has features that this version does not know and did not check: %s")                                   \
  X(VOLUME_SIZE, 6, WODAN_DAMAGE, WODAN_REPAIR_SALVAGE,                                                                \
    "the newest root tells another size of the volume than the superblock, as no writer does yet: %s")                 \
  /* journal */                                                                                                        \
  X(JOURNAL_COUNTERS, 9, WODAN_DAMAGE, WODAN_REPAIR_SALVAGE,                                                           \
    "a counter in the journal is beyond what a volume can reach: %s")                                                  \
  X(JOURNAL_DAMAGED, 10, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "the journal is damaged: %s")                               \
  X(JOURNAL_NO_ROOT, 11, WODAN_DAMAGE, WODAN_REPAIR_SALVAGE, "there is no root to check: %s")                          \
  X(JOURNAL_LINEAR, 12, WODAN_NOTE, WODAN_REPAIR_NOTHING,                                                              \
    "the end of the journal could not be bisected; the whole ring was read")                                           \
  X(JOURNAL_DEBRIS, 13, WODAN_NOTE, WODAN_REPAIR_NOTHING,                                                              \
    "%s off the chain hold nothing valid (a crash may leave such)")                                                    \
  X(JOURNAL_REPLAY, 14, WODAN_DAMAGE, WODAN_REPAIR_LOSSY,                                                              \
    "what the journal holds behind the checkpoint cannot be replayed: %s")                                             \
  X(JOURNAL_SIZE, 15, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a journal record holds a key or value that is too big: %s")   \
  X(OLDER_ROOT_USED, 16, WODAN_NOTE, WODAN_REPAIR_NOTHING,                                                             \
    "the newest root is out of reach; an older one was checked in its place: %s")                                      \
  X(PREVIOUS_LOST, 17, WODAN_WARNING, WODAN_REPAIR_SAFE, "the previous root is lost: %s")                              \
  X(PREVIOUS_NEWER, 18, WODAN_WARNING, WODAN_REPAIR_SAFE, "the previous root is not older than the newest one: %s")    \
  X(ROOT_CHOSEN, 19, WODAN_NOTE, WODAN_REPAIR_NOTHING, "an older root was checked, as was asked: %s")                  \
  /* nodes */                                                                                                          \
  X(NODE_DAMAGED, 20, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a node cannot be used: %s")                                   \
  /* runs and leaves */                                                                                                \
  X(RUN_HEADER, 30, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a header cannot be used: %s")                                   \
  X(RUN_SECTIONS, 31, WODAN_DAMAGE, WODAN_REPAIR_LOSSY,                                                                \
    "an object has no pages or index, or sections that are not known: %s")                                             \
  X(RUN_INDEX, 32, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "an index cannot be used: %s")                                    \
  X(PAGE_UNREADABLE, 33, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a page cannot be read: %s")                                \
  X(PAGE_CHECKSUM, 34, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a page's checksum is wrong: %s")                             \
  X(PAGE_MALFORMED, 35, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a page is malformed behind a good checksum: %s")            \
  X(KEY_ORDER, 36, WODAN_DAMAGE, WODAN_REPAIR_LOSSY,                                                                   \
    "keys do not ascend from page to page, or not as the index says: %s")                                              \
  X(KEY_RANGE, 37, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a key is outside the range that its header tells: %s")           \
  X(KEY_PIVOT, 38, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a leaf holds a key that its node files under another leaf: %s")  \
  X(RECORD_COUNT, 39, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "the count of records is not the header's: %s")                \
  X(RECORD_SEQUENCE, 40, WODAN_DAMAGE, WODAN_REPAIR_LOSSY,                                                             \
    "a record is newer than its object or checkpoint can hold: %s")                                                    \
  X(RECORD_KIND, 41, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a record is of a kind that is not known: %s")                  \
  X(RECORD_SIZE, 42, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a key or value is bigger than the volume allows: %s")          \
  X(LEAF_DELETE, 43, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a leaf holds a delete: %s")                                    \
  X(FILTER_DAMAGED, 44, WODAN_DAMAGE, WODAN_REPAIR_SAFE, "a filter cannot be used: %s")                                \
  X(FILTER_DENIES, 45, WODAN_DAMAGE, WODAN_REPAIR_SAFE, "a filter denies a key that is there: %s")                     \
  X(RUN_RANGE, 46, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a buffered run holds a key outside the range of its node: %s")   \
  X(RUN_COUNTS, 47, WODAN_DAMAGE, WODAN_REPAIR_SAFE, "a node tells other counts of a buffered run than it holds: %s")  \
  X(RANGES_DAMAGED, 48, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "range deletes of a run cannot be used: %s")                 \
  X(RECORD_HIDDEN, 49, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a record lies in a range that its own run deletes: %s")      \
  /* large values */                                                                                                   \
  X(BLOB_LIST, 70, WODAN_DAMAGE, WODAN_REPAIR_SALVAGE, "a run's list of large values is not that of its records: %s")  \
  X(BLOB_REFERENCE, 71, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a record names no large value that can be: %s")             \
  X(BLOB_DAMAGED, 72, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a large value cannot be read: %s")                            \
  /* space */                                                                                                          \
  X(SPACE_OWNED_TWICE, 50, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a block is owned twice: %s")                             \
  X(SPACE_OUTSIDE, 51, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "an object lies beyond the end of the device: %s")            \
  X(SPACE_SHARED, 52, WODAN_DAMAGE, WODAN_REPAIR_LOSSY,                                                                \
    "a block of the newest root is also part of another object: %s")                                                   \
  /* told by salvage and repair, behind those of the check */                                                          \
  X(KEYS_LOST, 60, WODAN_DAMAGE, WODAN_REPAIR_NOTHING,                                                                 \
    "records of these keys may be missing, or be older than they were: %s")                                            \
  X(NO_ROOT_SALVAGED, 61, WODAN_DAMAGE, WODAN_REPAIR_NOTHING, "there was no root to follow: %s")                       \
  X(NO_SUPERBLOCK, 62, WODAN_DAMAGE, WODAN_REPAIR_NOTHING, "there was neither a superblock nor its copy: %s")

enum finding_id {
#define CHECK_FINDINGS_ENUM(name, number, severity, repair, sentence) FOUND_##name = number,
  CHECK_FINDINGS_TABLE(CHECK_FINDINGS_ENUM)
#undef CHECK_FINDINGS_ENUM
};

struct finding_row {
  uint32_t id, severity, repair;
  const char *sentence;
};

/* The row of a number; NULL when there is none. */
const struct finding_row *finding_row(uint32_t id);

#endif

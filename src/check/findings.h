/* Findings: everything a check can say. Rows may move, numbers never change, a number given up is never used again.
 * The sentence says what is wrong and holds at most one %s, filled with the details of the place; the remedy says what a
 * repair of the row's kind does about it, "" when nothing has to be done. A row of severity damage that concerns only the
 * previous root is reported as a warning, and its sentence starts with "previous root: "; its repair is WODAN_REPAIR_SAFE,
 * its remedy REMEDY_PUBLISHED_AGAIN. What cannot be repaired in place where it stands is WODAN_REPAIR_SALVAGE, REMEDY_SALVAGED. */
#ifndef CHECK_FINDINGS_H
#define CHECK_FINDINGS_H

#include <wodan/check.h>

/* What a repair does, where several findings have the same. */
#define REMEDY_REWRITTEN                                                                                               \
  "the run or leaf is written again with what can be read of it and is in order; of which keys records are given up "  \
  "is told"
#define REMEDY_GIVEN_UP                                                                                                \
  "nothing of the run or leaf can be read, so it is given up; of which keys is told, and older records of theirs "     \
  "count again"
#define REMEDY_OWNED                                                                                                   \
  "the object is written again elsewhere with what can be read of it and is its own; of which keys records are given " \
  "up is told"
#define REMEDY_SALVAGED        "what can be read is saved into a new image; nothing can be done in place"
#define REMEDY_PUBLISHED_AGAIN "the newest root is published again, so that the root before it is whole too"
#define REMEDY_JOURNAL_ENDED   "the journal ends where it can be replayed to; the operations behind that are given up"

/*  X(name, number, severity, repair, sentence, remedy) */
#define CHECK_FINDINGS_TABLE(X)                                                                                        \
  /* superblock */                                                                                                     \
  X(BLOCK0_DAMAGED, 1, WODAN_WARNING, WODAN_REPAIR_SAFE,                                                               \
    "block 0 holds no valid superblock (%s); the copy at the end was used", "block 0 is written again from the copy")  \
  X(COPY_DAMAGED, 2, WODAN_WARNING, WODAN_REPAIR_SAFE,                                                                 \
    "the superblock's copy at the end of the volume is not valid: %s", "the copy is written again from block 0")       \
  X(COPY_DIFFERS, 3, WODAN_WARNING, WODAN_REPAIR_SAFE,                                                                 \
    "the superblock's copy at the end of the volume differs from block 0", "the copy is written again from block 0")   \
  X(DEVICE_SHORT, 4, WODAN_DAMAGE, WODAN_REPAIR_SALVAGE, "the device is shorter than the volume on it: %s",            \
    REMEDY_SALVAGED)                                                                                                   \
  X(FEATURES, 5, WODAN_NOTE, WODAN_REPAIR_NOTHING,                                                                     \
    "the volume has features that this version does not know and did not check: %s", "")                               \
  X(VOLUME_SIZE, 6, WODAN_DAMAGE, WODAN_REPAIR_SALVAGE,                                                                \
    "the newest root tells another size of the volume than the superblock, as no writer does yet: %s",                 \
    REMEDY_SALVAGED)                                                                                                   \
  X(FEATURE_UNTOLD, 7, WODAN_DAMAGE, WODAN_REPAIR_SALVAGE,                                                             \
    "the volume uses a feature that its flags do not tell of, and other readers would misread it: %s",                 \
    REMEDY_SALVAGED)                                                                                                   \
  /* journal */                                                                                                        \
  X(JOURNAL_REJECTED, 8, WODAN_NOTE, WODAN_REPAIR_NOTHING,                                                             \
    "the journal's newest record does not count, for a large value that it names is not whole: %s (a crash may leave " \
    "such)",                                                                                                           \
    "")                                                                                                                \
  X(JOURNAL_COUNTERS, 9, WODAN_DAMAGE, WODAN_REPAIR_SALVAGE,                                                           \
    "a counter in the journal is beyond what a volume can reach: %s", REMEDY_SALVAGED)                                 \
  X(JOURNAL_DAMAGED, 10, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "the journal is damaged: %s",                               \
    "the newest root that can be reached takes over, and the journal ends where it can be replayed to; what lies "     \
    "behind is given up")                                                                                              \
  X(JOURNAL_NO_ROOT, 11, WODAN_DAMAGE, WODAN_REPAIR_SALVAGE, "there is no root to check: %s",                          \
    "what is found by its headers is merged into a new image, in which deleted keys may be back; nothing can be done " \
    "in place")                                                                                                        \
  X(JOURNAL_LINEAR, 12, WODAN_NOTE, WODAN_REPAIR_NOTHING,                                                              \
    "the end of the journal could not be bisected; the whole ring was read", "")                                       \
  X(JOURNAL_DEBRIS, 13, WODAN_NOTE, WODAN_REPAIR_NOTHING,                                                              \
    "%s off the chain hold nothing valid (a crash may leave such)", "")                                                \
  X(JOURNAL_REPLAY, 14, WODAN_DAMAGE, WODAN_REPAIR_LOSSY,                                                              \
    "what the journal holds behind the checkpoint cannot be replayed: %s", REMEDY_JOURNAL_ENDED)                       \
  X(JOURNAL_SIZE, 15, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a journal record holds a key or value that is too big: %s",   \
    REMEDY_JOURNAL_ENDED)                                                                                              \
  X(OLDER_ROOT_USED, 16, WODAN_NOTE, WODAN_REPAIR_NOTHING,                                                             \
    "the newest root is out of reach; an older one was checked in its place: %s", "")                                  \
  X(PREVIOUS_LOST, 17, WODAN_WARNING, WODAN_REPAIR_SAFE, "the previous root is lost: %s", REMEDY_PUBLISHED_AGAIN)      \
  X(PREVIOUS_NEWER, 18, WODAN_WARNING, WODAN_REPAIR_SAFE, "the previous root is not older than the newest one: %s",    \
    REMEDY_PUBLISHED_AGAIN)                                                                                            \
  X(ROOT_CHOSEN, 19, WODAN_NOTE, WODAN_REPAIR_NOTHING, "an older root was checked, as was asked: %s", "")              \
  /* nodes */                                                                                                          \
  X(NODE_DAMAGED, 20, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a node cannot be used: %s",                                   \
    "the node is taken from the root before, with the journal's operations since, or else given up with all keys "     \
    "below it")                                                                                                        \
  /* runs and leaves */                                                                                                \
  X(RUN_HEADER, 30, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a header cannot be used: %s", REMEDY_GIVEN_UP)                  \
  X(RUN_SECTIONS, 31, WODAN_DAMAGE, WODAN_REPAIR_LOSSY,                                                                \
    "an object has no pages or index, or sections that are not known: %s", REMEDY_GIVEN_UP)                            \
  X(RUN_INDEX, 32, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "an index cannot be used: %s", REMEDY_REWRITTEN)                  \
  X(PAGE_UNREADABLE, 33, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a page cannot be read: %s", REMEDY_REWRITTEN)              \
  X(PAGE_CHECKSUM, 34, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a page's checksum is wrong: %s", REMEDY_REWRITTEN)           \
  X(PAGE_MALFORMED, 35, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a page is malformed behind a good checksum: %s",            \
    REMEDY_REWRITTEN)                                                                                                  \
  X(KEY_ORDER, 36, WODAN_DAMAGE, WODAN_REPAIR_LOSSY,                                                                   \
    "keys do not ascend from page to page, or not as the index says: %s", REMEDY_REWRITTEN)                            \
  X(KEY_RANGE, 37, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a key is outside the range that its header tells: %s",           \
    REMEDY_REWRITTEN)                                                                                                  \
  X(KEY_PIVOT, 38, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a leaf holds a key that its node files under another leaf: %s",  \
    REMEDY_REWRITTEN)                                                                                                  \
  X(RECORD_COUNT, 39, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "the count of records is not the header's: %s",                \
    REMEDY_REWRITTEN)                                                                                                  \
  X(RECORD_SEQUENCE, 40, WODAN_DAMAGE, WODAN_REPAIR_LOSSY,                                                             \
    "a record is newer than its object or checkpoint can hold: %s", REMEDY_REWRITTEN)                                  \
  X(RECORD_KIND, 41, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a record is of a kind that is not known: %s",                  \
    REMEDY_REWRITTEN)                                                                                                  \
  X(RECORD_SIZE, 42, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a key or value is bigger than the volume allows: %s",          \
    REMEDY_REWRITTEN)                                                                                                  \
  X(LEAF_DELETE, 43, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a leaf holds a delete: %s", REMEDY_REWRITTEN)                  \
  X(FILTER_DAMAGED, 44, WODAN_DAMAGE, WODAN_REPAIR_SAFE, "a filter cannot be used: %s",                                \
    "the run is written again with a new filter; no record is given up")                                               \
  X(FILTER_DENIES, 45, WODAN_DAMAGE, WODAN_REPAIR_SAFE, "a filter denies a key that is there: %s",                     \
    "the run is written again with a new filter; no record is given up")                                               \
  X(RUN_RANGE, 46, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a buffered run holds a key outside the range of its node: %s",   \
    REMEDY_REWRITTEN)                                                                                                  \
  X(RUN_COUNTS, 47, WODAN_DAMAGE, WODAN_REPAIR_SAFE, "a node tells other counts of a buffered run than it holds: %s",  \
    "the run is counted and written again; no record is given up")                                                     \
  X(RANGES_DAMAGED, 48, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "range deletes of a run cannot be used: %s",                 \
    "the run is written again without its range deletes; keys that they had deleted may be back")                      \
  X(RECORD_HIDDEN, 49, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a record lies in a range that its own run deletes: %s",      \
    REMEDY_REWRITTEN)                                                                                                  \
  /* large values */                                                                                                   \
  X(BLOB_LIST, 70, WODAN_DAMAGE, WODAN_REPAIR_SALVAGE, "a run's list of large values is not that of its records: %s",  \
    "which blocks large values take cannot be told, so nothing can be done in place; what can be read is saved into "  \
    "a new image")                                                                                                     \
  X(BLOB_REFERENCE, 71, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a record's reference to a large value cannot be right: %s", \
    REMEDY_REWRITTEN)                                                                                                  \
  X(BLOB_DAMAGED, 72, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a large value cannot be read: %s",                            \
    "the run or leaf is written again without that value; an older value of the key may be back")                      \
  /* space */                                                                                                          \
  X(SPACE_OWNED_TWICE, 50, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "a block is owned twice: %s", REMEDY_OWNED)               \
  X(SPACE_OUTSIDE, 51, WODAN_DAMAGE, WODAN_REPAIR_LOSSY, "an object lies beyond the end of the device: %s",            \
    REMEDY_OWNED)                                                                                                      \
  X(SPACE_SHARED, 52, WODAN_DAMAGE, WODAN_REPAIR_LOSSY,                                                                \
    "a block of the newest root is also part of another object: %s", REMEDY_OWNED)                                     \
  /* the bounds of a check */                                                                                          \
  X(MEMORY_BOUND, 80, WODAN_WARNING, WODAN_REPAIR_NOTHING,                                                             \
    "what takes more memory than a check allows itself was not looked into (a memory limit given for it takes that "   \
    "place): %s",                                                                                                      \
    "")                                                                                                                \
  X(READ_BOUND, 81, WODAN_WARNING, WODAN_REPAIR_NOTHING,                                                               \
    "parts of the volume are named so often that the check read as much as it may, and looked no further: %s", "")     \
  /* told by salvage and repair, behind those of the check */                                                          \
  X(KEYS_LOST, 60, WODAN_DAMAGE, WODAN_REPAIR_NOTHING,                                                                 \
    "records of these keys may be missing, or be older than they were: %s", "")                                        \
  X(NO_ROOT_SALVAGED, 61, WODAN_DAMAGE, WODAN_REPAIR_NOTHING, "there was no root to follow: %s", "")                   \
  X(NO_SUPERBLOCK, 62, WODAN_DAMAGE, WODAN_REPAIR_NOTHING, "there was neither a superblock nor its copy: %s", "")

enum finding_id {
#define CHECK_FINDINGS_ENUM(name, number, severity, repair, sentence, remedy) FOUND_##name = number,
  CHECK_FINDINGS_TABLE(CHECK_FINDINGS_ENUM)
#undef CHECK_FINDINGS_ENUM
};

struct finding_row {
  uint32_t id, severity, repair;
  const char *sentence, *remedy;
};

/* The row of a number; NULL when there is none. */
const struct finding_row *finding_row(uint32_t id);

#endif

/* Findings: everything a check of a MirageOS Wodan image can say. Rows may move, numbers never change; printed as WM0001.
 * The sentence holds one %s, filled with the details of the place. */
#ifndef MIRAGE_FINDINGS_H
#define MIRAGE_FINDINGS_H

#include <wodan/check.h>

/*  X(name, number, severity, sentence) */
#define MIRAGE_FINDINGS_TABLE(X)                                                                                       \
  /* superblock */                                                                                                     \
  X(SUPERBLOCK_CHECKSUM, 1, WODAN_DAMAGE, "the superblock's checksum is wrong: %s")                                    \
  X(SUPERBLOCK_VERSION, 2, WODAN_DAMAGE, "the format is of a version that is not known: %s")                           \
  X(SUPERBLOCK_FLAGS, 3, WODAN_DAMAGE, "the incompatible features are not those that can be read: %s")                 \
  X(SUPERBLOCK_SIZES, 4, WODAN_DAMAGE, "the superblock tells sizes that cannot be: %s")                                \
  X(DEVICE_SHORT, 5, WODAN_DAMAGE, "the image is shorter than the file system on it: %s")                              \
  X(FIRST_BLOCK, 6, WODAN_WARNING, "the first block written lies outside: %s")                                         \
  X(COMPATIBLE_FLAGS, 7, WODAN_NOTE, "there are compatible features that are not known: %s")                           \
  /* roots */                                                                                                          \
  X(NO_ROOT, 10, WODAN_DAMAGE, "there is no root: %s")                                                                 \
  X(ROOT_CHOSEN, 11, WODAN_NOTE, "an older root was checked, as was asked: %s")                                        \
  X(HEIGHT, 12, WODAN_DAMAGE, "the root tells a height that cannot be: %s")                                            \
  X(ROOT_TWICE, 13, WODAN_WARNING, "another root has the same generation: %s")                                         \
  X(SEARCH_UNREADABLE, 14, WODAN_WARNING, "a block could not be read in the search for the newest root: %s")           \
  /* nodes */                                                                                                          \
  X(UNREADABLE, 20, WODAN_DAMAGE, "a block of the tree cannot be read: %s")                                            \
  X(CHECKSUM, 21, WODAN_DAMAGE, "a node's checksum is wrong: %s")                                                      \
  X(TYPE, 22, WODAN_DAMAGE, "a block that a node links to is no child node: %s")                                       \
  X(FSID, 23, WODAN_DAMAGE, "a node is of another file system: %s")                                                    \
  X(GENERATION, 24, WODAN_DAMAGE, "a node is not older than the node above it: %s")                                    \
  X(VALUES_LENGTH, 25, WODAN_DAMAGE, "the values run beyond the end of the node: %s")                                  \
  X(VALUE_TWICE, 26, WODAN_DAMAGE, "a node holds two values of one key: %s")                                           \
  X(KEY_RANGE, 27, WODAN_DAMAGE, "a node holds keys outside its range: %s")                                            \
  X(OVERLAP, 28, WODAN_WARNING, "the values reach into the half of the child links: %s")                               \
  X(GAP, 29, WODAN_NOTE, "the room between values and child links is not zero: %s")                                    \
  X(VALUE_ORDER, 30, WODAN_NOTE, "the values of a node are not in key order: %s")                                      \
  /* child links */                                                                                                    \
  X(CHILD_OUTSIDE, 40, WODAN_DAMAGE, "a child link leads out of the file system: %s")                                  \
  X(CHILD_SHARED, 41, WODAN_DAMAGE, "a block is linked twice, or to a node above: %s")                                 \
  X(CHILD_RANGE, 42, WODAN_DAMAGE, "the key of a child link is outside its node's range: %s")                          \
  X(CHILD_TWICE, 43, WODAN_DAMAGE, "a node holds two child links of one key: %s")                                      \
  X(CHILD_OF_LEAF, 44, WODAN_DAMAGE, "a leaf holds child links: %s")                                                   \
  X(CHILD_LAST, 45, WODAN_WARNING, "the last child does not reach to the end of its node's range: %s")                 \
  X(CHILD_NONE, 46, WODAN_WARNING, "a node above the leaves has no children: %s")                                      \
  X(CHILD_ORDER, 47, WODAN_NOTE, "child links are not in key order, as early versions left them: %s")                  \
  /* outside the tree */                                                                                               \
  X(OUTSIDE_UNREADABLE, 60, WODAN_WARNING, "a block outside the tree cannot be read: %s")                              \
  X(OUTSIDE_DAMAGED, 61, WODAN_WARNING, "a former node outside the tree is torn or damaged, perhaps a newer root: %s")

enum mirage_finding {
#define MIRAGE_FINDINGS_ENUM(name, number, severity, sentence) MIRAGE_##name = number,
  MIRAGE_FINDINGS_TABLE(MIRAGE_FINDINGS_ENUM)
#undef MIRAGE_FINDINGS_ENUM
};

#endif

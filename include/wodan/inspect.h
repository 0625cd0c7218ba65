/* Looking into an image without opening it as a database: superblocks, roots, journal, trees, the way of a key, single
 * blocks byte by byte, and a map of all of them. Works on damaged images: what can be read is shown, and what cannot is
 * told through the `damage` callback. Never writes a byte. Memory is bounded by what is on the device once, whatever the
 * image tells of its size: a quarter of a byte a block of the device, one node a level, one page, one index.
 *
 * One thread at a time per handle. Slices, strings and structs given to a callback live during the call. A callback that
 * returns not 0 ends the walk; the function then returns that value. Keys are the user's: without their table's id. */
#ifndef WODAN_INSPECT_H
#define WODAN_INSPECT_H

#include <wodan/device.h>
#include <wodan/status.h>
#include <wodan/types.h>

WODAN_BEGIN

struct wodan_inspect;

/* Something that is not as it must be. */
struct wodan_damage {
  uint64_t block;      /* or WODAN_NO_BLOCK */
  uint64_t generation; /* of the object concerned, 0 when none */
  const char *message; /* one sentence */
};

struct wodan_inspect_options {
  uint32_t size; /* sizeof(struct wodan_inspect_options); 0 is taken as the whole struct */
  uint32_t reserved;
  uint64_t generation; /* 0: the newest root; else take this root for the newest (wodan_inspect_roots lists them) */
  struct wodan_allocator allocator;
  void *context;
  /* Called for damage met by this and every later call, in the caller's thread. NULL: not told. */
  void (*damage)(void *context, const struct wodan_damage *damage);
};

/* Reads superblocks and journal. The device stays the caller's and outlives the handle. Damage is told, and an older root is
 * taken where the newest is out of reach; without any root the handle is good for journal and blocks.
 * WODAN_EFORMAT, WODAN_EVERSION, WODAN_EIO, WODAN_ENOMEM, WODAN_EINVAL; WODAN_ENOTFOUND: no root has that generation.
 * error may be NULL here and everywhere below. */
WODAN_API int wodan_inspect_open(struct wodan_device *device, const struct wodan_inspect_options *options,
                                 struct wodan_inspect **inspect, struct wodan_error *error);
/* NULL is allowed. */
WODAN_API void wodan_inspect_close(struct wodan_inspect *inspect);

/* ---- superblock, roots, journal --------------------------------------------------------------------------------- */

/* A checkpoint record and the tree it names. */
struct wodan_root {
  uint64_t generation;      /* 0: there is none */
  uint64_t sequence;        /* last operation in the tree */
  uint64_t journal_block;   /* sequence of the record's block */
  uint64_t block;           /* allocation block that holds the record */
  uint64_t tail;            /* journal block where replay starts */
  uint64_t previous;        /* journal block of the checkpoint before */
  uint64_t blocks;          /* of the volume */
  uint64_t tree_block;      /* first block of the top node, or WODAN_NO_BLOCK: the tree is empty */
  uint64_t tree_generation; /* 0: empty */
};

enum wodan_superblock_state {
  WODAN_SUPERBLOCK_WHOLE = 0,   /* block 0 and the copy agree */
  WODAN_SUPERBLOCK_FIRST = 1,   /* the copy is damaged or differs */
  WODAN_SUPERBLOCK_COPY = 2,    /* block 0 is damaged, the copy was used */
  WODAN_SUPERBLOCK_NO_COPY = 3, /* the device ends before the volume: the copy is out of reach */
};

struct wodan_summary {
  uint32_t size; /* in: sizeof(struct wodan_summary); 0 is taken as the whole struct */
  uint32_t format_version;
  uint8_t fsid[16];
  uint64_t compat, read_only_compat, incompat;
  uint64_t device_size;          /* bytes */
  uint64_t blocks_at_format;     /* allocation blocks */
  uint64_t blocks;               /* of the newest root, or as at format */
  uint64_t data_first, data_end; /* the data area, blocks */
  uint32_t block_size, sector, page_size, leaf_size, step_size;
  uint32_t node_leaves, node_children;
  uint32_t journal_block_size;
  uint32_t compression; /* enum wodan_compression chosen at format */
  uint64_t memtable_size;
  uint64_t journal_blocks;   /* allocation blocks of the ring */
  uint64_t ring;             /* journal blocks of the ring */
  uint32_t superblock_state; /* enum wodan_superblock_state */
  uint32_t
      journal_mounted; /* 1: the newest root was found as an open would; 0: damaged, or another root was asked for */
  uint32_t journal_linear; /* 1: the whole ring had to be read */
  uint32_t has_root;
  struct wodan_root newest, older;
  uint64_t head;           /* journal block to be written next */
  uint64_t epoch;          /* greatest epoch number seen */
  uint64_t replay_records; /* journal records a replay on `newest` applies, in whole or in part */
  uint64_t replay_operations;
  uint64_t sequence; /* last operation behind that replay */
  uint64_t damages;  /* told so far */
};
WODAN_API int wodan_inspect_summary(const struct wodan_inspect *inspect, struct wodan_summary *summary);

/* Every whole checkpoint record in the ring whose replay is whole too, newest first: what an open for reading with an older
 * root may take. Whether its tree is whole is not looked at. */
WODAN_API int wodan_inspect_roots(struct wodan_inspect *inspect, int (*root)(void *, const struct wodan_root *),
                                  void *context, struct wodan_error *error);

enum wodan_journal_kind {
  WODAN_JOURNAL_EMPTY = 0,
  WODAN_JOURNAL_RECORD = 1,
  WODAN_JOURNAL_CHECKPOINT = 2,
  WODAN_JOURNAL_SEAL = 3,
  WODAN_JOURNAL_INVALID = 4, /* unreadable, or nothing valid for its place */
};
enum wodan_journal_role {
  WODAN_JOURNAL_LIVE = 1,       /* part of what a mount of the two newest roots reads */
  WODAN_JOURNAL_REPLAYED = 2,   /* part of the newest root's replay */
  WODAN_JOURNAL_TAIL = 4,       /* replay of the newest root starts here */
  WODAN_JOURNAL_NEWEST = 8,     /* the newest root's record */
  WODAN_JOURNAL_OLDER = 16,     /* the record of the root before */
  WODAN_JOURNAL_HEAD = 32,      /* the next block is written here */
  WODAN_JOURNAL_CHAINED = 64,   /* its `previous` is the hash of the block before it in the ring, which is valid too */
  WODAN_JOURNAL_UNPROVEN = 128, /* of a record: no barrier stood between the large values it names and it */
  WODAN_JOURNAL_REJECTED = 256, /* of the newest such: one of them is not whole, so the record does not count */
};
struct wodan_journal_block {
  uint64_t position; /* in the ring */
  uint64_t block;    /* allocation block */
  uint32_t kind, roles;
  uint64_t sequence, flushed_through, checkpoint; /* 0 when invalid, as all below */
  uint64_t hash, previous;
  uint64_t epoch, epoch_random;
  uint32_t fragment, fragments, payload;
  uint32_t operations;    /* of a record's first fragment: those that are told below; 0: none, or malformed */
  uint64_t first, last;   /* operations of the record, of its first fragment */
  struct wodan_root root; /* of a checkpoint; generation 0: it does not decode */
};
/* Every block of the ring that the device has, in the order of their sequences, oldest first, invalid ones where they lie. */
WODAN_API int wodan_inspect_journal(struct wodan_inspect *inspect,
                                    int (*block)(void *, const struct wodan_journal_block *), void *context,
                                    struct wodan_error *error);

/* ---- trees ------------------------------------------------------------------------------------------------------ */

enum wodan_which_root { WODAN_NEWEST_ROOT = 0, WODAN_OLDER_ROOT = 1 };
enum wodan_object_kind { WODAN_OBJECT_NODE = 0, WODAN_OBJECT_LEAF = 1, WODAN_OBJECT_RUN = 2 };

struct wodan_extent {
  uint64_t first, count; /* blocks */
};

struct wodan_object {
  uint32_t kind;  /* enum wodan_object_kind */
  uint32_t level; /* of the node; of a run's or leaf's owner */
  uint32_t depth; /* 0: the root; of a run or leaf: its owner's */
  uint32_t index; /* of a leaf or run: place in its node; runs newest first */
  uint64_t block; /* first block */
  uint64_t generation;
  uint64_t length;       /* bytes */
  uint64_t blocks;       /* taken */
  uint64_t flushed_upto; /* of a leaf: newest generation of its node's runs that it has absorbed */
  const struct wodan_extent *extents;
  uint32_t extent_count;
  uint32_t entries, runs;          /* of a node: leaves or children; buffered runs */
  uint32_t has_lower, has_upper;   /* 0: open end */
  struct wodan_slice lower, upper; /* keys from lower up to, but not with, upper: of the node, leaf, or a run's node */
  uint64_t records, deletes;       /* of a run as its node tells; of a node: the sums of its runs */
  uint64_t large;                  /* of a run or leaf: large values among its records; of a node: the sum of both */
  uint64_t ranges;                 /* of a run: range deletes; of a node: of its runs */
  uint64_t run_bytes;              /* of a node: lengths of its runs */
  uint64_t leaf_bytes;             /* of a bottom node: lengths of its leaves */
  const char *damage;              /* of a node: why it cannot be used; NULL: it can */
};

/* Every node of a tree from the root down by rising keys; behind each node its runs and its leaves, then its children.
 * Headers of runs and leaves are not read. An empty or missing tree: nothing, 0. A node that cannot be used is shown with
 * what its parent tells, and told as damage. */
WODAN_API int wodan_inspect_tree(struct wodan_inspect *inspect, uint32_t which,
                                 int (*object)(void *, const struct wodan_object *), void *context,
                                 struct wodan_error *error);

enum wodan_probe {
  WODAN_PROBE_NODE = 0,     /* a node the key passes */
  WODAN_PROBE_ABSORBED = 1, /* not looked at: what is below has taken its records */
  WODAN_PROBE_FILTERED = 2, /* its filter denies the key */
  WODAN_PROBE_OUTSIDE = 3,  /* its index has no page for the key */
  WODAN_PROBE_ABSENT = 4,   /* a page was read, and the key is not in it */
  WODAN_PROBE_FOUND = 5,    /* a version of the key */
  WODAN_PROBE_DAMAGED = 6,  /* it cannot be read; told as damage */
};
struct wodan_path_step {
  uint32_t probe;      /* enum wodan_probe */
  uint32_t in_journal; /* 1: an operation of the journal that the tree does not hold yet; block: its record */
  uint32_t kind;       /* enum wodan_object_kind */
  uint32_t level;
  uint64_t block, generation;
  uint64_t flushed_upto;  /* of a node: of the entry the way goes on by */
  uint32_t entries, runs; /* of a node */
  uint32_t entry;         /* of a node: which entry the way goes on by */
  uint32_t has_filter;
  uint64_t page_block;            /* where the page starts that was read, or WODAN_NO_BLOCK */
  uint64_t page_offset;           /* bytes from the object's start */
  uint32_t page_size, page_count; /* bytes; records */
  uint32_t page_stored;           /* bytes on the device: below page_size when it is compressed */
  uint32_t decides;               /* 1: what a lookup answers; 0: an older version, or none */
  uint32_t deleted;               /* of a version */
  uint32_t ranged;                /* 1: by a range delete over the key, in the journal or in this run */
  uint64_t sequence;
  struct wodan_slice value;
  uint64_t large_size;  /* of a large value, which is not read: `value` is empty then; 0: it is another */
  uint64_t large_block; /* where that starts */
};
/* The way of a lookup, and on behind the first version found, down to the leaf: operations of the journal oldest first, then
 * node by node. 0 when there is such a key, WODAN_ENOTFOUND or WODAN_ECORRUPT when a lookup would say so. */
WODAN_API int wodan_inspect_path(struct wodan_inspect *inspect, uint32_t which, struct wodan_slice key,
                                 int (*step)(void *, const struct wodan_path_step *), void *context,
                                 struct wodan_error *error);

/* ---- blocks ----------------------------------------------------------------------------------------------------- */

struct wodan_field {
  uint64_t offset;      /* of the bytes on the device */
  uint32_t size;        /* bytes; 0: a heading, or a field of a compressed page, which has no bytes of its own there */
  uint32_t depth;       /* of nesting */
  const uint8_t *bytes; /* `size` of them */
  const char *name;
  const char *text;    /* the value as a sentence; "" of a heading without more to say */
  const char *problem; /* NULL: it is as it must be */
};
enum wodan_block_view {
  WODAN_VIEW_ANY =
      0, /* superblock, journal block, header of a node, run or large value, and what of it is in the block */
  WODAN_VIEW_NODE = 1, /* the node that starts in the block, with its tables */
  WODAN_VIEW_PAGE =
      2, /* pages, index, filter and lists of the run, chunks and their table of the large value, that holds the
                        * block, as far as they lie in it */
};
/* What is in a block, field by field. Problems are told as damage too, one a structure. WODAN_ENOTFOUND: nothing of that
 * kind; the sentence in *error says what is there. */
WODAN_API int wodan_inspect_block(struct wodan_inspect *inspect, uint64_t block, uint32_t view,
                                  int (*field)(void *, const struct wodan_field *), void *context,
                                  struct wodan_error *error);

enum wodan_map_kind {
  WODAN_MAP_FREE = 0,
  WODAN_MAP_SUPERBLOCK = 1,
  WODAN_MAP_RING = 2,      /* of the journal: not needed any more, or not yet */
  WODAN_MAP_RING_LIVE = 3, /* of the journal: what a mount of the two newest roots reads */
  WODAN_MAP_NODE = 4,
  WODAN_MAP_RUN = 5,
  WODAN_MAP_LEAF = 6,
  WODAN_MAP_PREVIOUS = 7, /* only the root before the newest has it */
  WODAN_MAP_LOST = 8,     /* of the volume, but the device ends before */
  WODAN_MAP_LARGE = 9,    /* large values */
};
enum { WODAN_MAP_KINDS = 10 };
struct wodan_map_cell {
  uint64_t blocks[WODAN_MAP_KINDS]; /* how many of each kind */
  uint64_t newest, oldest;          /* generations of the objects in it (the journal has none); 0: none */
};
/* Fills `count` cells (at least 1): cell i tells of blocks [i * *per_cell, (i + 1) * *per_cell); *per_cell is the least that
 * covers the volume, so cells behind its end may stay empty. A block owned twice is told as damage, once an object. */
WODAN_API int wodan_inspect_map(struct wodan_inspect *inspect, struct wodan_map_cell *cells, size_t count,
                                uint64_t *per_cell, struct wodan_error *error);

WODAN_END

#endif

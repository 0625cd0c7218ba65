/* What a check found, kept for who acts on it: which objects are damaged, and which keys are concerned. */
#ifndef REPAIR_DAMAGE_H
#define REPAIR_DAMAGE_H

#include "base/mem.h"
#include "check/findings.h"
#include "repair/source.h"

/* An object, known by its generation. */
struct damaged_object {
  uint64_t generation;
  uint32_t repair; /* enum wodan_repair_action: the greatest that a finding about it asks for */
  bool misplaced;  /* keys in it are looked for elsewhere, or its blocks are named elsewhere */
};

struct damage {
  struct mem *mem;
  struct damaged_object *objects; /* by rising generation */
  size_t count, capacity;
  uint64_t counts[WODAN_REPAIR_SALVAGE + 1]; /* findings by what repairs them */
  bool block0, copy;                         /* a superblock is damaged */
  bool journal;                              /* what the journal holds behind the root cannot all be replayed */
  bool previous;                             /* the previous root is damaged or lost */
  bool out_of_memory, stopped;
  /* handed on; both may be NULL */
  void *context;
  void (*finding)(void *context, const struct wodan_finding *finding);
  int (*progress)(void *context, uint64_t done, uint64_t total);
};

void damage_release(struct damage *damage);
/* For wodan_check_options, whose context is the struct damage. */
void damage_note(void *context, const struct wodan_finding *finding);
int damage_progress(void *context, uint64_t done, uint64_t total);
/* WODAN_REPAIR_NOTHING when nothing was found about it. */
uint32_t damage_of(const struct damage *damage, uint64_t generation);

/* Its place in the tree is not one for all of its keys, or it has another place too. */
bool damage_misplaced(const struct damage *damage, uint64_t generation);

/* Without the table's id. */
struct wodan_slice damage_user_key(struct wodan_slice tree_key);
/* A loss as a finding; `finding` may be NULL. */
void damage_tell_loss(enum finding_id id, const struct loss *loss,
                      void (*finding)(void *context, const struct wodan_finding *finding), void *context);

/* ---- ranges of keys ------------------------------------------------------------------------------------------------ */

/* Keys about which something is lost. Memory is bounded: beyond SPANS_MAX ranges neighbours become one. */
struct spans {
  struct mem *mem;
  struct span *at; /* own their bounds; any order until spans_sort */
  size_t count, capacity;
};
enum { SPANS_MAX = 1024 };

int spans_add(struct spans *spans, const struct span *span, struct wodan_error *error);
/* By rising lower bound, none touching another. */
void spans_sort(struct spans *spans);
void spans_release(struct spans *spans);
/* Whether the key is in one of them; sorted. */
bool spans_hold(const struct spans *spans, struct wodan_slice key);

#endif

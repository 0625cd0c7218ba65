/* Owns: when a node is swept, and where; when it splits, joins, and when the tree grows or shrinks.
 *
 * Always true: a node on the way to be cut gets no more runs from above, for it can be cut only when no run spans the cut;
 * what is chosen can be done; without work left the answer is WORK_NONE whatever is asked again.
 *
 * The measure of a sweep is what the entries have not absorbed, as a mean, and all that is in the runs. So sweeps roll: in
 * the steady state each arrival makes as much due as it brought, entries are swept in turn, the buffer is always full, and
 * each leaf is rewritten once per buffer. Sweeping all at once when the buffer is full would write 1/alpha + 1 per byte of
 * a growing tree instead of 1/alpha.
 *
 * See: DESIGN.md "Sweeping"; tests/unit/test_policy.c. */
#include "tree/policy.h"

#include <string.h>

enum { DUE_EIGHTHS = 8, RUNS_DUE_EIGHTHS = 7, PIECE_EIGHTHS = 5 };

static const uint64_t FREEING = UINT64_MAX / 4 * 3; /* before all sweeps, behind structure */

static uint32_t entries_max(const struct node *node, const struct tree_policy *policy) {
  return node->level ? policy->node_children : policy->node_leaves;
}

static bool must_split(const struct node *node, const struct tree_policy *policy) {
  return node->entry_count > entries_max(node, policy);
}

static bool absorbed_all(const struct node *node, uint32_t i) {
  return node->entries[i].flushed_upto >= run_generation(node->runs[0]);
}

/* On the way to be cut: it takes no more runs and is swept until none is left. An inner node begins at once, for a byte costs
 * the same whenever it is passed on. A bottom node fills its buffer first, for a leaf that is rewritten for little costs as
 * much as for much. Its last entry and then its first are swept first, and tell from then on that it has begun: a sweep that
 * rolls takes in both at once only where all are. */
static bool being_emptied(const struct node *node, const struct tree_policy *policy) {
  if (!must_split(node, policy)) return false;
  return node->level || node->run_count == 0 || (absorbed_all(node, 0) && absorbed_all(node, node->entry_count - 1));
}

static uint32_t runs_max(const struct node *node) { return node->level ? RUNS_INNER : RUNS_BOTTOM; }

/* A bottom node: alpha of its leaves. An inner node: what the policy says, and not more than a share of that of all leaves
 * below, which keeps the whole within 1.25 alpha. Each at least a memtable. */
uint64_t node_buffer_limit(const struct node *node, const struct tree_policy *policy) {
  enum { INNER_SHARE = 6 };
  uint64_t limit = node->sums.leaf_bytes / ALPHA_ONE * policy->alpha;
  if (node->level) limit = limit / INNER_SHARE < policy->inner_limit ? limit / INNER_SHARE : policy->inner_limit;
  if (limit < policy->memtable_size) limit = policy->memtable_size;
  return limit / policy->eager;
}

/* ---- entries ---------------------------------------------------------------------------------------------------- */

static bool damaged(const struct node *node, uint32_t i, const struct tree_policy *policy) {
  for (uint32_t d = 0; node->level == 0 && d < policy->damaged_count; d++)
    if (policy->damaged[d] == run_generation(node->entries[i].leaf)) return true;
  return false;
}

/* The entry's range overlaps that of the policy. */
static bool in_range(const struct node *node, uint32_t i, const struct tree_policy *policy) {
  if (!policy->everything) return true;
  if (policy->upper.data && i > 0 && key_compare(entry_pivot(node, i), policy->upper) >= 0) return false;
  return i + 1 == node->entry_count || key_compare(entry_pivot(node, i + 1), policy->lower) > 0;
}

/* span: what the node covers. What is deleted as a whole is neither read nor given anything. */
static bool may_sweep(const struct node *node, const struct key_span *span, uint32_t i,
                      const struct tree_policy *policy) {
  if (absorbed_all(node, i)) return false;
  if (!in_range(node, i, policy) && !must_split(node, policy)) return false; /* to be cut, all of it must be empty */
  bool held_up = damaged(node, i, policy) || (node->level && being_emptied(node->entries[i].child, policy));
  return !held_up || node_entry_doomed(node, i, span);
}

/* The entry that is furthest behind the node's newest run, but in a bottom node to be cut the last, the first, and on from
 * there; false when there is none to sweep. */
static bool next_entry(const struct node *node, const struct key_span *span, const struct tree_policy *policy,
                       uint32_t *at) {
  *at = 0;
  if (node->run_count == 0) return false;
  if (node->entry_count == 0) return true;
  bool to_cut = node->level == 0 && must_split(node, policy), found = false;
  if (to_cut) {
    *at = node->entry_count - 1;
    if (may_sweep(node, span, *at, policy)) return true;
  }
  for (uint32_t i = 0; i < node->entry_count && !(found && to_cut); i++) {
    if (!may_sweep(node, span, i, policy)) continue;
    if (found && node->entries[i].flushed_upto >= node->entries[*at].flushed_upto) continue;
    *at = i;
    found = true;
  }
  return found;
}

/* ---- urgency ---------------------------------------------------------------------------------------------------- */

static uint64_t per_1024(uint64_t part, uint64_t whole) {
  return whole ? part * 1024 / whole : (part ? UINT64_MAX : 0);
}

/* Deletes on their way to the entry free most of its leaf, or below it half a leaf of leaves that lose much: then it is swept
 * at once, whatever else is buffered. That costs little, for what is freed is not written again, and gives space; and a
 * cursor steps over every delete and every dead record there. */
static bool frees_much(const struct node *node, uint32_t i, const struct tree_policy *policy) {
  uint64_t frees = node->entries[i].frees;
  if (frees == 0) return false;
  return node->level ? frees >= policy->leaf_size / 2 : frees >= run_payload(node->entries[i].leaf) / 4 * 3;
}

static bool wants_freeing(const struct node *node, const struct key_span *span, uint32_t i,
                          const struct tree_policy *policy) {
  return node->run_count && frees_much(node, i, policy) && may_sweep(node, span, i, policy);
}

/* Runs that make a sweep due. What can wait counts fewer, but in a bottom node only where they come to something: else many
 * short pauses would rewrite all leaves, each time for a few records. */
static uint64_t runs_due(const struct node *node, const struct tree_policy *policy) {
  enum { WORTH = 16 };
  uint64_t runs = runs_max(node);
  if (node->level == 0 && node->unabsorbed < node->sums.leaf_bytes / WORTH) return runs;
  return runs / policy->eager ? runs / policy->eager : 1;
}

/* Above 1024: it has to be swept. What only damaged entries hold back does not count as a full buffer. */
static uint64_t urgency(const struct node *node, const struct tree_policy *policy) {
  if (node->run_count == 0) return 0;
  if (being_emptied(node, policy)) return UINT64_MAX / 2;
  uint64_t limit = node_buffer_limit(node, policy), runs = runs_due(node, policy);
  uint64_t by_bytes = per_1024(node->unabsorbed, limit / 8 * DUE_EIGHTHS + 1);
  uint64_t by_runs = per_1024(node->unabsorbed_runs, 16 * runs / 8 * RUNS_DUE_EIGHTHS + 8);
  return by_bytes > by_runs ? by_bytes : by_runs;
}

/* A buffer that its hard limits forbid to grow. */
static bool overfull(const struct node *node, const struct tree_policy *policy) {
  if (policy->damaged_count) return false;
  if (node->level == 0 && must_split(node, policy)) return node->run_count > runs_max(node);
  return node->run_count > runs_max(node) || node->run_bytes > node_buffer_limit(node, policy);
}

/* ---- the choice ------------------------------------------------------------------------------------------------- */

struct choice {
  const struct tree_policy *policy;
  struct tree_path path; /* of the node looked at */
  struct key_span span;  /* what it covers */
  struct tree_work best;
  uint64_t urgency; /* of best */
};

/* count: pieces of a node that is cut, entries that are swept. */
static void take(struct choice *choice, enum tree_work_kind kind, uint64_t how_urgent, uint32_t at, uint32_t count) {
  if (choice->best.kind != WORK_NONE && how_urgent <= choice->urgency) return;
  choice->best = (struct tree_work){.kind = kind, .path = choice->path, .at = at};
  if (kind == WORK_SWEEP)
    choice->best.entries = count;
  else
    choice->best.pieces = count;
  choice->urgency = how_urgent;
}

static bool hollow(const struct node *node) { return node->entry_count == 0 && node->run_count == 0; }

/* Of one generation in both: only a hostile volume has that, and one list cannot hold them in order. */
static bool share_generation(const struct node *a, const struct node *b) {
  for (uint32_t i = 0, j = 0; i < a->run_count && j < b->run_count;) {
    uint64_t left = run_generation(a->runs[i]), right = run_generation(b->runs[j]);
    if (left == right) return true;
    if (left > right)
      i++;
    else
      j++;
  }
  return false;
}

static bool joinable(const struct node *a, const struct node *b, const struct tree_policy *policy) {
  if (hollow(a) || hollow(b)) return true;
  if (a->entry_count + b->entry_count > entries_max(a, policy) / 2) return false;
  if (a->run_count + b->run_count > runs_max(a)) return false;
  /* What a has only in runs would come into the range of b's first entry, which may have newer runs behind it. */
  if (a->entry_count == 0) return false;
  if (b->run_count == 0) return true;
  /* Keys of b's runs below its first entry would come into the range of a's last one. */
  if (b->entry_count == 0 || key_compare(entry_pivot(b, 0), node_pivot(b)) != 0) return false;
  return !share_generation(a, b);
}

static void consider_structure(struct choice *choice, const struct node *node) {
  const struct tree_policy *policy = choice->policy;
  uint32_t most = entries_max(node, policy);
  if (choice->path.depth == 0) {
    if (must_split(node, policy) && node->level + 1 < NODE_LEVELS_MAX)
      take(choice, WORK_GROW, UINT64_MAX, 0, 0);
    else if (tree_may_shrink(node, runs_max(node->level ? node->entries[0].child : node)) &&
             !must_split(node->entries[0].child, policy))
      take(choice, WORK_SHRINK, UINT64_MAX, 0, 0);
  } else if (must_split(node, policy) && node->run_count == 0) {
    uint32_t piece = (most * PIECE_EIGHTHS + 7) / 8, pieces = (node->entry_count + piece - 1) / piece;
    take(choice, WORK_SPLIT, UINT64_MAX, 0, pieces < 2 ? 2 : pieces);
  }
  for (uint32_t i = 0; node->level && i + 1 < node->entry_count; i++)
    if (joinable(node->entries[i].child, node->entries[i + 1].child, policy)) take(choice, WORK_JOIN, UINT64_MAX, i, 0);
}

/* Leaves that would fit into one, with nothing to absorb. */
static bool small_leaves(const struct node *node, const struct tree_policy *policy, uint32_t *at) {
  if (node->level || node->run_count) return false;
  for (uint32_t i = 0; i + 1 < node->entry_count; i++) {
    uint64_t size = run_leaf_weight(node->entries[i].leaf), next = run_leaf_weight(node->entries[i + 1].leaf);
    if (size >= policy->leaf_size / 4 || size + next > policy->leaf_size) continue;
    if (damaged(node, i, policy) || damaged(node, i + 1, policy) || !in_range(node, i, policy)) continue;
    *at = i;
    return true;
  }
  return false;
}

/* At the entry; but where its child has no room for a run, that is swept first. */
static void take_sweep(struct choice *choice, const struct node *node, uint32_t at, uint64_t how, uint32_t entries) {
  const struct tree_policy *policy = choice->policy;
  struct key_span span = choice->span;
  uint32_t depth = choice->path.depth;
  bool found = true;
  while (found && node->level && node->entries[at].child->run_count >= runs_max(node->entries[at].child) &&
         !node_entry_doomed(node, at, &span)) {
    span = entry_span(node, at, &span);
    node = node->entries[at].child;
    choice->path.at[choice->path.depth++] = at;
    entries = 0;
    found = next_entry(node, &span, policy, &at);
  }
  if (found) take(choice, WORK_SWEEP, how, at, entries);
  choice->path.depth = depth;
}

static void consider_freeing(struct choice *choice, const struct node *node) {
  const struct tree_policy *policy = choice->policy;
  if (policy->everything) return;
  uint32_t at = 0, count = 0;
  while (at < node->entry_count && !wants_freeing(node, &choice->span, at, policy)) at++;
  while (at + count < node->entry_count && wants_freeing(node, &choice->span, at + count, policy)) count++;
  if (count) take_sweep(choice, node, at, FREEING, count);
}

static bool due(const struct node *node, const struct tree_policy *policy) {
  return urgency(node, policy) > 1024 || overfull(node, policy);
}

static void consider_sweep(struct choice *choice, const struct node *node) {
  const struct tree_policy *policy = choice->policy;
  uint32_t at;
  uint64_t how = urgency(node, policy);
  if (policy->everything) {
    /* From the top down, so that what comes from above goes the whole way. */
    if (choice->path.depth < policy->levels_left) return;
    if (next_entry(node, &choice->span, policy, &at))
      take(choice, WORK_SWEEP, how > UINT64_MAX / 4 ? how : UINT64_MAX / 8 + node->level, at, 0);
    else if (policy->join_leaves && small_leaves(node, policy, &at))
      take(choice, WORK_SWEEP, 1, at, 0);
    return;
  }
  if (due(node, policy) && next_entry(node, &choice->span, policy, &at)) take_sweep(choice, node, at, how, 0);
}

/* Recurses level by level. */
static void consider(struct choice *choice, const struct node *node) {
  consider_structure(choice, node);
  consider_freeing(choice, node);
  consider_sweep(choice, node);
  uint32_t depth = choice->path.depth;
  struct key_span span = choice->span;
  for (uint32_t i = 0; node->level && i < node->entry_count; i++) {
    choice->path.at[depth] = i;
    choice->path.depth = depth + 1;
    choice->span = entry_span(node, i, &span);
    consider(choice, node->entries[i].child);
  }
  choice->path.depth = depth;
  choice->span = span;
}

struct tree_work tree_next_work(struct node *root, const struct tree_policy *policy) {
  struct choice choice = {.policy = policy};
  consider(&choice, root);
  return choice.best;
}

/* ---- debt ------------------------------------------------------------------------------------------------------- */

/* Entries that are swept for what they free: bytes moved, about, to the leaves. */
static uint64_t owed_for_freeing(const struct node *node, const struct key_span *span,
                                 const struct tree_policy *policy) {
  uint64_t owed = 0;
  for (uint32_t i = 0; node->run_count && !policy->everything && i < node->entry_count; i++)
    if (wants_freeing(node, span, i, policy)) owed += node->entries[i].frees / 2 * (node->level + 1);
  return owed;
}

/* A node to be cut has the time of so many memtables, while its parent has room to buffer them. */
static uint64_t patience(const struct node *parent, const struct tree_policy *policy) {
  enum { MOST = 4 };
  if (!parent) return 1;
  uint64_t by_bytes = per_1024(parent->run_bytes, node_buffer_limit(parent, policy) + 1);
  uint64_t by_runs = per_1024(parent->run_count, runs_max(parent)), full = by_bytes > by_runs ? by_bytes : by_runs;
  return full < 1024 ? MOST - full * (MOST - 1) / 1024 : 1;
}

/* Bytes written to bring a node's buffer below its limit: an inner level passes each byte on once, down to the leaves; a
 * bottom node rewrites all of its leaves for what its buffer holds. */
static uint64_t owed_by(const struct node *node, const struct key_span *span, const struct node *parent,
                        const struct tree_policy *policy) {
  uint64_t limit = node_buffer_limit(node, policy) / 8 * DUE_EIGHTHS, behind = node->unabsorbed, alpha = policy->alpha;
  uint32_t at;
  if (node->run_count == 0 || behind == 0 || !due(node, policy) || !next_entry(node, span, policy, &at)) return 0;
  bool cut = being_emptied(node, policy);
  uint64_t excess = cut ? behind : behind > limit ? behind - limit : 0;
  uint64_t runs = 16 * runs_max(node) / 8 * RUNS_DUE_EIGHTHS + 8;
  if (!cut && node->unabsorbed_runs > runs) {
    uint64_t by_runs = behind - behind / node->unabsorbed_runs * runs;
    if (by_runs > excess) excess = by_runs;
  }
  /* Runs that only a few entries hold on to take room all the same. */
  uint64_t most = node_buffer_limit(node, policy), over = node->run_bytes > most ? node->run_bytes - most : 0;
  if (overfull(node, policy) && over > excess) excess = over < behind ? over : behind;
  uint64_t times = 1024 * node->level + 1024 * ALPHA_ONE / (alpha ? alpha : 1);
  if (node->level == 0) {
    uint64_t buffer = node->run_bytes < node->sums.leaf_bytes ? node->run_bytes : node->sums.leaf_bytes;
    times = 1024 + per_1024(node->sums.leaf_bytes, buffer ? buffer : 1);
  }
  if (times > 64 * 1024) times = 64 * 1024;
  uint64_t owed = excess / 1024 * times + excess % 1024;
  return cut ? owed / patience(parent, policy) : owed;
}

/* Recurses level by level. */
static uint64_t owed_below(const struct node *node, const struct key_span *span, const struct node *parent,
                           const struct tree_policy *policy) {
  uint64_t owed = owed_by(node, span, parent, policy) + owed_for_freeing(node, span, policy);
  for (uint32_t i = 0; node->level && i < node->entry_count; i++) {
    struct key_span own = entry_span(node, i, span);
    owed += owed_below(node->entries[i].child, &own, node, policy);
  }
  return owed;
}

uint64_t tree_owed(const struct node *root, const struct tree_policy *policy) {
  struct key_span all = {{NULL, 0}, {NULL, 0}};
  return owed_below(root, &all, NULL, policy);
}

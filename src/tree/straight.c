/* Owns: whether a memtable may go straight into leaves, past all buffers: it is then written once instead of twice.
 *
 * Always true: no run of a node on the way has a record or a range delete where the memtable's keys lie, be it absorbed or not.
 * For an entry's mark may become older again (joined with a neighbour, or repaired), and a run that is looked at once more must
 * not show a record that is older than what went past it. Runs that come later are younger, wherever they stand.
 *
 * See: DESIGN.md "Straight into leaves", tests/unit/test_straight.c. */
#include "tree/sweep.h"

/* What the run holds lies below or above all of [low, high]. */
static bool lies_beside(struct run *run, struct wodan_slice low, struct wodan_slice high) {
  struct run_shape shape;
  if (run_open_body(run, NULL) < 0) return false;
  run_shape(run, &shape);
  bool beside = shape.record_count == 0 || key_compare(shape.high, low) < 0 || key_compare(shape.low, high) > 0;
  run_close_body(run);
  return beside;
}

static bool has_nothing_in(struct run *run, struct wodan_slice low, struct wodan_slice high) {
  struct key_span from_low = {.from = low};
  if (ranges_touch_span(run_ranges(run), &from_low)) return false;
  if (lies_beside(run, low, high)) return true;
  struct iterator *it = run_iterator(run);
  bool nothing = it && iterator_seek(it, low, NULL) == 0 && (!it->valid || key_compare(it->record.key, high) > 0);
  iterator_close(it);
  return nothing;
}

/* The bottom node in which all keys of [low, high] lie, and where in it; false: there is none. */
static bool find_entries(struct node *node, struct wodan_slice low, struct wodan_slice high, struct straight *way) {
  *way = (struct straight){.entries = 0};
  for (; node->level; node = node->entries[way->at].child) {
    if (node->entry_count == 0) return false;
    way->at = node_find(node, low);
    if (node_find(node, high) != way->at) return false;
    way->path.at[way->path.depth++] = way->at;
  }
  way->at = 0;
  if (node->entry_count == 0) return true;
  way->at = node_find(node, low);
  way->entries = node_find(node, high) - way->at + 1;
  return true;
}

bool tree_goes_straight(struct node *root, struct wodan_slice low, struct wodan_slice high, uint64_t most,
                        struct straight *way) {
  if (!find_entries(root, low, high, way)) return false;
  const struct node *bottom = tree_at(root, &way->path);
  uint64_t bytes = 0;
  for (uint32_t i = way->at; i < way->at + way->entries && bytes <= most; i++)
    bytes += run_length(bottom->entries[i].leaf);
  if (bytes > most) return false;
  const struct node *node = root;
  for (uint32_t depth = 0; node; depth++) {
    for (uint32_t r = 0; r < node->run_count; r++)
      if (!has_nothing_in(node->runs[r], low, high)) return false;
    node = depth < way->path.depth ? node->entries[way->path.at[depth]].child : NULL;
  }
  return true;
}

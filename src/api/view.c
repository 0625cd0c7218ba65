/* Owns: include/wodan/view.h. See: tests/unit/test_engine_kv.c and its siblings. */
#include "api/api.h"

int wodan_view_open(struct wodan_db *db, struct wodan_view **view) {
  struct wodan_error error;
  if (!db || !view) return api_missing(db, "the place for the view");
  *view = mem_zalloc(&db->readers_mem, sizeof **view);
  if (!*view) return api_result(db, status_nomem(&error), &error);
  engine_view_init(db, *view, NULL);
  return 0;
}

void wodan_view_close(struct wodan_view *view) {
  if (!view) return;
  struct wodan_db *db = view->db;
  engine_view_release(view);
  mem_free(&db->readers_mem, view, sizeof *view);
  engine_unpin(db); /* the database may be closed as soon as the last pin falls */
}

uint64_t wodan_view_sequence(const struct wodan_view *view) { return view ? view->sequence : 0; }

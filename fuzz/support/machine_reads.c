/* What: the machine's reads: gets, views, cursors, pinned values. See machine.h. */
#include <string.h>
#include "support/machine.h"

static void judge(struct machine *machine, bool possible, const char *what, int key) {
  if (!possible && !machine->hostile) FUZZ_FAIL("%s, key %d: an answer that no possible state gives", what, key);
}

static void judge_get(struct machine *machine, struct possible *possible, unsigned key, int status,
                      struct wodan_slice value) {
  if (status != 0 && status != WODAN_ENOTFOUND) {
    machine_allow(machine, status, "a get");
    return;
  }
  judge(machine, possible_value(&machine->states, possible, key, status == 0, value), "get", (int)key);
}

static void get(struct machine *machine, struct wodan_view *view, struct possible *possible, unsigned key,
                unsigned how) {
  uint8_t buffer[VALUE_MAX];
  size_t size = 0;
  if (how % 3 == 0) {
    void *value = NULL;
    machine->user_memory = true;
    int status = wodan_get_alloc(machine->db, view, key_at(key), &value, &size);
    judge_get(machine, possible, key, status, (struct wodan_slice){value, size});
    wodan_free(machine->db, value);
    return;
  }
  size_t room = how % 3 == 1 ? sizeof buffer : 8;
  int status = wodan_get(machine->db, view, key_at(key), buffer, room, &size);
  if (status == WODAN_ERANGE) {
    FUZZ_CHECK(size > room);
    status = wodan_get(machine->db, view, key_at(key), buffer, sizeof buffer, &size);
  }
  if (status == WODAN_ERANGE && machine->hostile) return;
  judge_get(machine, possible, key, status, (struct wodan_slice){buffer, size});
}

void machine_get(struct machine *machine) {
  unsigned key = machine_take(machine) % KEYS, how = machine_take(machine);
  struct machine_view *view = &machine->views[how / 4 % VIEWS_MAX];
  bool with = how & 1 && view->view;
  get(machine, with ? view->view : NULL, with ? &view->possible : &machine->now, key, how / 16);
}

void machine_get_all(struct machine *machine) {
  for (unsigned key = 0; key < KEYS; key++) get(machine, NULL, &machine->now, key, key);
}

/* ---- views --------------------------------------------------------------------------------------------------------- */

void machine_view_open(struct machine *machine) {
  struct machine_view *view = &machine->views[machine_take(machine) % VIEWS_MAX];
  if (view->view) return;
  int status = wodan_view_open(machine->db, &view->view);
  machine_allow(machine, status, "opening a view");
  if (status < 0) view->view = NULL;
  view->possible = machine->now;
}

void machine_view_close(struct machine *machine) {
  struct machine_view *view = &machine->views[machine_take(machine) % VIEWS_MAX];
  wodan_view_close(view->view);
  view->view = NULL;
}

/* ---- cursors ------------------------------------------------------------------------------------------------------- */

void machine_cursor_open(struct machine *machine) {
  uint8_t how = machine_take(machine);
  struct machine_cursor *cursor = &machine->cursors[how % CURSORS_MAX];
  struct machine_view *view = &machine->views[how / 4 % VIEWS_MAX];
  if (cursor->cursor) return;
  bool with = how & 128 && view->view;
  int status = wodan_cursor_open(machine->db, with ? view->view : NULL, &cursor->cursor);
  machine_allow(machine, status, "opening a cursor");
  if (status < 0) cursor->cursor = NULL;
  cursor->possible = with ? view->possible : machine->now;
  cursor->at = -1;
}

void machine_cursor_close(struct machine *machine) {
  struct machine_cursor *cursor = &machine->cursors[machine_take(machine) % CURSORS_MAX];
  wodan_cursor_close(cursor->cursor);
  cursor->cursor = NULL;
}

/* Where the cursor stands after a move: the first key from `from` on, in that direction. */
static void moved(struct machine *machine, struct machine_cursor *cursor, int status, int from, bool down) {
  cursor->at = -1;
  struct wodan_slice key = wodan_cursor_key(cursor->cursor), value = {0};
  if (status == 0) {
    cursor->at = key_find(key);
    if (machine->hostile) return;
    if (cursor->at < 0) FUZZ_FAIL("a cursor stands on a key that was never put");
    judge(machine, possible_next(&machine->states, &cursor->possible, from, down, cursor->at), "move", cursor->at);
    if (machine_value(machine, cursor->cursor, &value))
      judge(machine, possible_value(&machine->states, &cursor->possible, (unsigned)cursor->at, true, value), "cursor",
            cursor->at);
    return;
  }
  FUZZ_CHECK(key.size == 0 && wodan_cursor_value(cursor->cursor).size == 0);
  machine_allow(machine, status, "a move");
  if (status == WODAN_DONE)
    judge(machine, possible_next(&machine->states, &cursor->possible, from, down, -1), "move to the end", from);
}

static void move(struct machine *machine, struct machine_cursor *cursor, unsigned how, unsigned key) {
  struct wodan_cursor *c = cursor->cursor;
  int at = cursor->at;
  switch (how % 6) {
  case 0:
    moved(machine, cursor, wodan_cursor_first(c), 0, false);
    break;
  case 1:
    moved(machine, cursor, wodan_cursor_last(c), KEYS - 1, true);
    break;
  case 2:
    moved(machine, cursor, wodan_cursor_seek(c, key_at(key)), (int)key, false);
    break;
  case 3:
    moved(machine, cursor, wodan_cursor_seek_back(c, key_at(key)), (int)key, true);
    break;
  case 4:
    moved(machine, cursor, wodan_cursor_next(c), at < 0 ? KEYS : at + 1, false);
    break;
  default:
    moved(machine, cursor, wodan_cursor_prev(c), at < 0 ? -1 : at - 1, true);
  }
}

void machine_cursor_move(struct machine *machine) {
  uint8_t how = machine_take(machine), key = machine_take(machine);
  struct machine_cursor *cursor = &machine->cursors[how / 6 % CURSORS_MAX];
  if (cursor->cursor) move(machine, cursor, how, key % KEYS);
}

/* Some steps one way, then back: a cursor that turns round. */
void machine_cursor_walk(struct machine *machine) {
  uint8_t how = machine_take(machine);
  struct machine_cursor *cursor = &machine->cursors[how % CURSORS_MAX];
  if (!cursor->cursor) return;
  unsigned steps = how / 4 % 16, there = how & 128 ? 4 : 5;
  for (unsigned i = 0; i < steps && cursor->at >= 0; i++) move(machine, cursor, there, 0);
  for (unsigned i = 0; i < steps && cursor->at >= 0; i++) move(machine, cursor, 9 - there, 0);
}

/* ---- pinned values --------------------------------------------------------------------------------------------------- */

void machine_pin(struct machine *machine) {
  unsigned key = machine_take(machine) % KEYS;
  struct machine_pin *pin = &machine->pins[machine_take(machine) % PINS_MAX];
  if (pin->held) return;
  int status = wodan_get_pinned(machine->db, NULL, key_at(key), &pin->pinned);
  judge_get(machine, &machine->now, key, status, status == 0 ? pin->pinned.value : (struct wodan_slice){NULL, 0});
  if (status < 0) return;
  pin->held = true;
  if (machine->hostile) return;
  memcpy(pin->copy, pin->pinned.value.data, pin->pinned.value.size);
}

void machine_unpin(struct machine *machine) {
  struct machine_pin *pin = &machine->pins[machine_take(machine) % PINS_MAX];
  if (!pin->held) return;
  if (!machine->hostile) FUZZ_CHECK(memcmp(pin->copy, pin->pinned.value.data, pin->pinned.value.size) == 0);
  wodan_unpin(machine->db, &pin->pinned);
  pin->held = false;
}

/* ---- parts of values ------------------------------------------------------------------------------------------------- */

void machine_get_part(struct machine *machine) {
  uint8_t bytes[VALUE_MAX];
  unsigned key = machine_take(machine) % KEYS, from = machine_take(machine), room = machine_take(machine);
  struct wodan_part part = {.offset = from * 33u, .buffer = bytes, .capacity = room * 32u};
  int status = wodan_get_part(machine->db, NULL, key_at(key), &part);
  if (status != 0) {
    FUZZ_CHECK(part.size == 0 && part.value_size == 0);
    judge_get(machine, &machine->now, key, status, (struct wodan_slice){NULL, 0});
    return;
  }
  FUZZ_CHECK(part.size <= part.capacity);
  bool short_one = part.size < part.capacity && part.offset + part.size < part.value_size;
  FUZZ_CHECK(!short_one);
  if (part.size == 0) part.offset = 0;
  const struct stretch_seen seen = {part.offset, part.value_size, {bytes, part.size}};
  judge(machine, possible_stretch(&machine->states, &machine->now, key, &seen), "part", (int)key);
}

/* Reads all of it once, which is what it must go on to read, whatever is written. */
void machine_reader_open(struct machine *machine) {
  unsigned key = machine_take(machine) % KEYS, how = machine_take(machine);
  struct machine_reader *reader = &machine->readers[how % READERS_MAX];
  uint64_t told = 0;
  size_t piece = 1;
  if (reader->reader) return;
  int status = wodan_value_reader_open(machine->db, NULL, key_at(key), &reader->reader, &told);
  if (status != 0) {
    reader->reader = NULL;
    judge_get(machine, &machine->now, key, status, (struct wodan_slice){NULL, 0});
    return;
  }
  size_t room = told < VALUE_MAX ? (size_t)told : VALUE_MAX;
  FUZZ_CHECK(told <= VALUE_MAX || machine->hostile);
  for (reader->size = 0; status == 0 && piece && reader->size < room; reader->size += piece) {
    size_t wanted = 1 + how * 30u;
    if (wanted > room - reader->size) wanted = room - reader->size;
    status = wodan_value_reader_read(reader->reader, reader->copy + reader->size, wanted, &piece);
    if (status < 0) piece = 0;
  }
  machine_allow(machine, status, "reading a value in pieces");
  reader->at = reader->size;
  if (status < 0 || reader->size != told) {
    FUZZ_CHECK(status < 0 || machine->hostile);
    wodan_value_reader_close(reader->reader);
    reader->reader = NULL;
    return;
  }
  judge(machine,
        possible_value(&machine->states, &machine->now, key, true, (struct wodan_slice){reader->copy, reader->size}),
        "in pieces", (int)key);
}

void machine_reader_read(struct machine *machine) {
  uint8_t bytes[VALUE_MAX], which = machine_take(machine), from = machine_take(machine), room = machine_take(machine);
  struct machine_reader *reader = &machine->readers[which % READERS_MAX];
  size_t size = 0, capacity = 1 + room * 31u;
  if (!reader->reader) return;
  if (which & 128) {
    reader->at = from * 33u < reader->size ? from * 33u : reader->size;
    wodan_value_reader_seek(reader->reader, from * 33u);
  }
  int status = wodan_value_reader_read(reader->reader, bytes, capacity, &size);
  machine_allow(machine, status, "reading on in a value");
  if (status < 0) return;
  size_t due = reader->size - reader->at < capacity ? reader->size - reader->at : capacity;
  if (!machine->hostile) FUZZ_CHECK(size == due && memcmp(bytes, reader->copy + reader->at, size) == 0);
  reader->at += size;
}

void machine_reader_close(struct machine *machine) {
  struct machine_reader *reader = &machine->readers[machine_take(machine) % READERS_MAX];
  wodan_value_reader_close(reader->reader);
  reader->reader = NULL;
}

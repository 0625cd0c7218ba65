/* Owns: the fault under way, the allocator it strikes, and the names of what was called.
 * Always true: an allocation outside a public function never fails.
 * See: fault_loop.h, tests/crash/test_api_faults.c. */
#include "fault_loop.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FUNCTIONS_MAX = 160, HEADER_MAX = 1 << 16 };

const char *const loop_kind_names[LOOP_KINDS] = {"none",  "allocation", "read",  "false read", "stale read",
                                                 "write", "barrier",    "flush", "discard"};
const char *const loop_mode_names[LOOP_MODES] = {"once", "for ever", "once, then lies"};

struct called {
  const char *name;
  uint64_t calls, struck;
};

static struct {
  struct loop_fault fault;
  struct wodan_sim *sim;
  uint64_t allocations, struck, seen; /* seen: faults of the device that were counted */
  long live;
  bool inside;
  size_t current, count;
  struct called functions[FUNCTIONS_MAX];
} loop;

/* ---- allocator -------------------------------------------------------------------------------------------------- */

void *__real_malloc(size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);

static bool fails(void) {
  if (!loop.inside) return false;
  uint64_t at = loop.fault.at, call = ++loop.allocations;
  if (loop.fault.kind != LOOP_MEMORY || call < at || (call > at && loop.fault.mode != LOOP_EVER)) return false;
  loop.struck++;
  loop.functions[loop.current].struck++;
  return true;
}

/* In front of each piece: how far it starts behind what the C library gave, and whether it counts. */
struct front {
  _Alignas(16) size_t offset;
  bool counts;
};

static void *taken(uint8_t *memory, size_t offset) {
  if (!memory) return NULL;
  struct front front = {.offset = offset, .counts = loop.inside};
  memcpy(memory + offset - sizeof front, &front, sizeof front);
  loop.live += front.counts;
  return memory + offset;
}

void *__wrap_malloc(size_t size) {
  return fails() ? NULL : taken(__real_malloc(size + sizeof(struct front)), sizeof(struct front));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
  return fails() ? NULL : taken(__real_aligned_alloc(alignment, size + alignment), alignment);
}

void __wrap_free(void *memory) {
  struct front front;
  if (!memory) return;
  memcpy(&front, (uint8_t *)memory - sizeof front, sizeof front);
  loop.live -= front.counts;
  __real_free((uint8_t *)memory - front.offset);
}

/* ---- the fault -------------------------------------------------------------------------------------------------- */

static void set(uint8_t kind, uint64_t skip, uint64_t times, uint64_t argument) {
  struct wodan_sim_fault fault = {.kind = kind, .skip = skip, .times = times, .argument = argument};
  if (wodan_sim_fault(loop.sim, &fault) < 0) abort();
}

/* What is once, then lies, is two faults: the second does not see what the first one struck. */
static void set_on_device(void) {
  uint64_t skip = loop.fault.at - 1, times = loop.fault.mode != LOOP_EVER;
  bool lies = loop.fault.mode == LOOP_LIES;
  switch (loop.fault.kind) {
  case LOOP_READ:
    set(WODAN_SIM_READ_EIO, skip, times, 0);
    if (lies) set(WODAN_SIM_READ_GARBAGE, skip + 1, 1, 0);
    break;
  case LOOP_FALSE_READ:
    set(WODAN_SIM_READ_GARBAGE, skip, times, 0);
    break;
  case LOOP_STALE_READ:
    set(WODAN_SIM_READ_STALE, skip, times, 0);
    break;
  case LOOP_WRITE:
    set(WODAN_SIM_WRITE_EIO, skip, times, 0);
    if (lies) set(WODAN_SIM_WRITE_LOST, skip, 0, 1);
    break;
  case LOOP_BARRIER:
    set(WODAN_SIM_BARRIER_EIO, skip, times, 0);
    break;
  case LOOP_FLUSH:
    set(WODAN_SIM_FLUSH_EIO, skip, times, lies);
    if (lies) set(WODAN_SIM_FLUSH_LIE, skip, 0, 0);
    break;
  case LOOP_DISCARD:
    set(WODAN_SIM_DISCARD_EIO, skip, times, 0);
    break;
  default:
    break;
  }
}

void loop_arm(const struct loop_fault *fault, struct wodan_sim *sim) {
  loop.fault = *fault;
  loop.sim = sim;
  loop.allocations = loop.struck = loop.seen = 0;
  if (fault->kind > LOOP_MEMORY) set_on_device();
}

void loop_disarm(void) {
  loop.fault = (struct loop_fault){.kind = LOOP_NONE};
  if (loop.sim) wodan_sim_faults_clear(loop.sim);
  loop.sim = NULL;
}

uint64_t loop_struck(void) { return loop.struck; }
uint64_t loop_allocations(void) { return loop.allocations; }
long loop_live(void) { return loop.live; }

/* ---- names ------------------------------------------------------------------------------------------------------ */

static size_t find(const char *name, size_t size) {
  size_t i = 0;
  while (i < loop.count && (strncmp(loop.functions[i].name, name, size) != 0 || loop.functions[i].name[size])) i++;
  return i;
}

void loop_enter(const char *function) {
  loop.current = find(function, strlen(function));
  if (loop.current == loop.count) {
    if (++loop.count == FUNCTIONS_MAX) abort();
    loop.functions[loop.current] = (struct called){.name = function};
  }
  if (loop.fault.kind != LOOP_NONE) loop.functions[loop.current].calls++;
  loop.inside = true;
}

int loop_left(int status) {
  loop.inside = false;
  if (loop.sim && loop.fault.kind > LOOP_MEMORY) {
    uint64_t struck = wodan_sim_faults_struck(loop.sim) - loop.seen;
    loop.seen += struck;
    loop.struck += struck;
    loop.functions[loop.current].struck += struck;
  }
  return status;
}

/* The functions that one header declares: the name before the bracket behind WODAN_API. */
static unsigned missing_in(const char *text) {
  unsigned missing = 0;
  for (const char *at = text; (at = strstr(at, "WODAN_API ")); at++) {
    const char *end = strchr(at, '('), *name = end;
    if (at > text + 8 && strncmp(at - 8, "#define ", 8) == 0) continue;
    while (end && name > at && (isalnum((unsigned char)name[-1]) || name[-1] == '_')) name--;
    if (!end) break;
    size_t i = find(name, (size_t)(end - name));
    if (i < loop.count && loop.functions[i].calls > 0) continue;
    fprintf(stderr, "%.*s: no fault loop calls it\n", (int)(end - name), name);
    missing++;
  }
  return missing;
}

unsigned loop_missing(const char *include_folder) {
  static char text[HEADER_MAX];
  unsigned missing = 0, headers = 0;
  struct dirent *entry;
  DIR *folder = opendir(include_folder);
  while (folder && (entry = readdir(folder))) {
    char path[1024];
    if (!strstr(entry->d_name, ".h")) continue;
    snprintf(path, sizeof path, "%s/%s", include_folder, entry->d_name);
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[size] = 0;
    missing += missing_in(text);
    headers += size > 0;
  }
  if (folder) closedir(folder);
  return headers < 10 ? 1 : missing; /* or the folder is another */
}

void loop_print(void) {
  for (size_t i = 0; i < loop.count; i++)
    printf("%-28s %9llu calls %9llu faults\n", loop.functions[i].name, (unsigned long long)loop.functions[i].calls,
           (unsigned long long)loop.functions[i].struck);
}

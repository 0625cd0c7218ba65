/* What: what the map shows, gathered once, and the colours of its kinds.
 *
 * Always true: the sums are those of the cells.
 *
 * Order: none that matters.
 *
 * See: include/wodan/inspect.h; tests/cli/test_inspect.sh. */
#include "map_data.h"

#include <errno.h>
#include <stdlib.h>

#include "report.h"

const struct map_kind map_kinds[WODAN_MAP_KINDS] = {
    [WODAN_MAP_FREE] = {"free", "free", '.', 0xee, 0xee, 0xea},
    [WODAN_MAP_SUPERBLOCK] = {"superblock", "superblock", 'S', 0x22, 0x22, 0x22},
    [WODAN_MAP_RING] = {"journal, not needed", "journal", 'j', 0xf0, 0xdc, 0xb0},
    [WODAN_MAP_RING_LIVE] = {"journal, needed", "journal_live", 'J', 0xe6, 0x9f, 0x00},
    [WODAN_MAP_NODE] = {"node", "node", 'N', 0xcc, 0x22, 0x22},
    [WODAN_MAP_RUN] = {"buffered run", "run", 'R', 0x1f, 0x6f, 0xc4},
    [WODAN_MAP_LEAF] = {"leaf", "leaf", 'L', 0x00, 0x8f, 0x6b},
    [WODAN_MAP_PREVIOUS] = {"previous root only", "previous", 'P', 0x9a, 0x5f, 0xb5},
    [WODAN_MAP_LARGE] = {"large value", "large", 'V', 0x96, 0x64, 0x28},
    [WODAN_MAP_LOST] = {"behind the device's end", "lost", '!', 0xff, 0x00, 0xff},
};

struct map_colour map_colour(const struct map_data *data, uint32_t kind, const struct wodan_map_cell *cell, bool dark) {
  const struct map_kind *k = &map_kinds[kind];
  struct map_colour colour = {k->red, k->green, k->blue};
  bool aged = (kind >= WODAN_MAP_NODE && kind <= WODAN_MAP_PREVIOUS) || kind == WODAN_MAP_LARGE;
  if (!aged || data->newest <= data->oldest || cell->newest == 0) return colour;
  double age = (double)(data->newest - cell->newest) / (double)(data->newest - data->oldest); /* 0: newest */
  double keep = 1 - 0.62 * age, towards = dark ? 16 : 255;
  colour.red = colour.red * keep + towards * (1 - keep);
  colour.green = colour.green * keep + towards * (1 - keep);
  colour.blue = colour.blue * keep + towards * (1 - keep);
  return colour;
}

static void add_up(struct map_data *data) {
  for (size_t i = 0; i < data->count; i++) {
    const struct wodan_map_cell *cell = &data->cells[i];
    for (unsigned kind = 0; kind < WODAN_MAP_KINDS; kind++) data->blocks[kind] += cell->blocks[kind];
    if (cell->newest > data->newest) data->newest = cell->newest;
    if (cell->oldest && (data->oldest == 0 || cell->oldest < data->oldest)) data->oldest = cell->oldest;
  }
}

int map_data_gather(struct look *look, size_t most, struct map_data *data) {
  *data = (struct map_data){.image = look->options->image, .summary = &look->summary};
  if (most > look->summary.blocks) most = (size_t)look->summary.blocks;
  struct wodan_error error;
  data->cells = calloc(most, sizeof *data->cells);
  if (data->cells == NULL) return report_errno(look->options->json, look->options->image, ENOMEM);
  int status = wodan_inspect_map(look->inspect, data->cells, most, &data->per_cell, &error);
  if (status < 0) return look_fail(look, status, &error);
  data->count = (size_t)((look->summary.blocks + data->per_cell - 1) / data->per_cell);
  add_up(data);
  return levels_gather(look, &data->levels);
}

void map_data_release(struct map_data *data) {
  free(data->cells);
  data->cells = NULL;
}

/* What the map shows: cells, sums, levels; and the colours of kinds, one table for all ways of drawing. */
#ifndef WODAN_CLI_MAP_DATA_H
#define WODAN_CLI_MAP_DATA_H

#include <stdio.h>

#include "levels.h"

struct map_data {
  const char *image;
  const struct wodan_summary *summary;
  struct wodan_map_cell *cells;
  size_t count;      /* cells that hold blocks */
  uint64_t per_cell; /* blocks */
  uint64_t blocks[WODAN_MAP_KINDS];
  uint64_t oldest, newest; /* generations of objects, 0: none */
  struct levels levels;
};

struct map_kind {
  const char *name, *member; /* for people; for JSON */
  char letter;
  unsigned char red, green, blue;
};
extern const struct map_kind map_kinds[WODAN_MAP_KINDS];

struct map_colour {
  double red, green, blue; /* 0..255 */
};
/* The colour of a kind in a cell, paler the older its objects are. dark: towards black in place of white. */
struct map_colour map_colour(const struct map_data *data, uint32_t kind, const struct wodan_map_cell *cell, bool dark);

/* At most `most` cells. 0, or the exit code of the reported failure; map_data_release in any case. */
int map_data_gather(struct look *look, size_t most, struct map_data *data);
void map_data_release(struct map_data *data);

/* ---- ways of drawing --------------------------------------------------------------------------------------------- */

enum { MAP_SVG_COLUMNS = 64, MAP_SVG_CELLS = 64 * 64 };
void map_svg(FILE *out, const struct map_data *data);

/* colours: 0 letters, 256, or 1 << 24. width: columns, at least 20. */
struct map_terminal {
  unsigned width;
  unsigned colours;
};
void map_terminal(FILE *out, const struct map_data *data, const struct map_terminal *how);

#endif

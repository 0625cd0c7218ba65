/* What: the map for a terminal: two cells a character, one above the other, in colours; or a letter a cell.
 *
 * Always true: each line ends with the colours of the terminal itself; no line is wider than asked for.
 *
 * Order: none that matters.
 *
 * See: tests/cli/test_inspect.sh. */
#include <inttypes.h>

#include "map_data.h"
#include "report.h"

/* The colours of a cell's kinds, mixed by their shares; free is nearly black. */
static struct map_colour mixed(const struct map_data *data, const struct wodan_map_cell *cell) {
  static const struct map_colour none = {40, 40, 40};
  struct map_colour sum = {0, 0, 0};
  double total = 0;
  for (unsigned kind = 0; kind < WODAN_MAP_KINDS; kind++) {
    double blocks = (double)cell->blocks[kind];
    struct map_colour colour = map_colour(data, kind, cell, true);
    if (kind == WODAN_MAP_FREE) colour = none;
    if (kind == WODAN_MAP_SUPERBLOCK) colour = (struct map_colour){255, 255, 255};
    if (kind == WODAN_MAP_RING) colour = (struct map_colour){110, 90, 50};
    sum.red += colour.red * blocks;
    sum.green += colour.green * blocks;
    sum.blue += colour.blue * blocks;
    total += blocks;
  }
  if (total <= 0) return (struct map_colour){0, 0, 0};
  return (struct map_colour){sum.red / total, sum.green / total, sum.blue / total};
}

/* The nearest of xterm's 256: the levels of its cube are 0, 95, 135, ... 255, its greys 8, 18, ... 238. */
static unsigned cube_level(double value) { return value < 48 ? 0 : value < 115 ? 1 : (unsigned)((value - 35) / 40); }

static unsigned nearest_256(struct map_colour c) {
  double least = c.red < c.green ? c.red : c.green, most = c.red > c.green ? c.red : c.green;
  if (c.blue < least) least = c.blue;
  if (c.blue > most) most = c.blue;
  if (most - least < 8 && most < 238) return 232 + (most < 8 ? 0 : (unsigned)((most - 3) / 10));
  return 16 + 36 * cube_level(c.red) + 6 * cube_level(c.green) + cube_level(c.blue);
}

/* layer: 38 the character, 48 what is behind it. */
static void put_colour(FILE *out, unsigned layer, struct map_colour c, unsigned colours) {
  if (colours == 256)
    fprintf(out, "\033[%u;5;%um", layer, nearest_256(c));
  else
    fprintf(out, "\033[%u;2;%u;%u;%um", layer, (unsigned)c.red, (unsigned)c.green, (unsigned)c.blue);
}

static bool same(struct map_colour a, struct map_colour b) {
  return (unsigned)a.red == (unsigned)b.red && (unsigned)a.green == (unsigned)b.green &&
         (unsigned)a.blue == (unsigned)b.blue;
}

/* Colours are told where they change. */
static void put_colours(FILE *out, const struct map_data *data, const struct map_terminal *how) {
  for (size_t row = 0; row * how->width < data->count; row += 2) {
    struct map_colour top = {0, 0, 0}, bottom = {0, 0, 0};
    bool ended = false;
    for (size_t column = 0; column < how->width; column++) {
      size_t above = row * how->width + column, below = above + how->width;
      if (above >= data->count) break;
      struct map_colour a = mixed(data, &data->cells[above]);
      if (column == 0 || !same(a, top)) put_colour(out, 38, a, how->colours);
      top = a;
      if (below < data->count) {
        struct map_colour b = mixed(data, &data->cells[below]);
        if (column == 0 || !same(b, bottom)) put_colour(out, 48, b, how->colours);
        bottom = b;
      } else if (!ended) {
        fputs("\033[49m", out);
        ended = true;
      }
      fputs("\xe2\x96\x80", out); /* upper half block */
    }
    fputs("\033[0m\n", out);
  }
}

/* The superblock, else the kind with most blocks, free only when there is nothing else. */
static unsigned main_kind(const struct wodan_map_cell *cell) {
  unsigned kind = 0;
  if (cell->blocks[WODAN_MAP_SUPERBLOCK] > 0) return WODAN_MAP_SUPERBLOCK;
  for (unsigned i = 1; i < WODAN_MAP_KINDS; i++) {
    if (cell->blocks[i] > 0 && (kind == 0 || cell->blocks[i] > cell->blocks[kind])) kind = i;
  }
  return kind;
}

static void put_letters(FILE *out, const struct map_data *data, unsigned width) {
  for (size_t i = 0; i < data->count; i++) {
    fputc(map_kinds[main_kind(&data->cells[i])].letter, out);
    if ((i + 1) % width == 0 || i + 1 == data->count) fputc('\n', out);
  }
}

static void put_legend(FILE *out, const struct map_data *data, const struct map_terminal *how) {
  for (unsigned n = 1; n <= WODAN_MAP_KINDS; n++) {
    unsigned kind = n % WODAN_MAP_KINDS;
    char number[32], size[24], share[16];
    if (data->blocks[kind] == 0) continue;
    struct wodan_map_cell cell = {.newest = data->newest};
    cell.blocks[kind] = 1;
    if (how->colours) {
      put_colour(out, 48, mixed(data, &cell), how->colours);
      fputs("  \033[0m ", out);
    } else {
      fprintf(out, "%c  ", map_kinds[kind].letter);
    }
    report_size_text(size, (unsigned long long)data->blocks[kind] * data->summary->block_size);
    fprintf(out, "%-24s %13s %10s %6s\n", map_kinds[kind].name, look_number(number, data->blocks[kind]), size,
            look_percent(share, data->blocks[kind], data->summary->blocks));
  }
}

static void put_bar(FILE *out, double share, const struct map_kind *kind, unsigned colours) {
  enum { WIDTH = 20 };
  unsigned filled = share >= 1 ? WIDTH : (unsigned)(share * WIDTH + 0.5);
  for (unsigned i = 0; i < WIDTH; i++) {
    if (!colours) {
      fputc(i < filled ? '#' : '-', out);
      continue;
    }
    struct map_colour colour = {40, 40, 40};
    if (i < filled) colour = (struct map_colour){kind->red, kind->green, kind->blue};
    put_colour(out, 48, colour, colours);
    fputc(' ', out);
  }
  if (colours) fputs("\033[0m", out);
}

static void put_levels(FILE *out, const struct map_data *data, unsigned colours) {
  for (uint32_t i = data->levels.count; i-- > 0;) {
    const struct level_fill *level = &data->levels.level[i];
    double room = (double)level->nodes * (double)level->entries_max;
    char size[24];
    report_size_text(size, level->run_bytes);
    fprintf(out, "level %-2u ", i);
    put_bar(out, room > 0 ? (double)level->entries / room : 0, &map_kinds[WODAN_MAP_NODE], colours);
    fprintf(out, " %" PRIu64 " node%s, %" PRIu64 " %s\n         ", level->nodes, level->nodes == 1 ? "" : "s",
            level->entries, i ? "children" : "leaves");
    double share = level->buffer_room ? (double)level->run_bytes / (double)level->buffer_room : 0;
    put_bar(out, share, &map_kinds[WODAN_MAP_RUN], colours);
    fprintf(out, " %" PRIu64 " buffered runs, %s\n", level->runs, size);
  }
}

void map_terminal(FILE *out, const struct map_data *data, const struct map_terminal *how) {
  char cell[32];
  fprintf(out, "%s: generation %" PRIu64 ", a cell is %s block%s%s\n", data->image, data->summary->newest.generation,
          look_number(cell, data->per_cell), data->per_cell == 1 ? "" : "s",
          data->newest && how->colours ? ", the darker the older" : "");
  if (how->colours)
    put_colours(out, data, how);
  else
    put_letters(out, data, how->width);
  put_legend(out, data, how);
  put_levels(out, data, how->colours);
}

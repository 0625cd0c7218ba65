/* What: the map as a picture: blocks on the left, legend and fill by level on the right.
 *
 * Always true: every cell tells its blocks and kinds as a tooltip; nothing outside the file is referred to; what comes from
 * the image's name is escaped.
 *
 * Order: none that matters.
 *
 * See: tests/cli/test_inspect.sh. */
#include <inttypes.h>
#include <string.h>

#include "map_data.h"
#include "report.h"

enum { WIDTH = 768, LEFT = 92, TOP = 84, GAP = 40, PANEL = 380, MARGIN = 28 };

/* Few blocks are drawn larger. */
static size_t columns_of(const struct map_data *data) {
  return data->count > MAP_SVG_CELLS / 4 ? MAP_SVG_COLUMNS : MAP_SVG_COLUMNS / 2;
}
static double cell_of(const struct map_data *data) { return (double)WIDTH / (double)columns_of(data); }

static unsigned rounded(double value) { return (unsigned)(value + 0.5); }

static void put_escaped(FILE *out, const char *text) {
  for (; *text != '\0'; text++) {
    if (*text == '<')
      fputs("&lt;", out);
    else if (*text == '&')
      fputs("&amp;", out);
    else if ((unsigned char)*text < 0x20)
      fputc('?', out);
    else
      fputc(*text, out);
  }
}

static void put_rect(FILE *out, double x, double y, double width, double height, struct map_colour colour) {
  fprintf(out, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"#%02x%02x%02x\"/>", x, y, width,
          height, rounded(colour.red), rounded(colour.green), rounded(colour.blue));
}

static void put_text(FILE *out, double x, double y, const char *class, const char *text) {
  fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
  put_escaped(out, text);
  fputs("</text>\n", out);
}

/* ---- the blocks ------------------------------------------------------------------------------------------------- */

static void put_title(FILE *out, const struct map_data *data, size_t i) {
  const struct wodan_map_cell *cell = &data->cells[i];
  uint64_t first = i * data->per_cell, last = first + data->per_cell - 1;
  if (last >= data->summary->blocks) last = data->summary->blocks - 1;
  fprintf(out, first == last ? "<title>block %" PRIu64 ":" : "<title>blocks %" PRIu64 " to %" PRIu64 ":", first, last);
  const char *comma = " ";
  for (unsigned kind = 0; kind < WODAN_MAP_KINDS; kind++) {
    if (cell->blocks[kind] == 0) continue;
    if (first == last)
      fprintf(out, "%s%s", comma, map_kinds[kind].name);
    else
      fprintf(out, "%s%" PRIu64 " %s", comma, cell->blocks[kind], map_kinds[kind].name);
    comma = ", ";
  }
  if (cell->newest && cell->newest != cell->oldest)
    fprintf(out, "; generations %" PRIu64 " to %" PRIu64, cell->oldest, cell->newest);
  else if (cell->newest)
    fprintf(out, "; generation %" PRIu64, cell->newest);
  fputs("</title>", out);
}

/* How wide each kind's strip is: by its blocks, but never too narrow to be seen; the wide ones give what that takes. */
static void strip_widths(const struct wodan_map_cell *cell, double room, double widths[WODAN_MAP_KINDS]) {
  const double least = 1.6;
  double total = 0, narrow = 0, wide = 0;
  for (unsigned kind = 0; kind < WODAN_MAP_KINDS; kind++) total += (double)cell->blocks[kind];
  for (unsigned kind = 0; kind < WODAN_MAP_KINDS; kind++) {
    widths[kind] = total > 0 ? room * (double)cell->blocks[kind] / total : 0;
    if (cell->blocks[kind] == 0) continue;
    if (kind != WODAN_MAP_FREE && widths[kind] < least) {
      widths[kind] = least;
      narrow += least;
    } else {
      wide += widths[kind];
    }
  }
  for (unsigned kind = 0; kind < WODAN_MAP_KINDS && wide > 0; kind++) {
    bool is_narrow = kind != WODAN_MAP_FREE && widths[kind] <= least;
    if (!is_narrow) widths[kind] *= (room - narrow) / wide;
  }
}

/* A cell is cut into upright strips, one for each kind in it. */
static void put_cell(FILE *out, const struct map_data *data, size_t i) {
  const struct wodan_map_cell *cell = &data->cells[i];
  size_t columns = columns_of(data);
  double size = cell_of(data), x = LEFT + (double)(i % columns) * size, y = TOP + (double)(i / columns) * size;
  double widths[WODAN_MAP_KINDS];
  strip_widths(cell, size - 1, widths);
  fputs("<g>", out);
  put_title(out, data, i);
  for (unsigned n = 1; n <= WODAN_MAP_KINDS; n++) { /* free last */
    unsigned kind = n % WODAN_MAP_KINDS;
    if (cell->blocks[kind] == 0) continue;
    put_rect(out, x, y, widths[kind], size - 1, map_colour(data, kind, cell, false));
    x += widths[kind];
  }
  fputs("</g>\n", out);
}

static void put_blocks(FILE *out, const struct map_data *data) {
  size_t columns = columns_of(data), rows = (data->count + columns - 1) / columns;
  for (size_t row = 0; row<rows; row += rows> 16 ? 8 : 4) {
    char text[32];
    look_number(text, row * columns * data->per_cell);
    put_text(out, LEFT - 8, TOP + (double)row * cell_of(data) + 9, "number", text);
  }
  for (size_t i = 0; i < data->count; i++) put_cell(out, data, i);
}

/* ---- the legend ------------------------------------------------------------------------------------------------- */

static double put_legend(FILE *out, const struct map_data *data, double x, double y) {
  put_text(out, x, y, "head", "What the blocks are");
  y += 12;
  for (unsigned n = 1; n <= WODAN_MAP_KINDS; n++) {
    unsigned kind = n % WODAN_MAP_KINDS;
    if (kind == WODAN_MAP_LOST && data->blocks[kind] == 0) continue;
    char number[32], size[24], share[16], text[96];
    const struct map_kind *k = &map_kinds[kind];
    put_rect(out, x, y, 14, 14, (struct map_colour){k->red, k->green, k->blue});
    put_text(out, x + 22, y + 11, "text", k->name);
    report_size_text(size, (unsigned long long)data->blocks[kind] * data->summary->block_size);
    put_text(out, x + 240, y + 11, "number", look_number(number, data->blocks[kind]));
    snprintf(text, sizeof text, "%s", size);
    put_text(out, x + 320, y + 11, "number", text);
    put_text(out, x + PANEL - 4, y + 11, "number", look_percent(share, data->blocks[kind], data->summary->blocks));
    fputc('\n', out);
    y += 20;
  }
  return y;
}

static double put_ages(FILE *out, const struct map_data *data, double x, double y) {
  static const uint32_t kinds[] = {WODAN_MAP_NODE, WODAN_MAP_RUN, WODAN_MAP_LEAF, WODAN_MAP_LARGE, WODAN_MAP_PREVIOUS};
  const unsigned count = sizeof kinds / sizeof *kinds;
  char text[64];
  if (data->newest == 0) return y;
  y += 24;
  put_text(out, x, y, "head", "Age: the paler, the older");
  y += 10;
  for (unsigned i = 0; i < 24; i++) {
    for (unsigned k = 0; k < count; k++) {
      struct wodan_map_cell cell = {.newest = data->oldest + (data->newest - data->oldest) * i / 23};
      put_rect(out, x + i * (PANEL - 4) / 24.0, y + k * 6, (PANEL - 4) / 24.0 + 0.3, 6,
               map_colour(data, kinds[k], &cell, false));
    }
  }
  y += 14 + 6 * count;
  snprintf(text, sizeof text, "generation %" PRIu64, data->oldest);
  put_text(out, x, y, "small", text);
  snprintf(text, sizeof text, "%" PRIu64, data->newest);
  put_text(out, x + PANEL - 4, y, "number", text);
  return y + 8;
}

/* ---- fill by level ---------------------------------------------------------------------------------------------- */

static void put_bar(FILE *out, double x, double y, double share, unsigned kind) {
  const struct map_kind *k = &map_kinds[kind];
  if (share > 1) share = 1;
  put_rect(out, x, y, PANEL - 4, 10, (struct map_colour){0xe4, 0xe4, 0xe0});
  if (share > 0) put_rect(out, x, y, (PANEL - 4) * share, 10, (struct map_colour){k->red, k->green, k->blue});
}

static double ratio(uint64_t part, uint64_t whole) { return whole ? (double)part / (double)whole : 0; }

static const char *entries_name(const struct level_fill *level, uint32_t number) {
  if (number) return level->entries == 1 ? "child" : "children";
  return level->entries == 1 ? "leaf" : "leaves";
}

static double put_level(FILE *out, const struct level_fill *level, uint32_t number, double x, double y) {
  char text[200], size[24], share[16], nodes[32], entries[32];
  look_percent(share, level->entries, level->nodes * level->entries_max);
  snprintf(text, sizeof text, "level %u: %s node%s, %s %s (%s full)", number, look_number(nodes, level->nodes),
           level->nodes == 1 ? "" : "s", look_number(entries, level->entries), entries_name(level, number), share);
  put_text(out, x, y, "text", text);
  y += 6;
  put_bar(out, x, y, ratio(level->entries, level->nodes * level->entries_max), WODAN_MAP_NODE);
  double most = ratio(level->entries_most, level->entries_max), least = ratio(level->entries_least, level->entries_max);
  for (int i = 0; i < 2 && level->nodes > 1; i++) { /* the emptiest and the fullest node */
    double at = i ? most : least;
    fprintf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"2\" height=\"16\" fill=\"#222\"/>",
            x + (PANEL - 6) * (at > 1 ? 1 : at), y - 3);
  }
  y += 14;
  double buffered = level->buffer_room ? ratio(level->run_bytes, level->buffer_room) : level->run_bytes > 0;
  put_bar(out, x, y, buffered, WODAN_MAP_RUN);
  report_size_text(size, level->run_bytes);
  int used =
      snprintf(text, sizeof text, "%" PRIu64 " buffered run%s, %s", level->runs, level->runs == 1 ? "" : "s", size);
  if (level->buffer_room)
    snprintf(text + used, sizeof text - (size_t)used, ": %.2f of %s", ratio(level->run_bytes, level->buffer_room),
             number ? "8 memtables a node" : "its leaves");
  if (level->nodes > 1) strncat(text, "; the marks: emptiest and fullest node", sizeof text - strlen(text) - 1);
  put_text(out, x, y + 24, "small", text);
  return y + 48;
}

static double put_leaves(FILE *out, const struct levels *levels, double x, double y) {
  uint64_t most = 1;
  char text[120], size[24];
  for (unsigned i = 0; i < LEAF_BINS; i++) most = levels->leaf_bins[i] > most ? levels->leaf_bins[i] : most;
  report_size_text(size, levels->leaf_size);
  snprintf(text, sizeof text, "leaves by fill, of %s", size);
  put_text(out, x, y, "text", text);
  const struct map_kind *k = &map_kinds[WODAN_MAP_LEAF];
  double step = (PANEL - 4) / (double)LEAF_BINS;
  for (unsigned i = 0; i < LEAF_BINS; i++) {
    double height = 70 * (double)levels->leaf_bins[i] / (double)most;
    fprintf(out, "<g><title>%" PRIu64 " leaves</title>", levels->leaf_bins[i]);
    put_rect(out, x + i * step, y + 82 - height, step - 3, height + 1, (struct map_colour){k->red, k->green, k->blue});
    fputs("</g>", out);
    snprintf(text, sizeof text, i + 1 < LEAF_BINS ? "%u %%" : "%u+", i * 10);
    put_text(out, x + i * step, y + 97, "small", text);
  }
  return y + 112;
}

static double put_levels(FILE *out, const struct map_data *data, double x, double y) {
  put_text(out, x, y += 22, "head", "Fill by level");
  if (data->levels.count == 0) {
    put_text(out, x, y += 20, "text", "The tree is empty.");
    return y;
  }
  y += 22;
  for (uint32_t i = data->levels.count; i-- > 0;) y = put_level(out, &data->levels.level[i], i, x, y);
  if (data->levels.leaves == 0) return y;
  return put_leaves(out, &data->levels, x, y);
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static void put_head(FILE *out, const struct map_data *data) {
  const struct wodan_summary *s = data->summary;
  const char *slash = strrchr(data->image, '/');
  char size[24], blocks[32], cell[32], text[320];
  report_size_text(size, (unsigned long long)s->blocks * s->block_size);
  fprintf(out, "<text x=\"%d\" y=\"36\" class=\"title\">", MARGIN);
  put_escaped(out, slash == NULL ? data->image : slash + 1);
  fputs("</text>\n", out);
  snprintf(text, sizeof text,
           "%s in %s blocks of %u bytes; a cell is %s block%s; generation %" PRIu64 ", %" PRIu64
           " operations wait in the journal",
           size, look_number(blocks, s->blocks), s->block_size, look_number(cell, data->per_cell),
           data->per_cell == 1 ? "" : "s", s->newest.generation, s->replay_operations);
  put_text(out, MARGIN, 60, "text", text);
}

static void put_panel(FILE *out, const struct map_data *data, double x) {
  double y = put_legend(out, data, x, TOP + 10);
  y = put_ages(out, data, x, y);
  put_levels(out, data, x, y);
}

void map_svg(FILE *out, const struct map_data *data) {
  size_t columns = columns_of(data), rows = (data->count + columns - 1) / columns;
  double x = LEFT + WIDTH + GAP, width = x + PANEL + MARGIN;
  double blocks = TOP + (double)rows * cell_of(data) + MARGIN, panel = TOP + 10 + 12 + 9 * 20 + 72 + 44 + 112 + MARGIN;
  panel += 68.0 * data->levels.count;
  fprintf(out,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n"
          "<style>text{font-family:'DejaVu Sans',Verdana,sans-serif;fill:#222}.title{font-size:22px;font-weight:bold}"
          ".head{font-size:14px;font-weight:bold}.text{font-size:12px}.small{font-size:11px;fill:#555}"
          ".number{font-size:11px;text-anchor:end;fill:#555}</style>\n"
          "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
          width, blocks > panel ? blocks : panel, width, blocks > panel ? blocks : panel);
  put_head(out, data);
  put_blocks(out, data);
  put_panel(out, data, x);
  fputs("</svg>\n", out);
}

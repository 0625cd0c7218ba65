/* Owns: the table of findings as data.
 *
 * Always true: one row a number; a sentence holds at most one %s and no other conversion.
 *
 * See: findings.h; tests/unit/test_check.c. */
#include "check/findings.h"

#include <stddef.h>

static const struct finding_row ROWS[] = {
#define ROW(name, number, severity, repair, sentence, remedy) {number, severity, repair, sentence, remedy},
    CHECK_FINDINGS_TABLE(ROW)
#undef ROW
};

const struct finding_row *finding_row(uint32_t id) {
  for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
    if (ROWS[i].id == id) return &ROWS[i];
  return NULL;
}

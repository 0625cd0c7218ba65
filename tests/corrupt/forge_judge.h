/* Judge of a forged volume: checks it, opens it for reading and for writing, reads all of it in every way, writes, opens it
 * again. What must never happen (a crash, an endless run, too much memory, a reader that writes, an answer that is no
 * longer so after a write) fails the test; the rest is the verdict. */
#ifndef CORRUPT_FORGE_JUDGE_H
#define CORRUPT_FORGE_JUDGE_H

#include "support/forge.h"

enum forge_verdict {
  FORGE_RIGHT,   /* every answer is the model's */
  FORGE_REFUSED, /* no open */
  FORGE_TOLD,    /* every answer is the model's, or an error */
  FORGE_OLDER,   /* whole, as it was after an earlier operation */
  FORGE_WRONG,   /* an answer that no moment of the past gives */
  FORGE_VERDICTS
};

struct forge_report {
  enum forge_verdict verdict;
  bool found;    /* the check found damage, or did not take it for a volume */
  char why[160]; /* of FORGE_WRONG: the answer */
};

/* `name` is the case, for messages. Leaves the image changed. */
void forge_judge(uint8_t image[FORGE_SIZE], const char *name, struct forge_report *report);

#endif

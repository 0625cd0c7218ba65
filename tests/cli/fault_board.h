/* What a command under faults and its watcher share, in memory: which call is to fail, and how many there were. */
#ifndef CLI_FAULT_BOARD_H
#define CLI_FAULT_BOARD_H

#include <stdatomic.h>
#include <stdint.h>

enum fault_kind { FAULT_NONE, FAULT_MEMORY, FAULT_READ, FAULT_WRITE, FAULT_FLUSH, FAULT_OPEN, FAULT_KINDS };
enum fault_mode {
  FAULT_ONCE,
  FAULT_EVER,
  FAULT_LIES, /* once; then the next read gives zeros, and no write or flush is done, though all say that it worked */
  FAULT_MODES
};

struct fault_board {
  uint32_t kind, mode;
  uint64_t at;                         /* the call that fails, from 1; 0: none */
  _Atomic uint64_t calls[FAULT_KINDS]; /* from the start of the command's own code */
  _Atomic uint64_t struck, lied;
};

/* The environment variable that holds the number of the open file with the board. */
#define FAULT_BOARD "WODAN_FAULT_BOARD"

#endif

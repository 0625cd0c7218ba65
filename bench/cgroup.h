/* A limit of memory around a process, its page cache included: a control group of its own, below the one it is in. Where none can be
 * set (no rights, no such controller) nothing is done. */
#ifndef BENCH_CGROUP_H
#define BENCH_CGROUP_H

#include <cstdint>
#include <string>
#include <sys/types.h>

namespace bench {

/* The calling process takes no more than `bytes` from now on. false: there is no limit. */
bool limit_memory(uint64_t bytes);
/* Removes the group of a process that has ended. */
void forget_limit(pid_t process);

} // namespace bench

#endif

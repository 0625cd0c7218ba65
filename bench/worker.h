/* A store in a process of its own, so that its memory and its I/O can be counted apart. It does what it is told and is
 * stopped (SIGSTOP) in between, so that nothing of it runs while another store is measured. */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include <string>
#include <sys/types.h>

#include "workload.h"

namespace bench {

class Worker {
public:
  Worker(const StoreKind &kind, const Settings &settings, const std::string &folder)
      : kind_(kind), settings_(settings), folder_(folder + "/" + kind.name) {}
  Worker(const Worker &) = delete;
  Worker &operator=(const Worker &) = delete;
  ~Worker() { end(false); }

  const StoreKind &kind() const { return kind_; }
  /* Sees to it that what the workload needs is there, then runs a slice of it. */
  Slice run(const Workload &workload);

private:
  void prepare(Data needs);
  void turn_into(Data needs, bool fresh);
  void start(Data data, bool keep_folder);
  void end(bool crash); /* else the store is closed */
  void serve(Data data, int orders, int answers);
  Slice order(int code);
  Slice reopen();

  const StoreKind &kind_;
  const Settings settings_;
  const std::string folder_;
  Data data_ = Data::none;
  bool warm_ = true; /* all of the data was read since it was put */
  pid_t process_ = 0;
  int orders_ = -1, answers_ = -1;
};

} // namespace bench

#endif

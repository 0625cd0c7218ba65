/* Owns: the processes of the stores, and what they are told through pipes.
 *
 * Always true: at most one of them runs, the others are stopped; one that ends unasked ends the program.
 *
 * See: worker.h. */
#include "worker.h"

#include "cgroup.h"

#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <sys/wait.h>
#include <unistd.h>

namespace bench {
namespace {

/* Below 0; from 0 on: the number of a workload. */
enum Order {
  order_fill = -1,
  order_compact = -2,
  order_scarce = -3,
  order_dirty = -4,
  order_warm = -5,
  order_opened = -6,
  order_close = -7
};

void exchange(bool good) {
  if (!good) bench_die("a store's process has ended");
}

} // namespace

Slice Worker::run(const Workload &workload) {
  if (is_reopen(workload)) return reopen();
  prepare(workload.needs);
  Slice slice = order(static_cast<int>(&workload - workloads().data()));
  warm_ = !workload.settles; /* what was put need not be in the cache */
  data_ = workload.leaves;
  return slice;
}

void Worker::prepare(Data needs) {
  bool fresh = needs == Data::none || needs == Data::none_large;
  if (fresh || !process_ || data_ != needs) turn_into(needs, fresh);
  if (!warm_) order(order_warm);
  warm_ = true;
}

void Worker::turn_into(Data needs, bool fresh) {
  bool from_filled = process_ && data_ == Data::filled && (needs == Data::compacted || needs == Data::scarce);
  bool still_filled = process_ && data_ == Data::compacted && needs == Data::filled;
  if (!from_filled && !still_filled) {
    start(is_large(needs) ? Data::none_large : Data::none, false);
    if (!fresh) order(order_fill);
  }
  if (needs == Data::compacted) order(order_compact);
  if (needs == Data::scarce) order(order_scarce);
  data_ = needs;
  warm_ = fresh || needs == Data::scarce; /* nothing to be warmed, or not to be */
}

Slice Worker::reopen() {
  prepare(Data::filled);
  order(order_dirty);
  end(true);
  start(Data::filled, true);
  data_ = Data::filled;
  return order(order_opened);
}

void Worker::start(Data data, bool keep_folder) {
  end(false);
  if (!keep_folder) std::filesystem::remove_all(folder_);
  std::filesystem::create_directories(folder_);
  int orders[2], answers[2];
  if (pipe2(orders, O_CLOEXEC) < 0 || pipe2(answers, O_CLOEXEC) < 0) bench_die("no pipe");
  process_ = bench_fork();
  if (process_ == 0) {
    close(orders[1]);
    close(answers[0]);
    serve(data, orders[0], answers[1]);
    fflush(stdout);
    _exit(0);
  }
  close(orders[0]);
  close(answers[1]);
  orders_ = orders[1];
  answers_ = answers[0];
}

void Worker::end(bool crash) {
  if (!process_) return;
  kill(process_, crash ? SIGKILL : SIGCONT);
  int ended, code = order_close;
  if (!crash) exchange(write(orders_, &code, sizeof code) == sizeof code);
  exchange(waitpid(process_, &ended, 0) == process_ && (crash || ended == 0));
  forget_limit(process_);
  close(orders_);
  close(answers_);
  process_ = 0;
}

Slice Worker::order(int code) {
  Slice slice;
  kill(process_, SIGCONT);
  exchange(write(orders_, &code, sizeof code) == sizeof code);
  exchange(read(answers_, &slice, sizeof slice) == sizeof slice);
  kill(process_, SIGSTOP);
  return slice;
}

void Worker::serve(Data data, int orders, int answers) {
  uint64_t start = bench_now();
  struct bench_io before = bench_io_now();
  Session session(kind_, settings_, folder_, data);
  Slice opened = {};
  opened.seconds = bench_seconds_since(start);
  opened.operations = 1;
  opened.io = bench_io_now();
  opened.io.device_read -= before.device_read;
  opened.io.device_written -= before.device_written;
  for (int code; read(orders, &code, sizeof code) == sizeof code && code != order_close;) {
    Slice slice = {};
    if (code >= 0)
      slice = run_slice(session, workloads()[static_cast<size_t>(code)], folder_);
    else if (code == order_fill)
      session.fill();
    else if (code == order_compact)
      session.turn_into(Data::compacted);
    else if (code == order_scarce)
      session.turn_into(Data::scarce);
    else if (code == order_dirty)
      put_before_crash(session);
    else if (code == order_warm)
      session.warm();
    else if (code == order_opened) {
      slice = opened;
      check_after_crash(session.store(), session.records());
    }
    if (write(answers, &slice, sizeof slice) != sizeof slice) return;
  }
}

} // namespace bench

/* Owns: what is written below /sys/fs/cgroup.
 * Always true: only groups made here, and processes that asked for it, are changed.
 * See: cgroup.h; session.cc, worker.cc. */
#include "cgroup.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace bench {
namespace {

struct Group {
  std::string path;  /* of the group this process is in; empty: there is none for memory */
  const char *limit; /* name of the file for it */
};

/* Lines of /proc/self/cgroup are NUMBER:CONTROLLERS:PATH, of the second version 0::PATH. */
Group own_group() {
  std::ifstream file("/proc/self/cgroup");
  Group group = {"", nullptr};
  for (std::string number, controllers, path;
       std::getline(file, number, ':') && std::getline(file, controllers, ':') && std::getline(file, path);) {
    if (("," + controllers + ",").find(",memory,") != std::string::npos)
      return {"/sys/fs/cgroup/memory" + path, "memory.limit_in_bytes"};
    if (controllers.empty()) group = {"/sys/fs/cgroup" + path, "memory.max"};
  }
  return group;
}

std::string group_of(const Group &own, pid_t process) { return own.path + "/wodan-bench-" + std::to_string(process); }

bool put(const std::string &path, uint64_t number) {
  std::ofstream file(path);
  file << number << std::flush;
  return static_cast<bool>(file);
}

} // namespace

bool limit_memory(uint64_t bytes) {
  Group own = own_group();
  if (own.path.empty()) return false;
  std::string ours = group_of(own, getpid());
  std::error_code failed;
  std::filesystem::create_directory(ours, failed);
  if (!failed && std::filesystem::exists(ours + "/" + own.limit) && put(ours + "/" + own.limit, bytes) &&
      put(ours + "/cgroup.procs", static_cast<uint64_t>(getpid())))
    return true;
  std::filesystem::remove(ours, failed);
  return false;
}

void forget_limit(pid_t process) {
  Group own = own_group();
  std::error_code failed;
  if (!own.path.empty()) std::filesystem::remove(group_of(own, process), failed);
}

} // namespace bench

/* Owns: the devices, folders and counters of the operating system that the measuring programs use.
 *
 * Always true: files lie in one folder made by this process, and it removes that folder when it exits; a forked process
 * does not. The owner only waits for those it forked, so a signal ends its wait and nothing else.
 *
 * See: common.h. */
#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

enum { MIB = 1 << 20, PATH_SIZE = 4096 };

void bench_volume_create(struct bench_volume *volume, const char *path, uint64_t size,
                         const struct wodan_format_options *format) {
  struct wodan_error error;
  size = (size + MIB - 1) / MIB * MIB;
  int status;
  if (path) {
    status = wodan_path_device(path, format ? WODAN_PATH_CREATE : 0, format ? size : 0, &volume->inner, &error);
    if (status < 0) bench_die("%s", error.message);
  } else {
    status = wodan_memory_device(size, 0, &volume->inner);
    if (status < 0) bench_die("a device of %s in memory: %s", bench_bytes((double)size), wodan_strerror(status));
  }
  bench_check(paced_device_init(&volume->paced, volume->inner, 0), "paced device", NULL);
  if (format && wodan_format(&volume->paced.device, format, &error) < 0) bench_die("format: %s", error.message);
}

struct wodan_db *bench_volume_open(struct bench_volume *volume, const struct wodan_open_options *options) {
  struct wodan_error error;
  struct wodan_db *db;
  if (wodan_open(&volume->paced.device, options, &db, &error) < 0) bench_die("open: %s", error.message);
  return db;
}

void bench_volume_release(struct bench_volume *volume) {
  paced_device_release(&volume->paced);
  bench_check(wodan_device_close(volume->inner), "closing the device", NULL);
}

/* ---- folder ---------------------------------------------------------------------------------------------------- */

static char folder[PATH_SIZE];
static pid_t folder_owner;

/* Calls `visit` for everything below path, folders after what they hold. */
static void walk(const char *path, void (*visit)(const char *path, const struct stat *found, uint64_t *sum),
                 uint64_t *sum) {
  struct stat found;
  if (lstat(path, &found) < 0) return;
  DIR *listing = S_ISDIR(found.st_mode) ? opendir(path) : NULL;
  for (struct dirent *entry; listing && (entry = readdir(listing));) {
    char below[PATH_SIZE + 260];
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if ((size_t)snprintf(below, sizeof below, "%s/%s", path, entry->d_name) < sizeof below) walk(below, visit, sum);
  }
  if (listing) closedir(listing);
  visit(path, &found, sum);
}

static void visit_remove(const char *path, const struct stat *found, uint64_t *sum) {
  (void)found;
  (void)sum;
  if (remove(path) < 0) perror(path);
}

static void visit_size(const char *path, const struct stat *found, uint64_t *sum) {
  (void)path;
  if (S_ISREG(found->st_mode)) *sum += (uint64_t)found->st_blocks * 512;
}

static void remove_folder(void) {
  if (getpid() == folder_owner) walk(folder, visit_remove, NULL);
}

/* Interrupts what the owner waits for, so that it ends by bench_die and removes the folder; ends everybody else. */
static void on_signal(int number) {
  if (getpid() != folder_owner) _exit(128 + number);
}

const char *bench_folder(const char *parent) {
  if (!parent) parent = getenv("TMPDIR");
  if (!parent || !*parent) parent = "/tmp";
  if ((size_t)snprintf(folder, sizeof folder - 64, "%s/wodan-bench-XXXXXX", parent) >= sizeof folder - 64)
    bench_die("the path of the folder is too long");
  if (!mkdtemp(folder)) bench_die("no folder can be made in '%s'", parent);
  folder_owner = getpid();
  atexit(remove_folder);
  struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART */
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  return folder;
}

pid_t bench_fork(void) {
  fflush(stdout);
  pid_t id = fork();
  if (id < 0) bench_die("fork failed");
  if (id == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  return id;
}

uint64_t bench_disk_bytes(const char *path) {
  uint64_t sum = 0;
  walk(path, visit_size, &sum);
  return sum;
}

struct bench_io bench_io_now(void) {
  struct bench_io io = {0};
  const struct {
    const char *format;
    uint64_t *place;
  } lines[] = {{"rchar: %" SCNu64, &io.calls_read},
               {"wchar: %" SCNu64, &io.calls_written},
               {"read_bytes: %" SCNu64, &io.device_read},
               {"write_bytes: %" SCNu64, &io.device_written}};
  FILE *file = fopen("/proc/self/io", "r");
  char line[128];
  if (!file) bench_die("/proc/self/io cannot be read");
  while (fgets(line, sizeof line, file))
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) sscanf(line, lines[i].format, lines[i].place);
  fclose(file);
  return io;
}

#include "support/loop_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *loop_device_make(struct loop_device *loop, uint64_t size) {
  if (geteuid() != 0) return "not root: a loop device cannot be made";
  strcpy(loop->file, "/tmp/wodan-loop-XXXXXX");
  int fd = mkstemp(loop->file);
  if (fd < 0 || ftruncate(fd, (off_t)size) < 0) return "no temporary file";
  close(fd);
  char command[128];
  snprintf(command, sizeof command, "losetup -f --show %s 2>/dev/null", loop->file);
  FILE *pipe = popen(command, "r");
  loop->device[0] = 0;
  if (pipe) {
    if (fgets(loop->device, sizeof loop->device, pipe)) loop->device[strcspn(loop->device, "\n")] = 0;
    pclose(pipe);
  }
  struct stat st;
  if (strncmp(loop->device, "/dev/loop", 9) == 0 && stat(loop->device, &st) == 0 && S_ISBLK(st.st_mode)) return NULL;
  unlink(loop->file);
  return "losetup made no loop device";
}

void loop_device_drop(struct loop_device *loop) {
  char command[128];
  snprintf(command, sizeof command, "losetup -d %s", loop->device);
  if (system(command)) fprintf(stderr, "%s was not taken down\n", loop->device);
  unlink(loop->file);
}

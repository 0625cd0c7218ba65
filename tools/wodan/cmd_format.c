/* What: `wodan format`: an empty database over a file or a block device.
 *
 * Always true: an existing file is not touched, not even extended, without --force; when formatting fails, a file made
 * by this command is removed and an extended one gets its old size back.
 *
 * Order: make or measure the file, then open it as a device, then let the library write.
 *
 * See: include/wodan/db.h; tests/cli/test_cli.sh. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "image.h"
#include "json.h"
#include "report.h"

struct format_options {
  struct options common;
  struct wodan_format_options format;
  uint64_t size; /* 0: not given */
  bool preallocate, force;
};

static const struct options_verb verb = {
    .arguments = "IMAGE",
    .doc = "Writes an empty database over IMAGE, a block device or a regular file, which is made when there is none. "
           "Sizes take the suffixes K, M, G and T. What is there already is refused (exit code 1) without --force.",
    .shared = OPTIONS_OPEN,
    .rows = {{"size", 's', "SIZE", OPTIONS_SIZE, offsetof(struct format_options, size), 1, 0,
              "Size of the image, with suffix K, M, G or T; not needed for what exists already"},
             {"block-size", 'b', "N", OPTIONS_SIZE32, offsetof(struct format_options, format.block_size), 0, 0,
              "Allocation block, 512 to 1M, a power of two (default 4096, small images 512)"},
             {"preallocate", 0, NULL, OPTIONS_FLAG, offsetof(struct format_options, preallocate), 0, 0,
              "Reserve the space in the file system now"},
             {"force", 0, NULL, OPTIONS_FLAG, offsetof(struct format_options, force), 0, 0, "Overwrite what is there"},
             {"page-size", 0, "N", OPTIONS_SIZE32, offsetof(struct format_options, format.page_size), 0, 0,
              "Page before compression, 512 to 16K: bounds keys (1/8) and values (1/4)"},
             {"memtable", 0, "SIZE", OPTIONS_SIZE, offsetof(struct format_options, format.memtable_size), 0, 0,
              "Records held in memory before they are written as a run"},
             {"journal", 0, "SIZE", OPTIONS_SIZE, offsetof(struct format_options, format.journal_size), 0, 0,
              "Journal ring"},
             {"leaf-size", 0, "SIZE", OPTIONS_SIZE32, offsetof(struct format_options, format.leaf_size), 0, 0,
              "Size of a leaf"},
             {"node-leaves", 0, "N", OPTIONS_COUNT32, offsetof(struct format_options, format.node_leaves), 4, 65536,
              "Most leaves of a bottom node before it splits, 4 to 65536"},
             {"node-children", 0, "N", OPTIONS_COUNT32, offsetof(struct format_options, format.node_children), 4, 256,
              "Most children of an inner node before it splits, 4 to 256"},
             {"compression", 0, "HOW", OPTIONS_COMPRESSION, offsetof(struct format_options, format.compression), 0, 0,
              "Of leaves, with LZ4: off (default), fast or high"}},
    .operands = {OPTIONS_IMAGE},
};

/* What was at the path before, to be put back when formatting fails. */
struct target {
  bool created;
  bool regular;
  uint64_t size;
};

static int refuse(const struct format_options *format, int status, int exit_code, const char *message) {
  return report_failure(format->common.json, format->common.image, status, exit_code, "%s", message);
}

/* Makes the file when there is none, and refuses what must not be touched. 0 or an exit code. */
static int prepare_target(const struct format_options *format, struct target *target) {
  const char *path = format->common.image;
  struct stat before;
  if (stat(path, &before) != 0) {
    if (errno != ENOENT) return report_errno(format->common.json, path, errno);
    if (format->size == 0) {
      return refuse(format, WODAN_EINVAL, EXIT_CODE_USAGE, "there is no such file; give --size to make it");
    }
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return report_errno(format->common.json, path, errno);
    close(fd);
    target->created = target->regular = true;
    return EXIT_CODE_OK;
  }
  if (!S_ISREG(before.st_mode)) return EXIT_CODE_OK;
  target->regular = true;
  target->size = (uint64_t)before.st_size;
  if (target->size == 0) return EXIT_CODE_OK;
  if (format->size != 0 && target->size > format->size) {
    return refuse(format, WODAN_EEXIST, EXIT_CODE_NEGATIVE,
                  "a longer file is there already; leave --size out to use the whole of it");
  }
  if (format->size != 0 && target->size < format->size && !format->force) {
    return refuse(format, WODAN_EEXIST, EXIT_CODE_NEGATIVE,
                  "a shorter file is there already; use --force to extend and overwrite it");
  }
  return EXIT_CODE_OK;
}

static void restore_target(const struct format_options *format, const struct target *target) {
  const char *path = format->common.image;
  if (target->created) {
    unlink(path);
  } else if (target->regular && format->size > target->size && truncate(path, (off_t)target->size) != 0) {
    fprintf(stderr, "wodan: %s: the file could not be cut back to %llu bytes\n", path,
            (unsigned long long)target->size);
  }
}

static int format_device(struct format_options *format, const struct target *target, struct wodan_device *device) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  if (!target->regular && format->size != 0 && format->size != device->geometry.size) {
    return report_failure(format->common.json, format->common.image, WODAN_EINVAL, EXIT_CODE_USAGE,
                          "the device has %llu bytes, which is not --size", (unsigned long long)device->geometry.size);
  }
  format->format.size = sizeof format->format;
  int status = wodan_format(device, &format->format, &error);
  if (status == WODAN_EEXIST) {
    return refuse(format, status, EXIT_CODE_NEGATIVE, "something is there already; use --force to overwrite it");
  }
  if (status == 0) return EXIT_CODE_OK;
  error.code = status;
  return report_error(format->common.json, format->common.image, &error);
}

static int write_database(struct format_options *format, const struct target *target) {
  uint64_t size = !target->regular ? 0 : format->size != 0 ? format->size : target->size;
  unsigned flags = 0;
  if (format->common.direct) flags |= WODAN_PATH_DIRECT;
  if (size != 0) flags |= WODAN_PATH_CREATE;
  if (size != 0 && format->preallocate) flags |= WODAN_PATH_PREALLOCATE;
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  struct wodan_device *device = NULL;
  int status = wodan_path_device(format->common.image, flags, size, &device, &error);
  if (status < 0) {
    error.code = status;
    return report_error(format->common.json, format->common.image, &error);
  }
  int exit_code = format_device(format, target, device);
  status = wodan_device_close(device);
  if (exit_code == EXIT_CODE_OK && status < 0) {
    error = (struct wodan_error){.code = status, .block = WODAN_NO_BLOCK};
    exit_code = report_error(format->common.json, format->common.image, &error);
  }
  return exit_code;
}

/* false: reported. */
static bool print_result(const struct options *options, const struct wodan_info *info) {
  if (!options->json) {
    char text[24];
    report_size_text(text, info->device_size);
    printf("%s: %s, %llu blocks of %u bytes\n", options->image, text, (unsigned long long)info->blocks,
           (unsigned)info->block_size);
    return true;
  }
  struct json json = {0};
  json_open(&json, NULL, '{');
  json_bool(&json, "formatted", true);
  json_number(&json, "device_size", info->device_size);
  json_number(&json, "blocks", info->blocks);
  json_number(&json, "block_size", info->block_size);
  json_close(&json, '}');
  return report_json(&json);
}

/* Opens what was written, for reading: the answer tells what is on the device, not what was asked for. */
static int describe_result(const struct options *options) {
  struct image image;
  int exit_code = image_open(&image, options, false);
  if (exit_code != EXIT_CODE_OK) return exit_code;
  struct wodan_info info = {.size = sizeof info};
  exit_code = image_fail(&image, wodan_info(image.db, &info));
  if (exit_code == EXIT_CODE_OK && !print_result(options, &info)) exit_code = EXIT_CODE_IO;
  return image_close(&image, exit_code);
}

int cmd_format(int argc, char **argv) {
  struct format_options format = {0};
  options_parse(&verb, argc, argv, &format);
  format.format.force = format.force;
  struct target target = {0};
  int exit_code = prepare_target(&format, &target);
  if (exit_code != EXIT_CODE_OK) return exit_code;
  exit_code = write_database(&format, &target);
  if (exit_code != EXIT_CODE_OK) {
    restore_target(&format, &target);
    return exit_code;
  }
  return describe_result(&format.common);
}

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
#include <json-c/json.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "image.h"
#include "report.h"

enum {
  KEY_SIZE = 's',
  KEY_BLOCK = 'b',
  KEY_FORCE = 0x2000,
  KEY_PREALLOCATE,
  KEY_PAGE,
  KEY_MEMTABLE,
  KEY_JOURNAL,
  KEY_LEAF,
  KEY_NODE_LEAVES,
  KEY_NODE_CHILDREN,
  KEY_COMPRESSION
};

struct format_options {
  struct options common;
  struct wodan_format_options format;
  uint64_t size; /* 0: not given */
  bool preallocate;
};

static const struct argp_option option_list[] = {
    {"size", KEY_SIZE, "SIZE", 0, "Size of the image, with suffix K, M, G or T; not needed for what exists already", 0},
    {"block-size", KEY_BLOCK, "N", 0, "Allocation block, 512 to 1M, a power of two (default 4096, small images 512)",
     0},
    {"preallocate", KEY_PREALLOCATE, NULL, 0, "Reserve the space in the file system now", 0},
    {"force", KEY_FORCE, NULL, 0, "Overwrite what is there", 0},
    {"page-size", KEY_PAGE, "N", 0, "Page before compression, 512 to 16K: bounds keys (1/8) and values (1/4)", 0},
    {"memtable", KEY_MEMTABLE, "SIZE", 0, "Records held in memory before they are written as a run", 0},
    {"journal", KEY_JOURNAL, "SIZE", 0, "Journal ring", 0},
    {"leaf-size", KEY_LEAF, "SIZE", 0, "Size of a leaf", 0},
    {"node-leaves", KEY_NODE_LEAVES, "N", 0, "Most leaves of a bottom node before it splits, 4 to 65536", 0},
    {"node-children", KEY_NODE_CHILDREN, "N", 0, "Most children of an inner node before it splits, 4 to 256", 0},
    {"compression", KEY_COMPRESSION, "HOW", 0, "Of leaves, with LZ4: off (default), fast or high", 0},
    {0}};

static const struct argp_child children[] = {{&options_argp, 0, NULL, 0}, {0}};

static uint64_t count_within(const struct argp_state *state, const char *what, const char *text, uint64_t minimum,
                             uint64_t maximum) {
  uint64_t count = options_count(state, what, text, minimum);
  if (count > maximum) argp_error(state, "%s: %s is too large, at most %llu", what, text, (unsigned long long)maximum);
  return count;
}

static error_t parse(int key, char *argument, struct argp_state *state) {
  struct format_options *format = state->input;
  switch (key) {
  case ARGP_KEY_INIT:
    state->child_inputs[0] = &format->common;
    return 0;
  case KEY_SIZE:
    format->size = options_size(state, "--size", argument);
    if (format->size == 0) argp_error(state, "--size: 0 is too small");
    return 0;
  case KEY_BLOCK:
    format->format.block_size = (uint32_t)options_size_within(state, "--block-size", argument, UINT32_MAX);
    return 0;
  case KEY_PAGE:
    format->format.page_size = (uint32_t)options_size_within(state, "--page-size", argument, UINT32_MAX);
    return 0;
  case KEY_LEAF:
    format->format.leaf_size = (uint32_t)options_size_within(state, "--leaf-size", argument, UINT32_MAX);
    return 0;
  case KEY_NODE_LEAVES:
    format->format.node_leaves = (uint32_t)count_within(state, "--node-leaves", argument, 4, 65536);
    return 0;
  case KEY_NODE_CHILDREN:
    format->format.node_children = (uint32_t)count_within(state, "--node-children", argument, 4, 256);
    return 0;
  case KEY_MEMTABLE:
    format->format.memtable_size = options_size(state, "--memtable", argument);
    return 0;
  case KEY_JOURNAL:
    format->format.journal_size = options_size(state, "--journal", argument);
    return 0;
  case KEY_COMPRESSION:
    format->format.compression = options_compression(state, argument);
    return 0;
  case KEY_FORCE:
    format->format.force = 1;
    return 0;
  case KEY_PREALLOCATE:
    format->preallocate = true;
    return 0;
  case ARGP_KEY_ARG:
    if (state->arg_num > 0) argp_error(state, "one image is enough");
    format->common.image = argument;
    return 0;
  case ARGP_KEY_NO_ARGS:
    argp_error(state, "the image is missing");
    return 0;
  default:
    return ARGP_ERR_UNKNOWN;
  }
}

static const struct argp argp = {
    .options = option_list,
    .parser = parse,
    .args_doc = "IMAGE",
    .doc = "Writes an empty database over IMAGE, a block device or a regular file, which is made when there is none. "
           "Sizes take the suffixes K, M, G and T. What is there already is refused (exit code 1) without --force.",
    .children = children};

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
  if (format->size != 0 && target->size < format->size && format->format.force == 0) {
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

static void print_result(const struct options *options, const struct wodan_info *info) {
  if (!options->json) {
    char text[24];
    report_size_text(text, info->device_size);
    printf("%s: %s, %llu blocks of %u bytes\n", options->image, text, (unsigned long long)info->blocks,
           (unsigned)info->block_size);
    return;
  }
  struct json_object *object = json_object_new_object();
  json_object_object_add(object, "formatted", json_object_new_boolean(true));
  json_object_object_add(object, "device_size", json_object_new_uint64(info->device_size));
  json_object_object_add(object, "blocks", json_object_new_uint64(info->blocks));
  json_object_object_add(object, "block_size", json_object_new_uint64(info->block_size));
  report_object(true, object);
}

/* Opens what was written, for reading: the answer tells what is on the device, not what was asked for. */
static int describe_result(const struct options *options) {
  struct image image;
  int exit_code = image_open(&image, options, false);
  if (exit_code != EXIT_CODE_OK) return exit_code;
  struct wodan_info info = {.size = sizeof info};
  exit_code = image_fail(&image, wodan_info(image.db, &info));
  if (exit_code == EXIT_CODE_OK) print_result(options, &info);
  return image_close(&image, exit_code);
}

int cmd_format(int argc, char **argv) {
  struct format_options format = {0};
  options_parse(&argp, argc, argv, &format);
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

/* What: the dispatcher: `wodan VERB …` calls the verb.
 *
 * Always true: every usage error leaves with exit code 2 and touches no image.
 *
 * Order: none that matters.
 *
 * See: tests/cli/test_cli.sh. */
#include <argp.h>
#include <stdio.h>
#include <string.h>
#include <wodan/version.h>

#include "commands.h"
#include "report.h"

struct verb {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *summary;
};

static const struct verb verbs[] = {
    {"format", cmd_format, "write an empty database over a file or block device"},
    {"info", cmd_info, "what the image is: geometry, limits, newest root"},
    {"stat", cmd_stat, "space, memory and counters"},
    {"put", cmd_put, "set a key to a value"},
    {"get", cmd_get, "print the value of a key"},
    {"del", cmd_del, "remove a key, a prefix or everything"},
    {"scan", cmd_scan, "print the records of a key range"},
    {"load", cmd_load, "read records from a file or standard input"},
    {"dump", cmd_dump, "print all records, to be loaded again"},
    {"import-mirage", cmd_import_mirage, "put the records of a MirageOS Wodan image into this one"},
    {"compact", cmd_compact, "move buffered records into leaves, so that scans read leaves only"},
    {"trim", cmd_trim, "tell the device to forget what is not used"},
    {"bench", cmd_bench, "measure the image as it stands"},
    {"crash", cmd_crash, "cut the power of simulated devices in every way and judge what is left; takes no image"},
    {"map", cmd_map, "a picture of all blocks by kind and age"},
    {"tree", cmd_tree, "the nodes of the tree"},
    {"path", cmd_path, "the way of a key, and every version of it"},
    {"node", cmd_node, "a node, field by field with its bytes"},
    {"page", cmd_page, "a page of a run or leaf, field by field with its bytes"},
    {"block", cmd_block, "whatever is in a block, field by field with its bytes"},
    {"image", cmd_image, "a small copy without values, for a report of a bug"},
    {"journal", cmd_journal, "the journal: records, checkpoints, tail and head"},
};

static void print_usage(FILE *out) {
  fputs("Usage: wodan VERB IMAGE [ARGUMENT...] [OPTION...]\n\nVerbs:\n", out);
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
    fprintf(out, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
  }
  fputs("\n`wodan VERB --help' tells the options of a verb; `wodan --version' the version.\n"
        "Exit codes: 0 done, 1 a negative answer, 2 usage, 3 damaged or no Wodan image, 4 I/O error, 5 no space, 6 "
        "busy.\n",
        out);
}

static int run_verb(const struct verb *verb, int argc, char **argv) {
  char name[32];
  snprintf(name, sizeof name, "wodan %s", verb->name);
  argv[0] = name;
  argp_err_exit_status = EXIT_CODE_USAGE;
  return verb->run(argc, argv);
}

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : NULL;
  if (name == NULL) {
    fputs("wodan: the verb is missing\n", stderr);
    print_usage(stderr);
    return EXIT_CODE_USAGE;
  }
  if (strcmp(name, "--help") == 0 || strcmp(name, "-?") == 0 || strcmp(name, "help") == 0) {
    print_usage(stdout);
    return report_flush(EXIT_CODE_OK);
  }
  if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
    printf("wodan %s\n", wodan_version());
    return report_flush(EXIT_CODE_OK);
  }
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
    if (strcmp(verbs[i].name, name) == 0) return run_verb(&verbs[i], argc - 1, argv + 1);
  }
  fprintf(stderr, "wodan: there is no verb '%s'\n", name);
  print_usage(stderr);
  return EXIT_CODE_USAGE;
}

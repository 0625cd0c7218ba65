/* The verbs. Each takes its own argument vector (argv[0] is "wodan VERB") and returns the exit code. */
#ifndef WODAN_CLI_COMMANDS_H
#define WODAN_CLI_COMMANDS_H

int cmd_format(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_put(int argc, char **argv);
int cmd_get(int argc, char **argv);
int cmd_del(int argc, char **argv);
int cmd_scan(int argc, char **argv);
int cmd_load(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_import_mirage(int argc, char **argv);
int cmd_compact(int argc, char **argv);
int cmd_trim(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_tree(int argc, char **argv);
int cmd_path(int argc, char **argv);
int cmd_node(int argc, char **argv);
int cmd_page(int argc, char **argv);
int cmd_block(int argc, char **argv);
int cmd_journal(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_map(int argc, char **argv);
int cmd_crash(int argc, char **argv);

#endif

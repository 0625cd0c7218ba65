/* The check of an image, behind wodan_check (include/wodan/check.h has the contract). Reads only, trusts nothing, and
 * shares with the engine only the readers of the format. */
#ifndef CHECK_CHECK_H
#define CHECK_CHECK_H

#include <wodan/check.h>

/* options and report are whole structs; report is filled from zero. One thread. */
int check_image(struct wodan_device *device, const struct wodan_check_options *options,
                struct wodan_check_report *report, struct wodan_error *error);

#endif

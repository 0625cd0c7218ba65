/* Repair in place behind wodan_repair (include/wodan/repair.h has the contract). */
#ifndef REPAIR_INPLACE_H
#define REPAIR_INPLACE_H

#include <wodan/repair.h>

/* options is a whole struct with `allowed` set; report is filled from zero; error is not NULL. */
int repair_image(struct wodan_device *device, const struct wodan_repair_options *options,
                 struct wodan_repair_report *report, struct wodan_error *error);

#endif

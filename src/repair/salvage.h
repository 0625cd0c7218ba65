/* Salvage behind wodan_salvage (include/wodan/repair.h has the contract). */
#ifndef REPAIR_SALVAGE_H
#define REPAIR_SALVAGE_H

#include <wodan/repair.h>

/* options is a whole struct; report is filled from zero; error is not NULL. */
int salvage_image(struct wodan_device *from, struct wodan_device *to, const struct wodan_salvage_options *options,
                  struct wodan_salvage_report *report, struct wodan_error *error);

#endif

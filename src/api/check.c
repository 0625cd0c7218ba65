/* Owns: wodan_check: its arguments, nothing else.
 *
 * Always true: the core gets whole structs; *report is filled on every return but WODAN_EINVAL for a missing argument.
 *
 * See: include/wodan/check.h; tests/unit/test_check.c. */
#include <wodan/check.h>

#include <string.h>
#include "base/status.h"
#include "check/check.h"

int wodan_check(struct wodan_device *device, const struct wodan_check_options *options,
                struct wodan_check_report *report, struct wodan_error *error) {
  struct wodan_check_options whole = {.size = sizeof whole};
  if (error) *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  if (!device || !report)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "wodan_check: device or report is missing");
  if (options) {
    size_t size = options->size ? options->size : sizeof whole;
    if (size < sizeof whole)
      return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "wodan_check: options of size %zu are not known", size);
    whole = *options;
  }
  return check_image(device, &whole, report, error);
}

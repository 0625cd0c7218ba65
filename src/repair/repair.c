/* Owns: the public functions of include/wodan/repair.h: their arguments, nothing else.
 *
 * Always true: what is behind them gets whole structs and an error to fill.
 *
 * See: include/wodan/repair.h; tests/unit/test_repair.c. */
#include <wodan/repair.h>

#include "base/status.h"
#include "repair/inplace.h"
#include "repair/salvage.h"

int wodan_salvage(struct wodan_device *from, struct wodan_device *to, const struct wodan_salvage_options *options,
                  struct wodan_salvage_report *report, struct wodan_error *error) {
  struct wodan_salvage_options whole = {.size = sizeof whole};
  struct wodan_error unheard;
  if (!error) error = &unheard;
  *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  if (!from || !to || !report || from == to)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "wodan_salvage: two devices and a report are needed");
  if (options) {
    size_t size = options->size ? options->size : sizeof whole;
    if (size < sizeof whole)
      return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "wodan_salvage: options of size %zu are not known",
                        size);
    whole = *options;
  }
  return salvage_image(from, to, &whole, report, error);
}

int wodan_repair(struct wodan_device *device, const struct wodan_repair_options *options,
                 struct wodan_repair_report *report, struct wodan_error *error) {
  struct wodan_repair_options whole = {.size = sizeof whole};
  struct wodan_error unheard;
  if (!error) error = &unheard;
  *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  if (!device || !report)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "wodan_repair: device or report is missing");
  if (options) {
    size_t size = options->size ? options->size : sizeof whole;
    if (size < sizeof whole)
      return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "wodan_repair: options of size %zu are not known",
                        size);
    whole = *options;
  }
  if (!whole.allowed) whole.allowed = WODAN_REPAIR_SAFE;
  if (whole.allowed > WODAN_REPAIR_LOSSY || (whole.generation && whole.allowed < WODAN_REPAIR_LOSSY))
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK,
                      "wodan_repair: only safe or lossy repairs, and another root only with lossy ones");
  return repair_image(device, &whole, report, error);
}

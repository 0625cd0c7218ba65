/* An LZ4 block made longer: the same bytes in exactly so many. For a copy that has other contents than the original and may
 * not move what stands behind them. */
#ifndef CODEC_STRETCH_H
#define CODEC_STRETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `packed` is a block of compressor_pack, `bytes` what it was made of. false: it has more than `target` bytes, or there is no
 * way to have just as many; then `out`, of `target` bytes, holds anything. */
bool stretch_block(const uint8_t *packed, size_t length, const uint8_t *bytes, uint8_t *out, size_t target);

#endif

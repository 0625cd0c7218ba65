/* CRC-32C (Castagnoli), the checksum of MirageOS Wodan's blocks. */
#ifndef MIRAGE_CRC32C_H
#define MIRAGE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of all of it: begin and end with complement, as everywhere; "123456789" gives e3069283. Not for several threads. */
uint32_t mirage_crc32c(const void *data, size_t size);

#endif

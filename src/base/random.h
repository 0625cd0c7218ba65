/* Random bytes: the user's hook, else the operating system's. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>
#include <wodan/types.h>

/* 0, or WODAN_EIO when the source fails. hooks may be NULL. */
int random_fill(const struct wodan_hooks *hooks, void *buffer, size_t size);
/* The same for a number: the same bytes make the same number on every machine. */
int random_number(const struct wodan_hooks *hooks, uint64_t *number);

#endif

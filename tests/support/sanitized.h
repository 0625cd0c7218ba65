/* Whether this build is for a sanitizer: long tests do a part there and the whole optimized. */
#ifndef WODAN_TESTS_SANITIZED_H
#define WODAN_TESTS_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

#endif

/* Library version, export marker and C linkage. Every public header includes this one. */
#ifndef WODAN_VERSION_H
#define WODAN_VERSION_H

#define WODAN_VERSION_MAJOR  0
#define WODAN_VERSION_MINOR  1
#define WODAN_VERSION_PATCH  0
#define WODAN_VERSION_STRING "0.1.0"

#if defined(__GNUC__)
#define WODAN_API __attribute__((visibility("default")))
#else
#define WODAN_API
#endif

#ifdef __cplusplus
#define WODAN_BEGIN extern "C" {
#define WODAN_END   }
#else
#define WODAN_BEGIN
#define WODAN_END
#endif

WODAN_BEGIN

/* The version of the library in use, "MAJOR.MINOR.PATCH"; a constant, never freed. Any thread. */
WODAN_API const char *wodan_version(void);

WODAN_END

#endif

// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The error convention. Functions return int: 0 = done; negative = -errno from the environment, forwarded unchanged;
 * positive = a condition named in the callee's header, handled by the direct caller. What a person should read travels
 * in `struct err`, untouched on success. */
#include "base/buf.h"
#include "base/str.h"
#include <errno.h>

#define MUST_USE __attribute__((warn_unused_result))

/* A reason for people. Fixed size, so it can live on any stack and be copied; long messages are cut at a character. */
struct err {
    char msg[1024];
};

/* Write the message ("file:line:col: what, found, allowed"); no newline. e may be NULL. Keeps the first message if one
 * is set. */
void err_set(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Put "text: " before the message. */
void err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline void err_clear(struct err *e)
{
    e->msg[0] = 0;
}
/* The text of -errno; thread-safe, borrowed for ever. */
const char *err_name(int neg_errno);

/* Forward a negative result; logs file:line at debug level, does nothing on success. */
#define err_trace(r) err_trace_((r), __FILE__, __LINE__)
int err_trace_(int r, const char *file, int line);

/* Our mistake: say where, dump what is known, abort. */
#define BUG(...) err_die_("BUG", __FILE__, __LINE__, __VA_ARGS__)
/* The environment makes it unsafe to go on (a failed fsync, say). */
#define FATAL(...) err_die_("FATAL", __FILE__, __LINE__, __VA_ARGS__)
void err_die_(const char *kind, const char *file, int line, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 4, 5)));
/* Always on, also in release builds. */
#define ASSERT(cond)                                                                                                   \
    do {                                                                                                               \
        if (__builtin_expect(!(cond), 0))                                                                              \
            BUG("assertion failed: %s", #cond);                                                                        \
    } while (0)

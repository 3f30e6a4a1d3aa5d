// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include "base/log.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Cut at a character, never inside one. */
static void cut(char *z, size_t size, int would)
{
    if (would < 0 || (size_t)would < size)
        return;
    size_t n = size - 1;
    while (n && ((unsigned char)z[n - 1] & 0xc0) == 0x80)
        n--;
    if (n && (unsigned char)z[n - 1] >= 0xc0)
        n--;
    z[n] = 0;
}

void err_set(struct err *e, const char *fmt, ...)
{
    if (!e || e->msg[0])
        return;
    va_list ap;
    va_start(ap, fmt);
    cut(e->msg, sizeof(e->msg), vsnprintf(e->msg, sizeof(e->msg), fmt, ap));
    va_end(ap);
}

void err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e)
        return;
    struct err old = *e;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    va_end(ap);
    cut(e->msg, sizeof(e->msg), n);
    if (n >= 0 && (size_t)n < sizeof(e->msg))
        cut(e->msg, sizeof(e->msg), n + snprintf(e->msg + n, sizeof(e->msg) - (size_t)n, ": %s", old.msg));
}

const char *err_name(int neg_errno)
{
    const char *z = strerrordesc_np(neg_errno < 0 ? -neg_errno : neg_errno);
    return z ? z : "unknown error";
}

int err_trace_(int r, const char *file, int line)
{
    if (r < 0)
        log_debug("error forwarded", KV_Z("file", file), KV_INT("line", line), KV_ERR(r));
    return r;
}

void err_die_(const char *kind, const char *file, int line, const char *fmt, ...)
{
    /* Straight to the descriptor: the logger may be what is broken. */
    char text[2048];
    int n = snprintf(text, sizeof(text), "%s %s:%d: ", kind, file, line);
    va_list ap;
    va_start(ap, fmt);
    size_t len = n < 0 ? 0 : MIN((size_t)n, sizeof(text) - 2);
    int m = vsnprintf(text + len, sizeof(text) - len, fmt, ap);
    va_end(ap);
    len += m < 0 ? 0 : (size_t)m;
    if (len > sizeof(text) - 2)
        len = sizeof(text) - 2;
    text[len++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, text, len);
    (void)ignored; /* nothing is left to do about it */
    abort();
}

// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"

#include "base/error.h"
#include <stdarg.h>
#include <stdio.h>

void *xmalloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p)
        FATAL("out of memory asking for %zu bytes", n);
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        FATAL("out of memory asking for %zu x %zu bytes", n, size);
    return p;
}

void *xrealloc(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);
    if (!q)
        FATAL("out of memory asking for %zu bytes", n);
    return q;
}

char *xstrdup(const char *z)
{
    return str_dupz(str_of(z));
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *z;
    if (vasprintf(&z, fmt, ap) < 0)
        FATAL("out of memory formatting \"%s\"", fmt);
    va_end(ap);
    return z;
}

// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "sys/spawn.h"
#include <unistd.h>

static bool colors;

bool color_on(FILE *f)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    colors = isatty(fileno(f)) && !(no && *no) && term && strcmp(term, "dumb") != 0;
    return colors;
}

const char *color_of(enum control_state s)
{
    static const char *const c[CS_COUNT] = {
        [CS_STOPPED] = "\x1b[2m",   [CS_LAUNCHING] = "\x1b[33m", [CS_ONLINE] = "\x1b[32m",
        [CS_STOPPING] = "\x1b[33m", [CS_WAITING] = "\x1b[33m",   [CS_ERRORED] = "\x1b[31m",
    };
    return colors ? c[s] : "";
}

const char *color_end(void)
{
    return colors ? "\x1b[0m" : "";
}

void table_cell(struct table *t, const char *color, const char *fmt, ...)
{
    struct buf b = BUF_INIT(65536);
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(&b, fmt, ap);
    va_end(ap);
    vec_push(&t->cells, buf_take(&b, NULL));
    vec_push(&t->colors, color);
}

static void spaces(FILE *f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fputc(' ', f);
}

void table_print(struct table *t, FILE *f)
{
    size_t *width = xcalloc(t->columns, sizeof(*width));
    for (size_t i = 0; i < t->cells.n; i++)
        width[i % t->columns] = MAX(width[i % t->columns], utf8_width(str_of(t->cells.v[i])));
    for (size_t i = 0; i < t->cells.n; i++) {
        size_t c = i % t->columns, pad = width[c] - utf8_width(str_of(t->cells.v[i]));
        bool head = i < t->columns, right = t->right >> c & 1;
        const char *color = head && colors ? "\x1b[2m" : t->colors.v[i] ? t->colors.v[i] : "";
        spaces(f, 2 + (right ? pad : 0));
        fprintf(f, "%s%s%s", color, t->cells.v[i], *color ? color_end() : "");
        if (c + 1 == t->columns)
            fputc('\n', f);
        else if (!right)
            spaces(f, pad);
        free(t->cells.v[i]);
    }
    free(width);
    vec_done(&t->cells);
    vec_done(&t->colors);
}

bool proc_usage(const struct control_proc *p, uint64_t *ret_cpu_permille, uint64_t *ret_rss)
{
    struct proc_stat s;
    if (p->pid <= 0 || !proc_read(p->pid, &s))
        return false;
    uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK), age_ms = MAX(p->uptime_ms, 1);
    *ret_cpu_permille = s.cpu_ticks * 1000 / hz * 1000 / age_ms;
    *ret_rss = s.rss_bytes;
    return true;
}

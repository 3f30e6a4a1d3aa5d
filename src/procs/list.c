// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

#include "base/format.h"

/* "45s", "12m", "3h", "5d": one unit is enough to see what is young. */
static void put_age(struct buf *b, uint64_t ms)
{
    static const struct {
        uint64_t ms;
        char unit;
    } units[] = {{86400000, 'd'}, {3600000, 'h'}, {60000, 'm'}, {1000, 's'}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (ms >= units[i].ms) {
            buf_fmt(b, "%llu%c", (unsigned long long)(ms / units[i].ms), units[i].unit);
            return;
        }
    buf_z(b, "0s");
}

static void row(struct table *t, const struct control_proc *p)
{
    uint64_t cpu = 0, rss = 0;
    bool runs = proc_usage(p, &cpu, &rss);
    _cleanup_buf_ struct buf age = BUF_INIT(64), mem = BUF_INIT(64);
    put_age(&age, p->uptime_ms);
    format_bytes(&mem, rss);
    table_cell(t, NULL, "%u", p->id);
    if (p->instances > 1)
        table_cell(t, NULL, STR_FMT "#%u", STR_ARG(p->name), p->instance);
    else
        table_cell(t, NULL, STR_FMT, STR_ARG(p->name));
    if (p->pid > 0)
        table_cell(t, NULL, "%d", (int)p->pid);
    else
        table_cell(t, NULL, "-");
    table_cell(t, NULL, "%s", p->pid > 0 ? buf_cstr(&age) : "-");
    table_cell(t, NULL, "%llu", (unsigned long long)p->restarts);
    table_cell(t, color_of(p->state), "%s", state_word(p->state));
    if (runs) {
        table_cell(t, NULL, "%llu.%llu%%", (unsigned long long)cpu / 10, (unsigned long long)cpu % 10);
        table_cell(t, NULL, "%s", buf_cstr(&mem));
    } else {
        table_cell(t, NULL, "-");
        table_cell(t, NULL, "-");
    }
}

int print_list(struct control_client *c)
{
    struct plist l;
    if (!plist_read(c, false, &l))
        return 1;
    if (l.v.n == 0) {
        puts(word(W_NO_PROCESSES));
    } else {
        static const enum word heads[] = {W_H_ID,       W_H_NAME,   W_H_PID, W_H_UPTIME,
                                          W_H_RESTARTS, W_H_STATUS, W_H_CPU, W_H_MEM};
        struct table t = {.columns = ARRAY_LEN(heads), .right = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7};
        color_on(stdout);
        for (size_t i = 0; i < ARRAY_LEN(heads); i++)
            table_cell(&t, NULL, "%s", word(heads[i]));
        for (size_t i = 0; i < l.v.n; i++)
            row(&t, &l.v.v[i]);
        table_print(&t, stdout);
    }
    plist_done(&l);
    return 0;
}

int verb_list(int argc, char **argv)
{
    struct args a = args_of(argc, argv);
    const char *w;
    for (enum args_kind k; (k = args_next(&a, &w)) != ARGS_END;)
        if (k == ARGS_FLAG)
            return args_unknown(&a);
    if (a.bad)
        return 2;
    struct control_client *c = client_open(NEED_RUNNING);
    if (!c)
        return 1;
    int r = print_list(c);
    control_close(c);
    return r;
}

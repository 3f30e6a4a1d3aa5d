// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

#include "base/clock.h"
#include "base/format.h"
#include <signal.h>

static void line(enum word head, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void line(enum word head, const char *fmt, ...)
{
    /* Two columns; the head is at most 20 wide in both languages, counted in characters, not bytes. */
    const char *h = word(head);
    size_t width = 0;
    for (const char *c = h; *c; c++)
        width += (*c & 0xc0) != 0x80;
    printf("  %s%*s", h, width < 22 ? (int)(22 - width) : 1, "");
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

static void put_last_words(struct str text)
{
    text = str_trim(text);
    struct str one;
    puts("");
    printf("  %s\n", word(W_D_LAST_WORDS));
    while (str_line(&text, &one))
        printf("    | " STR_FMT "\n", STR_ARG(one));
}

static void describe(const struct control_proc *p)
{
    uint64_t cpu, rss;
    _cleanup_buf_ struct buf b = BUF_INIT(65536);
    printf("%s" STR_FMT "#%u%s (%u)\n", color_of(p->state), STR_ARG(p->name), p->instance, color_end(), p->id);
    line(W_H_STATUS, "%s%s%s", color_of(p->state), state_word(p->state), color_end());
    if (p->pid > 0) {
        line(W_H_PID, "%d", (int)p->pid);
        format_duration_human(&b, (int64_t)p->uptime_ms);
        line(W_H_UPTIME, "%s", buf_cstr(&b));
    }
    if (proc_usage(p, &cpu, &rss)) {
        buf_reset(&b);
        format_bytes(&b, rss);
        line(W_H_CPU, "%llu.%llu %%", (unsigned long long)cpu / 10, (unsigned long long)cpu % 10);
        line(W_H_MEM, "%s", buf_cstr(&b));
    }
    line(W_H_RESTARTS, "%llu", (unsigned long long)p->restarts);
    line(W_D_UNSTABLE, "%llu / %llu", (unsigned long long)p->unstable, (unsigned long long)p->max_restarts);
    if (p->state == CS_WAITING)
        line(W_D_NEXT, "%llu ms", (unsigned long long)p->delay_ms);
    if (p->exited && p->exit_signal)
        line(W_D_LAST_END, word(W_D_SIGNAL), p->exit_signal, strsignal(p->exit_signal));
    else if (p->exited)
        line(W_D_LAST_END, word(W_D_CODE), p->exit_code);
    line(W_D_SCRIPT, STR_FMT, STR_ARG(p->script));
    line(W_D_INTERPRETER, STR_FMT, STR_ARG(p->interpreter));
    buf_reset(&b);
    uint16_t tag;
    struct str v, rest = p->body;
    size_t n_env = 0;
    while (control_field(&rest, &tag, &v)) {
        if (tag == CT_ARG) {
            if (b.n)
                buf_putc(&b, ' ');
            buf_str(&b, v);
        }
        n_env += tag == CT_ENV;
    }
    line(W_D_COMMAND, "%s", buf_cstr(&b));
    line(W_D_CWD, STR_FMT, STR_ARG(p->cwd));
    line(W_D_NAMESPACE, STR_FMT, STR_ARG(p->namespace_));
    buf_reset(&b);
    format_rfc3339_ms(&b, p->created_ms);
    line(W_D_CREATED, "%s", buf_cstr(&b));
    line(W_D_AUTORESTART, "%s", word(p->autorestart ? W_YES : W_NO));
    line(W_D_OUT, STR_FMT, STR_ARG(p->out_file));
    line(W_D_ERR, STR_FMT, STR_ARG(p->err_file));
    if (p->log_lost) {
        buf_reset(&b);
        format_bytes(&b, p->log_lost);
        line(W_D_LOST, "%s", buf_cstr(&b));
    }
    _cleanup_free_ char *name = str_dupz(p->name);
    line(W_D_ENV, word(W_D_ENV_COUNT), n_env, name);
    if (p->text.n)
        put_last_words(p->text);
}

static void show_env(const struct control_proc *p)
{
    uint16_t tag;
    struct str v, rest = p->body;
    while (control_field(&rest, &tag, &v))
        if (tag == CT_ENV)
            printf(STR_FMT "\n", STR_ARG(v));
}

static void show_pid(const struct control_proc *p)
{
    printf("%d\n", (int)p->pid);
}

/* Common to the verbs that print something of each process named. */
static int for_each(int argc, char **argv, bool env, bool all_by_default, bool blank_between,
                    void (*show)(const struct control_proc *p))
{
    struct args a = args_of(argc, argv);
    VEC(const char *) selectors = {0};
    const char *w;
    int r = 0;
    for (enum args_kind k; r == 0 && (k = args_next(&a, &w)) != ARGS_END;)
        if (k == ARGS_WORD)
            vec_push(&selectors, w);
        else if (k == ARGS_FLAG)
            r = args_unknown(&a);
    if (a.bad)
        r = 2;
    if (r == 0 && selectors.n == 0 && all_by_default)
        vec_push(&selectors, "all");
    if (r == 0 && selectors.n == 0) {
        complain(word(W_WANTS_TARGET), argv[0]);
        r = 2;
    }
    struct control_client *c = r == 0 ? client_open(NEED_RUNNING) : NULL;
    struct plist l = {0};
    struct pick p = {0};
    if (r == 0)
        r = c && plist_read(c, env, &l) ? 0 : 1;
    for (size_t i = 0; r == 0 && i < selectors.n; i++)
        r = pick_add(&p, &l, selectors.v[i], true) ? 0 : 1;
    color_on(stdout);
    for (size_t i = 0; r == 0 && i < p.v.n; i++) {
        if (i && blank_between)
            putchar('\n');
        show(p.v.v[i]);
    }
    vec_done(&p.v);
    vec_done(&selectors);
    plist_done(&l);
    control_close(c);
    return r;
}

int verb_describe(int argc, char **argv)
{
    return for_each(argc, argv, true, false, true, describe);
}

int verb_env(int argc, char **argv)
{
    return for_each(argc, argv, true, false, true, show_env);
}

int verb_pid(int argc, char **argv)
{
    return for_each(argc, argv, false, true, false, show_pid);
}

// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

#include "base/format.h"
#include "base/limits.h"
#include <signal.h>

/* Verbs about hune as a whole: save, resurrect, kill, ping, status; and sendSignal. */

/* Verbs that take no words of their own. 0 to go on, else the exit status. */
static int no_more(int argc, char **argv)
{
    struct args a = args_of(argc, argv);
    const char *w;
    for (enum args_kind k; (k = args_next(&a, &w)) != ARGS_END;)
        if (k == ARGS_FLAG || k == ARGS_WORD) {
            a.name = w;
            return args_unknown(&a);
        }
    return a.bad ? 2 : 0;
}

static int ask(struct control_client *c, enum control_type type, struct str *ret)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct err e = {0};
    control_end(&b, control_begin(&b, type, control_next_id(c)));
    int r = control_ask(c, &b, 30000, NULL, NULL, ret, &e);
    if (r != 0)
        complain("hune: %s", e.msg);
    return r ? 1 : 0;
}

int verb_save(int argc, char **argv)
{
    bool save = strcmp(procs_find(argv[0])->name, "save") == 0;
    int r = no_more(argc, argv);
    if (r != 0)
        return r;
    struct control_client *c = client_open(save ? NEED_RUNNING : NEED_START);
    struct str body;
    r = c ? ask(c, save ? CONTROL_SAVE : CONTROL_RESURRECT, &body) : 1;
    if (r == 0) {
        printf(word(save ? W_SAVED : W_RESURRECTED), (unsigned)control_get_u64(body, CT_COUNT, 0));
        putchar('\n');
        if (!save)
            r = print_list(c);
    }
    control_close(c);
    return r;
}

int verb_kill(int argc, char **argv)
{
    int r = no_more(argc, argv);
    if (r != 0)
        return r;
    struct control_client *c = client_open(NEED_RUNNING);
    if (!c)
        return 1;
    r = ask(c, CONTROL_KILL, NULL);
    /* The stream ends when everything has. */
    struct control_frame f;
    int got = 0;
    while (r == 0 && (got = control_recv(c, 60000, &f)) == 0)
        ;
    if (r == 0 && got != -EPIPE) {
        complain("hune: %s", err_name(got));
        r = 1;
    }
    if (r == 0)
        puts(word(W_KILLED));
    control_close(c);
    return r;
}

int verb_ping(int argc, char **argv)
{
    int r = no_more(argc, argv);
    if (r != 0)
        return r;
    struct control_client *c = client_open(NEED_QUIET);
    struct str body;
    if (!c) {
        _cleanup_free_ char *dir = client_data_dir();
        if (dir)
            complain(word(W_NOT_RUNNING), dir);
        return 1;
    }
    r = ask(c, CONTROL_PING, &body);
    if (r == 0)
        printf("pong (hune " STR_FMT ", pid %llu)\n", STR_ARG(control_get(body, CT_VERSION)),
               (unsigned long long)control_get_u64(body, CT_PID, 0));
    control_close(c);
    return r;
}

int verb_signal(int argc, char **argv)
{
    struct args a = args_of(argc, argv);
    VEC(const char *) words = {0};
    const char *w;
    int sig = 0, r = 0;
    for (enum args_kind k; r == 0 && (k = args_next(&a, &w)) != ARGS_END;)
        if (k == ARGS_WORD)
            vec_push(&words, w);
        else if (k == ARGS_FLAG)
            r = args_unknown(&a);
    if (r == 0 && words.n < 2) {
        complain("hune %s", procs_find("sendSignal")->usage);
        r = 2;
    }
    if (a.bad || (r == 0 && !args_signal(&a, words.v[0], &sig)))
        r = 2;
    struct control_client *c = r == 0 ? client_open(NEED_RUNNING) : NULL;
    struct plist l = {0};
    struct pick p = {0};
    if (r == 0)
        r = c && plist_read(c, false, &l) ? 0 : 1;
    for (size_t i = 1; r == 0 && i < words.n; i++)
        r = pick_add(&p, &l, words.v[i], true) ? 0 : 1;
    for (size_t i = 0; r == 0 && i < p.v.n; i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        struct err e = {0};
        size_t at = control_begin(&b, CONTROL_ACT, control_next_id(c));
        control_put_u64(&b, CT_ACTION, CA_SIGNAL);
        control_put_u64(&b, CT_SIGNAL, (uint64_t)sig);
        control_put_u64(&b, CT_ID, p.v.v[i]->id);
        control_end(&b, at);
        _cleanup_free_ char *name = str_dupz(p.v.v[i]->name);
        if (control_ask(c, &b, 10000, NULL, NULL, NULL, &e) != 0) {
            complain("hune: %s#%u: %s", name, p.v.v[i]->instance, e.msg);
            r = 1;
        } else {
            _cleanup_free_ char *sig_name = xasprintf("SIG%s", sigabbrev_np(sig) ? sigabbrev_np(sig) : "?");
            printf(word(W_SENT), sig_name, name, p.v.v[i]->instance);
            putchar('\n');
        }
    }
    vec_done(&p.v);
    vec_done(&words);
    plist_done(&l);
    control_close(c);
    return r;
}

static void head(enum word w)
{
    printf("%-10s", word(w));
}

static void put_uptime(uint64_t ms)
{
    _cleanup_buf_ struct buf b = BUF_INIT(256);
    format_duration_human(&b, (int64_t)ms);
    printf(", %s %s", word(W_H_UPTIME), buf_cstr(&b));
}

int verb_status(int argc, char **argv)
{
    int r = no_more(argc, argv);
    if (r != 0)
        return r;
    struct control_client *c = client_open(NEED_QUIET);
    if (!c) {
        _cleanup_free_ char *dir = client_data_dir();
        if (dir)
            complain(word(W_NOT_RUNNING), dir);
        return 3; /* "not running", as LSB init scripts and systemctl have it */
    }
    struct str body;
    r = ask(c, CONTROL_INFO, &body);
    if (r == 0) {
        color_on(stdout);
        head(W_ST_KEEPER);
        printf("hune " STR_FMT ", pid %llu", STR_ARG(control_get(body, CT_VERSION)),
               (unsigned long long)control_get_u64(body, CT_PID, 0));
        put_uptime(control_get_u64(body, CT_UPTIME_MS, 0));
        putchar('\n');
        head(W_ST_SERVER);
        uint64_t state = control_get_u64(body, CT_SERVER_STATE, CS_COUNT),
                 pid = control_get_u64(body, CT_SERVER_PID, 0);
        struct str text = str_trim(control_get(body, CT_SERVER_TEXT)), address = control_get(body, CT_ADDRESS);
        if (state >= CS_COUNT) {
            puts(word(W_ST_NO_SERVER));
        } else {
            printf("%s%s%s", color_of((enum control_state)state), state_word((enum control_state)state), color_end());
            if (pid) {
                printf(", pid %llu", (unsigned long long)pid);
                put_uptime(control_get_u64(body, CT_SERVER_UPTIME_MS, 0));
            }
            printf(", %s %llu\n", word(W_H_RESTARTS), (unsigned long long)control_get_u64(body, CT_SERVER_RESTARTS, 0));
            if (address.n) {
                head(W_ST_ADDRESS);
                printf(STR_FMT "\n", STR_ARG(address));
            }
            if (text.n && state != CS_ONLINE) {
                head(W_ST_REASON);
                ptrdiff_t nl = str_rchr(text, '\n');
                struct str last = str_sub(text, (size_t)(nl + 1), text.n);
                printf(STR_FMT "\n", STR_ARG(last));
            }
        }
        head(W_ST_APPS);
        printf(word(W_ST_ONLINE_OF), (unsigned long long)control_get_u64(body, CT_COUNT2, 0),
               (unsigned long long)control_get_u64(body, CT_COUNT, 0));
        putchar('\n');
        head(W_ST_DATA);
        printf(STR_FMT "\n", STR_ARG(control_get(body, CT_DATA_DIR)));
    }
    control_close(c);
    return r;
}

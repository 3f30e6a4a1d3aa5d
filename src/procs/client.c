// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

#include "base/clock.h"
#include "base/format.h"
#include "base/limits.h"
#include "base/parse.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MS 10000
#define BACKGROUND_MS 10000

/* ---- finding the keeper ---- */

char *client_data_dir(void)
{
    struct err e = {0};
    char *dir = control_data_dir(args_data_dir, &e);
    if (!dir)
        complain("hune: %s", e.msg);
    return dir;
}

static int make_log_fd(const char *data_dir)
{
    _cleanup_free_ char *logs = xasprintf("%s/logs", data_dir);
    _cleanup_free_ char *path = xasprintf("%s/keeper.log", logs);
    mkdir(data_dir, 0700); /* either may exist; what cannot be made shows at open */
    mkdir(logs, 0700);
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

int procs_background(const char *data_dir, const char *const *args, struct err *e)
{
    int log_fd = make_log_fd(data_dir);
    VEC(const char *) argv = {0};
    _cleanup_free_ char *dir = xasprintf("--data.dir=%s", data_dir);
    vec_push(&argv, "hune");
    vec_push(&argv, "run");
    vec_push(&argv, "--in-background");
    vec_push(&argv, dir);
    for (size_t i = 0; args && args[i]; i++)
        vec_push(&argv, args[i]);
    vec_push(&argv, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        /* Marks of an application that we may be part of: the keeper outlives it. */
        unsetenv("HUNE_INSTANCE");
        unsetenv("HUNE_JOB");
        int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null_fd, 0);
        dup2(log_fd >= 0 ? log_fd : null_fd, 1);
        dup2(log_fd >= 0 ? log_fd : null_fd, 2);
        close_range(3, ~0U, 0);
        execv("/proc/self/exe", (char *const *)argv.v);
        _exit(127);
    }
    vec_done(&argv);
    if (log_fd >= 0)
        close(log_fd);
    if (pid < 0) {
        int r = -errno;
        err_set(e, "fork: %s", err_name(r));
        return r;
    }
    uint64_t end = clock_mono_ns(&clock_real) + BACKGROUND_MS * 1000000ULL;
    for (;;) {
        struct control_client *c;
        struct err why = {0};
        if (control_open(data_dir, 0, &c, &why) == 0) {
            control_close(c);
            return 0;
        }
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid) {
            /* Another verb may have been quicker: then its keeper answers. */
            if (control_open(data_dir, 2000, &c, &why) == 0) {
                control_close(c);
                return 0;
            }
            err_set(e, "hune run ended at once; see %s/logs/keeper.log", data_dir);
            return -ECHILD;
        }
        if (clock_mono_ns(&clock_real) > end) {
            err_set(e, "hune run does not answer; see %s/logs/keeper.log", data_dir);
            return -ETIMEDOUT;
        }
        usleep(2000);
    }
}

/* A keeper died here without stopping its processes: its successor will adopt them. */
static bool left_behind(const char *data_dir)
{
    _cleanup_free_ char *path = xasprintf("%s/keeper/apps", data_dir);
    return access(path, F_OK) == 0;
}

static pid_t keeper_pid(struct control_client *c)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct str body;
    control_end(&b, control_begin(&b, CONTROL_PING, control_next_id(c)));
    return control_ask(c, &b, ANSWER_MS, NULL, NULL, &body, NULL) == 0 ? (pid_t)control_get_u64(body, CT_PID, 0) : 0;
}

struct control_client *client_open(enum need n)
{
    _cleanup_free_ char *dir = client_data_dir();
    struct control_client *c = NULL;
    struct err e = {0};
    if (!dir)
        return NULL;
    int r = control_open(dir, 0, &c, &e);
    if (r == 0)
        return c;
    bool absent = r == -ENOENT || r == -ECONNREFUSED || r == -ENOTDIR;
    if (absent && n != NEED_QUIET && (n == NEED_START || left_behind(dir))) {
        err_clear(&e);
        r = procs_background(dir, NULL, &e);
        if (r == 0)
            r = control_open(dir, ANSWER_MS, &c, &e);
        if (r < 0) {
            complain("hune: %s", e.msg);
            return NULL;
        }
        complain(word(W_STARTED_BACKGROUND), (int)keeper_pid(c), dir);
        return c;
    }
    if (absent && n == NEED_RUNNING)
        complain(word(W_NOT_RUNNING), dir);
    else if (!absent)
        complain("hune: %s", e.msg);
    return NULL;
}

/* ---- the list ---- */

static void copy_proc(void *ctx, const struct control_frame *f)
{
    struct plist *l = ctx;
    if (f->type != CONTROL_PROC)
        return;
    char *mem = xmalloc(f->body.n + 1);
    memcpy(mem, f->body.p, f->body.n);
    vec_push(&l->memory, mem);
    struct control_proc p;
    control_proc_read(str_make(mem, f->body.n), &p);
    vec_push(&l->v, p);
}

bool plist_read(struct control_client *c, bool env, struct plist *ret)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct plist l = {0};
    for (uint64_t from = 0; from != UINT64_MAX;) {
        size_t at = control_begin(&b, CONTROL_LIST, control_next_id(c));
        control_put_u64(&b, CT_ID, from);
        if (env)
            control_put_u64(&b, CT_WITH_ENV, 1);
        control_end(&b, at);
        struct err e = {0};
        struct str body;
        if (control_ask(c, &b, ANSWER_MS, copy_proc, &l, &body, &e) != 0) {
            complain("hune: %s", e.msg);
            plist_done(&l);
            return false;
        }
        from = control_get_u64(body, CT_NEXT, UINT64_MAX);
    }
    *ret = l;
    return true;
}

void plist_done(struct plist *l)
{
    for (size_t i = 0; i < l->memory.n; i++)
        free(l->memory.v[i]);
    vec_done(&l->memory);
    vec_done(&l->v);
}

bool pick_add(struct pick *p, const struct plist *l, const char *selector, bool must_exist)
{
    struct str s = str_of(selector);
    uint64_t id;
    bool number = parse_u64(s, &id), all = str_eqz(s, "all");
    size_t before = p->v.n;
    /* A name beats a namespace; "api" may be both. */
    for (int pass = 0; pass < 2 && p->v.n == before; pass++)
        for (size_t i = 0; i < l->v.n; i++) {
            const struct control_proc *q = &l->v.v[i];
            bool hit = pass == 0 ? all || str_eq(s, q->name) || (number && q->id == id) : str_eq(s, q->namespace_);
            for (size_t k = 0; hit && k < before; k++)
                hit = p->v.v[k] != q;
            if (hit)
                vec_push(&p->v, q);
        }
    if (p->v.n > before || all || !must_exist)
        return true;
    complain(word(W_NO_SUCH), selector);
    return false;
}

/* ---- acting ---- */

bool subscribe(struct control_client *c, uint32_t topics, const uint32_t *ids, size_t n)
{
    _cleanup_buf_ struct buf b = BUF_INIT(65536);
    size_t at = control_begin(&b, CONTROL_SUBSCRIBE, control_next_id(c));
    control_put_u64(&b, CT_TOPICS, topics);
    for (size_t i = 0; i < n; i++)
        control_put_u64(&b, CT_ID, ids[i]);
    control_end(&b, at);
    struct err e = {0};
    int r = control_ask(c, &b, ANSWER_MS, NULL, NULL, NULL, &e);
    if (r != 0)
        complain("hune: %s", e.msg);
    return r == 0;
}

struct waiting {
    enum control_action action;
    struct {
        uint32_t id;
        bool done;
    } * of;
    size_t n, left;
    int status;
    bool quiet;
};

static void wait_event(struct waiting *w, const struct control_proc *p)
{
    size_t i = 0;
    while (i < w->n && (w->of[i].id != p->id || w->of[i].done))
        i++;
    if (i == w->n)
        return;
    bool done = false;
    switch (w->action) {
    case CA_STOP:
        done = p->event == CE_STOPPED;
        break;
    case CA_DELETE:
        done = p->event == CE_DELETED;
        break;
    case CA_START:
    case CA_RESTART:
        done = p->event == CE_ONLINE;
        if (p->event == CE_FAILED) {
            _cleanup_free_ char *name = str_dupz(p->name), *why = str_dupz(p->text);
            complain(word(W_FAILED), name, p->instance, why);
            done = true;
            w->status = 1;
        } else if (p->event == CE_GIVEN_UP) {
            char *name = str_dupz(p->name);
            complain(word(W_GIVEN_UP), name, p->instance, name);
            free(name);
            done = true;
            w->status = 1;
        } else if (done && !w->quiet) {
            _cleanup_free_ char *name = str_dupz(p->name);
            printf(word(w->action == CA_START ? W_DONE_start : W_DONE_restart), name, p->instance, (int)p->pid);
            putchar('\n');
        }
        break;
    case CA_RESET:
    case CA_SIGNAL:
        done = true;
        break;
    }
    if (done && !w->quiet && (w->action == CA_STOP || w->action == CA_DELETE)) {
        _cleanup_free_ char *name = str_dupz(p->name);
        printf(word(w->action == CA_STOP ? W_DONE_stop : W_DONE_delete), name, p->instance);
        putchar('\n');
    }
    if (done) {
        w->of[i].done = true;
        w->left--;
    }
}

static void on_wait_frame(void *ctx, const struct control_frame *f)
{
    if (f->type != CONTROL_STATE)
        return;
    struct control_proc p;
    control_proc_read(f->body, &p);
    wait_event(ctx, &p);
}

/* Until all are done or deadline_ms passes. */
static int wait_all(struct control_client *c, struct waiting *w, uint64_t deadline_ms)
{
    uint64_t end = clock_mono_ns(&clock_real) + deadline_ms * 1000000;
    while (w->left > 0) {
        uint64_t now = clock_mono_ns(&clock_real);
        struct control_frame f;
        int r = now >= end ? -ETIMEDOUT : control_recv(c, (int)((end - now) / 1000000) + 1, &f);
        if (r == -EINTR)
            continue;
        if (r < 0) {
            complain("hune: %s", err_name(r));
            return 1;
        }
        on_wait_frame(w, &f);
    }
    return w->status;
}

int wait_started(struct control_client *c, const uint32_t *ids, size_t n, const char *name)
{
    (void)name;
    struct waiting w = {.action = CA_START, .of = xcalloc(n, sizeof(*w.of)), .n = n, .left = n};
    for (size_t i = 0; i < n; i++)
        w.of[i].id = ids[i];
    int r = wait_all(c, &w, ANSWER_MS);
    free(w.of);
    return r;
}

int act_and_wait(struct control_client *c, enum control_action a, const struct pick *p, bool quiet)
{
    struct waiting w = {.action = a, .of = xcalloc(p->v.n + 1, sizeof(*w.of)), .quiet = quiet};
    _cleanup_buf_ struct buf b = BUF_INIT((size_t)limit(control_message_bytes));
    uint64_t patience_ms = ANSWER_MS;
    if (!subscribe(c, TOPIC_STATES, NULL, 0)) {
        free(w.of);
        return 1;
    }
    size_t at = control_begin(&b, CONTROL_ACT, control_next_id(c)), asked = 0;
    control_put_u64(&b, CT_ACTION, a);
    for (size_t i = 0; i < p->v.n; i++) {
        const struct control_proc *q = p->v.v[i];
        bool already = (a == CA_STOP && q->state == CS_STOPPED) || (a == CA_START && q->state == CS_ONLINE);
        if (already || a == CA_RESET) { /* nothing will be said about these */
            _cleanup_free_ char *name = str_dupz(q->name);
            if (!quiet) {
                printf(word(a == CA_STOP    ? W_DONE_stop
                            : a == CA_RESET ? W_DONE_reset
                                            : W_DONE_start),
                       name, q->instance, (int)q->pid);
                putchar('\n');
            }
            if (already)
                continue;
        } else {
            w.of[w.n++].id = q->id;
        }
        patience_ms = MAX(patience_ms, ANSWER_MS + q->kill_timeout_ms);
        control_put_u64(&b, CT_ID, q->id);
        asked++;
    }
    control_end(&b, at);
    w.left = w.n;
    int r = 0;
    if (asked) {
        struct err e = {0};
        r = control_ask(c, &b, ANSWER_MS, on_wait_frame, &w, NULL, &e);
        if (r != 0) {
            complain("hune: %s", e.msg);
            r = 1;
        } else {
            r = wait_all(c, &w, patience_ms);
        }
    }
    free(w.of);
    return r;
}

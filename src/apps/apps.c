// SPDX-License-Identifier: Apache-2.0
/* The session with the keeper and what became known through it. The apps thread runs a loop with one control session;
 * it alone changes the table of processes, under a lock that readers take for as long as they copy. */
#include "apps/apps_int.h"

#include "base/format.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "codec/json.h"
#include "sys/loop.h"
#include "sys/thread.h"

#define ACT_TIMEOUT_MS 10000
#define USAGE_FRESH_NS 1000000000ULL
#define LOG_SUBSCRIBERS_MAX 8

struct apps {
    struct apps_deps deps;
    char *data_dir;
    struct loop *loop;
    struct control_session *session; /* the thread's */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t acted;
    bool connected;
    VEC(struct proc *) procs; /* sorted by id */
    uint64_t line_n, log_lost, events_lost;
    struct {
        void (*fn)(void *ctx, const struct app_line *line);
        void *ctx;
    } subs[LOG_SUBSCRIBERS_MAX];
    size_t n_subs;
    bool reports;
    enum control_state report_state;
    char *report_address, *report_text;
};

/* ---- the table ---- */

static struct proc *proc_find(struct apps *a, uint32_t id)
{
    for (size_t i = 0; i < a->procs.n; i++)
        if (a->procs.v[i]->id == id)
            return a->procs.v[i];
    return NULL;
}

static void proc_free(struct proc *p)
{
    free(p->name);
    free(p->namespace_);
    free(p->script);
    free(p->interpreter);
    free(p->cwd);
    free(p->out_file);
    free(p->err_file);
    free(p->text);
    ring_done(&p->ring);
    free(p);
}

static struct proc *proc_add(struct apps *a, uint32_t id)
{
    struct proc *p = NEW(struct proc);
    *p = (struct proc){.id = id, .instances = 1, .cpu_ratio = -1};
    size_t at = 0;
    while (at < a->procs.n && a->procs.v[at]->id < id)
        at++;
    vec_push(&a->procs, p);
    memmove(&a->procs.v[at + 1], &a->procs.v[at], (a->procs.n - 1 - at) * sizeof(p));
    a->procs.v[at] = p;
    return p;
}

static void proc_del(struct apps *a, struct proc *p)
{
    for (size_t i = 0; i < a->procs.n; i++)
        if (a->procs.v[i] == p) {
            vec_del(&a->procs, i);
            proc_free(p);
            return;
        }
}

static void keep_text(char **to, struct str from)
{
    if (!from.n && *to)
        return; /* a change tells the spec only once */
    if (*to && str_eqz(from, *to))
        return;
    free(*to);
    *to = str_dupz(from);
}

/* ---- events ---- */

struct news {
    const char *kind; /* NULL: nothing worth a line */
    enum severity severity;
    const char *words;
};

static struct news news_of(const struct control_proc *p, bool again)
{
    bool asked = p->state == CS_STOPPING || p->state == CS_STOPPED;
    bool clean = p->exited && p->exit_code == 0 && p->exit_signal == 0;
    switch (p->event) {
    case CE_STARTED:
        return again ? (struct news){"process.restarted", SEV_INFO, "was started again"}
                     : (struct news){"process.started", SEV_INFO, "was started"};
    case CE_EXITED:
        return (struct news){"process.exited", asked || clean ? SEV_INFO : SEV_WARNING, "ended"};
    case CE_FAILED:
        return (struct news){"process.errored", SEV_WARNING, "could not be started"};
    case CE_GIVEN_UP:
        return (struct news){"process.errored", SEV_CRITICAL, "is given up: it ended too often right after its start"};
    case CE_STOPPED:
        return (struct news){"process.stopped", SEV_INFO, "is stopped"};
    case CE_ADDED:
        return (struct news){"process.added", SEV_INFO, "was added"};
    case CE_DELETED:
        return (struct news){"process.deleted", SEV_INFO, "was deleted"};
    case CE_ADOPTED:
        return (struct news){"process.adopted", SEV_INFO, "was found running by a new keeper"};
    case CE_KILLED:
        return (struct news){"process.killed", SEV_WARNING, "ignored its stop signal and was killed"};
    case CE_ONLINE:
    case CE_STOPPING:
    case CE_COUNT:
        break;
    }
    return (struct news){0};
}

static void emit(struct apps *a, const struct proc *p, struct news n, struct str actor, int64_t t_ms)
{
    struct journal *j = a->deps.journal;
    if (!j || !n.kind)
        return;
    _cleanup_buf_ struct buf subject = BUF_INIT(512), summary = BUF_INIT(2048), payload = BUF_INIT(16384),
                             links = BUF_INIT(64);
    buf_fmt(&subject, "%.200s#%u", p->name, p->instance);
    buf_fmt(&summary, "%.200s#%u %s", p->name, p->instance, n.words);
    bool ended = p->exited && strcmp(n.kind, "process.exited") == 0;
    if (ended && p->exit_signal)
        buf_fmt(&summary, " by signal %d", p->exit_signal);
    else if (ended)
        buf_fmt(&summary, " with code %d", p->exit_code);
    struct jw w;
    jw_init(&w, &payload);
    jw_obj(&w);
    jw_ki64(&w, "id", p->id);
    jw_kz(&w, "name", p->name);
    jw_ki64(&w, "instance", p->instance);
    jw_kz(&w, "namespace", p->namespace_);
    jw_kz(&w, "state", control_state_names[p->state]);
    jw_ki64(&w, "pid", p->pid);
    jw_ki64(&w, "restarts", (int64_t)p->restarts);
    if (p->exited) {
        jw_ki64(&w, "exit_code", p->exit_code);
        jw_ki64(&w, "exit_signal", p->exit_signal);
    }
    if (p->text[0])
        jw_kstr(&w, "text", str_sub(str_of(p->text), 0, 4000));
    jw_end(&w);
    buf_fmt(&links, "{\"process\":%u}", p->id);
    struct event e = {.t_ms = t_ms,
                      .kind = str_of(n.kind),
                      .severity = n.severity,
                      .service = str_of(p->name),
                      .subject = buf_view(&subject),
                      .actor = actor,
                      .summary = buf_view(&summary),
                      .links = buf_view(&links),
                      .payload = buf_view(&payload)};
    j->post(j, &e); /* a loop must not wait for the disk */
}

/* ---- what the keeper says; the apps thread ---- */

static void on_process(void *ctx, const struct control_proc *c)
{
    struct apps *a = ctx;
    pthread_mutex_lock(&a->lock);
    struct proc *p = proc_find(a, c->id);
    bool known = p != NULL;
    if (!p)
        p = proc_add(a, c->id);
    /* While we were away it may have begun anew: that is news too, when we knew it before. */
    bool missed = known && c->event == 0 && c->restarts > p->restarts;
    bool again = known && c->restarts > p->restarts;
    p->listed = true;
    p->instance = c->instance;
    if (c->instances)
        p->instances = c->instances;
    p->pid = c->pid;
    p->state = c->state;
    p->restarts = c->restarts;
    p->unstable = c->unstable;
    p->created_ms = c->created_ms;
    p->started_ms = c->pid ? c->started_ms : 0;
    p->exited = c->exited;
    p->exit_code = c->exit_code;
    p->exit_signal = c->exit_signal;
    keep_text(&p->name, c->name);
    keep_text(&p->namespace_, c->namespace_);
    keep_text(&p->script, c->script);
    keep_text(&p->interpreter, c->interpreter);
    keep_text(&p->cwd, c->cwd);
    keep_text(&p->out_file, c->out_file);
    keep_text(&p->err_file, c->err_file);
    free(p->text);
    p->text = str_dupz(str_sub(c->text, 0, 4096));
    struct news n = news_of(c, again || (c->restarts > 0 && c->event == CE_STARTED));
    if (missed)
        n = (struct news){"process.restarted", SEV_WARNING, "was started again while hune-server was away"};
    emit(a, p, n, STR("keeper"), c->at_ms);
    if (c->event == CE_DELETED)
        proc_del(a, p);
    pthread_mutex_unlock(&a->lock);
}

static void on_log(void *ctx, uint32_t id, int stream, struct str bytes)
{
    struct apps *a = ctx;
    int64_t now = clock_now_ms(a->deps.clock);
    pthread_mutex_lock(&a->lock);
    struct proc *p = proc_find(a, id);
    char *name = p ? xstrdup(p->name) : NULL;
    uint64_t first = a->line_n;
    struct str rest = bytes, line;
    while (p && str_line(&rest, &line)) {
        ring_push(&p->ring, ++a->line_n, now, stream, line);
        p->log_lines++;
    }
    pthread_mutex_unlock(&a->lock);
    /* Subscribers outside the lock: they may ask us things. */
    rest = bytes;
    while (name && a->n_subs && str_line(&rest, &line)) {
        struct app_line l = {.n = ++first, .t_ms = now, .id = id, .stream = stream, .name = str_of(name), .text = line};
        for (size_t i = 0; i < a->n_subs; i++)
            a->subs[i].fn(a->subs[i].ctx, &l);
    }
    free(name);
}

static void on_connected(void *ctx)
{
    struct apps *a = ctx;
    pthread_mutex_lock(&a->lock);
    a->connected = true;
    for (size_t i = 0; i < a->procs.n; i++)
        a->procs.v[i]->listed = false;
    pthread_mutex_unlock(&a->lock);
    log_debug("connected to the keeper");
}

static void on_disconnected(void *ctx, int r)
{
    struct apps *a = ctx;
    pthread_mutex_lock(&a->lock);
    a->connected = false;
    pthread_mutex_unlock(&a->lock);
    log_warn("the keeper is gone, connecting again", KV_ERR(r));
}

static void on_lost(void *ctx, uint64_t log_bytes, uint64_t events)
{
    struct apps *a = ctx;
    pthread_mutex_lock(&a->lock);
    a->log_lost += log_bytes;
    a->events_lost += events;
    pthread_mutex_unlock(&a->lock);
}

static void on_server_died(void *ctx, int code, int signal, uint64_t uptime_ms, int64_t at_ms, struct str last)
{
    struct apps *a = ctx;
    struct journal *j = a->deps.journal;
    if (!j)
        return;
    _cleanup_buf_ struct buf summary = BUF_INIT(1024), payload = BUF_INIT(65536);
    if (signal)
        buf_fmt(&summary, "hune-server was ended by signal %d after ", signal);
    else
        buf_fmt(&summary, "hune-server ended with code %d after ", code);
    format_duration_human(&summary, (int64_t)uptime_ms);
    struct jw w;
    jw_init(&w, &payload);
    jw_obj(&w);
    jw_ki64(&w, "code", code);
    jw_ki64(&w, "signal", signal);
    jw_ki64(&w, "uptime_ms", (int64_t)uptime_ms);
    jw_kstr(&w, "last_stderr", str_sub(last, last.n > 8000 ? last.n - 8000 : 0, last.n));
    jw_end(&w);
    struct event e = {.t_ms = at_ms,
                      .kind = STR("server.died"),
                      .severity = SEV_CRITICAL,
                      .service = STR("hune"),
                      .subject = STR("hune-server"),
                      .actor = STR("keeper"),
                      .summary = buf_view(&summary),
                      .payload = buf_view(&payload)};
    j->post(j, &e);
}

static const struct control_handler handler = {
    .connected = on_connected,
    .disconnected = on_disconnected,
    .process = on_process,
    .log = on_log,
    .lost = on_lost,
    .server_died = on_server_died,
};

/* ---- life ---- */

struct apps *apps_new(const struct apps_deps *d)
{
    struct apps *a = NEW(struct apps);
    a->deps = *d;
    a->data_dir = xstrdup(d->data_dir ? d->data_dir : "");
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->acted, &attr);
    pthread_condattr_destroy(&attr);
    return a;
}

static void *apps_main(void *p)
{
    struct apps *a = p;
    a->session = control_session_new(a->loop, a->data_dir, TOPIC_STATES | TOPIC_LOGS | TOPIC_SERVER, &handler, a);
    loop_run(a->loop);
    a->session = control_session_free(a->session);
    return NULL;
}

int apps_start(struct apps *a)
{
    a->loop = loop_new();
    int r = thread_start(&a->thread, "apps", apps_main, a);
    a->started = r == 0;
    return r;
}

static void stop_now(void *arg)
{
    struct apps *a = arg;
    loop_stop(a->loop);
}

struct apps *apps_free(struct apps *a)
{
    if (!a)
        return NULL;
    if (a->started) {
        loop_post(a->loop, stop_now, a);
        pthread_join(a->thread, NULL);
    }
    if (a->loop)
        a->loop = loop_free(a->loop);
    for (size_t i = 0; i < a->procs.n; i++)
        proc_free(a->procs.v[i]);
    vec_done(&a->procs);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->acted);
    free(a->data_dir);
    free(a->report_address);
    free(a->report_text);
    free(a);
    return NULL;
}

bool apps_connected(struct apps *a)
{
    pthread_mutex_lock(&a->lock);
    bool r = a->connected;
    pthread_mutex_unlock(&a->lock);
    return r;
}

static void report_now(void *arg)
{
    struct apps *a = arg;
    pthread_mutex_lock(&a->lock);
    enum control_state state = a->report_state;
    char *address = xstrdup(a->report_address), *text = xstrdup(a->report_text);
    pthread_mutex_unlock(&a->lock);
    if (a->session)
        control_session_report(a->session, state, str_of(address), str_of(text));
    free(address);
    free(text);
}

void apps_report(struct apps *a, enum control_state state, struct str address, struct str text)
{
    if (!a->loop)
        return;
    pthread_mutex_lock(&a->lock);
    free(a->report_address);
    free(a->report_text);
    a->report_address = str_dupz(address);
    a->report_text = str_dupz(text);
    a->report_state = state;
    pthread_mutex_unlock(&a->lock);
    loop_post(a->loop, report_now, a);
}

/* ---- lists ---- */

/* Under the lock. A ratio needs two looks at the same process. */
static void refresh_usage(struct proc *p, uint64_t now_ns)
{
    if (!p->pid) {
        p->usage = (struct usage){0};
        p->usage_ns = 0;
        p->cpu_ratio = 0;
        return;
    }
    if (p->usage_ns && p->usage_pid == p->pid && now_ns - p->usage_ns < USAGE_FRESH_NS)
        return;
    struct usage u;
    if (!usage_of(p->pid, &u))
        return;
    if (p->usage_ns && p->usage_pid == p->pid && u.cpu_seconds >= p->usage.cpu_seconds)
        p->cpu_ratio = (u.cpu_seconds - p->usage.cpu_seconds) / ((double)(now_ns - p->usage_ns) / 1e9);
    else if (p->usage_pid != p->pid)
        p->cpu_ratio = -1;
    p->usage = u;
    p->usage_ns = now_ns;
    p->usage_pid = p->pid;
}

void apps_list(struct apps *a, struct arena *arena, struct app_view **ret, size_t *ret_n)
{
    int64_t now = clock_now_ms(a->deps.clock);
    uint64_t ns = clock_mono_ns(a->deps.clock);
    pthread_mutex_lock(&a->lock);
    size_t n = a->connected ? a->procs.n : 0;
    struct app_view *v = ARENA_ARRAY(arena, struct app_view, n + 1);
    for (size_t i = 0; i < n; i++) {
        struct proc *p = a->procs.v[i];
        refresh_usage(p, ns);
        v[i] = (struct app_view){
            .id = p->id,
            .instance = p->instance,
            .instances = p->instances,
            .name = arena_str(arena, str_of(p->name)),
            .namespace_ = arena_str(arena, str_of(p->namespace_)),
            .script = arena_str(arena, str_of(p->script)),
            .interpreter = arena_str(arena, str_of(p->interpreter)),
            .cwd = arena_str(arena, str_of(p->cwd)),
            .out_file = arena_str(arena, str_of(p->out_file)),
            .err_file = arena_str(arena, str_of(p->err_file)),
            .text = arena_str(arena, str_of(p->text)),
            .state = p->state,
            .pid = p->pid,
            .restarts = p->restarts,
            .unstable = p->unstable,
            .created_ms = p->created_ms,
            .started_ms = p->started_ms,
            .uptime_ms = p->started_ms ? MAX(now - p->started_ms, 0) : 0,
            .exited = p->exited,
            .exit_code = p->exit_code,
            .exit_signal = p->exit_signal,
            .cpu_seconds = p->usage.cpu_seconds,
            .cpu_ratio = p->cpu_ratio,
            .rss_bytes = p->usage.rss_bytes,
            .processes = p->usage.processes,
            .log_lines = p->log_lines,
        };
    }
    pthread_mutex_unlock(&a->lock);
    *ret = v;
    *ret_n = n;
}

static bool is_who(const struct proc *p, struct str who)
{
    uint64_t id;
    return !who.n || str_eqz(who, "all") || str_eqz(who, p->name) || (parse_u64(who, &id) && id == p->id);
}

void apps_log_tail(struct apps *a, struct str name, uint64_t after_n, size_t max, struct arena *arena,
                   struct app_line **ret, size_t *ret_n)
{
    pthread_mutex_lock(&a->lock);
    /* The rings are sorted by n each; merged from the newest backwards. */
    size_t *at = ARENA_ARRAY(arena, size_t, a->procs.n + 1), n = 0;
    for (size_t i = 0; i < a->procs.n; i++)
        at[i] = is_who(a->procs.v[i], name) ? a->procs.v[i]->ring.n : 0;
    struct app_line *v = ARENA_ARRAY(arena, struct app_line, max + 1);
    while (n < max) {
        struct proc *from = NULL;
        const struct ring_line *best = NULL;
        size_t best_i = 0;
        for (size_t i = 0; i < a->procs.n; i++) {
            const struct ring_line *l = at[i] ? ring_at(&a->procs.v[i]->ring, at[i] - 1) : NULL;
            if (l && l->n > after_n && (!best || l->n > best->n)) {
                best = l;
                best_i = i;
                from = a->procs.v[i];
            }
        }
        if (!best)
            break;
        at[best_i]--;
        n++;
        v[max - n] = (struct app_line){.n = best->n,
                                       .t_ms = best->t_ms,
                                       .id = from->id,
                                       .stream = best->stream,
                                       .name = arena_str(arena, str_of(from->name)),
                                       .text = arena_str(arena, str_make(best->text, best->len))};
    }
    pthread_mutex_unlock(&a->lock);
    *ret = v + (max - n);
    *ret_n = n;
}

int apps_log_file(struct apps *a, uint32_t id, int stream, unsigned rotation, uint64_t before, size_t max,
                  struct arena *arena, struct app_line **ret, size_t *ret_n, uint64_t *ret_from)
{
    pthread_mutex_lock(&a->lock);
    struct proc *p = proc_find(a, id);
    char *path = p ? xstrdup(stream == 2 && p->err_file[0] ? p->err_file : p->out_file) : NULL;
    struct str name = p ? arena_str(arena, str_of(p->name)) : STR("");
    pthread_mutex_unlock(&a->lock);
    if (path && rotation) {
        char *older = lines_rotated(path, rotation);
        free(path);
        path = older;
    }
    if (!path || !path[0]) {
        free(path);
        return -ENOENT;
    }
    struct str *lines;
    size_t n;
    int r = lines_read(path, before, max, arena, &lines, &n, ret_from);
    free(path);
    if (r)
        return r;
    struct app_line *v = ARENA_ARRAY(arena, struct app_line, n + 1);
    for (size_t i = 0; i < n; i++)
        v[i] = (struct app_line){.id = id, .stream = stream, .name = name, .text = lines[i]};
    *ret = v;
    *ret_n = n;
    return 0;
}

void apps_subscribe_logs(struct apps *a, void (*fn)(void *ctx, const struct app_line *line), void *ctx)
{
    ASSERT(!a->started && a->n_subs < LOG_SUBSCRIBERS_MAX);
    a->subs[a->n_subs].fn = fn;
    a->subs[a->n_subs].ctx = ctx;
    a->n_subs++;
}

/* ---- acts ---- */

/* Shared by the caller, who may give up waiting, and the thread; the last one frees it. */
struct act {
    struct apps *a;
    enum control_action action;
    VEC(uint32_t) ids;
    size_t waiting;
    unsigned refs;
    int result;
    struct err err;
};

static void act_unref(struct act *x) /* under the lock */
{
    if (--x->refs)
        return;
    vec_done(&x->ids);
    free(x);
}

static void act_done(void *ctx, int r, struct str text)
{
    struct act *x = ctx;
    struct apps *a = x->a;
    pthread_mutex_lock(&a->lock);
    if (r && !x->result) {
        x->result = r;
        err_set(&x->err, STR_FMT, STR_ARG(text.n ? text : str_of(err_name(r))));
    }
    if (--x->waiting == 0)
        pthread_cond_broadcast(&a->acted);
    act_unref(x);
    pthread_mutex_unlock(&a->lock);
}

static void act_now(void *arg)
{
    struct act *x = arg;
    struct apps *a = x->a;
    for (size_t i = 0; i < x->ids.n; i++) {
        if (a->session && control_session_up(a->session))
            control_session_act(a->session, x->action, x->ids.v[i], 0, act_done, x);
        else
            act_done(x, -EPIPE, STR("hune's keeper is not running"));
    }
    pthread_mutex_lock(&a->lock);
    act_unref(x);
    pthread_mutex_unlock(&a->lock);
}

int apps_act(struct apps *a, enum control_action action, struct str who, struct str actor, struct err *e)
{
    static const char *const words[] = {[CA_START] = "start",   [CA_STOP] = "stop",   [CA_RESTART] = "restart",
                                        [CA_DELETE] = "delete", [CA_RESET] = "reset", [CA_SIGNAL] = "signal"};
    struct act *x = NEW(struct act);
    *x = (struct act){.a = a, .action = action};
    pthread_mutex_lock(&a->lock);
    if (!a->connected || !a->loop) {
        pthread_mutex_unlock(&a->lock);
        free(x);
        err_set(e, "hune's keeper is not running: processes cannot be changed");
        return -EPIPE;
    }
    for (size_t i = 0; who.n && i < a->procs.n; i++)
        if (is_who(a->procs.v[i], who)) {
            char text[64];
            snprintf(text, sizeof(text), "was asked to %s", words[action]);
            vec_push(&x->ids, a->procs.v[i]->id);
            emit(a, a->procs.v[i], (struct news){"process.requested", SEV_INFO, text}, actor, 0);
        }
    if (!x->ids.n) {
        pthread_mutex_unlock(&a->lock);
        free(x);
        err_set(e, "there is no application \"" STR_FMT "\"", STR_ARG(str_sub(who, 0, 100)));
        return -ENOENT;
    }
    x->waiting = x->ids.n;
    x->refs = (unsigned)x->ids.n + 2; /* each answer, the posting, and us */
    loop_post(a->loop, act_now, x);
    uint64_t until = clock_mono_ns(&clock_real) + ACT_TIMEOUT_MS * 1000000ULL;
    struct timespec ts = {.tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000)};
    int w = 0;
    while (x->waiting && w == 0)
        w = pthread_cond_timedwait(&a->acted, &a->lock, &ts);
    int r = x->waiting ? -ETIMEDOUT : x->result;
    if (r)
        err_set(e, "%s", x->waiting ? "the keeper did not answer within 10 s" : x->err.msg);
    act_unref(x);
    pthread_mutex_unlock(&a->lock);
    return r;
}

/* ---- metrics ---- */

struct family {
    const char *name, *help;
    enum metric_type type;
};

static const struct family families[] = {
    {"hune_app_up", "1 while the process runs.", METRIC_GAUGE},
    {"hune_app_restarts_total", "Restarts since the application was added.", METRIC_COUNTER},
    {"hune_app_uptime_seconds", "Since the present process began; 0 when it does not run.", METRIC_GAUGE},
    {"hune_app_cpu_seconds_total", "Processor time of the process and its descendants.", METRIC_COUNTER},
    {"hune_app_resident_memory_bytes", "Resident memory of the process and its descendants.", METRIC_GAUGE},
    {"hune_app_processes", "Processes in its tree.", METRIC_GAUGE},
    {"hune_app_exit_code", "Code of the last end; 128 + signal when a signal ended it.", METRIC_GAUGE},
    {"hune_app_log_lines_total", "Lines it wrote since this server began.", METRIC_COUNTER},
};

static bool value_of(const struct app_view *v, size_t k, double *ret)
{
    bool running = v->pid != 0;
    switch (k) {
    case 0:
        *ret = v->state == CS_ONLINE;
        return true;
    case 1:
        *ret = (double)v->restarts;
        return true;
    case 2:
        *ret = (double)v->uptime_ms / 1000;
        return true;
    case 3:
        *ret = v->cpu_seconds;
        return running && v->processes;
    case 4:
        *ret = (double)v->rss_bytes;
        return running && v->processes;
    case 5:
        *ret = v->processes;
        return true;
    case 6:
        *ret = v->exit_signal ? 128 + v->exit_signal : v->exit_code;
        return v->exited;
    default:
        *ret = (double)v->log_lines;
        return true;
    }
}

void apps_collect(void *apps, struct metrics_out *out)
{
    struct apps *a = apps;
    _cleanup_arena_ struct arena *m = arena_new(0);
    struct app_view *v;
    size_t n;
    apps_list(a, m, &v, &n);
    out->family(out, STR("hune_keeper_up"), STR("1 while this server is connected to its keeper."), METRIC_GAUGE);
    out->sample(out, STR(""), NULL, 0, apps_connected(a));
    char(*instance)[16] = arena_alloc(m, (n + 1) * sizeof(*instance));
    for (size_t i = 0; i < n; i++)
        snprintf(instance[i], sizeof(instance[i]), "%u", v[i].instance);
    for (size_t k = 0; k < ARRAY_LEN(families) && n; k++) {
        out->family(out, str_of(families[k].name), str_of(families[k].help), families[k].type);
        for (size_t i = 0; i < n; i++) {
            const struct metric_label l[] = {
                {STR("name"), v[i].name}, {STR("instance"), str_of(instance[i])}, {STR("namespace"), v[i].namespace_}};
            double value;
            if (value_of(&v[i], k, &value))
                out->sample(out, STR(""), l, ARRAY_LEN(l), value);
        }
    }
    if (!n)
        return;
    out->family(out, STR("hune_app_state"), STR("1 for the state it is in."), METRIC_GAUGE);
    for (size_t i = 0; i < n; i++)
        for (int st = 0; st < CS_COUNT; st++) {
            const struct metric_label l[] = {{STR("name"), v[i].name},
                                             {STR("instance"), str_of(instance[i])},
                                             {STR("namespace"), v[i].namespace_},
                                             {STR("state"), str_of(control_state_names[st])}};
            out->sample(out, STR(""), l, ARRAY_LEN(l), (int)v[i].state == st);
        }
}

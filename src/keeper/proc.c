// SPDX-License-Identifier: Apache-2.0
#include "keeper/keeper_int.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- lookup ---- */

struct app *app_find(const struct keeper *k, struct str name)
{
    for (size_t i = 0; i < k->apps.n; i++)
        if (!k->apps.v[i]->server && str_eqz(name, k->apps.v[i]->name))
            return k->apps.v[i];
    return NULL;
}

struct proc *proc_find(const struct keeper *k, uint32_t id)
{
    for (size_t i = 0; i < k->procs.n; i++)
        if (k->procs.v[i]->id == id)
            return k->procs.v[i];
    return NULL;
}

bool proc_busy(const struct proc *p)
{
    return p->m.main_alive || p->m.state == CS_STOPPING || p->m.state == CS_WAITING;
}

/* ---- what a machine asks for ---- */

static uint64_t op_now(void *ctx)
{
    (void)ctx;
    return clock_mono_ns(&clock_real) / 1000000;
}

static bool op_launch(void *ctx, bool *ret_ready)
{
    struct proc *p = ctx;
    struct app *a = p->app;
    p->failure[0] = 0;
    p->n_tail = 0;
    int out = stream_child_fd(&p->out[0]), err = stream_child_fd(&p->out[1]);
    struct spawn_spec s = {
        .file = a->argv[0],
        .argv = a->argv,
        .envp = p->envp,
        .cwd = a->cwd.n ? a->cwd.p : NULL,
        .in_fd = -1,
        .out_fd = out,
        .err_fd = err,
        .set_ids = a->set_ids,
        .uid = a->uid,
        .gid = a->gid,
    };
    struct err e = {0};
    pid_t pid = 0;
    int r = spawn_start(&s, &pid, &e);
    stream_child_close(&p->out[0], out);
    stream_child_close(&p->out[1], err);
    if (r < 0) {
        snprintf(p->failure, sizeof(p->failure), "%.*s", (int)sizeof(p->failure) - 1, e.msg);
        return false;
    }
    struct proc_stat st;
    p->pid = pid;
    p->start_ticks = proc_read(pid, &st) ? st.start_ticks : 0;
    p->started_ms = clock_now_ms(&clock_real);
    p->adopted = false;
    store_pid(a->k, p);
    *ret_ready = true;
    return true;
}

size_t proc_signal_tree(struct proc *p, int signum)
{
    /* What an earlier keeper's process lost has gone to that keeper's reaper, not to us. */
    struct proc_tree t = {.root = p->pid, .marker = p->own[0], .everywhere = p->adopted};
    struct proc_stat st;
    /* The number may belong to a stranger by now; the group of a dead leader keeps its number taken, so a stranger
     * there means that the group is empty as well. */
    if (p->pid > 0 && proc_read(p->pid, &st) && st.start_ticks != p->start_ticks)
        t.root = 0;
    return proc_tree_signal(&t, signum);
}

static size_t op_signal_tree(void *ctx, int signum)
{
    return proc_signal_tree(ctx, signum);
}

static void op_timer(void *ctx, uint64_t after_ms)
{
    struct proc *p = ctx;
    loop_timer_set(p->timer, after_ms, 0);
}

static void op_timer_stop(void *ctx)
{
    struct proc *p = ctx;
    loop_timer_stop(p->timer);
}

static void say_exit(struct proc *p)
{
    const struct machine *m = &p->m;
    char how[64], next[64] = "";
    if (!m->exit.known)
        snprintf(how, sizeof(how), "ended (code unknown)");
    else if (m->exit.signal)
        snprintf(how, sizeof(how), "ended by signal %d (%s)", m->exit.signal, strsignal(m->exit.signal));
    else
        snprintf(how, sizeof(how), "exited with code %d", m->exit.code);
    if (m->state == CS_WAITING)
        snprintf(next, sizeof(next), "; next start in %llu ms", (unsigned long long)m->delay_ms);
    keeper_say(p->app->k, "%s#%u %s after %llu ms%s", p->app->name, p->instance, how,
               (unsigned long long)m->exit_uptime_ms, next);
}

static void op_note(void *ctx, enum control_event e)
{
    struct proc *p = ctx;
    struct keeper *k = p->app->k;
    if (e == CE_EXITED)
        say_exit(p);
    else if (e == CE_FAILED)
        keeper_say(k, "%s#%u could not be started: %s", p->app->name, p->instance, p->failure);
    else if (e == CE_STARTED || e == CE_ADOPTED)
        keeper_say(k, "%s#%u %s, pid %d", p->app->name, p->instance, control_event_names[e], (int)p->pid);
    else if (e == CE_GIVEN_UP)
        keeper_say(k, "%s#%u is given up after %u unstable starts in a row; `hune restart %s` tries again",
                   p->app->name, p->instance, p->m.unstable, p->app->name);
    else if (e == CE_KILLED)
        keeper_say(k, "%s#%u ignored signal %d for %llu ms: SIGKILL", p->app->name, p->instance,
                   p->app->policy.kill_signal, (unsigned long long)p->app->policy.kill_timeout_ms);
    else if (e == CE_STOPPED || e == CE_DELETED)
        keeper_say(k, "%s#%u %s", p->app->name, p->instance, control_event_names[e]);
    if (!p->m.main_alive && (e == CE_EXITED || e == CE_STOPPED || e == CE_FAILED)) {
        p->pid = 0;
        p->started_ms = 0;
    }
    if (e != CE_DELETED)
        store_pid(k, p);
    conns_state(k, p, e);
    if (p->app->server)
        server_note(k, e);
    if (k->ending)
        keeper_end_step(k);
}

static void op_deleted(void *ctx)
{
    struct proc *p = ctx;
    struct keeper *k = p->app->k;
    proc_free(p);
    store_apps(k);
}

static const struct machine_ops ops = {
    .now_ms = op_now,
    .launch = op_launch,
    .signal_tree = op_signal_tree,
    .timer = op_timer,
    .timer_stop = op_timer_stop,
    .note = op_note,
    .deleted = op_deleted,
};

static void on_timer(void *arg)
{
    proc_feed(arg, ME_TIMER);
}

void proc_feed(struct proc *p, enum machine_event e)
{
    machine_feed(&p->m, e, NULL);
}

static void ended(struct proc *p, const struct machine_exit *x)
{
    stream_drain(&p->out[0]); /* its last words come before the news of its end */
    stream_drain(&p->out[1]);
    p->pidfd_io = loop_io_close(p->pidfd_io);
    if (p->pidfd >= 0)
        close(p->pidfd);
    p->pidfd = -1;
    machine_feed(&p->m, ME_EXITED, x);
}

void proc_reaped(struct keeper *k, pid_t pid, int status)
{
    for (size_t i = 0; i < k->procs.n; i++) {
        struct proc *p = k->procs.v[i];
        if (p->pid != pid || !p->m.main_alive)
            continue;
        ended(p, &(struct machine_exit){
                     .known = true,
                     .code = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
                     .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                 });
        return;
    }
}

static void on_pidfd(void *arg, int events)
{
    struct proc *p = arg;
    (void)events;
    if (p->m.main_alive)
        ended(p, &(struct machine_exit){.known = false});
}

void proc_adopt(struct proc *p, pid_t pid, uint64_t start_ticks, int64_t started_ms)
{
    struct keeper *k = p->app->k;
    int fd = spawn_pidfd(pid);
    if (fd < 0 || proc_start_ticks(pid) != start_ticks) { /* it ended this very moment */
        if (fd >= 0)
            close(fd);
        proc_feed(p, ME_START);
        return;
    }
    p->pid = pid;
    p->start_ticks = start_ticks;
    p->started_ms = started_ms;
    p->adopted = true;
    p->pidfd = fd;
    p->pidfd_io = loop_io_new(k->loop, fd, on_pidfd, p);
    loop_io_set(p->pidfd_io, LOOP_READ);
    uint64_t now = op_now(p), age = (uint64_t)MAX(clock_now_ms(&clock_real) - started_ms, 0);
    machine_adopt(&p->m, age < now ? now - age : 0);
}

/* ---- adding ---- */

static bool name_ok(struct str s)
{
    if (s.n == 0 || s.n > KEEPER_NAME_BYTES || s.p[0] == '.' || s.p[0] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f || s.p[i] == '/')
            return false; /* it becomes a file name and stands in tables */
    return true;
}

static bool has_nul(struct str s)
{
    return s.n && memchr(s.p, 0, s.n);
}

/* A field of the spec as a C string; lives as long as the app (the spec keeps its bytes, this its copy). */
static struct str keep(struct str s)
{
    return str_make(str_dupz(s), s.n);
}

int spec_check(struct str spec, struct err *e)
{
    uint16_t tag;
    struct str v, rest = spec;
    size_t n_arg = 0;
    while (control_field(&rest, &tag, &v)) {
        if ((tag == CT_ARG || tag == CT_ENV || tag == CT_CWD || tag == CT_SCRIPT || tag == CT_INTERPRETER ||
             tag == CT_NAME || tag == CT_NAMESPACE || tag == CT_OUT_FILE || tag == CT_ERR_FILE ||
             tag == CT_INSTANCE_VAR) &&
            has_nul(v)) {
            err_set(e, "a text holds a NUL byte");
            return 1;
        }
        if ((tag == CT_OUT_FILE || tag == CT_ERR_FILE || tag == CT_CWD) && (v.n == 0 || v.p[0] != '/')) {
            err_set(e, "not an absolute path: \"" STR_FMT "\"", STR_ARG(v));
            return 1;
        }
        if (tag == CT_ARG && n_arg++ == 0 && v.n == 0) {
            err_set(e, "empty command");
            return 1;
        }
        if (tag == CT_ENV && str_chr(v, '=') <= 0) {
            err_set(e, "environment: \"NAME=value\" expected");
            return 1;
        }
    }
    if (n_arg == 0) {
        err_set(e, "no command");
        return 1;
    }
    struct str name = control_get(spec, CT_NAME), space = control_get(spec, CT_NAMESPACE);
    if (!name_ok(name) || (space.n && !name_ok(space))) {
        err_set(e, "name: 1 to %d bytes, no control characters, no '/', not beginning with '.' or '-'",
                KEEPER_NAME_BYTES);
        return 1;
    }
    uint64_t instances = control_get_u64(spec, CT_INSTANCES, 1);
    if (instances < 1 || instances > KEEPER_INSTANCES) {
        err_set(e, "instances: 1 to %d", KEEPER_INSTANCES);
        return 1;
    }
    uint64_t sig = control_get_u64(spec, CT_KILL_SIGNAL, SIGINT);
    if (sig < 1 || sig >= NSIG) {
        err_set(e, "kill signal: 1 to %d", NSIG - 1);
        return 1;
    }
    return 0;
}

static void read_policy(struct app *a, struct str spec)
{
    a->policy = (struct machine_policy){
        .autorestart = control_get_u64(spec, CT_AUTORESTART, 1) != 0,
        .max_restarts = (uint32_t)MIN(control_get_u64(spec, CT_MAX_RESTARTS, 16), UINT32_MAX),
        .min_uptime_ms = control_get_u64(spec, CT_MIN_UPTIME_MS, 1000),
        .restart_delay_ms = control_get_u64(spec, CT_RESTART_DELAY_MS, 0),
        .backoff_ms = control_get_u64(spec, CT_BACKOFF_MS, 0),
        .kill_timeout_ms = control_get_u64(spec, CT_KILL_TIMEOUT_MS, 1600),
        .kill_signal = (int)control_get_u64(spec, CT_KILL_SIGNAL, SIGINT),
        .stop_exit_codes = a->stop_codes,
    };
    const uint64_t day_ms = 86400000; /* longer is a mistake in units, and must not overflow sums */
    a->policy.restart_delay_ms = MIN(a->policy.restart_delay_ms, day_ms);
    a->policy.backoff_ms = MIN(a->policy.backoff_ms, day_ms);
    a->policy.kill_timeout_ms = MIN(a->policy.kill_timeout_ms, day_ms);
    uint16_t tag;
    struct str v;
    while (control_field(&spec, &tag, &v))
        if (tag == CT_STOP_EXIT_CODE && a->policy.n_stop_exit_codes < ARRAY_LEN(a->stop_codes))
            a->stop_codes[a->policy.n_stop_exit_codes++] = (int)control_number(v);
}

static char **strings_of(struct str spec, enum control_tag wanted, size_t *ret_n)
{
    VEC(char *) out = {0};
    uint16_t tag;
    struct str v;
    while (control_field(&spec, &tag, &v))
        if (tag == wanted)
            vec_push(&out, str_dupz(v));
    *ret_n = out.n;
    vec_push(&out, NULL);
    return out.v;
}

/* The same variable: both begin with the same NAME=. */
static bool same_variable(const char *a, const char *b)
{
    const char *eq = strchr(a, '=');
    return eq && strncmp(a, b, (size_t)(eq - a) + 1) == 0;
}

static void build_env(struct proc *p)
{
    struct app *a = p->app;
    const char *var = a->instance_var.n ? a->instance_var.p : "NODE_APP_INSTANCE";
    p->own[0] = xasprintf("HUNE_INSTANCE=%016llx-%u", (unsigned long long)a->k->keeper_id, p->id);
    size_t n_own = 1;
    if (a->server) {
        p->own[n_own++] = xasprintf("HUNE_KEEPER_SOCKET=%s/control.sock", a->k->keeper_dir);
    } else { /* what pm2 tells its children */
        p->own[n_own++] = xasprintf("pm_id=%u", p->id);
        p->own[n_own++] = xasprintf("name=%s", a->name);
        p->own[n_own++] = xasprintf("%s=%u", var, p->instance);
    }
    p->envp = xcalloc(a->n_env + ARRAY_LEN(p->own) + 1, sizeof(char *));
    size_t n = 0;
    for (size_t i = 0; i < a->n_env; i++) {
        bool ours = false;
        for (size_t o = 0; o < n_own; o++)
            ours |= same_variable(p->own[o], a->env[i]);
        if (!ours)
            p->envp[n++] = a->env[i];
    }
    for (size_t o = 0; o < n_own; o++)
        p->envp[n++] = p->own[o];
}

static int proc_add(struct app *a, uint32_t instance, uint32_t id, struct err *e)
{
    struct keeper *k = a->k;
    struct proc *p = NEW(struct proc);
    p->app = a;
    p->id = id;
    p->instance = instance;
    p->slot = store_slot(k, id);
    p->pidfd = -1;
    p->out[0].fd = p->out[1].fd = p->out[0].child_fd = p->out[1].child_fd = -1;
    p->created_ms = clock_now_ms(&clock_real);
    p->timer = loop_timer_new(k->loop, on_timer, p);
    build_env(p);
    machine_init(&p->m, &a->policy, &ops, p);
    vec_push(&k->procs, p);
    a->n_procs++;
    int r = stream_open(&p->out[0], p, 0, e);
    if (r == 0)
        r = stream_open(&p->out[1], p, 1, e);
    if (r == 0)
        store_pid(k, p);
    return r;
}

int app_add(struct keeper *k, struct str spec, const uint32_t *ids, size_t n_ids, struct app **ret, struct err *e)
{
    int r = spec_check(spec, e);
    if (r != 0)
        return r;
    struct str name = control_get(spec, CT_NAME);
    uint32_t instances = (uint32_t)control_get_u64(spec, CT_INSTANCES, 1);
    bool server = control_get_u64(spec, CT_ID, 0) == KEEPER_SERVER_ID && k->server == NULL && n_ids == 1 &&
                  ids[0] == KEEPER_SERVER_ID;
    if (!server && app_find(k, name)) {
        err_set(e, "\"" STR_FMT "\" exists already", STR_ARG(name));
        return 1;
    }
    if (k->procs.n + instances > (size_t)limit(keeper_apps)) {
        err_set(e, "more than %lld processes (limit keeper_apps)", (long long)limit(keeper_apps));
        return 1;
    }
    struct app *a = NEW(struct app);
    a->k = k;
    a->server = server;
    a->name = str_dupz(name);
    a->instances = instances;
    buf_init(&a->spec, spec.n);
    buf_put(&a->spec, spec.p, spec.n);
    a->spec_hash = hash_bytes(spec.p, spec.n);
    a->namespace_ = keep(control_get(spec, CT_NAMESPACE));
    a->cwd = keep(control_get(spec, CT_CWD));
    a->script = keep(control_get(spec, CT_SCRIPT));
    a->interpreter = keep(control_get(spec, CT_INTERPRETER));
    a->instance_var = keep(control_get(spec, CT_INSTANCE_VAR));
    struct str out = control_get(spec, CT_OUT_FILE), err = control_get(spec, CT_ERR_FILE);
    a->out_path = out.n ? str_dupz(out) : xasprintf(server ? "%s/server.log" : "%s/%s-out.log", k->log_dir, a->name);
    a->err_path = err.n ? str_dupz(err) : xasprintf(server ? "%s/server.log" : "%s/%s-error.log", k->log_dir, a->name);
    uint64_t uid = control_get_u64(spec, CT_SET_UID, 0), gid = control_get_u64(spec, CT_SET_GID, 0);
    a->set_ids = (uid || gid) && geteuid() == 0;
    a->uid = uid ? (uid_t)(uid - 1) : geteuid();
    a->gid = gid ? (gid_t)(gid - 1) : getegid();
    read_policy(a, spec);
    size_t n_argv;
    a->argv = strings_of(spec, CT_ARG, &n_argv);
    a->env = strings_of(spec, CT_ENV, &a->n_env);
    uint64_t budget = control_get_u64(spec, CT_LOG_BYTES, (uint64_t)limit(keeper_log_bytes));
    logset_open(&a->logs, a->out_path, a->err_path, MAX(budget, 65536));
    vec_push(&k->apps, a);
    for (uint32_t i = 0; i < instances && r == 0; i++) {
        uint32_t id = i < n_ids ? ids[i] : k->next_id;
        if (!server && id >= k->next_id)
            k->next_id = id + 1;
        r = proc_add(a, i, id, e);
    }
    if (r < 0) { /* out of descriptors: as if it had never been asked for */
        for (size_t i = k->procs.n; i-- > 0;)
            if (k->procs.v[i]->app == a) {
                bool last = a->n_procs == 1;
                proc_free(k->procs.v[i]);
                if (last)
                    break;
            }
        return r;
    }
    *ret = a;
    return 0;
}

static void strings_free(char **v)
{
    for (size_t i = 0; v && v[i]; i++)
        free(v[i]);
    free(v);
}

void app_free(struct app *a)
{
    struct keeper *k = a->k;
    for (size_t i = 0; i < k->apps.n; i++)
        if (k->apps.v[i] == a) {
            vec_del(&k->apps, i);
            break;
        }
    logset_close(&a->logs);
    strings_free(a->argv);
    strings_free(a->env);
    buf_done(&a->spec);
    free(a->name);
    free((char *)a->namespace_.p);
    free((char *)a->cwd.p);
    free((char *)a->script.p);
    free((char *)a->interpreter.p);
    free((char *)a->instance_var.p);
    free(a->out_path);
    free(a->err_path);
    free(a);
}

void proc_free(struct proc *p)
{
    struct app *a = p->app;
    struct keeper *k = a->k;
    for (size_t i = 0; i < k->procs.n; i++)
        if (k->procs.v[i] == p) {
            vec_del(&k->procs, i);
            break;
        }
    /* Forget its slot before its memory. */
    store_pid_clear(k, p->slot);
    loop_timer_close(p->timer);
    loop_io_close(p->pidfd_io);
    if (p->pidfd >= 0)
        close(p->pidfd);
    stream_close(&p->out[0], true);
    stream_close(&p->out[1], true);
    free(p->envp);
    for (size_t i = 0; i < ARRAY_LEN(p->own); i++)
        free(p->own[i]);
    free(p);
    if (--a->n_procs == 0)
        app_free(a);
}

/* ---- telling ---- */

void proc_put(struct buf *b, const struct proc *p, bool spec, bool env)
{
    const struct app *a = p->app;
    const struct machine *m = &p->m;
    uint64_t now = op_now(NULL);
    control_put_u64(b, CT_ID, p->id);
    control_put_u64(b, CT_INSTANCE, p->instance);
    control_put_u64(b, CT_PID, (uint64_t)p->pid);
    control_put_u64(b, CT_STATE, m->state);
    control_put_u64(b, CT_RESTARTS, m->restarts);
    control_put_u64(b, CT_UNSTABLE, m->unstable);
    control_put_u64(b, CT_CREATED_MS, (uint64_t)p->created_ms);
    control_put_u64(b, CT_STARTED_MS, (uint64_t)p->started_ms);
    control_put_u64(b, CT_UPTIME_MS, m->main_alive ? now - m->started_ms : m->exit_uptime_ms);
    control_put_u64(b, CT_DELAY_MS, m->state == CS_WAITING ? m->delay_ms : 0);
    control_put_u64(b, CT_LOG_LOST, a->logs.lost_bytes);
    if (m->has_exit && m->exit.known) {
        control_put_u64(b, CT_EXITED, 1);
        control_put_u64(b, CT_CODE, (uint64_t)m->exit.code);
        control_put_u64(b, CT_SIGNAL, (uint64_t)m->exit.signal);
    }
    if (p->failure[0])
        control_put(b, CT_TEXT, str_of(p->failure));
    else if (!m->main_alive && p->n_tail)
        control_put(b, CT_TEXT, str_make(p->tail, p->n_tail));
    control_put(b, CT_NAME, str_of(a->name));
    if (!spec)
        return;
    control_put_u64(b, CT_INSTANCES, a->instances);
    control_put(b, CT_NAMESPACE, a->namespace_.n ? a->namespace_ : STR("default"));
    control_put(b, CT_SCRIPT, a->script.n ? a->script : str_of(a->argv[0]));
    control_put(b, CT_INTERPRETER, a->interpreter.n ? a->interpreter : STR("none"));
    control_put(b, CT_CWD, a->cwd);
    control_put(b, CT_OUT_FILE, str_of(a->out_path));
    control_put(b, CT_ERR_FILE, str_of(a->err_path));
    control_put_u64(b, CT_AUTORESTART, a->policy.autorestart);
    control_put_u64(b, CT_MAX_RESTARTS, a->policy.max_restarts);
    control_put_u64(b, CT_MIN_UPTIME_MS, a->policy.min_uptime_ms);
    control_put_u64(b, CT_RESTART_DELAY_MS, a->policy.restart_delay_ms);
    control_put_u64(b, CT_BACKOFF_MS, a->policy.backoff_ms);
    control_put_u64(b, CT_KILL_TIMEOUT_MS, a->policy.kill_timeout_ms);
    control_put_u64(b, CT_KILL_SIGNAL, (uint64_t)a->policy.kill_signal);
    for (size_t i = 0; a->argv[i]; i++)
        control_put(b, CT_ARG, str_of(a->argv[i]));
    for (size_t i = 0; env && i < a->n_env; i++)
        control_put(b, CT_ENV, str_of(a->env[i]));
}

// SPDX-License-Identifier: Apache-2.0
#include "keeper/keeper_int.h"

#include "base/clock.h"
#include "base/format.h"
#include "sys/fs.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEPER_LOG_BYTES (1 << 20) /* then keeper.log becomes keeper.1.log */

/* ---- words ---- */

void keeper_tty(struct keeper *k, struct str bytes)
{
    if (!k->o->foreground || k->tty_fd < 0)
        return;
    /* Ctrl-S on the terminal, or a reader that sleeps, must not stop the keeper: what does not fit is only in the log.
     */
    for (size_t at = 0; at < bytes.n;) {
        struct pollfd p = {.fd = k->tty_fd, .events = POLLOUT};
        if (!k->tty_regular && (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)))
            return;
        ssize_t n = write(k->tty_fd, bytes.p + at, MIN(bytes.n - at, 4096));
        if (n <= 0)
            return;
        at += (size_t)n;
    }
}

static void log_open(struct keeper *k)
{
    _cleanup_free_ char *path = xasprintf("%s/keeper.log", k->log_dir);
    k->log_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    struct stat st;
    k->log_bytes = k->log_fd >= 0 && fstat(k->log_fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

void keeper_say(struct keeper *k, const char *fmt, ...)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    format_rfc3339_ms(&b, clock_now_ms(&clock_real));
    buf_z(&b, " keeper: ");
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(&b, fmt, ap);
    va_end(ap);
    buf_putc(&b, '\n');
    if (k->log_fd >= 0 && k->log_bytes > KEEPER_LOG_BYTES) {
        _cleanup_free_ char *from = xasprintf("%s/keeper.log", k->log_dir),
                            *to = xasprintf("%s/keeper.1.log", k->log_dir);
        if (rename(from, to) == 0) {
            close(k->log_fd);
            log_open(k);
        }
    }
    ssize_t n = k->log_fd >= 0 ? write(k->log_fd, b.p, b.n) : 0;
    if (n > 0)
        k->log_bytes += (uint64_t)n;
    keeper_tty(k, buf_view(&b));
}

/* A descriptor for stderr that never waits. */
static void tty_open(struct keeper *k)
{
    struct stat st;
    k->tty_fd = -1;
    if (!k->o->foreground || fstat(2, &st) != 0)
        return;
    k->tty_regular = S_ISREG(st.st_mode);
    /* An open file of our own, because O_NONBLOCK on the inherited one would change it for the shell too. */
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
        k->tty_fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (k->tty_fd < 0)
        k->tty_fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
}

/* ---- the end ---- */

static void on_end_timer(void *arg)
{
    keeper_end_step(arg);
}

void keeper_end_step(struct keeper *k)
{
    for (size_t i = 0; i < k->procs.n; i++)
        if (!k->procs.v[i]->app->server && proc_busy(k->procs.v[i]))
            return;
    if (k->server && proc_busy(k->server)) {
        if (k->server->m.state != CS_STOPPING)
            proc_feed(k->server, ME_STOP);
        return;
    }
    if (k->n_jobs == 0)
        loop_stop(k->loop);
}

void keeper_end(struct keeper *k)
{
    if (k->ending) { /* asked twice: no more grace */
        if (!k->ended_by_force)
            keeper_say(k, "stopping at once");
        k->ended_by_force = true;
        for (size_t i = 0; i < k->procs.n; i++) {
            k->procs.v[i]->m.stop_deadline_ms = 0;
            proc_signal_tree(k->procs.v[i], SIGKILL);
        }
        return;
    }
    keeper_say(k, "stopping");
    k->ending = true;
    jobs_drop(k, NULL);
    for (size_t i = 0; i < k->procs.n; i++)
        if (!k->procs.v[i]->app->server)
            proc_feed(k->procs.v[i], ME_STOP);
    /* Jobs and anything that slipped through are looked at again; normally every end takes the next step itself. */
    k->end_timer = loop_timer_new(k->loop, on_end_timer, k);
    loop_timer_set(k->end_timer, 0, 100);
}

/* ---- signals ---- */

static void on_child(void *arg, int signum)
{
    struct keeper *k = arg;
    (void)signum;
    /* As a subreaper we also inherit orphans of our applications: reaped, and otherwise none of our business. */
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            return;
        if (!job_reaped(k, pid, status))
            proc_reaped(k, pid, status);
    }
}

static void on_end_signal(void *arg, int signum)
{
    (void)signum;
    keeper_end(arg);
}

/* SIGHUP: our terminal is gone; or else the server reads its configuration again, or is tried again. */
static void on_hangup(void *arg, int signum)
{
    struct keeper *k = arg;
    (void)signum;
    struct pollfd p = {.fd = k->tty_fd};
    if (k->tty_fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR))) {
        keeper_end(k); /* the terminal we were typed into was closed */
        return;
    }
    if (!k->server || k->ending)
        return;
    if (k->server->m.main_alive && k->server->pid > 0)
        kill(k->server->pid, SIGHUP);
    else
        proc_feed(k->server, ME_START);
}

/* ---- start ---- */

static int make_folders(struct keeper *k, struct err *e)
{
    _cleanup_free_ char *fifo = xasprintf("%s/fifo", k->keeper_dir);
    const char *const dirs[] = {k->data_dir, k->keeper_dir, fifo, k->log_dir};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        int r = fs_mkdirs(dirs[i], 0700);
        if (r < 0) {
            err_set(e, "%s: %s", dirs[i], err_name(r));
            return r;
        }
    }
    return 0;
}

static void write_pid_file(struct keeper *k)
{
    _cleanup_free_ char *path = xasprintf("%s/keeper.pid", k->keeper_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char text[24];
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (fd < 0 || write(fd, text, (size_t)n) != n)
        keeper_say(k, "%s: %s", path, err_name(-errno));
    if (fd >= 0)
        close(fd);
}

static void say_hello(struct keeper *k)
{
    keeper_say(k, "hune %s, pid %d, data in %s%s", k->o->version, (int)getpid(), k->data_dir,
               k->server ? "" : ", without a server");
    if (k->server)
        return;
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    buf_fmt(&b,
            k->o->french ? "\nhune %s — gestion de processus seule — données dans %s — Ctrl-C pour arrêter\n\n"
                         : "\nhune %s — process manager only — data in %s — Ctrl-C stops\n\n",
            k->o->version, k->data_dir);
    keeper_tty(k, buf_view(&b));
}

static int run(struct keeper *k, struct err *e)
{
    struct loop_signal *sig[] = {
        loop_signal_new(k->loop, SIGCHLD, on_child, k),
        loop_signal_new(k->loop, SIGTERM, on_end_signal, k),
        loop_signal_new(k->loop, SIGINT, on_end_signal, k),
        loop_signal_new(k->loop, SIGHUP, on_hangup, k),
    };
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    spawn_raise_files();
    int r = store_open(k, e);
    if (r == 0)
        r = conns_open(k, e);
    if (r == 0)
        r = server_setup(k, e);
    if (r == 0) {
        say_hello(k);
        store_resume(k);
        write_pid_file(k);
        server_start(k);
        loop_run(k->loop);
        keeper_say(k, "stopped");
        store_forget(k);
        r = k->exit_code;
    }
    conns_close(k);
    while (k->procs.n > 0)
        proc_free(k->procs.v[k->procs.n - 1]);
    store_close(k);
    for (size_t i = 0; i < ARRAY_LEN(sig); i++)
        loop_signal_close(sig[i]);
    return r;
}

int keeper_run(const struct keeper_options *o, struct err *e)
{
    ASSERT(o->data_dir && o->data_dir[0] == '/' && o->version);
    struct keeper *k = NEW(struct keeper);
    k->o = o;
    k->data_dir = xstrdup(o->data_dir);
    k->keeper_dir = xasprintf("%s/keeper", o->data_dir);
    k->log_dir = xasprintf("%s/logs", o->data_dir);
    k->began_ms = clock_now_ms(&clock_real);
    k->lock_fd = k->pids_fd = k->log_fd = k->tty_fd = k->listen_fd = -1;
    int r = make_folders(k, e);
    if (r == 0) {
        r = fs_lock_dir(k->keeper_dir, &k->lock_fd, e);
        if (r == -EWOULDBLOCK)
            r = 1;
    }
    if (r == 0) {
        log_open(k);
        tty_open(k);
        k->loop = loop_new();
        r = run(k, e);
        loop_timer_close(k->end_timer);
        loop_timer_close(k->part_timer);
        k->loop = loop_free(k->loop);
    }
    const int fds[] = {k->lock_fd, k->log_fd, k->tty_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    vec_done(&k->apps);
    vec_done(&k->procs);
    buf_done(&k->server_address);
    buf_done(&k->server_text);
    buf_done(&k->death.text);
    free(k->data_dir);
    free(k->keeper_dir);
    free(k->log_dir);
    free(k);
    return r;
}

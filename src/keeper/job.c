// SPDX-License-Identifier: Apache-2.0
#include "keeper/keeper_int.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * Short-lived children for a client (the server must not fork: it has threads). Output goes back as it comes; when the
 * client does not read, the pipe is left alone until it does, so the job waits instead of the keeper's memory growing.
 * A job ends with its client.
 */

#define JOB_TIMEOUT_MS 30000
#define JOB_TIMEOUT_MAX_MS 86400000
#define JOB_READ_BYTES (32 << 10)
#define JOB_CLIENT_BYTES (512 << 10) /* waiting for the client: the pipes rest */

struct job_pipe {
    struct job *job;
    int fd, stream;
    struct loop_io *io;
};

struct job {
    struct job *next;
    struct keeper *k;
    struct conn *conn; /* NULL: it went away */
    uint32_t request;
    pid_t pid; /* 0: reaped */
    struct job_pipe out[2];
    int in_fd;
    struct loop_io *in_io;
    struct buf input;
    size_t input_sent;
    struct loop_timer *timer;
    char *marker;
    bool timed_out;
};

static void pipe_close(struct job_pipe *p)
{
    p->io = loop_io_close(p->io);
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

static void input_close(struct job *j)
{
    j->in_io = loop_io_close(j->in_io);
    if (j->in_fd >= 0)
        close(j->in_fd);
    j->in_fd = -1;
}

static void job_free(struct job *j)
{
    struct keeper *k = j->k;
    for (struct job **p = &k->jobs; *p; p = &(*p)->next)
        if (*p == j) {
            *p = j->next;
            break;
        }
    k->n_jobs--;
    pipe_close(&j->out[0]);
    pipe_close(&j->out[1]);
    input_close(j);
    loop_timer_close(j->timer);
    buf_done(&j->input);
    free(j->marker);
    free(j);
}

static void kill_tree(struct job *j)
{
    struct proc_tree t = {.root = j->pid, .marker = j->marker};
    proc_tree_signal(&t, SIGKILL);
}

/* One read; true when there may be more and the client keeps up (at the end, what is left is sent anyway). */
static bool pipe_read(struct job_pipe *p, bool at_end)
{
    static char chunk[JOB_READ_BYTES];
    struct job *j = p->job;
    if (p->fd < 0)
        return false;
    if (!at_end && j->conn && conn_waiting(j->conn) > JOB_CLIENT_BYTES) {
        if (p->io)
            loop_io_set(p->io, 0);
        return false;
    }
    ssize_t n = read(p->fd, chunk, sizeof(chunk));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        pipe_close(p);
    if (n <= 0)
        return false;
    if (j->conn) {
        struct buf *b = conn_out(j->conn);
        size_t at = control_begin(b, CONTROL_JOB_OUT, j->request);
        control_put_u64(b, CT_STREAM, (uint64_t)p->stream);
        control_put(b, CT_BYTES, str_make(chunk, (size_t)n));
        control_end(b, at);
        conn_flush(j->conn);
    }
    return true;
}

static void on_output(void *arg, int events)
{
    (void)events;
    pipe_read(arg, false);
}

static void on_input(void *arg, int events)
{
    struct job *j = arg;
    (void)events;
    ssize_t n = write(j->in_fd, j->input.p + j->input_sent, j->input.n - j->input_sent);
    if (n > 0)
        j->input_sent += (size_t)n;
    if (j->input_sent == j->input.n || (n < 0 && errno != EAGAIN && errno != EINTR))
        input_close(j);
}

static void on_timeout(void *arg)
{
    struct job *j = arg;
    j->timed_out = true;
    kill_tree(j);
}

static void refuse(struct conn *c, uint32_t request, const char *text)
{
    struct buf *b = conn_out(c);
    size_t at = control_begin(b, CONTROL_FAIL, request);
    control_put(b, CT_TEXT, str_of(text));
    control_end(b, at);
}

static char **words(struct str body, enum control_tag wanted, const char *extra, size_t *ret_n)
{
    VEC(char *) out = {0};
    uint16_t tag;
    struct str v;
    while (control_field(&body, &tag, &v))
        if (tag == wanted)
            vec_push(&out, str_dupz(v));
    *ret_n = out.n;
    if (extra)
        vec_push(&out, xstrdup(extra));
    vec_push(&out, NULL);
    return out.v;
}

static void words_free(char **v)
{
    for (size_t i = 0; v && v[i]; i++)
        free(v[i]);
    free(v);
}

extern char **environ;

/* The keeper's own environment, when the request brings none. */
static char **own_env(const char *extra)
{
    VEC(char *) out = {0};
    for (size_t i = 0; environ[i]; i++)
        vec_push(&out, xstrdup(environ[i]));
    vec_push(&out, xstrdup(extra));
    vec_push(&out, NULL);
    return out.v;
}

static bool make_pipe(int ret[2], int ours)
{
    if (pipe2(ret, O_CLOEXEC) != 0) {
        ret[0] = ret[1] = -1;
        return false;
    }
    fcntl(ret[ours], F_SETFL, O_NONBLOCK);
    return true;
}

static void close_pair(int p[2])
{
    for (int i = 0; i < 2; i++)
        if (p[i] >= 0)
            close(p[i]);
}

void job_start(struct keeper *k, struct conn *c, uint32_t request, struct str body)
{
    static uint64_t unique;
    if (k->n_jobs >= KEEPER_JOBS || k->ending) {
        refuse(c, request, k->ending ? "hune is stopping" : "too many jobs at once");
        return;
    }
    char *marker = xasprintf("HUNE_JOB=%016llx-%llu", (unsigned long long)k->keeper_id, (unsigned long long)++unique);
    size_t n_argv, n_env;
    char **argv = words(body, CT_ARG, NULL, &n_argv);
    char **envp = words(body, CT_ENV, marker, &n_env);
    if (n_env == 0) {
        words_free(envp);
        envp = own_env(marker);
    }
    struct str cwd = control_get(body, CT_CWD), input = control_get(body, CT_INPUT);
    _cleanup_free_ char *folder = cwd.n ? str_dupz(cwd) : xstrdup(k->data_dir);
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
    pid_t pid = 0;
    struct err e = {0};
    int r = -EINVAL;
    if (n_argv == 0)
        err_set(&e, "no command");
    else if (!make_pipe(out, 0) || !make_pipe(err, 0) || (input.n && !make_pipe(in, 1)))
        err_set(&e, "pipe: %s", err_name(-errno));
    else
        r = spawn_start(&(struct spawn_spec){.file = argv[0],
                                             .argv = argv,
                                             .envp = envp,
                                             .cwd = folder,
                                             .in_fd = in[0],
                                             .out_fd = out[1],
                                             .err_fd = err[1]},
                        &pid, &e);
    words_free(argv);
    words_free(envp);
    if (r < 0) {
        close_pair(in);
        close_pair(out);
        close_pair(err);
        free(marker);
        refuse(c, request, e.msg);
        return;
    }
    close(out[1]);
    close(err[1]);
    if (in[0] >= 0)
        close(in[0]);
    struct job *j = NEW(struct job);
    *j = (struct job){.k = k, .conn = c, .request = request, .pid = pid, .in_fd = in[1], .marker = marker};
    j->out[0] = (struct job_pipe){.job = j, .fd = out[0], .stream = 1};
    j->out[1] = (struct job_pipe){.job = j, .fd = err[0], .stream = 2};
    for (int i = 0; i < 2; i++) {
        j->out[i].io = loop_io_new(k->loop, j->out[i].fd, on_output, &j->out[i]);
        loop_io_set(j->out[i].io, LOOP_READ);
    }
    if (j->in_fd >= 0) {
        buf_init(&j->input, input.n);
        buf_put(&j->input, input.p, input.n);
        j->in_io = loop_io_new(k->loop, j->in_fd, on_input, j);
        loop_io_set(j->in_io, LOOP_WRITE);
    }
    uint64_t timeout = control_get_u64(body, CT_TIMEOUT_MS, 0);
    j->timer = loop_timer_new(k->loop, on_timeout, j);
    loop_timer_set(j->timer, timeout ? MIN(timeout, JOB_TIMEOUT_MAX_MS) : JOB_TIMEOUT_MS, 0);
    j->next = k->jobs;
    k->jobs = j;
    k->n_jobs++;
}

void job_kill(struct keeper *k, const struct conn *c, uint32_t request)
{
    for (struct job *j = k->jobs; j; j = j->next)
        if (j->conn == c && j->request == request)
            kill_tree(j);
}

bool job_reaped(struct keeper *k, pid_t pid, int status)
{
    struct job *j = k->jobs;
    while (j && j->pid != pid)
        j = j->next;
    if (!j)
        return false;
    /* What stands in the pipes now is all it wrote (64 KiB each at most); children it left behind end with it. */
    for (int i = 0; i < 2; i++)
        for (int turn = 0; turn < 8 && pipe_read(&j->out[i], true); turn++)
            ;
    kill_tree(j);
    if (j->conn) {
        struct buf *b = conn_out(j->conn);
        size_t at = control_begin(b, CONTROL_OK, j->request);
        control_put_u64(b, CT_CODE, WIFEXITED(status) ? (uint64_t)WEXITSTATUS(status) : 0);
        control_put_u64(b, CT_SIGNAL, WIFSIGNALED(status) ? (uint64_t)WTERMSIG(status) : 0);
        if (j->timed_out)
            control_put_u64(b, CT_COUNT, 1);
        control_end(b, at);
        conn_flush(j->conn);
    }
    job_free(j);
    if (k->ending)
        keeper_end_step(k);
    return true;
}

void jobs_drop(struct keeper *k, const struct conn *c)
{
    for (struct job *j = k->jobs; j; j = j->next)
        if (!c || j->conn == c) {
            j->conn = NULL; /* its output is read and thrown away until it is reaped */
            kill_tree(j);
        }
}

void jobs_resume(struct keeper *k, const struct conn *c)
{
    if (conn_waiting(c) > JOB_CLIENT_BYTES / 2)
        return;
    for (struct job *j = k->jobs; j; j = j->next)
        for (int i = 0; i < 2; i++)
            if (j->conn == c && j->out[i].io)
                loop_io_set(j->out[i].io, LOOP_READ);
}

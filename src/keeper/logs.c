// SPDX-License-Identifier: Apache-2.0
#include "keeper/keeper_int.h"

#include "base/limits.h"
#include "base/parse.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * What a child writes goes: named pipe -> shared read buffer -> log file (append) and, in whole lines, to clients that
 * follow. Nothing here allocates per line, and one turn of the loop reads at most READS_PER_TURN buffers of one stream,
 * so that a flood of one application leaves the others and the control socket their turns.
 *
 * Rotation: NAME-out.log grows to a tenth of the budget, is renamed to NAME-out.N.log (N counts up, both streams
 * together, so that N orders by time) and begins anew at a line start. The oldest N goes when the sum would pass the
 * budget. The keeper is the only writer, so no byte falls between rename and reopening.
 */

#define READ_BYTES (64 << 10)
#define READS_PER_TURN 4
#define PART_WAIT_MS 250 /* an unfinished line (a prompt, say) is passed on after this */

/* ---- files ---- */

void logset_check(const struct logset *s)
{
    ASSERT(s->n_seg <= LOG_SEGMENTS && s->segment_bytes > 0);
    for (size_t i = 0; i + 1 < s->n_seg; i++)
        ASSERT(s->seg[i].seq < s->seg[i + 1].seq);
    ASSERT(s->n_seg == 0 || s->seg[s->n_seg - 1].seq < s->next_seq);
}

static void file_open(struct logfile *f)
{
    f->fd = open(f->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    struct stat st;
    f->bytes = 0;
    f->plain = false;
    f->at_line_start = true;
    if (f->fd >= 0 && fstat(f->fd, &st) == 0) {
        f->plain = S_ISREG(st.st_mode);
        f->bytes = f->plain ? (uint64_t)st.st_size : 0;
    }
}

/* "dir/api-out.log" + 7 -> "dir/api-out.7.log" */
static char *segment_path(const struct logfile *f, uint64_t seq)
{
    struct str p = str_of(f->path), tail = STR(".log");
    if (!str_ends(p, tail))
        tail = STR("");
    return xasprintf(STR_FMT ".%llu" STR_FMT, STR_ARG(str_sub(p, 0, p.n - tail.n)), (unsigned long long)seq,
                     STR_ARG(tail));
}

static void segment_insert(struct logset *s, int which, uint64_t seq, uint64_t bytes)
{
    if (s->n_seg == LOG_SEGMENTS)
        return; /* found at start: more than we keep account of; they stay as the user's files */
    size_t at = s->n_seg;
    while (at > 0 && s->seg[at - 1].seq > seq)
        at--;
    memmove(&s->seg[at + 1], &s->seg[at], (s->n_seg - at) * sizeof(s->seg[0]));
    s->seg[at].seq = seq;
    s->seg[at].bytes = bytes;
    s->seg[at].which = which;
    s->n_seg++;
    if (seq >= s->next_seq)
        s->next_seq = seq + 1;
}

/* Segments that an earlier keeper left. */
static void segments_find(struct logset *s, int which)
{
    struct str path = str_of(s->file[which].path), tail = str_ends(path, STR(".log")) ? STR(".log") : STR("");
    ptrdiff_t slash = str_rchr(path, '/');
    struct str base = str_sub(path, (size_t)(slash + 1), path.n - tail.n);
    _cleanup_free_ char *dir_path = str_dupz(str_sub(path, 0, (size_t)MAX(slash, 0)));
    DIR *dir = opendir(dir_path[0] ? dir_path : "/");
    if (!dir)
        return;
    for (struct dirent *d; (d = readdir(dir));) {
        struct str name = str_of(d->d_name);
        uint64_t seq;
        struct stat st;
        if (str_starts(name, base) && str_ends(name, tail) && name.n > base.n + 1 + tail.n && name.p[base.n] == '.' &&
            parse_u64(str_sub(name, base.n + 1, name.n - tail.n), &seq) && seq < UINT64_MAX &&
            fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            segment_insert(s, which, seq, (uint64_t)st.st_size);
    }
    closedir(dir);
}

void logset_open(struct logset *s, const char *out_path, const char *err_path, uint64_t budget)
{
    *s = (struct logset){.budget = budget, .segment_bytes = MAX(budget / 10, 4096), .next_seq = 1};
    s->file[0] = (struct logfile){.path = xstrdup(out_path), .fd = -1};
    s->file[1] = (struct logfile){.path = strcmp(out_path, err_path) == 0 ? NULL : xstrdup(err_path), .fd = -1};
    for (int i = 0; i < 2; i++)
        if (s->file[i].path) {
            file_open(&s->file[i]);
            if (s->file[i].plain)
                segments_find(s, i);
        }
    logset_check(s);
}

void logset_close(struct logset *s)
{
    for (int i = 0; i < 2; i++) {
        if (s->file[i].path && s->file[i].fd >= 0)
            close(s->file[i].fd);
        free(s->file[i].path);
        s->file[i] = (struct logfile){.fd = -1};
    }
}

static uint64_t kept_bytes(const struct logset *s)
{
    uint64_t n = s->file[0].bytes + (s->file[1].path ? s->file[1].bytes : 0);
    for (size_t i = 0; i < s->n_seg; i++)
        n += s->seg[i].bytes;
    return n;
}

static void drop_oldest(struct logset *s)
{
    _cleanup_free_ char *path = segment_path(&s->file[s->seg[0].which], s->seg[0].seq);
    unlink(path);
    memmove(&s->seg[0], &s->seg[1], (s->n_seg - 1) * sizeof(s->seg[0]));
    s->n_seg--;
}

static void rotate(struct logset *s, int which)
{
    struct logfile *f = &s->file[which];
    _cleanup_free_ char *to = segment_path(f, s->next_seq);
    if (s->n_seg == LOG_SEGMENTS)
        drop_oldest(s);
    if (rename(f->path, to) != 0)
        return; /* moved away by somebody: go on in the open file */
    segment_insert(s, which, s->next_seq, f->bytes);
    close(f->fd);
    file_open(f);
    logset_check(s);
}

static void file_put(struct logset *s, struct logfile *f, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = f->fd < 0 ? -1 : write(f->fd, p, n);
        if (w < 0 && f->fd >= 0 && errno == EINTR)
            continue;
        if (w <= 0) { /* disk full, or no file: the application must not stand still for it */
            s->lost_bytes += n;
            return;
        }
        f->bytes += (uint64_t)w;
        f->at_line_start = p[w - 1] == '\n';
        p += w;
        n -= (size_t)w;
    }
}

void logset_write(struct logset *s, int which, const char *p, size_t n)
{
    if (!s->file[which].path)
        which = 0;
    struct logfile *f = &s->file[which];
    if (f->fd < 0)
        file_open(f);
    /* A new file begins with a new line; a line that never ends is cut at twice the size. */
    if (f->plain && f->bytes > 0 && f->bytes + n > s->segment_bytes &&
        (f->at_line_start || f->bytes > 2 * s->segment_bytes))
        rotate(s, which);
    while (f->plain && s->n_seg > 0 && kept_bytes(s) + n > s->budget)
        drop_oldest(s);
    file_put(s, f, p, n);
}

void logset_flush(struct logset *s)
{
    while (s->n_seg > 0)
        drop_oldest(s);
    for (int i = 0; i < 2; i++)
        if (s->file[i].path && s->file[i].fd >= 0 && s->file[i].plain && ftruncate(s->file[i].fd, 0) == 0) {
            s->file[i].bytes = 0;
            s->file[i].at_line_start = true;
        }
}

/* ---- streams ---- */

/* Room for an unfinished line before what is read; one for all streams, as there is one thread. */
static char shared[KEEPER_LINE_BYTES + READ_BYTES];

/* Hand on [p, p + n): to the files, to clients, to the memory of last words. */
static void pass_on(struct stream *s, const char *p, size_t n)
{
    struct proc *pr = s->proc;
    if (n == 0)
        return;
    logset_write(&pr->app->logs, s->which, p, n);
    if (s->which == 1) {
        size_t keep = MIN(n, sizeof(pr->tail));
        size_t old = MIN(pr->n_tail, sizeof(pr->tail) - keep);
        memmove(pr->tail, pr->tail + pr->n_tail - old, old);
        memcpy(pr->tail + old, p + n - keep, keep);
        pr->n_tail = old + keep;
    }
    conns_log(pr->app->k, pr, s->which, str_make(p, n));
    if (pr->app->server)
        server_output(pr->app->k, str_make(p, n));
}

static void pass_part(struct stream *s)
{
    size_t n = s->n_part;
    s->n_part = 0;
    pass_on(s, s->part, n);
}

/* One read: true when there may be more. */
static bool read_some(struct stream *s)
{
    memcpy(shared, s->part, s->n_part);
    char *fresh = shared + s->n_part;
    ssize_t n = read(s->fd, fresh, READ_BYTES);
    if (n <= 0)
        return false;
    char *end = fresh + n, *nl = memrchr(fresh, '\n', (size_t)n);
    char *whole = nl ? nl + 1 : shared;
    if ((size_t)(end - whole) >= sizeof(s->part)) /* too long to wait for its end */
        whole = end;
    s->n_part = (size_t)(end - whole);
    memcpy(s->part, whole, s->n_part);
    pass_on(s, shared, (size_t)(whole - shared));
    return true;
}

static void on_parts(void *arg)
{
    struct keeper *k = arg;
    k->part_armed = false;
    for (size_t i = 0; i < k->procs.n; i++)
        for (int w = 0; w < 2; w++)
            if (k->procs.v[i]->out[w].n_part)
                pass_part(&k->procs.v[i]->out[w]);
}

static void on_readable(void *arg, int events)
{
    struct stream *s = arg;
    struct keeper *k = s->proc->app->k;
    (void)events;
    for (int i = 0; i < READS_PER_TURN && read_some(s); i++)
        ;
    if (s->n_part && !k->part_armed) {
        if (!k->part_timer)
            k->part_timer = loop_timer_new(k->loop, on_parts, k);
        loop_timer_set(k->part_timer, PART_WAIT_MS, 0);
        k->part_armed = true;
    }
}

int stream_open(struct stream *s, struct proc *p, int which, struct err *e)
{
    struct keeper *k = p->app->k;
    *s = (struct stream){.proc = p, .which = which, .fd = -1, .child_fd = -1};
    s->fifo = xasprintf("%s/fifo/%u-%s", k->keeper_dir, p->id, which ? "err" : "out");
    struct stat st;
    if (mkfifo(s->fifo, 0600) == 0 || (errno == EEXIST && lstat(s->fifo, &st) == 0 && S_ISFIFO(st.st_mode))) {
        /* For a child that opens /dev/stdout again under its own user; its inherited descriptor works anyway. */
        if (p->app->set_ids && chown(s->fifo, p->app->uid, p->app->gid) != 0)
            keeper_say(k, "%s: cannot hand over its log pipe: %s", p->app->name, err_name(-errno));
        s->fd = open(s->fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    }
    if (s->fd < 0) { /* a file system without named pipes: then output ends with the keeper */
        free(s->fifo);
        s->fifo = NULL;
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) != 0) {
            int r = -errno;
            err_set(e, "pipe for the log of %s: %s", p->app->name, err_name(r));
            return r;
        }
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        s->fd = fds[0];
        s->child_fd = fds[1];
    }
    fcntl(s->fd, F_SETPIPE_SZ, 256 << 10); /* fewer turns in a flood; refused beyond the user's share, which is fine */
    s->io = loop_io_new(k->loop, s->fd, on_readable, s);
    loop_io_set(s->io, LOOP_READ);
    return 0;
}

int stream_child_fd(struct stream *s)
{
    /* Read and write: while the child lives somebody holds the reading end, so a keeper that is killed costs it no
     * SIGPIPE; what it writes waits in the pipe for the next keeper. */
    return s->fifo ? open(s->fifo, O_RDWR | O_CLOEXEC) : s->child_fd;
}

void stream_child_close(struct stream *s, int fd)
{
    if (s->fifo && fd >= 0)
        close(fd);
}

void stream_drain(struct stream *s)
{
    /* Bounded: a survivor of the tree may go on writing for ever. */
    for (int i = 0; i < 16 && s->fd >= 0 && read_some(s); i++)
        ;
    if (s->n_part)
        pass_part(s);
}

void stream_close(struct stream *s, bool remove)
{
    s->io = loop_io_close(s->io);
    if (s->fd >= 0)
        close(s->fd);
    if (s->child_fd >= 0)
        close(s->child_fd);
    s->fd = s->child_fd = -1;
    if (s->fifo && remove)
        unlink(s->fifo);
    free(s->fifo);
    s->fifo = NULL;
}

// SPDX-License-Identifier: Apache-2.0
/* One thread keeps target files current: inotify on their folders, and a refresh interval for file systems that tell
 * nothing. A file that cannot be read keeps its last good groups. */
#include "discover/discover.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "sys/fs.h"
#include "sys/thread.h"
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { SETTLE_MS = 50, IDLE_MS = 60000 }; /* editors write in several steps: wait a moment after the first */

struct known_file {
    char *path;
    uint64_t hash;
    size_t groups; /* handed out under path:0 .. path:groups-1 */
    bool seen;
};

struct watch_set { /* one file_sd entry of one pool */
    struct str pool;
    struct target_sink *sink;
    const struct promfile_sd *sd;
    VEC(struct known_file) files;
    uint64_t due_ns;
};

struct discover {
    pthread_t thread;
    struct mailbox *mail;
    int inotify;
    struct promfile *file;
    VEC(struct watch_set) sets;
    VEC(int) watches;
    _Atomic int64_t read_errors, updates, files;
    _Atomic bool stop;
};

struct apply {
    struct promfile *f;
    const struct discover_pool *pools;
    size_t n;
    sem_t done;
};

static void set_done(struct watch_set *w)
{
    for (size_t i = 0; i < w->files.n; i++)
        free(w->files.v[i].path);
    vec_done(&w->files);
}

/* Empty groups take away what path:from .. path:to-1 brought. */
static void withdraw(struct discover *d, const struct watch_set *w, const char *path, size_t from, size_t to)
{
    _cleanup_arena_ struct arena *a = arena_new(0);
    if (to <= from)
        return;
    struct target_group *v = ARENA_ARRAY(a, struct target_group, to - from);
    for (size_t i = from; i < to; i++)
        v[i - from] = (struct target_group){.source = arena_fmt(a, "%s:%zu", path, i)};
    w->sink->update(w->sink, d->file->generation, w->pool, v, to - from);
}

static void read_one(struct discover *d, struct watch_set *w, const char *path)
{
    struct known_file *k = NULL;
    for (size_t i = 0; i < w->files.n && !k; i++)
        if (strcmp(w->files.v[i].path, path) == 0)
            k = &w->files.v[i];
    struct buf text = BUF_INIT((size_t)limit(config_file_bytes));
    int r = fs_read_file(path, &text);
    uint64_t h = r == 0 ? hash_bytes(text.p, text.n) | 1 : 0;
    buf_done(&text);
    if (!k) {
        vec_push(&w->files, (struct known_file){.path = xstrdup(path)});
        k = &w->files.v[w->files.n - 1];
    }
    k->seen = true;
    if (r == 0 && h == k->hash)
        return;
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct target_group *groups;
    size_t n;
    struct err e = {0};
    if ((r = discover_read_file(path, a, &groups, &n, &e)) < 0) {
        atomic_fetch_add(&d->read_errors, 1);
        log_error("target file is not usable, its last good content stays", KV_STR("job", w->pool),
                  KV_Z("reason", e.msg));
        k->hash = h; /* said once per content */
        return;
    }
    if (n)
        w->sink->update(w->sink, d->file->generation, w->pool, groups, n);
    withdraw(d, w, path, n, k->groups);
    k->groups = n;
    k->hash = h;
    atomic_fetch_add(&d->updates, 1);
}

static void refresh(struct discover *d, struct watch_set *w)
{
    for (size_t i = 0; i < w->files.n; i++)
        w->files.v[i].seen = false;
    for (size_t i = 0; i < w->sd->files.n; i++) {
        struct fs_names names = {0};
        _cleanup_free_ char *pattern = str_dupz(w->sd->files.v[i]);
        if (fs_glob(pattern, &names) == 0)
            for (size_t k = 0; k < names.n; k++)
                read_one(d, w, names.v[k]);
        fs_names_free(&names);
    }
    int64_t n = 0;
    for (size_t i = 0; i < w->files.n;) {
        struct known_file *k = &w->files.v[i];
        if (k->seen) {
            i++;
            continue;
        }
        withdraw(d, w, k->path, 0, k->groups);
        free(k->path);
        vec_swap_del(&w->files, i);
    }
    for (size_t i = 0; i < d->sets.n; i++)
        n += (int64_t)d->sets.v[i].files.n;
    atomic_store(&d->files, n);
    w->due_ns = clock_mono_ns(&clock_real) + (uint64_t)MAX(w->sd->refresh_ms, 1000) * 1000000;
}

static void watch_folders(struct discover *d, const struct watch_set *w)
{
    for (size_t i = 0; i < w->sd->files.n; i++) {
        struct str pattern = w->sd->files.v[i];
        ptrdiff_t slash = str_rchr(pattern, '/');
        _cleanup_free_ char *dir = str_dupz(slash > 0    ? str_sub(pattern, 0, (size_t)slash)
                                            : slash == 0 ? STR("/")
                                                         : STR("."));
        int wd =
            inotify_add_watch(d->inotify, dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE);
        if (wd >= 0) /* a folder that is not there yet is found by the refresh */
            vec_push(&d->watches, wd);
    }
}

static void do_apply(struct discover *d, struct apply *ap)
{
    for (size_t i = 0; i < d->sets.n; i++)
        set_done(&d->sets.v[i]);
    vec_reset(&d->sets);
    for (size_t i = 0; i < d->watches.n; i++)
        (void)inotify_rm_watch(
            d->inotify, d->watches.v[i]); /* two patterns of one folder share a watch: the second removal fails */
    vec_reset(&d->watches);
    struct promfile *old = d->file;
    d->file = promfile_ref(ap->f);
    promfile_unref(old);
    for (size_t i = 0; i < ap->n; i++) {
        const struct discover_pool *p = &ap->pools[i];
        for (size_t k = 0; k < p->sds->n; k++) {
            const struct promfile_sd *sd = &p->sds->v[k];
            if (strcmp(sd->kind, "static") == 0) {
                char source[32];
                (void)snprintf(source, sizeof(source), "static/%zu", k);
                struct target_group g = {
                    .source = str_of(source), .labels = sd->labels, .targets = sd->targets, .n = sd->n_targets};
                p->sink->update(p->sink, ap->f->generation, p->name, &g, 1);
            } else if (strcmp(sd->kind, "file") == 0) {
                /* The name lives in the generation, not with the caller. */
                vec_push(&d->sets, (struct watch_set){.pool = p->name, .sink = p->sink, .sd = sd});
            }
        }
    }
    for (size_t i = 0; i < d->sets.n; i++) {
        watch_folders(d, &d->sets.v[i]);
        refresh(d, &d->sets.v[i]);
    }
}

static void *run(void *arg)
{
    struct discover *d = arg;
    while (!atomic_load(&d->stop)) {
        uint64_t now = clock_mono_ns(&clock_real), due = now + (uint64_t)IDLE_MS * 1000000;
        for (size_t i = 0; i < d->sets.n; i++) {
            if (d->sets.v[i].due_ns <= now)
                refresh(d, &d->sets.v[i]);
            due = MIN(due, d->sets.v[i].due_ns);
        }
        struct pollfd fds[] = {{.fd = mailbox_fd(d->mail), .events = POLLIN}, {.fd = d->inotify, .events = POLLIN}};
        int n = poll(fds, ARRAY_LEN(fds), due > now ? (int)((due - now) / 1000000 + 1) : 0);
        if (n < 0 && errno != EINTR)
            FATAL("poll: %s", err_name(-errno));
        for (struct apply *ap; (ap = mailbox_take(d->mail));) {
            do_apply(d, ap);
            (void)sem_post(&ap->done); /* one post, one waiter */
        }
        if (n > 0 && (fds[1].revents & POLLIN)) {
            char events[4096];
            (void)poll(NULL, 0, SETTLE_MS);
            while (read(d->inotify, events, sizeof(events)) > 0)
                ;
            for (size_t i = 0; i < d->sets.n; i++)
                refresh(d, &d->sets.v[i]); /* unchanged files cost one read */
        }
    }
    return NULL;
}

struct discover *discover_new(void)
{
    struct discover *d = NEW(struct discover);
    d->mail = mailbox_new(16);
    d->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK); /* -1: poll ignores it, the refresh remains */
    int r = thread_start(&d->thread, "discover", run, d);
    if (r < 0)
        FATAL("cannot start a thread: %s", err_name(r));
    return d;
}

struct discover *discover_free(struct discover *d)
{
    if (!d)
        return NULL;
    atomic_store(&d->stop, true);
    mailbox_close(d->mail);
    (void)pthread_join(d->thread, NULL); /* started in discover_new, joined once */
    for (size_t i = 0; i < d->sets.n; i++)
        set_done(&d->sets.v[i]);
    vec_done(&d->sets);
    vec_done(&d->watches);
    if (d->inotify >= 0)
        (void)close(d->inotify); /* nothing was written to it */
    promfile_unref(d->file);
    mailbox_free(d->mail);
    free(d);
    return NULL;
}

void discover_apply(struct discover *d, struct promfile *f, const struct discover_pool *pools, size_t n)
{
    struct apply ap = {.f = f, .pools = pools, .n = n};
    (void)sem_init(&ap.done, 0, 0); /* fails only for values above SEM_VALUE_MAX */
    if (mailbox_post(d->mail, &ap) == 0)
        while (sem_wait(&ap.done) < 0 && errno == EINTR)
            ;
    (void)sem_destroy(&ap.done);
}

void discover_collect(void *ctx, struct metrics_out *out)
{
    struct discover *d = ctx;
    out->family(out, STR("prometheus_sd_file_read_errors_total"), STR("Target files that could not be read."),
                METRIC_COUNTER);
    out->sample(out, STR(""), NULL, 0, (double)atomic_load(&d->read_errors));
    out->family(out, STR("prometheus_sd_file_watcher_errors_total"),
                STR("Failures to watch for changes of target files."), METRIC_COUNTER);
    out->sample(out, STR(""), NULL, 0, d->inotify < 0);
    out->family(out, STR("prometheus_sd_updates_total"), STR("Changed target files handed on."), METRIC_COUNTER);
    out->sample(out, STR(""), NULL, 0, (double)atomic_load(&d->updates));
    out->family(out, STR("hune_sd_files"), STR("Target files in use."), METRIC_GAUGE);
    out->sample(out, STR(""), NULL, 0, (double)atomic_load(&d->files));
}

// SPDX-License-Identifier: Apache-2.0
/* The thread, the messages to it, and the public functions. */
#include "scrape/scrape.h"

#include "base/hash.h"
#include "base/log.h"
#include "scrape/scrape_int.h"
#include <semaphore.h>

enum {
    IDLE_MS = 1000,
    MAIL_MAX = 65536,
    CONNECTIONS = 4096,
    TURNS_PER_STEP = 64, /* then messages and answers have their turn */
};

/* --- HTTP by net --- */

static struct scrape *of_fetch(struct scrape_fetch *f)
{
    return CONTAINER_OF(f, struct scrape, http);
}

static int http_start(struct scrape_fetch *f, const struct http_request *r, http_done_fn fn, void *ctx, void **ret_call,
                      struct err *e)
{
    struct scrape *s = of_fetch(f);
    if (!s->multi) {
        s->multi = http_multi_new(CONNECTIONS);
        atomic_store(&s->multi_shared, s->multi);
    }
    struct http_call *call = NULL;
    int n = http_multi_start(s->multi, r, fn, ctx, &call, e);
    *ret_call = call;
    return n;
}

static void http_cancel(struct scrape_fetch *f, void *call)
{
    (void)f;
    http_call_cancel(call);
}

static void http_poll(struct scrape_fetch *f, int timeout_ms)
{
    struct scrape *s = of_fetch(f);
    if (s->multi)
        (void)http_multi_poll(s->multi, timeout_ms); /* how many still run does not matter */
}

static void http_wake(struct scrape_fetch *f)
{
    struct http_multi *m = atomic_load(&of_fetch(f)->multi_shared);
    if (m)
        http_multi_wake(m);
}

/* --- messages --- */

struct message {
    void (*fn)(struct scrape *s, void *arg);
    void *arg;
    sem_t *done; /* posted when fn has run; NULL: fn frees arg, nobody waits */
};

static void run_message(struct scrape *s, struct message *m)
{
    sem_t *done = m->done;
    m->fn(s, m->arg);
    if (done)
        (void)sem_post(done); /* cannot overflow: one post per semaphore */
    free(m);
}

/* false: the room is closing, nothing was done. */
static bool send(struct scrape *s, void (*fn)(struct scrape *s, void *arg), void *arg, bool wait)
{
    /* Before the thread runs, whoever waits is the only user and does it alone; discovery's updates come from a thread
     * of their own and queue up. */
    if (wait && !atomic_load(&s->started)) {
        fn(s, arg);
        return true;
    }
    sem_t done;
    if (wait)
        (void)sem_init(&done, 0, 0); /* fails only for values above SEM_VALUE_MAX */
    struct message *m = NEW(struct message);
    *m = (struct message){fn, arg, wait ? &done : NULL};
    int r;
    while ((r = mailbox_post(s->mail, m)) == -ENOBUFS) { /* the thread is behind: wait for it */
        struct timespec pause = {.tv_nsec = 1000000};
        (void)nanosleep(&pause, NULL);
    }
    if (r < 0)
        free(m);
    else
        s->fetch->wake(s->fetch);
    while (r == 0 && wait && sem_wait(&done) < 0 && errno == EINTR)
        ;
    if (wait)
        (void)sem_destroy(&done);
    return r == 0;
}

int64_t scrape_step(struct scrape *s)
{
    for (struct message *m; (m = mailbox_take(s->mail));)
        run_message(s, m);
    uint64_t now = clock_mono_ns(s->clock);
    for (int i = 0; i < TURNS_PER_STEP && s->heap.n && s->heap.v[0]->due_ns <= now && !atomic_load(&s->stop); i++) {
        target_run(s->heap.v[0]);
        now = clock_mono_ns(s->clock);
    }
    s->fetch->poll(s->fetch, 0);
    if (s->heap.n == 0)
        return IDLE_MS;
    now = clock_mono_ns(s->clock);
    uint64_t due = s->heap.v[0]->due_ns;
    return due <= now ? 0 : (int64_t)MIN((due - now + 999999) / 1000000, (uint64_t)IDLE_MS);
}

static void *run(void *arg)
{
    struct scrape *s = arg;
    while (!atomic_load(&s->stop)) {
        int64_t wait_ms = scrape_step(s);
        if (wait_ms == 0)
            continue;
        if (s->fetch == &s->http && !s->multi) {
            struct message *m = mailbox_wait(s->mail, (int)wait_ms);
            if (m)
                run_message(s, m);
        } else {
            s->fetch->poll(s->fetch, (int)wait_ms);
        }
    }
    for (struct message *m; (m = mailbox_take(s->mail));) /* nobody must wait for ever */
        run_message(s, m);
    return NULL;
}

/* --- life --- */

struct update {
    struct arena *arena;
    uint64_t generation;
    struct str pool;
    struct target_group *groups;
    size_t n;
};

static void do_update(struct scrape *s, void *arg)
{
    struct update *u = arg;
    if (s->file && u->generation == s->file->generation) {
        for (size_t i = 0; i < s->pools.n; i++)
            if (str_eq(s->pools.v[i]->conf->job, u->pool))
                pool_update(s->pools.v[i], u->groups, u->n);
    }
    arena_free(u->arena);
}

static void sink_update(struct target_sink *ts, uint64_t generation, struct str pool, const struct target_group *groups,
                        size_t n)
{
    struct scrape *s = CONTAINER_OF(ts, struct scrape, target_sink);
    struct arena *a = arena_new(0);
    struct update *u = ARENA_NEW(a, struct update);
    *u = (struct update){.arena = a, .generation = generation, .pool = arena_str(a, pool), .n = n};
    u->groups = ARENA_ARRAY(a, struct target_group, n + 1);
    for (size_t i = 0; i < n; i++) {
        struct labels *targets = ARENA_ARRAY(a, struct labels, groups[i].n + 1);
        for (size_t k = 0; k < groups[i].n; k++)
            targets[k] = labels_copy(a, groups[i].targets[k]);
        u->groups[i] = (struct target_group){.source = arena_str(a, groups[i].source),
                                             .labels = labels_copy(a, groups[i].labels),
                                             .targets = targets,
                                             .n = groups[i].n};
    }
    if (!send(s, do_update, u, false))
        arena_free(a);
}

struct scrape *scrape_new(const struct scrape_options *o)
{
    struct scrape *s = NEW(struct scrape);
    s->clock = o->clock ? o->clock : &clock_real;
    s->sink = o->sink;
    s->http = (struct scrape_fetch){http_start, http_cancel, http_poll, http_wake};
    s->fetch = o->fetch ? o->fetch : &s->http;
    s->mail = mailbox_new(MAIL_MAX);
    s->seed = o->external_seed.n ? hash_bytes(o->external_seed.p, o->external_seed.n) : 0;
    s->target_sink.update = sink_update;
    s->scratch = arena_new(0);
    return s;
}

int scrape_start(struct scrape *s)
{
    atomic_store(&s->started, true);
    int r = thread_start(&s->thread, "scrape", run, s);
    if (r < 0)
        atomic_store(&s->started, false);
    return r;
}

struct scrape *scrape_free(struct scrape *s)
{
    if (!s)
        return NULL;
    if (atomic_load(&s->started)) {
        atomic_store(&s->stop, true);
        mailbox_close(s->mail);
        s->fetch->wake(s->fetch);
        (void)pthread_join(s->thread, NULL); /* it was started and is joined once */
        atomic_store(&s->started, false);
    }
    for (struct message *m; (m = mailbox_take(s->mail));)
        run_message(s, m);
    for (size_t i = 0; i < s->pools.n; i++)
        pool_free(s->pools.v[i]);
    vec_done(&s->pools);
    for (size_t i = 0; i < s->internals.n; i++)
        target_free(s->internals.v[i]);
    vec_done(&s->internals);
    while (s->heap.n) /* retired ones: a shutdown leaves no markers */
        target_free(s->heap.v[0]);
    vec_done(&s->heap);
    vec_done(&s->rows);
    vec_done(&s->row_lines);
    lb_done(&s->builder);
    arena_free(s->scratch);
    promfile_unref(s->file);
    http_multi_free(s->multi);
    mailbox_free(s->mail);
    free(s);
    return NULL;
}

static void do_reload(struct scrape *s, void *arg)
{
    struct promfile *f = arg, *old = s->file;
    s->file = promfile_ref(f);
    typeof(s->pools) now = {0};
    for (size_t i = 0; i < f->n_scrapes; i++) {
        struct pool *p = NULL;
        for (size_t k = 0; k < s->pools.n && !p; k++)
            if (str_eq(s->pools.v[k]->conf->job, f->scrapes[i].job)) {
                p = s->pools.v[k];
                vec_swap_del(&s->pools, k);
            }
        if (p)
            pool_reload(p, f, &f->scrapes[i]);
        else
            p = pool_new(s, f, &f->scrapes[i]);
        vec_push(&now, p);
    }
    for (size_t k = 0; k < s->pools.n; k++)
        pool_free(s->pools.v[k]);
    vec_done(&s->pools);
    s->pools = now;
    promfile_unref(old);
}

void scrape_reload(struct scrape *s, struct promfile *f)
{
    (void)send(s, do_reload, f, true); /* nobody asks a room that is closing */
}

struct target_sink *scrape_target_sink(struct scrape *s)
{
    return &s->target_sink;
}

struct add {
    const struct scrape_internal *i;
    uint64_t id;
};

static void do_add(struct scrape *s, void *arg)
{
    struct add *add = arg;
    const struct scrape_internal *i = add->i;
    struct arena *a = arena_new(0);
    struct target *t = target_new(s, a);
    struct labels_builder b = {0};
    lb_init(&b, i->extra);
    lb_set(&b, STR("job"), i->job);
    lb_set(&b, STR("instance"), i->instance);
    t->labels = t->discovered = labels_copy(a, lb_labels(&b, a));
    lb_done(&b);
    t->pool_name = arena_str(a, i->job);
    t->url = arena_fmt(a, "internal:" STR_FMT "/" STR_FMT, STR_ARG(i->job), STR_ARG(i->instance));
    t->key = t->url;
    t->interval_ms = MAX(i->interval_ms, 1);
    t->timeout_ms = t->interval_ms;
    t->collect = i->fn;
    t->collect_ctx = i->ctx;
    t->honor_labels = i->honor_labels;
    t->id = add->id = ++s->next_id;
    vec_push(&s->internals, t);
    target_plan_first(t, true);
}

uint64_t scrape_add_internal(struct scrape *s, const struct scrape_internal *i)
{
    struct add add = {.i = i};
    (void)send(s, do_add, &add, true); /* nobody asks a room that is closing */
    return add.id;
}

static void do_remove(struct scrape *s, void *arg)
{
    uint64_t id = *(uint64_t *)arg;
    for (size_t i = 0; i < s->internals.n; i++)
        if (s->internals.v[i]->id == id) {
            target_retire(s->internals.v[i]);
            vec_del(&s->internals, i);
            return;
        }
}

void scrape_remove_internal(struct scrape *s, uint64_t id)
{
    (void)send(s, do_remove, &id, true); /* nobody asks a room that is closing */
}

/* --- what there is --- */

struct listing {
    struct arena *a;
    struct scrape_listing *ret;
};

static struct scrape_target_info info(const struct target *t, struct arena *a)
{
    return (struct scrape_target_info){
        .pool = arena_str(a, t->pool_name),
        .url = arena_str(a, t->url),
        .global_url = arena_str(a, t->url),
        .labels = labels_copy(a, t->labels),
        .discovered = labels_copy(a, t->discovered),
        .health = t->health,
        .last_error = arena_str(a, t->last_error),
        .last_scrape_ms = t->last_scrape_ms,
        .last_duration_s = t->last_duration_s,
        .interval_ms = t->interval_ms,
        .timeout_ms = t->timeout_ms,
        .last_samples = t->last_samples,
        .internal = t->collect != NULL,
    };
}

static int by_pool(const void *x, const void *y)
{
    const struct scrape_target_info *a = x, *b = y;
    int c = str_cmp(a->pool, b->pool);
    if (c == 0)
        c = labels_cmp(a->labels, b->labels);
    return c ? c : str_cmp(a->url, b->url);
}

static void do_list(struct scrape *s, void *arg)
{
    struct listing *l = arg;
    size_t n = s->internals.n, at = 0;
    for (size_t i = 0; i < s->pools.n; i++)
        n += s->pools.v[i]->targets.n + s->pools.v[i]->dropped.n;
    struct scrape_target_info *v = ARENA_ARRAY(l->a, struct scrape_target_info, n + 1);
    struct scrape_pool_info *pools = ARENA_ARRAY(l->a, struct scrape_pool_info, s->pools.n + s->internals.n + 1);
    size_t n_pools = 0;
    for (size_t i = 0; i < s->pools.n; i++) {
        const struct pool *p = s->pools.v[i];
        struct str name = arena_str(l->a, p->conf->job);
        pools[n_pools++] = (struct scrape_pool_info){name, p->targets.n, p->n_dropped};
        for (size_t k = 0; k < p->targets.n; k++)
            v[at++] = info(p->targets.v[k], l->a);
        for (size_t k = 0; k < p->dropped.n; k++)
            v[at++] = (struct scrape_target_info){
                .pool = name, .discovered = labels_copy(l->a, p->dropped.v[k]), .dropped = true};
    }
    for (size_t i = 0; i < s->internals.n; i++) {
        v[at++] = info(s->internals.v[i], l->a);
        size_t k = 0;
        while (k < n_pools && !str_eq(pools[k].name, v[at - 1].pool))
            k++;
        if (k == n_pools)
            pools[n_pools++] = (struct scrape_pool_info){.name = v[at - 1].pool};
        pools[k].active++;
    }
    if (at)
        qsort(v, at, sizeof(*v), by_pool);
    *l->ret = (struct scrape_listing){.targets = v, .n = at, .pools = pools, .n_pools = n_pools};
}

void scrape_targets(struct scrape *s, struct arena *a, struct scrape_listing *ret)
{
    *ret = (struct scrape_listing){0};
    struct listing l = {a, ret};
    (void)send(s, do_list, &l, true); /* nobody asks a room that is closing */
}

struct meta_query {
    const struct matcher *m;
    size_t n_m;
    struct str metric;
    size_t limit;
    struct arena *a;
    VEC(struct scrape_meta) out;
};

/* The metadata lines of one target, put together by family. */
static void target_meta(const struct target *t, struct meta_query *q)
{
    struct labels labels = {0};
    struct scrape_meta *cur = NULL;
    for (size_t i = 0; i < t->cache.order.n; i++) {
        const struct line *l = t->cache.order.v[i];
        struct expo_parser x;
        struct expo_item it;
        if (!(l->flags & LINE_META))
            continue;
        expo_init(&x, t->format, str_make(l->raw, l->n));
        if (expo_next(&x, &it, NULL) < 0)
            continue;
        if (!str_empty(q->metric) && !str_eq(it.name, q->metric))
            continue;
        if (!cur || !str_eq(cur->metric, it.name)) {
            if (q->limit && q->out.n >= q->limit)
                return;
            if (!labels.n)
                labels = labels_copy(q->a, t->labels);
            vec_push(&q->out, (struct scrape_meta){
                                  .target = labels, .metric = arena_str(q->a, it.name), .type = STR("unknown")});
            cur = &q->out.v[q->out.n - 1];
        }
        if (it.kind == EXPO_HELP)
            cur->help = arena_str(q->a, expo_unescape(it.text, false, q->a));
        else if (it.kind == EXPO_UNIT)
            cur->unit = arena_str(q->a, it.text);
        else
            cur->type = str_of(expo_type_names[it.type]);
    }
}

static void do_metadata(struct scrape *s, void *arg)
{
    struct meta_query *q = arg;
    for (size_t i = 0; i < s->pools.n; i++)
        for (size_t k = 0; k < s->pools.v[i]->targets.n; k++)
            if (matchers_all(q->m, q->n_m, s->pools.v[i]->targets.v[k]->labels))
                target_meta(s->pools.v[i]->targets.v[k], q);
    for (size_t i = 0; i < s->internals.n; i++)
        if (matchers_all(q->m, q->n_m, s->internals.v[i]->labels))
            target_meta(s->internals.v[i], q);
}

void scrape_metadata(struct scrape *s, const struct matcher *m, size_t n_m, struct str metric, size_t limit,
                     struct arena *a, struct scrape_meta **ret, size_t *ret_n)
{
    struct meta_query q = {.m = m, .n_m = n_m, .metric = metric, .limit = limit, .a = a};
    (void)send(s, do_metadata, &q, true); /* nobody asks a room that is closing */
    *ret = ARENA_ARRAY(a, struct scrape_meta, q.out.n + 1);
    if (q.out.n)
        memcpy(*ret, q.out.v, q.out.n * sizeof(struct scrape_meta));
    *ret_n = q.out.n;
    vec_done(&q.out);
}

void scrape_collect(void *ctx, struct metrics_out *out)
{
    struct scrape *s = ctx;
    static const struct {
        const char *name, *help;
        bool gauge;
    } rows[N_COUNTERS] = {
        [N_SCRAPES] = {"hune_scrapes_total", "Scrapes done.", false},
        [N_FAILURES] = {"hune_scrape_failures_total", "Scrapes that failed.", false},
        [N_SAMPLES] = {"hune_scrape_samples_total", "Samples scraped and handed to the store.", false},
        [N_BODY_BYTES] = {"hune_scrape_body_bytes_total", "Uncompressed bytes of scraped answers.", false},
        [N_DUPLICATE] = {"prometheus_target_scrapes_sample_duplicate_timestamp_total",
                         "Samples rejected: another value at the same timestamp.", false},
        [N_OUT_OF_ORDER] = {"prometheus_target_scrapes_sample_out_of_order_total",
                            "Samples rejected: older than the series' newest.", false},
        [N_OUT_OF_BOUNDS] = {"prometheus_target_scrapes_sample_out_of_bounds_total",
                             "Samples rejected: too old or too far in the future.", false},
        [N_REFUSED] = {"hune_scrape_samples_refused_total", "Samples the store refused for other reasons.", false},
        [N_SAMPLE_LIMIT] = {"prometheus_target_scrapes_exceeded_sample_limit_total",
                            "Scrapes that hit the sample limit.", false},
        [N_BODY_LIMIT] = {"prometheus_target_scrapes_exceeded_body_size_limit_total",
                          "Scrapes that hit the body size limit.", false},
        [N_TARGET_LIMIT] = {"prometheus_target_scrape_pool_exceeded_target_limit_total",
                            "Scrapes refused because the job has too many targets.", false},
        [N_LABEL_LIMIT] = {"prometheus_target_scrape_pool_exceeded_label_limits_total",
                           "Scrapes that hit a limit on labels.", false},
        [N_SYNC_FAILED] = {"prometheus_target_sync_failed_total", "Discovered targets that were not usable.", false},
        [N_SKIPPED] = {"hune_scrapes_skipped_total", "Turns not taken because the server or the target was late.",
                       false},
        [N_TARGETS] = {"hune_scrape_targets", "Targets known, internal ones and those going stale included.", true},
        [N_POOLS] = {"hune_scrape_pools", "Jobs of the configuration.", true},
        [N_APPEND_ERRORS] = {"hune_scrape_append_errors_total", "Scrapes whose samples could not be stored.", false},
    };
    for (size_t i = 0; i < N_COUNTERS; i++) {
        out->family(out, str_of(rows[i].name), str_of(rows[i].help), rows[i].gauge ? METRIC_GAUGE : METRIC_COUNTER);
        out->sample(out, STR(""), NULL, 0, (double)atomic_load_explicit(&s->counters[i], memory_order_relaxed));
    }
}

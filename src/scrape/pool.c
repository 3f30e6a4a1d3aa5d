// SPDX-License-Identifier: Apache-2.0
/* A job: groups from discovery become targets by relabelling; what stays keeps its state, what went retires. */
#include "base/format.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "scrape/scrape_int.h"

static void query_escape(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
            c == '.' || c == '~')
            buf_putc(b, (char)c);
        else if (c == ' ')
            buf_putc(b, '+');
        else
            buf_fmt(b, "%%%02X", c);
    }
}

/* scheme://address/path?params, parameters by name; a label __param_x replaces the first value of x. */
static struct str make_url(const struct promfile_scrape *conf, const struct labels_builder *b, struct arena *a)
{
    _cleanup_buf_ struct buf u = BUF_INIT((size_t)limit(label_value_bytes));
    struct str path = lb_get(b, STR("__metrics_path__"));
    buf_fmt(&u, STR_FMT "://" STR_FMT, STR_ARG(lb_get(b, STR("__scheme__"))), STR_ARG(lb_get(b, STR("__address__"))));
    if (!str_starts(path, STR("/")))
        buf_putc(&u, '/');
    buf_str(&u, path);
    /* Names of all parameters, sorted. */
    VEC(struct str) names = {0};
    for (size_t i = 0; i < conf->n_params; i++)
        vec_push(&names, conf->params[i].name);
    for (size_t i = 0; i < b->v.n; i++)
        if (str_starts(b->v.v[i].name, STR("__param_")) && !str_empty(b->v.v[i].value)) {
            struct str name = str_sub(b->v.v[i].name, 8, b->v.v[i].name.n);
            bool there = false;
            for (size_t k = 0; k < names.n; k++)
                there |= str_eq(names.v[k], name);
            if (!there)
                vec_push(&names, name);
        }
    for (size_t i = 1; i < names.n; i++)
        for (size_t k = i; k > 0 && str_cmp(names.v[k - 1], names.v[k]) > 0; k--) {
            struct str tmp = names.v[k];
            names.v[k] = names.v[k - 1];
            names.v[k - 1] = tmp;
        }
    char sep = '?';
    for (size_t i = 0; i < names.n; i++) {
        const struct config_strs *values = NULL;
        for (size_t k = 0; k < conf->n_params; k++)
            if (str_eq(conf->params[k].name, names.v[i]))
                values = &conf->params[k].values;
        _cleanup_buf_ struct buf label = BUF_INIT(8192);
        buf_z(&label, "__param_");
        buf_str(&label, names.v[i]);
        struct str first = lb_get(b, buf_view(&label));
        size_t n = values ? values->n : 0;
        for (size_t k = 0; k < (n || str_empty(first) ? n : 1); k++) {
            buf_putc(&u, sep);
            sep = '&';
            query_escape(&u, names.v[i]);
            buf_putc(&u, '=');
            query_escape(&u, k == 0 && !str_empty(first) ? first : values->v[k]);
        }
    }
    vec_done(&names);
    return arena_str(a, buf_view(&u));
}

static void set_default(struct labels_builder *b, struct str name, struct str value)
{
    if (str_empty(lb_get(b, name)))
        lb_set(b, name, value);
}

static struct str duration(int64_t ms, struct arena *a)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    format_duration_ms(&b, ms);
    return arena_str(a, buf_view(&b));
}

/* Labels of one candidate before relabelling. */
static void discovered_labels(struct labels_builder *b, const struct promfile_scrape *conf,
                              const struct target_group *g, struct labels target, struct arena *a)
{
    lb_init(b, target);
    for (size_t i = 0; i < g->labels.n; i++)
        if (!labels_has(target, g->labels.v[i].name))
            lb_set(b, g->labels.v[i].name, g->labels.v[i].value);
    set_default(b, STR("job"), conf->job);
    set_default(b, STR("__scrape_interval__"), duration(conf->interval_ms, a));
    set_default(b, STR("__scrape_timeout__"), duration(conf->timeout_ms, a));
    set_default(b, STR("__metrics_path__"), conf->metrics_path);
    set_default(b, STR("__scheme__"), conf->scheme);
    for (size_t i = 0; i < conf->n_params; i++)
        if (conf->params[i].values.n)
            set_default(b, arena_fmt(a, "__param_" STR_FMT, STR_ARG(conf->params[i].name)),
                        conf->params[i].values.v[0]);
}

struct candidate {
    struct labels labels, discovered;
    struct str key, url, unix_socket;
    int64_t interval_ms, timeout_ms;
};

/* 1: a target; 0: dropped; -EINVAL: cannot be one, with the reason. */
static int make_candidate(struct pool *p, const struct target_group *g, struct labels target, struct arena *a,
                          struct candidate *ret, struct err *e)
{
    struct labels_builder *b = &p->scrape->builder;
    discovered_labels(b, p->conf, g, target, a);
    ret->discovered = labels_copy(a, lb_labels(b, a));
    if (!relabel_apply(p->conf->relabel.v, p->conf->relabel.n, b, a))
        return 0;
    struct str address = lb_get(b, STR("__address__"));
    if (str_empty(address)) {
        err_set(e, "no address");
        return -EINVAL;
    }
    if (str_chr(address, '/') >= 0) {
        err_set(e, "\"" STR_FMT "\" is not a valid hostname", STR_ARG(str_sub(address, 0, 200)));
        return -EINVAL;
    }
    struct str interval = lb_get(b, STR("__scrape_interval__")), timeout = lb_get(b, STR("__scrape_timeout__"));
    if (!parse_duration_ms(interval, &ret->interval_ms) || ret->interval_ms <= 0) {
        err_set(e, "__scrape_interval__ \"" STR_FMT "\" is no duration above 0", STR_ARG(str_sub(interval, 0, 100)));
        return -EINVAL;
    }
    if (!parse_duration_ms(timeout, &ret->timeout_ms) || ret->timeout_ms <= 0) {
        err_set(e, "__scrape_timeout__ \"" STR_FMT "\" is no duration above 0", STR_ARG(str_sub(timeout, 0, 100)));
        return -EINVAL;
    }
    if (ret->timeout_ms > ret->interval_ms) {
        err_set(e, "scrape timeout cannot be greater than scrape interval (\"" STR_FMT "\" > \"" STR_FMT "\")",
                STR_ARG(timeout), STR_ARG(interval));
        return -EINVAL;
    }
    ret->url = make_url(p->conf, b, a);
    ret->unix_socket = arena_str(a, lb_get(b, STR("__unix_socket__")));
    set_default(b, STR("instance"), address);
    struct labels all = lb_labels(b, a);
    struct label *v = ARENA_ARRAY(a, struct label, all.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < all.n; i++) {
        if (!utf8_valid(all.v[i].value)) {
            err_set(e, "invalid label value for \"" STR_FMT "\"", STR_ARG(str_sub(all.v[i].name, 0, 100)));
            return -EINVAL;
        }
        if (!str_starts(all.v[i].name, STR("__")))
            v[n++] = all.v[i];
    }
    ret->labels = labels_copy(a, (struct labels){v, n});
    _cleanup_buf_ struct buf key = BUF_INIT((size_t)limit(label_value_bytes));
    labels_format(&key, ret->labels);
    buf_str(&key, ret->url);
    ret->key = arena_str(a, buf_view(&key));
    return 1;
}

static struct target *find_retired(struct pool *p, struct str key)
{
    struct scrape *s = p->scrape;
    for (size_t i = 0; i < s->heap.n; i++)
        if (s->heap.v[i]->retired && str_eq(s->heap.v[i]->key, key))
            return s->heap.v[i];
    return NULL;
}

/* Let a target be what the candidate says; strings are copied into an arena of its own. */
static void adopt(struct pool *p, struct target *t, const struct candidate *c)
{
    struct arena *old = t->arena;
    t->arena = arena_new(0);
    t->pool = p;
    t->pool_name = arena_str(t->arena, p->conf->job);
    t->key = arena_str(t->arena, c->key);
    t->url = arena_str(t->arena, c->url);
    t->unix_socket = arena_str(t->arena, c->unix_socket);
    t->labels = labels_copy(t->arena, c->labels);
    t->discovered = labels_copy(t->arena, c->discovered);
    t->forced_error = STR_NULL;
    for (size_t i = 0; i < ARRAY_LEN(t->headers); i++)
        t->headers[i] = (struct http_header){0};
    t->seen = true;
    if (t->retired)
        cache_forget(&t->cache); /* its job may relabel otherwise now */
    bool new_rhythm = t->interval_ms != c->interval_ms || t->retired || !t->heap_at;
    t->retired = false;
    t->interval_ms = c->interval_ms;
    t->timeout_ms = c->timeout_ms;
    if (new_rhythm)
        target_plan_first(t, false);
    arena_free(old);
}

static void drop(struct pool *p, struct labels discovered)
{
    p->n_dropped++;
    int64_t keep = p->conf->limits.dropped_targets;
    if (keep && p->dropped.n >= (size_t)keep)
        return;
    vec_push(&p->dropped, labels_copy(p->dropped_arena, discovered));
}

void pool_sync(struct pool *p)
{
    struct scrape *s = p->scrape;
    struct map known = {0};
    for (size_t i = 0; i < p->targets.n; i++) {
        p->targets.v[i]->seen = false;
        (void)map_put(&known, p->targets.v[i]->key, p->targets.v[i]); /* keys are unique in a pool */
    }
    vec_reset(&p->dropped);
    arena_reset(p->dropped_arena);
    p->n_dropped = 0;
    VEC(struct target *) now = {0};
    struct arena *a = arena_new(0);
    for (size_t i = 0; i < p->groups.n; i++) {
        const struct target_group *g = &p->groups.v[i].g;
        for (size_t k = 0; k < g->n; k++) {
            struct candidate c = {0};
            struct err e = {0};
            arena_reset(a);
            int r = make_candidate(p, g, g->targets[k], a, &c, &e);
            if (r == 0)
                drop(p, c.discovered);
            if (r < 0)
                count(s, N_SYNC_FAILED, 1);
            if (r < 0)
                log_warn("target is not usable", KV_STR("job", p->conf->job), KV_STR("source", g->source),
                         KV_Z("reason", e.msg));
            if (r != 1)
                continue;
            if (atomic_load_explicit(&s->counters[N_TARGETS], memory_order_relaxed) >= limit(scrape_targets)) {
                log_error("target is left out: limit scrape_targets", KV_STR("job", p->conf->job),
                          KV_STR("target", c.url));
                continue;
            }
            struct target *t = map_get(&known, c.key);
            if (t && t->seen)
                continue; /* the same target twice */
            if (!t)
                t = find_retired(p, c.key);
            if (!t)
                t = target_new(s, NULL);
            if (t->pool != p || !labels_equal(t->discovered, c.discovered) || t->interval_ms != c.interval_ms ||
                t->timeout_ms != c.timeout_ms || !str_eq(t->unix_socket, c.unix_socket)) {
                if (t->pool == p)
                    (void)map_del(&known, t->key); /* its key moves to a new arena */
                adopt(p, t, &c);
                (void)map_put(&known, t->key, t);
            } else if (t->pool == p) {
                t->forced_error = STR_NULL;
            }
            t->seen = true;
            vec_push(&now, t);
        }
    }
    for (size_t i = 0; i < p->targets.n; i++)
        if (!p->targets.v[i]->seen)
            target_retire(p->targets.v[i]);
    int64_t max = p->conf->limits.targets;
    for (size_t i = 0; max && now.n > (size_t)max && i < now.n; i++)
        now.v[i]->forced_error = arena_fmt(
            now.v[i]->arena, "target_limit exceeded (number of targets: %zu, limit: %lld)", now.n, (long long)max);
    vec_done(&p->targets);
    p->targets.v = now.v;
    p->targets.n = now.n;
    p->targets.cap = now.cap;
    map_done(&known);
    arena_free(a);
}

struct pool *pool_new(struct scrape *s, struct promfile *f, const struct promfile_scrape *conf)
{
    struct pool *p = NEW(struct pool);
    p->scrape = s;
    p->file = promfile_ref(f);
    p->conf = conf;
    p->dropped_arena = arena_new(0);
    count(s, N_POOLS, 1);
    return p;
}

static void groups_done(struct pool *p)
{
    for (size_t i = 0; i < p->groups.n; i++)
        arena_free(p->groups.v[i].arena);
    vec_done(&p->groups);
}

void pool_free(struct pool *p)
{
    for (size_t i = 0; i < p->targets.n; i++)
        target_retire(p->targets.v[i]);
    vec_done(&p->targets);
    groups_done(p);
    vec_done(&p->dropped);
    arena_free(p->dropped_arena);
    count(p->scrape, N_POOLS, -1);
    promfile_unref(p->file);
    free(p);
}

void pool_reload(struct pool *p, struct promfile *f, const struct promfile_scrape *conf)
{
    struct promfile *old = p->file;
    bool same = conf->hash == p->conf->hash;
    /* Calls in flight borrow the old generation. */
    for (size_t i = 0; i < p->targets.n; i++) {
        struct target *t = p->targets.v[i];
        if (t->call) {
            p->scrape->fetch->cancel(p->scrape->fetch, t->call);
            t->call = NULL;
        }
        if (!same) {
            cache_forget(&t->cache);
            for (size_t k = 0; k < ARRAY_LEN(t->headers); k++)
                t->headers[k] = (struct http_header){0};
        }
    }
    p->file = promfile_ref(f);
    p->conf = conf;
    if (!same)
        pool_sync(p);
    promfile_unref(old);
}

void pool_update(struct pool *p, const struct target_group *groups, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < p->groups.n && !str_eq(p->groups.v[k].g.source, groups[i].source))
            k++;
        if (k < p->groups.n) {
            arena_free(p->groups.v[k].arena);
            if (groups[i].n == 0) {
                vec_del(&p->groups, k);
                continue;
            }
        } else if (groups[i].n == 0) {
            continue;
        } else {
            vec_push(&p->groups, (struct group){0});
        }
        struct arena *a = arena_new(0);
        struct labels *targets = ARENA_ARRAY(a, struct labels, groups[i].n);
        for (size_t j = 0; j < groups[i].n; j++)
            targets[j] = labels_copy(a, groups[i].targets[j]);
        p->groups.v[k] = (struct group){.arena = a,
                                        .g = {.source = arena_str(a, groups[i].source),
                                              .labels = labels_copy(a, groups[i].labels),
                                              .targets = targets,
                                              .n = groups[i].n}};
    }
    pool_sync(p);
}

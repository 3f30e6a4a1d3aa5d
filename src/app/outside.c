// SPDX-License-Identifier: Apache-2.0
#include "app/outside.h"

#include <pthread.h>

#define POOL_PREFIX "alertmanager/"

struct group {
    struct str pool, source; /* in arena */
    struct labels labels;
    struct labels *targets;
    size_t n;
    struct arena *arena;
};

struct outside {
    struct target_sink sink;
    struct alert_sink alerts;
    pthread_mutex_t lock; /* discovery's thread brings groups, the main thread a new generation, HTTP threads read */
    struct forward *forward;
    struct promfile *file;
    struct arena *arena; /* pool names */
    struct discover_pool *pools;
    VEC(struct group) groups;
    VEC(char *) urls;
};

static void clear_groups(struct outside *o)
{
    for (size_t i = 0; i < o->groups.n; i++)
        arena_free(o->groups.v[i].arena);
    vec_reset(&o->groups);
}

static void clear_urls(struct outside *o)
{
    for (size_t i = 0; i < o->urls.n; i++)
        free(o->urls.v[i]);
    vec_reset(&o->urls);
}

/* One discovered address through the entry's relabelling, as Prometheus' notifier does it. */
static void add_target(struct outside *o, const struct promfile_alertmanager *am, const struct group *g,
                       struct labels target, struct arena *a, struct forward_target *ret, size_t *n)
{
    struct labels_builder b = {0};
    lb_init(&b, target);
    for (size_t i = 0; i < g->labels.n; i++)
        if (!lb_get(&b, g->labels.v[i].name).n)
            lb_set(&b, g->labels.v[i].name, g->labels.v[i].value);
    if (!lb_get(&b, STR("__scheme__")).n)
        lb_set(&b, STR("__scheme__"), am->scheme);
    lb_set(&b, STR("__alerts_path__"), am->path_prefix);
    if (relabel_apply(am->relabel.v, am->relabel.n, &b, a) && lb_get(&b, STR("__address__")).n) {
        struct str prefix = lb_get(&b, STR("__alerts_path__"));
        while (str_ends(prefix, STR("/")))
            prefix.n--;
        struct str url = arena_fmt(a, STR_FMT "://" STR_FMT STR_FMT, STR_ARG(lb_get(&b, STR("__scheme__"))),
                                   STR_ARG(lb_get(&b, STR("__address__"))), STR_ARG(prefix));
        ret[(*n)++] = (struct forward_target){.url = url, .http = am->http, .timeout_ms = am->timeout_ms};
        vec_push(&o->urls, str_dupz(url));
    }
    lb_done(&b);
}

static void publish(struct outside *o)
{
    size_t room = 0, n = 0;
    for (size_t i = 0; i < o->groups.n; i++)
        room += o->groups.v[i].n;
    struct arena *a = arena_new(0);
    struct forward_target *targets = ARENA_ARRAY(a, struct forward_target, room);
    clear_urls(o);
    for (size_t i = 0; i < o->groups.n; i++) {
        const struct group *g = &o->groups.v[i];
        for (size_t k = 0; k < o->file->n_alertmanagers; k++)
            if (str_eq(g->pool, o->pools[k].name))
                for (size_t t = 0; t < g->n; t++)
                    add_target(o, &o->file->alertmanagers[k], g, g->targets[t], a, targets, &n);
    }
    forward_apply(o->forward, targets, n, (struct labels){0}); /* put() has added the external ones */
    arena_free(a);
}

/* As Prometheus' notifier: external labels that the alert does not set, then alert_relabel_configs; what they drop is
 * not sent. */
static int put(struct alert_sink *s, const struct alert *alerts, size_t n)
{
    struct outside *o = CONTAINER_OF(s, struct outside, alerts);
    struct arena *a = arena_new(0);
    struct alert *out = ARENA_ARRAY(a, struct alert, n);
    size_t kept = 0;
    pthread_mutex_lock(&o->lock);
    struct promfile *f = promfile_ref(o->file);
    pthread_mutex_unlock(&o->lock);
    struct labels_builder b = {0};
    for (size_t i = 0; i < n; i++) {
        lb_init(&b, alerts[i].labels);
        for (size_t k = 0; k < f->global.external_labels.n; k++)
            if (!lb_get(&b, f->global.external_labels.v[k].name).n)
                lb_set(&b, f->global.external_labels.v[k].name, f->global.external_labels.v[k].value);
        if (!relabel_apply(f->alert_relabel.v, f->alert_relabel.n, &b, a))
            continue;
        out[kept] = alerts[i];
        out[kept++].labels = lb_labels(&b, a);
    }
    struct alert_sink *next = forward_alert_sink(o->forward);
    int r = kept ? next->put(next, out, kept) : 0;
    lb_done(&b);
    promfile_unref(f);
    arena_free(a);
    return r;
}

struct alert_sink *outside_alert_sink(struct outside *o)
{
    return &o->alerts;
}

static void update(struct target_sink *s, uint64_t generation, struct str pool, const struct target_group *groups,
                   size_t n)
{
    struct outside *o = CONTAINER_OF(s, struct outside, sink);
    pthread_mutex_lock(&o->lock);
    for (size_t i = 0; o->file && generation >= o->file->generation && i < n; i++) {
        for (size_t k = 0; k < o->groups.n; k++) {
            if (str_eq(o->groups.v[k].pool, pool) && str_eq(o->groups.v[k].source, groups[i].source)) {
                arena_free(o->groups.v[k].arena);
                vec_swap_del(&o->groups, k);
                break;
            }
        }
        if (groups[i].n == 0)
            continue;
        struct arena *a = arena_new(0);
        struct group g = {.pool = arena_str(a, pool),
                          .source = arena_str(a, groups[i].source),
                          .labels = labels_copy(a, groups[i].labels),
                          .targets = ARENA_ARRAY(a, struct labels, groups[i].n),
                          .n = groups[i].n,
                          .arena = a};
        for (size_t t = 0; t < g.n; t++)
            g.targets[t] = labels_copy(a, groups[i].targets[t]);
        vec_push(&o->groups, g);
    }
    if (o->file)
        publish(o);
    pthread_mutex_unlock(&o->lock);
}

struct outside *outside_new(struct forward *f)
{
    struct outside *o = NEW(struct outside);
    o->sink.update = update;
    o->alerts.put = put;
    o->forward = f;
    pthread_mutex_init(&o->lock, NULL);
    return o;
}

struct outside *outside_free(struct outside *o)
{
    if (!o)
        return NULL;
    clear_groups(o);
    clear_urls(o);
    vec_done(&o->groups);
    vec_done(&o->urls);
    arena_free(o->arena);
    promfile_unref(o->file);
    pthread_mutex_destroy(&o->lock);
    free(o);
    return NULL;
}

const struct discover_pool *outside_apply(struct outside *o, struct promfile *f, size_t *ret_n)
{
    pthread_mutex_lock(&o->lock);
    clear_groups(o);
    arena_free(o->arena);
    o->arena = arena_new(0);
    struct promfile *old = o->file;
    o->file = promfile_ref(f);
    o->pools = ARENA_ARRAY(o->arena, struct discover_pool, f->n_alertmanagers);
    for (size_t i = 0; i < f->n_alertmanagers; i++)
        o->pools[i] = (struct discover_pool){
            .name = arena_fmt(o->arena, POOL_PREFIX "%zu", i), .sds = &f->alertmanagers[i].sds, .sink = &o->sink};
    publish(o);
    promfile_unref(old); /* the forwarder borrowed its credentials until now */
    pthread_mutex_unlock(&o->lock);
    *ret_n = f->n_alertmanagers;
    return o->pools;
}

void outside_urls(struct outside *o, struct arena *a, struct str **ret, size_t *ret_n)
{
    pthread_mutex_lock(&o->lock);
    struct str *v = ARENA_ARRAY(a, struct str, o->urls.n);
    for (size_t i = 0; i < o->urls.n; i++)
        v[i] = arena_str(a, str_of(o->urls.v[i]));
    *ret = v;
    *ret_n = o->urls.n;
    pthread_mutex_unlock(&o->lock);
}

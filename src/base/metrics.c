// SPDX-License-Identifier: Apache-2.0
#include "base/metrics.h"

#include "base/vec.h"
#include <pthread.h>

const char *const metric_type_names[] = {[METRIC_COUNTER] = "counter",
                                         [METRIC_GAUGE] = "gauge",
                                         [METRIC_HISTOGRAM] = "histogram",
                                         [METRIC_SUMMARY] = "summary",
                                         [METRIC_UNTYPED] = "untyped"};

struct source {
    struct metric *table; /* or, when NULL, fn */
    size_t n;
    metrics_collect_fn fn;
    void *ctx;
};

struct metrics {
    pthread_mutex_t lock;
    VEC(struct source) sources;
};

struct metrics *metrics_new(void)
{
    struct metrics *m = NEW(struct metrics);
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

struct metrics *metrics_free(struct metrics *m)
{
    if (m) {
        vec_done(&m->sources);
        pthread_mutex_destroy(&m->lock);
    }
    free(m);
    return NULL;
}

static void add(struct metrics *m, struct source s)
{
    pthread_mutex_lock(&m->lock);
    vec_push(&m->sources, s);
    pthread_mutex_unlock(&m->lock);
}

void metrics_add_table(struct metrics *m, struct metric *table, size_t n)
{
    add(m, (struct source){.table = table, .n = n});
}

void metrics_add_collector(struct metrics *m, metrics_collect_fn fn, void *ctx)
{
    add(m, (struct source){.fn = fn, .ctx = ctx});
}

void metrics_collect(struct metrics *m, struct metrics_out *out)
{
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->sources.n; i++) {
        const struct source *s = &m->sources.v[i];
        if (!s->table) {
            s->fn(s->ctx, out);
            continue;
        }
        for (size_t k = 0; k < s->n; k++) {
            const struct metric *row = &s->table[k];
            out->family(out, str_of(row->name), str_of(row->help), row->type);
            out->sample(out, STR(""), NULL, 0, (double)metric_get(row) * (row->scale != 0 ? row->scale : 1));
        }
    }
    pthread_mutex_unlock(&m->lock);
}

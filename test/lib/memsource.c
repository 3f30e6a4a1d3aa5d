// SPDX-License-Identifier: Apache-2.0
#include "memsource.h"

#include "base/map.h"

struct mem_sample {
    int64_t t, st;
    double v;
    const struct histogram *h;
};

struct mem_series {
    struct labels labels;
    VEC(struct mem_sample) v;
};

struct memsource {
    struct source source;
    struct snapshot snapshot;
    struct arena *a;
    struct map by_labels;
    VEC(struct mem_series *) series;
};

static struct memsource *of(struct snapshot *s)
{
    return CONTAINER_OF(s, struct memsource, snapshot);
}

static int compare(const void *a, const void *b)
{
    return labels_cmp(((const struct source_series *)a)->labels, ((const struct source_series *)b)->labels);
}

static bool overlaps(const struct mem_series *s, int64_t mint, int64_t maxt)
{
    return s->v.n > 0 && s->v.v[0].t <= maxt && s->v.v[s->v.n - 1].t >= mint;
}

static int mem_select(struct snapshot *snap, const struct matcher *m, size_t n, int64_t mint, int64_t maxt,
                      struct arena *a, struct source_list *ret)
{
    struct memsource *src = of(snap);
    struct source_series *v = arena_try(a, src->series.n * sizeof(*v) + 1);
    if (!v)
        return -ENOMEM;
    size_t k = 0;
    for (size_t i = 0; i < src->series.n; i++) {
        const struct mem_series *s = src->series.v[i];
        if (overlaps(s, mint, maxt) && matchers_all(m, n, s->labels))
            v[k++] = (struct source_series){.labels = s->labels, .id = i};
    }
    if (k > 1)
        qsort(v, k, sizeof(*v), compare);
    *ret = (struct source_list){.v = v, .n = k};
    return 0;
}

static int mem_read(struct snapshot *snap, const struct source_series *series, int64_t mint, int64_t maxt,
                    struct column *c)
{
    const struct mem_series *s = of(snap)->series.v[series->id];
    column_reserve(c, s->v.n);
    for (size_t i = 0; i < s->v.n; i++) {
        const struct mem_sample *x = &s->v.v[i];
        if (x->t < mint || x->t > maxt)
            continue;
        if (x->h && !c->h)
            c->h = xcalloc(c->cap, sizeof(*c->h));
        if (x->st && !c->st)
            c->st = xcalloc(c->cap, sizeof(*c->st));
        column_push(c, x->t, x->v);
        if (c->h)
            c->h[c->n - 1] = x->h;
        if (c->st)
            c->st[c->n - 1] = x->st;
    }
    return 0;
}

static int compare_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Names when label is empty, else the values of that label. */
static int collect(struct snapshot *snap, struct str label, const struct matcher *m, size_t n, int64_t mint,
                   int64_t maxt, size_t max, struct arena *a, struct str **ret, size_t *ret_n)
{
    struct memsource *src = of(snap);
    VEC(struct str) v = {0};
    for (size_t i = 0; i < src->series.n; i++) {
        const struct mem_series *s = src->series.v[i];
        if (!overlaps(s, mint, maxt) || !matchers_all(m, n, s->labels))
            continue;
        for (size_t k = 0; k < s->labels.n; k++) {
            if (label.n == 0)
                vec_push(&v, s->labels.v[k].name);
            else if (str_eq(s->labels.v[k].name, label))
                vec_push(&v, s->labels.v[k].value);
        }
    }
    if (v.n > 1)
        qsort(v.v, v.n, sizeof(struct str), compare_str);
    struct str *out = ARENA_ARRAY(a, struct str, v.n);
    size_t k = 0;
    for (size_t i = 0; i < v.n && !(max && k == max); i++)
        if (k == 0 || !str_eq(out[k - 1], v.v[i]))
            out[k++] = v.v[i];
    vec_done(&v);
    *ret = out;
    *ret_n = k;
    return 0;
}

static int mem_names(struct snapshot *s, const struct matcher *m, size_t n, int64_t mint, int64_t maxt, size_t max,
                     struct arena *a, struct str **ret, size_t *ret_n)
{
    return collect(s, STR(""), m, n, mint, maxt, max, a, ret, ret_n);
}

static int mem_values(struct snapshot *s, struct str label, const struct matcher *m, size_t n, int64_t mint,
                      int64_t maxt, size_t max, struct arena *a, struct str **ret, size_t *ret_n)
{
    return collect(s, label, m, n, mint, maxt, max, a, ret, ret_n);
}

static void mem_release(struct snapshot *s)
{
    (void)s;
}

static const struct snapshot_ops ops = {.select = mem_select,
                                        .read = mem_read,
                                        .label_names = mem_names,
                                        .label_values = mem_values,
                                        .release = mem_release};

static int mem_open(struct source *s, struct snapshot **ret)
{
    *ret = &CONTAINER_OF(s, struct memsource, source)->snapshot;
    return 0;
}

struct memsource *memsource_new(void)
{
    struct memsource *m = NEW(struct memsource);
    m->source.open = mem_open;
    m->snapshot.ops = &ops;
    m->a = arena_new(0);
    return m;
}

struct memsource *memsource_free(struct memsource *m)
{
    if (m) {
        for (size_t i = 0; i < m->series.n; i++) {
            vec_done(&m->series.v[i]->v);
            free(m->series.v[i]);
        }
        vec_done(&m->series);
        map_done(&m->by_labels);
        arena_free(m->a);
        free(m);
    }
    return NULL;
}

struct source *memsource_source(struct memsource *m)
{
    return &m->source;
}

size_t memsource_series(const struct memsource *m)
{
    return m->series.n;
}

static const void *dup_bytes(struct arena *a, const void *p, size_t n)
{
    void *q = arena_alloc(a, n ? n : 1);
    if (n)
        memcpy(q, p, n);
    return q;
}

static const struct histogram *dup_histogram(struct arena *a, const struct histogram *h)
{
    struct histogram *c = ARENA_NEW(a, struct histogram);
    *c = *h;
    c->pos_spans = dup_bytes(a, h->pos_spans, h->n_pos_spans * sizeof(struct hist_span));
    c->neg_spans = dup_bytes(a, h->neg_spans, h->n_neg_spans * sizeof(struct hist_span));
    c->pos = dup_bytes(a, h->pos, h->n_pos * sizeof(double));
    c->neg = dup_bytes(a, h->neg, h->n_neg * sizeof(double));
    c->custom = dup_bytes(a, h->custom, h->n_custom * sizeof(double));
    return c;
}

void memsource_add(struct memsource *m, struct labels l, int64_t t, double v, const struct histogram *h, int64_t st)
{
    struct buf key = BUF_INIT(1 << 20);
    labels_format(&key, l);
    struct mem_series *s = map_get(&m->by_labels, buf_view(&key));
    if (!s) {
        s = NEW(struct mem_series);
        s->labels = labels_copy(m->a, l);
        (void)map_put(&m->by_labels, arena_str(m->a, buf_view(&key)), s);
        vec_push(&m->series, s);
    }
    buf_done(&key);
    struct mem_sample x = {.t = t, .st = st, .v = v, .h = h ? dup_histogram(m->a, h) : NULL};
    size_t at = s->v.n;
    while (at > 0 && s->v.v[at - 1].t >= t)
        at--;
    if (at < s->v.n && s->v.v[at].t == t) {
        s->v.v[at] = x;
        return;
    }
    vec_push(&s->v, x);
    memmove(&s->v.v[at + 1], &s->v.v[at], (s->v.n - 1 - at) * sizeof(x));
    s->v.v[at] = x;
}

void memsource_addz(struct memsource *m, const char *series, int64_t t, double v)
{
    struct labels l;
    struct err e = {0};
    struct arena *a = arena_new(0);
    if (labels_parse(str_of(series), a, &l, &e) != 0)
        BUG("test series %s: %s", series, e.msg);
    memsource_add(m, l, t, v, NULL, 0);
    arena_free(a);
}

// SPDX-License-Identifier: Apache-2.0
/* /api/v1/series, labels, label values, metadata, and /federate. */
#include "api/api_int.h"

#include "base/limits.h"
#include "codec/f64.h"

#define LOOKBACK_MS 300000

/* The snapshot and selectors of one request, released together. */
struct look {
    struct arena *arena; /* results; carries the query budget */
    struct snapshot *snap;
    struct prom_sets sets;
    int64_t from, to;
    size_t limit;
};

static void look_done(struct look *l)
{
    prom_sets_done(&l->sets);
    snapshot_release(l->snap);
    arena_free(l->arena);
}

static bool look_begin(struct http_req *r, struct api *a, bool required, struct look *l)
{
    *l = (struct look){0};
    if (!prom_time(r, "start", PROM_MIN_MS, &l->from) || !prom_time(r, "end", PROM_MAX_MS, &l->to) ||
        !prom_limit(r, "limit", &l->limit))
        return false;
    if (l->to < l->from) {
        prom_fail(r, "bad_data", "invalid parameter \"end\": end timestamp must not be before start time");
        return false;
    }
    if (!prom_matchers(r, required, &l->sets))
        return false;
    l->arena = arena_new((size_t)limit(query_memory));
    int e = source_open(a->d.source, &l->snap);
    if (e) {
        prom_fail(r, "internal", "%s", err_name(e));
        look_done(l);
        return false;
    }
    return true;
}

static void too_large(struct http_req *r, struct look *l, int e)
{
    if (e == -ENOMEM)
        prom_fail(r, "execution",
                  "the answer needs more memory than one query may use (limit query_memory): narrow match[], start and "
                  "end, or set limit");
    else
        prom_fail(r, "internal", "%s", err_name(e));
    look_done(l);
}

static int by_labels(const void *x, const void *y)
{
    return labels_cmp(((const struct source_series *)x)->labels, ((const struct source_series *)y)->labels);
}

/* Union of what the selectors select, sorted, each series once. */
static int select_union(struct look *l, struct source_list *ret)
{
    size_t total = 0;
    struct source_list *lists = arena_try(l->arena, sizeof(*lists) * l->sets.n);
    if (!lists)
        return -ENOMEM;
    for (size_t i = 0; i < l->sets.n; i++) {
        int e = l->snap->ops->select(l->snap, l->sets.m[i], l->sets.n_m[i], l->from, l->to, l->arena, &lists[i]);
        if (e)
            return e;
        total += lists[i].n;
    }
    if (l->sets.n == 1) {
        *ret = lists[0];
        return 0;
    }
    struct source_series *all = arena_try(l->arena, sizeof(*all) * (total + 1));
    if (!all)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < l->sets.n; i++) {
        memcpy(all + n, lists[i].v, lists[i].n * sizeof(*all));
        n += lists[i].n;
    }
    qsort(all, n, sizeof(*all), by_labels);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || labels_cmp(all[kept - 1].labels, all[i].labels) != 0)
            all[kept++] = all[i];
    *ret = (struct source_list){.v = all, .n = kept};
    return 0;
}

static const char truncated[] = "results truncated due to limit";

static void end_with_limit(struct http_req *r, struct jw *w, bool cut)
{
    if (cut) {
        jw_key(w, "warnings");
        jw_arr(w);
        jw_z(w, truncated);
        jw_end(w);
    }
    prom_end(r, w);
}

static void series(struct http_req *r, void *ctx)
{
    struct look l;
    struct source_list list;
    if (!look_begin(r, ctx, true, &l))
        return;
    int e = select_union(&l, &list);
    if (e) {
        too_large(r, &l, e);
        return;
    }
    struct jw w;
    bool cut = l.limit && list.n > l.limit;
    prom_begin(r, &w);
    jw_arr(&w);
    for (size_t i = 0; i < (cut ? l.limit : list.n); i++)
        labels_json(&w, list.v[i].labels);
    jw_end(&w);
    end_with_limit(r, &w, cut);
    look_done(&l);
}

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* Names (label empty) or values over all selectors; without selectors over everything. */
static void words(struct http_req *r, struct api *a, struct str label)
{
    struct look l;
    if (!look_begin(r, a, false, &l))
        return;
    VEC(struct str) all = {0};
    size_t rounds = MAX(l.sets.n, (size_t)1);
    for (size_t i = 0; i < rounds; i++) {
        const struct matcher *m = l.sets.n ? l.sets.m[i] : NULL;
        size_t n_m = l.sets.n ? l.sets.n_m[i] : 0, n = 0, ask = l.limit && rounds == 1 ? l.limit + 1 : 0;
        struct str *v = NULL;
        int e = label.n ? l.snap->ops->label_values(l.snap, label, m, n_m, l.from, l.to, ask, l.arena, &v, &n)
                        : l.snap->ops->label_names(l.snap, m, n_m, l.from, l.to, ask, l.arena, &v, &n);
        if (e) {
            vec_done(&all);
            too_large(r, &l, e);
            return;
        }
        vec_reserve(&all, all.n + n);
        if (n)
            memcpy(all.v + all.n, v, n * sizeof(*v));
        all.n += n;
    }
    if (rounds > 1)
        qsort(all.v, all.n, sizeof(*all.v), by_text);
    struct jw w;
    prom_begin(r, &w);
    jw_arr(&w);
    size_t told = 0;
    bool cut = false;
    for (size_t i = 0; i < all.n && !cut; i++) {
        if (i && str_eq(all.v[i], all.v[i - 1]))
            continue;
        cut = l.limit && told == l.limit;
        if (!cut)
            jw_str(&w, all.v[i]);
        told++;
    }
    jw_end(&w);
    end_with_limit(r, &w, cut);
    vec_done(&all);
    look_done(&l);
}

static void label_names(struct http_req *r, void *ctx)
{
    words(r, ctx, STR(""));
}

static void label_values(struct http_req *r, void *ctx)
{
    struct str name;
    if (!prom_unescape(http_arena(r), http_param(r, "name"), &name) || !name.n) {
        prom_fail(r, "bad_data", "invalid label name: \"" STR_FMT "\"", STR_ARG(http_param(r, "name")));
        return;
    }
    words(r, ctx, name);
}

static void metadata(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    size_t most, per_metric;
    if (!prom_limit(r, "limit", &most) || !prom_limit(r, "limit_per_metric", &per_metric))
        return;
    struct tsdb_metadata *v;
    size_t n;
    struct arena *arena = arena_new(0);
    tsdb_metadata(a->d.tsdb, http_arg(r, "metric"), most, arena, &v, &n);
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    for (size_t i = 0; i < n; i++) {
        jw_key_str(&w, v[i].metric);
        jw_arr(&w);
        jw_obj(&w);
        jw_kz(&w, "type", v[i].meta.type);
        jw_kz(&w, "help", v[i].meta.help);
        jw_kz(&w, "unit", v[i].meta.unit);
        jw_end(&w);
        jw_end(&w);
    }
    jw_end(&w);
    prom_end(r, &w);
    arena_free(arena);
}

/* The newest sample of each selected series within the lookback, as text exposition with timestamps; stale ones are
 * left out. */
static void federate(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct look l;
    struct source_list list;
    if (!look_begin(r, a, true, &l))
        return;
    int64_t now = clock_now_ms(a->d.clock);
    l.from = now - LOOKBACK_MS;
    l.to = now;
    int e = select_union(&l, &list);
    if (e) {
        too_large(r, &l, e);
        return;
    }
    struct labels external = {0};
    if (a->d.external_labels)
        a->d.external_labels(a->d.server, http_arena(r), &external);
    struct arena *row = arena_new(0);
    struct labels_builder b = {0};
    struct buf *out = http_out(r);
    struct column c = {0};
    struct str family = STR("");
    for (size_t i = 0; i < list.n; i++) {
        column_reset(&c);
        if (l.snap->ops->read(l.snap, &list.v[i], l.from, l.to, &c) || c.n == 0 || is_stale(c.v[c.n - 1]) ||
            (c.h && c.h[c.n - 1]))
            continue;
        struct str name = labels_get(list.v[i].labels, STR(LABEL_NAME));
        if (!str_eq(name, family) || i == 0) {
            buf_fmt(out, "# TYPE " STR_FMT " untyped\n", STR_ARG(name));
            family = name;
        }
        lb_init(&b, list.v[i].labels);
        for (size_t k = 0; k < external.n; k++)
            if (!labels_has(list.v[i].labels, external.v[k].name))
                lb_set(&b, external.v[k].name, external.v[k].value);
        labels_format_metric(out, lb_labels(&b, row));
        arena_reset(row);
        buf_putc(out, ' ');
        f64_put_g(out, c.v[c.n - 1]);
        buf_putc(out, ' ');
        buf_i64(out, c.t[c.n - 1]);
        buf_putc(out, '\n');
    }
    column_done(&c);
    lb_done(&b);
    arena_free(row);
    look_done(&l);
    http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8");
}

#define LATER(fn)                                                                                                      \
    static void fn##_later(struct http_req *r, void *ctx)                                                              \
    {                                                                                                                  \
        http_later(r, fn, ctx);                                                                                        \
    }
LATER(series)
LATER(label_names)
LATER(label_values)
LATER(federate)

static const struct http_route routes[] = {
    {HTTP_GET | HTTP_POST, "/api/v1/series", HTTP_VIEWER, HTTP_READS, series_later,
     "label sets of the series that match[] selects"},
    {HTTP_GET | HTTP_POST, "/api/v1/labels", HTTP_VIEWER, HTTP_READS, label_names_later, "label names"},
    {HTTP_GET, "/api/v1/label/{name}/values", HTTP_VIEWER, 0, label_values_later, "values of one label"},
    {HTTP_GET, "/api/v1/metadata", HTTP_VIEWER, 0, metadata, "type, help and unit of metrics, as targets told them"},
    {HTTP_GET, "/federate", HTTP_VIEWER, 0, federate_later, "newest samples of the selected series as text exposition"},
};

void prom_series_routes(struct api *a)
{
    http_server_routes(a->http, routes, ARRAY_LEN(routes), a);
}

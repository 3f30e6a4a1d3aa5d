// SPDX-License-Identifier: Apache-2.0
/* /api/v1/query, query_range and the calls about expressions. */
#include "api/api_int.h"

#include "base/format.h"
#include "base/limits.h"
#include "codec/f64.h"
#include <math.h>

#define POINTS_MAX 11000
#define STREAM_ABOVE 20000 /* points: larger answers are written piece by piece */

static void put_bucket_bound(struct buf *b, double v)
{
    buf_putc(b, '"');
    f64_put_json(b, v);
    buf_putc(b, '"');
}

/* [boundary rule, "lower", "upper", "count"]: 0 open left, 1 open right, 2 open both, 3 closed both. */
static void put_bucket(struct buf *b, bool *first, int rule, double lo, double hi, double count)
{
    if (count == 0)
        return;
    if (!*first)
        buf_putc(b, ',');
    *first = false;
    buf_fmt(b, "[%d,", rule);
    put_bucket_bound(b, lo);
    buf_putc(b, ',');
    put_bucket_bound(b, hi);
    buf_putc(b, ',');
    put_bucket_bound(b, count);
    buf_putc(b, ']');
}

/* Upper bound of exponential bucket i of a schema: 2^(i / 2^schema). */
static double bound(int schema, int32_t i)
{
    return exp2(ldexp((double)i, -schema));
}

static double custom_bound(const struct histogram *h, int32_t i)
{
    return i < 0 ? -INFINITY : (uint32_t)i < h->n_custom ? h->custom[i] : INFINITY;
}

#define CUSTOM_SCHEMA (-53)

static void put_buckets(struct buf *b, const struct histogram *h)
{
    bool first = true;
    /* Negative buckets from the lowest value up, the zero bucket, then the positive ones. */
    int32_t last = 0;
    for (uint32_t s = 0; s < h->n_neg_spans; s++)
        last += h->neg_spans[s].offset + (int32_t)h->neg_spans[s].length;
    uint32_t k = h->n_neg;
    for (uint32_t s = h->n_neg_spans; s-- > 0;) {
        for (uint32_t i = 0; i < h->neg_spans[s].length && k > 0; i++) {
            last--;
            /* where the zero bucket reaches into a bucket, that one ends there */
            put_bucket(b, &first, 1, -bound(h->schema, last), fmin(-bound(h->schema, last - 1), -h->zero_threshold),
                       h->neg[--k]);
        }
        last -= h->neg_spans[s].offset;
    }
    if (h->zero_count > 0) /* differences may be negative: Prometheus leaves those out */
        put_bucket(b, &first, 3, -h->zero_threshold, h->zero_threshold, h->zero_count);
    int32_t at = 0;
    k = 0;
    for (uint32_t s = 0; s < h->n_pos_spans; s++) {
        at += h->pos_spans[s].offset;
        for (uint32_t i = 0; i < h->pos_spans[s].length && k < h->n_pos; i++, at++, k++) {
            if (h->schema == CUSTOM_SCHEMA)
                put_bucket(b, &first, at == 0 ? 3 : 0, custom_bound(h, at - 1), custom_bound(h, at), h->pos[k]);
            else
                put_bucket(b, &first, 0, fmax(bound(h->schema, at - 1), h->zero_threshold), bound(h->schema, at),
                           h->pos[k]);
        }
    }
}

static void put_point(struct buf *b, int64_t t, double v, const struct histogram *h)
{
    buf_putc(b, '[');
    prom_put_time(b, t);
    buf_putc(b, ',');
    if (!h) {
        buf_putc(b, '"');
        f64_put_json(b, v);
        buf_z(b, "\"]");
        return;
    }
    buf_z(b, "{\"count\":\"");
    f64_put_json(b, h->count);
    buf_z(b, "\",\"sum\":\"");
    f64_put_json(b, h->sum);
    buf_z(b, "\",\"buckets\":[");
    put_buckets(b, h);
    buf_z(b, "]}]");
}

static void put_points(struct buf *b, const struct query_series *s, bool histograms)
{
    bool first = true;
    buf_putc(b, '[');
    for (size_t i = 0; i < s->n; i++) {
        const struct histogram *h = s->h ? s->h[i] : NULL;
        if ((h != NULL) != histograms)
            continue;
        if (!first)
            buf_putc(b, ',');
        first = false;
        put_point(b, s->t[i], s->v[i], h);
    }
    buf_putc(b, ']');
}

static void put_metric(struct buf *b, struct labels l)
{
    struct jw w;
    jw_init(&w, b);
    buf_z(b, "{\"metric\":");
    labels_json(&w, l);
}

static bool has_kind(const struct query_series *s, bool histograms)
{
    for (size_t i = 0; i < s->n; i++)
        if (((s->h && s->h[i]) != 0) == histograms)
            return true;
    return false;
}

static void put_series(struct buf *b, const struct query_series *s, bool matrix)
{
    put_metric(b, s->labels);
    if (!matrix) {
        const struct histogram *h = s->h ? s->h[0] : NULL;
        buf_z(b, h ? ",\"histogram\":" : ",\"value\":");
        put_point(b, s->t[0], s->v[0], h);
    } else {
        if (has_kind(s, false) || s->n == 0) {
            buf_z(b, ",\"values\":");
            put_points(b, s, false);
        }
        if (has_kind(s, true)) {
            buf_z(b, ",\"histograms\":");
            put_points(b, s, true);
        }
    }
    buf_putc(b, '}');
}

static void put_notes(struct buf *b, const struct query_result *q, bool warnings)
{
    bool any = false;
    for (size_t i = 0; i < q->n_notes; i++) {
        if (q->notes[i].warning != warnings)
            continue;
        buf_z(b, any ? "," : warnings ? ",\"warnings\":[" : ",\"infos\":[");
        any = true;
        buf_putc(b, '"');
        json_escape(b, q->notes[i].text);
        buf_putc(b, '"');
    }
    if (any)
        buf_putc(b, ']');
}

/* The answer, produced series by series: a large matrix is never whole in memory as text. */
struct answer {
    struct query_result q;
    struct arena *arena;
    size_t next;
    bool stats;
    double eval_s;
    enum { AT_HEAD, AT_SERIES, AT_TAIL } at;
};

static const char *kind_name(enum query_kind k)
{
    switch (k) {
    case QUERY_SCALAR:
        return "scalar";
    case QUERY_STRING:
        return "string";
    case QUERY_VECTOR:
        return "vector";
    case QUERY_MATRIX:
        return "matrix";
    }
    return "";
}

static void put_head(struct answer *a, struct buf *b)
{
    buf_fmt(b, "{\"status\":\"success\",\"data\":{\"resultType\":\"%s\",\"result\":[", kind_name(a->q.kind));
    if (a->q.kind == QUERY_SCALAR || a->q.kind == QUERY_STRING) {
        prom_put_time(b, a->q.t);
        buf_z(b, ",\"");
        if (a->q.kind == QUERY_SCALAR)
            f64_put(b, a->q.scalar);
        else
            json_escape(b, a->q.string);
        buf_putc(b, '"');
    }
}

static void put_tail(struct answer *a, struct buf *b)
{
    buf_putc(b, ']');
    if (a->stats) {
        buf_z(b, ",\"stats\":{\"timings\":{\"evalTotalTime\":");
        f64_put(b, a->eval_s);
        buf_z(b, ",\"resultSortTime\":0,\"queryPreparationTime\":0,\"innerEvalTime\":");
        f64_put(b, a->eval_s);
        buf_z(b, ",\"execQueueTime\":0,\"execTotalTime\":");
        f64_put(b, a->eval_s);
        buf_fmt(b, "},\"samples\":{\"totalQueryableSamples\":%llu,\"peakSamples\":%llu}}",
                (unsigned long long)a->q.samples_read, (unsigned long long)a->q.samples_peak);
    }
    buf_putc(b, '}');
    put_notes(b, &a->q, true);
    put_notes(b, &a->q, false);
    buf_putc(b, '}');
}

#define PIECE_BYTES ((size_t)64 << 10)

/* 1 at the end, 0 for more: http_stream's producer, and used whole for small answers. */
static int produce(void *ctx, struct buf *out)
{
    struct answer *a = ctx;
    size_t begin = out->n;
    if (a->at == AT_HEAD) {
        put_head(a, out);
        a->at = AT_SERIES;
    }
    bool rows = a->q.kind == QUERY_VECTOR || a->q.kind == QUERY_MATRIX;
    while (rows && a->next < a->q.n_series) {
        if (out->n - begin > PIECE_BYTES)
            return 0;
        if (a->next)
            buf_putc(out, ',');
        put_series(out, &a->q.series[a->next++], a->q.kind == QUERY_MATRIX);
    }
    put_tail(a, out);
    return 1;
}

static void answer_free(void *ctx)
{
    struct answer *a = ctx;
    arena_free(a->arena);
    free(a);
}

static void query_failed(struct http_req *r, int code, const struct err *e)
{
    switch (code) {
    case QUERY_E_PARSE:
        prom_fail(r, "bad_data", "invalid parameter \"query\": %s", e->msg);
        return;
    case QUERY_E_CANCELED:
        prom_fail(r, "canceled", "%s", e->msg);
        return;
    case QUERY_E_TIMEOUT:
        prom_fail(r, "timeout", "%s", e->msg);
        return;
    case QUERY_E_EXEC:
    case QUERY_E_BUDGET:
        prom_fail(r, "execution", "%s", e->msg);
        return;
    default:
        prom_fail(r, "internal", "%s", e->msg[0] ? e->msg : err_name(code));
        return;
    }
}

static void run(struct http_req *r, struct api *api, struct query_request *q)
{
    struct answer *a = NEW(struct answer);
    a->arena = arena_new((size_t)limit(query_memory));
    q->cancel = http_cancelled(r);
    struct str stats = http_arg(r, "stats");
    a->stats = stats.n > 0;
    struct err e = {0};
    uint64_t begin = clock_mono_ns(api->d.clock);
    int code = query_eval(api->d.query, q, a->arena, &a->q, &e);
    a->eval_s = (double)(clock_mono_ns(api->d.clock) - begin) / 1e9;
    if (code) {
        query_failed(r, code, &e);
        answer_free(a);
        return;
    }
    size_t points = 0;
    for (size_t i = 0; i < a->q.n_series; i++)
        points += a->q.series[i].n + 5; /* labels weigh about as much as five points */
    if (points > STREAM_ABOVE) {
        http_stream(r, 200, "application/json", produce, answer_free, a);
        return;
    }
    struct buf *out = http_out(r);
    while (produce(a, out) == 0 && !buf_error(out))
        ;
    bool too_large = buf_error(out) != 0;
    answer_free(a);
    if (too_large) {
        buf_reset(out);
        prom_fail(r, "execution", "the answer is larger than allowed (limit http_answer_bytes): narrow the question");
        return;
    }
    http_reply(r, 200, "application/json");
}

static bool common(struct http_req *r, struct query_request *q)
{
    q->expr = http_arg(r, "query");
    return prom_duration(r, "timeout", 0, &q->timeout_ms) && prom_duration(r, "lookback_delta", 0, &q->lookback_ms) &&
           prom_limit(r, "limit", &q->limit);
}

static void instant(struct http_req *r, void *ctx)
{
    struct api *api = ctx;
    struct query_request q = {0};
    if (!common(r, &q) || !prom_time(r, "time", clock_now_ms(api->d.clock), &q.start_ms))
        return;
    q.end_ms = q.start_ms;
    run(r, api, &q);
}

static bool required(struct http_req *r, const char *name)
{
    if (http_arg(r, name).n)
        return true;
    prom_fail(r, "bad_data", "invalid parameter \"%s\": cannot parse \"\" to a valid %s", name,
              strcmp(name, "step") == 0 ? "duration" : "timestamp");
    return false;
}

static void range(struct http_req *r, void *ctx)
{
    struct api *api = ctx;
    struct query_request q = {0};
    if (!required(r, "start") || !required(r, "end") || !required(r, "step") || !common(r, &q) ||
        !prom_time(r, "start", 0, &q.start_ms) || !prom_time(r, "end", 0, &q.end_ms) ||
        !prom_duration(r, "step", 0, &q.step_ms))
        return;
    if (q.end_ms < q.start_ms) {
        prom_fail(r, "bad_data", "invalid parameter \"end\": end timestamp must not be before start time");
        return;
    }
    if (q.step_ms <= 0) {
        prom_fail(r, "bad_data",
                  "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a "
                  "positive integer");
        return;
    }
    int64_t most = api->d.query_max_points ? api->d.query_max_points : POINTS_MAX;
    if ((q.end_ms - q.start_ms) / q.step_ms > most) {
        prom_fail(r, "bad_data",
                  "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution "
                  "(?step=XX)");
        return;
    }
    run(r, api, &q);
}

/* Evaluation may take long: never on an HTTP thread unless the question is tiny. */
static void instant_later(struct http_req *r, void *ctx)
{
    http_later(r, instant, ctx);
}

static void range_later(struct http_req *r, void *ctx)
{
    http_later(r, range, ctx);
}

#define CHEAP_BYTES 200 /* a query text without brackets and below this is answered in place */

static void instant_route(struct http_req *r, void *ctx)
{
    struct str q = http_arg(r, "query");
    if (q.n < CHEAP_BYTES && str_chr(q, '[') < 0 && str_find(q, STR("=~")) < 0 && str_chr(q, '=') >= 0)
        instant(r, ctx);
    else
        instant_later(r, ctx);
}

static struct promql *parsed(struct http_req *r)
{
    struct promql *p = NULL;
    struct err e = {0};
    if (promql_parse(http_arg(r, "query"), &p, &e)) {
        prom_fail(r, "bad_data", "invalid parameter \"query\": %s", e.msg);
        return NULL;
    }
    return p;
}

static void format_query(struct http_req *r, void *ctx)
{
    (void)ctx;
    struct promql *p = parsed(r);
    if (!p)
        return;
    _cleanup_buf_ struct buf text = BUF_INIT((size_t)limit(query_bytes) * 8);
    promql_format(&text, p);
    promql_free(p);
    struct jw w;
    prom_begin(r, &w);
    jw_str(&w, buf_view(&text));
    prom_end(r, &w);
}

static void parse_query(struct http_req *r, void *ctx)
{
    (void)ctx;
    struct promql *p = parsed(r);
    if (!p)
        return;
    struct jw w;
    prom_begin(r, &w);
    promql_ast_json(&w, p);
    promql_free(p);
    prom_end(r, &w);
}

/* No exemplars are stored in this version: the empty list is the truth. Arguments are checked all the same. */
static void exemplars(struct http_req *r, void *ctx)
{
    (void)ctx;
    int64_t from, to;
    if (!prom_time(r, "start", PROM_MIN_MS, &from) || !prom_time(r, "end", PROM_MAX_MS, &to))
        return;
    if (to < from) {
        prom_fail(r, "bad_data", "invalid parameter \"end\": end timestamp must not be before start timestamp");
        return;
    }
    struct promql *p = parsed(r);
    if (!p)
        return;
    promql_free(p);
    struct jw w;
    prom_begin(r, &w);
    jw_arr(&w);
    jw_end(&w);
    prom_end(r, &w);
}

static const struct http_route routes[] = {
    {HTTP_GET | HTTP_POST, "/api/v1/query", HTTP_VIEWER, HTTP_READS, instant_route,
     "evaluate a PromQL expression at one time"},
    {HTTP_GET | HTTP_POST, "/api/v1/query_range", HTTP_VIEWER, HTTP_READS, range_later,
     "evaluate a PromQL expression over a range of times"},
    {HTTP_GET | HTTP_POST, "/api/v1/format_query", HTTP_VIEWER, HTTP_READS, format_query, "an expression, laid out"},
    {HTTP_GET | HTTP_POST, "/api/v1/parse_query", HTTP_VIEWER, HTTP_READS, parse_query, "an expression as a tree"},
    {HTTP_GET | HTTP_POST, "/api/v1/query_exemplars", HTTP_VIEWER, HTTP_READS, exemplars,
     "exemplars of the series an expression selects"},
};

void prom_query_routes(struct api *a)
{
    http_server_routes(a->http, routes, ARRAY_LEN(routes), a);
}

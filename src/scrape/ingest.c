// SPDX-License-Identifier: Apache-2.0
/* From bytes to rows. A steady scrape compares each line with the one that came at its place last time: no hashing, no
 * label is looked at. What differs is looked up by hash; what is new is parsed, given the target's labels and
 * relabelled. Staleness follows Prometheus 3.x scrape/scrape.go: a series that was in the last scrape and is not in
 * this one ends with a marker at this scrape's time; a failed scrape ends all of them. */
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/utf8.h"
#include "codec/f64.h"
#include "scrape/scrape_int.h"

static const char *const report_names[REPORT_COUNT] = {
    [REPORT_UP] = "up",
    [REPORT_DURATION] = "scrape_duration_seconds",
    [REPORT_SAMPLES] = "scrape_samples_scraped",
    [REPORT_AFTER] = "scrape_samples_post_metric_relabeling",
    [REPORT_ADDED] = "scrape_series_added",
    [REPORT_TIMEOUT] = "scrape_timeout_seconds",
    [REPORT_LIMIT] = "scrape_sample_limit",
    [REPORT_BODY] = "scrape_body_size_bytes",
};

static bool honors_labels(const struct target *t)
{
    return t->pool ? t->pool->conf->honor_labels : t->honor_labels;
}

/* Give a sample the target's labels: ours win and theirs become exported_..., or theirs win. */
static void add_target_labels(struct labels_builder *b, const struct target *t, bool honor, struct arena *a)
{
    struct label clash[16];
    size_t n_clash = 0;
    for (size_t i = 0; i < t->labels.n; i++) {
        struct label l = t->labels.v[i];
        struct str theirs = lb_get(b, l.name);
        if (honor && !str_empty(theirs))
            continue;
        if (!str_empty(theirs) && n_clash < ARRAY_LEN(clash))
            clash[n_clash++] = (struct label){l.name, theirs};
        lb_set(b, l.name, l.value);
    }
    /* Shorter names first, so that `x` takes exported_x before an `exported_x` of the target asks for another prefix.
     */
    for (size_t i = 1; i < n_clash; i++)
        for (size_t k = i; k > 0 && clash[k - 1].name.n > clash[k].name.n; k--) {
            struct label tmp = clash[k];
            clash[k] = clash[k - 1];
            clash[k - 1] = tmp;
        }
    for (size_t i = 0; i < n_clash; i++) {
        struct str name = clash[i].name;
        do
            name = arena_fmt(a, "exported_" STR_FMT, STR_ARG(name));
        while (!str_empty(lb_get(b, name)));
        lb_set(b, name, clash[i].value);
    }
}

static int check_labels(struct ingest *in, struct labels l)
{
    const struct promfile_scrape *conf = in->t->pool ? in->t->pool->conf : NULL;
    struct str metric = labels_get(l, STR(LABEL_NAME));
    if (str_empty(metric)) {
        err_set(&in->err, "missing metric name (__name__ label)");
        return -EINVAL;
    }
    if (!conf)
        return 0;
    if (conf->legacy_names) {
        bool ok = metric_name_legacy(metric);
        for (size_t i = 0; i < l.n && ok; i++)
            ok = label_name_legacy(l.v[i].name);
        if (!ok) {
            err_set(&in->err, "invalid metric name or label names: " STR_FMT, STR_ARG(str_sub(metric, 0, 100)));
            return -EINVAL;
        }
    }
    const struct promfile_limits *lim = &conf->limits;
    if (lim->labels && l.n > (size_t)lim->labels) {
        count(in->t->scrape, N_LABEL_LIMIT, 1);
        err_set(&in->err, "label_limit exceeded (metric: " STR_FMT ", number of labels: %zu, limit: %lld)",
                STR_ARG(str_sub(metric, 0, 50)), l.n, (long long)lim->labels);
        return -EINVAL;
    }
    for (size_t i = 0; (lim->label_name_length || lim->label_value_length) && i < l.n; i++) {
        if (lim->label_name_length && l.v[i].name.n > (size_t)lim->label_name_length) {
            count(in->t->scrape, N_LABEL_LIMIT, 1);
            err_set(&in->err,
                    "label_name_length_limit exceeded (metric: " STR_FMT ", label name: " STR_FMT
                    ", length: %zu, limit: %lld)",
                    STR_ARG(str_sub(metric, 0, 50)), STR_ARG(str_sub(l.v[i].name, 0, 50)), l.v[i].name.n,
                    (long long)lim->label_name_length);
            return -EINVAL;
        }
        if (lim->label_value_length && l.v[i].value.n > (size_t)lim->label_value_length) {
            count(in->t->scrape, N_LABEL_LIMIT, 1);
            err_set(&in->err,
                    "label_value_length_limit exceeded (metric: " STR_FMT ", label name: " STR_FMT
                    ", length: %zu, limit: %lld)",
                    STR_ARG(str_sub(metric, 0, 50)), STR_ARG(str_sub(l.v[i].name, 0, 50)), l.v[i].value.n,
                    (long long)lim->label_value_length);
            return -EINVAL;
        }
    }
    return 0;
}

/* The labels of the series a line stands for, in the scratch arena. 1: dropped by relabelling. */
static int line_labels(struct ingest *in, struct line *l, struct labels *ret)
{
    struct scrape *s = in->t->scrape;
    struct expo_label *v;
    size_t n;
    struct err e = {0};
    int r = expo_labels(str_make(l->raw, l->n), (enum expo_type)l->type, s->scratch, &v, &n, &e);
    if (r < 0) {
        err_set(&in->err, STR_FMT ": %s", STR_ARG(str_sub(str_make(l->raw, l->n), 0, 200)), e.msg);
        return -EINVAL;
    }
    lb_init(&s->builder, (struct labels){0});
    for (size_t i = 0; i < n; i++)
        lb_set(&s->builder, v[i].name, v[i].value);
    add_target_labels(&s->builder, in->t, honors_labels(in->t), s->scratch);
    if (in->t->pool) {
        const struct relabel_rules *rules = &in->t->pool->conf->metric_relabel;
        if (rules->n && !relabel_apply(rules->v, rules->n, &s->builder, s->scratch))
            return 1;
    }
    struct labels out = lb_labels(&s->builder, s->scratch);
    if (out.n == 0)
        return 1;
    if ((r = check_labels(in, out)) < 0)
        return r;
    *ret = out;
    return 0;
}

void ingest_begin(struct ingest *in, struct target *t, int64_t now_ms)
{
    struct scrape *s = t->scrape;
    *in = (struct ingest){.t = t, .now_ms = now_ms};
    t->cache.iter++;
    vec_reset(&t->cache.next);
    vec_reset(&s->rows);
    vec_reset(&s->row_lines);
    arena_reset(s->scratch);
}

static inline void push_row(struct scrape *s, struct line *l, series_ref ref, struct labels labels, int64_t t, double v)
{
    vec_push(&s->rows, (struct sample_row){.ref = ref, .labels = labels, .t = t, .v = v});
    vec_push(&s->row_lines, l);
}

/* A sample of a known or new line. */
static int take(struct ingest *in, struct line *l, double v, bool has_t, int64_t t_ms)
{
    struct target *t = in->t;
    struct scrape *s = t->scrape;
    in->total++;
    vec_push(&t->cache.next, l);
    bool duplicate = l->iter == t->cache.iter;
    l->iter = t->cache.iter;
    if (l->flags & LINE_DROPPED)
        return 0;
    const struct promfile_scrape *conf = t->pool ? t->pool->conf : NULL;
    if (conf && !conf->honor_timestamps)
        has_t = false;
    struct labels labels = {0};
    if (!l->ref && !duplicate) {
        int r = line_labels(in, l, &labels);
        if (r < 0)
            return r;
        if (r == 1) {
            l->flags |= LINE_DROPPED;
            return 0;
        }
        in->series_added += (l->flags & LINE_FRESH) != 0;
    }
    in->added++;
    if (duplicate && !has_t) {
        count(s, N_DUPLICATE, 1);
        return 0;
    }
    if (duplicate && !l->ref) { /* the first of the two, in this batch, carries the labels */
        int r = line_labels(in, l, &labels);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    in->stored++;
    if (has_t && !(conf && conf->track_timestamps_staleness)) {
        if (l->flags & LINE_TRACKED) { /* came without a timestamp until now: that run ends here */
            l->flags &= (uint8_t)~LINE_TRACKED;
            if (l->ref)
                push_row(s, NULL, l->ref, (struct labels){0}, in->now_ms, stale_nan());
        }
    } else {
        l->flags |= LINE_TRACKED;
    }
    push_row(s, l, l->ref, labels, has_t ? t_ms : in->now_ms, v);
    return 0;
}

/* A line that was not the expected one. */
static struct line *look_up(struct ingest *in, struct str raw, bool meta)
{
    struct line_cache *c = &in->t->cache;
    uint64_t h = hash_seeded(raw.p, raw.n);
    struct line *l = cache_find(c, raw, h);
    if (!l) {
        l = cache_add(c, raw, h);
        l->type = (uint8_t)in->type;
        l->pos = UINT32_MAX;
        l->flags |= meta ? LINE_META : 0;
        in->meta_changed |= meta;
        return l;
    }
    if (l->pos < c->order.n && c->order.v[l->pos] == l)
        in->pos = l->pos + 1;
    if (l->type != in->type && !meta && l->iter != c->iter) { /* le and quantile may be written differently now */
        if ((l->flags & LINE_TRACKED) && l->ref)
            vec_push(&c->orphans, l->ref);
        l->type = (uint8_t)in->type;
        l->ref = 0;
        l->flags &= (uint8_t) ~(LINE_DROPPED | LINE_TRACKED);
    }
    return l;
}

static void take_meta(struct ingest *in, struct line *l)
{
    l->iter = in->t->cache.iter;
    vec_push(&in->t->cache.next, l);
}

static int sample_limit(const struct ingest *in, struct err *e)
{
    int64_t max = in->t->pool ? in->t->pool->conf->limits.samples : 0;
    if (max == 0 || in->stored <= (uint64_t)max)
        return 0;
    count(in->t->scrape, N_SAMPLE_LIMIT, 1);
    err_set(e, "sample limit exceeded");
    return -EINVAL;
}

int ingest_body(struct ingest *in, struct str body)
{
    struct target *t = in->t;
    struct line_cache *c = &t->cache;
    struct expo_parser x;
    expo_init(&x, t->format, body);
    for (;;) {
        struct expo_item it;
        int r;
        if (in->pos < c->order.n) {
            struct line *l = c->order.v[in->pos];
            if (l->flags & LINE_META) {
                if ((size_t)(x.end - x.p) >= l->n && memcmp(x.p, l->raw, l->n) == 0) {
                    x.p += l->n;
                    x.type = in->type = (enum expo_type)l->type;
                    in->pos++;
                    take_meta(in, l);
                    continue;
                }
            } else if (l->type == x.type) {
                r = expo_expect(&x, str_make(l->raw, l->n), &it, &in->err);
                if (r < 0)
                    return r;
                if (r == 1) {
                    in->pos++;
                    if ((r = take(in, l, it.v, it.has_t, it.t_ms)) < 0)
                        return r;
                    continue;
                }
            }
        }
        const char *start = x.p;
        if ((r = expo_next(&x, &it, &in->err)) < 0)
            return r;
        in->type = x.type;
        if (it.kind == EXPO_END)
            break;
        if (it.kind != EXPO_SAMPLE) {
            take_meta(in, look_up(in, str_make(start, (size_t)(x.p - start)), true));
            continue;
        }
        if (it.series.n > (size_t)limit(label_value_bytes)) {
            err_set(&in->err, "a series of %zu bytes (limit label_value_bytes)", it.series.n);
            return -EINVAL;
        }
        if ((r = take(in, look_up(in, it.series, false), it.v, it.has_t, it.t_ms)) < 0)
            return r;
    }
    return sample_limit(in, &in->err);
}

/* --- internal targets --- */

static void escape(struct buf *b, struct str s, bool quote)
{
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        if (ch != '\\' && ch != '\n' && !(quote && ch == '"'))
            continue;
        buf_put(b, s.p + from, i - from);
        buf_putc(b, '\\');
        buf_putc(b, ch == '\n' ? 'n' : ch);
        from = i + 1;
    }
    buf_put(b, s.p + from, s.n - from);
}

static void meta_line(struct ingest_out *o, const char *word, struct str name, struct str text, bool escaped)
{
    struct ingest *in = o->in;
    struct line_cache *c = &in->t->cache;
    buf_reset(&o->text);
    buf_fmt(&o->text, "# %s " STR_FMT " ", word, STR_ARG(name));
    if (escaped)
        escape(&o->text, text, false);
    else
        buf_str(&o->text, text);
    buf_putc(&o->text, '\n');
    struct str raw = buf_view(&o->text);
    struct line *l = in->pos < c->order.n ? c->order.v[in->pos] : NULL;
    if (l && (l->flags & LINE_META) && l->n == raw.n && memcmp(l->raw, raw.p, raw.n) == 0)
        in->pos++;
    else
        l = look_up(in, raw, true);
    take_meta(in, l);
}

static void out_family(struct metrics_out *out, struct str name, struct str help, enum metric_type type)
{
    struct ingest_out *o = CONTAINER_OF(out, struct ingest_out, out);
    static const enum expo_type types[] = {[METRIC_COUNTER] = EXPO_T_COUNTER,
                                           [METRIC_GAUGE] = EXPO_T_GAUGE,
                                           [METRIC_HISTOGRAM] = EXPO_T_HISTOGRAM,
                                           [METRIC_SUMMARY] = EXPO_T_SUMMARY,
                                           [METRIC_UNTYPED] = EXPO_T_UNKNOWN};
    o->family = name;
    o->in->type = types[type];
    meta_line(o, "HELP", name, help, true);
    meta_line(o, "TYPE", name, str_of(metric_type_names[type]), false);
}

static void out_sample(struct metrics_out *out, struct str suffix, const struct metric_label *labels, size_t n,
                       double v)
{
    struct ingest_out *o = CONTAINER_OF(out, struct ingest_out, out);
    struct ingest *in = o->in;
    struct line_cache *c = &in->t->cache;
    if (o->failed)
        return;
    struct buf *b = &o->text;
    buf_reset(b);
    buf_str(b, o->family);
    buf_str(b, suffix);
    if (n) {
        buf_putc(b, '{');
        for (size_t i = 0; i < n; i++) {
            if (i)
                buf_putc(b, ',');
            buf_str(b, labels[i].name);
            buf_put(b, "=\"", 2);
            if (utf8_valid(labels[i].value)) {
                escape(b, labels[i].value, true);
            } else { /* file names of the machine may be anything */
                _cleanup_buf_ struct buf clean = BUF_INIT((size_t)limit(label_value_bytes));
                utf8_scrub(&clean, labels[i].value);
                escape(b, buf_view(&clean), true);
            }
            buf_putc(b, '"');
        }
        buf_putc(b, '}');
    }
    if (buf_error(b))
        return;
    struct str raw = buf_view(b);
    struct line *l = in->pos < c->order.n ? c->order.v[in->pos] : NULL;
    if (l && !(l->flags & LINE_META) && l->type == in->type && l->n == raw.n && memcmp(l->raw, raw.p, raw.n) == 0)
        in->pos++;
    else
        l = look_up(in, raw, false);
    if (v != v)
        v = f64_from_bits(NORMAL_NAN_BITS);
    o->failed = take(in, l, v, false, 0);
}

void ingest_out_init(struct ingest_out *o, struct ingest *in)
{
    *o = (struct ingest_out){
        .out = {out_family, out_sample}, .in = in, .text = BUF_INIT((size_t)limit(label_value_bytes))};
}

/* --- the end of a scrape --- */

/* Say to the store what the lines of this scrape tell about their metrics. Only after a change. */
static void tell_metadata(struct target *t)
{
    struct sink *sink = t->scrape->sink;
    if (!sink->metadata)
        return;
    struct arena *a = t->scrape->scratch;
    struct str name = STR_NULL, help = STR_NULL, unit = STR_NULL;
    enum expo_type type = EXPO_T_UNKNOWN;
    for (size_t i = 0; i <= t->cache.order.n; i++) {
        struct expo_item it = {.kind = EXPO_END};
        if (i < t->cache.order.n) {
            struct line *l = t->cache.order.v[i];
            struct expo_parser x;
            if (!(l->flags & LINE_META))
                continue;
            expo_init(&x, t->format, str_make(l->raw, l->n));
            if (expo_next(&x, &it, NULL) < 0)
                continue;
        }
        if (!str_empty(name) && (it.kind == EXPO_END || !str_eq(it.name, name))) {
            struct metric_meta m = {
                .type = expo_type_names[type], .help = arena_strz(a, help), .unit = arena_strz(a, unit)};
            sink->metadata(sink, expo_unescape(name, true, a), &m);
            help = unit = STR_NULL;
            type = EXPO_T_UNKNOWN;
        }
        if (it.kind == EXPO_END)
            continue;
        name = it.name;
        if (it.kind == EXPO_HELP)
            help = expo_unescape(it.text, false, a);
        else if (it.kind == EXPO_UNIT)
            unit = it.text;
        else
            type = it.type;
    }
}

static void push_stale(struct scrape *s, struct line *l, int64_t t)
{
    l->flags &= (uint8_t)~LINE_TRACKED;
    if (l->ref)
        push_row(s, NULL, l->ref, (struct labels){0}, t, stale_nan());
}

/* After a success: the new order replaces the old one, what did not come again ends and is forgotten. */
static void settle_success(struct ingest *in)
{
    struct target *t = in->t;
    struct line_cache *c = &t->cache;
    c->all_ended = false;
    bool same = c->order.n == c->next.n && in->pos == c->order.n;
    for (size_t i = 0; same && i < c->next.n; i++)
        same = c->next.v[i] == c->order.v[i];
    if (same)
        return;
    /* Lines only in the old order end; a line may stand there more than once. */
    size_t n_dead = 0;
    for (size_t i = 0; i < c->order.n; i++) {
        struct line *l = c->order.v[i];
        if (l->iter == c->iter || (l->flags & LINE_DEAD))
            continue;
        if (l->flags & LINE_TRACKED)
            push_stale(t->scrape, l, in->now_ms);
        l->flags |= LINE_DEAD;
        c->order.v[n_dead++] = l;
    }
    for (size_t i = 0; i < n_dead; i++)
        cache_remove(c, c->order.v[i]);
    typeof(c->order) tmp = c->order;
    c->order = c->next;
    c->next = tmp;
    vec_reset(&c->next);
    for (size_t i = c->order.n; i-- > 0;) {
        c->order.v[i]->pos = (uint32_t)i;
        c->order.v[i]->flags &= (uint8_t)~LINE_FRESH;
    }
}

/* After a failure: everything that was there ends now; what this scrape brought for the first time is forgotten. */
static void settle_failure(struct ingest *in)
{
    struct target *t = in->t;
    struct line_cache *c = &t->cache;
    vec_reset(&t->scrape->rows);
    vec_reset(&t->scrape->row_lines);
    size_t n_dead = 0;
    for (size_t i = 0; i < c->next.n; i++)
        if ((c->next.v[i]->flags & (LINE_FRESH | LINE_DEAD)) == LINE_FRESH) {
            c->next.v[i]->flags |= LINE_DEAD;
            c->next.v[n_dead++] = c->next.v[i];
        }
    for (size_t i = 0; i < n_dead; i++)
        cache_remove(c, c->next.v[i]);
    vec_reset(&c->next);
    for (size_t i = 0; i < c->order.n; i++)
        if (!c->all_ended && (c->order.v[i]->flags & LINE_TRACKED))
            push_stale(t->scrape, c->order.v[i], in->now_ms);
        else
            c->order.v[i]->flags &= (uint8_t)~LINE_TRACKED; /* set by the lines read before the failure */
    c->all_ended = true;
}

static void push_reports(struct ingest *in, bool up, double duration_s, uint64_t body_bytes)
{
    struct target *t = in->t;
    struct scrape *s = t->scrape;
    const struct promfile_scrape *conf = t->pool ? t->pool->conf : NULL;
    const double values[REPORT_COUNT] = {
        [REPORT_UP] = up,
        [REPORT_DURATION] = duration_s,
        [REPORT_SAMPLES] = (double)in->total,
        [REPORT_AFTER] = (double)in->added,
        [REPORT_ADDED] = (double)in->series_added,
        [REPORT_TIMEOUT] = (double)t->timeout_ms / 1000,
        [REPORT_LIMIT] = conf ? (double)conf->limits.samples : 0,
        [REPORT_BODY] = (double)body_bytes,
    };
    size_t n = conf && conf->extra_scrape_metrics ? REPORT_COUNT : REPORT_TIMEOUT;
    for (size_t i = 0; i < n; i++) {
        struct labels labels = {0};
        if (!t->report[i]) {
            lb_init(&s->builder, (struct labels){0});
            lb_set(&s->builder, STR(LABEL_NAME), str_of(report_names[i]));
            add_target_labels(&s->builder, t, false, s->scratch);
            labels = lb_labels(&s->builder, s->scratch);
        }
        push_row(s, NULL, t->report[i], labels, in->now_ms, values[i]);
    }
}

static void append(struct scrape *s, struct target *t, unsigned flags)
{
    if (s->rows.n == 0)
        return;
    int r = sink_append(s->sink, s->rows.v, s->rows.n, flags);
    if (r < 0) {
        count(s, N_APPEND_ERRORS, 1);
        log_error("samples were not stored", KV_STR("target", t->url), KV_INT("samples", s->rows.n), KV_ERR(r));
        for (size_t i = 0; i < s->rows.n; i++) /* references of new series are not to be trusted */
            s->rows.v[i].status = ROW_NO_SPACE;
    }
}

/* What became of each row: references are remembered, refusals counted. Rows whose reference the store has forgotten
 * are gathered at the front of s->rows with labels, to be sent again. */
static size_t judge_rows(struct ingest *in, size_t n_report)
{
    struct scrape *s = in->t->scrape;
    size_t again = 0, first_report = s->rows.n - n_report;
    for (size_t i = 0; i < s->rows.n; i++) {
        struct sample_row *row = &s->rows.v[i];
        struct line *l = s->row_lines.v[i];
        switch (row->status) {
        case ROW_OK:
        case ROW_DUPLICATE:
            break;
        case ROW_DUP_VALUE:
            if (!is_stale(row->v))
                count(s, N_DUPLICATE, 1);
            break;
        case ROW_OUT_OF_ORDER:
            if (!is_stale(row->v))
                count(s, N_OUT_OF_ORDER, 1);
            break;
        case ROW_TOO_OLD:
        case ROW_TOO_NEW:
            count(s, N_OUT_OF_BOUNDS, 1);
            break;
        case ROW_BAD_LABELS:
            if (row->labels.n == 0 && l && row->ref) {
                struct labels labels;
                if (line_labels(in, l, &labels) == 0) {
                    struct sample_row fixed = {.labels = labels, .t = row->t, .v = row->v};
                    l->ref = 0;
                    s->rows.v[again] = fixed;
                    s->row_lines.v[again++] = l;
                    continue;
                }
            }
            if (i >= first_report)
                in->t->report[i - first_report] = 0;
            count(s, N_REFUSED, 1);
            continue;
        case ROW_NO_SPACE:
        case ROW_STATUS_COUNT:
            count(s, N_REFUSED, 1);
            continue;
        }
        if (l)
            l->ref = row->ref;
        else if (i >= first_report)
            in->t->report[i - first_report] = row->ref;
    }
    return again;
}

/* Series whose lines were forgotten end unless this scrape wrote them. */
static void settle_orphans(struct ingest *in)
{
    struct scrape *s = in->t->scrape;
    struct line_cache *c = &in->t->cache;
    struct idmap written = {0};
    for (size_t i = 0; i < s->rows.n; i++)
        idmap_put(&written, s->rows.v[i].ref, 1);
    vec_reset(&s->rows);
    vec_reset(&s->row_lines);
    for (size_t i = 0; i < c->orphans.n; i++) {
        uint64_t ignored;
        if (!idmap_get(&written, c->orphans.v[i], &ignored))
            push_row(s, NULL, c->orphans.v[i], (struct labels){0}, in->now_ms, stale_nan());
    }
    idmap_done(&written);
    vec_reset(&c->orphans);
    append(s, in->t, SINK_EXACT_ORDER);
}

void ingest_end(struct ingest *in, const char *error, double duration_s, uint64_t body_bytes)
{
    struct target *t = in->t;
    struct scrape *s = t->scrape;
    if (error)
        settle_failure(in);
    else
        settle_success(in);
    size_t before = s->rows.n;
    push_reports(in, !error, duration_s, body_bytes);
    size_t n_report = s->rows.n - before;
    append(s, t, 0);
    size_t again = judge_rows(in, n_report);
    if (again) {
        s->rows.n = s->row_lines.n = again;
        append(s, t, 0);
        (void)judge_rows(in, 0); /* with labels given, nothing is asked for twice */
    }
    if (t->cache.orphans.n)
        settle_orphans(in);
    if (!error && in->meta_changed)
        tell_metadata(t);
    count(s, N_SAMPLES, (int64_t)in->stored);
    if (s->rows.cap > 1 << 16) { /* one large target must not pin its memory for ever */
        vec_done(&s->rows);
        vec_done(&s->row_lines);
    }
}

void ingest_retire(struct target *t)
{
    struct scrape *s = t->scrape;
    vec_reset(&s->rows);
    vec_reset(&s->row_lines);
    for (size_t i = 0; i < t->cache.order.n; i++)
        if (t->cache.order.v[i]->flags & LINE_TRACKED)
            push_stale(s, t->cache.order.v[i], t->stale_ms);
    for (size_t i = 0; i < t->cache.orphans.n; i++)
        push_row(s, NULL, t->cache.orphans.v[i], (struct labels){0}, t->stale_ms, stale_nan());
    for (size_t i = 0; i < REPORT_COUNT; i++)
        if (t->report[i])
            push_row(s, NULL, t->report[i], (struct labels){0}, t->stale_ms, stale_nan());
    append(s, t, SINK_EXACT_ORDER);
}

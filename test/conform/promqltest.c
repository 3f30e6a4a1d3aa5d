// SPDX-License-Identifier: Apache-2.0
/* hune-promqltest [-v] [-a] [--ratchet FILE] FILE...: runs `.test` scripts of PromQL against the engine, in this
 * process. Each file starts with an empty store. One line per failed evaluation, `FILE: passed/total` per file, a total
 * at the end. Exit 0: all passed; 1: some failed; 2: a file cannot be read. -a: also with `@` added to every selector.
 * With
 * --ratchet only fewer passes than recorded there count as a failure. */
#include "memsource.h"
#include "promql/ast_int.h"
#include "promql/hist_int.h"
#include "base/limits.h"
#include "codec/f64.h"
#include <float.h>
#include <math.h>

struct series_line {
    struct labels labels;
    struct str text; /* the values */
};

struct value {
    bool present;
    double v;
    const struct histogram *h;
    bool hint_named; /* the expected histogram names its reset hint */
};
typedef VEC(struct value) values;

struct expectation {
    enum { EXPECT_FAIL, EXPECT_WARN, EXPECT_INFO, EXPECT_NO_WARN, EXPECT_NO_INFO } kind;
    struct str text;
    struct regex *re;
};

struct run {
    const char *path;
    struct arena *a; /* of the file */
    struct memsource *store;
    struct promql_engine *engine;
    bool verbose, at_mode, ratchet;
    unsigned passed, total;
    unsigned line;
    bool broken;
    VEC(struct str) lines;
};

static void format_error(struct run *r, const char *what)
{
    fprintf(stderr, "%s:%u: %s\n", r->path, r->line + 1, what);
    r->broken = true;
}

/* ---- Reading values ---------------------------------------------------------------- */

static bool read_number(struct str s, double *ret)
{
    bool minus = s.n && s.p[0] == '-';
    struct str bare = s.n && (s.p[0] == '-' || s.p[0] == '+') ? str_sub(s, 1, s.n) : s;
    int64_t ms;
    struct str msg;
    double v;
    if (str_ieq(bare, STR("nan"))) {
        *ret = f64_from_bits(NORMAL_NAN_BITS);
        return true;
    }
    if (f64_parse(bare, &v) || f64_parse_go(bare, &v)) {
        *ret = minus ? -v : v;
        return true;
    }
    struct arena *a = arena_new(0);
    bool ok = promql_duration(bare, a, &ms, &msg);
    arena_free(a);
    if (ok)
        *ret = (minus ? -1.0 : 1.0) * (double)ms / 1000;
    return ok;
}

static double *read_list(struct arena *a, struct str s, uint32_t *ret_n)
{
    double *v = ARENA_ARRAY(a, double, s.n + 1);
    uint32_t n = 0;
    s = str_trim(s);
    while (s.n) {
        struct str word, rest;
        str_cut(s, ' ', &word, &rest);
        if (word.n && !read_number(word, &v[n]))
            return NULL;
        n += word.n > 0;
        s = str_trim(rest);
    }
    *ret_n = n;
    return v;
}

static void one_span(struct arena *a, int32_t offset, uint32_t n, const struct hist_span **ret, uint32_t *ret_n)
{
    if (n == 0)
        return;
    struct hist_span *s = ARENA_NEW(a, struct hist_span);
    *s = (struct hist_span){.offset = offset, .length = n};
    *ret = s;
    *ret_n = 1;
}

/* The inside of {{...}} */
static const struct histogram *read_histogram(struct arena *a, struct str s, bool *ret_hint)
{
    struct histogram *h = ARENA_NEW(a, struct histogram);
    double offset = 0, n_offset = 0, schema = 0;
    *ret_hint = false;
    s = str_trim(s);
    while (s.n) {
        struct str key, value;
        if (!str_cut(s, ':', &key, &value))
            return NULL;
        key = str_trim(key);
        struct str rest;
        if (value.n && value.p[0] == '[') {
            ptrdiff_t end = str_chr(value, ']');
            if (end < 0)
                return NULL;
            rest = str_sub(value, (size_t)end + 1, value.n);
            value = str_sub(value, 1, (size_t)end);
        } else {
            str_cut(value, ' ', &value, &rest);
        }
        bool ok = true;
        if (str_eqz(key, "schema"))
            ok = read_number(value, &schema);
        else if (str_eqz(key, "sum"))
            ok = read_number(value, &h->sum);
        else if (str_eqz(key, "count"))
            ok = read_number(value, &h->count);
        else if (str_eqz(key, "z_bucket"))
            ok = read_number(value, &h->zero_count);
        else if (str_eqz(key, "z_bucket_w"))
            ok = read_number(value, &h->zero_threshold);
        else if (str_eqz(key, "buckets"))
            ok = (h->pos = read_list(a, value, &h->n_pos)) != NULL;
        else if (str_eqz(key, "n_buckets"))
            ok = (h->neg = read_list(a, value, &h->n_neg)) != NULL;
        else if (str_eqz(key, "offset"))
            ok = read_number(value, &offset);
        else if (str_eqz(key, "n_offset"))
            ok = read_number(value, &n_offset);
        else if (str_eqz(key, "custom_values"))
            ok = (h->custom = read_list(a, value, &h->n_custom)) != NULL;
        else if (str_eqz(key, "counter_reset_hint")) {
            *ret_hint = true;
            h->hint = str_eqz(value, "reset")       ? HIST_RESET
                      : str_eqz(value, "not_reset") ? HIST_NOT_RESET
                      : str_eqz(value, "gauge")     ? HIST_GAUGE
                                                    : HIST_UNKNOWN_RESET;
        } else {
            return NULL;
        }
        if (!ok)
            return NULL;
        s = str_trim(rest);
    }
    h->schema = (int32_t)schema;
    one_span(a, (int32_t)offset, h->n_pos, &h->pos_spans, &h->n_pos_spans);
    one_span(a, (int32_t)n_offset, h->n_neg, &h->neg_spans, &h->n_neg_spans);
    return h;
}

/* Next blank-separated word; {{...}} may hold blanks. */
static bool next_word(struct str *s, struct str *ret)
{
    *s = str_trim(*s);
    if (s->n == 0)
        return false;
    size_t i = 0;
    int depth = 0;
    while (i < s->n && (depth > 0 || (s->p[i] != ' ' && s->p[i] != '\t'))) {
        if (s->p[i] == '{')
            depth++;
        else if (s->p[i] == '}')
            depth--;
        i++;
    }
    *ret = str_sub(*s, 0, i);
    *s = str_sub(*s, i, s->n);
    return true;
}

static bool read_count(struct str s, unsigned *ret)
{
    double v;
    if (!f64_parse(s, &v) || v < 0 || v > 1e6)
        return false;
    *ret = (unsigned)v;
    return true;
}

/* The index of the x that repeats, or n. */
static size_t find_times(struct str s)
{
    for (size_t i = s.n; i > 1; i--)
        if (s.p[i - 1] == 'x')
            return i - 1;
    return s.n;
}

static bool read_word(struct arena *a, struct str w, values *into)
{
    if (str_eqz(w, "stale")) {
        vec_push(into, (struct value){.present = true, .v = stale_nan()});
        return true;
    }
    if (w.p[0] == '_') {
        unsigned n = 1;
        if (w.n > 1 && (w.p[1] != 'x' || !read_count(str_sub(w, 2, w.n), &n)))
            return false;
        for (unsigned i = 0; i < n; i++)
            vec_push(into, (struct value){0});
        return true;
    }
    unsigned times = 0;
    if (w.p[0] == '{') {
        ptrdiff_t end = str_find(w, STR("}}"));
        bool hint, hint2;
        if (end < 0 || w.n < 4)
            return false;
        const struct histogram *h = read_histogram(a, str_sub(w, 2, (size_t)end), &hint), *step = NULL;
        struct str rest = str_sub(w, (size_t)end + 2, w.n);
        bool minus = rest.n && rest.p[0] == '-';
        if (rest.n && (rest.p[0] == '+' || minus)) {
            end = str_find(rest, STR("}}"));
            if (end < 0)
                return false;
            step = read_histogram(a, str_sub(rest, 3, (size_t)end), &hint2);
            rest = str_sub(rest, (size_t)end + 2, rest.n);
            if (!step)
                return false;
        }
        if (!h || (rest.n && (rest.p[0] != 'x' || !read_count(str_sub(rest, 1, rest.n), &times))))
            return false;
        for (unsigned i = 0; i <= times; i++) {
            vec_push(into, (struct value){.present = true, .h = h, .hint_named = hint});
            unsigned status = 0;
            enum hist_hint keep = h->hint;
            if (step && step->schema > h->schema && !hist_is_custom(h))
                step = hist_to_schema(a, step, h->schema);
            if (step) {
                struct histogram *n = minus ? hist_sub(a, h, step, &status) : hist_add(a, h, step, &status);
                if (!n)
                    return false;
                n->hint = keep;
                h = n;
            }
        }
        return true;
    }
    size_t x = find_times(w);
    struct str head = str_sub(w, 0, x);
    if (x < w.n && !read_count(str_sub(w, x + 1, w.n), &times))
        return false;
    double v, step = 0;
    if (!read_number(head, &v)) {
        /* V+S or V-S: the sign that is not the first character nor part of an exponent */
        size_t at = 0;
        for (size_t i = 1; i < head.n; i++)
            if ((head.p[i] == '+' || head.p[i] == '-') && (head.p[i - 1] | 32) != 'e')
                at = i;
        if (at == 0 || !read_number(str_sub(head, 0, at), &v) || !read_number(str_sub(head, at, head.n), &step))
            return false;
    }
    for (unsigned i = 0; i <= times; i++, v += step)
        vec_push(into, (struct value){.present = true, .v = v});
    return true;
}

static bool read_values(struct arena *a, struct str s, values *into)
{
    struct str w;
    while (next_word(&s, &w))
        if (!read_word(a, w, into))
            return false;
    return true;
}

/* `name{...}` in front of the values. */
static bool read_metric(struct run *r, struct str line, struct str *ret_metric, struct labels *ret,
                        struct str *ret_rest)
{
    size_t i = 0;
    while (i < line.n && line.p[i] != '{' && line.p[i] != ' ' && line.p[i] != '\t' && line.p[i] != '@')
        i++;
    if (i < line.n && line.p[i] == '{') {
        char quote = 0;
        for (; i < line.n; i++) {
            if (quote && line.p[i] == '\\' && quote != '`')
                i++;
            else if (quote)
                quote = line.p[i] == quote ? 0 : quote;
            else if (line.p[i] == '"' || line.p[i] == '\'' || line.p[i] == '`')
                quote = line.p[i];
            else if (line.p[i] == '}')
                break;
        }
        i++;
    }
    struct str metric = str_sub(line, 0, i);
    *ret_metric = metric;
    *ret_rest = str_sub(line, i, line.n);
    *ret = (struct labels){0};
    struct labels_builder b = {0};
    lb_init(&b, *ret);
    bool ok = true;
    struct str inside = metric.n >= 2 && metric.p[0] == '{' ? str_trim(str_sub(metric, 1, metric.n - 1)) : metric;
    if (inside.n > 0) {
        struct promql *q;
        const struct matcher *m;
        size_t n;
        struct err e = {0};
        /* a selector wants one non-empty matcher: offer one, so that {a=""} can be read too */
        struct buf text = BUF_INIT(1 << 20);
        if (metric.p[metric.n - 1] == '}') {
            struct str head = str_trim(str_sub(metric, 0, metric.n - 1));
            buf_str(&text, head);
            buf_z(&text, head.p[head.n - 1] == '{' || head.p[head.n - 1] == ',' ? "__any=\"1\"}" : ",__any=\"1\"}");
        } else {
            buf_str(&text, metric);
        }
        ok = promql_parse_selector(buf_view(&text), &q, &m, &n, &e) == 0;
        buf_done(&text);
        if (ok) {
            for (size_t k = 0; k < n; k++)
                if (!str_eqz(m[k].name, "__any") && m[k].value.n)
                    lb_set(&b, arena_str(r->a, m[k].name), arena_str(r->a, m[k].value));
            promql_free(q);
        }
    }
    *ret = lb_labels(&b, r->a);
    lb_done(&b);
    return ok;
}

/* ---- load -------------------------------------------------------------------------- */

static bool read_duration(struct str s, int64_t *ret)
{
    struct arena *a = arena_new(0);
    struct str msg;
    bool ok = promql_duration(s, a, ret, &msg);
    arena_free(a);
    double v;
    if (!ok && f64_parse(s, &v)) {
        *ret = llround(v * 1000);
        ok = true;
    }
    return ok;
}

typedef VEC(int64_t) offsets;

static bool read_offset(struct str s, int64_t *ret)
{
    bool minus = s.n && s.p[0] == '-';
    struct str bare = s.n && (s.p[0] == '-' || s.p[0] == '+') ? str_sub(s, 1, s.n) : s;
    int64_t ms;
    struct arena *a = arena_new(0);
    struct str msg;
    bool ok = promql_duration(bare, a, &ms, &msg);
    arena_free(a);
    if (ok)
        *ret = minus ? -ms : ms;
    return ok;
}

#define NO_START INT64_MIN

static bool read_offsets(struct str s, offsets *into)
{
    struct str w;
    while (next_word(&s, &w)) {
        unsigned n = 1;
        if (w.p[0] == '_') {
            if (w.n > 1 && !read_count(str_sub(w, 2, w.n), &n))
                return false;
            for (unsigned i = 0; i < n; i++)
                vec_push(into, NO_START);
            continue;
        }
        size_t x = find_times(w);
        struct str head = str_sub(w, 0, x);
        unsigned times = 0;
        if (x < w.n && !read_count(str_sub(w, x + 1, w.n), &times))
            return false;
        int64_t v, step = 0;
        if (!read_offset(head, &v)) {
            size_t at = 0;
            for (size_t i = 1; i < head.n; i++)
                if (head.p[i] == '+' || head.p[i] == '-')
                    at = i;
            if (at == 0 || !read_offset(str_sub(head, 0, at), &v) || !read_offset(str_sub(head, at, head.n), &step))
                return false;
        }
        for (unsigned i = 0; i <= times; i++, v += step)
            vec_push(into, v);
    }
    return true;
}

struct classic {
    struct labels labels; /* of the native series */
    int64_t t;
    double sum, count;
    bool has_count;
    struct classic_bucket buckets[64];
    size_t n;
};

static struct labels rename_without_le(struct run *r, struct labels l, struct str name)
{
    struct labels_builder b = {0};
    lb_init(&b, l);
    lb_del(&b, STR("le"));
    lb_set(&b, STR(LABEL_NAME), arena_str(r->a, name));
    struct labels out = lb_labels(&b, r->a);
    lb_done(&b);
    return out;
}

typedef VEC(struct classic *) classics;

static void note_classic(struct run *r, classics *c, struct labels l, int64_t t, double v)
{
    struct str name = labels_get(l, STR(LABEL_NAME)), le = labels_get(l, STR("le"));
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    int kind = -1;
    for (int i = 0; i < 3; i++)
        if (str_ends(name, str_of(suffixes[i])))
            kind = i;
    double bound = 0;
    if (kind < 0 || (kind == 0 && !f64_parse(le, &bound)) || is_stale(v))
        return;
    struct labels base = rename_without_le(r, l, str_sub(name, 0, name.n - strlen(suffixes[kind])));
    struct classic *f = NULL;
    for (size_t i = 0; !f && i < c->n; i++)
        if (c->v[i]->t == t && labels_equal(c->v[i]->labels, base))
            f = c->v[i];
    if (!f) {
        f = ARENA_NEW(r->a, struct classic);
        f->labels = base;
        f->t = t;
        vec_push(c, f);
    }
    if (kind == 0 && f->n < ARRAY_LEN(f->buckets)) {
        for (size_t i = 0; i < f->n; i++)
            if (f->buckets[i].upper == bound) {
                f->buckets[i].count = v;
                return;
            }
        f->buckets[f->n++] = (struct classic_bucket){.upper = bound, .count = v};
    } else if (kind == 1) {
        f->sum = v;
    } else if (kind == 2) {
        f->count = v;
        f->has_count = true;
    }
}

static int compare_buckets(const void *a, const void *b)
{
    double x = ((const struct classic_bucket *)a)->upper, y = ((const struct classic_bucket *)b)->upper;
    return (x > y) - (x < y);
}

static void add_native(struct run *r, struct classic *f)
{
    if (f->n == 0)
        return;
    qsort(f->buckets, f->n, sizeof(f->buckets[0]), compare_buckets);
    double count = f->has_count ? f->count : f->buckets[f->n - 1].count;
    double *bounds = ARENA_ARRAY(r->a, double, f->n), *counts = ARENA_ARRAY(r->a, double, f->n + 1), prev = 0;
    uint32_t nb = 0, nc = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (isinf(f->buckets[i].upper))
            break;
        bounds[nb++] = f->buckets[i].upper;
        counts[nc++] = f->buckets[i].count - prev;
        prev = f->buckets[i].count;
    }
    counts[nc++] = count - prev;
    struct hist_span span = {.length = nc};
    struct histogram h = {.schema = HIST_CUSTOM_SCHEMA,
                          .count = count,
                          .sum = f->sum,
                          .pos_spans = &span,
                          .n_pos_spans = 1,
                          .pos = counts,
                          .n_pos = nc,
                          .custom = bounds,
                          .n_custom = nb};
    memsource_add(r->store, f->labels, f->t, 0, &h, 0);
}

static bool block_line(struct run *r, struct str *ret)
{
    if (r->line + 1 >= r->lines.n)
        return false;
    struct str l = str_trim(r->lines.v[r->line + 1]);
    if (l.n == 0 || l.p[0] == '#')
        return false;
    r->line++;
    *ret = l;
    return true;
}

static void load(struct run *r, struct str line)
{
    struct str word, rest;
    str_cut(line, ' ', &word, &rest);
    bool nhcb = str_ieq(word, STR("load_with_nhcb"));
    int64_t step;
    if (!read_duration(str_trim(rest), &step)) {
        format_error(r, "load wants a step");
        return;
    }
    offsets starts = {0};
    classics natives = {0};
    while (!r->broken && block_line(r, &line)) {
        struct str metric, text;
        struct labels l;
        if (!read_metric(r, line, &metric, &l, &text)) {
            format_error(r, "cannot read the series");
            break;
        }
        if (str_starts(text, STR("@st"))) {
            vec_reset(&starts);
            if (!read_offsets(str_sub(text, 3, text.n), &starts))
                format_error(r, "cannot read the start timestamps");
            continue;
        }
        values v = {0};
        if (!read_values(r->a, text, &v))
            format_error(r, "cannot read the values");
        for (size_t i = 0; i < v.n; i++) {
            if (!v.v[i].present)
                continue;
            int64_t t = (int64_t)i * step, st = 0;
            if (i < starts.n && starts.v[i] != NO_START)
                st = t + starts.v[i];
            memsource_add(r->store, l, t, v.v[i].v, v.v[i].h, st);
            if (nhcb && !v.v[i].h)
                note_classic(r, &natives, l, t, v.v[i].v);
        }
        vec_done(&v);
        vec_reset(&starts);
    }
    for (size_t i = 0; i < natives.n; i++)
        add_native(r, natives.v[i]);
    vec_done(&natives);
    vec_done(&starts);
}

/* ---- eval -------------------------------------------------------------------------- */

struct eval {
    struct str expr;
    bool instant, ordered, matrix, is_string, is_scalar;
    int64_t start, end, step;
    int64_t m_start, m_end, m_step; /* expect range vector */
    struct str string;
    double scalar;
    VEC(struct expectation) expect;
    VEC(struct series_line) series;
};

static bool near(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    if (a == b)
        return true;
    double sum = fabs(a) + fabs(b), diff = fabs(a - b);
    if (a == 0 || b == 0 || sum < DBL_MIN)
        return diff < 1e-6 * DBL_MIN;
    return diff / MIN(sum, DBL_MAX) < 1e-6;
}

static bool near_histogram(const struct histogram *got, const struct histogram *want, bool hint)
{
    if (got->schema != want->schema || !near(got->count, want->count) || !near(got->sum, want->sum) ||
        (hint && got->hint != want->hint))
        return false;
    if (!hist_is_custom(got) &&
        (got->zero_threshold != want->zero_threshold || !near(got->zero_count, want->zero_count)))
        return false;
    if (got->n_custom != want->n_custom)
        return false;
    for (uint32_t i = 0; i < got->n_custom; i++)
        if (got->custom[i] != want->custom[i])
            return false;
    struct arena *a = arena_new(0);
    const struct hist_bucket *x, *y;
    size_t nx = hist_buckets(a, got, &x), ny = hist_buckets(a, want, &y);
    bool same = nx == ny;
    for (size_t i = 0; same && i < nx; i++)
        same = x[i].index == y[i].index && x[i].lower == y[i].lower && near(x[i].count, y[i].count);
    arena_free(a);
    return same;
}

static bool near_value(double v, const struct histogram *h, const struct value *want)
{
    if (!h != !want->h)
        return false;
    return h ? near_histogram(h, want->h, want->hint_named) : near(v, want->v);
}

static void put_value(struct buf *b, double v, const struct histogram *h)
{
    if (h) {
        hist_format(b, h);
        buf_fmt(b, "/s%d/h%d", h->schema, (int)h->hint);
    } else {
        f64_put_g(b, v);
    }
}

static bool say(struct buf *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool say(struct buf *why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(why, fmt, ap);
    va_end(ap);
    return false;
}

static bool say_labels(struct buf *why, const char *what, struct labels l)
{
    buf_z(why, what);
    labels_format_metric(why, l);
    return false;
}

/* Points of the series expected: the n-th value at start + n * step. */
static bool check_points(const struct query_series *got, const values *want, int64_t start, int64_t step,
                         struct buf *why)
{
    size_t k = 0;
    for (size_t i = 0; i < want->n; i++) {
        if (!want->v[i].present)
            continue;
        int64_t t = start + (int64_t)i * step;
        const struct histogram *h = k < got->n && got->h ? got->h[k] : NULL;
        if (k >= got->n || got->t[k] != t || !near_value(got->v[k], h, &want->v[i])) {
            say_labels(why, "series ", got->labels);
            buf_fmt(why, " at %lld: got ", (long long)t);
            if (k < got->n && got->t[k] == t)
                put_value(why, got->v[k], h);
            else
                buf_z(why, "nothing");
            buf_z(why, ", want ");
            put_value(why, want->v[i].v, want->v[i].h);
            return false;
        }
        k++;
    }
    if (k < got->n) {
        say_labels(why, "series ", got->labels);
        buf_fmt(why, " has %zu points, want %zu", got->n, k);
        return false;
    }
    return true;
}

static bool check_series(struct run *r, const struct eval *e, const struct query_result *res, int64_t start,
                         int64_t step, struct buf *why)
{
    size_t wanted = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < e->series.n; i++) {
        values v = {0};
        if (!read_values(r->a, e->series.v[i].text, &v)) {
            ok = say(why, "cannot read the expected values");
        } else {
            bool any = false;
            for (size_t k = 0; k < v.n; k++)
                any |= v.v[k].present;
            const struct query_series *got = NULL;
            for (size_t k = 0; k < res->n_series; k++)
                if (labels_equal(res->series[k].labels, e->series.v[i].labels))
                    got = &res->series[k];
            if (!got && any)
                ok = say_labels(why, "missing series ", e->series.v[i].labels);
            else if (got)
                ok = check_points(got, &v, start, step, why);
            if (ok && e->ordered && !(i < res->n_series && got == &res->series[i]))
                ok = say_labels(why, "not in its place: ", e->series.v[i].labels);
            wanted += any;
        }
        vec_done(&v);
    }
    if (ok && res->n_series != wanted) {
        for (size_t k = 0; k < res->n_series; k++) {
            bool known = false;
            for (size_t i = 0; i < e->series.n; i++)
                known |= labels_equal(res->series[k].labels, e->series.v[i].labels);
            if (!known)
                return say_labels(why, "unexpected series ", res->series[k].labels);
        }
        ok = say(why, "%zu series, want %zu", res->n_series, wanted);
    }
    return ok;
}

static bool text_matches(const struct expectation *x, struct str text)
{
    if (x->re) {
        struct str g[1];
        return regex_find(x->re, text, 0, g, 1);
    }
    return x->text.n == 0 || str_eq(text, x->text);
}

static bool check_notes(const struct eval *e, const struct query_result *res, struct buf *why)
{
    for (int w = 0; w < 2; w++) {
        bool warning = w == 0;
        int yes = warning ? EXPECT_WARN : EXPECT_INFO, no = warning ? EXPECT_NO_WARN : EXPECT_NO_INFO;
        bool wants = false;
        for (size_t i = 0; i < e->expect.n; i++) {
            const struct expectation *x = &e->expect.v[i];
            if ((int)x->kind == no)
                for (size_t k = 0; k < res->n_notes; k++)
                    if (res->notes[k].warning == warning)
                        return say(why, "unwanted note: " STR_FMT, STR_ARG(res->notes[k].text));
            if ((int)x->kind != yes)
                continue;
            wants = true;
            bool hit = false;
            for (size_t k = 0; k < res->n_notes; k++)
                hit |= res->notes[k].warning == warning && text_matches(x, res->notes[k].text);
            if (!hit)
                return say(why, "missing %s " STR_FMT "%s" STR_FMT, warning ? "warning" : "info", STR_ARG(x->text),
                           res->n_notes ? "; first note: " : "", STR_ARG(res->n_notes ? res->notes[0].text : STR("")));
        }
        for (size_t k = 0; wants && k < res->n_notes; k++) {
            bool hit = res->notes[k].warning != warning;
            for (size_t i = 0; i < e->expect.n; i++)
                hit |= (int)e->expect.v[i].kind == yes && text_matches(&e->expect.v[i], res->notes[k].text);
            if (!hit)
                return say(why, "note not expected: " STR_FMT, STR_ARG(res->notes[k].text));
        }
    }
    return true;
}

static int query(struct run *r, struct str expr, int64_t start, int64_t end, int64_t step, struct arena *a,
                 struct query_result *res, struct err *err)
{
    struct query_request req = {.expr = expr, .start_ms = start, .end_ms = end, .step_ms = step};
    return query_eval(promql_engine_query(r->engine), &req, a, res, err);
}

static bool check_failure(const struct eval *e, int rc, const char *msg, struct buf *why)
{
    for (size_t i = 0; i < e->expect.n; i++) {
        if (e->expect.v[i].kind != EXPECT_FAIL)
            continue;
        if (rc == 0)
            return say(why, "succeeded, but must fail");
        if (!text_matches(&e->expect.v[i], str_of(msg)))
            return say(why, "failed with \"%s\", want " STR_FMT, msg, STR_ARG(e->expect.v[i].text));
    }
    return true;
}

static bool must_fail(const struct eval *e)
{
    for (size_t i = 0; i < e->expect.n; i++)
        if (e->expect.v[i].kind == EXPECT_FAIL)
            return true;
    return false;
}

/* The expression with every selector and subquery outside of subqueries pinned to t; empty when time matters to it. */
static bool pin(struct expr *e, int64_t t)
{
    bool ok = true;
    switch (e->kind) {
    case E_NUMBER:
    case E_STRING:
        return true;
    case E_SELECTOR:
        if (e->sel.when.at == AT_NONE) {
            e->sel.when.at = AT_TIME;
            e->sel.when.at_ms = t;
        }
        return !e->sel.when.offset && !e->sel.bypass_empty;
    case E_MATRIX:
        return !e->win.range && pin(e->win.child, t);
    case E_SUBQUERY:
        if (e->win.when.at == AT_NONE) {
            e->win.when.at = AT_TIME;
            e->win.when.at_ms = t;
        }
        return !e->win.range && !e->win.step;
    case E_CALL: {
        static const char *const timed[] = {"days_in_month",  "day_of_month", "day_of_week", "day_of_year",
                                            "hour",           "minute",       "month",       "year",
                                            "predict_linear", "time",         "timestamp",   "info"};
        for (size_t i = 0; i < ARRAY_LEN(timed); i++)
            if (str_eqz(str_of(e->call.fn->name), timed[i]))
                return false;
        for (size_t i = 0; i < e->call.n_args; i++)
            ok &= pin(e->call.args[i], t);
        return ok;
    }
    case E_AGGREGATE:
        return pin(e->agg.child, t) && (!e->agg.param || pin(e->agg.param, t));
    case E_BINARY:
        return pin(e->bin.l, t) && pin(e->bin.r, t);
    case E_UNARY:
        return pin(e->unary.child, t);
    case E_PAREN:
        return pin(e->paren, t);
    }
    return ok;
}

static bool check_pinned(struct run *r, const struct eval *e, struct buf *why)
{
    struct promql *q;
    if (promql_parse(e->expr, &q, NULL) != 0)
        return true;
    bool ok = true;
    if (pin(q->root, e->start)) {
        struct buf text = BUF_INIT(1 << 20);
        expr_print(&text, q->root);
        int64_t t = e->start, times[] = {-10 * t, 0, t / 5, t, 10 * t};
        for (size_t i = 0; ok && i < ARRAY_LEN(times); i++) {
            struct arena *a = arena_new(0);
            struct query_result res;
            struct err err = {0};
            int rc = query(r, buf_view(&text), times[i], times[i], 0, a, &res, &err);
            if (rc != 0)
                ok = say(why, "pinned " STR_FMT " at %lld: %s", STR_ARG(buf_view(&text)), (long long)times[i], err.msg);
            else if (res.kind == QUERY_VECTOR)
                ok = check_series(r, e, &res, times[i], 1, why) ||
                     say(why, " (pinned: " STR_FMT " at %lld)", STR_ARG(buf_view(&text)), (long long)times[i]);
            arena_free(a);
        }
        buf_done(&text);
    }
    promql_free(q);
    return ok;
}

static bool check_range_mode(struct run *r, const struct eval *e, struct buf *why)
{
    if (e->ordered || e->is_string || e->matrix || e->is_scalar)
        return true;
    static const char *const words[] = {"start()", "end()", "range()", "step()"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_find(e->expr, str_of(words[i])) >= 0)
            return true;
    struct arena *a = arena_new(0);
    struct query_result res;
    struct err err = {0};
    bool ok = true;
    int rc = query(r, e->expr, e->start - 60000, e->start + 60000, 60000, a, &res, &err);
    if (rc != 0) {
        ok = say(why, "as a range: %s", err.msg);
    } else {
        struct query_series *v = ARENA_ARRAY(a, struct query_series, res.n_series + 1);
        size_t n = 0;
        for (size_t i = 0; i < res.n_series; i++) {
            struct query_series s = res.series[i];
            for (size_t k = 0; k < s.n; k++)
                if (s.t[k] == e->start) {
                    v[n++] = (struct query_series){
                        .labels = s.labels, .n = 1, .t = s.t + k, .v = s.v + k, .h = s.h ? s.h + k : NULL};
                    break;
                }
        }
        res.series = v;
        res.n_series = n;
        ok = check_series(r, e, &res, e->start, 1, why);
        if (!ok)
            buf_z(why, " (as a range)");
    }
    arena_free(a);
    return ok;
}

static bool check_eval(struct run *r, const struct eval *e, struct buf *why)
{
    struct arena *a = arena_new(0);
    struct query_result res;
    struct err err = {0};
    int rc = query(r, e->expr, e->start, e->end, e->step, a, &res, &err);
    bool ok;
    if (rc != 0) {
        ok = must_fail(e) ? check_failure(e, rc, err.msg, why) : say(why, "%s", err.msg);
        goto out;
    }
    if (!(ok = check_failure(e, 0, "", why)) || !(ok = check_notes(e, &res, why)))
        goto out;
    if (e->is_string)
        ok = (res.kind == QUERY_STRING && str_eq(res.string, e->string)) || say(why, "not that string");
    else if (e->is_scalar)
        ok = (res.kind == QUERY_SCALAR && near(res.scalar, e->scalar)) ||
             say(why, "got %g, want %g", res.scalar, e->scalar);
    else if (e->matrix)
        ok = check_series(r, e, &res, e->m_start, e->m_step, why);
    else if (e->instant)
        ok = (res.kind == QUERY_VECTOR || say(why, "not a vector")) && check_series(r, e, &res, e->start, 1, why);
    else
        ok = check_series(r, e, &res, e->start, e->step, why);
    for (size_t i = 1; ok && !e->instant && i < res.n_series; i++)
        if (labels_cmp(res.series[i - 1].labels, res.series[i].labels) >= 0)
            ok = say(why, "matrix is not sorted");
    if (ok && e->instant)
        ok = check_range_mode(r, e, why);
    if (ok && e->instant && r->at_mode && !e->is_string && !e->matrix && !e->is_scalar)
        ok = check_pinned(r, e, why);
out:
    arena_free(a);
    return ok;
}

static bool read_expectation(struct run *r, struct eval *e, struct str s)
{
    static const struct {
        const char *word;
        int kind;
    } kinds[] = {{"no_warn", EXPECT_NO_WARN},
                 {"no_info", EXPECT_NO_INFO},
                 {"fail", EXPECT_FAIL},
                 {"warn", EXPECT_WARN},
                 {"info", EXPECT_INFO}};
    s = str_trim(s);
    if (str_eqz(s, "ordered")) {
        e->ordered = true;
        return true;
    }
    if (str_starts(s, STR("string"))) {
        struct err err = {0};
        e->is_string = true;
        return promql_unquote(str_trim(str_sub(s, 6, s.n)), r->a, &e->string, &err) == 0;
    }
    if (str_starts(s, STR("range vector"))) {
        struct str w[8], rest = s;
        size_t n = 0;
        while (n < 8 && next_word(&rest, &w[n]))
            n++;
        e->matrix = true; /* range vector from A to B step S */
        return n == 8 && read_duration(w[3], &e->m_start) && read_duration(w[5], &e->m_end) &&
               read_duration(w[7], &e->m_step);
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct str word = str_of(kinds[i].word);
        if (!str_starts(s, word))
            continue;
        struct expectation x = {.kind = kinds[i].kind};
        struct str rest = str_trim(str_sub(s, word.n, s.n));
        if (str_starts(rest, STR("msg:"))) {
            x.text = str_trim(str_sub(rest, 4, rest.n));
        } else if (str_starts(rest, STR("regex:"))) {
            x.text = str_trim(str_sub(rest, 6, rest.n));
            if (regex_new(x.text, 0, &x.re, NULL) != 0)
                return false;
        } else if (rest.n > 0) {
            return false;
        }
        vec_push(&e->expect, x);
        return true;
    }
    return false;
}

static bool read_eval_head(struct eval *e, struct str line)
{
    struct str w, rest = line;
    if (!next_word(&rest, &w))
        return false;
    if (str_ieq(w, STR("eval_fail")))
        vec_push(&e->expect, (struct expectation){.kind = EXPECT_FAIL});
    else if (str_ieq(w, STR("eval_warn")))
        vec_push(&e->expect, (struct expectation){.kind = EXPECT_WARN});
    else if (str_ieq(w, STR("eval_info")))
        vec_push(&e->expect, (struct expectation){.kind = EXPECT_INFO});
    else if (str_ieq(w, STR("eval_ordered")))
        e->ordered = true;
    else if (!str_ieq(w, STR("eval")))
        return false;
    struct str at;
    if (!next_word(&rest, &w) || !next_word(&rest, &at))
        return false;
    if (str_ieq(w, STR("instant"))) {
        if (!str_ieq(at, STR("at")) || !next_word(&rest, &w) || !read_duration(w, &e->start))
            return false;
        e->instant = true;
        e->end = e->start;
    } else {
        struct str words[5];
        for (size_t i = 0; i < 5; i++)
            if (!next_word(&rest, &words[i]))
                return false;
        if (!str_ieq(at, STR("from")) || !read_duration(words[0], &e->start) || !str_ieq(words[1], STR("to")) ||
            !read_duration(words[2], &e->end) || !str_ieq(words[3], STR("step")) || !read_duration(words[4], &e->step))
            return false;
    }
    e->expr = str_trim(rest);
    return true;
}

static void eval(struct run *r, struct str line)
{
    unsigned at = r->line;
    struct eval e = {0};
    if (!read_eval_head(&e, line)) {
        format_error(r, "cannot read the eval line");
        return;
    }
    while (!r->broken && block_line(r, &line)) {
        struct str metric;
        struct series_line s;
        if (str_starts(line, STR("expect ")) || str_starts(line, STR("expect\t"))) {
            if (!read_expectation(r, &e, str_sub(line, 7, line.n)))
                format_error(r, "cannot read the expectation");
        } else if (str_starts(line, STR("expected_fail_message")) || str_starts(line, STR("expected_fail_regexp"))) {
            bool re = str_starts(line, STR("expected_fail_regexp"));
            struct expectation x = {.kind = EXPECT_FAIL, .text = str_trim(str_sub(line, re ? 20 : 21, line.n))};
            if (re && regex_new(x.text, 0, &x.re, NULL) != 0)
                format_error(r, "cannot read the regular expression");
            vec_push(&e.expect, x);
        } else if (e.instant && e.series.n == 0 && read_number(line, &e.scalar)) {
            e.is_scalar = true;
        } else if (!read_metric(r, line, &metric, &s.labels, &s.text)) {
            format_error(r, "cannot read the expected series");
        } else {
            vec_push(&e.series, s);
        }
    }
    if (!r->broken) {
        struct buf why = BUF_INIT(1 << 16);
        bool ok = check_eval(r, &e, &why);
        r->total++;
        r->passed += ok;
        if (!ok && (!r->ratchet || r->verbose))
            printf("%s:%u: FAIL: " STR_FMT ": %s\n", r->path, at + 1, STR_ARG(e.expr), buf_cstr(&why));
        else if (r->verbose && !r->ratchet)
            printf("%s:%u: ok\n", r->path, at + 1);
        buf_done(&why);
    }
    for (size_t i = 0; i < e.expect.n; i++)
        regex_free(e.expect.v[i].re);
    vec_done(&e.expect);
    vec_done(&e.series);
}

/* ---- Files ------------------------------------------------------------------------- */

static void fresh_store(struct run *r)
{
    promql_engine_free(r->engine);
    memsource_free(r->store);
    r->store = memsource_new();
    struct promql_options o = {
        .lookback_ms = 300000, .timeout_ms = 100000, .subquery_step_ms = 60000, .max_samples = 10000};
    r->engine = promql_engine_new(memsource_source(r->store), &o);
}

static bool read_file(const char *path, struct buf *b)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    char chunk[65536];
    size_t n;
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_put(b, chunk, n);
    fclose(f);
    return buf_error(b) == 0;
}

static void run_file(struct run *r)
{
    struct buf b = BUF_INIT(64 << 20);
    r->passed = r->total = 0;
    r->broken = false;
    if (!read_file(r->path, &b)) {
        fprintf(stderr, "%s: cannot be read\n", r->path);
        r->broken = true;
        buf_done(&b);
        return;
    }
    r->a = arena_new(0);
    vec_reset(&r->lines);
    struct str rest = buf_view(&b), line;
    while (str_line(&rest, &line))
        vec_push(&r->lines, line);
    fresh_store(r);
    for (r->line = 0; !r->broken && r->line < r->lines.n; r->line++) {
        line = str_trim(r->lines.v[r->line]);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        struct str head = str_sub(line, 0, 4);
        if (str_ieq(line, STR("clear")))
            fresh_store(r);
        else if (str_ieq(head, STR("load")))
            load(r, line);
        else if (str_ieq(head, STR("eval")))
            eval(r, line);
        else
            format_error(r, "unknown command");
    }
    r->engine = promql_engine_free(r->engine);
    r->store = memsource_free(r->store);
    r->a = arena_free(r->a);
    buf_done(&b);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* `NAME PASSED` per line; 0 when the file is not named. */
static unsigned recorded(const struct buf *ratchet, const char *path)
{
    struct str rest = buf_view(ratchet), line, name, count;
    while (str_line(&rest, &line)) {
        double v;
        if (str_cut(line, ' ', &name, &count) && str_eqz(name, base_name(path)) && f64_parse(str_trim(count), &v))
            return (unsigned)v;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct run r = {0};
    struct buf ratchet = BUF_INIT(1 << 20);
    unsigned passed = 0, total = 0;
    bool broken = false, sunk = false;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        struct str flag = str_of(argv[i]);
        if (str_eqz(flag, "-v")) {
            r.verbose = true;
        } else if (str_eqz(flag, "-a")) {
            r.at_mode = true;
        } else if (str_eqz(flag, "--ratchet") && i + 1 < argc) {
            r.ratchet = true;
            if (!read_file(argv[++i], &ratchet)) {
                fprintf(stderr, "%s: cannot be read\n", argv[i]);
                return 2;
            }
        } else {
            i = argc;
        }
    }
    if (i >= argc) {
        fprintf(stderr, "usage: hune-promqltest [-v] [-a] [--ratchet FILE] FILE...\n");
        return 2;
    }
    for (; i < argc; i++) {
        r.path = argv[i];
        run_file(&r);
        broken |= r.broken;
        printf("%s: %u/%u\n", r.path, r.passed, r.total);
        if (r.ratchet && r.passed < recorded(&ratchet, r.path)) {
            printf("%s: %u were recorded as passing\n", r.path, recorded(&ratchet, r.path));
            sunk = true;
        }
        passed += r.passed;
        total += r.total;
    }
    printf("TOTAL %u/%u\n", passed, total);
    vec_done(&r.lines);
    buf_done(&ratchet);
    if (broken)
        return 2;
    return r.ratchet ? sunk : passed < total;
}

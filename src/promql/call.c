// SPDX-License-Identifier: Apache-2.0
/* Functions of instant vectors: values changed in place, row by row. */
#include "promql/exec_int.h"
#include "base/format.h"
#include "base/mem.h"
#include <math.h>

struct value_map {
    struct exec *x;
    const struct frame *f;
    unsigned id;
    double *p1, *p2;
    row_fn emit;
    void *ctx;
};

/* Go's math.Max and Min: NaN wins. */
static double go_max(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : a > b ? a : b;
}

static double go_min(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : a < b ? a : b;
}

static double sign(double v)
{
    return v < 0 ? -1 : v > 0 ? 1 : v;
}

static double civil_part(unsigned id, double v)
{
    if (!(fabs(v) < 8e15)) /* beyond any calendar */
        return NAN;
    int64_t s = (int64_t)v;
    int y, mon, d, h, min, sec;
    format_civil(s * 1000, &y, &mon, &d, &h, &min, &sec);
    switch (id) {
    case FN_MINUTE:
        return min;
    case FN_HOUR:
        return h;
    case FN_DAY_OF_MONTH:
        return d;
    case FN_MONTH:
        return mon;
    case FN_YEAR:
        return y;
    case FN_DAYS_IN_MONTH:
        return (double)(format_days_from_civil(mon == 12 ? y + 1 : y, mon == 12 ? 1 : mon + 1, 1) -
                        format_days_from_civil(y, mon, 1));
    case FN_DAY_OF_YEAR:
        return (double)(format_days_from_civil(y, mon, d) - format_days_from_civil(y, 1, 1) + 1);
    default: { /* day of the week: 1970-01-01 was a Thursday */
        int64_t days = format_days_from_civil(y, mon, d);
        return (double)(((days % 7) + 7 + 4) % 7);
    }
    }
}

/* expr sees the value as v and the step as i. */
#define MAP_ALL(expr)                                                                                                  \
    do {                                                                                                               \
        for (size_t i = 0; i < n; i++) {                                                                               \
            double v = row[i];                                                                                         \
            if (has_float(v))                                                                                          \
                row[i] = (expr);                                                                                       \
        }                                                                                                              \
    } while (0)

static int map_take(void *ctx, struct row *r)
{
    struct value_map *m = ctx;
    double *row = r->v;
    size_t n = m->f->n;
    bool floats = !r->h;
    for (size_t i = 0; !floats && i < n; i++)
        floats = has_float(row[i]);
    if (!floats)
        return 0; /* these functions ignore histograms */
    r->h = NULL;
    switch (m->id) {
    case FN_ABS:
        MAP_ALL(fabs(v));
        break;
    case FN_CEIL:
        MAP_ALL(ceil(v));
        break;
    case FN_FLOOR:
        MAP_ALL(floor(v));
        break;
    case FN_EXP:
        MAP_ALL(exp(v));
        break;
    case FN_SQRT:
        MAP_ALL(sqrt(v));
        break;
    case FN_LN:
        MAP_ALL(log(v));
        break;
    case FN_LOG2:
        MAP_ALL(log2(v));
        break;
    case FN_LOG10:
        MAP_ALL(log10(v));
        break;
    case FN_SGN:
        MAP_ALL(sign(v));
        break;
    case FN_SIN:
        MAP_ALL(sin(v));
        break;
    case FN_COS:
        MAP_ALL(cos(v));
        break;
    case FN_TAN:
        MAP_ALL(tan(v));
        break;
    case FN_ASIN:
        MAP_ALL(asin(v));
        break;
    case FN_ACOS:
        MAP_ALL(acos(v));
        break;
    case FN_ATAN:
        MAP_ALL(atan(v));
        break;
    case FN_SINH:
        MAP_ALL(sinh(v));
        break;
    case FN_COSH:
        MAP_ALL(cosh(v));
        break;
    case FN_TANH:
        MAP_ALL(tanh(v));
        break;
    case FN_ASINH:
        MAP_ALL(asinh(v));
        break;
    case FN_ACOSH:
        MAP_ALL(acosh(v));
        break;
    case FN_ATANH:
        MAP_ALL(atanh(v));
        break;
    case FN_RAD:
        MAP_ALL(v * M_PI / 180);
        break;
    case FN_DEG:
        MAP_ALL(v * 180 / M_PI);
        break;
    case FN_CLAMP:
        MAP_ALL(m->p2[i] < m->p1[i] ? stale_nan() : go_max(m->p1[i], go_min(m->p2[i], v)));
        break;
    case FN_CLAMP_MIN:
        MAP_ALL(go_max(m->p1[i], v));
        break;
    case FN_CLAMP_MAX:
        MAP_ALL(go_min(m->p1[i], v));
        break;
    case FN_ROUND: /* the inverse, because it can be exact where the step is not (0.1) */
        if (m->p1)
            MAP_ALL(floor(v * (1.0 / m->p1[i]) + 0.5) / (1.0 / m->p1[i]));
        else
            MAP_ALL(floor(v + 0.5));
        break;
    default:
        MAP_ALL(civil_part(m->id, v));
        break;
    }
    r->drop_name = true;
    return m->id == FN_CLAMP && !row_any(r, n) ? 0 : m->emit(m->ctx, r);
}

/* One element without labels. */
static int emit_scalar(struct exec *x, const struct frame *f, double *v, row_fn emit, void *ctx)
{
    (void)x;
    (void)f;
    struct row r = {.v = v};
    return emit(ctx, &r);
}

static int exec_map(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    struct value_map m = {.x = x, .f = f, .id = e->call.id, .emit = emit, .ctx = ctx};
    int r = 0;
    double **into[] = {&m.p1, &m.p2};
    for (size_t i = 1; i < e->call.n_args; i++) {
        double *v = X_ARRAY(x, double, f->n);
        if (!v)
            return QUERY_E_BUDGET;
        if ((r = exec_scalar(x, f, e->call.args[i], v)) != 0)
            return r;
        *into[i - 1] = v;
    }
    if (e->call.n_args > 0)
        return exec_vector(x, f, e->call.args[0], map_take, &m);
    double *v = X_ARRAY(x, double, f->n); /* hour() and its like: of the evaluation time */
    if (!v)
        return QUERY_E_BUDGET;
    for (size_t i = 0; i < f->n; i++)
        v[i] = civil_part(m.id, (double)frame_ts(f, i) / 1000);
    return emit_scalar(x, f, v, emit, ctx);
}

/* ---- timestamp(), start_timestamp() ------------------------------------------------ */

static int timestamp_take(void *ctx, struct row *r)
{
    struct value_map *m = ctx;
    for (size_t i = 0; i < m->f->n; i++)
        if (has_point(r, i))
            r->v[i] = (double)frame_ts(m->f, i) / 1000;
    r->h = NULL;
    r->drop_name = true;
    return m->emit(m->ctx, r);
}

static int dropped_take(void *ctx, struct row *r)
{
    struct value_map *m = ctx;
    r->drop_name = true;
    return m->emit(m->ctx, r);
}

static int exec_timestamp(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    struct value_map m = {.x = x, .f = f, .emit = emit, .ctx = ctx};
    const struct expr *arg = expr_bare(e->call.args[0]);
    bool start = e->call.id == FN_START_TIMESTAMP;
    if (arg->kind == E_SELECTOR)
        return exec_selector(x, f, arg, start ? SELECT_START : SELECT_TIME, dropped_take, &m);
    return start ? 0 : exec_vector(x, f, arg, timestamp_take, &m);
}

/* ---- sort -------------------------------------------------------------------------- */

int natural_cmp(struct str a, struct str b)
{
    size_t i = 0, k = 0;
    while (i < a.n && k < b.n) {
        bool da = a.p[i] >= '0' && a.p[i] <= '9', db = b.p[k] >= '0' && b.p[k] <= '9';
        size_t i2 = i, k2 = k;
        while (i2 < a.n && (a.p[i2] >= '0' && a.p[i2] <= '9') == da)
            i2++;
        while (k2 < b.n && (b.p[k2] >= '0' && b.p[k2] <= '9') == db)
            k2++;
        int c;
        if (da && db) { /* by value: leading zeros do not count */
            size_t za = i, zb = k;
            while (za < i2 && a.p[za] == '0')
                za++;
            while (zb < k2 && b.p[zb] == '0')
                zb++;
            size_t na = i2 - za, nb = k2 - zb;
            c = na != nb ? (na < nb ? -1 : 1) : str_cmp(str_sub(a, za, i2), str_sub(b, zb, k2));
        } else {
            c = str_cmp(str_sub(a, i, i2), str_sub(b, k, k2));
        }
        if (c != 0)
            return c;
        i = i2;
        k = k2;
    }
    return (i < a.n) - (k < b.n);
}

struct sorter {
    bool descending, by_label;
    const struct str *labels;
    size_t n_labels;
};

static int compare_rows(const void *pa, const void *pb, void *ctx)
{
    const struct row *a = pa, *b = pb;
    const struct sorter *s = ctx;
    if (s->by_label) {
        int c = 0;
        for (size_t i = 0; c == 0 && i < s->n_labels; i++)
            c = natural_cmp(labels_get(a->labels, s->labels[i]), labels_get(b->labels, s->labels[i]));
        if (c == 0)
            c = labels_cmp(a->labels, b->labels);
        return s->descending ? -c : c;
    }
    double x = a->v[0], y = b->v[0];
    if (isnan(x) || isnan(y)) /* NaN last, whatever the direction */
        return isnan(x) - isnan(y);
    int c = (x > y) - (x < y);
    return s->descending ? -c : c;
}

static int exec_sort(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    unsigned id = e->call.id;
    struct sorter s = {.descending = id == FN_SORT_DESC || id == FN_SORT_BY_LABEL_DESC,
                       .by_label = id == FN_SORT_BY_LABEL || id == FN_SORT_BY_LABEL_DESC};
    if (x->is_range)
        x_note(x, NOTE_SORT_RANGE, e->start, STR(""), STR(""));
    if (f->n > 1 || x->is_range)
        return exec_vector(x, f, e->call.args[0], emit, ctx);
    if (s.by_label) {
        s.n_labels = e->call.n_args - 1;
        struct str *names = X_ARRAY(x, struct str, s.n_labels);
        if (!names)
            return QUERY_E_BUDGET;
        for (size_t i = 0; i < s.n_labels; i++) {
            int r = exec_string(x, e->call.args[i + 1], &names[i]);
            if (r != 0)
                return r;
        }
        s.labels = names;
    }
    struct rows rows = {.x = x, .steps = f->n};
    int r = exec_vector(x, f, e->call.args[0], rows_take, &rows);
    if (r != 0)
        return r;
    if (!s.by_label) { /* by value: histograms have none */
        size_t n = 0;
        for (size_t i = 0; i < rows.n; i++)
            if (has_float(rows.v[i].v[0]))
                rows.v[n++] = rows.v[i];
        rows.n = n;
    }
    if (rows.n > 1)
        qsort_r(rows.v, rows.n, sizeof(*rows.v), compare_rows, &s);
    for (size_t i = 0; r == 0 && i < rows.n; i++)
        r = emit(ctx, &rows.v[i]);
    return r;
}

/* ---- Dispatch ---------------------------------------------------------------------- */

int exec_call(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    const struct promql_function *fn = e->call.fn;
    for (size_t i = 0; i < PROMQL_MAX_ARGS && fn->args[i] != PROMQL_NONE; i++)
        if (fn->args[i] == PROMQL_MATRIX)
            return exec_range_call(x, f, e, emit, ctx);
    switch (e->call.id) {
    case FN_ABSENT:
        return exec_range_call(x, f, e, emit, ctx);
    case FN_VECTOR: {
        double *v = X_ARRAY(x, double, f->n);
        if (!v)
            return QUERY_E_BUDGET;
        int r = exec_scalar(x, f, e->call.args[0], v);
        return r == 0 ? emit_scalar(x, f, v, emit, ctx) : r;
    }
    case FN_TIMESTAMP:
    case FN_START_TIMESTAMP:
        return exec_timestamp(x, f, e, emit, ctx);
    case FN_SORT:
    case FN_SORT_DESC:
    case FN_SORT_BY_LABEL:
    case FN_SORT_BY_LABEL_DESC:
        return exec_sort(x, f, e, emit, ctx);
    case FN_LABEL_REPLACE:
    case FN_LABEL_JOIN:
        return exec_label_call(x, f, e, emit, ctx);
    case FN_INFO:
        return exec_info(x, f, e, emit, ctx);
    case FN_HISTOGRAM_AVG:
    case FN_HISTOGRAM_COUNT:
    case FN_HISTOGRAM_SUM:
    case FN_HISTOGRAM_STDDEV:
    case FN_HISTOGRAM_STDVAR:
    case FN_HISTOGRAM_FRACTION:
    case FN_HISTOGRAM_QUANTILE:
    case FN_HISTOGRAM_QUANTILES:
        return exec_histogram_call(x, f, e, emit, ctx);
    default:
        return exec_map(x, f, e, emit, ctx);
    }
}

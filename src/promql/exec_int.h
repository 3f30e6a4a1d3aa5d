// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Execution, series by series. An operator pushes *rows* (all steps of one output series) into the function that wants
 * them; only what must wait (aggregation, matching, sorting) keeps rows. A step without a value holds the staleness
 * marker: it never appears as a value, because selectors drop it and arithmetic cannot make it. A histogram point holds
 * the marker in v and the histogram in h. */
#include "promql/ast_int.h"
#include "promql/funcs_int.h"
#include "promql/hist_int.h"
#include "base/map.h"
#include "base/vec.h"

struct frame { /* the times of evaluation */
    int64_t start, step;
    size_t n; /* at least 1 */
};

static inline int64_t frame_ts(const struct frame *f, size_t i)
{
    return f->start + (int64_t)i * f->step;
}

struct row {
    struct labels labels;       /* valid until the query ends */
    bool drop_name;             /* the metric name goes when the query ends (delayed name removal) */
    double *v;                  /* frame.n values */
    const struct histogram **h; /* NULL: no histograms; else frame.n, NULL where there is none */
};

/* Takes one row. Its arrays belong to the operator that calls and are reused for the next row: change them in place if
 * you like, copy what must stay. 0, or the error to hand up. */
typedef int (*row_fn)(void *ctx, struct row *r);

enum note_kind {
    NOTE_MIXED_RANGE,
    NOTE_MIXED_AGGREGATION,
    NOTE_MIXED_SCHEMAS,
    NOTE_MIXED_CLASSIC,
    NOTE_NOT_COUNTER,
    NOTE_NOT_GAUGE,
    NOTE_BAD_BUCKET,
    NOTE_BAD_QUANTILE,
    NOTE_BAD_RATIO,
    NOTE_SORT_RANGE,
    NOTE_RESET_CONFLICT,
    NOTE_RECONCILED,
    NOTE_MAYBE_NO_COUNTER,
    NOTE_MONOTONICITY,
    NOTE_BINARY_TYPES,
    NOTE_IGNORED_IN_AGGREGATION,
    NOTE_IGNORED_IN_RANGE,
    NOTE_QUANTILE_NAN,
    NOTE_QUANTILE_SKEWED,
    NOTE_FRACTION_NAN,
    NOTE_BINARY_LAYOUT,
};

struct note {
    enum note_kind kind;
    uint32_t pos;
    struct str name, extra;
    bool fixed; /* monotonicity: the figures of all steps together */
    double min_bucket, max_bucket, max_diff;
    uint64_t samples;
    int64_t from, to;
};

struct exec {
    const struct promql *q;
    struct snapshot *snap;
    struct arena *a; /* working memory, gone when the query ends */
    size_t max_bytes, held_bytes;
    uint64_t max_samples, samples_read, samples_now, samples_peak;
    int64_t lookback_ms, subquery_step_ms;
    struct frame top;
    bool is_range, use_st;
    bool hist_stats; /* below histogram_count and its like: reset hints are worked out from the samples read */
    const struct clock *clock;
    uint64_t deadline_ns;
    const _Atomic bool *cancel;
    struct err *err;
    VEC(struct note) notes;
};

/* ---- exec.c ------------------------------------------------------------------------ */
int exec_vector(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx);
/* out: f->n values. */
int exec_scalar(struct exec *x, const struct frame *f, const struct expr *e, double *out);
int exec_string(struct exec *x, const struct expr *e, struct str *ret);

int x_fail(struct exec *x, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Zeroed; NULL when the query's memory is used up (the error is set: return QUERY_E_BUDGET). */
void *x_alloc(struct exec *x, size_t n, size_t size);
#define X_ARRAY(x, type, n) ((type *)x_alloc((x), (n), sizeof(type)))
/* Between rows: cancelled, too late, over budget? */
int x_check(struct exec *x);
/* Count samples held; over --query.max-samples is an error. */
int x_hold(struct exec *x, uint64_t samples);
void x_release(struct exec *x, uint64_t samples);

int row_init(struct exec *x, const struct frame *f, struct row *r, bool histograms);
bool row_any(const struct row *r, size_t n);
static inline bool has_float(double v)
{
    return !is_stale(v);
}
static inline bool has_hist(const struct row *r, size_t i)
{
    return r->h && r->h[i];
}
static inline bool has_point(const struct row *r, size_t i)
{
    return has_float(r->v[i]) || has_hist(r, i);
}

/* Rows that must wait. */
struct rows {
    struct exec *x;
    size_t steps;
    struct row *v;
    size_t n, cap;
};
int rows_take(void *ctx, struct row *r); /* a row_fn; copies */
/* The same labels at different times become one row; at the same time they are an error. */
int rows_merge(struct rows *rows, struct row *into, const struct row *r);

/* Rows found by their labels. Start with .rows = {.x, .steps} and .f. */
struct row_map {
    struct rows rows;
    const struct frame *f;
    struct idmap by_hash; /* -> index of the newest row with this hash */
    uint32_t *next;       /* index + 1 of the one before it */
};
/* The row with these labels, made without points when new. Pointers to rows move when one is made. */
int row_map_get(struct row_map *m, struct labels labels, struct row **ret);
int row_map_emit(struct row_map *m, row_fn emit, void *ctx); /* those with a point */
void row_map_done(struct row_map *m);

/* The values of an @ or offset; the range of a matrix or subquery. */
int when_offset(struct exec *x, const struct frame *f, const struct when *w, int64_t *ret_ms);
bool when_at(struct exec *x, const struct when *w, int64_t *ret_ms);
int win_range(struct exec *x, const struct frame *f, const struct expr *e, int64_t *ret_range, int64_t *ret_step);

struct labels drop_metric_name(struct exec *x, struct labels l); /* __name__, __type__, __unit__ */
struct labels labels_build(struct exec *x, struct labels_builder *b);
struct str metric_name(struct labels l);

/* ---- select.c ---------------------------------------------------------------------- */
enum select_what { SELECT_VALUE, SELECT_TIME, SELECT_START };
int exec_selector(struct exec *x, const struct frame *f, const struct expr *e, enum select_what what, row_fn emit,
                  void *ctx);

/* Floats and histograms of one series apart, as range functions want them. */
struct series_data {
    const int64_t *ft, *fst;
    const double *fv;
    size_t nf;
    const int64_t *ht, *hst;
    const struct histogram *const *hv;
    size_t nh;
};
typedef int (*data_fn)(void *ctx, struct labels labels, bool drop_name, const struct series_data *d);
struct span { /* what a range argument looks at, for step i: (ref - range, ref] */
    int64_t range_ms, offset_ms, at_ms;
    bool pinned;
    bool anchored, smoothed;
};
static inline int64_t span_end(const struct span *s, const struct frame *f, size_t i)
{
    return (s->pinned ? s->at_ms : frame_ts(f, i)) - s->offset_ms;
}
/* Every series of a matrix selector or subquery with the samples that the frame's windows may need. */
int exec_matrix(struct exec *x, const struct frame *f, const struct expr *e, struct span *ret_span, data_fn fn,
                void *ctx);

/* ---- functions --------------------------------------------------------------------- */
int exec_range_call(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx);
int exec_call(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx);
int exec_label_call(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx);
int exec_info(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx);
int exec_histogram_call(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx);
int exec_aggregate(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx);
int exec_binary(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx);
double scalar_op(enum token_kind op, double l, double r);
/* Natural order of strings: digits by value. */
int natural_cmp(struct str a, struct str b);

/* ---- numbers ----------------------------------------------------------------------- */
static inline void kahan_add(double inc, double *sum, double *c)
{
    double t = *sum + inc;
    if (__builtin_isinf(t))
        *c = 0;
    else if (__builtin_fabs(*sum) >= __builtin_fabs(inc)) /* Neumaier: the larger one first */
        *c += (*sum - t) + inc;
    else
        *c += (inc - t) + *sum;
    *sum = t;
}
/* Sorts values. */
double quantile_of(double q, double *values, size_t n);

/* ---- note.c ------------------------------------------------------------------------ */
/* Once per kind, place, name and extra. name and extra must live as long as the query. */
void x_note(struct exec *x, enum note_kind kind, uint32_t pos, struct str name, struct str extra);
void x_note_monotonic(struct exec *x, uint32_t pos, struct str name, const struct classic_fix *fix, int64_t ts);
int notes_result(struct exec *x, struct arena *a, const struct query_note **ret, size_t *ret_n);

// SPDX-License-Identifier: Apache-2.0
/* Warnings and infos, worded as util/annotations of Prometheus 3.14. */
#include "promql/exec_int.h"
#include "base/format.h"
#include "codec/f64.h"

#define NOTES_MAX 256 /* distinct notes of one query; later ones are dropped */

enum note_form { FORM_PLAIN, FORM_NAME, FORM_COLON_NAME, FORM_EXTRA, FORM_QUOTED_EXTRA_NAME };
static const struct {
    bool warning;
    enum note_form form;
    const char *text;
} kinds[] = {
    [NOTE_MIXED_RANGE] = {true, FORM_NAME, "encountered a mix of histograms and floats for"},
    [NOTE_MIXED_AGGREGATION] = {true, FORM_PLAIN, "encountered a mix of histograms and floats for aggregation"},
    [NOTE_MIXED_SCHEMAS] = {true, FORM_NAME,
                            "vector contains a mix of histograms with exponential and custom buckets schemas for"},
    [NOTE_MIXED_CLASSIC] = {true, FORM_NAME, "vector contains a mix of classic and native histograms for"},
    [NOTE_NOT_COUNTER] = {true, FORM_COLON_NAME, "this native histogram metric is not a counter:"},
    [NOTE_NOT_GAUGE] = {true, FORM_COLON_NAME, "this native histogram metric is not a gauge:"},
    [NOTE_BAD_BUCKET] = {true, FORM_QUOTED_EXTRA_NAME, "bucket label \"le\" is missing or has a malformed value of"},
    [NOTE_BAD_QUANTILE] = {true, FORM_EXTRA, "quantile value should be between 0 and 1, got"},
    [NOTE_BAD_RATIO] = {true, FORM_EXTRA, "ratio value should be between -1 and 1, got"},
    [NOTE_SORT_RANGE] = {true, FORM_PLAIN,
                         "sort is ineffective for range queries since results are always ordered by labels"},
    [NOTE_RESET_CONFLICT] = {true, FORM_EXTRA, "conflicting counter resets during histogram"},
    [NOTE_RECONCILED] = {false, FORM_EXTRA, "mismatched custom buckets were reconciled during"},
    [NOTE_MAYBE_NO_COUNTER] = {false, FORM_COLON_NAME,
                               "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:"},
    [NOTE_MONOTONICITY] = {false, FORM_PLAIN,
                           "input to histogram_quantile needed to be fixed for monotonicity (see "
                           "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"},
    [NOTE_BINARY_TYPES] = {false, FORM_EXTRA, "incompatible sample types encountered for binary operator"},
    [NOTE_IGNORED_IN_AGGREGATION] = {false, FORM_EXTRA, "ignored histogram in"},
    [NOTE_IGNORED_IN_RANGE] = {false, FORM_NAME,
                               "ignored histograms in a range containing both floats and histograms for"},
    [NOTE_QUANTILE_NAN] = {false, FORM_NAME, "input to histogram_quantile has NaN observations, result is NaN for"},
    [NOTE_QUANTILE_SKEWED] = {false, FORM_NAME,
                              "input to histogram_quantile has NaN observations, result is skewed higher for"},
    [NOTE_FRACTION_NAN] =
        {false, FORM_NAME,
         "input to histogram_fraction has NaN observations, which are excluded from all fractions for"},
    [NOTE_BINARY_LAYOUT] = {true, FORM_EXTRA, "incompatible bucket layout encountered for binary operator"},
};

static struct note *note_at(struct exec *x, enum note_kind kind, uint32_t pos, struct str name, struct str extra)
{
    for (size_t i = 0; i < x->notes.n; i++) {
        struct note *o = &x->notes.v[i];
        if (o->kind == kind && o->pos == pos && str_eq(o->name, name) && str_eq(o->extra, extra))
            return o;
    }
    if (x->notes.n >= NOTES_MAX)
        return NULL;
    vec_push(&x->notes, (struct note){.kind = kind, .pos = pos, .name = name, .extra = extra});
    return &x->notes.v[x->notes.n - 1];
}

void x_note(struct exec *x, enum note_kind kind, uint32_t pos, struct str name, struct str extra)
{
    (void)note_at(x, kind, pos, name, extra);
}

void x_note_monotonic(struct exec *x, uint32_t pos, struct str name, const struct classic_fix *fix, int64_t ts)
{
    struct note *n = note_at(x, NOTE_MONOTONICITY, pos, name, STR(""));
    if (!n)
        return;
    if (!n->fixed) {
        n->fixed = true;
        n->min_bucket = fix->min_bucket;
        n->max_bucket = fix->max_bucket;
        n->max_diff = fix->max_diff;
        n->from = n->to = ts;
    }
    n->samples++;
    n->min_bucket = MIN(n->min_bucket, fix->min_bucket);
    n->max_bucket = MAX(n->max_bucket, fix->max_bucket);
    n->max_diff = MAX(n->max_diff, fix->max_diff);
    n->from = MIN(n->from, ts);
    n->to = MAX(n->to, ts);
}

static void put_name(struct buf *b, struct str name)
{
    if (name.n == 0)
        return;
    buf_z(b, " for metric name ");
    promql_quote(b, name);
}

static void put_note(struct buf *b, const struct exec *x, const struct note *n)
{
    buf_z(b, kinds[n->kind].warning ? "PromQL warning: " : "PromQL info: ");
    buf_z(b, kinds[n->kind].text);
    switch (kinds[n->kind].form) {
    case FORM_PLAIN:
        break;
    case FORM_NAME:
        buf_z(b, " metric name ");
        promql_quote(b, n->name);
        break;
    case FORM_COLON_NAME:
        buf_putc(b, ' ');
        promql_quote(b, n->name);
        break;
    case FORM_EXTRA:
        buf_putc(b, ' ');
        buf_str(b, n->extra);
        break;
    case FORM_QUOTED_EXTRA_NAME:
        buf_putc(b, ' ');
        promql_quote(b, n->extra);
        put_name(b, n->name);
        break;
    }
    if (n->kind == NOTE_MONOTONICITY) {
        put_name(b, n->name);
        buf_z(b, ", from buckets ");
        f64_put_g(b, n->min_bucket);
        buf_z(b, " to ");
        f64_put_g(b, n->max_bucket);
        buf_fmt(b, ", with a max diff of %.2g, over %llu samples from ", n->max_diff,
                (unsigned long long)n->samples + 0ULL);
        format_rfc3339_ms(b, n->from);
        buf_z(b, " to ");
        format_rfc3339_ms(b, n->to);
    }
    unsigned line, col;
    promql_position(x->q->text, n->pos, &line, &col);
    buf_fmt(b, " (%u:%u)", line, col);
}

int notes_result(struct exec *x, struct arena *a, const struct query_note **ret, size_t *ret_n)
{
    size_t total = x->notes.n;
    if (total == 0)
        return 0;
    struct query_note *v = arena_try(a, total * sizeof(*v));
    if (!v)
        return QUERY_E_BUDGET;
    struct buf b = BUF_INIT(64 << 10);
    int r = 0;
    for (size_t i = 0; i < total; i++) {
        buf_reset(&b);
        put_note(&b, x, &x->notes.v[i]);
        char *p = arena_try(a, b.n + 1);
        if (!p) {
            r = QUERY_E_BUDGET;
            break;
        }
        memcpy(p, b.p, b.n);
        p[b.n] = 0;
        v[i] = (struct query_note){.warning = kinds[x->notes.v[i].kind].warning, .text = str_make(p, b.n)};
    }
    buf_done(&b);
    if (r == 0) {
        *ret = v;
        *ret_n = total;
    }
    return r;
}

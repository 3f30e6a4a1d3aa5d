// SPDX-License-Identifier: Apache-2.0
/* Functions of a range: one pass per series, two indices that only move forward. Numerics follow promql/functions.go of
 * Prometheus 3.14; windows are open on the left. */
#include "promql/exec_int.h"
#include "base/mem.h"
#include "codec/f64.h"
#include <math.h>

struct range_run {
    struct exec *x;
    const struct frame *f;
    const struct expr *call;
    unsigned id;
    uint32_t pos; /* of the range argument, for notes */
    struct span span;
    double *p1, *p2; /* scalar arguments, per step */
    struct row out;
    const struct histogram **h;
    struct arena *hists; /* made for the row at hand */
    struct str name;
    double *scratch;
    size_t scratch_cap;
    uint64_t work; /* samples looked at since the clock was */
    int rc;        /* of that look: the row is given up */
    row_fn emit;
    void *ctx;
};

struct win {
    const int64_t *ft, *fst, *ht, *hst;
    const double *fv;
    const struct histogram *const *hv;
    size_t nf, nh;
    int64_t start, end;
};

static void put(struct range_run *r, size_t i, double v)
{
    r->out.v[i] = v;
}

static void put_hist(struct range_run *r, size_t i, const struct histogram *h)
{
    r->h[i] = h;
    r->out.h = r->h;
}

static void note(struct range_run *r, enum note_kind kind)
{
    x_note(r->x, kind, r->pos, r->name, STR(""));
}

static void note_status(struct range_run *r, unsigned status, const char *what)
{
    if (status & HIST_RECONCILED)
        x_note(r->x, NOTE_RECONCILED, r->pos, STR(""), str_of(what));
    if (status & HIST_RESET_CONFLICT)
        x_note(r->x, NOTE_RESET_CONFLICT, r->pos, STR(""), str_of(what));
}

#define WORK_BETWEEN_CHECKS (4 << 20) /* samples: a few milliseconds */

/* Wide windows over many steps take long inside one row: look for the clock and for cancelling there too. */
static inline bool go_on(struct range_run *r, size_t samples)
{
    r->work += samples;
    if (__builtin_expect(r->work > WORK_BETWEEN_CHECKS, 0)) {
        r->work = 0;
        r->rc = x_check(r->x);
    }
    return r->rc == 0;
}

/* The loop of every function; inlined with its body, so that no call is made per step. */
static inline __attribute__((always_inline)) void over_steps(struct range_run *r, const struct series_data *d,
                                                             void (*body)(struct range_run *, const struct win *,
                                                                          size_t))
{
    size_t flo = 0, fhi = 0, hlo = 0, hhi = 0;
    for (size_t i = 0; i < r->f->n; i++) {
        int64_t end = span_end(&r->span, r->f, i), start = end - r->span.range_ms;
        while (fhi < d->nf && d->ft[fhi] <= end)
            fhi++;
        while (flo < fhi && d->ft[flo] <= start)
            flo++;
        while (hhi < d->nh && d->ht[hhi] <= end)
            hhi++;
        while (hlo < hhi && d->ht[hlo] <= start)
            hlo++;
        if (flo == fhi && hlo == hhi)
            continue;
        if (!go_on(r, fhi - flo + hhi - hlo))
            return;
        struct win w = {.ft = d->ft + flo,
                        .fv = d->fv + flo,
                        .fst = d->fst ? d->fst + flo : NULL,
                        .nf = fhi - flo,
                        .ht = d->ht ? d->ht + hlo : NULL,
                        .hv = d->hv ? d->hv + hlo : NULL,
                        .hst = d->hst ? d->hst + hlo : NULL,
                        .nh = hhi - hlo,
                        .start = start,
                        .end = end};
        body(r, &w, i);
    }
}

/* ---- rate, increase, delta
 * ---------------------------------------------------------------------------------------------- */

static bool is_counter_fn(unsigned id)
{
    return id == FN_RATE || id == FN_INCREASE || id == FN_IRATE;
}

static bool is_rate_fn(unsigned id)
{
    return id == FN_RATE || id == FN_IRATE;
}

/* A sample counts from its start timestamp: a new one between two samples is a reset even where the value grew. */
static bool start_reset(const int64_t *t, const int64_t *st, size_t i)
{
    return st && st[i] != 0 && st[i] >= t[i - 1] && st[i] < t[i];
}

struct extrapolation {
    int64_t first_t, last_t;
    size_t n;           /* samples */
    double first, diff; /* of the value, or of a histogram's count */
    bool zero_at_start; /* first_t is a start timestamp, where the counter was 0 */
    int64_t real_first_t;
};

/* The factor from the sampled interval to the whole window (functions.go, extrapolatedRate). */
static inline double extrapolate(const struct win *w, const struct extrapolation *s, bool counter)
{
    double to_start = (double)(s->first_t - w->start) / 1000;
    double to_end = (double)(w->end - s->last_t) / 1000;
    double sampled = (double)(s->last_t - s->first_t) / 1000;
    double average = s->zero_at_start
                         ? (s->n > 1 ? (double)(s->last_t - s->real_first_t) / 1000 / (double)(s->n - 1) : 0)
                         : sampled / (double)(s->n - 1);
    double threshold = average * 1.1;
    double whole = sampled;
    if (to_start >= threshold)
        to_start = average / 2;
    if (counter) {
        /* A counter cannot be negative: do not extrapolate past where it would have been zero. */
        double to_zero = to_start;
        if (s->zero_at_start)
            to_zero = 0;
        else if (s->diff > 0 && s->first >= 0)
            to_zero = sampled * (s->first / s->diff);
        if (to_zero < to_start)
            to_start = to_zero;
    }
    whole += to_start;
    if (to_end >= threshold)
        to_end = average / 2;
    whole += to_end;
    return whole / sampled;
}

static bool starts_inside(const struct win *w, const int64_t *t, const int64_t *st, bool counter)
{
    return counter && st && st[0] != 0 && st[0] > w->start && st[0] < t[0];
}

static bool hist_restart(const struct win *w, size_t i)
{
    return hist_reset(w->hv[i], w->hv[i - 1]) || start_reset(w->ht, w->hst, i);
}

/* The rate of histograms: like floats, with the whole histogram for the value (functions.go, histogramRate). from_zero:
 * the first sample counts in full. NULL: nothing to show. */
static struct histogram *histogram_diff(struct range_run *r, const struct win *w, bool counter, bool from_zero)
{
    const struct histogram *first = w->hv[0], *last = w->hv[w->nh - 1];
    size_t n = w->nh;
    if (counter && (first->hint == HIST_GAUGE || last->hint == HIST_GAUGE))
        note(r, NOTE_NOT_COUNTER);
    /* A reset right after the first sample makes its buckets irrelevant, and with them their layout. */
    bool skip_first = counter && !from_zero && n > 1 && hist_restart(w, 1);
    bool custom = hist_is_custom(skip_first ? w->hv[1] : first);
    bool mixed = hist_is_custom(last) != custom;
    for (size_t i = 1; counter && i + 1 < n; i++) {
        if (w->hv[i]->hint == HIST_GAUGE)
            note(r, NOTE_NOT_COUNTER);
        mixed |= hist_is_custom(w->hv[i]) != custom;
    }
    if (mixed) {
        note(r, NOTE_MIXED_SCHEMAS);
        return NULL;
    }
    if (!counter && (first->hint != HIST_GAUGE || last->hint != HIST_GAUGE))
        note(r, NOTE_NOT_GAUGE);
    unsigned subtracted = 0, added = 0;
    struct histogram *h = hist_copy(r->hists, last);
    if (!from_zero && !skip_first)
        h = hist_sub(r->hists, h, first, &subtracted);
    for (size_t i = 1 + skip_first; h && counter && i < n; i++)
        if (hist_restart(w, i))
            h = hist_add(r->hists, h, w->hv[i - 1], &added);
    if (!h) {
        note(r, NOTE_MIXED_SCHEMAS);
        return NULL;
    }
    note_status(r, subtracted & HIST_RECONCILED, "subtraction");
    note_status(r, added & HIST_RECONCILED, "addition");
    h->hint = HIST_GAUGE;
    return h;
}

static void rate_histograms(struct range_run *r, const struct win *w, size_t i)
{
    bool counter = is_counter_fn(r->id);
    bool zero = starts_inside(w, w->ht, w->hst, counter);
    if (w->nh < 2 && !zero)
        return;
    struct histogram *h = histogram_diff(r, w, counter, zero);
    if (!h)
        return;
    struct extrapolation s = {.first_t = zero ? w->hst[0] : w->ht[0],
                              .real_first_t = w->ht[0],
                              .last_t = w->ht[w->nh - 1],
                              .n = w->nh,
                              .first = w->hv[0]->count,
                              .diff = h->count,
                              .zero_at_start = zero};
    double factor = extrapolate(w, &s, counter);
    if (is_rate_fn(r->id))
        factor /= (double)r->span.range_ms / 1000;
    h = hist_scale(r->hists, h, factor);
    put_hist(r, i, hist_compact(r->hists, h));
}

static void rate_mixed(struct range_run *r, const struct win *w, size_t i)
{
    if (w->nf > 0 && w->nh > 0) {
        note(r, NOTE_MIXED_RANGE);
        return;
    }
    if (w->nh > 0) {
        rate_histograms(r, w, i);
        return;
    }
    bool counter = is_counter_fn(r->id);
    bool zero = starts_inside(w, w->ft, w->fst, counter);
    if (w->nf < 2 && !zero)
        return;
    double diff = w->fv[w->nf - 1] - w->fv[0];
    for (size_t k = 1; counter && k < w->nf; k++)
        if (w->fv[k] < w->fv[k - 1] || start_reset(w->ft, w->fst, k))
            diff += w->fv[k - 1];
    if (zero)
        diff += w->fv[0];
    struct extrapolation s = {.first_t = zero ? w->fst[0] : w->ft[0],
                              .real_first_t = w->ft[0],
                              .last_t = w->ft[w->nf - 1],
                              .n = w->nf,
                              .first = w->fv[0],
                              .diff = diff,
                              .zero_at_start = zero};
    double factor = extrapolate(w, &s, counter);
    put(r, i, diff * (is_rate_fn(r->id) ? factor / ((double)r->span.range_ms / 1000) : factor));
}

/* Plain floats, the path that dashboards take. The resets of a whole series are few: found once, they are visited by an
 * index that moves along with the window. */
static int rate_floats(struct range_run *r, const struct series_data *d)
{
    bool counter = is_counter_fn(r->id);
    double per = is_rate_fn(r->id) ? (double)r->span.range_ms / 1000 : 1;
    size_t n_resets = 0;
    size_t *resets = NULL;
    if (counter) {
        for (size_t k = 1; k < d->nf; k++)
            n_resets += d->fv[k] < d->fv[k - 1];
        if (n_resets > 0) {
            resets = (size_t *)xmalloc(n_resets * sizeof(size_t));
            n_resets = 0;
            for (size_t k = 1; k < d->nf; k++)
                if (d->fv[k] < d->fv[k - 1])
                    resets[n_resets++] = k;
        }
    }
    size_t lo = 0, hi = 0, rlo = 0;
    for (size_t i = 0; i < r->f->n; i++) {
        int64_t end = span_end(&r->span, r->f, i), start = end - r->span.range_ms;
        while (hi < d->nf && d->ft[hi] <= end)
            hi++;
        while (lo < hi && d->ft[lo] <= start)
            lo++;
        if (hi - lo < 2)
            continue;
        double first = d->fv[lo], diff = d->fv[hi - 1] - first;
        while (rlo < n_resets && resets[rlo] <= lo)
            rlo++;
        for (size_t k = rlo; k < n_resets && resets[k] < hi; k++)
            diff += d->fv[resets[k] - 1];
        struct win w = {.start = start, .end = end};
        struct extrapolation s = {
            .first_t = d->ft[lo], .last_t = d->ft[hi - 1], .n = hi - lo, .first = first, .diff = diff};
        double factor = extrapolate(&w, &s, counter);
        /* Prometheus divides the factor, not the product: the last digits depend on it. */
        put(r, i, diff * (is_rate_fn(r->id) ? factor / per : factor));
    }
    free(resets);
    return 0;
}

/* ---- anchored and smoothed
 * ------------------------------------------------------------------------------------------------- */

/* The first sample at or before the left edge (or the first inside), and the last of interest. */
struct edges {
    size_t first, last;
};

static bool find_edges(const int64_t *t, size_t n, int64_t start, int64_t end, int64_t lookback, bool smoothed,
                       size_t *ret_from, struct edges *ret)
{
    size_t from = 0, to = n;
    while (from < n && t[from] <= start - lookback)
        from++;
    while (to > from && t[to - 1] > (smoothed ? end + lookback : end))
        to--;
    if (from == to)
        return false;
    size_t last = to - 1, first = from;
    while (first < last && t[first] <= start)
        first++;
    if (first > from)
        first--;
    if (first == last && t[first] <= start && !smoothed)
        return false;
    /* first: the last one at or before the left edge, or the first of all */
    if (smoothed) {
        size_t k = from;
        while (k < last && t[k] < end)
            k++;
        last = k;
        if (t[first] > end)
            return false;
    }
    *ret_from = from;
    *ret = (struct edges){.first = first, .last = last};
    return t[last] > start;
}

static double interpolate(int64_t t1, double y1, int64_t t2, double y2, int64_t t, bool counter)
{
    if (counter && y2 < y1)
        y1 = 0; /* the reset may have been right after the first of them */
    return y1 + (y2 - y1) * (double)(t - t1) / (double)(t2 - t1);
}

static void extended_floats(struct range_run *r, const struct series_data *d, int64_t start, int64_t end, size_t i)
{
    struct edges e;
    size_t from;
    bool smoothed = r->span.smoothed, counter = is_counter_fn(r->id);
    const int64_t *t = d->ft;
    const double *v = d->fv;
    if (!find_edges(t, d->nf, start, end, r->x->lookback_ms, smoothed, &from, &e))
        return;
    double left = smoothed && t[e.first] < start && e.first < e.last
                      ? interpolate(t[e.first], v[e.first], t[e.first + 1], v[e.first + 1], start, counter)
                      : v[e.first];
    double right = smoothed && e.last > from && t[e.last] > end
                       ? interpolate(t[e.last - 1], v[e.last - 1], t[e.last], v[e.last], end, counter)
                       : v[e.last];
    double result = right - left;
    if (counter) {
        size_t a = e.first + (t[e.first] <= start), b = e.last + 1 - (t[e.last] >= end);
        if (a <= b) {
            double prev = left;
            for (size_t k = a; k < b; k++) {
                if (v[k] < prev)
                    result += prev;
                prev = v[k];
            }
            if (right < prev)
                result += prev;
        }
    }
    put(r, i, is_rate_fn(r->id) ? result / ((double)r->span.range_ms / 1000) : result);
}

static struct histogram *interpolate_hist(struct range_run *r, const struct series_data *d, size_t k, int64_t t,
                                          bool counter, unsigned *status)
{
    const struct histogram *a = d->hv[k], *b = d->hv[k + 1];
    double part = (double)(t - d->ht[k]) / (double)(d->ht[k + 1] - d->ht[k]);
    if (counter && hist_reset(b, a)) {
        struct histogram *h = hist_scale(r->hists, b, part);
        h->hint = b->hint;
        return h;
    }
    struct histogram *diff = hist_sub(r->hists, b, a, status);
    return diff ? hist_add(r->hists, a, hist_scale(r->hists, diff, part), status) : NULL;
}

static void extended_hists(struct range_run *r, const struct series_data *d, int64_t start, int64_t end, size_t i)
{
    struct edges e;
    size_t from;
    bool smoothed = r->span.smoothed, counter = is_counter_fn(r->id);
    const int64_t *t = d->ht;
    if (!find_edges(t, d->nh, start, end, r->x->lookback_ms, smoothed, &from, &e))
        return;
    for (size_t k = e.first; k <= e.last; k++) {
        if (hist_is_custom(d->hv[k]) != hist_is_custom(d->hv[e.first])) {
            note(r, NOTE_MIXED_SCHEMAS);
            return;
        }
        if (counter && d->hv[k]->hint == HIST_GAUGE)
            note(r, NOTE_NOT_COUNTER);
    }
    if (!counter && (d->hv[e.first]->hint != HIST_GAUGE || d->hv[e.last]->hint != HIST_GAUGE))
        note(r, NOTE_NOT_GAUGE);
    unsigned status = 0;
    const struct histogram *left = d->hv[e.first], *right = d->hv[e.last];
    bool between = smoothed && t[e.first] < start && e.first < e.last;
    if (between)
        left = interpolate_hist(r, d, e.first, start, counter, &status);
    if (smoothed && e.last > from && t[e.last] > end)
        right = interpolate_hist(r, d, e.last - 1, end, counter, &status);
    struct histogram *result = left && right ? hist_sub(r->hists, right, left, &status) : NULL;
    size_t a = e.first + (t[e.first] <= start), b = e.last + 1 - (t[e.last] >= end);
    if (result && counter && a <= b) {
        const struct histogram *prev = left;
        for (size_t k = a; result && k < b; k++) {
            /* an interpolated left edge has dealt with a reset at the next sample already */
            if (!(between && k == a) && hist_reset(d->hv[k], prev))
                result = hist_add(r->hists, result, prev, &status);
            prev = d->hv[k];
        }
        if (result && prev != right && !(between && a == b) && hist_reset(right, prev))
            result = hist_add(r->hists, result, prev, &status);
    }
    if (!result) {
        note(r, NOTE_MIXED_SCHEMAS);
        return;
    }
    note_status(r, status & HIST_RECONCILED, "subtraction");
    if (is_rate_fn(r->id))
        result = hist_divide(r->hists, result, (double)r->span.range_ms / 1000);
    result = hist_compact(r->hists, result);
    result->hint = HIST_GAUGE;
    put_hist(r, i, result);
}

static void count_between(struct range_run *r, const struct win *w, size_t i);

/* Which samples of a kind lie in the widened window. */
static size_t count_in(const int64_t *t, size_t n, int64_t after, int64_t until, size_t *ret_from)
{
    size_t from = 0, to = n;
    while (from < n && t[from] <= after)
        from++;
    while (to > from && t[to - 1] > until)
        to--;
    *ret_from = from;
    return to - from;
}

static void extended(struct range_run *r, const struct series_data *d)
{
    bool counting = r->id == FN_CHANGES || r->id == FN_RESETS;
    for (size_t i = 0; i < r->f->n; i++) {
        int64_t end = span_end(&r->span, r->f, i), start = end - r->span.range_ms, lookback = r->x->lookback_ms;
        size_t f0, h0;
        int64_t until = r->span.smoothed ? end + lookback : end;
        size_t nf = count_in(d->ft, d->nf, start - lookback, until, &f0);
        size_t nh = count_in(d->ht, d->nh, start - lookback, until, &h0);
        if (nf + nh == 0)
            continue;
        if (!go_on(r, d->nf + d->nh))
            return;
        if (!counting) {
            if (nf > 0 && nh > 0)
                note(r, NOTE_MIXED_RANGE);
            else if (nf > 0)
                extended_floats(r, d, start, end, i);
            else
                extended_hists(r, d, start, end, i);
            continue;
        }
        /* Only the last sample at or before the left edge joins the window. */
        size_t f_in = f0, h_in = h0;
        while (f_in < f0 + nf && d->ft[f_in] <= start)
            f_in++;
        while (h_in < h0 + nh && d->ht[h_in] <= start)
            h_in++;
        if (f_in == f0 + nf && h_in == h0 + nh)
            continue;
        bool f_anchor = f_in > f0, h_anchor = h_in > h0;
        if (f_anchor && h_anchor) {
            if (d->ft[f_in - 1] > d->ht[h_in - 1])
                h_anchor = false;
            else
                f_anchor = false;
        }
        f_in -= f_anchor;
        h_in -= h_anchor;
        struct win w = {.ft = d->ft + f_in,
                        .fv = d->fv + f_in,
                        .fst = d->fst ? d->fst + f_in : NULL,
                        .nf = f0 + nf - f_in,
                        .ht = d->ht ? d->ht + h_in : NULL,
                        .hv = d->hv ? d->hv + h_in : NULL,
                        .hst = d->hst ? d->hst + h_in : NULL,
                        .nh = h0 + nh - h_in,
                        .start = start,
                        .end = end};
        count_between(r, &w, i);
    }
}

/* ---- irate, idelta
 * ------------------------------------------------------------------------------------------------------------- */

struct one { /* a sample of either kind */
    int64_t t, st;
    double v;
    const struct histogram *h;
};

static void last_two(struct range_run *r, const struct win *w, size_t i)
{
    size_t nf = w->nf, nh = w->nh;
    if (nf + nh < 2)
        return;
    struct one s[2];
    for (int k = 1; k >= 0; k--) {
        if (nh == 0 || (nf > 0 && w->ft[nf - 1] > w->ht[nh - 1])) {
            nf--;
            s[k] = (struct one){.t = w->ft[nf], .v = w->fv[nf], .st = w->fst ? w->fst[nf] : 0};
        } else {
            nh--;
            s[k] = (struct one){.t = w->ht[nh], .h = w->hv[nh], .st = w->hst ? w->hst[nh] : 0};
        }
    }
    if (s[1].t == s[0].t)
        return;
    bool rate = r->id == FN_IRATE;
    bool restarted = rate && s[1].st != 0 && s[1].st >= s[0].t && s[1].st < s[1].t;
    double seconds = (double)(s[1].t - s[0].t) / 1000;
    if (!s[0].h && !s[1].h) {
        double v = s[1].v;
        if (!restarted && (!rate || !(s[1].v < s[0].v)))
            v = s[1].v - s[0].v;
        put(r, i, rate ? v / seconds : v);
        return;
    }
    if (!s[0].h || !s[1].h) {
        note(r, NOTE_MIXED_RANGE);
        return;
    }
    if (rate && (s[0].h->hint == HIST_GAUGE || s[1].h->hint == HIST_GAUGE))
        note(r, NOTE_NOT_COUNTER);
    if (!rate && (s[0].h->hint != HIST_GAUGE || s[1].h->hint != HIST_GAUGE))
        note(r, NOTE_NOT_GAUGE);
    unsigned status = 0;
    struct histogram *h = hist_copy(r->hists, s[1].h);
    if (!rate || !(restarted || hist_reset(s[1].h, s[0].h)))
        h = hist_sub(r->hists, h, s[0].h, &status);
    if (!h) {
        note(r, NOTE_MIXED_SCHEMAS);
        return;
    }
    note_status(r, status & HIST_RECONCILED, "subtraction");
    if (rate)
        h = hist_divide(r->hists, h, seconds);
    h = hist_compact(r->hists, h);
    h->hint = HIST_GAUGE;
    put_hist(r, i, h);
}

/* ---- changes, resets
 * ------------------------------------------------------------------------------------------------------------ */

static void count_between(struct range_run *r, const struct win *w, size_t i)
{
    bool resets = r->id == FN_RESETS;
    double count = 0;
    struct one prev = {0};
    size_t f = 0, h = 0;
    while (f < w->nf || h < w->nh) {
        struct one cur;
        if (h == w->nh || (f < w->nf && w->ft[f] < w->ht[h])) {
            cur = (struct one){.t = w->ft[f], .v = w->fv[f], .st = w->fst ? w->fst[f] : 0};
            f++;
        } else {
            cur = (struct one){.t = w->ht[h], .h = w->hv[h], .st = w->hst ? w->hst[h] : 0};
            h++;
        }
        if (f + h > 1) {
            bool hit;
            if (!prev.h != !cur.h)
                hit = true;
            else if (resets && cur.st != 0 && cur.st >= prev.t && cur.st < cur.t)
                hit = true;
            else if (cur.h)
                hit = resets ? hist_reset(cur.h, prev.h) : !fhist_equal(cur.h, prev.h);
            else
                hit = resets ? cur.v < prev.v : cur.v != prev.v && !(isnan(cur.v) && isnan(prev.v));
            count += hit;
        }
        prev = cur;
    }
    put(r, i, count);
}

/* ---- *_over_time
 * ------------------------------------------------------------------------------------------------------------------ */

static void note_ignored(struct range_run *r, const struct win *w)
{
    if (w->nh > 0 && w->nf > 0)
        note(r, NOTE_IGNORED_IN_RANGE);
}

static bool floats_only(struct range_run *r, const struct win *w)
{
    note_ignored(r, w);
    return w->nf > 0;
}

static void sum_hists(struct range_run *r, const struct win *w, size_t i, bool average)
{
    unsigned status = 0;
    bool custom = hist_is_custom(w->hv[0]), saw_reset = false, saw_not = false;
    struct histogram *h = hist_copy(r->hists, w->hv[0]);
    for (size_t k = 0; k < w->nh; k++) {
        saw_reset |= w->hv[k]->hint == HIST_RESET;
        saw_not |= w->hv[k]->hint == HIST_NOT_RESET;
        if (k > 0)
            h = hist_is_custom(w->hv[k]) == custom ? hist_add(r->hists, h, w->hv[k], &status) : NULL;
        if (!h) {
            note(r, NOTE_MIXED_SCHEMAS);
            return;
        }
    }
    note_status(r, status & HIST_RECONCILED, "aggregation");
    if (saw_reset && saw_not)
        x_note(r->x, NOTE_RESET_CONFLICT, r->pos, STR(""), STR("aggregation"));
    if (average)
        h = hist_divide(r->hists, h, (double)w->nh);
    put_hist(r, i, h);
}

static void sum_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (w->nh > 0) {
        if (w->nf > 0)
            note(r, NOTE_MIXED_RANGE);
        else
            sum_hists(r, w, i, false);
        return;
    }
    double sum = 0, c = 0;
    for (size_t k = 0; k < w->nf; k++)
        kahan_add(w->fv[k], &sum, &c);
    put(r, i, isinf(sum) ? sum : sum + c);
}

static double average_of(const double *v, size_t n)
{
    double sum = v[0], c = 0, mean = 0;
    bool incremental = false;
    for (size_t k = 1; k < n; k++) {
        double count = (double)(k + 1);
        if (!incremental) {
            double s = sum, sc = c;
            kahan_add(v[k], &s, &sc);
            if (!isinf(s)) {
                sum = s;
                c = sc;
                continue;
            }
            /* The sum overflows: go on with the mean. */
            incremental = true;
            mean = sum / (count - 1);
            c /= count - 1;
        }
        double q = (count - 1) / count;
        mean = q * mean;
        c = q * c;
        kahan_add(v[k] / count, &mean, &c);
    }
    return incremental ? mean + c : sum / (double)n + c / (double)n;
}

static void avg_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (w->nh > 0) {
        if (w->nf > 0)
            note(r, NOTE_MIXED_RANGE);
        else
            sum_hists(r, w, i, true);
        return;
    }
    put(r, i, average_of(w->fv, w->nf));
}

static void count_over_time(struct range_run *r, const struct win *w, size_t i)
{
    put(r, i, (double)(w->nf + w->nh));
}

static void present_over_time(struct range_run *r, const struct win *w, size_t i)
{
    (void)w;
    put(r, i, 1);
}

static void end_of_window(struct range_run *r, const struct win *w, size_t i, bool last, bool time)
{
    size_t f = last && w->nf ? w->nf - 1 : 0, h = last && w->nh ? w->nh - 1 : 0;
    bool use_h = w->nh > 0 && (w->nf == 0 || (last ? w->ht[h] > w->ft[f] : w->ht[h] < w->ft[f]));
    if (time)
        put(r, i, (double)(use_h ? w->ht[h] : w->ft[f]) / 1000);
    else if (use_h)
        put_hist(r, i, w->hv[h]);
    else
        put(r, i, w->fv[f]);
}

static void last_over_time(struct range_run *r, const struct win *w, size_t i)
{
    end_of_window(r, w, i, true, false);
}

static void first_over_time(struct range_run *r, const struct win *w, size_t i)
{
    end_of_window(r, w, i, false, false);
}

static void ts_of_last(struct range_run *r, const struct win *w, size_t i)
{
    end_of_window(r, w, i, true, true);
}

static void ts_of_first(struct range_run *r, const struct win *w, size_t i)
{
    end_of_window(r, w, i, false, true);
}

static void max_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (!floats_only(r, w))
        return;
    double m = w->fv[0];
    for (size_t k = 1; k < w->nf; k++)
        if (w->fv[k] > m || isnan(m))
            m = w->fv[k];
    put(r, i, m);
}

static void min_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (!floats_only(r, w))
        return;
    double m = w->fv[0];
    for (size_t k = 1; k < w->nf; k++)
        if (w->fv[k] < m || isnan(m))
            m = w->fv[k];
    put(r, i, m);
}

static void ts_of_extreme(struct range_run *r, const struct win *w, size_t i)
{
    if (!floats_only(r, w))
        return;
    bool max = r->id == FN_TS_OF_MAX_OVER_TIME;
    size_t best = 0;
    for (size_t k = 1; k < w->nf; k++)
        if ((max ? w->fv[k] >= w->fv[best] : w->fv[k] <= w->fv[best]) || isnan(w->fv[best]))
            best = k;
    put(r, i, (double)w->ft[best] / 1000);
}

static void variance_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (!floats_only(r, w))
        return;
    double count = 0, mean = 0, cmean = 0, aux = 0, caux = 0;
    for (size_t k = 0; k < w->nf; k++) { /* Welford, both sums compensated */
        count++;
        double delta = w->fv[k] - (mean + cmean);
        kahan_add(delta / count, &mean, &cmean);
        kahan_add(delta * (w->fv[k] - (mean + cmean)), &aux, &caux);
    }
    double v = (aux + caux) / count;
    put(r, i, r->id == FN_STDDEV_OVER_TIME ? sqrt(v) : v);
}

static double *scratch_copy(struct range_run *r, const struct win *w)
{
    if (r->scratch_cap < w->nf) {
        r->scratch_cap = w->nf * 2;
        r->scratch = xrealloc(r->scratch, r->scratch_cap * sizeof(double));
    }
    memcpy(r->scratch, w->fv, w->nf * sizeof(double));
    return r->scratch;
}

static void quantile_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (!floats_only(r, w))
        return;
    put(r, i, quantile_of(r->p1[i], scratch_copy(r, w), w->nf));
}

static void mad_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (!floats_only(r, w))
        return;
    double *v = scratch_copy(r, w);
    double median = quantile_of(0.5, v, w->nf);
    for (size_t k = 0; k < w->nf; k++)
        v[k] = fabs(v[k] - median);
    put(r, i, quantile_of(0.5, v, w->nf));
}

/* ---- Regression and smoothing
 * -------------------------------------------------------------------------------------------------------- */

static void linear_regression(const struct win *w, int64_t at, double *ret_slope, double *ret_intercept)
{
    double n = 0, sx = 0, cx = 0, sy = 0, cy = 0, sxy = 0, cxy = 0, sxx = 0, cxx = 0;
    bool constant = true;
    for (size_t k = 0; k < w->nf; k++) {
        if (constant && k > 0 && w->fv[k] != w->fv[0])
            constant = false;
        n++;
        double t = (double)(w->ft[k] - at) / 1e3;
        kahan_add(t, &sx, &cx);
        kahan_add(w->fv[k], &sy, &cy);
        kahan_add(t * w->fv[k], &sxy, &cxy);
        kahan_add(t * t, &sxx, &cxx);
    }
    if (constant) {
        *ret_slope = isinf(w->fv[0]) ? NAN : 0;
        *ret_intercept = isinf(w->fv[0]) ? NAN : w->fv[0];
        return;
    }
    sx += cx;
    sy += cy;
    sxy += cxy;
    sxx += cxx;
    double cov = sxy - sx * sy / n, var = sxx - sx * sx / n;
    *ret_slope = cov / var;
    *ret_intercept = sy / n - *ret_slope * sx / n;
}

static void regression(struct range_run *r, const struct win *w, size_t i)
{
    note_ignored(r, w);
    if (w->nf < 2)
        return;
    double slope, intercept;
    bool predict = r->id == FN_PREDICT_LINEAR;
    linear_regression(w, predict ? frame_ts(r->f, i) : w->ft[0], &slope, &intercept);
    put(r, i, predict ? slope * r->p1[i] + intercept : slope);
}

static void double_smoothing(struct range_run *r, const struct win *w, size_t i)
{
    note_ignored(r, w);
    if (w->nf < 2)
        return;
    double sf = r->p1[i], tf = r->p2[i];
    double s0 = 0, s1 = w->fv[0], b = w->fv[1] - w->fv[0];
    for (size_t k = 1; k < w->nf; k++) {
        double scaled = sf * w->fv[k];
        if (k > 1)
            b = tf * (s1 - s0) + (1 - tf) * b;
        double y = (1 - sf) * (s1 + b);
        s0 = s1;
        s1 = scaled + y;
    }
    put(r, i, s1);
}

/* ---- The call
 * ------------------------------------------------------------------------------------------------------------------------------
 */

/* One function per row of this list: the loop above with the body inside. */
#define BODIES(X)                                                                                                      \
    X(rate_mixed)                                                                                                      \
    X(last_two)                                                                                                        \
    X(count_between)                                                                                                   \
    X(sum_over_time)                                                                                                   \
    X(avg_over_time)                                                                                                   \
    X(count_over_time)                                                                                                 \
    X(present_over_time)                                                                                               \
    X(last_over_time)                                                                                                  \
    X(first_over_time)                                                                                                 \
    X(ts_of_last)                                                                                                      \
    X(ts_of_first)                                                                                                     \
    X(max_over_time)                                                                                                   \
    X(min_over_time)                                                                                                   \
    X(ts_of_extreme)                                                                                                   \
    X(variance_over_time)                                                                                              \
    X(quantile_over_time)                                                                                              \
    X(mad_over_time)                                                                                                   \
    X(regression)                                                                                                      \
    X(double_smoothing)
#define X(body)                                                                                                        \
    static void body##_row(struct range_run *r, const struct series_data *d)                                           \
    {                                                                                                                  \
        over_steps(r, d, body);                                                                                        \
    }
BODIES(X)
#undef X

static void (*const bodies[FN_COUNT])(struct range_run *, const struct series_data *) = {
    [FN_RATE] = rate_mixed_row,
    [FN_INCREASE] = rate_mixed_row,
    [FN_DELTA] = rate_mixed_row,
    [FN_IRATE] = last_two_row,
    [FN_IDELTA] = last_two_row,
    [FN_CHANGES] = count_between_row,
    [FN_RESETS] = count_between_row,
    [FN_SUM_OVER_TIME] = sum_over_time_row,
    [FN_AVG_OVER_TIME] = avg_over_time_row,
    [FN_COUNT_OVER_TIME] = count_over_time_row,
    [FN_PRESENT_OVER_TIME] = present_over_time_row,
    [FN_LAST_OVER_TIME] = last_over_time_row,
    [FN_FIRST_OVER_TIME] = first_over_time_row,
    [FN_TS_OF_LAST_OVER_TIME] = ts_of_last_row,
    [FN_TS_OF_FIRST_OVER_TIME] = ts_of_first_row,
    [FN_MAX_OVER_TIME] = max_over_time_row,
    [FN_MIN_OVER_TIME] = min_over_time_row,
    [FN_TS_OF_MAX_OVER_TIME] = ts_of_extreme_row,
    [FN_TS_OF_MIN_OVER_TIME] = ts_of_extreme_row,
    [FN_STDDEV_OVER_TIME] = variance_over_time_row,
    [FN_STDVAR_OVER_TIME] = variance_over_time_row,
    [FN_QUANTILE_OVER_TIME] = quantile_over_time_row,
    [FN_MAD_OVER_TIME] = mad_over_time_row,
    [FN_DERIV] = regression_row,
    [FN_PREDICT_LINEAR] = regression_row,
    [FN_DOUBLE_EXPONENTIAL_SMOOTHING] = double_smoothing_row,
};

static bool counter_name(struct str name)
{
    return str_ends(name, STR("_total")) || str_ends(name, STR("_sum")) || str_ends(name, STR("_count")) ||
           str_ends(name, STR("_bucket"));
}

static int series_take(void *ctx, struct labels labels, bool drop_name, const struct series_data *d)
{
    struct range_run *r = ctx;
    r->out.labels = labels;
    r->name = metric_name(labels);
    /* last and first show the sample itself; everything else is a new quantity */
    r->out.drop_name = drop_name || (r->id != FN_LAST_OVER_TIME && r->id != FN_FIRST_OVER_TIME);
    for (size_t i = 0; i < r->f->n; i++)
        r->out.v[i] = stale_nan();
    if (r->out.h) {
        memset(r->h, 0, r->f->n * sizeof(*r->h));
        r->out.h = NULL;
    }
    if (r->span.anchored || r->span.smoothed)
        extended(r, d);
    else if (d->nh == 0 && !d->fst && (r->id == FN_RATE || r->id == FN_INCREASE || r->id == FN_DELTA))
        rate_floats(r, d);
    else
        bodies[r->id](r, d);
    if (r->rc != 0)
        return r->rc;
    bool any = row_any(&r->out, r->f->n);
    if (any && d->nf > 0 && (r->id == FN_RATE || r->id == FN_INCREASE) && r->name.n > 0 && !counter_name(r->name))
        x_note(r->x, NOTE_MAYBE_NO_COUNTER, r->pos, r->name, STR(""));
    int rc = any ? r->emit(r->ctx, &r->out) : 0;
    arena_reset(r->hists);
    return rc;
}

static int scalar_arg(struct range_run *r, size_t index, double **ret)
{
    if (!(*ret = X_ARRAY(r->x, double, r->f->n)))
        return QUERY_E_BUDGET;
    return exec_scalar(r->x, r->f, r->call->call.args[index], *ret);
}

static int check_parameters(struct range_run *r)
{
    if (r->id == FN_DOUBLE_EXPONENTIAL_SMOOTHING) {
        for (size_t i = 0; i < r->f->n; i++) {
            if (!(r->p1[i] > 0 && r->p1[i] < 1))
                return x_fail(r->x, QUERY_E_EXEC, "invalid smoothing factor. Expected: 0 < sf < 1, got: %f", r->p1[i]);
            if (!(r->p2[i] > 0 && r->p2[i] < 1))
                return x_fail(r->x, QUERY_E_EXEC, "invalid trend factor. Expected: 0 < tf < 1, got: %f", r->p2[i]);
        }
    }
    return 0;
}

static void note_bad_quantiles(struct range_run *r)
{
    char text[F64_TEXT_MAX];
    for (size_t i = 0; i < r->f->n; i++) {
        double q = r->p1[i];
        if (!(q >= 0 && q <= 1)) {
            struct str got = arena_str(r->x->a, str_make(text, f64_write_g(text, q)));
            x_note(r->x, NOTE_BAD_QUANTILE, r->call->call.args[0]->start, STR(""), got);
        }
    }
}

/* absent_over_time: one row that says where no series has a sample. */
static int absent_take(void *ctx, struct labels labels, bool drop_name, const struct series_data *d)
{
    (void)labels, (void)drop_name;
    struct range_run *r = ctx;
    size_t f = 0, h = 0;
    for (size_t i = 0; i < r->f->n; i++) {
        int64_t end = span_end(&r->span, r->f, i), start = end - r->span.range_ms;
        while (f < d->nf && d->ft[f] <= start)
            f++;
        while (h < d->nh && d->ht[h] <= start)
            h++;
        if ((f < d->nf && d->ft[f] <= end) || (h < d->nh && d->ht[h] <= end))
            put(r, i, stale_nan());
    }
    return 0;
}

/* The labels that equality matchers tell, where they tell them once. */
static struct labels absent_labels(struct exec *x, const struct expr *arg)
{
    arg = expr_bare(arg);
    if (arg->kind == E_MATRIX)
        arg = arg->win.child;
    struct labels none = {0};
    if (arg->kind != E_SELECTOR)
        return none;
    struct labels_builder b = {0};
    lb_init(&b, none);
    for (size_t i = 0; i < arg->sel.n_matchers; i++) {
        const struct matcher *m = &arg->sel.matchers[i];
        if (str_eqz(m->name, LABEL_NAME))
            continue;
        size_t same = 0;
        for (size_t k = 0; k < arg->sel.n_matchers; k++)
            same += str_eq(m->name, arg->sel.matchers[k].name);
        if (m->op == MATCH_EQ && same == 1)
            lb_set(&b, m->name, m->value);
    }
    struct labels l = labels_build(x, &b);
    lb_done(&b);
    return l;
}

struct absent {
    size_t n;
    double *v;
};

static int absent_vector_take(void *ctx, struct row *r)
{
    struct absent *s = ctx;
    for (size_t i = 0; i < s->n; i++)
        if (has_point(r, i))
            s->v[i] = stale_nan();
    return 0;
}

static int exec_absent(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    struct range_run r = {.x = x, .f = f, .call = e, .id = e->call.id};
    int rc = row_init(x, f, &r.out, false);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < f->n; i++)
        r.out.v[i] = 1;
    if (e->call.id == FN_ABSENT) {
        struct absent s = {.n = f->n, .v = r.out.v};
        rc = exec_vector(x, f, e->call.args[0], absent_vector_take, &s);
    } else {
        rc = exec_matrix(x, f, e->call.args[0], &r.span, absent_take, &r);
    }
    r.out.labels = absent_labels(x, e->call.args[0]);
    return rc == 0 && row_any(&r.out, f->n) ? emit(ctx, &r.out) : rc;
}

int exec_range_call(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    if (e->call.id == FN_ABSENT || e->call.id == FN_ABSENT_OVER_TIME)
        return exec_absent(x, f, e, emit, ctx);
    struct range_run r = {.x = x, .f = f, .call = e, .id = e->call.id, .emit = emit, .ctx = ctx};
    const struct expr *arg = e->call.args[e->call.id == FN_QUANTILE_OVER_TIME ? 1 : 0];
    r.pos = arg->start;
    int rc = row_init(x, f, &r.out, false);
    if (rc != 0)
        return rc;
    if (!(r.h = X_ARRAY(x, const struct histogram *, f->n)))
        return QUERY_E_BUDGET;
    if (r.id == FN_QUANTILE_OVER_TIME) {
        if ((rc = scalar_arg(&r, 0, &r.p1)) != 0)
            return rc;
        note_bad_quantiles(&r);
    } else {
        if (e->call.n_args > 1 && (rc = scalar_arg(&r, 1, &r.p1)) != 0)
            return rc;
        if (e->call.n_args > 2 && (rc = scalar_arg(&r, 2, &r.p2)) != 0)
            return rc;
    }
    if ((rc = check_parameters(&r)) != 0)
        return rc;
    r.hists = arena_new(0);
    rc = exec_matrix(x, f, arg, &r.span, series_take, &r);
    arena_free(r.hists);
    free(r.scratch);
    return rc;
}

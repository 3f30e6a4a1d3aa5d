// SPDX-License-Identifier: Apache-2.0
/* rate and its family: what a counter or gauge did over a range (promql/functions.go of Prometheus 3.14,
 * extrapolatedRate, extendedRate, instantValue). Windows are open on the left. */
#include "promql/range_int.h"
#include <math.h>

/* ---- rate, increase, delta --------------------------------------------------------- */

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
        range_note(r, NOTE_NOT_COUNTER);
    /* A reset right after the first sample makes its buckets irrelevant, and with them their layout. */
    bool skip_first = counter && !from_zero && n > 1 && hist_restart(w, 1);
    bool custom = hist_is_custom(skip_first ? w->hv[1] : first);
    bool mixed = hist_is_custom(last) != custom;
    for (size_t i = 1; counter && i + 1 < n; i++) {
        if (w->hv[i]->hint == HIST_GAUGE)
            range_note(r, NOTE_NOT_COUNTER);
        mixed |= hist_is_custom(w->hv[i]) != custom;
    }
    if (mixed) {
        range_note(r, NOTE_MIXED_SCHEMAS);
        return NULL;
    }
    if (!counter && (first->hint != HIST_GAUGE || last->hint != HIST_GAUGE))
        range_note(r, NOTE_NOT_GAUGE);
    unsigned subtracted = 0, added = 0;
    struct histogram *h = hist_copy(r->hists, last);
    if (!from_zero && !skip_first)
        h = hist_sub(r->hists, h, first, &subtracted);
    for (size_t i = 1 + skip_first; h && counter && i < n; i++)
        if (hist_restart(w, i))
            h = hist_add(r->hists, h, w->hv[i - 1], &added);
    if (!h) {
        range_note(r, NOTE_MIXED_SCHEMAS);
        return NULL;
    }
    range_note_status(r, subtracted & HIST_RECONCILED, "subtraction");
    range_note_status(r, added & HIST_RECONCILED, "addition");
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
    range_put_hist(r, i, hist_compact(r->hists, h));
}

static void rate_mixed(struct range_run *r, const struct win *w, size_t i)
{
    if (w->nf > 0 && w->nh > 0) {
        range_note(r, NOTE_MIXED_RANGE);
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
    range_put(r, i, diff * (is_rate_fn(r->id) ? factor / ((double)r->span.range_ms / 1000) : factor));
}

/* Plain floats, the path that dashboards take. The resets of a whole series are few: found once, they are visited by an
 * index that moves along with the window. */
void rate_floats(struct range_run *r, const struct series_data *d)
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
        range_put(r, i, diff * (is_rate_fn(r->id) ? factor / per : factor));
    }
    free(resets);
}

/* ---- anchored and smoothed --------------------------------------------------------- */

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
    range_put(r, i, is_rate_fn(r->id) ? result / ((double)r->span.range_ms / 1000) : result);
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
            range_note(r, NOTE_MIXED_SCHEMAS);
            return;
        }
        if (counter && d->hv[k]->hint == HIST_GAUGE)
            range_note(r, NOTE_NOT_COUNTER);
    }
    if (!counter && (d->hv[e.first]->hint != HIST_GAUGE || d->hv[e.last]->hint != HIST_GAUGE))
        range_note(r, NOTE_NOT_GAUGE);
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
        range_note(r, NOTE_MIXED_SCHEMAS);
        return;
    }
    range_note_status(r, status & HIST_RECONCILED, "subtraction");
    if (is_rate_fn(r->id))
        result = hist_divide(r->hists, result, (double)r->span.range_ms / 1000);
    result = hist_compact(r->hists, result);
    result->hint = HIST_GAUGE;
    range_put_hist(r, i, result);
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

void extended_row(struct range_run *r, const struct series_data *d)
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
        if (!range_go_on(r, d->nf + d->nh))
            return;
        if (!counting) {
            if (nf > 0 && nh > 0)
                range_note(r, NOTE_MIXED_RANGE);
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

/* ---- irate, idelta ----------------------------------------------------------------- */

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
        range_put(r, i, rate ? v / seconds : v);
        return;
    }
    if (!s[0].h || !s[1].h) {
        range_note(r, NOTE_MIXED_RANGE);
        return;
    }
    if (rate && (s[0].h->hint == HIST_GAUGE || s[1].h->hint == HIST_GAUGE))
        range_note(r, NOTE_NOT_COUNTER);
    if (!rate && (s[0].h->hint != HIST_GAUGE || s[1].h->hint != HIST_GAUGE))
        range_note(r, NOTE_NOT_GAUGE);
    unsigned status = 0;
    struct histogram *h = hist_copy(r->hists, s[1].h);
    if (!rate || !(restarted || hist_reset(s[1].h, s[0].h)))
        h = hist_sub(r->hists, h, s[0].h, &status);
    if (!h) {
        range_note(r, NOTE_MIXED_SCHEMAS);
        return;
    }
    range_note_status(r, status & HIST_RECONCILED, "subtraction");
    if (rate)
        h = hist_divide(r->hists, h, seconds);
    h = hist_compact(r->hists, h);
    h->hint = HIST_GAUGE;
    range_put_hist(r, i, h);
}

/* ---- changes, resets --------------------------------------------------------------- */

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
    range_put(r, i, count);
}

/* ---- Row by row -------------------------------------------------------------------- */

void rate_row(struct range_run *r, const struct series_data *d)
{
    if (d->nh == 0 && !d->fst)
        rate_floats(r, d);
    else
        over_steps(r, d, rate_mixed);
}

void last_two_row(struct range_run *r, const struct series_data *d)
{
    over_steps(r, d, last_two);
}

void count_between_row(struct range_run *r, const struct series_data *d)
{
    over_steps(r, d, count_between);
}

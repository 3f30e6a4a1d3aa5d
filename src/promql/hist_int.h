// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Native histogram algebra (Prometheus model/histogram.FloatHistogram, 3.14). Histograms are immutable: every operation
 * makes a new one in the arena given. Results share nothing with their inputs unless said otherwise. */
#include "base/arena.h"
#include "base/buf.h"
#include "model/sample.h"

#define HIST_CUSTOM_SCHEMA (-53)

static inline bool hist_is_custom(const struct histogram *h)
{
    return h->schema == HIST_CUSTOM_SCHEMA;
}

enum hist_status {                          /* bits */
                   HIST_INCOMPATIBLE = 1,   /* exponential and custom buckets do not mix: no result */
                   HIST_RECONCILED = 2,     /* different custom bounds were reduced to the common ones */
                   HIST_RESET_CONFLICT = 4, /* "counter reset" met "not a reset" */
};

struct histogram *hist_copy(struct arena *a, const struct histogram *h);
/* x + y, x - y; NULL with HIST_INCOMPATIBLE. *status gets bits added. */
struct histogram *hist_add(struct arena *a, const struct histogram *x, const struct histogram *y, unsigned *status);
struct histogram *hist_sub(struct arena *a, const struct histogram *x, const struct histogram *y, unsigned *status);
struct histogram *hist_scale(struct arena *a, const struct histogram *h, double by);
struct histogram *hist_divide(struct arena *a, const struct histogram *h, double by);
/* Without empty buckets. */
struct histogram *hist_compact(struct arena *a, const struct histogram *h);
struct histogram *hist_to_schema(struct arena *a, const struct histogram *h, int schema);
/* Same meaning: schema, zero threshold, bounds, counts (empty buckets do not matter); bitwise equal floats. */
bool fhist_equal(const struct histogram *x, const struct histogram *y);
/* Schema, zero bucket and custom bounds alike. */
bool hist_same_layout(const struct histogram *x, const struct histogram *y);
/* Did the counter start anew between prev and cur? */
bool hist_reset(const struct histogram *cur, const struct histogram *prev);
/* Keep what lies below (upper) or above (lower) the bound, interpolating inside its bucket. */
struct histogram *hist_trim(struct arena *a, const struct histogram *h, double bound, bool upper);

/* Buckets in order of their bounds, the zero bucket included; empty ones are left out unless `all`. */
struct hist_bucket {
    double lower, upper, count;
    bool lower_closed, upper_closed;
    int32_t index; /* exponential: the bucket's index; 0 for the zero bucket */
};
size_t hist_buckets(struct arena *a, const struct histogram *h, const struct hist_bucket **ret);

struct hist_quantile_notes {
    bool nan_result, nan_skewed;
};
double hist_quantile(struct arena *scratch, double q, const struct histogram *h, struct hist_quantile_notes *n);
double hist_fraction(struct arena *scratch, double lower, double upper, const struct histogram *h, bool *ret_nan);
double hist_variance(struct arena *scratch, const struct histogram *h);

/* Classic buckets: upper bounds ascending, counts cumulative. */
struct classic_bucket {
    double upper, count;
};
struct classic_fix {
    bool forced_monotonic; /* beyond small numerical noise */
    double min_bucket, max_bucket, max_diff;
};
/* Sorts and merges in place; NaN where Prometheus gives NaN. */
double classic_quantile(double q, struct classic_bucket *b, size_t n, struct classic_fix *fix);
double classic_fraction(double lower, double upper, struct classic_bucket *b, size_t n);
/* For messages and count_values: {count:4, sum:5, [-1,2]:3 ...}. */
void hist_format(struct buf *b, const struct histogram *h);

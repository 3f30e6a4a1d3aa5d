// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Samples: int64 Unix milliseconds and a double, or a histogram. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define STALE_NAN_BITS 0x7ff0000000000002ULL  /* Prometheus' staleness marker */
#define NORMAL_NAN_BITS 0x7ff8000000000001ULL /* what Prometheus writes for NaN in a scrape */

static inline uint64_t f64_bits(double v)
{
    uint64_t u;
    memcpy(&u, &v, 8);
    return u;
}

static inline double f64_from_bits(uint64_t u)
{
    double v;
    memcpy(&v, &u, 8);
    return v;
}

static inline bool is_stale(double v)
{
    return f64_bits(v) == STALE_NAN_BITS;
}

static inline double stale_nan(void)
{
    return f64_from_bits(STALE_NAN_BITS);
}

/* A native histogram in its float form (Prometheus model/histogram.FloatHistogram). Spans as there: offset from the end
 * of the span before, length; counts are absolute. Integer histograms are kept as floats: their counts are below 2^53.
 */
struct hist_span {
    int32_t offset;
    uint32_t length;
};
enum hist_hint { HIST_UNKNOWN_RESET, HIST_RESET, HIST_NOT_RESET, HIST_GAUGE };
struct histogram {
    enum hist_hint hint;
    int32_t schema; /* -4 .. 8, or -53 for custom bounds */
    double zero_threshold, zero_count, count, sum;
    uint32_t n_pos_spans, n_neg_spans, n_pos, n_neg, n_custom;
    const struct hist_span *pos_spans, *neg_spans;
    const double *pos, *neg, *custom;
};

/* One metric's documentation, as a target told it. */
struct metric_meta {
    const char *type; /* "counter", "gauge" ... */
    const char *help, *unit;
};

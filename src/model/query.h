// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Whole questions: instant and range evaluation of PromQL as a function table, bound to an engine in app/. Rules,
 * anomalies, templates and the API ask through this and never see the engine. */
#include "base/clock.h"
#include "model/labels.h"
#include "model/sample.h"

enum query_kind { QUERY_SCALAR, QUERY_STRING, QUERY_VECTOR, QUERY_MATRIX };

struct query_series { /* vector: exactly one point */
    struct labels labels;
    size_t n;
    const int64_t *t;
    const double *v;
    const struct histogram *const *h; /* NULL, or h[i] set where the point is a histogram */
};

struct query_note {
    bool warning; /* else info */
    struct str text;
};

struct query_result { /* everything lives in the arena of the request */
    enum query_kind kind;
    int64_t t;     /* scalar, string */
    double scalar; /* scalar */
    struct str string;
    const struct query_series *series;
    size_t n_series;
    const struct query_note *notes;
    size_t n_notes;
    uint64_t samples_read, samples_peak;
};

enum query_error {                    /* positive conditions; the text is in *err */
                   QUERY_E_PARSE = 1, /* HTTP 400 bad_data */
                   QUERY_E_EXEC,      /* 422 execution */
                   QUERY_E_CANCELED,  /* 499 */
                   QUERY_E_TIMEOUT,   /* 503 */
                   QUERY_E_INTERNAL,  /* 500 */
                   QUERY_E_BUDGET,    /* 422: samples or memory limit */
};

struct query_request {
    struct str expr;
    int64_t start_ms, end_ms;   /* instant: equal */
    int64_t step_ms;            /* 0 = instant */
    int64_t lookback_ms;        /* 0 = engine default */
    int64_t timeout_ms;         /* 0 = engine default */
    size_t limit;               /* most series in the answer, 0 = all */
    const _Atomic bool *cancel; /* NULL, or set true by another thread to stop */
};

struct query_engine {
    /* Evaluate; the result and its strings live in `a` (which must be without data before and carries the memory
     * budget). 0, a query_error, or -errno. Any thread. */
    int (*eval)(struct query_engine *q, const struct query_request *req, struct arena *a, struct query_result *ret,
                struct err *e);
};

static inline MUST_USE int query_eval(struct query_engine *q, const struct query_request *req, struct arena *a,
                                      struct query_result *ret, struct err *e)
{
    return q->eval(q, req, a, ret, e);
}

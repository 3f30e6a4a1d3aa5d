// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Where producers put samples. A batch is all-or-nothing towards crashes (one log record) and row by row towards rules:
 * each row says what became of it. */
#include "base/error.h"
#include "model/labels.h"
#include "model/sample.h"

typedef uint64_t series_ref; /* 0 = not known; valid within one process, until the series is forgotten */

enum row_status {
    ROW_OK = 0,
    ROW_DUPLICATE,    /* same time, same value: accepted silently, nothing stored */
    ROW_DUP_VALUE,    /* same time, another value: refused ("duplicate sample for timestamp") */
    ROW_OUT_OF_ORDER, /* older than the series' newest and outside the out-of-order window */
    ROW_TOO_OLD,      /* older than anything the store still takes */
    ROW_TOO_NEW,      /* further in the future than allowed */
    ROW_BAD_LABELS,   /* empty set, bad UTF-8, over a limit */
    ROW_NO_SPACE,     /* read-only because the disk is full */
    ROW_STATUS_COUNT
};
extern const char *const row_status_text[ROW_STATUS_COUNT];

/* Batch rows are a versionable struct: new kinds of facts become new fields, zero meaning "none". */
struct sample_row {
    series_ref ref;       /* in: known or 0; out: the series' reference */
    struct labels labels; /* needed when ref is 0 or no longer valid; borrowed for the call */
    int64_t t;            /* Unix ms */
    double v;
    const struct histogram *h; /* instead of v when set; borrowed */
    int64_t st;                /* start (created) timestamp, 0 = none */
    enum row_status status;    /* out */
    bool created;              /* out: this row made a new series */
};

enum sink_flags {
    SINK_SYNC = 1,        /* return only when durable (fsync) */
    SINK_EXACT_ORDER = 2, /* refuse out-of-order rows whatever the store's window says (rules) */
};

struct sink {
    /* Append one batch. Returns 0 (look at each row's status), or -errno when nothing was applied (-ENOSPC, -EROFS,
     * -EIO). Any thread. A row refused by rule never fails its neighbours. */
    int (*append)(struct sink *s, struct sample_row *rows, size_t n, unsigned flags);
    /* Remember what a target says of a metric; newest wins. Any thread. */
    void (*metadata)(struct sink *s, struct str metric, const struct metric_meta *m);
};

static inline MUST_USE int sink_append(struct sink *s, struct sample_row *rows, size_t n, unsigned flags)
{
    return s->append(s, rows, n, flags);
}

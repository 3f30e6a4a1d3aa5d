// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The formats targets speak: Prometheus text 0.0.4 and 1.0.0 (quoted UTF-8 names) and OpenMetrics 0.0.1 and 1.0. A pull
 * parser over a borrowed body: nothing is copied, nothing allocated. What it takes and what it refuses follows
 * Prometheus 3.x (lenient where that is lenient: missing last LF, labels without commas in text, unknown `# COMMENT`s).
 *
 * A sample's identity is handed out as the raw bytes `name{...}` of the line, so that a caller who has seen those bytes
 * before need not look at labels at all; expo_labels() takes them apart on the first sight. */
#include "base/arena.h"
#include "base/error.h"

enum expo_format { EXPO_TEXT, EXPO_OPENMETRICS };

enum expo_type {
    EXPO_T_UNKNOWN, /* also "untyped" */
    EXPO_T_COUNTER,
    EXPO_T_GAUGE,
    EXPO_T_HISTOGRAM,
    EXPO_T_GAUGEHISTOGRAM,
    EXPO_T_SUMMARY,
    EXPO_T_INFO,
    EXPO_T_STATESET,
    EXPO_T_COUNT
};
extern const char *const expo_type_names[EXPO_T_COUNT]; /* "unknown", "counter" ... */

enum expo_kind { EXPO_END, EXPO_SAMPLE, EXPO_HELP, EXPO_TYPE, EXPO_UNIT };

struct expo_item {
    enum expo_kind kind;
    bool has_t;          /* SAMPLE: the line carries a timestamp */
    struct str series;   /* SAMPLE: the bytes `name{...}` */
    double v;            /* SAMPLE: NaN is always NORMAL_NAN_BITS */
    int64_t t_ms;        /* SAMPLE: Unix ms, when has_t */
    struct str exemplar; /* SAMPLE: `{...} value [timestamp]`, checked, or empty (OpenMetrics only) */
    struct str name;     /* HELP, TYPE, UNIT: family name without quotes, escapes kept */
    struct str text;     /* HELP (escapes kept), UNIT */
    enum expo_type
        type; /* TYPE; SAMPLE: the type announced last, which decides how `le` and `quantile` are normalised */
};

struct expo_parser {
    const char *begin, *p, *end;
    enum expo_format format;
    enum expo_type type;
};

/* body: borrowed until the last item was used. */
void expo_init(struct expo_parser *x, enum expo_format format, struct str body);
/* Next item. 0; -EINVAL with "line:col: reason" in *e, after which the parser must not be used again. */
MUST_USE int expo_next(struct expo_parser *x, struct expo_item *it, struct err *e);
/* The fast path of a steady target: when the body goes on with exactly `series` and a blank, read that sample as
 * expo_next() would (returns 1, or -EINVAL with the reason); else 0 and nothing was consumed. `series` must have come
 * from an earlier EXPO_SAMPLE of the same format. */
MUST_USE int expo_expect(struct expo_parser *x, struct str series, struct expo_item *it, struct err *e);

struct expo_label {
    struct str name, value;
};
/* Take apart the `series` (or the braces of an `exemplar`) of an item: the metric name first as __name__ (absent for
 * exemplars), then labels in line order, escapes undone, empty values left out. type: le and quantile of histograms and
 * summaries are written as OpenMetrics floats ("1" becomes "1.0"), as Prometheus 3 does. Array and changed strings in
 * the arena, others borrowed from `series`. 0; -EINVAL (duplicate label, a name that is not valid UTF-8 or empty);
 * -ENOMEM past the arena's budget. */
MUST_USE int expo_labels(struct str series, enum expo_type type, struct arena *a, struct expo_label **ret,
                         size_t *ret_n, struct err *e);
/* Undo \\ and \n (and \" where quoted); the result is borrowed from s when nothing was escaped, else in the arena. */
struct str expo_unescape(struct str s, bool quoted, struct arena *a);

/* What a Content-Type asks for. `fallback`: -1 or an enum expo_format for answers without a usable type. 0 and *ret;
 * -EINVAL with the reason in words. */
MUST_USE int expo_format_of(struct str content_type, int fallback, enum expo_format *ret, struct err *e);

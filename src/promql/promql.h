// SPDX-License-Identifier: Apache-2.0
#pragma once
/* PromQL of Prometheus 3.14, experimental parts included: text -> tree -> rows. This room knows the store only through
 * model/source.h, and is known to others only as a `struct query_engine` (model/query.h) and by the parser calls below.
 */
#include "base/clock.h"
#include "base/metrics.h"
#include "model/query.h"
#include "model/source.h"

/* ---- The language ------------------------------------------------------------------ */

enum promql_type { PROMQL_NONE, PROMQL_SCALAR, PROMQL_VECTOR, PROMQL_MATRIX, PROMQL_STRING };
extern const char *const promql_type_names[]; /* "scalar", "vector", "matrix", "string" as in JSON */
extern const char
    *const promql_type_documents[]; /* "scalar", "instant vector", "range vector", "string" as in errors */

/* A parsed and type-checked expression. Immutable: share between threads freely. It keeps a copy of its text. */
struct promql;

/* 0; QUERY_E_PARSE with "LINE:COLUMN: parse error: ..." as Prometheus words it (columns count bytes from 1).
 * Limits query_bytes and query_depth apply. *ret is owned by the caller. Any thread. */
MUST_USE int promql_parse(struct str text, struct promql **ret, struct err *e);
struct promql *promql_free(struct promql *p); /* accepts NULL, returns NULL */

struct str promql_text(const struct promql *p); /* as given; borrowed from p */
enum promql_type promql_result_type(const struct promql *p);
/* One line, canonical: parsing it again gives the same tree. */
void promql_print(struct buf *b, const struct promql *p);
/* As /api/v1/format_query: broken over lines and indented where longer than 100 characters. */
void promql_format(struct buf *b, const struct promql *p);
/* As /api/v1/parse_query: the tree as one JSON object. */
void promql_ast_json(struct jw *w, const struct promql *p);

/* One vector selector inside an expression. */
struct promql_selector {
    const struct matcher *matchers; /* the metric name is a matcher for __name__ */
    size_t n;
    int64_t range_ms,
        offset_ms; /* 0 for an instant selector; duration expressions that need the query's times count as 0 */
};
/* Every vector selector in textual order; arrays borrowed from p. For dependency checks, exemplars, read-ahead. */
size_t promql_selectors(const struct promql *p, const struct promql_selector **ret);

/* A series selector of match[] parameters: `name{a="b"}`. The matchers live in *ret until promql_free(*ret).
 * 0; QUERY_E_PARSE with the reason (also when every matcher may match the empty string). */
MUST_USE int promql_parse_selector(struct str text, struct promql **ret, const struct matcher **ret_m, size_t *ret_n,
                                   struct err *e);
/* A Go string literal with its quotes ("...", '...' or `...`); 0 or -EINVAL. */
MUST_USE int promql_unquote(struct str literal, struct arena *a, struct str *ret, struct err *e);
void promql_quote(struct buf *b, struct str s); /* as Go's strconv.Quote */

/* ---- The tables: completion, hover text and the reference page come from here ---- */

#define PROMQL_MAX_ARGS 6
struct promql_function {
    const char *name;
    enum promql_type args[PROMQL_MAX_ARGS]; /* declared types; PROMQL_NONE ends the list */
    /* 0: exactly these. Otherwise the last may be left out, or repeat: up to n times, or for ever when -1. */
    int variadic;
    enum promql_type returns;
    bool experimental;
    const char *signature; /* "rate(v range-vector)" */
    const char *doc;       /* one English sentence */
};
const struct promql_function *promql_functions(size_t *ret_n); /* sorted by name */

struct promql_word { /* aggregations, operators and modifiers */
    const char *name, *kind, *signature, *doc;
    bool experimental;
};
const struct promql_word *promql_words(size_t *ret_n);

/* ---- The engine -------------------------------------------------------------------- */

struct promql_options {        /* zero means the default named */
    const struct clock *clock; /* clock_real */
    int64_t lookback_ms;       /* 5 min */
    int64_t timeout_ms;        /* 2 min */
    int64_t subquery_step_ms;  /* 1 min: subqueries without a step of their own */
    uint64_t max_samples;      /* limit(query_samples) */
    size_t max_bytes;          /* limit(query_memory): working memory of one query, besides the caller's arena */
    unsigned max_concurrency;  /* 20; further queries wait for their turn within their timeout */
    bool no_start_timestamps;  /* ignore samples' start timestamps in rate, increase, irate and resets */
};

struct promql_engine;
/* src: borrowed until promql_engine_free. */
struct promql_engine *promql_engine_new(struct source *src, const struct promql_options *o);
struct promql_engine *promql_engine_free(struct promql_engine *e); /* accepts NULL; no query may be running */
/* The contract others use; borrowed from e. */
struct query_engine *promql_engine_query(struct promql_engine *e);
/* prometheus_engine_* and hune_query_*; call once at start-up. */
void promql_engine_metrics(struct promql_engine *e, struct metrics *m);

// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What parse.c, selector.c and check.c share. Only the first failure is kept. */
#include "promql/ast_int.h"
#include "promql/funcs_int.h"
#include "base/limits.h"
#include "base/mem.h"
#include "codec/f64.h"
#include <math.h>

struct parser {
    struct promql *q;
    struct arena *a;
    const struct token *t;
    unsigned depth;
    bool failed;
    struct err *e;
};

/* Always NULL, which is also false: `return parse_fail(...)`. The position becomes "line:col: parse error: ". */
void *parse_fail(struct parser *p, uint32_t pos, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* "unexpected X[ in CONTEXT][, expected Y]" at the current token; a lexical mistake speaks for itself. */
void *parse_unexpected(struct parser *p, const char *context, const char *expected);
bool parse_deeper(struct parser *p);
struct expr *parse_node(struct parser *p, enum expr_kind kind, enum promql_type type, uint32_t start);
/* Go's ParseInt with base 0, then ParseFloat; or a duration in seconds. */
bool parse_number(struct parser *p, const struct token *t, double *ret);
bool parse_unquoted(struct parser *p, const struct token *t, struct str *ret);

static inline void parse_advance(struct parser *p)
{
    if (p->t->kind != T_EOF && p->t->kind != T_ERROR)
        p->t++;
}

static inline bool parse_accept(struct parser *p, enum token_kind k)
{
    if (p->t->kind != k)
        return false;
    parse_advance(p);
    return true;
}

static inline uint32_t parse_last_end(const struct parser *p)
{
    const struct token *t = p->t - 1; /* never called before the first token was taken */
    return t->pos + (uint32_t)t->text.n;
}

/* ---- selector.c: durations, label lists, selectors --------------------------------- */
struct dur *parse_dur(struct parser *p, int min_prec);
struct dur *parse_dur_atom(struct parser *p);
struct dur *parse_dur_negated(struct parser *p, struct dur *d, uint32_t start);
/* A literal goes to *ret_ms, anything computed to *ret_dur. `positive`: ranges and steps. */
bool parse_dur_store(struct parser *p, const struct dur *d, bool positive, int64_t *ret_ms, const struct dur **ret_dur);
bool parse_labels(struct parser *p, struct str_list *ret); /* '(' label {',' label} [','] ')' */
struct expr *parse_selector(struct parser *p);

/* ---- check.c ----------------------------------------------------------------------- */
bool parse_check(struct parser *p, struct expr *e); /* types; sets those that hang on others */
void parse_mark_invariant(struct expr *e);

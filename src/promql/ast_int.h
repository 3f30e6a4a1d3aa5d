// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The tree behind struct promql. Nodes live in its arena and never change after promql_parse: everything that depends
 * on a query's times (duration expressions, start(), end()) is worked out by the executor. */
#include "promql/promql.h"

enum token_kind {
    T_EOF,
    T_ERROR, /* text = the message */
    T_LPAREN,
    T_RPAREN,
    T_LBRACE,
    T_RBRACE,
    T_LBRACKET,
    T_RBRACKET,
    T_COMMA,
    T_COLON,
    T_AT,
    T_EQL,       /* = */
    T_EQL_REGEX, /* =~ */
    T_NEQ_REGEX, /* !~ */
    T_STRING,
    T_NUMBER,
    T_DURATION,
    T_IDENTIFIER,
    T_METRIC_IDENTIFIER, /* with a colon */
    /* operators, in the order of ops[] in parse.c */
    T_OP_FIRST,
    T_ADD = T_OP_FIRST,
    T_SUB,
    T_MUL,
    T_DIV,
    T_MOD,
    T_POW,
    T_ATAN2,
    T_EQLC,
    T_NEQ,
    T_LTE,
    T_LSS,
    T_GTE,
    T_GTR,
    T_TRIM_UPPER, /* </ : histogram trimming */
    T_TRIM_LOWER, /* >/ */
    T_AND,
    T_OR,
    T_UNLESS,
    T_OP_LAST = T_UNLESS,
    /* aggregations */
    T_AGG_FIRST,
    T_AVG = T_AGG_FIRST,
    T_BOTTOMK,
    T_COUNT,
    T_COUNT_VALUES,
    T_GROUP,
    T_LIMITK,
    T_LIMIT_RATIO,
    T_MAX,
    T_MIN,
    T_QUANTILE,
    T_STDDEV,
    T_STDVAR,
    T_SUM,
    T_TOPK,
    T_AGG_LAST = T_TOPK,
    /* keywords */
    T_KEY_FIRST,
    T_BY = T_KEY_FIRST,
    T_WITHOUT,
    T_ON,
    T_IGNORING,
    T_GROUP_LEFT,
    T_GROUP_RIGHT,
    T_BOOL,
    T_OFFSET,
    T_ANCHORED,
    T_SMOOTHED,
    T_FILL,
    T_FILL_LEFT,
    T_FILL_RIGHT,
    T_START,
    T_END,
    T_STEP,
    T_RANGE,
    T_MIN_OF,
    T_MAX_OF,
    T_KEY_LAST = T_MAX_OF,
};

struct token {
    enum token_kind kind;
    uint32_t pos;
    struct str text;
};

struct tokens {
    const struct token *v;
    size_t n; /* ends with T_EOF or T_ERROR */
};

/* Cut the text into tokens, all at once; in `a`. A lexical mistake is the last token, T_ERROR with its message. */
struct tokens promql_lex(struct str text, struct arena *a);
const char *token_word(enum token_kind k); /* "+", "sum", "by" ... of operators, aggregations and keywords */
static inline bool token_is_op(enum token_kind k)
{
    return k >= T_OP_FIRST && k <= T_OP_LAST;
}
static inline bool token_is_agg(enum token_kind k)
{
    return k >= T_AGG_FIRST && k <= T_AGG_LAST;
}
static inline bool token_is_key(enum token_kind k)
{
    return k >= T_KEY_FIRST && k <= T_KEY_LAST;
}
static inline bool op_is_comparison(enum token_kind k)
{
    return k >= T_EQLC && k <= T_GTR;
}
static inline bool op_is_set(enum token_kind k)
{
    return k == T_AND || k == T_OR || k == T_UNLESS;
}

/* Go's model.ParseDuration: its error texts too. */
bool promql_duration(struct str s, struct arena *a, int64_t *ret_ms, struct str *ret_err);

/* Durations that are computed: foo[step() * 2]. Values in seconds. */
enum dur_kind { DUR_NUMBER, DUR_STEP, DUR_RANGE, DUR_NEGATE, DUR_BINARY, DUR_MIN, DUR_MAX, DUR_PAREN };
struct dur {
    enum dur_kind kind;
    enum token_kind op; /* DUR_BINARY */
    uint32_t start, end, op_pos;
    double value;     /* DUR_NUMBER */
    bool as_duration; /* DUR_NUMBER written with units */
    const struct dur *a, *b;
};

enum expr_kind {
    E_NUMBER,
    E_STRING,
    E_SELECTOR,
    E_MATRIX,   /* .child is the selector */
    E_SUBQUERY, /* .child is evaluated at every step of the subquery */
    E_CALL,
    E_AGGREGATE,
    E_BINARY,
    E_UNARY,
    E_PAREN
};

enum at_kind { AT_NONE, AT_TIME, AT_START, AT_END };
enum match_card { CARD_ONE_TO_ONE, CARD_MANY_TO_ONE, CARD_ONE_TO_MANY, CARD_MANY_TO_MANY };

struct str_list {
    const struct str *v;
    size_t n;
};

/* When: offset and @ of selectors and subqueries. */
struct when {
    int64_t offset_ms;        /* when offset is NULL */
    const struct dur *offset; /* a computed offset */
    enum at_kind at;
    int64_t at_ms;
    bool has_offset;
};

struct expr {
    enum expr_kind kind;
    enum promql_type type;
    uint32_t start, end;
    unsigned height; /* of the tree below */
    bool invariant;  /* the same value at every step (everything below is pinned by @, or constant) */
    union {
        struct {
            double value;
            bool as_duration;
        } number;
        struct str string;
        struct {
            struct str name; /* the metric name written before the braces or as a lone string in them; may be empty */
            struct matcher *matchers;
            size_t n_matchers;
            struct when when;
            bool anchored, smoothed;
            bool bypass_empty;   /* label selectors of info(): may match everything */
            struct expr *matrix; /* the E_MATRIX above it, if any */
        } sel;
        struct {
            struct expr *child;
            int64_t range_ms; /* when range is NULL */
            const struct dur *range;
            int64_t step_ms; /* subquery; 0 = the engine's default; when step is NULL */
            const struct dur *step;
            struct when when; /* subquery only: a matrix's lives in its selector */
        } win;
        struct {
            const struct promql_function *fn;
            unsigned id; /* enum fn_id */
            struct expr **args;
            size_t n_args;
        } call;
        struct {
            enum token_kind op;
            struct expr *child, *param;
            struct str_list grouping;
            bool without;
        } agg;
        struct {
            enum token_kind op;
            struct expr *l, *r;
            uint32_t op_pos;
            bool returns_bool, on, has_matching; /* has_matching: between two vectors */
            bool wrote_matching;
            enum match_card card;
            struct str_list labels, include;
            bool fills_left, fills_right;
            double fill_left, fill_right;
        } bin;
        struct {
            enum token_kind op;
            struct expr *child;
        } unary;
        struct expr *paren;
    };
};

struct promql {
    struct arena *arena;
    struct str text;
    struct expr *root;
    struct matcher **compiled; /* matchers that own a regex */
    size_t n_compiled, cap_compiled;
    struct promql_selector *selectors;
    size_t n_selectors;
};

const struct expr *expr_bare(const struct expr *e); /* without parentheses */
void expr_print(struct buf *b, const struct expr *e);
void dur_print(struct buf *b, const struct dur *d);
/* "line:col" of a byte offset, as in error messages and annotations. */
void promql_position(struct str text, uint32_t pos, unsigned *ret_line, unsigned *ret_col);

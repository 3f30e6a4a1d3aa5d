// SPDX-License-Identifier: Apache-2.0
/* Tokens to tree: precedence climbing over promql_lex(), then one pass that checks types. Precedence and wordings
 * follow promql/parser/generated_parser.y and parse.go of Prometheus 3.14. */
#include "promql/ast_int.h"
#include "promql/funcs_int.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
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

static __attribute__((format(printf, 3, 4))) void *fail(struct parser *p, uint32_t pos, const char *fmt, ...)
{
    if (p->failed)
        return NULL;
    p->failed = true;
    char msg[900];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    unsigned line, col;
    promql_position(p->q->text, pos, &line, &col);
    err_set(p->e, "%u:%u: parse error: %s", line, col, msg);
    return NULL;
}

/* "unexpected X[ in CONTEXT][, expected Y]" at the current token; a lexical mistake speaks for itself. */
static void *unexpected(struct parser *p, const char *context, const char *expected)
{
    const struct token *t = p->t;
    if (t->kind == T_ERROR)
        return fail(p, t->pos, STR_FMT, STR_ARG(t->text));
    struct buf b = BUF_INIT(8192);
    buf_z(&b, "unexpected ");
    if (t->kind == T_EOF)
        buf_z(&b, "end of input");
    else if (token_is_op(t->kind))
        buf_fmt(&b, "<op:" STR_FMT ">", STR_ARG(t->text));
    else if (token_is_agg(t->kind))
        buf_fmt(&b, "<aggr:" STR_FMT ">", STR_ARG(t->text));
    else if (token_is_key(t->kind))
        buf_fmt(&b, "<" STR_FMT ">", STR_ARG(t->text));
    else {
        if (t->kind == T_IDENTIFIER)
            buf_z(&b, "identifier ");
        else if (t->kind == T_METRIC_IDENTIFIER)
            buf_z(&b, "metric identifier ");
        else if (t->kind == T_STRING)
            buf_z(&b, "string ");
        else if (t->kind == T_NUMBER)
            buf_z(&b, "number ");
        else if (t->kind == T_DURATION)
            buf_z(&b, "duration ");
        promql_quote(&b, str_sub(t->text, 0, 200));
    }
    if (*context)
        buf_fmt(&b, " in %s", context);
    if (*expected)
        buf_fmt(&b, ", expected %s", expected);
    fail(p, t->pos, "%s", buf_cstr(&b));
    buf_done(&b);
    return NULL;
}

static void advance(struct parser *p)
{
    if (p->t->kind != T_EOF && p->t->kind != T_ERROR)
        p->t++;
}

static bool accept(struct parser *p, enum token_kind k)
{
    if (p->t->kind != k)
        return false;
    advance(p);
    return true;
}

static uint32_t last_end(const struct parser *p)
{
    const struct token *t = p->t - 1; /* never called before the first token was taken */
    return t->pos + (uint32_t)t->text.n;
}

static struct expr *node(struct parser *p, enum expr_kind kind, enum promql_type type, uint32_t start)
{
    struct expr *e = ARENA_NEW(p->a, struct expr);
    e->kind = kind;
    e->type = type;
    e->start = start;
    e->end = start;
    return e;
}

static bool deeper(struct parser *p)
{
    if (++p->depth <= (unsigned)limit(query_depth))
        return true;
    fail(p, p->t->pos, "expression nested deeper than %lld levels (limit query_depth)", (long long)limit(query_depth));
    return false;
}

/* A long chain a+b+c... is a deep tree on its left side without any nesting in the text. Walks over the tree recurse,
 * so its height has a limit too, twice that of the nesting. */
static bool grow(struct parser *p, struct expr *e, const struct expr *child)
{
    e->height = MAX(e->height, child->height + 1);
    if (e->height <= 2 * (unsigned)limit(query_depth))
        return true;
    fail(p, e->start, "expression tree higher than %lld levels (limit query_depth)", 2 * (long long)limit(query_depth));
    return false;
}

/* Go's ParseInt with base 0, then ParseFloat; or a duration in seconds. */
static bool number_value(struct parser *p, const struct token *t, double *ret)
{
    if (t->kind == T_DURATION) {
        int64_t ms;
        struct str msg;
        if (!promql_duration(t->text, p->a, &ms, &msg)) {
            fail(p, t->pos, STR_FMT, STR_ARG(msg));
            return false;
        }
        *ret = (double)ms / 1000;
        return true;
    }
    struct str s = t->text;
    char clean[64];
    if (s.n < sizeof(clean) && memchr(s.p, '_', s.n)) {
        size_t n = 0;
        for (size_t i = 0; i < s.n; i++)
            if (s.p[i] != '_')
                clean[n++] = s.p[i];
        s = str_make(clean, n);
    }
    if (s.n > 1 && s.p[0] == '0' && (s.p[1] == 'x' || s.p[1] == 'X')) {
        double v = 0;
        for (size_t i = 2; i < s.n; i++) {
            char c = s.p[i];
            v = v * 16 + (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
        }
        if (s.n == 2) {
            fail(p, t->pos, "error parsing number: strconv.ParseFloat: parsing \"" STR_FMT "\": invalid syntax",
                 STR_ARG(t->text));
            return false;
        }
        *ret = v;
        return true;
    }
    if (s.n > 1 && s.p[0] == '0') { /* all octal digits: an octal number */
        size_t i = 1;
        double v = 0;
        while (i < s.n && s.p[i] >= '0' && s.p[i] <= '7')
            v = v * 8 + (s.p[i++] - '0');
        if (i == s.n) {
            *ret = v;
            return true;
        }
    }
    double v;
    if (str_ieq(s, STR("inf"))) {
        v = INFINITY;
    } else if (str_ieq(s, STR("nan"))) {
        v = f64_from_bits(NORMAL_NAN_BITS);
    } else if (!f64_parse(s, &v) || isinf(v)) {
        fail(p, t->pos, "error parsing number: strconv.ParseFloat: parsing \"" STR_FMT "\": value out of range",
             STR_ARG(t->text));
        return false;
    }
    *ret = v;
    return true;
}

/* ---- Duration expressions ---------------------------------------------------------------------------------------- */

static struct dur *parse_dur(struct parser *p, int min_prec);

static struct dur *dur_node(struct parser *p, enum dur_kind kind, uint32_t start)
{
    struct dur *d = ARENA_NEW(p->a, struct dur);
    d->kind = kind;
    d->start = start;
    return d;
}

static struct dur *parse_dur_atom(struct parser *p)
{
    const struct token *t = p->t;
    struct dur *d;
    switch ((int)t->kind) {
    case T_NUMBER:
    case T_DURATION:
        d = dur_node(p, DUR_NUMBER, t->pos);
        advance(p);
        if (!number_value(p, t, &d->value))
            return NULL;
        if (!isfinite(d->value) || fabs(d->value) > 9223372036.0)
            return fail(p, t->pos, "duration out of range");
        d->as_duration = t->kind == T_DURATION;
        break;
    case T_STEP:
    case T_RANGE:
        d = dur_node(p, t->kind == T_STEP ? DUR_STEP : DUR_RANGE, t->pos);
        advance(p);
        if (!accept(p, T_LPAREN) || !accept(p, T_RPAREN))
            return unexpected(p, "duration expression", "\"()\"");
        break;
    case T_MIN_OF:
    case T_MAX_OF:
        d = dur_node(p, t->kind == T_MIN_OF ? DUR_MIN : DUR_MAX, t->pos);
        advance(p);
        if (!accept(p, T_LPAREN))
            return unexpected(p, "duration expression", "\"(\"");
        if (!(d->a = parse_dur(p, 0)))
            return NULL;
        if (!accept(p, T_COMMA))
            return unexpected(p, "duration expression", "\",\"");
        if (!(d->b = parse_dur(p, 0)))
            return NULL;
        if (!accept(p, T_RPAREN))
            return unexpected(p, "duration expression", "\")\"");
        break;
    case T_LPAREN:
        d = dur_node(p, DUR_PAREN, t->pos);
        advance(p);
        if (!(d->a = parse_dur(p, 0)))
            return NULL;
        if (!accept(p, T_RPAREN))
            return unexpected(p, "duration expression", "\")\"");
        break;
    default:
        return unexpected(p, "duration expression", "");
    }
    d->end = last_end(p);
    return d;
}

static struct dur *negated(struct parser *p, struct dur *d, uint32_t start)
{
    if (d->kind == DUR_NUMBER) {
        d->value = -d->value;
        d->start = start;
        return d;
    }
    struct dur *n = dur_node(p, DUR_NEGATE, start);
    n->a = d;
    n->end = d->end;
    return n;
}

static int dur_prec(enum token_kind k)
{
    return k == T_ADD || k == T_SUB ? 1 : k == T_MUL || k == T_DIV || k == T_MOD ? 2 : k == T_POW ? 3 : -1;
}

static struct dur *parse_dur(struct parser *p, int min_prec)
{
    if (!deeper(p))
        return NULL;
    struct dur *l;
    if (p->t->kind == T_ADD || p->t->kind == T_SUB) {
        const struct token *op = p->t;
        advance(p);
        l = parse_dur(p, 3);
        if (l && op->kind == T_SUB)
            l = negated(p, l, op->pos);
    } else {
        l = parse_dur_atom(p);
    }
    while (l) {
        const struct token *op = p->t;
        int prec = dur_prec(op->kind);
        if (prec < 0 || prec < min_prec)
            break;
        advance(p);
        struct dur *r = parse_dur(p, op->kind == T_POW ? prec : prec + 1);
        if (!r)
            return NULL;
        const struct dur *zero = r;
        while (zero->kind == DUR_PAREN)
            zero = zero->a;
        if ((op->kind == T_DIV || op->kind == T_MOD) && zero->kind == DUR_NUMBER && zero->value == 0)
            return fail(p, op->pos, op->kind == T_DIV ? "division by zero" : "modulo by zero");
        struct dur *d = dur_node(p, DUR_BINARY, l->start);
        d->op = op->kind;
        d->op_pos = op->pos;
        d->a = l;
        d->b = r;
        d->end = r->end;
        l = d;
    }
    p->depth--;
    return l;
}

static int64_t seconds_to_ms(double s)
{
    return llround(s * 1e9) / 1000000;
}

/* A literal goes to *ret_ms, anything computed to *ret_dur. `positive`: ranges and steps. */
static bool dur_store(struct parser *p, const struct dur *d, bool positive, int64_t *ret_ms, const struct dur **ret_dur)
{
    const struct dur *bare = d;
    while (bare->kind == DUR_PAREN)
        bare = bare->a;
    if (bare->kind != DUR_NUMBER) {
        *ret_dur = d;
        return true;
    }
    if (positive && bare->value <= 0) {
        fail(p, bare->start, "duration must be greater than 0");
        return false;
    }
    *ret_ms = seconds_to_ms(bare->value);
    return true;
}

/* ---- Labels and selectors ------------------------------------------------------------------------------------------
 */

static bool is_word(const struct token *t)
{
    return t->kind == T_IDENTIFIER || token_is_agg(t->kind) || token_is_key(t->kind) || t->kind == T_AND ||
           t->kind == T_OR || t->kind == T_UNLESS || t->kind == T_ATAN2;
}

static bool unquote(struct parser *p, const struct token *t, struct str *ret)
{
    struct err e = {0};
    struct str v;
    if (promql_unquote(t->text, p->a, &v, &e) != 0) {
        fail(p, t->pos, "error unquoting string " STR_FMT ": %s", STR_ARG(t->text), e.msg);
        return false;
    }
    *ret = v;
    return true;
}

/* '(' label {',' label} [','] ')' */
static bool parse_labels(struct parser *p, struct str_list *ret)
{
    if (!accept(p, T_LPAREN)) {
        unexpected(p, "grouping opts", "\"(\"");
        return false;
    }
    VEC(struct str) v = {0};
    bool ok = false;
    while (p->t->kind != T_RPAREN) {
        struct str name;
        if (p->t->kind == T_STRING) {
            if (!unquote(p, p->t, &name))
                goto out;
            if (name.n == 0 || !utf8_valid(name)) {
                fail(p, p->t->pos, "invalid label name for grouping: \"" STR_FMT "\"", STR_ARG(name));
                goto out;
            }
        } else if (is_word(p->t) ||
                   (p->t->kind == T_NUMBER && (p->t->text.p[0] | 32) >= 'a')) { /* inf and nan are words here */
            name = p->t->text;
        } else {
            unexpected(p, "grouping opts", "label");
            goto out;
        }
        vec_push(&v, name);
        advance(p);
        if (!accept(p, T_COMMA) && p->t->kind != T_RPAREN) {
            unexpected(p, "grouping opts", "\",\" or \")\"");
            goto out;
        }
    }
    advance(p);
    struct str *copy = ARENA_ARRAY(p->a, struct str, v.n);
    if (v.n)
        memcpy(copy, v.v, v.n * sizeof(*copy));
    *ret = (struct str_list){.v = copy, .n = v.n};
    ok = true;
out:
    vec_done(&v);
    return ok;
}

static void remember_regex(struct parser *p, struct matcher *m)
{
    struct promql *q = p->q;
    if (q->n_compiled == q->cap_compiled) {
        q->cap_compiled = q->cap_compiled ? q->cap_compiled * 2 : 8;
        q->compiled = xrealloc(q->compiled, q->cap_compiled * sizeof(struct matcher *));
    }
    q->compiled[q->n_compiled++] = m;
}

/* Matchers are built in a chain, because those with a regex must not move. */
struct matcher_link {
    struct matcher_link *next;
    enum match_op op;
    struct str name, value;
    uint32_t pos;
};

static bool parse_matchers(struct parser *p, struct matcher_link **tail, size_t *ret_n)
{
    while (p->t->kind != T_RBRACE) {
        const struct token *t = p->t;
        struct matcher_link *m = ARENA_NEW(p->a, struct matcher_link);
        m->pos = t->pos;
        if (t->kind == T_IDENTIFIER) {
            m->name = t->text;
        } else if (t->kind == T_STRING) {
            if (!unquote(p, t, &m->name))
                return false;
        } else {
            unexpected(p, "label matching", "identifier or \"}\"");
            return false;
        }
        advance(p);
        const struct token *op = p->t;
        if (t->kind == T_STRING && (op->kind == T_COMMA || op->kind == T_RBRACE)) {
            m->value = m->name;
            m->name = STR(LABEL_NAME);
            m->op = MATCH_EQ;
        } else {
            switch ((int)op->kind) {
            case T_EQL:
                m->op = MATCH_EQ;
                break;
            case T_NEQ:
                m->op = MATCH_NE;
                break;
            case T_EQL_REGEX:
                m->op = MATCH_RE;
                break;
            case T_NEQ_REGEX:
                m->op = MATCH_NRE;
                break;
            default:
                unexpected(p, "label matching", "label matching operator");
                return false;
            }
            advance(p);
            if (p->t->kind != T_STRING) {
                unexpected(p, "label matching", "string");
                return false;
            }
            if (!unquote(p, p->t, &m->value))
                return false;
            advance(p);
        }
        if (!utf8_valid(m->name) || !utf8_valid(m->value)) {
            fail(p, m->pos, "label name or value is not valid UTF-8");
            return false;
        }
        (*tail)->next = m;
        *tail = m;
        (*ret_n)++;
        if (!accept(p, T_COMMA) && p->t->kind != T_RBRACE) {
            unexpected(p, "label matching", "\",\" or \"}\"");
            return false;
        }
    }
    advance(p);
    return true;
}

static struct expr *parse_selector(struct parser *p)
{
    const struct token *t = p->t;
    struct expr *e = node(p, E_SELECTOR, PROMQL_VECTOR, t->pos);
    struct matcher_link head = {0}, *tail = &head;
    size_t n = 0;
    if (t->kind != T_LBRACE) {
        e->sel.name = t->text;
        advance(p);
    }
    if (accept(p, T_LBRACE) && !parse_matchers(p, &tail, &n))
        return NULL;
    e->end = last_end(p);
    size_t total = n + (e->sel.name.n > 0);
    e->sel.matchers = ARENA_ARRAY(p->a, struct matcher, total);
    size_t i = 0;
    for (const struct matcher_link *m = head.next; m; m = m->next) {
        struct err err = {0};
        struct matcher *into = &e->sel.matchers[i++];
        if (matcher_init(into, m->op, m->name, m->value, &err) != 0)
            return fail(p, m->pos, "%s", err.msg);
        if (into->re)
            remember_regex(p, into);
    }
    if (e->sel.name.n > 0) {
        struct err err = {0};
        if (matcher_init(&e->sel.matchers[i++], MATCH_EQ, STR(LABEL_NAME), e->sel.name, &err) != 0)
            return fail(p, t->pos, "%s", err.msg);
    }
    e->sel.n_matchers = i;
    return e;
}

/* ---- Expressions
 * ----------------------------------------------------------------------------------------------------- */

static struct expr *parse_expr(struct parser *p, int min_prec);

static bool parse_args(struct parser *p, struct expr ***ret, size_t *ret_n)
{
    if (!accept(p, T_LPAREN)) {
        unexpected(p, "", "");
        return false;
    }
    VEC(struct expr *) v = {0};
    bool ok = false;
    while (p->t->kind != T_RPAREN || v.n > 0) {
        struct expr *arg = parse_expr(p, 0);
        if (!arg)
            goto out;
        vec_push(&v, arg);
        if (p->t->kind == T_RPAREN)
            break;
        const struct token *comma = p->t;
        if (!accept(p, T_COMMA)) {
            unexpected(p, "", "");
            goto out;
        }
        if (p->t->kind == T_RPAREN) {
            fail(p, comma->pos, "trailing commas not allowed in function call args");
            goto out;
        }
    }
    advance(p);
    struct expr **copy = ARENA_ARRAY(p->a, struct expr *, v.n);
    if (v.n)
        memcpy(copy, v.v, v.n * sizeof(struct expr *));
    *ret = copy;
    *ret_n = v.n;
    ok = true;
out:
    vec_done(&v);
    return ok;
}

static bool agg_has_param(enum token_kind op)
{
    return op == T_TOPK || op == T_BOTTOMK || op == T_COUNT_VALUES || op == T_QUANTILE || op == T_LIMITK ||
           op == T_LIMIT_RATIO;
}

static struct expr *parse_aggregate(struct parser *p)
{
    const struct token *t = p->t;
    struct expr *e = node(p, E_AGGREGATE, PROMQL_VECTOR, t->pos);
    e->agg.op = t->kind;
    advance(p);
    bool grouped = p->t->kind == T_BY || p->t->kind == T_WITHOUT;
    if (grouped) {
        e->agg.without = p->t->kind == T_WITHOUT;
        advance(p);
        if (!parse_labels(p, &e->agg.grouping))
            return NULL;
    }
    struct expr **args;
    size_t n;
    if (!parse_args(p, &args, &n))
        return NULL;
    e->end = last_end(p);
    if (!grouped && (p->t->kind == T_BY || p->t->kind == T_WITHOUT)) {
        e->agg.without = p->t->kind == T_WITHOUT;
        advance(p);
        if (!parse_labels(p, &e->agg.grouping))
            return NULL;
        e->end = last_end(p);
    }
    size_t want = agg_has_param(e->agg.op) ? 2 : 1;
    if (n == 0)
        return fail(p, e->start, "no arguments for aggregate expression provided");
    if (n != want)
        return fail(p, e->start, "wrong number of arguments for aggregate expression provided, expected %zu, got %zu",
                    want, n);
    e->agg.child = args[n - 1];
    e->agg.param = n == 2 ? args[0] : NULL;
    if (!grow(p, e, args[0]) || !grow(p, e, args[n - 1]))
        return NULL;
    return e;
}

static const struct promql_function *find_function(struct str name, unsigned *ret_id)
{
    size_t n;
    const struct promql_function *f = promql_functions(&n);
    for (size_t lo = 0, hi = n; lo < hi;) {
        size_t mid = (lo + hi) / 2;
        int c = str_cmp(name, str_of(f[mid].name));
        if (c == 0) {
            *ret_id = (unsigned)mid;
            return &f[mid];
        }
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

static struct expr *parse_call(struct parser *p)
{
    const struct token *t = p->t;
    struct str name = t->text;
    if (t->kind != T_IDENTIFIER) /* keywords are written in any case */
        name = str_of(token_word(t->kind));
    unsigned id = 0;
    const struct promql_function *fn = find_function(name, &id);
    if (!fn)
        return fail(p, t->pos, "unknown function with name \"" STR_FMT "\"", STR_ARG(name));
    struct expr *e = node(p, E_CALL, fn->returns, t->pos);
    e->call.fn = fn;
    e->call.id = id;
    advance(p);
    if (!parse_args(p, &e->call.args, &e->call.n_args))
        return NULL;
    e->end = last_end(p);
    for (size_t i = 0; i < e->call.n_args; i++)
        if (!grow(p, e, e->call.args[i]))
            return NULL;
    return e;
}

static struct expr *parse_primary(struct parser *p)
{
    const struct token *t = p->t;
    enum token_kind next = t->kind == T_EOF || t->kind == T_ERROR ? T_EOF : t[1].kind;
    struct expr *e;
    switch ((int)t->kind) {
    case T_NUMBER:
    case T_DURATION:
        e = node(p, E_NUMBER, PROMQL_SCALAR, t->pos);
        e->number.as_duration = t->kind == T_DURATION;
        advance(p);
        e->end = last_end(p);
        return number_value(p, t, &e->number.value) ? e : NULL;
    case T_STRING:
        e = node(p, E_STRING, PROMQL_STRING, t->pos);
        advance(p);
        e->end = last_end(p);
        return unquote(p, t, &e->string) ? e : NULL;
    case T_LPAREN:
        e = node(p, E_PAREN, PROMQL_NONE, t->pos);
        advance(p);
        if (!(e->paren = parse_expr(p, 0)))
            return NULL;
        if (!accept(p, T_RPAREN))
            return unexpected(p, "", "");
        e->end = last_end(p);
        e->type = e->paren->type;
        return grow(p, e, e->paren) ? e : NULL;
    case T_LBRACE:
    case T_METRIC_IDENTIFIER:
        return parse_selector(p);
    case T_IDENTIFIER:
        return next == T_LPAREN ? parse_call(p) : parse_selector(p);
    case T_START:
    case T_END:
    case T_STEP:
    case T_RANGE:
    case T_MIN_OF:
    case T_MAX_OF:
        return next == T_LPAREN ? parse_call(p) : parse_selector(p);
    case T_AND:
    case T_OR:
    case T_UNLESS:
    case T_BY:
    case T_WITHOUT:
    case T_OFFSET:
    case T_ANCHORED:
    case T_SMOOTHED:
    case T_FILL:
    case T_FILL_LEFT:
    case T_FILL_RIGHT:
        return parse_selector(p);
    default:
        if (token_is_agg(t->kind)) {
            if (next == T_LPAREN || next == T_BY || next == T_WITHOUT)
                return parse_aggregate(p);
            if (next == T_IDENTIFIER) { /* sum some_metric: the complaint belongs to what follows */
                advance(p);
                return unexpected(p, "", "");
            }
            return parse_selector(p);
        }
        return unexpected(p, "", "");
    }
}

static struct when *when_of(struct expr *e)
{
    if (e->kind == E_SELECTOR)
        return &e->sel.when;
    if (e->kind == E_MATRIX)
        return &e->win.child->sel.when;
    if (e->kind == E_SUBQUERY)
        return &e->win.when;
    return NULL;
}

static bool parse_offset(struct parser *p, struct expr *e)
{
    advance(p);
    uint32_t start = p->t->pos;
    bool minus = p->t->kind == T_SUB;
    if (minus || p->t->kind == T_ADD)
        advance(p);
    struct dur *d;
    enum token_kind k = p->t->kind;
    if (k != T_NUMBER && k != T_DURATION && k != T_LPAREN && k != T_STEP && k != T_RANGE && k != T_MIN_OF &&
        k != T_MAX_OF) {
        unexpected(p, "offset", "number, duration, step(), or range()");
        return false;
    }
    if (!(d = parse_dur_atom(p)))
        return false;
    if (minus)
        d = negated(p, d, start);
    struct when *w = when_of(e);
    if (!w) {
        fail(p, e->start,
             "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery");
        return false;
    }
    if (w->has_offset) {
        fail(p, e->start, "offset may not be set multiple times");
        return false;
    }
    w->has_offset = true;
    e->end = last_end(p);
    return dur_store(p, d, false, &w->offset_ms, &w->offset);
}

static bool parse_at(struct parser *p, struct expr *e)
{
    advance(p);
    const struct token *t = p->t;
    enum at_kind at = AT_TIME;
    int64_t ms = 0;
    if ((t->kind == T_START || t->kind == T_END)) {
        at = t->kind == T_START ? AT_START : AT_END;
        advance(p);
        if (!accept(p, T_LPAREN) || !accept(p, T_RPAREN)) {
            unexpected(p, "@", "\"()\"");
            return false;
        }
    } else {
        bool minus = t->kind == T_SUB;
        if (minus || t->kind == T_ADD)
            advance(p);
        if (p->t->kind != T_NUMBER && p->t->kind != T_DURATION) {
            unexpected(p, "@", "timestamp");
            return false;
        }
        double v;
        const struct token *num = p->t;
        advance(p);
        if (!number_value(p, num, &v))
            return false;
        if (minus)
            v = -v;
        if (!isfinite(v) || fabs(v) >= 9223372036854775.0) {
            struct buf b = BUF_INIT(400);
            f64_put(&b, v);
            fail(p, e->start, "timestamp out of bounds for @ modifier: %s%s", buf_cstr(&b),
                 isfinite(v) ? ".000000" : "");
            buf_done(&b);
            return false;
        }
        ms = llround(v * 1000);
    }
    struct when *w = when_of(e);
    if (!w) {
        fail(p, e->start,
             "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery");
        return false;
    }
    if (w->at != AT_NONE) {
        fail(p, e->start, "@ <timestamp> may not be set multiple times");
        return false;
    }
    w->at = at;
    w->at_ms = ms;
    e->end = last_end(p);
    return true;
}

static bool parse_boundary(struct parser *p, struct expr *e)
{
    bool anchored = p->t->kind == T_ANCHORED;
    const char *name = anchored ? "anchored" : "smoothed";
    advance(p);
    struct expr *sel = e->kind == E_MATRIX ? e->win.child : e;
    if (e->kind == E_SUBQUERY) {
        fail(p, e->start, "%s modifier is not supported for subqueries", name);
        return false;
    }
    if (sel->kind != E_SELECTOR) {
        fail(p, e->start, "%s modifier must be preceded by an instant vector selector or range vector selector", name);
        return false;
    }
    if (sel->sel.anchored || sel->sel.smoothed) {
        fail(p, e->start, "anchored and smoothed modifiers cannot be used together or repeated");
        return false;
    }
    if (anchored)
        sel->sel.anchored = true;
    else
        sel->sel.smoothed = true;
    e->end = last_end(p);
    return true;
}

static struct expr *parse_bracket(struct parser *p, struct expr *child)
{
    uint32_t pos = p->t->pos;
    advance(p);
    struct dur *range = parse_dur(p, 0);
    if (!range)
        return NULL;
    bool sub = accept(p, T_COLON);
    struct expr *e = node(p, sub ? E_SUBQUERY : E_MATRIX, PROMQL_MATRIX, child->start);
    e->win.child = child;
    if (!grow(p, e, child))
        return NULL;
    if (!dur_store(p, range, true, &e->win.range_ms, &e->win.range))
        return NULL;
    if (sub && p->t->kind != T_RBRACKET) {
        struct dur *step = parse_dur(p, 0);
        if (!step || !dur_store(p, step, true, &e->win.step_ms, &e->win.step))
            return NULL;
    }
    if (!accept(p, T_RBRACKET))
        return unexpected(p, sub ? "subquery selector" : "subquery or range selector",
                          sub ? "\"]\"" : "\":\" or \"]\"");
    e->end = last_end(p);
    if (sub)
        return e;
    if (child->kind != E_SELECTOR)
        return fail(p, pos, "ranges only allowed for vector selectors");
    if (child->sel.when.has_offset)
        return fail(p, pos, "no offset modifiers allowed before range");
    if (child->sel.when.at != AT_NONE)
        return fail(p, pos, "no @ modifiers allowed before range");
    child->sel.matrix = e;
    return e;
}

static struct expr *parse_postfix(struct parser *p)
{
    struct expr *e = parse_primary(p);
    while (e) {
        switch ((int)p->t->kind) {
        case T_LBRACKET:
            e = parse_bracket(p, e);
            break;
        case T_OFFSET:
            if (!parse_offset(p, e))
                return NULL;
            break;
        case T_AT:
            if (!parse_at(p, e))
                return NULL;
            break;
        case T_ANCHORED:
        case T_SMOOTHED:
            if (!parse_boundary(p, e))
                return NULL;
            break;
        default:
            return e;
        }
    }
    return NULL;
}

#define PREC_POW 6

static int op_prec(enum token_kind k)
{
    switch ((int)k) {
    case T_OR:
        return 1;
    case T_AND:
    case T_UNLESS:
        return 2;
    case T_EQLC:
    case T_NEQ:
    case T_LTE:
    case T_LSS:
    case T_GTE:
    case T_GTR:
    case T_TRIM_UPPER:
    case T_TRIM_LOWER:
        return 3;
    case T_ADD:
    case T_SUB:
        return 4;
    case T_MUL:
    case T_DIV:
    case T_MOD:
    case T_ATAN2:
        return 5;
    case T_POW:
        return PREC_POW;
    default:
        return -1;
    }
}

static struct expr *parse_unary(struct parser *p)
{
    const struct token *op = p->t;
    if (op->kind != T_ADD && op->kind != T_SUB)
        return parse_postfix(p);
    advance(p);
    /* +Inf is how infinity is printed: one literal, so that what is printed parses to the same tree. */
    if (op->kind == T_ADD && p->t->kind == T_NUMBER && (p->t->text.p[0] | 32) == 'i')
        return parse_postfix(p);
    struct expr *child = parse_expr(p, PREC_POW);
    if (!child)
        return NULL;
    if (child->kind == E_NUMBER) {
        if (op->kind == T_SUB)
            child->number.value = -child->number.value;
        child->start = op->pos;
        return child;
    }
    struct expr *e = node(p, E_UNARY, child->type, op->pos);
    e->unary.op = op->kind;
    e->unary.child = child;
    e->end = child->end;
    return grow(p, e, child) ? e : NULL;
}

static bool parse_fill_value(struct parser *p, double *ret)
{
    advance(p);
    if (!accept(p, T_LPAREN)) {
        unexpected(p, "fill modifier", "\"(\"");
        return false;
    }
    bool minus = p->t->kind == T_SUB;
    if (minus || p->t->kind == T_ADD)
        advance(p);
    if (p->t->kind != T_NUMBER && p->t->kind != T_DURATION) {
        unexpected(p, "fill modifier", "number");
        return false;
    }
    const struct token *t = p->t;
    advance(p);
    if (!number_value(p, t, ret))
        return false;
    if (minus)
        *ret = -*ret;
    if (!accept(p, T_RPAREN)) {
        unexpected(p, "fill modifier", "\")\"");
        return false;
    }
    return true;
}

/* What may stand between an operator and its right side. */
static bool parse_modifiers(struct parser *p, struct expr *e)
{
    e->bin.card = op_is_set(e->bin.op) ? CARD_MANY_TO_MANY : CARD_ONE_TO_ONE;
    if (accept(p, T_BOOL))
        e->bin.returns_bool = true;
    if (p->t->kind == T_ON || p->t->kind == T_IGNORING) {
        e->bin.on = p->t->kind == T_ON;
        e->bin.wrote_matching = true;
        advance(p);
        if (!parse_labels(p, &e->bin.labels))
            return false;
        if (p->t->kind == T_GROUP_LEFT || p->t->kind == T_GROUP_RIGHT) {
            e->bin.card = p->t->kind == T_GROUP_LEFT ? CARD_MANY_TO_ONE : CARD_ONE_TO_MANY;
            advance(p);
            if (p->t->kind == T_LPAREN && !parse_labels(p, &e->bin.include))
                return false;
        }
    }
    while ((p->t->kind == T_FILL || p->t->kind == T_FILL_LEFT || p->t->kind == T_FILL_RIGHT) &&
           p->t[1].kind == T_LPAREN) {
        enum token_kind k = p->t->kind;
        uint32_t pos = p->t->pos;
        double v = 0;
        if (!parse_fill_value(p, &v))
            return false;
        if ((k != T_FILL_RIGHT && e->bin.fills_left) || (k != T_FILL_LEFT && e->bin.fills_right)) {
            fail(p, pos, "fill values may not be set multiple times");
            return false;
        }
        if (k != T_FILL_RIGHT) {
            e->bin.fills_left = true;
            e->bin.fill_left = v;
        }
        if (k != T_FILL_LEFT) {
            e->bin.fills_right = true;
            e->bin.fill_right = v;
        }
    }
    return true;
}

static struct expr *parse_expr(struct parser *p, int min_prec)
{
    if (!deeper(p))
        return NULL;
    struct expr *l = parse_unary(p);
    while (l) {
        const struct token *op = p->t;
        int prec = op_prec(op->kind);
        if (prec < 0 || prec < min_prec)
            break;
        advance(p);
        struct expr *e = node(p, E_BINARY, PROMQL_VECTOR, l->start);
        e->bin.op = op->kind;
        e->bin.op_pos = op->pos;
        e->bin.l = l;
        if (!parse_modifiers(p, e))
            return NULL;
        if (!(e->bin.r = parse_expr(p, op->kind == T_POW ? prec : prec + 1)))
            return NULL;
        e->end = e->bin.r->end;
        if (!grow(p, e, l) || !grow(p, e, e->bin.r))
            return NULL;
        if (l->type == PROMQL_SCALAR && e->bin.r->type == PROMQL_SCALAR)
            e->type = PROMQL_SCALAR;
        l = e;
    }
    p->depth--;
    return l;
}

/* ---- Checks
 * ------------------------------------------------------------------------------------------------------------ */

static bool check(struct parser *p, struct expr *e);

static bool expect(struct parser *p, struct expr *e, enum promql_type want, const char *context)
{
    if (!check(p, e))
        return false;
    if (e->type == want)
        return true;
    fail(p, e->start, "expected type %s in %s, got %s", promql_type_documents[want], context,
         promql_type_documents[e->type]);
    return false;
}

static bool check_binary(struct parser *p, struct expr *e)
{
    if (!check(p, e->bin.l) || !check(p, e->bin.r))
        return false;
    const char *op = token_word(e->bin.op);
    enum promql_type lt = e->bin.l->type, rt = e->bin.r->type;
    bool comparison = op_is_comparison(e->bin.op), set = op_is_set(e->bin.op);
    if (e->bin.returns_bool && !comparison)
        return fail(p, e->bin.op_pos, "bool modifier can only be used on comparison operators");
    if (comparison && !e->bin.returns_bool && lt == PROMQL_SCALAR && rt == PROMQL_SCALAR)
        return fail(p, e->bin.op_pos, "comparisons between scalars must use BOOL modifier");
    if (e->bin.on)
        for (size_t i = 0; i < e->bin.labels.n; i++)
            for (size_t k = 0; k < e->bin.include.n; k++)
                if (str_eq(e->bin.labels.v[i], e->bin.include.v[k]))
                    return fail(p, e->bin.op_pos, "label \"" STR_FMT "\" must not occur in ON and GROUP clause at once",
                                STR_ARG(e->bin.labels.v[i]));
    if (lt != PROMQL_SCALAR && lt != PROMQL_VECTOR)
        return fail(p, e->bin.l->start, "binary expression must contain only scalar and instant vector types");
    if (rt != PROMQL_SCALAR && rt != PROMQL_VECTOR)
        return fail(p, e->bin.r->start, "binary expression must contain only scalar and instant vector types");
    bool fills = e->bin.fills_left || e->bin.fills_right;
    if (lt == PROMQL_VECTOR && rt == PROMQL_VECTOR) {
        e->bin.has_matching = true;
        if (set && (e->bin.card == CARD_MANY_TO_ONE || e->bin.card == CARD_ONE_TO_MANY))
            return fail(p, e->start, "no grouping allowed for \"%s\" operation", op);
        if (set && fills)
            return fail(p, e->start, "filling in missing series not allowed for set operators");
    } else if (e->bin.wrote_matching && (e->bin.labels.n > 0 || e->bin.on)) {
        return fail(p, e->start, "vector matching only allowed between instant vectors");
    } else if (fills) {
        return fail(p, e->start, "filling in missing series only allowed between instant vectors");
    }
    if ((lt == PROMQL_SCALAR || rt == PROMQL_SCALAR) && set)
        return fail(p, e->start, "set operator \"%s\" not allowed in binary scalar expression", op);
    return true;
}

static const char *const boundary_fns[] = {"changes", "delta", "increase", "rate", "resets"};

static bool check_call(struct parser *p, struct expr *e)
{
    const struct promql_function *f = e->call.fn;
    size_t declared = 0, n = e->call.n_args;
    while (declared < PROMQL_MAX_ARGS && f->args[declared] != PROMQL_NONE)
        declared++;
    if (f->variadic == 0 && n != declared)
        return fail(p, e->start, "expected %zu argument(s) in call to \"%s\", got %zu", declared, f->name, n);
    if (f->variadic != 0) {
        size_t least = declared - 1;
        if (n < least)
            return fail(p, e->start, "expected at least %zu argument(s) in call to \"%s\", got %zu", least, f->name, n);
        if (f->variadic > 0 && n > least + (size_t)f->variadic)
            return fail(p, e->start, "expected at most %zu argument(s) in call to \"%s\", got %zu",
                        least + (size_t)f->variadic, f->name, n);
    }
    char context[96];
    snprintf(context, sizeof(context), "call to function \"%s\"", f->name);
    if (e->call.id == FN_INFO && n > 1) {
        struct expr *sel = e->call.args[1];
        if (sel->kind != E_SELECTOR)
            return fail(p, sel->start, "expected label selectors only");
        if (sel->sel.name.n > 0)
            return fail(p, sel->start, "expected label selectors only, got vector selector instead");
        sel->sel.bypass_empty = true;
    }
    for (size_t i = 0; i < n; i++)
        if (!expect(p, e->call.args[i], f->args[MIN(i, declared - 1)], context))
            return false;
    for (size_t i = 0; i < n; i++) {
        const struct expr *m = expr_bare(e->call.args[i]);
        if (m->kind != E_MATRIX)
            continue;
        const struct expr *s = m->win.child;
        if (!s->sel.anchored && !s->sel.smoothed)
            continue;
        bool ok = false;
        for (size_t k = 0; k < ARRAY_LEN(boundary_fns); k++)
            ok |= str_eqz(str_of(f->name), boundary_fns[k]) &&
                  (s->sel.anchored || (e->call.id != FN_CHANGES && e->call.id != FN_RESETS));
        if (!ok)
            return fail(p, m->start, "%s modifier can only be used with: %s - not with %s",
                        s->sel.anchored ? "anchored" : "smoothed",
                        s->sel.anchored ? "changes, delta, increase, rate, resets" : "delta, increase, rate", f->name);
    }
    return true;
}

static bool check_selector(struct parser *p, struct expr *e)
{
    if (e->sel.anchored && !e->sel.matrix)
        return fail(p, e->start, "anchored modifier can only be used with range vector selectors");
    if (e->sel.name.n > 0)
        for (size_t i = 0; i + 1 < e->sel.n_matchers; i++)
            if (str_eqz(e->sel.matchers[i].name, LABEL_NAME))
                return fail(p, e->start, "metric name must not be set twice: \"" STR_FMT "\" or \"" STR_FMT "\"",
                            STR_ARG(e->sel.name), STR_ARG(e->sel.matchers[i].value));
    if (e->sel.bypass_empty)
        return true;
    for (size_t i = 0; i < e->sel.n_matchers; i++)
        if (!matcher_value(&e->sel.matchers[i], STR("")))
            return true;
    return fail(p, e->start, "vector selector must contain at least one non-empty matcher");
}

static bool check(struct parser *p, struct expr *e)
{
    switch (e->kind) {
    case E_NUMBER:
    case E_STRING:
        return true;
    case E_SELECTOR:
        return check_selector(p, e);
    case E_MATRIX:
        return check(p, e->win.child);
    case E_SUBQUERY:
        if (!check(p, e->win.child))
            return false;
        if (e->win.child->type != PROMQL_VECTOR)
            return fail(p, e->start, "subquery is only allowed on instant vector, got %s instead",
                        promql_type_names[e->win.child->type]);
        return true;
    case E_CALL:
        return check_call(p, e);
    case E_AGGREGATE:
        if (!expect(p, e->agg.child, PROMQL_VECTOR, "aggregation expression"))
            return false;
        return !e->agg.param || expect(p, e->agg.param, e->agg.op == T_COUNT_VALUES ? PROMQL_STRING : PROMQL_SCALAR,
                                       "aggregation parameter");
    case E_BINARY:
        return check_binary(p, e);
    case E_UNARY:
        if (!check(p, e->unary.child))
            return false;
        e->type = e->unary.child->type;
        if (e->type != PROMQL_SCALAR && e->type != PROMQL_VECTOR)
            return fail(p, e->start,
                        "unary expression only allowed on expressions of type scalar or instant vector, got \"%s\"",
                        promql_type_documents[e->type]);
        return true;
    case E_PAREN:
        return check(p, e->paren);
    }
    return true;
}

/* ---- Which parts give the same value at every step -----------------------------------------------------------------
 */

static bool fn_sees_time(unsigned id)
{
    switch (id) {
    case FN_DAYS_IN_MONTH:
    case FN_DAY_OF_MONTH:
    case FN_DAY_OF_WEEK:
    case FN_DAY_OF_YEAR:
    case FN_HOUR:
    case FN_MINUTE:
    case FN_MONTH:
    case FN_YEAR:
    case FN_PREDICT_LINEAR:
    case FN_TIME:
    case FN_TIMESTAMP:
    case FN_STEP:
    case FN_RANGE:
    case FN_START:
    case FN_END:
        return true;
    default:
        return false;
    }
}

static void mark_invariant(struct expr *e)
{
    switch (e->kind) {
    case E_NUMBER:
    case E_STRING:
        e->invariant = true;
        break;
    case E_SELECTOR:
        e->invariant = e->sel.when.at != AT_NONE;
        break;
    case E_MATRIX:
        mark_invariant(e->win.child);
        e->invariant = e->win.child->invariant;
        break;
    case E_SUBQUERY:
        mark_invariant(e->win.child);
        e->invariant = e->win.when.at != AT_NONE;
        break;
    case E_CALL:
        e->invariant = !fn_sees_time(e->call.id);
        for (size_t i = 0; i < e->call.n_args; i++) {
            mark_invariant(e->call.args[i]);
            /* the selector of info() is not evaluated by itself */
            if (e->call.id != FN_INFO || i == 0)
                e->invariant &= e->call.args[i]->invariant;
        }
        break;
    case E_AGGREGATE:
        mark_invariant(e->agg.child);
        e->invariant = e->agg.child->invariant;
        if (e->agg.param) {
            mark_invariant(e->agg.param);
            e->invariant &= e->agg.param->invariant;
        }
        break;
    case E_BINARY:
        mark_invariant(e->bin.l);
        mark_invariant(e->bin.r);
        e->invariant = e->bin.l->invariant && e->bin.r->invariant;
        break;
    case E_UNARY:
        mark_invariant(e->unary.child);
        e->invariant = e->unary.child->invariant;
        break;
    case E_PAREN:
        mark_invariant(e->paren);
        e->invariant = e->paren->invariant;
        break;
    }
}

static void collect_selectors(const struct expr *e, struct promql_selector *into, size_t *n)
{
    switch (e->kind) {
    case E_NUMBER:
    case E_STRING:
        break;
    case E_SELECTOR:
        if (into)
            into[*n] = (struct promql_selector){.matchers = e->sel.matchers,
                                                .n = e->sel.n_matchers,
                                                .range_ms = e->sel.matrix ? e->sel.matrix->win.range_ms : 0,
                                                .offset_ms = e->sel.when.offset_ms};
        (*n)++;
        break;
    case E_MATRIX:
    case E_SUBQUERY:
        collect_selectors(e->win.child, into, n);
        break;
    case E_CALL:
        for (size_t i = 0; i < e->call.n_args; i++)
            collect_selectors(e->call.args[i], into, n);
        break;
    case E_AGGREGATE:
        if (e->agg.param)
            collect_selectors(e->agg.param, into, n);
        collect_selectors(e->agg.child, into, n);
        break;
    case E_BINARY:
        collect_selectors(e->bin.l, into, n);
        collect_selectors(e->bin.r, into, n);
        break;
    case E_UNARY:
        collect_selectors(e->unary.child, into, n);
        break;
    case E_PAREN:
        collect_selectors(e->paren, into, n);
        break;
    }
}

/* ---- The public calls
 * -------------------------------------------------------------------------------------------------- */

const struct expr *expr_bare(const struct expr *e)
{
    while (e->kind == E_PAREN)
        e = e->paren;
    return e;
}

struct promql *promql_free(struct promql *q)
{
    if (q) {
        for (size_t i = 0; i < q->n_compiled; i++)
            matcher_done(q->compiled[i]);
        free(q->compiled);
        arena_free(q->arena);
        free(q);
    }
    return NULL;
}

static int parse_with(struct str text, bool selector_only, struct promql **ret, struct err *e)
{
    if (text.n > (size_t)limit(query_bytes)) {
        err_set(e, "1:1: parse error: query of %zu bytes is longer than %lld (limit query_bytes)", text.n,
                (long long)limit(query_bytes));
        return QUERY_E_PARSE;
    }
    struct promql *q = NEW(struct promql);
    q->arena = arena_new(0);
    q->text = arena_str(q->arena, text);
    struct parser p = {.q = q, .a = q->arena, .e = e};
    struct tokens t = promql_lex(q->text, q->arena);
    p.t = t.v;
    if (p.t->kind == T_EOF) {
        fail(&p, 0, "no expression found in input");
    } else {
        q->root = selector_only && p.t->kind != T_ERROR ? parse_postfix(&p) : parse_expr(&p, 0);
        if (q->root && p.t->kind != T_EOF)
            unexpected(&p, "", "");
        if (!p.failed && selector_only &&
            (q->root->kind != E_SELECTOR || q->root->sel.when.has_offset || q->root->sel.when.at != AT_NONE))
            fail(&p, 0, "a series selector is wanted: name{label=\"value\", ...}");
        if (!p.failed)
            check(&p, q->root);
    }
    if (p.failed) {
        promql_free(q);
        return QUERY_E_PARSE;
    }
    mark_invariant(q->root);
    collect_selectors(q->root, NULL, &q->n_selectors);
    q->selectors = ARENA_ARRAY(q->arena, struct promql_selector, q->n_selectors);
    size_t n = 0;
    collect_selectors(q->root, q->selectors, &n);
    *ret = q;
    return 0;
}

int promql_parse(struct str text, struct promql **ret, struct err *e)
{
    return parse_with(text, false, ret, e);
}

int promql_parse_selector(struct str text, struct promql **ret, const struct matcher **ret_m, size_t *ret_n,
                          struct err *e)
{
    struct promql *q;
    int r = parse_with(text, true, &q, e);
    if (r != 0)
        return r;
    *ret = q;
    *ret_m = q->root->sel.matchers;
    *ret_n = q->root->sel.n_matchers;
    return 0;
}

struct str promql_text(const struct promql *q)
{
    return q->text;
}

enum promql_type promql_result_type(const struct promql *q)
{
    return q->root->type;
}

size_t promql_selectors(const struct promql *q, const struct promql_selector **ret)
{
    *ret = q->selectors;
    return q->n_selectors;
}

// SPDX-License-Identifier: Apache-2.0
/* The parts of a selector: computed durations, label lists, matchers. */
#include "promql/parse_int.h"
#include "base/utf8.h"
#include "base/vec.h"

/* ---- Duration expressions ---------------------------------------------------------- */

static struct dur *dur_node(struct parser *p, enum dur_kind kind, uint32_t start)
{
    struct dur *d = ARENA_NEW(p->a, struct dur);
    d->kind = kind;
    d->start = start;
    return d;
}

struct dur *parse_dur_atom(struct parser *p)
{
    const struct token *t = p->t;
    struct dur *d;
    switch ((int)t->kind) {
    case T_NUMBER:
    case T_DURATION:
        d = dur_node(p, DUR_NUMBER, t->pos);
        parse_advance(p);
        if (!parse_number(p, t, &d->value))
            return NULL;
        if (!isfinite(d->value) || fabs(d->value) > 9223372036.0)
            return parse_fail(p, t->pos, "duration out of range");
        d->as_duration = t->kind == T_DURATION;
        break;
    case T_STEP:
    case T_RANGE:
        d = dur_node(p, t->kind == T_STEP ? DUR_STEP : DUR_RANGE, t->pos);
        parse_advance(p);
        if (!parse_accept(p, T_LPAREN) || !parse_accept(p, T_RPAREN))
            return parse_unexpected(p, "duration expression", "\"()\"");
        break;
    case T_MIN_OF:
    case T_MAX_OF:
        d = dur_node(p, t->kind == T_MIN_OF ? DUR_MIN : DUR_MAX, t->pos);
        parse_advance(p);
        if (!parse_accept(p, T_LPAREN))
            return parse_unexpected(p, "duration expression", "\"(\"");
        if (!(d->a = parse_dur(p, 0)))
            return NULL;
        if (!parse_accept(p, T_COMMA))
            return parse_unexpected(p, "duration expression", "\",\"");
        if (!(d->b = parse_dur(p, 0)))
            return NULL;
        if (!parse_accept(p, T_RPAREN))
            return parse_unexpected(p, "duration expression", "\")\"");
        break;
    case T_LPAREN:
        d = dur_node(p, DUR_PAREN, t->pos);
        parse_advance(p);
        if (!(d->a = parse_dur(p, 0)))
            return NULL;
        if (!parse_accept(p, T_RPAREN))
            return parse_unexpected(p, "duration expression", "\")\"");
        break;
    default:
        return parse_unexpected(p, "duration expression", "");
    }
    d->end = parse_last_end(p);
    return d;
}

struct dur *parse_dur_negated(struct parser *p, struct dur *d, uint32_t start)
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

struct dur *parse_dur(struct parser *p, int min_prec)
{
    if (!parse_deeper(p))
        return NULL;
    struct dur *l;
    if (p->t->kind == T_ADD || p->t->kind == T_SUB) {
        const struct token *op = p->t;
        parse_advance(p);
        l = parse_dur(p, 3);
        if (l && op->kind == T_SUB)
            l = parse_dur_negated(p, l, op->pos);
    } else {
        l = parse_dur_atom(p);
    }
    while (l) {
        const struct token *op = p->t;
        int prec = dur_prec(op->kind);
        if (prec < 0 || prec < min_prec)
            break;
        parse_advance(p);
        struct dur *r = parse_dur(p, op->kind == T_POW ? prec : prec + 1);
        if (!r)
            return NULL;
        const struct dur *zero = r;
        while (zero->kind == DUR_PAREN)
            zero = zero->a;
        if ((op->kind == T_DIV || op->kind == T_MOD) && zero->kind == DUR_NUMBER && zero->value == 0)
            return parse_fail(p, op->pos, op->kind == T_DIV ? "division by zero" : "modulo by zero");
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
bool parse_dur_store(struct parser *p, const struct dur *d, bool positive, int64_t *ret_ms, const struct dur **ret_dur)
{
    const struct dur *bare = d;
    while (bare->kind == DUR_PAREN)
        bare = bare->a;
    if (bare->kind != DUR_NUMBER) {
        *ret_dur = d;
        return true;
    }
    if (positive && bare->value <= 0) {
        parse_fail(p, bare->start, "duration must be greater than 0");
        return false;
    }
    *ret_ms = seconds_to_ms(bare->value);
    if (bare != d)
        *ret_dur = d; /* parentheses stay as written */
    return true;
}

/* ---- Labels and selectors ---------------------------------------------------------- */

static bool is_word(const struct token *t)
{
    return t->kind == T_IDENTIFIER || token_is_agg(t->kind) || token_is_key(t->kind) || t->kind == T_AND ||
           t->kind == T_OR || t->kind == T_UNLESS || t->kind == T_ATAN2;
}

bool parse_unquoted(struct parser *p, const struct token *t, struct str *ret)
{
    struct err e = {0};
    struct str v;
    if (promql_unquote(t->text, p->a, &v, &e) != 0) {
        parse_fail(p, t->pos, "error unquoting string " STR_FMT ": %s", STR_ARG(t->text), e.msg);
        return false;
    }
    *ret = v;
    return true;
}

/* '(' label {',' label} [','] ')' */
bool parse_labels(struct parser *p, struct str_list *ret)
{
    if (!parse_accept(p, T_LPAREN)) {
        parse_unexpected(p, "grouping opts", "\"(\"");
        return false;
    }
    VEC(struct str) v = {0};
    bool ok = false;
    while (p->t->kind != T_RPAREN) {
        struct str name;
        if (p->t->kind == T_STRING) {
            if (!parse_unquoted(p, p->t, &name))
                goto out;
            if (name.n == 0 || !utf8_valid(name)) {
                parse_fail(p, p->t->pos, "invalid label name for grouping: \"" STR_FMT "\"", STR_ARG(name));
                goto out;
            }
        } else if (is_word(p->t) ||
                   (p->t->kind == T_NUMBER && (p->t->text.p[0] | 32) >= 'a')) { /* inf and nan are words here */
            name = p->t->text;
        } else {
            parse_unexpected(p, "grouping opts", "label");
            goto out;
        }
        vec_push(&v, name);
        parse_advance(p);
        if (!parse_accept(p, T_COMMA) && p->t->kind != T_RPAREN) {
            parse_unexpected(p, "grouping opts", "\",\" or \")\"");
            goto out;
        }
    }
    parse_advance(p);
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
            if (!parse_unquoted(p, t, &m->name))
                return false;
        } else {
            parse_unexpected(p, "label matching", "identifier or \"}\"");
            return false;
        }
        parse_advance(p);
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
                parse_unexpected(p, "label matching", "label matching operator");
                return false;
            }
            parse_advance(p);
            if (p->t->kind != T_STRING) {
                parse_unexpected(p, "label matching", "string");
                return false;
            }
            if (!parse_unquoted(p, p->t, &m->value))
                return false;
            parse_advance(p);
        }
        if (!utf8_valid(m->name) || !utf8_valid(m->value)) {
            parse_fail(p, m->pos, "label name or value is not valid UTF-8");
            return false;
        }
        (*tail)->next = m;
        *tail = m;
        (*ret_n)++;
        if (!parse_accept(p, T_COMMA) && p->t->kind != T_RBRACE) {
            parse_unexpected(p, "label matching", "\",\" or \"}\"");
            return false;
        }
    }
    parse_advance(p);
    return true;
}

struct expr *parse_selector(struct parser *p)
{
    const struct token *t = p->t;
    struct expr *e = parse_node(p, E_SELECTOR, PROMQL_VECTOR, t->pos);
    struct matcher_link head = {0}, *tail = &head;
    size_t n = 0;
    if (t->kind != T_LBRACE) {
        e->sel.name = t->text;
        parse_advance(p);
    }
    if (parse_accept(p, T_LBRACE) && !parse_matchers(p, &tail, &n))
        return NULL;
    e->end = parse_last_end(p);
    size_t total = n + (e->sel.name.n > 0);
    e->sel.matchers = ARENA_ARRAY(p->a, struct matcher, total);
    size_t i = 0;
    for (const struct matcher_link *m = head.next; m; m = m->next) {
        struct err err = {0};
        struct matcher *into = &e->sel.matchers[i++];
        if (matcher_init(into, m->op, m->name, m->value, &err) != 0)
            return parse_fail(p, m->pos, "%s", err.msg);
        if (into->re)
            remember_regex(p, into);
    }
    if (e->sel.name.n > 0) {
        struct err err = {0};
        if (matcher_init(&e->sel.matchers[i++], MATCH_EQ, STR(LABEL_NAME), e->sel.name, &err) != 0)
            return parse_fail(p, t->pos, "%s", err.msg);
    }
    e->sel.n_matchers = i;
    return e;
}

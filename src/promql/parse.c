// SPDX-License-Identifier: Apache-2.0
/* Tokens to tree: precedence climbing over promql_lex(); selectors and durations are in selector.c, the pass that
 * checks types in check.c. Precedence and wordings follow promql/parser/generated_parser.y and parse.go of
 * Prometheus 3.14. */
#include "promql/parse_int.h"
#include "base/vec.h"

void *parse_fail(struct parser *p, uint32_t pos, const char *fmt, ...)
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

void *parse_unexpected(struct parser *p, const char *context, const char *expected)
{
    const struct token *t = p->t;
    if (t->kind == T_ERROR)
        return parse_fail(p, t->pos, STR_FMT, STR_ARG(t->text));
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
    parse_fail(p, t->pos, "%s", buf_cstr(&b));
    buf_done(&b);
    return NULL;
}

struct expr *parse_node(struct parser *p, enum expr_kind kind, enum promql_type type, uint32_t start)
{
    struct expr *e = ARENA_NEW(p->a, struct expr);
    e->kind = kind;
    e->type = type;
    e->start = start;
    e->end = start;
    return e;
}

bool parse_deeper(struct parser *p)
{
    if (++p->depth <= (unsigned)limit(query_depth))
        return true;
    parse_fail(p, p->t->pos, "expression nested deeper than %lld levels (limit query_depth)",
               (long long)limit(query_depth));
    return false;
}

bool parse_number(struct parser *p, const struct token *t, double *ret)
{
    if (t->kind == T_DURATION) {
        int64_t ms;
        struct str msg;
        if (!promql_duration(t->text, p->a, &ms, &msg)) {
            parse_fail(p, t->pos, STR_FMT, STR_ARG(msg));
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
            parse_fail(p, t->pos, "error parsing number: strconv.ParseFloat: parsing \"" STR_FMT "\": invalid syntax",
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
        parse_fail(p, t->pos, "error parsing number: strconv.ParseFloat: parsing \"" STR_FMT "\": value out of range",
                   STR_ARG(t->text));
        return false;
    }
    *ret = v;
    return true;
}

/* A long chain a+b+c... is a deep tree on its left side without any nesting in the text. Walks over the tree recurse,
 * so its height has a limit too, twice that of the nesting. */
static bool grow(struct parser *p, struct expr *e, const struct expr *child)
{
    e->height = MAX(e->height, child->height + 1);
    if (e->height <= 2 * (unsigned)limit(query_depth))
        return true;
    parse_fail(p, e->start, "expression tree higher than %lld levels (limit query_depth)",
               2 * (long long)limit(query_depth));
    return false;
}

/* ---- Expressions ------------------------------------------------------------------- */

static struct expr *parse_expr(struct parser *p, int min_prec);

static bool parse_args(struct parser *p, struct expr ***ret, size_t *ret_n)
{
    if (!parse_accept(p, T_LPAREN)) {
        parse_unexpected(p, "", "");
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
        if (!parse_accept(p, T_COMMA)) {
            parse_unexpected(p, "", "");
            goto out;
        }
        if (p->t->kind == T_RPAREN) {
            parse_fail(p, comma->pos, "trailing commas not allowed in function call args");
            goto out;
        }
    }
    parse_advance(p);
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
    struct expr *e = parse_node(p, E_AGGREGATE, PROMQL_VECTOR, t->pos);
    e->agg.op = t->kind;
    parse_advance(p);
    bool grouped = p->t->kind == T_BY || p->t->kind == T_WITHOUT;
    if (grouped) {
        e->agg.without = p->t->kind == T_WITHOUT;
        parse_advance(p);
        if (!parse_labels(p, &e->agg.grouping))
            return NULL;
    }
    struct expr **args;
    size_t n;
    if (!parse_args(p, &args, &n))
        return NULL;
    e->end = parse_last_end(p);
    if (!grouped && (p->t->kind == T_BY || p->t->kind == T_WITHOUT)) {
        e->agg.without = p->t->kind == T_WITHOUT;
        parse_advance(p);
        if (!parse_labels(p, &e->agg.grouping))
            return NULL;
        e->end = parse_last_end(p);
    }
    size_t want = agg_has_param(e->agg.op) ? 2 : 1;
    if (n == 0)
        return parse_fail(p, e->start, "no arguments for aggregate expression provided");
    if (n != want)
        return parse_fail(
            p, e->start, "wrong number of arguments for aggregate expression provided, expected %zu, got %zu", want, n);
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
        return parse_fail(p, t->pos, "unknown function with name \"" STR_FMT "\"", STR_ARG(name));
    struct expr *e = parse_node(p, E_CALL, fn->returns, t->pos);
    e->call.fn = fn;
    e->call.id = id;
    parse_advance(p);
    if (!parse_args(p, &e->call.args, &e->call.n_args))
        return NULL;
    e->end = parse_last_end(p);
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
        e = parse_node(p, E_NUMBER, PROMQL_SCALAR, t->pos);
        e->number.as_duration = t->kind == T_DURATION;
        parse_advance(p);
        e->end = parse_last_end(p);
        return parse_number(p, t, &e->number.value) ? e : NULL;
    case T_STRING:
        e = parse_node(p, E_STRING, PROMQL_STRING, t->pos);
        parse_advance(p);
        e->end = parse_last_end(p);
        return parse_unquoted(p, t, &e->string) ? e : NULL;
    case T_LPAREN:
        e = parse_node(p, E_PAREN, PROMQL_NONE, t->pos);
        parse_advance(p);
        if (!(e->paren = parse_expr(p, 0)))
            return NULL;
        if (!parse_accept(p, T_RPAREN))
            return parse_unexpected(p, "", "");
        e->end = parse_last_end(p);
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
                parse_advance(p);
                return parse_unexpected(p, "", "");
            }
            return parse_selector(p);
        }
        return parse_unexpected(p, "", "");
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
    parse_advance(p);
    uint32_t start = p->t->pos;
    bool minus = p->t->kind == T_SUB;
    if (minus || p->t->kind == T_ADD)
        parse_advance(p);
    struct dur *d;
    enum token_kind k = p->t->kind;
    if (k != T_NUMBER && k != T_DURATION && k != T_LPAREN && k != T_STEP && k != T_RANGE && k != T_MIN_OF &&
        k != T_MAX_OF) {
        parse_unexpected(p, "offset", "number, duration, step(), or range()");
        return false;
    }
    if (!(d = parse_dur_atom(p)))
        return false;
    if (minus)
        d = parse_dur_negated(p, d, start);
    struct when *w = when_of(e);
    if (!w) {
        parse_fail(
            p, e->start,
            "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery");
        return false;
    }
    if (w->has_offset) {
        parse_fail(p, e->start, "offset may not be set multiple times");
        return false;
    }
    w->has_offset = true;
    e->end = parse_last_end(p);
    return parse_dur_store(p, d, false, &w->offset_ms, &w->offset);
}

static bool parse_at(struct parser *p, struct expr *e)
{
    parse_advance(p);
    const struct token *t = p->t;
    enum at_kind at = AT_TIME;
    int64_t ms = 0;
    if ((t->kind == T_START || t->kind == T_END)) {
        at = t->kind == T_START ? AT_START : AT_END;
        parse_advance(p);
        if (!parse_accept(p, T_LPAREN) || !parse_accept(p, T_RPAREN)) {
            parse_unexpected(p, "@", "\"()\"");
            return false;
        }
    } else {
        bool minus = t->kind == T_SUB;
        if (minus || t->kind == T_ADD)
            parse_advance(p);
        if (p->t->kind != T_NUMBER && p->t->kind != T_DURATION) {
            parse_unexpected(p, "@", "timestamp");
            return false;
        }
        double v;
        const struct token *num = p->t;
        parse_advance(p);
        if (!parse_number(p, num, &v))
            return false;
        if (minus)
            v = -v;
        if (!isfinite(v) || fabs(v) >= 9223372036854775.0) {
            struct buf b = BUF_INIT(400);
            f64_put(&b, v);
            parse_fail(p, e->start, "timestamp out of bounds for @ modifier: %s%s", buf_cstr(&b),
                       isfinite(v) ? ".000000" : "");
            buf_done(&b);
            return false;
        }
        ms = llround(v * 1000);
    }
    struct when *w = when_of(e);
    if (!w) {
        parse_fail(p, e->start,
                   "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery");
        return false;
    }
    if (w->at != AT_NONE) {
        parse_fail(p, e->start, "@ <timestamp> may not be set multiple times");
        return false;
    }
    w->at = at;
    w->at_ms = ms;
    e->end = parse_last_end(p);
    return true;
}

static bool parse_boundary(struct parser *p, struct expr *e)
{
    bool anchored = p->t->kind == T_ANCHORED;
    const char *name = anchored ? "anchored" : "smoothed";
    parse_advance(p);
    struct expr *sel = e->kind == E_MATRIX ? e->win.child : e;
    if (e->kind == E_SUBQUERY) {
        parse_fail(p, e->start, "%s modifier is not supported for subqueries", name);
        return false;
    }
    if (sel->kind != E_SELECTOR) {
        parse_fail(p, e->start, "%s modifier must be preceded by an instant vector selector or range vector selector",
                   name);
        return false;
    }
    if (sel->sel.anchored || sel->sel.smoothed) {
        parse_fail(p, e->start, "anchored and smoothed modifiers cannot be used together or repeated");
        return false;
    }
    if (anchored)
        sel->sel.anchored = true;
    else
        sel->sel.smoothed = true;
    e->end = parse_last_end(p);
    return true;
}

static struct expr *parse_bracket(struct parser *p, struct expr *child)
{
    uint32_t pos = p->t->pos;
    parse_advance(p);
    struct dur *range = parse_dur(p, 0);
    if (!range)
        return NULL;
    bool sub = parse_accept(p, T_COLON);
    struct expr *e = parse_node(p, sub ? E_SUBQUERY : E_MATRIX, PROMQL_MATRIX, child->start);
    e->win.child = child;
    if (!grow(p, e, child))
        return NULL;
    if (!parse_dur_store(p, range, true, &e->win.range_ms, &e->win.range))
        return NULL;
    if (sub && p->t->kind != T_RBRACKET) {
        struct dur *step = parse_dur(p, 0);
        if (!step || !parse_dur_store(p, step, true, &e->win.step_ms, &e->win.step))
            return NULL;
    }
    if (!parse_accept(p, T_RBRACKET))
        return parse_unexpected(p, sub ? "subquery selector" : "subquery or range selector",
                                sub ? "\"]\"" : "\":\" or \"]\"");
    e->end = parse_last_end(p);
    if (sub)
        return e;
    if (child->kind != E_SELECTOR)
        return parse_fail(p, pos, "ranges only allowed for vector selectors");
    if (child->sel.when.has_offset)
        return parse_fail(p, pos, "no offset modifiers allowed before range");
    if (child->sel.when.at != AT_NONE)
        return parse_fail(p, pos, "no @ modifiers allowed before range");
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
    parse_advance(p);
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
    struct expr *e = parse_node(p, E_UNARY, child->type, op->pos);
    e->unary.op = op->kind;
    e->unary.child = child;
    e->end = child->end;
    return grow(p, e, child) ? e : NULL;
}

static bool parse_fill_value(struct parser *p, double *ret)
{
    parse_advance(p);
    if (!parse_accept(p, T_LPAREN)) {
        parse_unexpected(p, "fill modifier", "\"(\"");
        return false;
    }
    bool minus = p->t->kind == T_SUB;
    if (minus || p->t->kind == T_ADD)
        parse_advance(p);
    if (p->t->kind != T_NUMBER && p->t->kind != T_DURATION) {
        parse_unexpected(p, "fill modifier", "number");
        return false;
    }
    const struct token *t = p->t;
    parse_advance(p);
    if (!parse_number(p, t, ret))
        return false;
    if (minus)
        *ret = -*ret;
    if (!parse_accept(p, T_RPAREN)) {
        parse_unexpected(p, "fill modifier", "\")\"");
        return false;
    }
    return true;
}

/* What may stand between an operator and its right side. */
static bool parse_modifiers(struct parser *p, struct expr *e)
{
    e->bin.card = op_is_set(e->bin.op) ? CARD_MANY_TO_MANY : CARD_ONE_TO_ONE;
    if (parse_accept(p, T_BOOL))
        e->bin.returns_bool = true;
    if (p->t->kind == T_ON || p->t->kind == T_IGNORING) {
        e->bin.on = p->t->kind == T_ON;
        e->bin.wrote_matching = true;
        parse_advance(p);
        if (!parse_labels(p, &e->bin.labels))
            return false;
        if (p->t->kind == T_GROUP_LEFT || p->t->kind == T_GROUP_RIGHT) {
            e->bin.card = p->t->kind == T_GROUP_LEFT ? CARD_MANY_TO_ONE : CARD_ONE_TO_MANY;
            parse_advance(p);
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
            parse_fail(p, pos, "fill values may not be set multiple times");
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
    if (!parse_deeper(p))
        return NULL;
    struct expr *l = parse_unary(p);
    while (l) {
        const struct token *op = p->t;
        int prec = op_prec(op->kind);
        if (prec < 0 || prec < min_prec)
            break;
        parse_advance(p);
        struct expr *e = parse_node(p, E_BINARY, PROMQL_VECTOR, l->start);
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

/* ---- The selectors of a tree ------------------------------------------------------- */

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

/* ---- The public calls -------------------------------------------------------------- */

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
        parse_fail(&p, 0, "no expression found in input");
    } else {
        q->root = selector_only && p.t->kind != T_ERROR ? parse_postfix(&p) : parse_expr(&p, 0);
        if (q->root && p.t->kind != T_EOF)
            parse_unexpected(&p, "", "");
        if (!p.failed && selector_only &&
            (q->root->kind != E_SELECTOR || q->root->sel.when.has_offset || q->root->sel.when.at != AT_NONE))
            parse_fail(&p, 0, "a series selector is wanted: name{label=\"value\", ...}");
        if (!p.failed)
            parse_check(&p, q->root);
    }
    if (p.failed) {
        promql_free(q);
        return QUERY_E_PARSE;
    }
    parse_mark_invariant(q->root);
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

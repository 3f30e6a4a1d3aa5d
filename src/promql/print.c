// SPDX-License-Identifier: Apache-2.0
/* Tree to text: one line (as Prometheus' String()), pretty (as its Prettify, 100 columns) and JSON (as
 * /api/v1/parse_query). */
#include "promql/ast_int.h"
#include "base/format.h"
#include "base/mem.h"
#include "codec/f64.h"
#include <math.h>

#define LINE_MAX_BYTES 100 /* maxCharactersPerLine in promql/parser/prettier.go, 3.14 */

static void put_seconds(struct buf *b, double v)
{
    int64_t ms = llround(v * 1000);
    if (ms < 0)
        buf_putc(b, '-');
    format_duration_ms(b, ms < 0 ? -ms : ms);
}

static void put_signed_ms(struct buf *b, int64_t ms)
{
    if (ms < 0)
        buf_putc(b, '-');
    format_duration_ms(b, ms < 0 ? -ms : ms);
}

void dur_print(struct buf *b, const struct dur *d)
{
    switch (d->kind) {
    case DUR_NUMBER:
        if (d->as_duration)
            put_seconds(b, d->value);
        else
            f64_put(b, d->value);
        break;
    case DUR_STEP:
        buf_z(b, "step()");
        break;
    case DUR_RANGE:
        buf_z(b, "range()");
        break;
    case DUR_NEGATE:
        buf_putc(b, '-');
        dur_print(b, d->a);
        break;
    case DUR_BINARY:
        dur_print(b, d->a);
        buf_fmt(b, " %s ", token_word(d->op));
        dur_print(b, d->b);
        break;
    case DUR_MIN:
    case DUR_MAX:
        buf_z(b, d->kind == DUR_MIN ? "min_of(" : "max_of(");
        dur_print(b, d->a);
        buf_z(b, ", ");
        dur_print(b, d->b);
        buf_putc(b, ')');
        break;
    case DUR_PAREN:
        buf_putc(b, '(');
        dur_print(b, d->a);
        buf_putc(b, ')');
        break;
    }
}

static void put_label(struct buf *b, struct str s)
{
    if (label_name_legacy(s))
        buf_str(b, s);
    else
        promql_quote(b, s);
}

static void put_labels(struct buf *b, struct str_list l)
{
    buf_putc(b, '(');
    for (size_t i = 0; i < l.n; i++) {
        if (i)
            buf_z(b, ", ");
        put_label(b, l.v[i]);
    }
    buf_putc(b, ')');
}

static void put_matcher(struct buf *b, const struct matcher *m)
{
    put_label(b, m->name);
    buf_z(b, match_op_names[m->op]);
    promql_quote(b, m->value);
}

/* The matcher that repeats the name written in front. */
static bool is_own_name(const struct expr *e, const struct matcher *m)
{
    return m->op == MATCH_EQ && m->value.n > 0 && str_eqz(m->name, LABEL_NAME) && str_eq(m->value, e->sel.name);
}

static int compare_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Matchers stand in the order of their text, as Prometheus prints them. */
static void put_selector(struct buf *b, const struct expr *e)
{
    buf_str(b, e->sel.name);
    struct buf text = BUF_INIT(b->max);
    size_t *ends = xcalloc(e->sel.n_matchers + 1, sizeof(*ends)), n = 0;
    for (size_t i = 0; i < e->sel.n_matchers; i++) {
        if (is_own_name(e, &e->sel.matchers[i]))
            continue;
        put_matcher(&text, &e->sel.matchers[i]);
        ends[n++] = text.n;
    }
    if (buf_error(&text)) { /* what does not fit by itself does not fit here */
        b->err = buf_error(&text);
        n = 0;
    }
    struct str *v = xcalloc(n + 1, sizeof(*v));
    for (size_t i = 0; i < n; i++)
        v[i] = str_sub(buf_view(&text), i ? ends[i - 1] : 0, ends[i]);
    if (n > 1)
        qsort(v, n, sizeof(*v), compare_str);
    for (size_t i = 0; i < n; i++) {
        buf_putc(b, i ? ',' : '{');
        buf_str(b, v[i]);
    }
    if (n > 0)
        buf_putc(b, '}');
    else if (e->sel.name.n == 0)
        buf_z(b, "{}");
    free(v);
    free(ends);
    buf_done(&text);
}

static void put_when(struct buf *b, const struct when *w)
{
    if (w->at == AT_TIME) {
        int64_t ms = w->at_ms;
        buf_fmt(b, " @ %s%llu.%03llu", ms < 0 ? "-" : "", (unsigned long long)((ms < 0 ? -ms : ms) / 1000),
                (unsigned long long)((ms < 0 ? -ms : ms) % 1000));
    } else if (w->at == AT_START) {
        buf_z(b, " @ start()");
    } else if (w->at == AT_END) {
        buf_z(b, " @ end()");
    }
    if (w->offset) {
        buf_z(b, " offset ");
        bool wrap = w->offset->kind == DUR_BINARY;
        if (wrap)
            buf_putc(b, '(');
        dur_print(b, w->offset);
        if (wrap)
            buf_putc(b, ')');
    } else if (w->offset_ms != 0) {
        buf_z(b, " offset ");
        put_signed_ms(b, w->offset_ms);
    }
}

static void put_boundary(struct buf *b, const struct expr *sel)
{
    if (sel->sel.anchored)
        buf_z(b, " anchored");
    if (sel->sel.smoothed)
        buf_z(b, " smoothed");
}

static void put_range(struct buf *b, const struct expr *e)
{
    buf_putc(b, '[');
    if (e->win.range)
        dur_print(b, e->win.range);
    else
        format_duration_ms(b, e->win.range_ms);
    if (e->kind == E_SUBQUERY) {
        buf_putc(b, ':');
        if (e->win.step)
            dur_print(b, e->win.step);
        else if (e->win.step_ms)
            format_duration_ms(b, e->win.step_ms);
    }
    buf_putc(b, ']');
}

static void put_subquery_tail(struct buf *b, const struct expr *e)
{
    put_range(b, e);
    put_when(b, &e->win.when);
}

static void put_agg_head(struct buf *b, const struct expr *e)
{
    buf_z(b, token_word(e->agg.op));
    if (e->agg.without || e->agg.grouping.n) {
        buf_z(b, e->agg.without ? " without " : " by ");
        put_labels(b, e->agg.grouping);
        buf_putc(b, ' ');
    }
}

static void put_operator(struct buf *b, const struct expr *e)
{
    buf_z(b, token_word(e->bin.op));
    if (e->bin.returns_bool)
        buf_z(b, " bool");
    if (!e->bin.has_matching)
        return;
    bool many = e->bin.card == CARD_MANY_TO_ONE || e->bin.card == CARD_ONE_TO_MANY;
    if (e->bin.labels.n || e->bin.on || many) {
        buf_z(b, e->bin.on ? " on " : " ignoring ");
        put_labels(b, e->bin.labels);
        if (many) {
            buf_z(b, e->bin.card == CARD_MANY_TO_ONE ? " group_left " : " group_right ");
            put_labels(b, e->bin.include);
        }
    }
    if (e->bin.fills_left && e->bin.fills_right &&
        (e->bin.fill_left == e->bin.fill_right || (isnan(e->bin.fill_left) && isnan(e->bin.fill_right)))) {
        buf_z(b, " fill (");
        f64_put(b, e->bin.fill_left);
        buf_putc(b, ')');
        return;
    }
    if (e->bin.fills_left) {
        buf_z(b, " fill_left (");
        f64_put(b, e->bin.fill_left);
        buf_putc(b, ')');
    }
    if (e->bin.fills_right) {
        buf_z(b, " fill_right (");
        f64_put(b, e->bin.fill_right);
        buf_putc(b, ')');
    }
}

void expr_print(struct buf *b, const struct expr *e)
{
    switch (e->kind) {
    case E_NUMBER:
        if (e->number.as_duration)
            put_seconds(b, e->number.value);
        else
            f64_put(b, e->number.value);
        break;
    case E_STRING:
        promql_quote(b, e->string);
        break;
    case E_SELECTOR:
        put_selector(b, e);
        put_boundary(b, e);
        put_when(b, &e->sel.when);
        break;
    case E_MATRIX:
        put_selector(b, e->win.child);
        put_range(b, e);
        put_boundary(b, e->win.child);
        put_when(b, &e->win.child->sel.when);
        break;
    case E_SUBQUERY:
        expr_print(b, e->win.child);
        put_subquery_tail(b, e);
        break;
    case E_CALL:
        buf_z(b, e->call.fn->name);
        buf_putc(b, '(');
        for (size_t i = 0; i < e->call.n_args; i++) {
            if (i)
                buf_z(b, ", ");
            expr_print(b, e->call.args[i]);
        }
        buf_putc(b, ')');
        break;
    case E_AGGREGATE:
        put_agg_head(b, e);
        buf_putc(b, '(');
        if (e->agg.param) {
            expr_print(b, e->agg.param);
            buf_z(b, ", ");
        }
        expr_print(b, e->agg.child);
        buf_putc(b, ')');
        break;
    case E_BINARY:
        expr_print(b, e->bin.l);
        buf_putc(b, ' ');
        put_operator(b, e);
        buf_putc(b, ' ');
        expr_print(b, e->bin.r);
        break;
    case E_UNARY:
        buf_z(b, token_word(e->unary.op));
        expr_print(b, e->unary.child);
        break;
    case E_PAREN:
        buf_putc(b, '(');
        expr_print(b, e->paren);
        buf_putc(b, ')');
        break;
    }
}

void promql_print(struct buf *b, const struct promql *q)
{
    expr_print(b, q->root);
}

/* ---- Pretty ------------------------------------------------------------------------ */

/* Whether the one-line form is longer than a line. Measured with a buffer that stops early, so this stays linear. */
static bool needs_split(const struct expr *e)
{
    struct buf b = BUF_INIT(LINE_MAX_BYTES);
    expr_print(&b, e);
    bool split = buf_error(&b) != 0;
    buf_done(&b);
    return split;
}

static void indent(struct buf *b, unsigned level)
{
    for (unsigned i = 0; i < level; i++)
        buf_z(b, "  ");
}

/* at_start: the cursor stands at the start of a line and wants its indentation first. */
static void pretty(struct buf *b, const struct expr *e, unsigned level, bool at_start)
{
    if (at_start && e->kind != E_BINARY && e->kind != E_SUBQUERY)
        indent(b, level);
    if (!needs_split(e)) {
        if (at_start && (e->kind == E_BINARY || e->kind == E_SUBQUERY))
            indent(b, level);
        expr_print(b, e);
        return;
    }
    switch (e->kind) {
    case E_AGGREGATE:
        put_agg_head(b, e);
        buf_z(b, "(\n");
        if (e->agg.param) {
            pretty(b, e->agg.param, level + 1, true);
            buf_z(b, ",\n");
        }
        pretty(b, e->agg.child, level + 1, true);
        buf_putc(b, '\n');
        indent(b, level);
        buf_putc(b, ')');
        break;
    case E_BINARY:
        if (!at_start) { /* after a sign: the left side goes on on this line */
            pretty(b, e->bin.l, level + 1, false);
        } else {
            pretty(b, e->bin.l, level + 1, true);
        }
        buf_putc(b, '\n');
        indent(b, level);
        put_operator(b, e);
        buf_putc(b, '\n');
        pretty(b, e->bin.r, level + 1, true);
        break;
    case E_CALL:
        buf_z(b, e->call.fn->name);
        buf_z(b, "(\n");
        for (size_t i = 0; i < e->call.n_args; i++) {
            if (i)
                buf_z(b, ",\n");
            pretty(b, e->call.args[i], level + 1, true);
        }
        buf_putc(b, '\n');
        indent(b, level);
        buf_putc(b, ')');
        break;
    case E_PAREN:
        buf_z(b, "(\n");
        pretty(b, e->paren, level + 1, true);
        buf_putc(b, '\n');
        indent(b, level);
        buf_putc(b, ')');
        break;
    case E_UNARY:
        buf_z(b, token_word(e->unary.op));
        pretty(b, e->unary.child, level, false);
        break;
    case E_SUBQUERY:
        pretty(b, e->win.child, level, at_start);
        put_subquery_tail(b, e);
        break;
    case E_NUMBER:
    case E_STRING:
    case E_SELECTOR:
    case E_MATRIX:
        expr_print(b, e);
        break;
    }
}

void promql_format(struct buf *b, const struct promql *q)
{
    pretty(b, q->root, 0, true);
}

/* ---- JSON -------------------------------------------------------------------------- */

static void json_expr(struct jw *w, const struct expr *e);

/* Keys stand in alphabetical order, as Go writes maps. */
static void json_list(struct jw *w, const char *key, struct str_list l)
{
    jw_key(w, key);
    jw_arr(w);
    for (size_t i = 0; i < l.n; i++)
        jw_str(w, l.v[i]);
    jw_end(w);
}

static void json_matchers(struct jw *w, const struct expr *e)
{
    jw_key(w, "matchers");
    jw_arr(w);
    for (size_t i = 0; i < e->sel.n_matchers; i++) {
        jw_obj(w);
        jw_kstr(w, "name", e->sel.matchers[i].name);
        jw_kz(w, "type", match_op_names[e->sel.matchers[i].op]);
        jw_kstr(w, "value", e->sel.matchers[i].value);
        jw_end(w);
    }
    jw_end(w);
}

static void json_at(struct jw *w, const struct when *t, bool timestamp)
{
    jw_key(w, timestamp ? "timestamp" : "startOrEnd");
    if (timestamp) {
        if (t->at == AT_TIME)
            jw_i64(w, t->at_ms);
        else
            jw_null(w);
    } else if (t->at == AT_START || t->at == AT_END) {
        jw_z(w, t->at == AT_START ? "start" : "end");
    } else {
        jw_null(w);
    }
}

static void json_fill(struct jw *w, const char *key, bool has, double v)
{
    jw_key(w, key);
    if (has && isfinite(v))
        jw_f64(w, v);
    else if (has)
        jw_z(w, isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
    else
        jw_null(w);
}

static void json_matching(struct jw *w, const struct expr *e)
{
    static const char *const cards[] = {"one-to-one", "many-to-one", "one-to-many", "many-to-many"};
    jw_key(w, "matching");
    if (!e->bin.has_matching) {
        jw_null(w);
        return;
    }
    jw_obj(w);
    jw_kz(w, "card", cards[e->bin.card]);
    jw_key(w, "fillValues");
    jw_obj(w);
    json_fill(w, "lhs", e->bin.fills_left, e->bin.fill_left);
    json_fill(w, "rhs", e->bin.fills_right, e->bin.fill_right);
    jw_end(w);
    json_list(w, "include", e->bin.include);
    json_list(w, "labels", e->bin.labels);
    jw_kbool(w, "on", e->bin.on);
    jw_end(w);
}

static void json_selector(struct jw *w, const struct expr *e, const struct expr *matrix)
{
    jw_kbool(w, "anchored", e->sel.anchored);
    json_matchers(w, e);
    jw_kstr(w, "name", e->sel.name);
    jw_ki64(w, "offset", e->sel.when.offset_ms);
    if (matrix)
        jw_ki64(w, "range", matrix->win.range_ms);
    jw_kbool(w, "smoothed", e->sel.smoothed);
    json_at(w, &e->sel.when, false);
    json_at(w, &e->sel.when, true);
    jw_kz(w, "type", matrix ? "matrixSelector" : "vectorSelector");
}

/* The writer nests 64 levels; deeper parts are written by one of their own. */
#define JSON_SPLICE_DEPTH 50

static void json_spliced(struct jw *w, const struct expr *e)
{
    struct buf b = BUF_INIT(w->b->max);
    struct jw inner;
    jw_init(&inner, &b);
    json_expr(&inner, e);
    jw_raw(w, buf_view(&b));
    buf_done(&b);
}

static void json_child(struct jw *w, const char *key, const struct expr *e)
{
    jw_key(w, key);
    if (e)
        json_expr(w, e);
    else
        jw_null(w);
}

static void json_expr(struct jw *w, const struct expr *e)
{
    if (w->depth >= JSON_SPLICE_DEPTH) {
        json_spliced(w, e);
        return;
    }
    char text[F64_TEXT_MAX];
    jw_obj(w);
    switch (e->kind) {
    case E_NUMBER:
        jw_kz(w, "type", "numberLiteral");
        jw_kstr(w, "val", str_make(text, f64_write(text, e->number.value)));
        break;
    case E_STRING:
        jw_kz(w, "type", "stringLiteral");
        jw_kstr(w, "val", e->string);
        break;
    case E_SELECTOR:
        json_selector(w, e, NULL);
        break;
    case E_MATRIX:
        json_selector(w, e->win.child, e);
        break;
    case E_SUBQUERY:
        json_child(w, "expr", e->win.child);
        jw_ki64(w, "offset", e->win.when.offset_ms);
        jw_ki64(w, "range", e->win.range_ms);
        json_at(w, &e->win.when, false);
        jw_ki64(w, "step", e->win.step_ms);
        json_at(w, &e->win.when, true);
        jw_kz(w, "type", "subquery");
        break;
    case E_CALL:
        jw_key(w, "args");
        jw_arr(w);
        for (size_t i = 0; i < e->call.n_args; i++)
            json_expr(w, e->call.args[i]);
        jw_end(w);
        jw_key(w, "func");
        jw_obj(w);
        jw_key(w, "argTypes");
        jw_arr(w);
        for (size_t i = 0; i < PROMQL_MAX_ARGS && e->call.fn->args[i] != PROMQL_NONE; i++)
            jw_z(w, promql_type_names[e->call.fn->args[i]]);
        jw_end(w);
        jw_kz(w, "name", e->call.fn->name);
        jw_kz(w, "returnType", promql_type_names[e->call.fn->returns]);
        jw_ki64(w, "variadic", e->call.fn->variadic);
        jw_end(w);
        jw_kz(w, "type", "call");
        break;
    case E_AGGREGATE:
        json_child(w, "expr", e->agg.child);
        json_list(w, "grouping", e->agg.grouping);
        jw_kz(w, "op", token_word(e->agg.op));
        json_child(w, "param", e->agg.param);
        jw_kz(w, "type", "aggregation");
        jw_kbool(w, "without", e->agg.without);
        break;
    case E_BINARY:
        jw_kbool(w, "bool", e->bin.returns_bool);
        json_child(w, "lhs", e->bin.l);
        json_matching(w, e);
        jw_kz(w, "op", token_word(e->bin.op));
        json_child(w, "rhs", e->bin.r);
        jw_kz(w, "type", "binaryExpr");
        break;
    case E_UNARY:
        json_child(w, "expr", e->unary.child);
        jw_kz(w, "op", token_word(e->unary.op));
        jw_kz(w, "type", "unaryExpr");
        break;
    case E_PAREN:
        json_child(w, "expr", e->paren);
        jw_kz(w, "type", "parenExpr");
        break;
    }
    jw_end(w);
}

void promql_ast_json(struct jw *w, const struct promql *q)
{
    json_expr(w, q->root);
}

// SPDX-License-Identifier: Apache-2.0
/* After the tree stands: types, arguments, modifiers (checkAST in promql/parser/parse.go of Prometheus 3.14), and which
 * parts have the same value at every step. */
#include "promql/parse_int.h"

/* ---- Checks ------------------------------------------------------------------------ */

static bool expect(struct parser *p, struct expr *e, enum promql_type want, const char *context)
{
    if (!parse_check(p, e))
        return false;
    if (e->type == want)
        return true;
    parse_fail(p, e->start, "expected type %s in %s, got %s", promql_type_documents[want], context,
               promql_type_documents[e->type]);
    return false;
}

static bool check_binary(struct parser *p, struct expr *e)
{
    if (!parse_check(p, e->bin.l) || !parse_check(p, e->bin.r))
        return false;
    const char *op = token_word(e->bin.op);
    enum promql_type lt = e->bin.l->type, rt = e->bin.r->type;
    bool comparison = op_is_comparison(e->bin.op), set = op_is_set(e->bin.op);
    if (e->bin.returns_bool && !comparison)
        return parse_fail(p, e->bin.op_pos, "bool modifier can only be used on comparison operators");
    if (comparison && !e->bin.returns_bool && lt == PROMQL_SCALAR && rt == PROMQL_SCALAR)
        return parse_fail(p, e->bin.op_pos, "comparisons between scalars must use BOOL modifier");
    if (e->bin.on)
        for (size_t i = 0; i < e->bin.labels.n; i++)
            for (size_t k = 0; k < e->bin.include.n; k++)
                if (str_eq(e->bin.labels.v[i], e->bin.include.v[k]))
                    return parse_fail(p, e->bin.op_pos,
                                      "label \"" STR_FMT "\" must not occur in ON and GROUP clause at once",
                                      STR_ARG(e->bin.labels.v[i]));
    if (lt != PROMQL_SCALAR && lt != PROMQL_VECTOR)
        return parse_fail(p, e->bin.l->start, "binary expression must contain only scalar and instant vector types");
    if (rt != PROMQL_SCALAR && rt != PROMQL_VECTOR)
        return parse_fail(p, e->bin.r->start, "binary expression must contain only scalar and instant vector types");
    bool fills = e->bin.fills_left || e->bin.fills_right;
    if (lt == PROMQL_VECTOR && rt == PROMQL_VECTOR) {
        e->bin.has_matching = true;
        if (set && (e->bin.card == CARD_MANY_TO_ONE || e->bin.card == CARD_ONE_TO_MANY))
            return parse_fail(p, e->start, "no grouping allowed for \"%s\" operation", op);
        if (set && fills)
            return parse_fail(p, e->start, "filling in missing series not allowed for set operators");
    } else if (e->bin.wrote_matching && (e->bin.labels.n > 0 || e->bin.on)) {
        return parse_fail(p, e->start, "vector matching only allowed between instant vectors");
    } else if (fills) {
        return parse_fail(p, e->start, "filling in missing series only allowed between instant vectors");
    }
    if ((lt == PROMQL_SCALAR || rt == PROMQL_SCALAR) && set)
        return parse_fail(p, e->start, "set operator \"%s\" not allowed in binary scalar expression", op);
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
        return parse_fail(p, e->start, "expected %zu argument(s) in call to \"%s\", got %zu", declared, f->name, n);
    if (f->variadic != 0) {
        size_t least = declared - 1;
        if (n < least)
            return parse_fail(p, e->start, "expected at least %zu argument(s) in call to \"%s\", got %zu", least,
                              f->name, n);
        if (f->variadic > 0 && n > least + (size_t)f->variadic)
            return parse_fail(p, e->start, "expected at most %zu argument(s) in call to \"%s\", got %zu",
                              least + (size_t)f->variadic, f->name, n);
    }
    char context[96];
    snprintf(context, sizeof(context), "call to function \"%s\"", f->name);
    if (e->call.id == FN_INFO && n > 1) {
        struct expr *sel = e->call.args[1];
        if (sel->kind != E_SELECTOR)
            return parse_fail(p, sel->start, "expected label selectors only");
        if (sel->sel.name.n > 0)
            return parse_fail(p, sel->start, "expected label selectors only, got vector selector instead");
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
            return parse_fail(p, m->start, "%s modifier can only be used with: %s - not with %s",
                              s->sel.anchored ? "anchored" : "smoothed",
                              s->sel.anchored ? "changes, delta, increase, rate, resets" : "delta, increase, rate",
                              f->name);
    }
    return true;
}

static bool check_selector(struct parser *p, struct expr *e)
{
    if (e->sel.anchored && !e->sel.matrix)
        return parse_fail(p, e->start, "anchored modifier can only be used with range vector selectors");
    if (e->sel.name.n > 0)
        for (size_t i = 0; i + 1 < e->sel.n_matchers; i++)
            if (str_eqz(e->sel.matchers[i].name, LABEL_NAME))
                return parse_fail(p, e->start, "metric name must not be set twice: \"" STR_FMT "\" or \"" STR_FMT "\"",
                                  STR_ARG(e->sel.name), STR_ARG(e->sel.matchers[i].value));
    if (e->sel.bypass_empty)
        return true;
    for (size_t i = 0; i < e->sel.n_matchers; i++)
        if (!matcher_value(&e->sel.matchers[i], STR("")))
            return true;
    return parse_fail(p, e->start, "vector selector must contain at least one non-empty matcher");
}

bool parse_check(struct parser *p, struct expr *e)
{
    switch (e->kind) {
    case E_NUMBER:
    case E_STRING:
        return true;
    case E_SELECTOR:
        return check_selector(p, e);
    case E_MATRIX:
        return parse_check(p, e->win.child);
    case E_SUBQUERY:
        if (!parse_check(p, e->win.child))
            return false;
        if (e->win.child->type != PROMQL_VECTOR)
            return parse_fail(p, e->start, "subquery is only allowed on instant vector, got %s instead",
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
        if (!parse_check(p, e->unary.child))
            return false;
        e->type = e->unary.child->type;
        if (e->type != PROMQL_SCALAR && e->type != PROMQL_VECTOR)
            return parse_fail(
                p, e->start,
                "unary expression only allowed on expressions of type scalar or instant vector, got \"%s\"",
                promql_type_documents[e->type]);
        return true;
    case E_PAREN:
        return parse_check(p, e->paren);
    }
    return true;
}

/* ---- Which parts give the same value at every step --------------------------------- */

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

void parse_mark_invariant(struct expr *e)
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
        parse_mark_invariant(e->win.child);
        e->invariant = e->win.child->invariant;
        break;
    case E_SUBQUERY:
        parse_mark_invariant(e->win.child);
        e->invariant = e->win.when.at != AT_NONE;
        break;
    case E_CALL:
        e->invariant = !fn_sees_time(e->call.id);
        for (size_t i = 0; i < e->call.n_args; i++) {
            parse_mark_invariant(e->call.args[i]);
            /* the selector of info() is not evaluated by itself */
            if (e->call.id != FN_INFO || i == 0)
                e->invariant &= e->call.args[i]->invariant;
        }
        break;
    case E_AGGREGATE:
        parse_mark_invariant(e->agg.child);
        e->invariant = e->agg.child->invariant;
        if (e->agg.param) {
            parse_mark_invariant(e->agg.param);
            e->invariant &= e->agg.param->invariant;
        }
        break;
    case E_BINARY:
        parse_mark_invariant(e->bin.l);
        parse_mark_invariant(e->bin.r);
        e->invariant = e->bin.l->invariant && e->bin.r->invariant;
        break;
    case E_UNARY:
        parse_mark_invariant(e->unary.child);
        e->invariant = e->unary.child->invariant;
        break;
    case E_PAREN:
        parse_mark_invariant(e->paren);
        e->invariant = e->paren->invariant;
        break;
    }
}

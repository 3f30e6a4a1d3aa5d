// SPDX-License-Identifier: Apache-2.0
/* Walking the tree. One template_run per execution, on the caller's stack; the set is only read. */
#include "template/template_int.h"
#include "base/limits.h"
#include <errno.h>
#include <stdio.h>

enum flow { FLOW_OK, FLOW_BREAK, FLOW_CONTINUE, FLOW_FAIL };

int template_error(struct template_run *r, const struct node *at, const char *fmt, ...)
{
    if (r->failed)
        return TEMPLATE_E_FAIL;
    r->failed = true;
    char msg[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    const struct tmpl *t = r->tmpl;
    if (!t || !at) {
        err_set(r->err, "template: " STR_FMT ": %s", STR_ARG(r->x->name), msg);
        return TEMPLATE_E_FAIL;
    }
    size_t line = 1, bol = 0;
    for (size_t i = 0; i < at->pos && i < t->source.n; i++)
        if (t->source.p[i] == '\n') {
            line++;
            bol = i + 1;
        }
    struct str src = str_trim(str_sub(t->source, at->pos, at->end));
    err_set(r->err, "template: " STR_FMT ":%zu:%zu: executing \"" STR_FMT "\" at <%s" STR_FMT "%s>: %s",
            STR_ARG(t->file), line, (size_t)at->pos - bol, STR_ARG(t->name), at->kind == NODE_TEMPLATE ? "{{" : "",
            STR_ARG(str_sub(src, 0, 20)), src.n > 20 ? "..." : "", msg);
    return TEMPLATE_E_FAIL;
}

int template_fail(struct template_run *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->fail, sizeof(r->fail), fmt, ap);
    va_end(ap);
    return TEMPLATE_E_FAIL;
}

struct arena *template_arena(struct template_run *r)
{
    return r->arena;
}

void *template_host(struct template_run *r)
{
    return r->x->host;
}

int template_step(struct template_run *r, size_t n)
{
    r->steps += n;
    if (r->steps > (size_t)limit(template_steps))
        return template_fail(r, "more than %lld steps", (long long)limit(template_steps));
    /* Values made on the way are bounded too: a loop that doubles a string would else eat the machine. */
    if (arena_used(r->arena) - r->arena_start > 64 * (size_t)limit(template_output_bytes))
        return template_fail(r, "needs more than %lld bytes of memory", 64 * (long long)limit(template_output_bytes));
    return 0;
}

struct str template_keep(struct template_run *r, struct buf *b)
{
    return arena_str(r->arena, buf_view(b));
}

struct tval template_view(struct template_run *r, struct tval v)
{
    for (int i = 0; i < 4 && v.kind == TVAL_OBJ; i++) {
        if (!v.obj.type->view)
            return v;
        v = v.obj.type->view(r, v.obj.p);
    }
    return v;
}

static int step(struct template_run *r, const struct node *at)
{
    if (template_step(r, 1))
        return template_error(r, at, "%s", r->fail);
    if (r->out->n - r->out_start > (size_t)limit(template_output_bytes))
        return template_error(r, at, "output is longer than %lld bytes", (long long)limit(template_output_bytes));
    return 0;
}

static int eval_pipe(struct template_run *r, struct tval dot, const struct node *pipe, struct tval *ret);
static enum flow walk(struct template_run *r, struct tval dot, const struct node_list *list);

/* ---- fields ---- */

static int get_field(struct template_run *r, const struct node *at, struct tval v, struct str name,
                     const struct tval *args, size_t n, struct tval *ret)
{
    const struct tobj_type *type = v.kind == TVAL_OBJ ? v.obj.type : v.kind == TVAL_MAP ? v.map->methods : NULL;
    if (type) {
        r->fail[0] = 0;
        int e = type->get(r, v.kind == TVAL_OBJ ? v.obj.p : v.map, name, args, n, ret);
        if (e == 0)
            return 0;
        if (e != TEMPLATE_E_NO_FIELD)
            return template_error(r, at, "error calling " STR_FMT ": %s", STR_ARG(name), r->fail);
    }
    struct tval view = v; /* an object answers for its fields alone: unknown ones are errors, as of a Go struct */
    if (view.kind == TVAL_MAP) {
        if (n)
            return template_error(r, at, STR_FMT " is not a method but has arguments", STR_ARG(name));
        const struct tmap *m = view.map;
        size_t lo = 0, hi = m->n;
        while (lo < hi) {
            size_t mid = (lo + hi) / 2;
            int c = str_cmp(m->v[mid].key, name);
            if (c == 0) {
                *ret = m->v[mid].value;
                return 0;
            }
            if (c < 0)
                lo = mid + 1;
            else
                hi = mid;
        }
        *ret = m->strings ? tval_str(STR("")) : tval_nil();
        return 0;
    }
    if (v.kind == TVAL_NIL) {
        *ret = tval_nil();
        return 0;
    }
    return template_error(r, at, "can't evaluate field " STR_FMT " in type %s", STR_ARG(name), tval_type(v));
}

static int get_fields(struct template_run *r, const struct node *at, struct tval v, const struct tval *args, size_t n,
                      struct tval *ret)
{
    for (size_t i = 0; i < at->n_names; i++) {
        bool last = i + 1 == at->n_names;
        int e = get_field(r, at, v, at->names[i], last ? args : NULL, last ? n : 0, &v);
        if (e)
            return e;
    }
    if (!at->n_names && n)
        return template_error(r, at, "can't give argument to non-function " STR_FMT, STR_ARG(at->text));
    *ret = v;
    return 0;
}

static int get_var(struct template_run *r, const struct node *at, struct tval *ret)
{
    for (size_t i = r->vars.n; i-- > 0;)
        if (str_eq(r->vars.v[i].name, at->text)) {
            *ret = r->vars.v[i].value;
            return 0;
        }
    return template_error(r, at, "undefined variable: " STR_FMT, STR_ARG(at->text));
}

/* ---- commands ---- */

static int eval_arg(struct template_run *r, struct tval dot, const struct node *n, struct tval *ret);

static int call_func(struct template_run *r, struct tval dot, const struct node *at, const struct node *cmd,
                     const struct tval *final, struct tval *ret)
{
    const struct template_func *f = at->func;
    size_t n_written = cmd ? cmd->n_kids - 1 : 0, n = n_written + (final ? 1 : 0);
    bool lazy = str_eqz(at->text, "and") || str_eqz(at->text, "or");
    if (n < (size_t)f->min_args || (f->max_args >= 0 && n > (size_t)f->max_args)) {
        const char *least = f->max_args < 0 ? "at least " : "";
        return template_error(r, at, "wrong number of args for %s: want %s%d got %zu", f->name, least,
                              f->max_args < 0 || n < (size_t)f->min_args ? f->min_args : f->max_args, n);
    }
    struct tval small[8];
    struct tval *args = n <= ARRAY_LEN(small) ? small : ARENA_ARRAY(r->arena, struct tval, n);
    for (size_t i = 0; i < n_written; i++) {
        int e = eval_arg(r, dot, cmd->kids[i + 1], &args[i]);
        if (e)
            return e;
        if (lazy && tval_truth(r, args[i]) == (at->text.p[0] == 'o')) {
            *ret = args[i];
            return 0;
        }
    }
    if (final)
        args[n - 1] = *final;
    int e = step(r, at);
    if (e)
        return e;
    struct tval v = tval_nil();
    r->fail[0] = 0;
    if (f->fn(r, args, n, &v))
        return template_error(r, at, "error calling %s: %s", f->name, r->fail);
    *ret = v;
    return 0;
}

static int eval_arg(struct template_run *r, struct tval dot, const struct node *n, struct tval *ret)
{
    struct tval v;
    int e;
    switch (n->kind) {
    case NODE_DOT:
        *ret = dot;
        return 0;
    case NODE_NIL:
        *ret = tval_nil();
        return 0;
    case NODE_CONST:
        *ret = n->value;
        return 0;
    case NODE_FIELD:
        return get_fields(r, n, dot, NULL, 0, ret);
    case NODE_VAR:
        e = get_var(r, n, &v);
        return e ? e : get_fields(r, n, v, NULL, 0, ret);
    case NODE_CHAIN:
        e = eval_arg(r, dot, n->pipe, &v);
        return e ? e : get_fields(r, n, v, NULL, 0, ret);
    case NODE_PIPE:
        return eval_pipe(r, dot, n, ret);
    case NODE_FUNC:
        return call_func(r, dot, n, NULL, NULL, ret);
    case NODE_TEXT:
    case NODE_ACTION:
    case NODE_IF:
    case NODE_WITH:
    case NODE_RANGE:
    case NODE_TEMPLATE:
    case NODE_BREAK:
    case NODE_CONTINUE:
    case NODE_COMMAND:
        break;
    }
    return template_error(r, n, "cannot evaluate this");
}

static int eval_command(struct template_run *r, struct tval dot, const struct node *cmd, const struct tval *final,
                        struct tval *ret)
{
    const struct node *first = cmd->kids[0];
    size_t n = cmd->n_kids - 1 + (final ? 1 : 0);
    struct tval v;
    int e;
    switch (first->kind) {
    case NODE_FUNC:
        return call_func(r, dot, first, cmd, final, ret);
    case NODE_FIELD:
    case NODE_VAR:
    case NODE_CHAIN: {
        struct tval small[8];
        struct tval *args = n <= ARRAY_LEN(small) ? small : ARENA_ARRAY(r->arena, struct tval, n);
        for (size_t i = 1; i < cmd->n_kids; i++)
            if ((e = eval_arg(r, dot, cmd->kids[i], &args[i - 1])))
                return e;
        if (final)
            args[n - 1] = *final;
        if ((e = step(r, first)))
            return e;
        v = dot;
        if (first->kind == NODE_VAR && (e = get_var(r, first, &v)))
            return e;
        if (first->kind == NODE_CHAIN && (e = eval_arg(r, dot, first->pipe, &v)))
            return e;
        return get_fields(r, first, v, args, n, ret);
    }
    case NODE_PIPE:
        if (n)
            return template_error(r, first, "can't give argument to non-function " STR_FMT,
                                  STR_ARG(str_sub(r->tmpl->source, first->pos, first->end)));
        return eval_pipe(r, dot, first, ret);
    case NODE_NIL:
        return template_error(r, first, "nil is not a command");
    case NODE_TEXT:
    case NODE_ACTION:
    case NODE_IF:
    case NODE_WITH:
    case NODE_RANGE:
    case NODE_TEMPLATE:
    case NODE_BREAK:
    case NODE_CONTINUE:
    case NODE_COMMAND:
    case NODE_DOT:
    case NODE_CONST:
        break;
    }
    if (n)
        return template_error(r, first, "can't give argument to non-function " STR_FMT,
                              STR_ARG(str_sub(r->tmpl->source, first->pos, first->end)));
    return eval_arg(r, dot, first, ret);
}

static int eval_pipe(struct template_run *r, struct tval dot, const struct node *pipe, struct tval *ret)
{
    struct tval v = tval_nil();
    if (++r->depth > TEMPLATE_DEPTH_MAX) {
        r->depth--;
        return template_error(r, pipe, "exceeded maximum template depth (%d)", TEMPLATE_DEPTH_MAX);
    }
    int e = step(r, pipe);
    for (size_t i = 0; i < pipe->n_kids && !e; i++)
        e = eval_command(r, dot, pipe->kids[i], i ? &v : NULL, &v);
    r->depth--;
    if (e)
        return e;
    *ret = v;
    return 0;
}

static void push_var(struct template_run *r, struct str name, struct tval v)
{
    vec_push(&r->vars, (struct variable){.name = name, .value = v});
}

static void set_var(struct template_run *r, struct str name, struct tval v)
{
    for (size_t i = r->vars.n; i-- > 0;)
        if (str_eq(r->vars.v[i].name, name)) {
            r->vars.v[i].value = v;
            return;
        }
}

static void declare(struct template_run *r, const struct node *pipe, struct tval v)
{
    for (size_t i = 0; i < pipe->n_names; i++) {
        if (pipe->assign)
            set_var(r, pipe->names[i], v);
        else
            push_var(r, pipe->names[i], v);
    }
}

/* ---- bodies ---- */

static enum flow range_item(struct template_run *r, const struct node *n, struct tval key, struct tval item)
{
    const struct node *pipe = n->pipe;
    size_t mark = r->vars.n;
    if (step(r, n))
        return FLOW_FAIL;
    if (pipe->n_names == 1) {
        declare(r, pipe, item);
    } else if (pipe->n_names == 2) {
        struct tval kv[2] = {key, item};
        for (int i = 0; i < 2; i++) {
            if (pipe->assign)
                set_var(r, pipe->names[i], kv[i]);
            else
                push_var(r, pipe->names[i], kv[i]);
        }
    }
    enum flow f = walk(r, item, &n->list);
    r->vars.n = mark;
    return f;
}

static enum flow walk_range(struct template_run *r, struct tval dot, const struct node *n)
{
    struct tval v;
    if (eval_pipe(r, dot, n->pipe, &v))
        return FLOW_FAIL;
    v = template_view(r, v);
    size_t count = 0;
    enum flow f = FLOW_OK;
    switch (v.kind) {
    case TVAL_LIST:
        count = v.list->n;
        for (size_t i = 0; i < count && (f == FLOW_OK || f == FLOW_CONTINUE); i++)
            f = range_item(r, n, tval_int((int64_t)i), v.list->v[i]);
        break;
    case TVAL_MAP:
        count = v.map->n;
        for (size_t i = 0; i < count && (f == FLOW_OK || f == FLOW_CONTINUE); i++)
            f = range_item(r, n, tval_str(v.map->v[i].key), v.map->v[i].value);
        break;
    case TVAL_INT:
        count = v.i > 0 ? (size_t)v.i : 0;
        if (n->pipe->n_names > 1) {
            template_error(r, n->pipe, "can't use %s to iterate over more than one variable", tval_type(v));
            return FLOW_FAIL;
        }
        for (size_t i = 0; i < count && (f == FLOW_OK || f == FLOW_CONTINUE); i++)
            f = range_item(r, n, tval_int((int64_t)i), tval_int((int64_t)i));
        break;
    case TVAL_NIL:
        break;
    case TVAL_BOOL:
    case TVAL_FLOAT:
    case TVAL_STR:
    case TVAL_OBJ:
    case TVAL_TIME:
    case TVAL_DURATION: {
        _cleanup_buf_ struct buf b = BUF_INIT(128);
        tval_print(r, &b, v);
        template_error(r, n->pipe, "range can't iterate over %s", buf_cstr(&b));
        return FLOW_FAIL;
    }
    }
    if (f == FLOW_FAIL)
        return f;
    return count ? FLOW_OK : walk(r, dot, &n->alt);
}

static enum flow walk_template(struct template_run *r, struct tval dot, const struct node *n)
{
    const struct tmpl *t = template_find(r->set, n->text);
    if (!t) {
        template_error(r, n, "template \"" STR_FMT "\" not defined", STR_ARG(n->text));
        return FLOW_FAIL;
    }
    struct tval data = tval_nil();
    if (n->pipe && eval_pipe(r, dot, n->pipe, &data))
        return FLOW_FAIL;
    const struct tmpl *outer = r->tmpl;
    size_t mark = r->vars.n;
    push_var(r, STR("$"), data); /* names of the caller are not in the callee's text: the parser saw to that */
    r->tmpl = t;
    enum flow f = walk(r, data, &t->body);
    r->tmpl = outer;
    r->vars.n = mark;
    return f == FLOW_FAIL ? f : FLOW_OK;
}

static enum flow walk_node(struct template_run *r, struct tval dot, const struct node *n)
{
    struct tval v;
    enum flow f = FLOW_OK;
    size_t mark;
    switch (n->kind) {
    case NODE_TEXT:
        if (r->is_html)
            html_text(r, n->text);
        else
            buf_str(r->out, n->text);
        return step(r, n) ? FLOW_FAIL : FLOW_OK;
    case NODE_ACTION:
        if (eval_pipe(r, dot, n->pipe, &v))
            return FLOW_FAIL;
        if (n->pipe->n_names)
            declare(r, n->pipe, v);
        else if (r->is_html)
            html_value(r, v);
        else if (v.kind == TVAL_NIL)
            buf_z(r->out, "<no value>");
        else
            tval_print(r, r->out, v);
        return FLOW_OK;
    case NODE_IF:
    case NODE_WITH:
        mark = r->vars.n;
        if (eval_pipe(r, dot, n->pipe, &v))
            return FLOW_FAIL;
        declare(r, n->pipe, v);
        if (tval_truth(r, v))
            f = walk(r, n->kind == NODE_WITH ? v : dot, &n->list);
        else
            f = walk(r, dot, &n->alt);
        r->vars.n = mark;
        return f;
    case NODE_RANGE:
        mark = r->vars.n;
        f = walk_range(r, dot, n);
        r->vars.n = mark;
        return f;
    case NODE_TEMPLATE:
        return walk_template(r, dot, n);
    case NODE_BREAK:
        return FLOW_BREAK;
    case NODE_CONTINUE:
        return FLOW_CONTINUE;
    case NODE_PIPE:
    case NODE_COMMAND:
    case NODE_DOT:
    case NODE_NIL:
    case NODE_CONST:
    case NODE_FIELD:
    case NODE_VAR:
    case NODE_CHAIN:
    case NODE_FUNC:
        break;
    }
    BUG("template: expression node %d among statements", n->kind);
}

static enum flow walk(struct template_run *r, struct tval dot, const struct node_list *list)
{
    if (!list->n)
        return FLOW_OK;
    if (++r->depth > TEMPLATE_DEPTH_MAX) {
        r->depth--;
        template_error(r, list->v[0], "exceeded maximum template depth (%d)", TEMPLATE_DEPTH_MAX);
        return FLOW_FAIL;
    }
    size_t mark = r->vars.n;
    enum flow f = FLOW_OK;
    for (size_t i = 0; i < list->n && f == FLOW_OK; i++)
        f = walk_node(r, dot, list->v[i]);
    if (f != FLOW_OK)
        r->vars.n = mark;
    r->depth--;
    return f;
}

/* Callers must see only their own names: the callee's set of variables starts at its `$`. The parser has already
 * refused unknown names, so a plain search from the top is right. */
int template_call(struct template_run *r, struct str name, struct tval data, struct str *ret)
{
    const struct tmpl *t = template_find(r->set, name);
    if (!t)
        return template_fail(r, "template \"" STR_FMT "\" not defined", STR_ARG(name));
    _cleanup_buf_ struct buf b = BUF_INIT((size_t)limit(template_output_bytes) + 1);
    struct buf *out = r->out;
    size_t start = r->out_start, mark = r->vars.n;
    const struct tmpl *outer = r->tmpl;
    bool html = r->is_html;
    r->out = &b;
    r->out_start = 0;
    r->tmpl = t;
    r->is_html = false;
    push_var(r, STR("$"), data);
    enum flow f = walk(r, data, &t->body);
    r->vars.n = mark;
    r->tmpl = outer;
    r->out = out;
    r->out_start = start;
    r->is_html = html;
    if (f == FLOW_FAIL)
        return TEMPLATE_E_FAIL; /* the inner position is already told */
    *ret = template_keep(r, &b);
    return 0;
}

int template_exec(const struct template_set *s, const struct template_exec *x, struct buf *out, struct err *e)
{
    struct template_run r = {.set = s,
                             .x = x,
                             .out = out,
                             .out_start = out->n,
                             .err = e,
                             .arena = x->arena,
                             .arena_start = arena_used(x->arena),
                             .is_html = x->flags & TEMPLATE_HTML};
    r.tmpl = template_find(s, x->name);
    if (!r.tmpl) {
        err_set(e, "template: no template \"" STR_FMT "\"", STR_ARG(x->name));
        return -EINVAL;
    }
    push_var(&r, STR("$"), x->data);
    walk(&r, x->data, &r.tmpl->body);
    if (!r.failed && (buf_error(out) || out->n - r.out_start > (size_t)limit(template_output_bytes)))
        template_error(&r, NULL, "output is longer than %zu bytes",
                       MIN(out->max, (size_t)limit(template_output_bytes)));
    vec_done(&r.vars);
    return r.failed ? -EINVAL : 0;
}

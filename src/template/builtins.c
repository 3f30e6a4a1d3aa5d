// SPDX-License-Identifier: Apache-2.0
/* The functions every Go template has. */
#include "template/template_int.h"
#include "base/limits.h"
#include "base/utf8.h"

static size_t bound(void)
{
    return (size_t)limit(template_output_bytes);
}

void html_escape(struct buf *b, struct str s)
{
    if (!s.n)
        return;
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char *z;
        switch (s.p[i]) {
        case '&':
            z = "&amp;";
            break;
        case '<':
            z = "&lt;";
            break;
        case '>':
            z = "&gt;";
            break;
        case '"':
            z = "&#34;";
            break;
        case '\'':
            z = "&#39;";
            break;
        case 0:
            z = "\xef\xbf\xbd";
            break;
        default:
            continue;
        }
        buf_put(b, s.p + from, i - from);
        buf_z(b, z);
        from = i + 1;
    }
    buf_put(b, s.p + from, s.n - from);
}

void url_query_escape(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
            c == '.' || c == '~')
            buf_putc(b, (char)c);
        else if (c == ' ')
            buf_putc(b, '+');
        else
            buf_fmt(b, "%%%02X", c);
    }
}

static struct str printed(struct template_run *r, const struct tval *args, size_t n)
{
    if (n == 1 && args[0].kind == TVAL_STR)
        return args[0].s;
    _cleanup_buf_ struct buf b = BUF_INIT(bound());
    template_sprint(r, args, n, false, &b);
    return template_keep(r, &b);
}

static int fn_html(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    _cleanup_buf_ struct buf b = BUF_INIT(bound());
    html_escape(&b, printed(r, args, n));
    *ret = tval_str(template_keep(r, &b));
    ret->safe = r->is_html;
    return 0;
}

static int fn_js(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    struct str s = printed(r, args, n);
    _cleanup_buf_ struct buf b = BUF_INIT(bound());
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '\\' || c == '\'' || c == '"') {
            buf_putc(&b, '\\');
            buf_putc(&b, (char)c);
        } else if (c < 0x20 || c == '<' || c == '>' || c == '&' || c == '=') {
            buf_fmt(&b, "\\u%04X", c);
        } else {
            buf_putc(&b, (char)c);
        }
    }
    *ret = tval_str(template_keep(r, &b));
    return 0;
}

static int fn_urlquery(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    _cleanup_buf_ struct buf b = BUF_INIT(bound());
    url_query_escape(&b, printed(r, args, n));
    *ret = tval_str(template_keep(r, &b));
    return 0;
}

static int fn_print(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    _cleanup_buf_ struct buf b = BUF_INIT(bound());
    template_sprint(r, args, n, false, &b);
    *ret = tval_str(template_keep(r, &b));
    return 0;
}

static int fn_println(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    _cleanup_buf_ struct buf b = BUF_INIT(bound());
    template_sprint(r, args, n, true, &b);
    *ret = tval_str(template_keep(r, &b));
    return 0;
}

static int fn_printf(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    if (args[0].kind != TVAL_STR)
        return template_fail(r, "wrong type for value; expected string; got %s", tval_type(args[0]));
    _cleanup_buf_ struct buf b = BUF_INIT(bound());
    int e = template_printf(r, args[0].s, args + 1, n - 1, &b);
    if (e)
        return e;
    *ret = tval_str(template_keep(r, &b));
    return 0;
}

static int fn_len(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    (void)n;
    struct tval v = template_view(r, args[0]);
    if (v.kind == TVAL_STR)
        *ret = tval_int((int64_t)v.s.n);
    else if (v.kind == TVAL_LIST)
        *ret = tval_int((int64_t)v.list->n);
    else if (v.kind == TVAL_MAP)
        *ret = tval_int((int64_t)v.map->n);
    else if (v.kind == TVAL_NIL)
        return template_fail(r, "len of nil pointer");
    else
        return template_fail(r, "len of type %s", tval_type(v));
    return 0;
}

static int fn_index(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    struct tval v = args[0];
    for (size_t i = 1; i < n; i++) {
        v = template_view(r, v);
        struct tval k = args[i];
        if (v.kind == TVAL_MAP) {
            if (k.kind != TVAL_STR)
                return template_fail(r, "value has type %s; should be string", tval_type(k));
            struct tval hit = v.map->strings ? tval_str(STR("")) : tval_nil();
            for (size_t lo = 0, hi = v.map->n; lo < hi;) {
                size_t mid = (lo + hi) / 2;
                int c = str_cmp(v.map->v[mid].key, k.s);
                if (c == 0) {
                    hit = v.map->v[mid].value;
                    break;
                }
                if (c < 0)
                    lo = mid + 1;
                else
                    hi = mid;
            }
            v = hit;
        } else if (v.kind == TVAL_LIST || v.kind == TVAL_STR) {
            if (k.kind != TVAL_INT)
                return template_fail(r, "cannot index slice/array with type %s", tval_type(k));
            size_t have = v.kind == TVAL_LIST ? v.list->n : v.s.n;
            if (k.i < 0 || (uint64_t)k.i >= have)
                return template_fail(r, "index out of range: %lld", (long long)k.i);
            v = v.kind == TVAL_LIST ? v.list->v[k.i] : tval_int((unsigned char)v.s.p[k.i]);
        } else if (v.kind == TVAL_NIL) {
            return template_fail(r, "index of untyped nil");
        } else {
            return template_fail(r, "can't index item of type %s", tval_type(v));
        }
    }
    *ret = v;
    return 0;
}

static int fn_slice(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    struct tval v = template_view(r, args[0]);
    if (v.kind != TVAL_STR && v.kind != TVAL_LIST)
        return v.kind == TVAL_NIL ? template_fail(r, "slice of untyped nil")
                                  : template_fail(r, "can't slice item of type %s", tval_type(v));
    if (n > 3 && v.kind == TVAL_STR)
        return template_fail(r, "cannot 3-index slice a string");
    size_t have = v.kind == TVAL_STR ? v.s.n : v.list->n, at[3] = {0, have, have};
    for (size_t i = 1; i < n; i++) {
        if (args[i].kind != TVAL_INT)
            return template_fail(r, "cannot index slice/array with type %s", tval_type(args[i]));
        if (args[i].i < 0 || (uint64_t)args[i].i > have)
            return template_fail(r, "index out of range: %lld", (long long)args[i].i);
        at[i - 1] = (size_t)args[i].i;
    }
    if (at[0] > at[1])
        return template_fail(r, "invalid slice index: %zu > %zu", at[0], at[1]);
    if (v.kind == TVAL_STR)
        *ret = tval_str(str_sub(v.s, at[0], at[1]));
    else
        *ret = tval_list_of(r->arena, v.list->v + at[0], at[1] - at[0]);
    return 0;
}

static int fn_not(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    (void)n;
    *ret = tval_bool(!tval_truth(r, args[0]));
    return 0;
}

static int fn_last(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    (void)r; /* and, or: arguments before the last were looked at while they were evaluated */
    *ret = args[n - 1];
    return 0;
}

static int fn_call(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    (void)n;
    (void)ret;
    return args[0].kind == TVAL_NIL ? template_fail(r, "call of nil")
                                    : template_fail(r, "non-function %s of type %s", "value", tval_type(args[0]));
}

/* ---- comparison ---- */

enum basic { BASIC_BOOL, BASIC_INT, BASIC_FLOAT, BASIC_STR, BASIC_TIME, BASIC_NIL, BASIC_NONE };

static enum basic basic_kind(struct tval v)
{
    switch (v.kind) {
    case TVAL_BOOL:
        return BASIC_BOOL;
    case TVAL_INT:
    case TVAL_DURATION:
        return BASIC_INT;
    case TVAL_FLOAT:
        return BASIC_FLOAT;
    case TVAL_STR:
        return BASIC_STR;
    case TVAL_TIME:
        return BASIC_TIME;
    case TVAL_NIL:
        return BASIC_NIL;
    case TVAL_LIST:
    case TVAL_MAP:
    case TVAL_OBJ:
        break;
    }
    return BASIC_NONE;
}

static int64_t int_of(struct tval v, struct tval other)
{
    /* A duration counts nanoseconds in Go, milliseconds here: plain numbers beside it are nanoseconds. */
    return v.kind == TVAL_INT && other.kind == TVAL_DURATION ? v.i / 1000000 : v.i;
}

static int equal(struct template_run *r, struct tval a, struct tval b, bool *ret)
{
    a = template_view(r, a);
    b = template_view(r, b);
    enum basic x = basic_kind(a), y = basic_kind(b);
    if (x == BASIC_NONE || y == BASIC_NONE) {
        if (x == BASIC_NIL || y == BASIC_NIL) {
            *ret = false;
            return 0;
        }
        return template_fail(r, "incompatible types for comparison");
    }
    if (x != y) {
        if (x == BASIC_NIL || y == BASIC_NIL) {
            *ret = false;
            return 0;
        }
        return template_fail(r, "incompatible types for comparison");
    }
    switch (x) {
    case BASIC_BOOL:
        *ret = a.b == b.b;
        break;
    case BASIC_INT:
    case BASIC_TIME:
        *ret = int_of(a, b) == int_of(b, a);
        break;
    case BASIC_FLOAT:
        *ret = a.f == b.f;
        break;
    case BASIC_STR:
        *ret = str_eq(a.s, b.s);
        break;
    case BASIC_NIL:
        *ret = true;
        break;
    case BASIC_NONE:
        *ret = false;
        break;
    }
    return 0;
}

static int less(struct template_run *r, struct tval a, struct tval b, bool *ret)
{
    a = template_view(r, a);
    b = template_view(r, b);
    enum basic x = basic_kind(a), y = basic_kind(b);
    if (x == BASIC_NONE || y == BASIC_NONE || x == BASIC_NIL || y == BASIC_NIL || x == BASIC_TIME)
        return template_fail(r, "invalid type for comparison");
    if (x != y)
        return template_fail(r, "incompatible types for comparison");
    switch (x) {
    case BASIC_INT:
        *ret = int_of(a, b) < int_of(b, a);
        return 0;
    case BASIC_FLOAT:
        *ret = a.f < b.f;
        return 0;
    case BASIC_STR:
        *ret = str_cmp(a.s, b.s) < 0;
        return 0;
    case BASIC_BOOL:
    case BASIC_TIME:
    case BASIC_NIL:
    case BASIC_NONE:
        break;
    }
    return template_fail(r, "invalid type for comparison");
}

static int fn_eq(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    if (n < 2)
        return template_fail(r, "missing argument for comparison");
    for (size_t i = 1; i < n; i++) {
        bool same = false;
        int e = equal(r, args[0], args[i], &same);
        if (e)
            return e;
        if (same) {
            *ret = tval_bool(true);
            return 0;
        }
    }
    *ret = tval_bool(false);
    return 0;
}

static int fn_ne(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    (void)n;
    bool same = false;
    int e = equal(r, args[0], args[1], &same);
    *ret = tval_bool(!same);
    return e;
}

static int fn_lt(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    (void)n;
    bool b = false;
    int e = less(r, args[0], args[1], &b);
    *ret = tval_bool(b);
    return e;
}

static int fn_le(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    (void)n;
    bool b = false, same = false;
    int e = less(r, args[0], args[1], &b);
    if (!e && !b)
        e = equal(r, args[0], args[1], &same);
    *ret = tval_bool(b || same);
    return e;
}

static int fn_gt(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    int e = fn_le(r, args, n, ret);
    ret->b = !ret->b;
    return e;
}

static int fn_ge(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
{
    int e = fn_lt(r, args, n, ret);
    ret->b = !ret->b;
    return e;
}

const struct template_func template_builtins[] = {
    {"and", 1, -1, fn_last},      {"or", 1, -1, fn_last},
    {"not", 1, 1, fn_not},        {"len", 1, 1, fn_len},
    {"index", 1, -1, fn_index},   {"slice", 1, 4, fn_slice},
    {"print", 0, -1, fn_print},   {"println", 0, -1, fn_println},
    {"printf", 1, -1, fn_printf}, {"html", 0, -1, fn_html},
    {"js", 0, -1, fn_js},         {"urlquery", 0, -1, fn_urlquery},
    {"call", 1, -1, fn_call},     {"eq", 1, -1, fn_eq},
    {"ne", 2, 2, fn_ne},          {"lt", 2, 2, fn_lt},
    {"le", 2, 2, fn_le},          {"gt", 2, 2, fn_gt},
    {"ge", 2, 2, fn_ge},          {0},
};

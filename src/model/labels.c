// SPDX-License-Identifier: Apache-2.0
#include "model/labels.h"

#include "base/hash.h"
#include "base/utf8.h"

struct str labels_get(struct labels l, struct str name)
{
    for (size_t i = 0; i < l.n; i++)
        if (str_eq(l.v[i].name, name))
            return l.v[i].value;
    return STR("");
}

bool labels_has(struct labels l, struct str name)
{
    for (size_t i = 0; i < l.n; i++)
        if (str_eq(l.v[i].name, name))
            return true;
    return false;
}

int labels_cmp(struct labels a, struct labels b)
{
    size_t n = MIN(a.n, b.n);
    for (size_t i = 0; i < n; i++) {
        int c = str_cmp(a.v[i].name, b.v[i].name);
        if (c == 0)
            c = str_cmp(a.v[i].value, b.v[i].value);
        if (c)
            return c;
    }
    return (a.n > b.n) - (a.n < b.n);
}

bool labels_equal(struct labels a, struct labels b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (!str_eq(a.v[i].name, b.v[i].name) || !str_eq(a.v[i].value, b.v[i].value))
            return false;
    return true;
}

/* A chain over the hashes of the strings: independent of where they lie, and ab|c differs from a|bc. */
static uint64_t chain(uint64_t h, struct str s)
{
    return hash_mix(h ^ hash_bytes(s.p, s.n)) + 0x9e3779b97f4a7c15ULL;
}

uint64_t labels_hash(struct labels l)
{
    uint64_t h = l.n;
    for (size_t i = 0; i < l.n; i++)
        h = chain(chain(h, l.v[i].name), l.v[i].value);
    return h;
}

uint64_t labels_hash_by(struct labels l, const struct str *names, size_t n, bool without)
{
    uint64_t h = 0;
    size_t k = 0;
    for (size_t i = 0; i < l.n; i++) {
        while (k < n && str_cmp(names[k], l.v[i].name) < 0)
            k++;
        bool named = k < n && str_eq(names[k], l.v[i].name);
        if (without ? named || str_eq(l.v[i].name, STR(LABEL_NAME)) : !named)
            continue;
        h = chain(chain(h, l.v[i].name), l.v[i].value);
    }
    return h;
}

struct labels labels_copy(struct arena *a, struct labels l)
{
    struct label *v = ARENA_ARRAY(a, struct label, l.n);
    for (size_t i = 0; i < l.n; i++)
        v[i] = (struct label){.name = arena_str(a, l.v[i].name), .value = arena_str(a, l.v[i].value)};
    return (struct labels){.v = v, .n = l.n};
}

bool label_name_legacy(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (i && c >= '0' && c <= '9')))
            return false;
    }
    return s.n > 0;
}

bool metric_name_legacy(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' || (i && c >= '0' && c <= '9')))
            return false;
    }
    return s.n > 0;
}

/* As Go's strconv.Quote for what label values hold. */
static void quote(struct buf *b, struct str s)
{
    buf_putc(b, '"');
    while (s.n) {
        unsigned char c = (unsigned char)s.p[0];
        uint32_t cp = 0;
        size_t len = utf8_decode(s, &cp);
        if (c == '"' || c == '\\') {
            buf_putc(b, '\\');
            buf_putc(b, (char)c);
        } else if (c == '\n') {
            buf_z(b, "\\n");
        } else if (c == '\t') {
            buf_z(b, "\\t");
        } else if (c == '\r') {
            buf_z(b, "\\r");
        } else if (len == 0 || c < 0x20 || c == 0x7f) {
            buf_fmt(b, "\\x%02x", c);
        } else {
            buf_put(b, s.p, len);
        }
        s = str_sub(s, len ? len : 1, s.n);
    }
    buf_putc(b, '"');
}

static void put_name(struct buf *b, struct str name)
{
    if (label_name_legacy(name))
        buf_str(b, name);
    else
        quote(b, name);
}

void labels_format(struct buf *b, struct labels l)
{
    buf_putc(b, '{');
    for (size_t i = 0; i < l.n; i++) {
        if (i)
            buf_z(b, ", ");
        put_name(b, l.v[i].name);
        buf_putc(b, '=');
        quote(b, l.v[i].value);
    }
    buf_putc(b, '}');
}

void labels_format_metric(struct buf *b, struct labels l)
{
    struct str metric = labels_get(l, STR(LABEL_NAME));
    bool bare = metric_name_legacy(metric);
    if (bare)
        buf_str(b, metric);
    if (l.n == (bare ? 1U : 0U)) {
        if (!bare)
            buf_z(b, "{}");
        return;
    }
    buf_putc(b, '{');
    bool first = true;
    if (!bare && metric.n) {
        quote(b, metric);
        first = false;
    }
    for (size_t i = 0; i < l.n; i++) {
        if (str_eq(l.v[i].name, STR(LABEL_NAME)))
            continue;
        if (!first)
            buf_z(b, ", ");
        first = false;
        put_name(b, l.v[i].name);
        buf_putc(b, '=');
        quote(b, l.v[i].value);
    }
    buf_putc(b, '}');
}

void labels_json(struct jw *w, struct labels l)
{
    jw_obj(w);
    for (size_t i = 0; i < l.n; i++) {
        jw_key_str(w, l.v[i].name);
        jw_str(w, l.v[i].value);
    }
    jw_end(w);
}

uint64_t labels_fingerprint(struct labels l)
{
    uint64_t h = 14695981039346656037ULL;
    for (size_t i = 0; i < l.n; i++) {
        const struct str parts[] = {l.v[i].name, l.v[i].value};
        for (size_t k = 0; k < 2; k++) {
            for (size_t j = 0; j < parts[k].n; j++)
                h = (h ^ (unsigned char)parts[k].p[j]) * 1099511628211ULL;
            h = (h ^ 0xff) * 1099511628211ULL;
        }
    }
    return h;
}

void lb_init(struct labels_builder *b, struct labels base)
{
    vec_reset(&b->v);
    vec_reserve(&b->v, base.n + 4);
    for (size_t i = 0; i < base.n; i++)
        b->v.v[b->v.n++] = base.v[i];
}

static struct label *lb_find(const struct labels_builder *b, struct str name)
{
    for (size_t i = 0; i < b->v.n; i++)
        if (str_eq(b->v.v[i].name, name))
            return &b->v.v[i];
    return NULL;
}

void lb_set(struct labels_builder *b, struct str name, struct str value)
{
    struct label *l = lb_find(b, name);
    if (l)
        l->value = value;
    else if (value.n)
        vec_push(&b->v, (struct label){.name = name, .value = value});
}

void lb_del(struct labels_builder *b, struct str name)
{
    lb_set(b, name, STR(""));
}

struct str lb_get(const struct labels_builder *b, struct str name)
{
    const struct label *l = lb_find(b, name);
    return l ? l->value : STR("");
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct label *)x)->name, ((const struct label *)y)->name);
}

struct labels lb_labels(struct labels_builder *b, struct arena *a)
{
    struct label *v = ARENA_ARRAY(a, struct label, b->v.n);
    size_t n = 0;
    for (size_t i = 0; i < b->v.n; i++)
        if (b->v.v[i].value.n)
            v[n++] = b->v.v[i];
    if (n > 1)
        qsort(v, n, sizeof(*v), by_name);
    return (struct labels){.v = v, .n = n};
}

void lb_done(struct labels_builder *b)
{
    vec_done(&b->v);
}

/* --- reading name{a="b"} --- */

struct cursor {
    struct str s;
    size_t at;
    struct arena *a;
    struct err *e;
};

static int bad(struct cursor *c, const char *want)
{
    err_set(c->e, "1:%zu: expected %s", c->at + 1, want);
    return -EINVAL;
}

static void blanks(struct cursor *c)
{
    while (c->at < c->s.n && (c->s.p[c->at] == ' ' || c->s.p[c->at] == '\t'))
        c->at++;
}

static bool take(struct cursor *c, char ch)
{
    blanks(c);
    if (c->at >= c->s.n || c->s.p[c->at] != ch)
        return false;
    c->at++;
    return true;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static int read_string(struct cursor *c, struct str *ret)
{
    blanks(c);
    char q = c->at < c->s.n ? c->s.p[c->at] : 0;
    if (q != '"' && q != '\'' && q != '`')
        return bad(c, "a quoted string");
    c->at++;
    _cleanup_buf_ struct buf b = BUF_INIT(c->s.n * 4 + 8);
    for (;; c->at++) {
        if (c->at >= c->s.n)
            return bad(c, "the closing quote");
        char ch = c->s.p[c->at];
        if (ch == q)
            break;
        if (ch != '\\' || q == '`') {
            buf_putc(&b, ch);
            continue;
        }
        if (++c->at >= c->s.n)
            return bad(c, "an escape");
        ch = c->s.p[c->at];
        static const char from[] = "abfnrtv\\\"'", to[] = "\a\b\f\n\r\t\v\\\"'";
        const char *known = ch ? strchr(from, ch) : NULL;
        size_t want = ch == 'x' ? 2 : ch == 'u' ? 4 : ch == 'U' ? 8 : 0;
        if (known) {
            buf_putc(&b, to[known - from]);
            continue;
        }
        if (!want || c->at + want >= c->s.n)
            return bad(c, "a known escape");
        uint32_t cp = 0;
        for (size_t i = 1; i <= want; i++) {
            int d = hex_value(c->s.p[c->at + i]);
            if (d < 0)
                return bad(c, "a hexadecimal digit");
            cp = cp << 4 | (uint32_t)d;
        }
        c->at += want;
        char out[4];
        size_t len = ch == 'x' ? 0 : utf8_encode(cp, out);
        if (ch == 'x')
            buf_putc(&b, (char)cp);
        else if (len)
            buf_put(&b, out, len);
        else
            return bad(c, "a Unicode code point");
    }
    c->at++;
    *ret = arena_str(c->a, buf_view(&b));
    return utf8_valid(*ret) ? 0 : bad(c, "valid UTF-8");
}

static struct str read_word(struct cursor *c, bool metric)
{
    blanks(c);
    size_t from = c->at;
    while (c->at < c->s.n) {
        struct str w = str_sub(c->s, from, c->at + 1);
        if (!(metric ? metric_name_legacy(w) : label_name_legacy(w)))
            break;
        c->at++;
    }
    return str_sub(c->s, from, c->at);
}

int labels_parse(struct str text, struct arena *a, struct labels *ret, struct err *e)
{
    struct cursor c = {.s = text, .a = a, .e = e};
    struct labels_builder b = {0};
    int r = 0;
    struct str metric = read_word(&c, true);
    lb_set(&b, STR(LABEL_NAME), metric);
    if (take(&c, '{')) {
        while (r == 0 && !take(&c, '}')) {
            struct str name, value;
            bool quoted = c.at < c.s.n && (c.s.p[c.at] == '"' || c.s.p[c.at] == '\'' || c.s.p[c.at] == '`');
            if (quoted) {
                r = read_string(&c, &name);
                blanks(&c);
                if (r == 0 && c.at < c.s.n && c.s.p[c.at] != '=') { /* {"metric name", ...} */
                    if (lb_get(&b, STR(LABEL_NAME)).n)
                        r = bad(&c, "one metric name");
                    lb_set(&b, STR(LABEL_NAME), name);
                    goto next;
                }
            } else {
                name = read_word(&c, false);
                if (!name.n)
                    r = bad(&c, "a label name");
            }
            if (r == 0 && !take(&c, '='))
                r = bad(&c, "=");
            if (r == 0)
                r = read_string(&c, &value);
            if (r == 0)
                lb_set(&b, name, value);
        next:
            blanks(&c);
            if (r == 0 && !take(&c, ',') && (c.at >= c.s.n || c.s.p[c.at] != '}'))
                r = bad(&c, "\",\" or \"}\"");
            blanks(&c);
        }
    }
    blanks(&c);
    if (r == 0 && c.at != c.s.n)
        r = bad(&c, "the end");
    if (r == 0) {
        struct labels l = lb_labels(&b, a);
        *ret = labels_copy(a, l);
    }
    lb_done(&b);
    return r;
}

// SPDX-License-Identifier: Apache-2.0
#include "codec/json.h"

#include "base/utf8.h"
#include "codec/f64.h"
#include <math.h>

#define WRITER_DEPTH 64

void jw_init(struct jw *w, struct buf *b)
{
    *w = (struct jw){.b = b};
}

static uint64_t bit(const struct jw *w)
{
    return 1ULL << w->depth;
}

/* Comma handling before any value. */
static void before_value(struct jw *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->depth == 0)
        return;
    ASSERT(!(w->in_object & bit(w)));
    if (w->has_item & bit(w))
        buf_putc(w->b, ',');
    w->has_item |= bit(w);
}

static void open_level(struct jw *w, bool object)
{
    before_value(w);
    ASSERT(w->depth + 1 < WRITER_DEPTH);
    w->depth++;
    w->has_item &= ~bit(w);
    w->in_object = object ? w->in_object | bit(w) : w->in_object & ~bit(w);
    buf_putc(w->b, object ? '{' : '[');
}

void jw_obj(struct jw *w)
{
    open_level(w, true);
}

void jw_arr(struct jw *w)
{
    open_level(w, false);
}

void jw_end(struct jw *w)
{
    ASSERT(w->depth > 0 && !w->after_key);
    buf_putc(w->b, w->in_object & bit(w) ? '}' : ']');
    w->depth--;
}

static size_t plain_prefix(struct str s)
{
    size_t i = 0;
    for (; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&')
            break;
    }
    return i;
}

void json_escape(struct buf *b, struct str s)
{
    while (s.n) {
        size_t n = plain_prefix(s);
        buf_put(b, s.p, n);
        s = str_sub(s, n, s.n);
        if (s.n == 0)
            return;
        unsigned char c = (unsigned char)s.p[0];
        uint32_t cp;
        size_t len = utf8_decode(s, &cp);
        if (c == '"' || c == '\\') {
            buf_putc(b, '\\');
            buf_putc(b, (char)c);
        } else if (c == '\n') {
            buf_z(b, "\\n");
        } else if (c == '\r') {
            buf_z(b, "\\r");
        } else if (c == '\t') {
            buf_z(b, "\\t");
        } else if (len == 0) {
            buf_z(b, "\\ufffd");
            len = 1;
        } else if (c < 0x20 || c == '<' || c == '>' || c == '&' || c == 0x7f || cp == 0x2028 || cp == 0x2029) {
            buf_fmt(b, "\\u%04x", cp);
        } else {
            buf_put(b, s.p, len);
        }
        s = str_sub(s, len, s.n);
    }
}

void jw_key_str(struct jw *w, struct str k)
{
    ASSERT(w->depth && (w->in_object & bit(w)) && !w->after_key);
    if (w->has_item & bit(w))
        buf_putc(w->b, ',');
    w->has_item |= bit(w);
    buf_putc(w->b, '"');
    json_escape(w->b, k);
    buf_put(w->b, "\":", 2);
    w->after_key = true;
}

void jw_key(struct jw *w, const char *z)
{
    jw_key_str(w, str_of(z));
}

void jw_str(struct jw *w, struct str s)
{
    before_value(w);
    buf_putc(w->b, '"');
    json_escape(w->b, s);
    buf_putc(w->b, '"');
}

void jw_z(struct jw *w, const char *z)
{
    jw_str(w, str_of(z));
}

void jw_i64(struct jw *w, int64_t v)
{
    before_value(w);
    buf_i64(w->b, v);
}

void jw_u64(struct jw *w, uint64_t v)
{
    before_value(w);
    buf_u64(w->b, v);
}

void jw_f64(struct jw *w, double v)
{
    before_value(w);
    if (isfinite(v))
        f64_put_json(w->b, v);
    else
        buf_z(w->b, "null");
}

void jw_bool(struct jw *w, bool v)
{
    before_value(w);
    buf_z(w->b, v ? "true" : "false");
}

void jw_null(struct jw *w)
{
    before_value(w);
    buf_z(w->b, "null");
}

void jw_raw(struct jw *w, struct str json)
{
    before_value(w);
    buf_str(w->b, json);
}

void jw_kstr(struct jw *w, const char *k, struct str s)
{
    jw_key(w, k);
    jw_str(w, s);
}

void jw_kz(struct jw *w, const char *k, const char *z)
{
    jw_key(w, k);
    jw_z(w, z);
}

void jw_ki64(struct jw *w, const char *k, int64_t v)
{
    jw_key(w, k);
    jw_i64(w, v);
}

void jw_kf64(struct jw *w, const char *k, double v)
{
    jw_key(w, k);
    jw_f64(w, v);
}

void jw_kbool(struct jw *w, const char *k, bool v)
{
    jw_key(w, k);
    jw_bool(w, v);
}

// SPDX-License-Identifier: Apache-2.0
/* What Prometheus' routes share: the envelope, arguments, selectors. Source: Prometheus 3.x docs/querying/api.md. */
#include "api/api_int.h"

#include "base/parse.h"
#include "base/utf8.h"
#include "codec/f64.h"
#include <math.h>

static const struct {
    const char *type;
    int status;
} error_types[] = {{"bad_data", 400}, {"execution", 422}, {"canceled", 499},    {"timeout", 503},
                   {"internal", 500}, {"not_found", 404}, {"unavailable", 500}, {"not_acceptable", 406}};

void prom_fail(struct http_req *r, const char *type, const char *fmt, ...)
{
    int status = 500;
    for (size_t i = 0; i < ARRAY_LEN(error_types); i++)
        if (strcmp(type, error_types[i].type) == 0)
            status = error_types[i].status;
    _cleanup_buf_ struct buf text = BUF_INIT(64 << 10);
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(&text, fmt, ap);
    va_end(ap);
    struct jw w;
    jw_init(&w, http_out(r));
    jw_obj(&w);
    jw_kz(&w, "status", "error");
    jw_kz(&w, "errorType", type);
    jw_kstr(&w, "error", buf_view(&text));
    jw_end(&w);
    http_reply(r, status, "application/json");
}

void prom_begin(struct http_req *r, struct jw *w)
{
    jw_init(w, http_out(r));
    jw_obj(w);
    jw_kz(w, "status", "success");
    jw_key(w, "data");
}

void prom_end(struct http_req *r, struct jw *w)
{
    jw_end(w);
    if (buf_error(w->b)) {
        buf_reset(w->b);
        prom_fail(r, "execution", "the answer is larger than allowed (limit http_answer_bytes): narrow the question");
        return;
    }
    http_reply(r, 200, "application/json");
}

static bool parse_time(struct str s, int64_t *ret)
{
    double v;
    if (f64_parse(s, &v)) {
        if (!isfinite(v) || fabs(v) > 9.2e15)
            return false;
        *ret = (int64_t)floor(v * 1000 + 0.5);
        return true;
    }
    return parse_rfc3339_ms(s, ret);
}

bool prom_time(struct http_req *r, const char *name, int64_t dflt_ms, int64_t *ret_ms)
{
    struct str s = http_arg(r, name);
    if (!s.n) {
        *ret_ms = dflt_ms;
        return true;
    }
    if (parse_time(s, ret_ms))
        return true;
    /* Go's extreme times, which clients send for "ever". */
    if (str_starts(s, STR("-292273086-")) || str_starts(s, STR("+292277025-"))) {
        *ret_ms = s.p[0] == '-' ? PROM_MIN_MS : PROM_MAX_MS;
        return true;
    }
    prom_fail(r, "bad_data", "invalid parameter \"%s\": cannot parse \"" STR_FMT "\" to a valid timestamp", name,
              STR_ARG(s));
    return false;
}

bool prom_duration(struct http_req *r, const char *name, int64_t dflt_ms, int64_t *ret_ms)
{
    struct str s = http_arg(r, name);
    double v;
    if (!s.n) {
        *ret_ms = dflt_ms;
        return true;
    }
    if (f64_parse(s, &v) && isfinite(v) && fabs(v) < 9e12) {
        *ret_ms = (int64_t)(v * 1000);
        return true;
    }
    if (parse_duration_ms(s, ret_ms))
        return true;
    prom_fail(r, "bad_data", "invalid parameter \"%s\": cannot parse \"" STR_FMT "\" to a valid duration", name,
              STR_ARG(s));
    return false;
}

bool prom_limit(struct http_req *r, const char *name, size_t *ret)
{
    struct str s = http_arg(r, name);
    uint64_t v = 0;
    if (s.n && !parse_u64(s, &v)) {
        prom_fail(r, "bad_data", "invalid parameter \"%s\": limit must be a non-negative number, found \"" STR_FMT "\"",
                  name, STR_ARG(s));
        return false;
    }
    *ret = v;
    return true;
}

bool prom_matchers(struct http_req *r, bool required, struct prom_sets *ret)
{
    const struct str *v;
    size_t n = http_args(r, "match[]", &v);
    *ret = (struct prom_sets){0};
    if (!n) {
        if (required)
            prom_fail(r, "bad_data", "no match[] parameter provided");
        return !required;
    }
    struct arena *a = http_arena(r);
    ret->parsed = ARENA_ARRAY(a, struct promql *, n);
    ret->m = ARENA_ARRAY(a, const struct matcher *, n);
    ret->n_m = ARENA_ARRAY(a, size_t, n);
    for (size_t i = 0; i < n; i++) {
        struct err e = {0};
        if (promql_parse_selector(v[i], &ret->parsed[i], &ret->m[i], &ret->n_m[i], &e)) {
            prom_sets_done(ret);
            prom_fail(r, "bad_data", "invalid parameter \"match[]\": %s", e.msg);
            return false;
        }
        ret->n++;
    }
    return true;
}

void prom_sets_done(struct prom_sets *s)
{
    for (size_t i = 0; i < s->n; i++)
        promql_free(s->parsed[i]);
    s->n = 0;
}

void prom_put_time(struct buf *b, int64_t ms)
{
    if (ms < 0) {
        buf_putc(b, '-');
        ms = -ms;
    }
    buf_u64(b, (uint64_t)(ms / 1000));
    unsigned frac = (unsigned)(ms % 1000);
    if (!frac)
        return;
    char digits[4] = {'.', (char)('0' + frac / 100), (char)('0' + frac / 10 % 10), (char)('0' + frac % 10)};
    buf_put(b, digits, frac % 10 ? 4 : frac / 10 % 10 ? 3 : 2);
}

bool prom_unescape(struct arena *a, struct str in, struct str *ret)
{
    if (!str_starts(in, STR("U__"))) {
        *ret = in;
        return true;
    }
    _cleanup_buf_ struct buf b = BUF_INIT(in.n * 4 + 8);
    for (size_t i = 3; i < in.n; i++) {
        if (in.p[i] != '_') {
            buf_putc(&b, in.p[i]);
            continue;
        }
        if (i + 1 < in.n && in.p[i + 1] == '_') {
            buf_putc(&b, '_');
            i++;
            continue;
        }
        uint32_t cp = 0;
        size_t k = i + 1;
        for (; k < in.n && in.p[k] != '_' && k - i <= 6; k++) {
            char c = in.p[k];
            int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
            if (d < 0)
                return false;
            cp = cp << 4 | (uint32_t)d;
        }
        char out[4];
        size_t len = utf8_encode(cp, out);
        if (k >= in.n || in.p[k] != '_' || k == i + 1 || !len)
            return false;
        buf_put(&b, out, len);
        i = k;
    }
    *ret = arena_str(a, buf_view(&b));
    return true;
}

// SPDX-License-Identifier: Apache-2.0
/* The functions that Prometheus and Alertmanager add to Go's. Where both have one of the same name, one entry serves
 * both. */
#include "template/template_int.h"
#include "base/format.h"
#include "base/limits.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "codec/f64.h"
#include "codec/json.h"
#include "codec/regex.h"
#include "template/time_int.h"
#include <math.h>

#define FN(name) static int name(struct template_run *r, const struct tval *args, size_t n, struct tval *ret)
#define OUT_BUF BUF_INIT((size_t)limit(template_output_bytes))

static int want_str(struct template_run *r, struct tval v, struct str *ret)
{
    v = template_view(r, v);
    if (v.kind != TVAL_STR)
        return template_fail(r, "wrong type for value; expected string; got %s", tval_type(v));
    *ret = v.s;
    return 0;
}

static int want_number(struct template_run *r, struct tval v, double *ret)
{
    v = template_view(r, v);
    if (tval_number(v, ret))
        return 0;
    if (v.kind == TVAL_STR)
        return template_fail(r, "strconv.ParseFloat: parsing \"" STR_FMT "\": invalid syntax", STR_ARG(v.s));
    return template_fail(r, "can't convert %s to float", tval_type(v));
}

static int keep(struct template_run *r, struct buf *b, struct tval *ret)
{
    if (buf_error(b))
        return template_fail(r, "result is longer than %lld bytes", (long long)limit(template_output_bytes));
    *ret = tval_str(template_keep(r, b));
    return 0;
}

/* ---- text ---- */

/* Letters of Latin-1, Latin Extended-A, Greek and Cyrillic: what names of services and people here use. */
static uint32_t map_case(uint32_t c, bool upper)
{
    if (upper) {
        if (c >= 'a' && c <= 'z')
            return c - 32;
        if ((c >= 0xe0 && c <= 0xfe && c != 0xf7) || (c >= 0x3b1 && c <= 0x3c9 && c != 0x3c2) ||
            (c >= 0x430 && c <= 0x44f))
            return c - 32;
        if (c == 0xff)
            return 0x178;
        if (c >= 0x450 && c <= 0x45f)
            return c - 80;
        if (((c >= 0x100 && c <= 0x137) || (c >= 0x14a && c <= 0x177)) && (c & 1))
            return c - 1;
        if (((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e)) && !(c & 1))
            return c - 1;
    } else {
        if (c >= 'A' && c <= 'Z')
            return c + 32;
        if ((c >= 0xc0 && c <= 0xde && c != 0xd7) || (c >= 0x391 && c <= 0x3a9 && c != 0x3a2) ||
            (c >= 0x410 && c <= 0x42f))
            return c + 32;
        if (c >= 0x400 && c <= 0x40f)
            return c + 80;
        if (c == 0x178)
            return 0xff;
        if (((c >= 0x100 && c <= 0x137) || (c >= 0x14a && c <= 0x177)) && !(c & 1))
            return c + 1;
        if (((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e)) && (c & 1))
            return c + 1;
    }
    return c;
}

enum casing { CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_TITLE_LOWER };

static int change_case(struct template_run *r, const struct tval *args, struct tval *ret, enum casing how)
{
    struct str s = STR_NULL;
    if (want_str(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    _cleanup_buf_ struct buf b = OUT_BUF;
    bool in_word = false;
    for (size_t i = 0; i < s.n;) {
        uint32_t c;
        size_t k = utf8_decode(str_sub(s, i, s.n), &c);
        if (!k) {
            buf_putc(&b, s.p[i++]);
            continue;
        }
        bool letter = c >= 0x80 ? c > 0xbf : c == '_' || c == '\'' || (c >= '0' && c <= '9') || (c | 0x20) - 'a' < 26u;
        if (how == CASE_TITLE && c == '\'')
            letter = false;
        uint32_t out = c;
        if (how == CASE_UPPER || (how >= CASE_TITLE && !in_word))
            out = map_case(c, true);
        else if (how == CASE_LOWER || how == CASE_TITLE_LOWER)
            out = map_case(c, false);
        in_word = letter;
        char enc[4];
        buf_put(&b, enc, utf8_encode(out, enc));
        i += k;
    }
    return keep(r, &b, ret);
}

FN(fn_to_upper)
{
    (void)n;
    return change_case(r, args, ret, CASE_UPPER);
}

FN(fn_to_lower)
{
    (void)n;
    return change_case(r, args, ret, CASE_LOWER);
}

FN(fn_title)
{
    (void)n;
    return change_case(r, args, ret, CASE_TITLE);
}

FN(fn_title_lower)
{
    (void)n;
    return change_case(r, args, ret, CASE_TITLE_LOWER);
}

FN(fn_trim_space)
{
    (void)n;
    struct str s = STR_NULL;
    if (want_str(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    *ret = tval_str(str_trim(s));
    return 0;
}

FN(fn_match)
{
    (void)n;
    struct str pattern = STR_NULL, text = STR_NULL;
    struct regex *re = NULL;
    struct err e = {0};
    if (want_str(r, args[0], &pattern) || want_str(r, args[1], &text))
        return TEMPLATE_E_FAIL;
    if (regex_new(pattern, 0, &re, &e))
        return template_fail(r, "error parsing regexp: %s", e.msg);
    *ret = tval_bool(regex_match(re, text));
    regex_free(re);
    return template_step(r, 1 + text.n / 64);
}

FN(fn_re_replace_all)
{
    (void)n;
    struct str pattern = STR_NULL, with = STR_NULL, text = STR_NULL;
    struct regex *re = NULL;
    struct err e = {0};
    if (want_str(r, args[0], &pattern) || want_str(r, args[1], &with) || want_str(r, args[2], &text))
        return TEMPLATE_E_FAIL;
    if (regex_new(pattern, 0, &re, &e))
        return template_fail(r, "error parsing regexp: %s", e.msg);
    _cleanup_buf_ struct buf b = OUT_BUF;
    regex_replace_all(re, text, with, &b);
    regex_free(re);
    if (template_step(r, 1 + text.n / 64))
        return TEMPLATE_E_FAIL;
    return keep(r, &b, ret);
}

FN(fn_safe_html)
{
    (void)n;
    struct str s = STR_NULL;
    if (want_str(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    *ret = tval_str(s);
    ret->safe = true;
    return 0;
}

FN(fn_safe_url)
{
    (void)n;
    struct str s = STR_NULL;
    if (want_str(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    *ret = tval_str(s);
    ret->url = true;
    return 0;
}

FN(fn_url_query_escape)
{
    (void)n;
    struct str s = STR_NULL;
    if (want_str(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    _cleanup_buf_ struct buf b = OUT_BUF;
    url_query_escape(&b, s);
    return keep(r, &b, ret);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

FN(fn_url_unescape)
{
    (void)n;
    struct str s = STR_NULL;
    if (want_str(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    _cleanup_buf_ struct buf b = OUT_BUF;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '%') {
            int hi = i + 1 < s.n ? hex_digit(s.p[i + 1]) : -1, lo = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return template_fail(r, "invalid URL escape \"" STR_FMT "\"", STR_ARG(str_sub(s, i, i + 3)));
            buf_putc(&b, (char)(hi * 16 + lo));
            i += 2;
        } else {
            buf_putc(&b, s.p[i] == '+' ? ' ' : s.p[i]);
        }
    }
    return keep(r, &b, ret);
}

FN(fn_strip_port)
{
    (void)n;
    struct str s = STR_NULL;
    if (want_str(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    ptrdiff_t colon = str_rchr(s, ':');
    struct str host = s;
    if (s.n && s.p[0] == '[') {
        ptrdiff_t close = str_chr(s, ']');
        if (close > 0 && (colon == close + 1))
            host = str_sub(s, 1, (size_t)close);
    } else if (colon >= 0 && str_chr(s, ':') == colon) {
        host = str_sub(s, 0, (size_t)colon);
    }
    *ret = tval_str(host);
    return 0;
}

FN(fn_strip_domain)
{
    (void)n;
    struct str s = STR_NULL;
    if (want_str(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    ptrdiff_t colon = str_rchr(s, ':');
    struct str host = colon >= 0 && str_chr(s, ':') == colon ? str_sub(s, 0, (size_t)colon) : s;
    struct str port = host.n < s.n ? str_sub(s, host.n, s.n) : STR_NULL;
    bool address = host.n && (host.p[0] == '[' || str_chr(host, ':') >= 0);
    if (!address) {
        address = host.n > 0;
        for (size_t i = 0; i < host.n && address; i++)
            address = (host.p[i] >= '0' && host.p[i] <= '9') || host.p[i] == '.';
    }
    if (!address) {
        ptrdiff_t dot = str_chr(host, '.');
        if (dot >= 0)
            host = str_sub(host, 0, (size_t)dot);
    }
    _cleanup_buf_ struct buf b = OUT_BUF;
    buf_str(&b, host);
    buf_str(&b, port);
    return keep(r, &b, ret);
}

FN(fn_join)
{
    (void)n;
    struct str sep = STR_NULL;
    if (want_str(r, args[0], &sep))
        return TEMPLATE_E_FAIL;
    struct tval v = template_view(r, args[1]);
    if (v.kind != TVAL_LIST)
        return template_fail(r, "wrong type for value; expected []string; got %s", tval_type(v));
    _cleanup_buf_ struct buf b = OUT_BUF;
    for (size_t i = 0; i < v.list->n; i++) {
        if (i)
            buf_str(&b, sep);
        tval_print(r, &b, v.list->v[i]);
    }
    return keep(r, &b, ret);
}

static const char b64_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

FN(fn_base64encode)
{
    (void)n;
    struct str s = STR_NULL;
    if (want_str(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    _cleanup_buf_ struct buf b = OUT_BUF;
    for (size_t i = 0; i < s.n; i += 3) {
        size_t k = MIN(s.n - i, 3);
        uint32_t v = 0;
        for (size_t q = 0; q < 3; q++)
            v = v << 8 | (q < k ? (unsigned char)s.p[i + q] : 0);
        for (size_t q = 0; q < 4; q++)
            buf_putc(&b, q <= k ? b64_std[v >> (18 - 6 * q) & 63] : '=');
    }
    return keep(r, &b, ret);
}

FN(fn_base64decode)
{
    (void)n;
    struct str s = STR_NULL;
    if (want_str(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    _cleanup_buf_ struct buf b = OUT_BUF;
    uint32_t acc = 0;
    unsigned bits = 0;
    size_t i = 0;
    for (; i < s.n && s.p[i] != '='; i++) {
        const char *hit = memchr(b64_std, s.p[i], 64);
        if (!hit)
            return template_fail(r, "illegal base64 data at input byte %zu", i);
        acc = acc << 6 | (uint32_t)(hit - b64_std);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buf_putc(&b, (char)(acc >> bits & 0xff));
        }
    }
    size_t padding = s.n - i;
    for (size_t k = i; k < s.n; k++)
        if (s.p[k] != '=')
            return template_fail(r, "illegal base64 data at input byte %zu", k);
    if (s.n % 4 || padding > 2)
        return template_fail(r, "illegal base64 data at input byte %zu", s.n);
    return keep(r, &b, ret);
}

/* ---- numbers and times ---- */

FN(fn_humanize)
{
    (void)n;
    double v = 0;
    if (want_number(r, args[0], &v))
        return TEMPLATE_E_FAIL;
    _cleanup_buf_ struct buf b = OUT_BUF;
    humanize(&b, v);
    return keep(r, &b, ret);
}

FN(fn_humanize1024)
{
    (void)n;
    double v = 0;
    if (want_number(r, args[0], &v))
        return TEMPLATE_E_FAIL;
    _cleanup_buf_ struct buf b = OUT_BUF;
    humanize_1024(&b, v);
    return keep(r, &b, ret);
}

FN(fn_humanize_duration)
{
    (void)n;
    double v = 0;
    if (want_number(r, args[0], &v))
        return TEMPLATE_E_FAIL;
    _cleanup_buf_ struct buf b = OUT_BUF;
    humanize_duration(&b, v);
    return keep(r, &b, ret);
}

FN(fn_humanize_percentage)
{
    (void)n;
    double v = 0;
    if (want_number(r, args[0], &v))
        return TEMPLATE_E_FAIL;
    _cleanup_buf_ struct buf b = OUT_BUF;
    if (isnan(v) || isinf(v))
        buf_z(&b, isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
    else
        buf_fmt(&b, "%.4g", v * 100);
    buf_putc(&b, '%');
    return keep(r, &b, ret);
}

static int seconds_to_ms(struct template_run *r, double v, int64_t *ret)
{
    if (isnan(v) || isinf(v) || fabs(v) > 9.2e15)
        return template_fail(r, "%g cannot be represented as a timestamp without overflow", v);
    *ret = (int64_t)floor(v * 1000 + 0.5);
    return 0;
}

FN(fn_humanize_timestamp)
{
    (void)n;
    double v = 0;
    int64_t ms = 0;
    if (want_number(r, args[0], &v))
        return TEMPLATE_E_FAIL;
    if (isnan(v) || isinf(v)) {
        *ret = tval_z(isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
        return 0;
    }
    if (seconds_to_ms(r, v, &ms))
        return TEMPLATE_E_FAIL;
    _cleanup_buf_ struct buf b = OUT_BUF;
    tval_print(r, &b, tval_time(ms));
    return keep(r, &b, ret);
}

FN(fn_to_time)
{
    (void)n;
    double v = 0;
    int64_t ms = 0;
    if (want_number(r, args[0], &v) || seconds_to_ms(r, v, &ms))
        return TEMPLATE_E_FAIL;
    *ret = tval_time(ms);
    return 0;
}

FN(fn_to_duration)
{
    (void)n;
    double v = 0;
    int64_t ms = 0;
    if (want_number(r, args[0], &v) || seconds_to_ms(r, v, &ms))
        return TEMPLATE_E_FAIL;
    *ret = tval_duration(ms);
    return 0;
}

static int64_t now_ms(struct template_run *r)
{
    const struct template_prom *p = template_host(r);
    return p ? p->now_ms : 0;
}

FN(fn_now_seconds)
{
    (void)n;
    (void)args;
    *ret = tval_f64((double)now_ms(r) / 1000);
    return 0;
}

FN(fn_now_time)
{
    (void)n;
    (void)args;
    *ret = tval_time(now_ms(r));
    return 0;
}

FN(fn_since)
{
    (void)n;
    if (args[0].kind != TVAL_TIME)
        return template_fail(r, "wrong type for value; expected time.Time; got %s", tval_type(args[0]));
    *ret = tval_duration(now_ms(r) - args[0].i);
    return 0;
}

FN(fn_date)
{
    (void)n;
    struct str layout = STR_NULL;
    if (want_str(r, args[0], &layout))
        return TEMPLATE_E_FAIL;
    if (args[1].kind != TVAL_TIME)
        return template_fail(r, "wrong type for value; expected time.Time; got %s", tval_type(args[1]));
    int32_t off = 0;
    struct str abbrev = STR("UTC");
    template_zone_at(args[1], &off, &abbrev);
    _cleanup_buf_ struct buf b = OUT_BUF;
    time_format_go(&b, args[1].i, layout, off, abbrev);
    return keep(r, &b, ret);
}

FN(fn_tz)
{
    (void)n;
    struct str name = STR_NULL;
    if (want_str(r, args[0], &name))
        return TEMPLATE_E_FAIL;
    if (args[1].kind != TVAL_TIME)
        return template_fail(r, "wrong type for value; expected time.Time; got %s", tval_type(args[1]));
    *ret = args[1];
    if (name.n && !str_eqz(name, "UTC") && !(ret->zone = template_zone_find(name)))
        return template_fail(r, "unknown time zone " STR_FMT, STR_ARG(name));
    return 0;
}

static int to_date(struct template_run *r, const struct tval *args, struct tval *ret, bool must)
{
    struct str layout = STR_NULL, text = STR_NULL;
    int64_t ms = TIME_ZERO_MS;
    if (want_str(r, args[0], &layout) || want_str(r, args[1], &text))
        return TEMPLATE_E_FAIL;
    if (!time_parse_go(layout, text, &ms) && must)
        return template_fail(r, "parsing time \"" STR_FMT "\" as \"" STR_FMT "\": cannot parse", STR_ARG(text),
                             STR_ARG(layout));
    *ret = tval_time(ms);
    return 0;
}

FN(fn_to_date)
{
    (void)n;
    return to_date(r, args, ret, false);
}

FN(fn_must_to_date)
{
    (void)n;
    return to_date(r, args, ret, true);
}

FN(fn_parse_duration)
{
    (void)n;
    struct str s = STR_NULL;
    int64_t ms = 0;
    if (want_str(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    if (!parse_duration_ms(s, &ms))
        return template_fail(r, "not a valid duration string: \"" STR_FMT "\"", STR_ARG(s));
    *ret = tval_f64((double)ms / 1000);
    return 0;
}

/* ---- lists, maps, JSON ---- */

FN(fn_list)
{
    *ret = tval_list_of(r->arena, args, n);
    return template_step(r, n);
}

FN(fn_string_slice)
{
    struct str s = STR_NULL;
    for (size_t i = 0; i < n; i++)
        if (want_str(r, args[i], &s))
            return TEMPLATE_E_FAIL;
    *ret = tval_list_of(r->arena, args, n);
    return template_step(r, n);
}

FN(fn_append)
{
    struct tval v = template_view(r, args[0]);
    if (v.kind != TVAL_LIST)
        return template_fail(r, "wrong type for value; expected a list; got %s", tval_type(v));
    size_t have = v.list->n;
    if (template_step(r, have + n))
        return TEMPLATE_E_FAIL;
    struct tval *all = ARENA_ARRAY(r->arena, struct tval, have + n);
    if (have)
        memcpy(all, v.list->v, have * sizeof(*all));
    memcpy(all + have, args + 1, (n - 1) * sizeof(*all));
    *ret = tval_list_of(r->arena, all, have + n - 1);
    return 0;
}

FN(fn_dict)
{
    if (n % 2)
        return template_fail(r, "dict requires an even number of arguments");
    struct tpair *p = ARENA_ARRAY(r->arena, struct tpair, n / 2 + 1);
    for (size_t i = 0; i < n / 2; i++) {
        if (args[2 * i].kind != TVAL_STR)
            return template_fail(r, "dict keys must be strings, got %s", tval_type(args[2 * i]));
        p[i] = (struct tpair){.key = args[2 * i].s, .value = args[2 * i + 1]};
    }
    *ret = tval_map_of(r->arena, p, n / 2, false);
    return template_step(r, n);
}

static void put_json(struct template_run *r, struct jw *w, struct tval v, unsigned depth)
{
    v = template_view(r, v);
    if (depth > 32) {
        jw_null(w);
        return;
    }
    switch (v.kind) {
    case TVAL_NIL:
    case TVAL_OBJ:
        jw_null(w);
        return;
    case TVAL_BOOL:
        jw_bool(w, v.b);
        return;
    case TVAL_INT:
        jw_i64(w, v.i);
        return;
    case TVAL_DURATION:
        jw_i64(w, v.i * 1000000);
        return;
    case TVAL_FLOAT:
        jw_f64(w, v.f);
        return;
    case TVAL_STR:
        jw_str(w, v.s);
        return;
    case TVAL_TIME: {
        _cleanup_buf_ struct buf b = BUF_INIT(64);
        time_format_go(&b, v.i, STR("2006-01-02T15:04:05.999999999Z07:00"), 0, STR("UTC"));
        jw_str(w, buf_view(&b));
        return;
    }
    case TVAL_LIST:
        jw_arr(w);
        for (size_t i = 0; i < v.list->n; i++)
            put_json(r, w, v.list->v[i], depth + 1);
        jw_end(w);
        return;
    case TVAL_MAP:
        jw_obj(w);
        for (size_t i = 0; i < v.map->n; i++) {
            jw_key_str(w, v.map->v[i].key);
            put_json(r, w, v.map->v[i].value, depth + 1);
        }
        jw_end(w);
        return;
    }
}

FN(fn_to_json)
{
    (void)n;
    _cleanup_buf_ struct buf b = OUT_BUF;
    struct jw w;
    jw_init(&w, &b);
    put_json(r, &w, args[0], 0);
    return keep(r, &b, ret);
}

FN(fn_default)
{
    (void)n;
    *ret = tval_truth(r, args[1]) ? args[1] : args[0];
    return 0;
}

FN(fn_args)
{
    struct tpair *p = ARENA_ARRAY(r->arena, struct tpair, n + 1);
    for (size_t i = 0; i < n; i++)
        p[i] = (struct tpair){.key = arena_fmt(r->arena, "arg%zu", i), .value = args[i]};
    *ret = tval_map_of(r->arena, p, n, false);
    return 0;
}

FN(fn_tmpl)
{
    (void)n;
    struct str name = STR_NULL, text = STR_NULL;
    if (want_str(r, args[0], &name) || template_call(r, name, args[1], &text))
        return TEMPLATE_E_FAIL;
    *ret = tval_str(text);
    ret->safe = true;
    return 0;
}

/* ---- samples ---- */

struct sample {
    struct tval labels;
    double value;
};

static int sample_get(struct template_run *r, const void *obj, struct str name, const struct tval *args, size_t n,
                      struct tval *ret)
{
    (void)r;
    (void)args;
    (void)n;
    const struct sample *s = obj;
    if (str_eqz(name, "Labels"))
        *ret = s->labels;
    else if (str_eqz(name, "Value"))
        *ret = tval_f64(s->value);
    else
        return TEMPLATE_E_NO_FIELD;
    return 0;
}

static const struct tobj_type sample_type = {.name = "*template.sample", .get = sample_get};

struct tval template_sample(struct template_run *r, const struct tpair *labels, size_t n, double value)
{
    struct sample *s = ARENA_NEW(r->arena, struct sample);
    *s = (struct sample){.labels = tval_map_of(r->arena, labels, n, true), .value = value};
    return tval_obj(&sample_type, s);
}

static int want_sample(struct template_run *r, struct tval v, const struct sample **ret)
{
    if (v.kind != TVAL_OBJ || v.obj.type != &sample_type)
        return template_fail(r, "wrong type for value; expected *template.sample; got %s", tval_type(v));
    *ret = v.obj.p;
    return 0;
}

static int want_vector(struct template_run *r, struct tval v, const struct tlist **ret)
{
    v = template_view(r, v);
    if (v.kind != TVAL_LIST)
        return template_fail(r, "wrong type for value; expected template.queryResult; got %s", tval_type(v));
    *ret = v.list;
    return 0;
}

static struct str sample_label(const struct sample *s, struct str name)
{
    for (size_t i = 0; i < s->labels.map->n; i++)
        if (str_eq(s->labels.map->v[i].key, name))
            return s->labels.map->v[i].value.s;
    return STR("");
}

FN(fn_query)
{
    (void)n;
    struct template_prom *p = template_host(r);
    struct str expr = STR_NULL;
    if (want_str(r, args[0], &expr))
        return TEMPLATE_E_FAIL;
    if (!p || !p->query)
        return template_fail(r, "query is not available here");
    if (template_step(r, 100)) /* a query costs more than a step */
        return TEMPLATE_E_FAIL;
    return p->query(r, p, expr, ret);
}

FN(fn_first)
{
    (void)n;
    const struct tlist *l = NULL;
    if (want_vector(r, args[0], &l))
        return TEMPLATE_E_FAIL;
    if (!l->n)
        return template_fail(r, "first() called on vector with no elements");
    *ret = l->v[0];
    return 0;
}

FN(fn_label)
{
    (void)n;
    struct str name = STR_NULL;
    const struct sample *s = NULL;
    if (want_str(r, args[0], &name) || want_sample(r, args[1], &s))
        return TEMPLATE_E_FAIL;
    *ret = tval_str(sample_label(s, name));
    return 0;
}

FN(fn_value)
{
    (void)n;
    const struct sample *s = NULL;
    if (want_sample(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    *ret = tval_f64(s->value);
    return 0;
}

FN(fn_strvalue)
{
    (void)n;
    const struct sample *s = NULL;
    if (want_sample(r, args[0], &s))
        return TEMPLATE_E_FAIL;
    *ret = tval_str(sample_label(s, STR("__value__")));
    return 0;
}

struct by_label {
    struct str key;
    size_t order;
    struct tval v;
};

static int cmp_by_label(const void *a, const void *b)
{
    const struct by_label *x = a, *y = b;
    int c = str_cmp(x->key, y->key);
    return c ? c : x->order < y->order ? -1 : 1;
}

FN(fn_sort_by_label)
{
    (void)n;
    struct str name = STR_NULL;
    const struct tlist *l = NULL;
    if (want_str(r, args[0], &name) || want_vector(r, args[1], &l) || template_step(r, l->n))
        return TEMPLATE_E_FAIL;
    struct by_label *s = ARENA_ARRAY(r->arena, struct by_label, l->n + 1);
    struct tval *out = ARENA_ARRAY(r->arena, struct tval, l->n + 1);
    for (size_t i = 0; i < l->n; i++) {
        const struct sample *x = NULL;
        if (want_sample(r, l->v[i], &x))
            return TEMPLATE_E_FAIL;
        s[i] = (struct by_label){.key = sample_label(x, name), .order = i, .v = l->v[i]};
    }
    qsort(s, l->n, sizeof(*s), cmp_by_label);
    for (size_t i = 0; i < l->n; i++)
        out[i] = s[i].v;
    *ret = tval_list_of(r->arena, out, l->n);
    return 0;
}

/* ---- links ---- */

static int link_for(struct template_run *r, const struct tval *args, struct tval *ret, int tab)
{
    struct str expr = STR_NULL;
    if (want_str(r, args[0], &expr))
        return TEMPLATE_E_FAIL;
    _cleanup_buf_ struct buf b = OUT_BUF;
    buf_z(&b, "/graph?g0.expr=");
    url_query_escape(&b, expr);
    buf_fmt(&b, "&g0.tab=%d", tab);
    return keep(r, &b, ret);
}

FN(fn_graph_link)
{
    (void)n;
    return link_for(r, args, ret, 0);
}

FN(fn_table_link)
{
    (void)n;
    return link_for(r, args, ret, 1);
}

FN(fn_external_url)
{
    (void)n;
    (void)args;
    const struct template_prom *p = template_host(r);
    *ret = tval_str(p ? p->external_url : STR(""));
    return 0;
}

FN(fn_path_prefix)
{
    (void)n;
    (void)args;
    const struct template_prom *p = template_host(r);
    struct str u = p ? p->external_url : STR("");
    ptrdiff_t scheme = str_find(u, STR("://"));
    if (scheme >= 0)
        u = str_sub(u, (size_t)scheme + 3, u.n);
    ptrdiff_t slash = str_chr(u, '/');
    *ret = tval_str(slash < 0 ? STR("") : str_sub(u, (size_t)slash, u.n));
    return 0;
}

FN(fn_route_labels)
{
    const struct template_prom *p = template_host(r);
    struct tval all = p && p->route_labels.kind == TVAL_MAP ? p->route_labels : tval_map_of(r->arena, NULL, 0, true);
    struct str name = STR_NULL;
    if (!n) {
        *ret = all;
        return 0;
    }
    if (want_str(r, args[0], &name))
        return TEMPLATE_E_FAIL;
    *ret = tval_str(STR(""));
    for (size_t i = 0; i < all.map->n; i++)
        if (str_eq(all.map->v[i].key, name))
            *ret = all.map->v[i].value;
    return 0;
}

const struct template_func template_funcs_prom[] = {
    {"query", 1, 1, fn_query},
    {"first", 1, 1, fn_first},
    {"label", 2, 2, fn_label},
    {"value", 1, 1, fn_value},
    {"strvalue", 1, 1, fn_strvalue},
    {"args", 0, -1, fn_args},
    {"reReplaceAll", 3, 3, fn_re_replace_all},
    {"safeHtml", 1, 1, fn_safe_html},
    {"match", 2, 2, fn_match},
    {"title", 1, 1, fn_title},
    {"toUpper", 1, 1, fn_to_upper},
    {"toLower", 1, 1, fn_to_lower},
    {"graphLink", 1, 1, fn_graph_link},
    {"tableLink", 1, 1, fn_table_link},
    {"sortByLabel", 2, 2, fn_sort_by_label},
    {"stripPort", 1, 1, fn_strip_port},
    {"stripDomain", 1, 1, fn_strip_domain},
    {"humanize", 1, 1, fn_humanize},
    {"humanize1024", 1, 1, fn_humanize1024},
    {"humanizeDuration", 1, 1, fn_humanize_duration},
    {"humanizePercentage", 1, 1, fn_humanize_percentage},
    {"humanizeTimestamp", 1, 1, fn_humanize_timestamp},
    {"toTime", 1, 1, fn_to_time},
    {"toDuration", 1, 1, fn_to_duration},
    {"now", 0, 0, fn_now_seconds},
    {"pathPrefix", 0, 0, fn_path_prefix},
    {"externalURL", 0, 0, fn_external_url},
    {"parseDuration", 1, 1, fn_parse_duration},
    {"urlQueryEscape", 1, 1, fn_url_query_escape},
    {"tmpl", 2, 2, fn_tmpl},
    {0},
};

const struct template_func template_funcs_am[] = {
    {"toUpper", 1, 1, fn_to_upper},
    {"toLower", 1, 1, fn_to_lower},
    {"title", 1, 1, fn_title_lower},
    {"trimSpace", 1, 1, fn_trim_space},
    {"join", 2, 2, fn_join},
    {"match", 2, 2, fn_match},
    {"safeHtml", 1, 1, fn_safe_html},
    {"safeUrl", 1, 1, fn_safe_url},
    {"urlUnescape", 1, 1, fn_url_unescape},
    {"reReplaceAll", 3, 3, fn_re_replace_all},
    {"stringSlice", 0, -1, fn_string_slice},
    {"date", 2, 2, fn_date},
    {"tz", 2, 2, fn_tz},
    {"toDate", 2, 2, fn_to_date},
    {"mustToDate", 2, 2, fn_must_to_date},
    {"since", 1, 1, fn_since},
    {"now", 0, 0, fn_now_time},
    {"humanizeDuration", 1, 1, fn_humanize_duration},
    {"toJson", 1, 1, fn_to_json},
    {"list", 0, -1, fn_list},
    {"append", 1, -1, fn_append},
    {"dict", 0, -1, fn_dict},
    {"base64encode", 1, 1, fn_base64encode},
    {"base64decode", 1, 1, fn_base64decode},
    {"default", 2, 2, fn_default},
    {"routeLabels", 0, 1, fn_route_labels},
    {0},
};

// SPDX-License-Identifier: Apache-2.0
#include "codec/exposition.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "codec/f64.h"
#include <math.h>

const char *const expo_type_names[EXPO_T_COUNT] = {
    "unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset",
};

/* Character classes: 1 starts a label name, 2 goes on in one, 4 the colon metric names allow too, 8 decimal digit. */
enum { C_START = 1, C_NAME = 2, C_COLON = 4, C_DIGIT = 8 };
static const uint8_t classes[256] = {
    ['a' ... 'z'] = C_START | C_NAME,
    ['A' ... 'Z'] = C_START | C_NAME,
    ['_'] = C_START | C_NAME,
    ['0' ... '9'] = C_NAME | C_DIGIT,
    [':'] = C_COLON,
};
#define IS(c, mask) (classes[(uint8_t)(c)] & (mask))

static const double pow10_exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

void expo_init(struct expo_parser *x, enum expo_format format, struct str body)
{
    *x = (struct expo_parser){.begin = body.p, .p = body.p, .end = body.p + body.n, .format = format};
}

__attribute__((cold, format(printf, 4, 5))) static int fail(const struct expo_parser *x, const char *at, struct err *e,
                                                            const char *fmt, ...)
{
    size_t line = 1;
    const char *start = x->begin;
    if (at > x->end)
        at = x->end;
    for (const char *q; start < at && (q = memchr(start, '\n', (size_t)(at - start))); start = q + 1)
        line++;
    char msg[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof(msg), fmt, ap); /* a cut message is still a message */
    va_end(ap);
    err_set(e, "%zu:%zu: %s", line, (size_t)(at - start) + 1, msg);
    return -EINVAL;
}

__attribute__((cold)) static int unexpected(const struct expo_parser *x, const char *at, struct err *e,
                                            const char *want)
{
    if (at >= x->end)
        return fail(x, at, e, "%s expected, found the end of the body", want);
    unsigned char c = (unsigned char)*at;
    if (c == '\n')
        return fail(x, at, e, "%s expected, found the end of the line", want);
    if (c < 0x20 || c > 0x7e)
        return fail(x, at, e, "%s expected, found byte 0x%02x", want, c);
    return fail(x, at, e, "%s expected, found '%c'", want, c);
}

static const char *skip_blanks(const struct expo_parser *x, const char *p)
{
    while (p < x->end && (*p == ' ' || *p == '\t'))
        p++;
    return p;
}

/* Numbers as Go's ParseFloat without hexadecimal, underscores and exponents p: what both formats allow. `s` is the
 * whole token. */
static bool slow_number(struct str s, double *ret)
{
    bool digit = false;
    if (str_empty(s) || s.n > 1024)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == 'p' || c == 'P' || c == '_' || c == 'x' || c == 'X')
            return false;
        digit |= IS(c, C_DIGIT) != 0;
    }
    struct str body = s.p[0] == '+' || s.p[0] == '-' ? str_sub(s, 1, s.n) : s;
    if (!digit) {
        if (str_ieq(body, STR("inf")) || str_ieq(body, STR("infinity"))) {
            *ret = s.p[0] == '-' ? -(double)INFINITY : (double)INFINITY;
            return true;
        }
        if (str_ieq(s, STR("nan"))) {
            uint64_t bits = 0x7ff8000000000001ULL; /* the one NaN a scrape writes */
            memcpy(ret, &bits, 8);
            return true;
        }
        return false;
    }
    double v;
    if (!IS(body.p[0], C_DIGIT) && body.p[0] != '.')
        return false;
    if (!f64_parse(s, &v) || isinf(v)) /* out of range is an error in Go */
        return false;
    *ret = v;
    return true;
}

/* Read a number at p up to a blank or the end of line; NULL when it is none. Decimal numbers of up to 19 digits whose
 * mantissa is below 2^53 and power of ten within 22 are exact in one multiplication (Clinger 1990); the rest goes the
 * slow way. */
static const char *number(const char *p, const char *end, double *ret)
{
    const char *start = p;
    bool neg = false;
    if (p < end && (*p == '-' || *p == '+'))
        neg = *p++ == '-';
    uint64_t m = 0;
    int digits = 0, e10 = 0;
    const char *first = p;
    while (p < end && IS(*p, C_DIGIT)) {
        m = m * 10 + (uint64_t)(*p++ - '0');
        digits++;
    }
    bool any = p > first;
    if (p < end && *p == '.') {
        const char *frac = ++p;
        while (p < end && IS(*p, C_DIGIT)) {
            m = m * 10 + (uint64_t)(*p++ - '0');
            digits++;
        }
        any |= p > frac;
        e10 = -(int)(p - frac);
    }
    if (any && p < end && (*p == 'e' || *p == 'E')) {
        const char *q = p + 1;
        bool eneg = false;
        if (q < end && (*q == '-' || *q == '+'))
            eneg = *q++ == '-';
        int x = 0;
        const char *xs = q;
        while (q < end && IS(*q, C_DIGIT) && x < 10000)
            x = x * 10 + (*q++ - '0');
        if (q > xs) {
            e10 += eneg ? -x : x;
            p = q;
        }
    }
    if (any && digits <= 19 && m < (1ULL << 53) && e10 >= -22 && e10 <= 22 &&
        (p == end || *p == ' ' || *p == '\n' || *p == '\t')) {
        double v = (double)m;
        v = e10 < 0 ? v / pow10_exact[-e10] : v * pow10_exact[e10];
        *ret = neg ? -v : v;
        return p;
    }
    p = start;
    while (p < end && *p != ' ' && *p != '\t' && *p != '\n')
        p++;
    return slow_number(str_make(start, (size_t)(p - start)), ret) ? p : NULL;
}

/* Behind the opening quote: the closing quote, or NULL. */
static const char *quoted_end(const struct expo_parser *x, const char *p, bool newline_ok)
{
    for (; p < x->end; p++) {
        if (*p == '"')
            return p;
        if (*p == '\n' && !newline_ok)
            return NULL;
        if (*p == '\\' && (++p == x->end || *p == '\n'))
            return NULL;
    }
    return NULL;
}

/* From behind `{` to behind `}`. has_name: the metric name came before the brace. */
static int braces(struct expo_parser *x, const char *p, bool has_name, bool is_exemplar, const char **ret,
                  struct err *e)
{
    bool text = x->format == EXPO_TEXT;
    const char *open = p - 1;
    for (;;) {
        if (text)
            p = skip_blanks(x, p);
        if (p < x->end && *p == '}')
            break;
        const char *name = p;
        bool is_quoted = false;
        if (p < x->end && *p == '"') {
            is_quoted = true;
            if (!(p = quoted_end(x, p + 1, true)))
                return fail(x, name, e, "unterminated quoted name");
            p++;
        } else if (p < x->end && IS(*p, C_START)) {
            while (p < x->end && IS(*p, C_NAME))
                p++;
        } else {
            return unexpected(x, p, e, "label name or '}'");
        }
        if (text)
            p = skip_blanks(x, p);
        if (p < x->end && (*p == ',' || *p == '}') && is_quoted && !is_exemplar) {
            if (has_name)
                return fail(x, name, e, "a second metric name inside the braces");
            has_name = true;
            if (*p == '}')
                break;
            p++;
            continue;
        }
        if (p >= x->end || *p != '=')
            return unexpected(x, p, e, "'=' after a label name");
        p++;
        if (text)
            p = skip_blanks(x, p);
        if (p >= x->end || *p != '"')
            return unexpected(x, p, e, "quoted label value");
        const char *value = p + 1;
        if (!(p = quoted_end(x, value, text)))
            return fail(x, value - 1, e, "unterminated label value");
        if (!utf8_valid(str_make(value, (size_t)(p - value))))
            return fail(x, value, e, "label value is not valid UTF-8");
        p++;
        if (text)
            p = skip_blanks(x, p);
        if (p < x->end && *p == ',')
            p++;
        else if (!text && (p >= x->end || *p != '}')) /* text does without commas, as Prometheus */
            return unexpected(x, p, e, "',' or '}' after a label value");
    }
    if (!has_name && !is_exemplar)
        return fail(x, open, e, "a sample without a metric name");
    *ret = p + 1;
    return 0;
}

/* OpenMetrics: a float timestamp in seconds. */
static const char *seconds(struct expo_parser *x, const char *p, int64_t *ret_ms, struct err *e)
{
    double s;
    const char *q = number(p, x->end, &s);
    if (!q || (q < x->end && *q == '\t') || !isfinite(s)) {
        (void)fail(x, p, e, "timestamp in seconds expected");
        return NULL;
    }
    s *= 1000; /* out of range: far in the past or the future, which the store refuses */
    *ret_ms = s >= 0x1p63 ? INT64_MAX : s <= -0x1p63 ? INT64_MIN : (int64_t)s;
    return q;
}

/* After the series: ` value [timestamp] [# exemplar]` and the end of the line. */
static int tail_om(struct expo_parser *x, const char *p, struct expo_item *it, struct err *e)
{
    if (p >= x->end || *p != ' ')
        return unexpected(x, p, e, "one space before the value");
    const char *q = number(++p, x->end, &it->v);
    if (!q || (q < x->end && *q == '\t'))
        return fail(x, p, e, "a number as value expected");
    p = q;
    if (p + 1 < x->end && *p == ' ' && p[1] != '#') {
        if (!(p = seconds(x, p + 1, &it->t_ms, e)))
            return -EINVAL;
        it->has_t = true;
    }
    if (x->end - p >= 4 && memcmp(p, " # {", 4) == 0) {
        const char *start = p + 3;
        int r = braces(x, p + 4, true, true, &p, e);
        if (r < 0)
            return r;
        if (p >= x->end || *p != ' ')
            return unexpected(x, p, e, "one space before the exemplar's value");
        double v;
        q = number(++p, x->end, &v);
        if (!q || (q < x->end && *q == '\t'))
            return fail(x, p, e, "a number as the exemplar's value expected");
        p = q;
        if (p < x->end && *p == ' ') {
            int64_t t;
            if (!(p = seconds(x, p + 1, &t, e)))
                return -EINVAL;
        }
        it->exemplar = str_make(start, (size_t)(p - start));
    }
    if (p >= x->end)
        return fail(x, p, e, "the body does not end with # EOF");
    if (*p != '\n')
        return unexpected(x, p, e, "end of line");
    x->p = p + 1;
    return 0;
}

static int tail_text(struct expo_parser *x, const char *p, struct expo_item *it, struct err *e)
{
    p = skip_blanks(x, p);
    const char *q = number(p, x->end, &it->v);
    if (!q)
        return fail(x, p, e, "a number as value expected");
    p = skip_blanks(x, q);
    if (p < x->end && IS(*p, C_DIGIT)) {
        const char *start = p;
        uint64_t t = 0;
        for (; p < x->end && IS(*p, C_DIGIT); p++)
            if (__builtin_mul_overflow(t, 10, &t) || __builtin_add_overflow(t, (uint64_t)(*p - '0'), &t) ||
                t > INT64_MAX)
                return fail(x, start, e, "timestamp out of range");
        it->t_ms = (int64_t)t;
        it->has_t = true;
        p = skip_blanks(x, p);
    }
    if (p < x->end && *p != '\n')
        return unexpected(x, p, e, it->has_t ? "end of line" : "timestamp in milliseconds or end of line");
    x->p = p < x->end ? p + 1 : p;
    return 0;
}

static int sample(struct expo_parser *x, const char *p, struct expo_item *it, struct err *e)
{
    const char *start = p;
    it->kind = EXPO_SAMPLE;
    it->type = x->type;
    it->has_t = false;
    it->exemplar = STR_NULL;
    bool has_name = *p != '{';
    if (has_name)
        while (p < x->end && IS(*p, C_NAME | C_COLON))
            p++;
    const char *q = x->format == EXPO_TEXT ? skip_blanks(x, p) : p;
    if (q < x->end && *q == '{') {
        int r = braces(x, q + 1, has_name, false, &p, e);
        if (r < 0)
            return r;
    }
    it->series = str_make(start, (size_t)(p - start));
    return x->format == EXPO_TEXT ? tail_text(x, p, it, e) : tail_om(x, p, it, e);
}

int expo_expect(struct expo_parser *x, struct str series, struct expo_item *it, struct err *e)
{
    const char *p = x->p;
    if ((size_t)(x->end - p) <= series.n || memcmp(p, series.p, series.n) != 0)
        return 0;
    p += series.n;
    if (*p != ' ' && (*p != '\t' || x->format != EXPO_TEXT))
        return 0;
    if (series.n && series.p[series.n - 1] != '}') {
        const char *q = skip_blanks(x, p);
        if (q < x->end && *q == '{')
            return 0; /* the same name, with labels behind a blank */
    }
    it->kind = EXPO_SAMPLE;
    it->type = x->type;
    it->has_t = false;
    it->exemplar = STR_NULL;
    it->series = str_make(x->p, series.n);
    int r = x->format == EXPO_TEXT ? tail_text(x, p, it, e) : tail_om(x, p, it, e);
    return r < 0 ? r : 1;
}

static int type_of(struct expo_parser *x, struct str s, enum expo_type *ret)
{
    for (int i = EXPO_T_COUNTER; i < EXPO_T_COUNT; i++) {
        bool om_only = i == EXPO_T_GAUGEHISTOGRAM || i == EXPO_T_INFO || i == EXPO_T_STATESET;
        if (str_eqz(s, expo_type_names[i]) && !(om_only && x->format == EXPO_TEXT)) {
            *ret = (enum expo_type)i;
            return 0;
        }
    }
    if (str_eqz(s, x->format == EXPO_TEXT ? "untyped" : "unknown")) {
        *ret = EXPO_T_UNKNOWN;
        return 0;
    }
    return -EINVAL;
}

/* `p` stands behind "HELP ", "TYPE " or "UNIT ". */
static int metadata(struct expo_parser *x, enum expo_kind kind, const char *p, struct expo_item *it, struct err *e)
{
    bool om = x->format == EXPO_OPENMETRICS;
    if (!om)
        p = skip_blanks(x, p);
    const char *start = p;
    if (p < x->end && *p == '"') {
        if (!(p = quoted_end(x, p + 1, true)))
            return fail(x, start, e, "unterminated quoted metric name");
        it->name = str_make(start + 1, (size_t)(p - start) - 1);
        p++;
    } else if (p < x->end && IS(*p, C_START | C_COLON)) {
        while (p < x->end && IS(*p, C_NAME | C_COLON))
            p++;
        it->name = str_make(start, (size_t)(p - start));
    } else {
        return unexpected(x, p, e, "metric name");
    }
    const char *nl = memchr(p, '\n', (size_t)(x->end - p));
    if (om && (p >= x->end || *p != ' ' || !nl))
        return unexpected(x, nl ? p : x->end, e, "one space and a text");
    const char *stop = nl ? nl : x->end;
    const char *text = p < stop ? p + 1 : stop; /* the separator, whatever it is */
    it->kind = kind;
    it->text = str_make(text, (size_t)(stop - text));
    if (kind == EXPO_TYPE) {
        if (type_of(x, it->text, &it->type) < 0)
            return fail(x, text, e, "unknown metric type \"" STR_FMT "\"", (int)MIN(it->text.n, 64), it->text.p);
        x->type = it->type;
    } else if (kind == EXPO_HELP) {
        if (!utf8_valid(it->text))
            return fail(x, text, e, "help is not valid UTF-8");
    } else if (!str_empty(it->text)) {
        if (it->name.n < it->text.n + 1 || !str_ends(it->name, it->text) ||
            it->name.p[it->name.n - it->text.n - 1] != '_')
            return fail(x, text, e, "unit \"" STR_FMT "\" is not the last part of the metric's name",
                        (int)MIN(it->text.n, 64), it->text.p);
    }
    x->p = nl ? nl + 1 : x->end;
    return 0;
}

static int next_om(struct expo_parser *x, struct expo_item *it, struct err *e)
{
    const char *p = x->p;
    if (p >= x->end)
        return fail(x, p, e, "the body does not end with # EOF");
    if (*p != '#') {
        if (*p != '{' && !IS(*p, C_START | C_COLON))
            return unexpected(x, p, e, "metric name, '#' or '{'");
        return sample(x, p, it, e);
    }
    size_t left = (size_t)(x->end - p);
    static const struct {
        struct str word;
        enum expo_kind kind;
    } words[] = {{{"# HELP ", 7}, EXPO_HELP}, {{"# TYPE ", 7}, EXPO_TYPE}, {{"# UNIT ", 7}, EXPO_UNIT}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (left >= words[i].word.n && memcmp(p, words[i].word.p, words[i].word.n) == 0)
            return metadata(x, words[i].kind, p + words[i].word.n, it, e);
    if (left >= 5 && memcmp(p, "# EOF", 5) == 0) {
        p += 5;
        if (p < x->end && *p == '\n')
            p++;
        if (p < x->end)
            return fail(x, p, e, "data after # EOF");
        x->p = p;
        it->kind = EXPO_END;
        return 0;
    }
    return fail(x, p, e, "# HELP, # TYPE, # UNIT or # EOF expected");
}

static int next_text(struct expo_parser *x, struct expo_item *it, struct err *e)
{
    for (;;) {
        const char *p = skip_blanks(x, x->p);
        if (p >= x->end) {
            x->p = p;
            it->kind = EXPO_END;
            return 0;
        }
        if (*p == '\n') {
            x->p = p + 1;
            continue;
        }
        if (*p != '#') {
            if (*p != '{' && !IS(*p, C_START | C_COLON))
                return unexpected(x, p, e, "metric name, '#' or '{'");
            return sample(x, p, it, e);
        }
        const char *w = skip_blanks(x, p + 1);
        if (w > p + 1 && x->end - w > 4 && (w[4] == ' ' || w[4] == '\t')) {
            if (memcmp(w, "HELP", 4) == 0)
                return metadata(x, EXPO_HELP, w + 5, it, e);
            if (memcmp(w, "TYPE", 4) == 0)
                return metadata(x, EXPO_TYPE, w + 5, it, e);
        }
        const char *nl = memchr(p, '\n', (size_t)(x->end - p));
        x->p = nl ? nl + 1 : x->end;
    }
}

int expo_next(struct expo_parser *x, struct expo_item *it, struct err *e)
{
    return x->format == EXPO_TEXT ? next_text(x, it, e) : next_om(x, it, e);
}

struct str expo_unescape(struct str s, bool quoted, struct arena *a)
{
    if (str_chr(s, '\\') < 0)
        return s;
    char *out = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && i + 1 < s.n) {
            char c = s.p[i + 1];
            if (c == '\\' || c == 'n' || (c == '"' && quoted)) {
                out[n++] = c == 'n' ? '\n' : c;
                i++;
                continue;
            }
        }
        out[n++] = s.p[i];
    }
    return str_make(out, n);
}

/* Prometheus 3 writes the bounds of histograms and summaries one way only: as OpenMetrics floats. */
static struct str canonical_bound(struct str s, struct arena *a)
{
    double v;
    if (!slow_number(s, &v))
        return s;
    char text[F64_TEXT_MAX + 2];
    double m = fabs(v); /* as FormatFloat(v, 'g', -1, 64) */
    size_t n = m != 0 && (m < 1e-4 || m >= 1e6) ? f64_write_e(text, v) : f64_write(text, v);
    if (isfinite(v) && !memchr(text, '.', n) && !memchr(text, 'e', n)) {
        text[n++] = '.';
        text[n++] = '0';
    }
    return s.n == n && memcmp(s.p, text, n) == 0 ? s : arena_str(a, str_make(text, n));
}

int expo_labels(struct str series, enum expo_type type, struct arena *a, struct expo_label **ret, size_t *ret_n,
                struct err *e)
{
    /* An upper bound of the labels: every one has a quote pair, the name has none or one. */
    size_t cap = 1;
    for (size_t i = 0; i < series.n; i++)
        cap += series.p[i] == '"';
    cap = MIN(cap, (size_t)limit(labels_per_series) + 1);
    struct expo_label *v = arena_try(a, cap * sizeof(*v));
    if (!v)
        return -ENOMEM;
    size_t n = 0;
    struct expo_parser x;
    expo_init(&x, EXPO_TEXT, series);
    const char *p = skip_blanks(&x, series.p);
    const char *start = p;
    while (p < x.end && IS(*p, C_NAME | C_COLON))
        p++;
    if (p > start)
        v[n++] = (struct expo_label){STR("__name__"), str_make(start, (size_t)(p - start))};
    p = skip_blanks(&x, p);
    if (p < x.end && *p == '{') {
        p++;
        for (;;) {
            while (p < x.end && (*p == ' ' || *p == '\t' || *p == ','))
                p++;
            if (p >= x.end || *p == '}')
                break;
            struct str name;
            start = p;
            if (*p == '"') {
                if (!(p = quoted_end(&x, p + 1, true)))
                    return fail(&x, start, e, "unterminated quoted name");
                name = expo_unescape(str_make(start + 1, (size_t)(p - start) - 1), true, a);
                p++;
                if (str_empty(name) || !utf8_valid(name))
                    return fail(&x, start, e, "a name must be valid UTF-8 and not empty");
            } else {
                while (p < x.end && IS(*p, C_NAME))
                    p++;
                if (p == start)
                    return fail(&x, p, e, "label name expected");
                name = str_make(start, (size_t)(p - start));
            }
            p = skip_blanks(&x, p);
            struct expo_label l;
            if (p < x.end && *p == '=') {
                p = skip_blanks(&x, p + 1);
                if (p >= x.end || *p != '"')
                    return fail(&x, p, e, "quoted label value expected");
                const char *value = p + 1;
                if (!(p = quoted_end(&x, value, true)))
                    return fail(&x, value, e, "unterminated label value");
                l = (struct expo_label){name, expo_unescape(str_make(value, (size_t)(p - value)), true, a)};
                p++;
                if ((type == EXPO_T_HISTOGRAM && str_eq(name, STR("le"))) ||
                    (type == EXPO_T_SUMMARY && str_eq(name, STR("quantile"))))
                    l.value = canonical_bound(l.value, a);
            } else {
                l = (struct expo_label){STR("__name__"), name};
            }
            for (size_t i = 0; i < n; i++)
                if (str_eq(v[i].name, l.name))
                    return fail(&x, start, e, "label \"" STR_FMT "\" is there twice", (int)MIN(l.name.n, 64), l.name.p);
            if (n == cap)
                return fail(&x, start, e, "more than %zu labels", cap - 1);
            v[n++] = l;
        }
    }
    /* Empty values go last, after duplicates were looked for: {a="",a="x"} is still an error. */
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!str_empty(v[i].value))
            v[kept++] = v[i];
    *ret = v;
    *ret_n = kept;
    return 0;
}

int expo_format_of(struct str content_type, int fallback, enum expo_format *ret, struct err *e)
{
    struct str media, rest;
    str_cut(content_type, ';', &media, &rest);
    media = str_trim(media);
    if (str_ieq(media, STR("application/openmetrics-text"))) {
        *ret = EXPO_OPENMETRICS;
        return 0;
    }
    if (str_ieq(media, STR("text/plain"))) {
        *ret = EXPO_TEXT;
        return 0;
    }
    if (str_ieq(media, STR("application/vnd.google.protobuf"))) {
        err_set(e, "the target answered in protobuf, which was not asked for");
        return -EINVAL;
    }
    if (fallback >= 0) {
        *ret = (enum expo_format)fallback;
        return 0;
    }
    if (str_empty(media))
        err_set(e, "the target sends no Content-Type and the job sets no fallback_scrape_protocol");
    else
        err_set(e,
                "the target sends Content-Type \"" STR_FMT "\", which is no exposition format, and the job sets no "
                "fallback_scrape_protocol",
                (int)MIN(content_type.n, 200), content_type.p);
    return -EINVAL;
}

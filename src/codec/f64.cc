// SPDX-License-Identifier: Apache-2.0
extern "C" {
#include "codec/f64.h"
}

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>

static size_t special(char *out, double v)
{
    const char *z = std::isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf";
    size_t n = strlen(z);
    memcpy(out, z, n);
    return n;
}

extern "C" size_t f64_write(char *out, double v)
{
    if (!std::isfinite(v))
        return special(out, v);
    /* Whole numbers below 2^53 are most of what is written. */
    if (v > -9e15 && v < 9e15 && v == (double)(int64_t)v && !(v == 0 && std::signbit(v)))
        return (size_t)(std::to_chars(out, out + F64_TEXT_MAX, (int64_t)v).ptr - out);
    return (size_t)(std::to_chars(out, out + F64_TEXT_MAX, v, std::chars_format::fixed).ptr - out);
}

extern "C" size_t f64_write_e(char *out, double v)
{
    if (!std::isfinite(v))
        return special(out, v);
    return (size_t)(std::to_chars(out, out + F64_TEXT_MAX, v, std::chars_format::scientific).ptr - out);
}

extern "C" size_t f64_write_g(char *out, double v)
{
    /* Go decides by the exponent of the shortest digits: with one from -4 to 5 it writes no exponent. 999999.5 keeps its
     * six digits before the point, so comparing the value is the same as comparing the exponent. */
    double m = std::fabs(v);
    if (std::isfinite(v) && m != 0 && (m < 1e-4 || m >= 1e6))
        return f64_write_e(out, v);
    return f64_write(out, v);
}

extern "C" size_t f64_write_json(char *out, double v)
{
    double m = std::fabs(v);
    if (std::isfinite(v) && m != 0 && (m < 1e-6 || m >= 1e21))
        return f64_write_e(out, v);
    return f64_write(out, v);
}

extern "C" void f64_put_json(struct buf *b, double v)
{
    char tmp[F64_TEXT_MAX];
    buf_put(b, tmp, f64_write_json(tmp, v));
}

extern "C" void f64_put(struct buf *b, double v)
{
    char tmp[F64_TEXT_MAX];
    buf_put(b, tmp, f64_write(tmp, v));
}

extern "C" void f64_put_g(struct buf *b, double v)
{
    char tmp[F64_TEXT_MAX];
    buf_put(b, tmp, f64_write_g(tmp, v));
}

static bool named(struct str s, double *ret)
{
    bool neg = s.n && s.p[0] == '-';
    struct str body = s.n && (s.p[0] == '-' || s.p[0] == '+') ? str_sub(s, 1, s.n) : s;
    if (str_ieq(body, str_of("inf")) || str_ieq(body, str_of("infinity"))) {
        double inf = std::numeric_limits<double>::infinity();
        *ret = neg ? -inf : inf;
        return true;
    }
    if (body.n == s.n && str_ieq(s, str_of("nan"))) {
        /* Go's NaN bits: what Prometheus stores for a scraped NaN. */
        uint64_t bits = 0x7ff8000000000001ULL;
        memcpy(ret, &bits, 8);
        return true;
    }
    return false;
}

static bool decimal(struct str s, std::chars_format format, double *ret)
{
    const char *p = s.p, *end = s.p + s.n;
    bool neg = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (p == end || !((*p >= '0' && *p <= '9') || *p == '.' || (format == std::chars_format::hex && std::isxdigit((unsigned char)*p))))
        return false;
    double v;
    auto r = std::from_chars(p, end, v, format);
    if (r.ptr != end)
        return false;
    if (r.ec == std::errc::result_out_of_range) {
        /* Too small rounds to zero, too large is an error, as strconv.ParseFloat has it. strtod tells which (hune never
         * calls setlocale, so its locale is C). */
        v = std::strtod(((format == std::chars_format::hex ? "0x" : "") + std::string(p, end)).c_str(), nullptr);
        if (!std::isfinite(v))
            return false;
    } else if (r.ec != std::errc()) {
        return false;
    }
    *ret = neg ? -v : v;
    return true;
}

extern "C" bool f64_parse(struct str s, double *ret)
{
    /* Up to 15 digits without fraction or exponent are exact in a double: most values are counters. */
    if (s.n && s.n <= 15) {
        size_t i = s.p[0] == '-';
        uint64_t v = 0;
        for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
            v = v * 10 + (uint64_t)(s.p[i] - '0');
        if (i == s.n && !(s.n == 1 && s.p[0] == '-')) {
            *ret = s.p[0] == '-' ? -(double)v : (double)v;
            return true;
        }
    }
    return decimal(s, std::chars_format::general, ret) || named(s, ret);
}

/* Go allows one underscore between digits, and after the base prefix. */
static bool strip_underscores(struct str s, char *out, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '_') {
            out[(*n)++] = s.p[i];
            continue;
        }
        auto digit = [](char c) { return std::isxdigit((unsigned char)c) || c == 'x' || c == 'X'; };
        if (i == 0 || i + 1 == s.n || !digit(s.p[i - 1]) || !std::isxdigit((unsigned char)s.p[i + 1]))
            return false;
    }
    return true;
}

extern "C" bool f64_parse_go(struct str s, double *ret)
{
    char tmp[512];
    if (s.n == 0 || s.n > sizeof(tmp))
        return false;
    struct str clean = s;
    if (str_chr(s, '_') >= 0) {
        if (!strip_underscores(s, tmp, &clean.n))
            return false;
        clean.p = tmp;
    }
    bool neg = clean.p[0] == '-';
    struct str body = neg || clean.p[0] == '+' ? str_sub(clean, 1, clean.n) : clean;
    if (body.n > 2 && body.p[0] == '0' && (body.p[1] | 32) == 'x') {
        struct str hex = str_sub(body, 2, body.n);
        double v;
        if (hex.p[0] == '-' || hex.p[0] == '+' || !decimal(hex, std::chars_format::hex, &v))
            return false;
        *ret = neg ? -v : v;
        return true;
    }
    return f64_parse(clean, ret);
}

// SPDX-License-Identifier: Apache-2.0
#include "base/parse.h"

#include "base/format.h"
#include "base/mem.h"

bool parse_u64(struct str s, uint64_t *ret)
{
    uint64_t v = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = (unsigned)(s.p[i] - '0');
        if (d > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v))
            return false;
    }
    *ret = v;
    return true;
}

bool parse_i64(struct str s, int64_t *ret)
{
    bool neg = s.n && s.p[0] == '-';
    if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
        s = str_sub(s, 1, s.n);
    uint64_t u;
    if (!parse_u64(s, &u) || u > (uint64_t)INT64_MAX + neg)
        return false;
    *ret = (int64_t)(neg ? -u : u);
    return true;
}

bool parse_bool(struct str s, bool *ret)
{
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (str_ieq(s, str_of(yes[i])) || str_ieq(s, str_of(no[i]))) {
            *ret = str_ieq(s, str_of(yes[i]));
            return true;
        }
    }
    return false;
}

static const struct {
    struct str name;
    int64_t ms;
} duration_units[] = {
    {{"y", 1}, 365LL * 86400000},
    {{"w", 1}, 7LL * 86400000},
    {{"d", 1}, 86400000},
    {{"h", 1}, 3600000},
    {{"m", 1}, 60000},
    {{"s", 1}, 1000},
    {{"ms", 2}, 1},
};

static size_t digits(struct str s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static size_t letters(struct str s)
{
    size_t n = 0;
    while (n < s.n && (letter(s.p[n]) || (unsigned char)s.p[n] >= 0x80))
        n++;
    return n;
}

bool parse_duration_ms(struct str s, int64_t *ret_ms)
{
    int64_t total = 0;
    size_t next_unit = 0;
    if (str_eq(s, STR("0"))) {
        *ret_ms = 0;
        return true;
    }
    if (s.n == 0)
        return false;
    while (s.n) {
        size_t nd = digits(s), nl = letters(str_sub(s, nd, s.n));
        uint64_t v;
        if (!parse_u64(str_sub(s, 0, nd), &v) || v > INT64_MAX)
            return false;
        struct str unit = str_sub(s, nd, nd + nl);
        while (next_unit < ARRAY_LEN(duration_units) && !str_eq(unit, duration_units[next_unit].name))
            next_unit++;
        int64_t part;
        if (next_unit == ARRAY_LEN(duration_units) ||
            __builtin_mul_overflow((int64_t)v, duration_units[next_unit].ms, &part) ||
            __builtin_add_overflow(total, part, &total))
            return false;
        next_unit++;
        s = str_sub(s, nd + nl, s.n);
    }
    *ret_ms = total;
    return true;
}

bool parse_go_duration_ms(struct str s, int64_t *ret_ms)
{
    static const struct {
        struct str name;
        double ms;
    } units[] = {{{"ns", 2}, 1e-6}, {{"us", 2}, 1e-3}, {{"\xc2\xb5s", 3}, 1e-3}, {{"\xce\xbcs", 3}, 1e-3},
                 {{"ms", 2}, 1},    {{"s", 1}, 1000},  {{"m", 1}, 60000},        {{"h", 1}, 3600000}};
    bool neg = s.n && s.p[0] == '-';
    if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
        s = str_sub(s, 1, s.n);
    if (str_eq(s, STR("0"))) {
        *ret_ms = 0;
        return true;
    }
    if (s.n == 0)
        return false;
    double total = 0;
    while (s.n) {
        size_t ni = digits(s), nf = 0;
        uint64_t whole = 0, frac = 0;
        if (ni && !parse_u64(str_sub(s, 0, ni), &whole))
            return false;
        struct str rest = str_sub(s, ni, s.n);
        double value = (double)whole;
        if (rest.n && rest.p[0] == '.') {
            rest = str_sub(rest, 1, rest.n);
            nf = digits(rest);
            if (nf && !parse_u64(str_sub(rest, 0, MIN(nf, (size_t)18)), &frac))
                return false;
            double scale = 1;
            for (size_t i = 0; i < MIN(nf, (size_t)18); i++)
                scale *= 10;
            value += (double)frac / scale;
            rest = str_sub(rest, nf, rest.n);
        }
        if (ni + nf == 0)
            return false;
        size_t nl = letters(rest), u = 0;
        while (u < ARRAY_LEN(units) && !str_eq(str_sub(rest, 0, nl), units[u].name))
            u++;
        if (u == ARRAY_LEN(units))
            return false;
        total += value * units[u].ms;
        s = str_sub(rest, nl, rest.n);
    }
    if (total > 9.2e15) /* Go's duration ends near 292 years */
        return false;
    *ret_ms = (int64_t)(neg ? -total : total);
    return true;
}

bool parse_bytes(struct str s, uint64_t *ret)
{
    size_t nd = digits(s);
    uint64_t v;
    if (!parse_u64(str_sub(s, 0, nd), &v))
        return false;
    struct str unit = str_sub(s, nd, s.n);
    static const char scale[] = "KMGTPE";
    unsigned power = 0;
    if (unit.n && !str_ieq(unit, STR("B"))) {
        for (; power < sizeof(scale) - 1 && (unit.p[0] & ~32) != scale[power]; power++)
            ;
        if (power++ == sizeof(scale) - 1)
            return false;
        unit = str_sub(unit, 1, unit.n);
        if (unit.n && !str_ieq(unit, STR("B")) && !str_ieq(unit, STR("iB")))
            return false;
    }
    if (power && v > UINT64_MAX >> (10 * power))
        return false;
    *ret = v << (10 * power);
    return true;
}

static bool fixed(struct str *s, size_t n, char after, int *ret)
{
    uint64_t v;
    if (s->n < n || !parse_u64(str_sub(*s, 0, n), &v))
        return false;
    *s = str_sub(*s, n, s->n);
    if (after) {
        if (!s->n || s->p[0] != after)
            return false;
        *s = str_sub(*s, 1, s->n);
    }
    *ret = (int)v;
    return true;
}

bool parse_rfc3339_ms(struct str s, int64_t *ret_ms)
{
    static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int y, mon, d, h, min, sec;
    if (!fixed(&s, 4, '-', &y) || !fixed(&s, 2, '-', &mon) || !fixed(&s, 2, 0, &d) || !s.n ||
        (s.p[0] != 'T' && s.p[0] != 't' && s.p[0] != ' '))
        return false;
    s = str_sub(s, 1, s.n);
    if (!fixed(&s, 2, ':', &h) || !fixed(&s, 2, ':', &min) || !fixed(&s, 2, 0, &sec))
        return false;
    if (mon < 1 || mon > 12 || d < 1 || d > month_days[mon - 1] || h > 23 || min > 59 || sec > 60)
        return false;
    if (mon == 2 && d == 29 && (y % 4 != 0 || (y % 100 == 0 && y % 400 != 0)))
        return false;
    int64_t ms = 0;
    if (s.n && s.p[0] == '.') {
        size_t nd = digits(str_sub(s, 1, s.n));
        if (nd == 0)
            return false;
        int64_t scale = 100;
        for (size_t i = 1; i <= nd && scale; i++, scale /= 10)
            ms += (s.p[i] - '0') * scale;
        s = str_sub(s, nd + 1, s.n);
    }
    int64_t offset_min = 0;
    if (s.n == 1 && (s.p[0] == 'Z' || s.p[0] == 'z')) {
        s.n = 0;
    } else if (s.n == 6 && (s.p[0] == '+' || s.p[0] == '-')) {
        int oh, om, sign = s.p[0] == '-' ? -1 : 1;
        s = str_sub(s, 1, s.n);
        if (!fixed(&s, 2, ':', &oh) || !fixed(&s, 2, 0, &om) || oh > 23 || om > 59)
            return false;
        offset_min = sign * (oh * 60 + om);
    } else {
        return false;
    }
    int64_t days = format_days_from_civil(y, mon, d);
    *ret_ms = ((days * 24 + h) * 60 + min - offset_min) * 60000 + sec * 1000 + ms;
    return s.n == 0;
}

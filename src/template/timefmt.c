// SPDX-License-Identifier: Apache-2.0
/* Go's time layouts ("Mon Jan 2 15:04:05 MST 2006"): one table of reference words serves writing and reading. */
#include "template/template_int.h"
#include "base/format.h"
#include "template/time_int.h"

enum field {
    F_NONE,
    F_LONG_MONTH,
    F_MONTH,
    F_NUM_MONTH,
    F_ZERO_MONTH,
    F_LONG_WEEKDAY,
    F_WEEKDAY,
    F_DAY,
    F_UNDER_DAY,
    F_ZERO_DAY,
    F_YEARDAY,
    F_HOUR,
    F_HOUR12,
    F_ZERO_HOUR12,
    F_MINUTE,
    F_ZERO_MINUTE,
    F_SECOND,
    F_ZERO_SECOND,
    F_LONG_YEAR,
    F_YEAR,
    F_PM,
    F_pm,
    F_ZONE,
    F_ISO_COLON,
    F_ISO,
    F_NUM_COLON,
    F_NUM,
    F_NUM_SHORT,
    F_FRAC_ZERO,
    F_FRAC,
};

static const struct {
    const char *word;
    enum field field;
} words[] = {
    /* longest first where one begins another */
    {"January", F_LONG_MONTH},
    {"Jan", F_MONTH},
    {"Monday", F_LONG_WEEKDAY},
    {"Mon", F_WEEKDAY},
    {"MST", F_ZONE},
    {"2006", F_LONG_YEAR},
    {"-07:00", F_NUM_COLON},
    {"-0700", F_NUM},
    {"-07", F_NUM_SHORT},
    {"Z07:00", F_ISO_COLON},
    {"Z0700", F_ISO},
    {"002", F_YEARDAY},
    {"01", F_ZERO_MONTH},
    {"02", F_ZERO_DAY},
    {"03", F_ZERO_HOUR12},
    {"04", F_ZERO_MINUTE},
    {"05", F_ZERO_SECOND},
    {"06", F_YEAR},
    {"15", F_HOUR},
    {"_2", F_UNDER_DAY},
    {"PM", F_PM},
    {"pm", F_pm},
    {"1", F_NUM_MONTH},
    {"2", F_DAY},
    {"3", F_HOUR12},
    {"4", F_MINUTE},
    {"5", F_SECOND},
};

static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

/* The field at the start of the layout and how long it is; F_NONE and 1 for a literal byte. */
static enum field field_at(struct str l, size_t *ret_n)
{
    if (l.n > 1 && (l.p[0] == '.' || l.p[0] == ',') && (l.p[1] == '0' || l.p[1] == '9')) {
        size_t k = 1;
        while (k < l.n && l.p[k] == l.p[1])
            k++;
        if (k >= l.n || l.p[k] < '0' || l.p[k] > '9') {
            *ret_n = k;
            return l.p[1] == '0' ? F_FRAC_ZERO : F_FRAC;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_starts(l, str_of(words[i].word))) {
            *ret_n = strlen(words[i].word);
            return words[i].field;
        }
    *ret_n = 1;
    return F_NONE;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static void put_offset(struct buf *b, int32_t off, bool colon, bool mins)
{
    int a = off < 0 ? -off : off;
    buf_fmt(b, "%c%02d", off < 0 ? '-' : '+', a / 3600);
    if (mins)
        buf_fmt(b, colon ? ":%02d" : "%02d", a / 60 % 60);
}

void time_format_go(struct buf *b, int64_t ms, struct str layout, int32_t offset_s, struct str zone)
{
    int64_t local = ms + (int64_t)offset_s * 1000;
    int y, mon, d, h, min, s;
    format_civil(local, &y, &mon, &d, &h, &min, &s);
    int64_t day = floor_div(local, 86400000);
    int wd = (int)(((day + 4) % 7 + 7) % 7);
    int frac = (int)(local - floor_div(local, 1000) * 1000);
    for (size_t i = 0; i < layout.n;) {
        size_t n;
        enum field f = field_at(str_sub(layout, i, layout.n), &n);
        switch (f) {
        case F_NONE:
            buf_putc(b, layout.p[i]);
            break;
        case F_LONG_MONTH:
            buf_z(b, months[mon - 1]);
            break;
        case F_MONTH:
            buf_put(b, months[mon - 1], 3);
            break;
        case F_NUM_MONTH:
            buf_i64(b, mon);
            break;
        case F_ZERO_MONTH:
            buf_fmt(b, "%02d", mon);
            break;
        case F_LONG_WEEKDAY:
            buf_z(b, days[wd]);
            break;
        case F_WEEKDAY:
            buf_put(b, days[wd], 3);
            break;
        case F_DAY:
            buf_i64(b, d);
            break;
        case F_UNDER_DAY:
            buf_fmt(b, "%2d", d);
            break;
        case F_ZERO_DAY:
            buf_fmt(b, "%02d", d);
            break;
        case F_YEARDAY:
            buf_fmt(b, "%03d", (int)(day - format_days_from_civil(y, 1, 1)) + 1);
            break;
        case F_HOUR:
            buf_fmt(b, "%02d", h);
            break;
        case F_HOUR12:
            buf_i64(b, h % 12 ? h % 12 : 12);
            break;
        case F_ZERO_HOUR12:
            buf_fmt(b, "%02d", h % 12 ? h % 12 : 12);
            break;
        case F_MINUTE:
            buf_i64(b, min);
            break;
        case F_ZERO_MINUTE:
            buf_fmt(b, "%02d", min);
            break;
        case F_SECOND:
            buf_i64(b, s);
            break;
        case F_ZERO_SECOND:
            buf_fmt(b, "%02d", s);
            break;
        case F_LONG_YEAR:
            buf_fmt(b, "%04d", y);
            break;
        case F_YEAR:
            buf_fmt(b, "%02d", ((y % 100) + 100) % 100);
            break;
        case F_PM:
            buf_z(b, h >= 12 ? "PM" : "AM");
            break;
        case F_pm:
            buf_z(b, h >= 12 ? "pm" : "am");
            break;
        case F_ZONE:
            if (zone.n)
                buf_str(b, zone);
            else
                put_offset(b, offset_s, false, offset_s % 3600 != 0);
            break;
        case F_ISO_COLON:
        case F_ISO:
            if (offset_s == 0)
                buf_putc(b, 'Z');
            else
                put_offset(b, offset_s, f == F_ISO_COLON, true);
            break;
        case F_NUM_COLON:
            put_offset(b, offset_s, true, true);
            break;
        case F_NUM:
            put_offset(b, offset_s, false, true);
            break;
        case F_NUM_SHORT:
            put_offset(b, offset_s, false, false);
            break;
        case F_FRAC_ZERO:
        case F_FRAC: {
            char t[12];
            size_t k = MIN(n - 1, 9);
            for (size_t q = 0; q < 9; q++)
                t[q] = '0';
            t[0] = (char)('0' + frac / 100);
            t[1] = (char)('0' + frac / 10 % 10);
            t[2] = (char)('0' + frac % 10);
            if (f == F_FRAC)
                while (k && t[k - 1] == '0')
                    k--;
            if (k) {
                buf_putc(b, layout.p[i]);
                buf_put(b, t, k);
            }
            break;
        }
        }
        i += n;
    }
}

static bool number(struct str *s, size_t min, size_t max, int *ret)
{
    size_t n = 0;
    int v = 0;
    for (; n < max && n < s->n && s->p[n] >= '0' && s->p[n] <= '9'; n++)
        v = v * 10 + (s->p[n] - '0');
    if (n < min)
        return false;
    *s = str_sub(*s, n, s->n);
    *ret = v;
    return true;
}

static bool word(struct str *s, const char *const *names, size_t n_names, bool full, int *ret)
{
    for (size_t i = 0; i < n_names; i++) {
        size_t n = full ? strlen(names[i]) : 3;
        if (s->n >= n && str_ieq(str_sub(*s, 0, n), str_make(names[i], n))) {
            *s = str_sub(*s, n, s->n);
            *ret = (int)i;
            return true;
        }
    }
    return false;
}

bool time_parse_go(struct str layout, struct str s, int64_t *ret_ms)
{
    int y = 0, mon = 1, d = 1, h = 0, min = 0, sec = 0, pm = -1, v, off = 0, ms = 0;
    for (size_t i = 0; i < layout.n;) {
        size_t n;
        enum field f = field_at(str_sub(layout, i, layout.n), &n);
        bool ok = true;
        switch (f) {
        case F_NONE:
            ok = s.n && s.p[0] == layout.p[i];
            s = str_sub(s, 1, s.n);
            break;
        case F_LONG_MONTH:
        case F_MONTH:
            ok = word(&s, months, 12, f == F_LONG_MONTH, &mon);
            mon++;
            break;
        case F_NUM_MONTH:
        case F_ZERO_MONTH:
            ok = number(&s, f == F_ZERO_MONTH ? 2 : 1, 2, &mon);
            break;
        case F_LONG_WEEKDAY:
        case F_WEEKDAY:
            ok = word(&s, days, 7, f == F_LONG_WEEKDAY, &v);
            break;
        case F_UNDER_DAY:
            if (s.n && s.p[0] == ' ')
                s = str_sub(s, 1, s.n);
            ok = number(&s, 1, 2, &d);
            break;
        case F_DAY:
        case F_ZERO_DAY:
            ok = number(&s, f == F_ZERO_DAY ? 2 : 1, 2, &d);
            break;
        case F_YEARDAY:
            ok = number(&s, 3, 3, &d) && d >= 1 && d <= 366;
            mon = -1;
            break;
        case F_HOUR:
            ok = number(&s, 2, 2, &h);
            break;
        case F_HOUR12:
        case F_ZERO_HOUR12:
            ok = number(&s, f == F_ZERO_HOUR12 ? 2 : 1, 2, &h) && h <= 12;
            break;
        case F_MINUTE:
        case F_ZERO_MINUTE:
            ok = number(&s, f == F_ZERO_MINUTE ? 2 : 1, 2, &min);
            break;
        case F_SECOND:
        case F_ZERO_SECOND:
            ok = number(&s, f == F_ZERO_SECOND ? 2 : 1, 2, &sec);
            break;
        case F_LONG_YEAR:
            ok = number(&s, 4, 4, &y);
            break;
        case F_YEAR:
            ok = number(&s, 2, 2, &y);
            y += y >= 69 ? 1900 : 2000;
            break;
        case F_PM:
        case F_pm:
            ok = s.n >= 2 && (s.p[1] | 0x20) == 'm' && ((s.p[0] | 0x20) == 'p' || (s.p[0] | 0x20) == 'a');
            pm = ok && (s.p[0] | 0x20) == 'p';
            s = str_sub(s, 2, s.n);
            break;
        case F_ZONE:
            ok = str_starts(s, STR("UTC")) || str_starts(s, STR("GMT"));
            s = str_sub(s, 3, s.n);
            break;
        case F_ISO_COLON:
        case F_ISO:
        case F_NUM_COLON:
        case F_NUM:
        case F_NUM_SHORT:
            if ((f == F_ISO || f == F_ISO_COLON) && s.n && s.p[0] == 'Z') {
                s = str_sub(s, 1, s.n);
                break;
            }
            {
                int oh = 0, om = 0, sign = s.n && s.p[0] == '-' ? -1 : 1;
                ok = s.n && (s.p[0] == '-' || s.p[0] == '+');
                s = str_sub(s, 1, s.n);
                ok = ok && number(&s, 2, 2, &oh);
                if (f == F_ISO_COLON || f == F_NUM_COLON) {
                    ok = ok && s.n && s.p[0] == ':';
                    s = str_sub(s, 1, s.n);
                }
                if (f != F_NUM_SHORT)
                    ok = ok && number(&s, 2, 2, &om);
                off = sign * (oh * 3600 + om * 60);
            }
            break;
        case F_FRAC_ZERO:
        case F_FRAC: {
            int scale = 100;
            ok = s.n && s.p[0] == layout.p[i];
            for (s = str_sub(s, 1, s.n); s.n && s.p[0] >= '0' && s.p[0] <= '9'; s = str_sub(s, 1, s.n), scale /= 10)
                ms += (s.p[0] - '0') * scale;
            break;
        }
        }
        if (!ok)
            return false;
        i += n;
    }
    if (s.n || mon > 12 || mon == 0 || d < 1 || h > 23 || min > 59 || sec > 59)
        return false;
    if (pm == 1 && h < 12)
        h += 12;
    if (pm == 0 && h == 12)
        h = 0;
    int64_t day;
    if (mon < 0) {
        day = format_days_from_civil(y, 1, 1) + d - 1;
    } else {
        int next_y = mon == 12 ? y + 1 : y, next_m = mon == 12 ? 1 : mon + 1;
        if (d > format_days_from_civil(next_y, next_m, 1) - format_days_from_civil(y, mon, 1))
            return false;
        day = format_days_from_civil(y, mon, d);
    }
    *ret_ms = (day * 86400 + h * 3600 + min * 60 + sec - off) * 1000 + ms;
    return true;
}

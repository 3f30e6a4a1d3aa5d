// SPDX-License-Identifier: Apache-2.0
#include "base/format.h"

#include "base/mem.h"

void format_duration_ms(struct buf *b, int64_t ms)
{
    static const struct {
        const char *name;
        int64_t ms;
        bool exact; /* only when it divides what is left */
    } units[] = {
        {"y", 365LL * 86400000, true}, {"w", 7LL * 86400000, true}, {"d", 86400000, true}, {"h", 3600000, false},
        {"m", 60000, false},           {"s", 1000, false},          {"ms", 1, false}};
    if (ms == 0) {
        buf_z(b, "0s");
        return;
    }
    if (ms < 0)
        buf_putc(b, '-');
    uint64_t left = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        uint64_t unit = (uint64_t)units[i].ms;
        if (left < unit || (units[i].exact && left % unit))
            continue;
        buf_u64(b, left / unit);
        buf_z(b, units[i].name);
        left %= unit;
    }
}

void format_duration_human(struct buf *b, int64_t ms)
{
    if (ms < 0) {
        buf_putc(b, '-');
        ms = ms == INT64_MIN ? INT64_MAX : -ms;
    }
    if (ms < 1000)
        buf_fmt(b, "%lldms", (long long)ms);
    else if (ms < 60000)
        buf_fmt(b, "%lld.%llds", (long long)(ms / 1000), (long long)(ms % 1000 / 100));
    else if (ms < 3600000)
        buf_fmt(b, "%lldm %llds", (long long)(ms / 60000), (long long)(ms % 60000 / 1000));
    else if (ms < 86400000)
        buf_fmt(b, "%lldh %lldm", (long long)(ms / 3600000), (long long)(ms % 3600000 / 60000));
    else
        buf_fmt(b, "%lldd %lldh", (long long)(ms / 86400000), (long long)(ms % 86400000 / 3600000));
}

/* Days and civil dates: the era arithmetic on 400-year cycles, years beginning in March. */
int64_t format_days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

void format_civil(int64_t ms, int *ret_y, int *ret_mon, int *ret_d, int *ret_h, int *ret_min, int *ret_s)
{
    int64_t s = ms >= 0 ? ms / 1000 : -((-ms + 999) / 1000);
    int64_t days = s >= 0 ? s / 86400 : -((-s + 86399) / 86400);
    int64_t in_day = s - days * 86400;
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *ret_d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *ret_mon = (int)(mp < 10 ? mp + 3 : mp - 9);
    *ret_y = (int)(yoe + era * 400 + (*ret_mon <= 2));
    *ret_h = (int)(in_day / 3600);
    *ret_min = (int)(in_day / 60 % 60);
    *ret_s = (int)(in_day % 60);
}

void format_rfc3339_ms(struct buf *b, int64_t ms)
{
    int y, mon, d, h, min, s;
    format_civil(ms, &y, &mon, &d, &h, &min, &s);
    int64_t frac = ms % 1000;
    buf_fmt(b, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", y, mon, d, h, min, s, (int)(frac < 0 ? frac + 1000 : frac));
}

void format_bytes(struct buf *b, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t u = 0;
    double v = (double)bytes;
    while (v >= 1024 && u + 1 < ARRAY_LEN(units)) {
        v /= 1024;
        u++;
    }
    buf_fmt(b, u == 0 || v >= 100 ? "%.0f %s" : "%.1f %s", v, units[u]);
}

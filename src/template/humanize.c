// SPDX-License-Identifier: Apache-2.0
/* Numbers for people, as Prometheus' templates write them (prometheus/common helpers/templates, template.go 3.x). */
#include "template/template_int.h"
#include <math.h>

static const char *const big[] = {"k", "M", "G", "T", "P", "E", "Z", "Y"};
static const char *const tiny[] = {"m", "u", "n", "p", "f", "a", "z", "y"};
static const char *const binary[] = {"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"};

static void g4(struct buf *b, double v, const char *suffix)
{
    if (isnan(v))
        buf_z(b, "NaN");
    else if (isinf(v))
        buf_z(b, v > 0 ? "+Inf" : "-Inf");
    else
        buf_fmt(b, "%.4g", v);
    buf_z(b, suffix);
}

void humanize(struct buf *b, double v)
{
    const char *prefix = "";
    if (v == 0 || isnan(v) || isinf(v)) {
        g4(b, v, "");
        return;
    }
    if (fabs(v) >= 1) {
        for (size_t i = 0; i < ARRAY_LEN(big) && fabs(v) >= 1000; i++) {
            prefix = big[i];
            v /= 1000;
        }
    } else {
        for (size_t i = 0; i < ARRAY_LEN(tiny) && fabs(v) < 1; i++) {
            prefix = tiny[i];
            v *= 1000;
        }
    }
    g4(b, v, prefix);
}

void humanize_1024(struct buf *b, double v)
{
    const char *prefix = "";
    if (!isnan(v) && !isinf(v) && fabs(v) > 1)
        for (size_t i = 0; i < ARRAY_LEN(binary) && fabs(v) >= 1024; i++) {
            prefix = binary[i];
            v /= 1024;
        }
    g4(b, v, prefix);
}

void humanize_duration(struct buf *b, double v)
{
    if (isnan(v) || isinf(v)) {
        g4(b, v, "");
        return;
    }
    if (v == 0) {
        g4(b, v, "s");
        return;
    }
    if (fabs(v) >= 1) {
        const char *sign = v < 0 ? "-" : "";
        double a = fabs(v);
        long long d = a < 9e18 ? (long long)a : INT64_MAX;
        long long s = d % 60, m = d / 60 % 60, h = d / 3600 % 24, days = d / 86400;
        if (days)
            buf_fmt(b, "%s%lldd %lldh %lldm %llds", sign, days, h, m, s);
        else if (h)
            buf_fmt(b, "%s%lldh %lldm %llds", sign, h, m, s);
        else if (m)
            buf_fmt(b, "%s%lldm %llds", sign, m, s);
        else
            buf_fmt(b, "%.4gs", v);
        return;
    }
    const char *prefix = "";
    for (size_t i = 0; i < ARRAY_LEN(tiny) && fabs(v) < 1; i++) {
        prefix = tiny[i];
        v *= 1000;
    }
    g4(b, v, prefix);
    buf_putc(b, 's');
}

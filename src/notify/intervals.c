// SPDX-License-Identifier: Apache-2.0
/* Time intervals of routes, and time zones from the system's zone files (TZif, RFC 8536). */
#include "notify/notify_int.h"
#include "base/format.h"
#include "base/parse.h"
#include "sys/fs.h"
#include <stdio.h>

/* ---- time zones: kept for ever, few ---- */

struct zone {
    char name[64];
    size_t n;
    int64_t *at; /* seconds: from here on, type idx */
    uint8_t *idx;
    struct {
        int32_t off;
        uint8_t abbrev;
        bool dst;
    } types[256];
    size_t n_types;
    char abbrevs[512];
    struct zone *next;
    /* what holds after the last transition (POSIX TZ string), as far as people's zones need: Mm.w.d rules */
    bool has_rule, has_dst;
    int32_t std_off, dst_off;
    int rule[2][4]; /* month, week, day, second of the day; to DST, back */
    char std_name[12], dst_name[12];
};
static struct zone *zones;
static pthread_mutex_t zones_mu = PTHREAD_MUTEX_INITIALIZER;

static uint32_t be32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static bool tz_name(const char **p, char out[12])
{
    size_t n = 0;
    bool angle = **p == '<';
    *p += angle;
    while (**p && (angle ? **p != '>' : ((**p | 0x20) >= 'a' && (**p | 0x20) <= 'z'))) {
        if (n < 11)
            out[n++] = **p;
        (*p)++;
    }
    out[n] = 0;
    *p += angle && **p;
    return n > 0;
}

static int tz_number(const char **p)
{
    int v = 0;
    while (**p >= '0' && **p <= '9' && v < 100000)
        v = v * 10 + *(*p)++ - '0';
    return v;
}

static int32_t tz_time(const char **p)
{
    int sign = **p == '-' ? -1 : 1;
    *p += **p == '-' || **p == '+';
    int h = tz_number(p), m = 0, s = 0;
    if (**p == ':') {
        (*p)++;
        m = tz_number(p);
        if (**p == ':') {
            (*p)++;
            s = tz_number(p);
        }
    }
    return sign * (h * 3600 + m * 60 + s);
}

static void posix_rule(struct zone *z, const char *p)
{
    if (!tz_name(&p, z->std_name))
        return;
    z->std_off = -tz_time(&p);
    z->has_rule = true;
    if (!*p)
        return;
    if (!tz_name(&p, z->dst_name))
        return;
    z->dst_off = *p == ',' ? z->std_off + 3600 : -tz_time(&p);
    for (int i = 0; i < 2; i++) {
        if (p[0] != ',' || p[1] != 'M')
            return;
        p += 2;
        for (int k = 0; k < 3; k++) {
            z->rule[i][k] = tz_number(&p);
            p += k < 2 && *p == '.';
        }
        z->rule[i][3] = 7200;
        if (*p == '/') {
            p++;
            z->rule[i][3] = tz_time(&p);
        }
    }
    z->has_dst = true;
}

static bool read_zone(struct zone *z, struct str d)
{
    if (d.n < 44 || memcmp(d.p, "TZif", 4) != 0)
        return false;
    size_t width = 4, at = 0;
    if (d.p[4] >= '2') { /* the 64-bit block comes second */
        const char *h = d.p + 20;
        at = 44 + be32(h + 12) * 5 + be32(h + 16) * 6 + be32(h + 20) + be32(h + 8) * 8 + be32(h + 4) + be32(h);
        width = 8;
        if (at + 44 > d.n || memcmp(d.p + at, "TZif", 4) != 0)
            return false;
    }
    const char *h = d.p + at + 20;
    size_t isut = be32(h), isstd = be32(h + 4), leaps = be32(h + 8), times = be32(h + 12), types = be32(h + 16),
           chars = be32(h + 20);
    const char *p = d.p + at + 44;
    if (times > 10000 || types > 256 || !types || chars > sizeof(z->abbrevs) || leaps > 1000)
        return false;
    size_t need = times * (width + 1) + types * 6 + chars + leaps * (width + 4) + isstd + isut;
    if ((size_t)(d.p + d.n - p) < need)
        return false;
    z->n = times;
    z->at = xcalloc(times + 1, sizeof(*z->at));
    z->idx = xcalloc(times + 1, 1);
    for (size_t i = 0; i < times; i++, p += width)
        z->at[i] = width == 8 ? (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4)) : (int32_t)be32(p);
    for (size_t i = 0; i < times; i++)
        z->idx[i] = (uint8_t)*p++;
    z->n_types = types;
    for (size_t i = 0; i < types; i++, p += 6) {
        z->types[i].off = (int32_t)be32(p);
        z->types[i].dst = p[4];
        z->types[i].abbrev = (uint8_t)p[5];
    }
    memcpy(z->abbrevs, p, chars);
    z->abbrevs[MIN(chars, sizeof(z->abbrevs) - 1)] = 0;
    for (size_t i = 0; i < times; i++)
        if (z->idx[i] >= types)
            return false;
    for (size_t i = 0; i < types; i++)
        if (z->types[i].abbrev >= chars)
            return false;
    p += chars + leaps * (width + 4) + isstd + isut;
    if (width == 8 && p < d.p + d.n && *p == '\n') {
        struct str rest = str_make(p + 1, (size_t)(d.p + d.n - p - 1)), line;
        if (str_line(&rest, &line)) {
            char *text = str_dupz(line);
            posix_rule(z, text);
            free(text);
        }
    }
    return true;
}

const void *zone_find(struct str name)
{
    if (!name.n || name.n >= sizeof(zones->name) || str_find(name, STR("..")) >= 0 || name.p[0] == '/' ||
        str_eqz(name, "UTC"))
        return NULL;
    for (size_t i = 0; i < name.n; i++)
        if (!((name.p[i] | 0x20) >= 'a' && (name.p[i] | 0x20) <= 'z') && !(name.p[i] >= '0' && name.p[i] <= '9') &&
            !strchr("/_+-", name.p[i]))
            return NULL;
    pthread_mutex_lock(&zones_mu);
    struct zone *z = zones;
    while (z && !str_eqz(name, z->name))
        z = z->next;
    if (!z) {
        char path[128];
        if (str_eqz(name, "Local"))
            snprintf(path, sizeof(path), "/etc/localtime");
        else
            snprintf(path, sizeof(path), "/usr/share/zoneinfo/" STR_FMT, STR_ARG(name));
        struct buf b = BUF_INIT(1 << 20);
        z = NEW(struct zone);
        if (fs_read_file(path, &b) || !read_zone(z, buf_view(&b))) {
            free(z->at);
            free(z->idx);
            free(z);
            z = NULL;
        } else {
            memcpy(z->name, name.p, name.n);
            z->next = zones;
            zones = z;
        }
        buf_done(&b);
    }
    pthread_mutex_unlock(&zones_mu);
    return z;
}

/* Second of the year in which rule i comes into force, in local standard or daylight time. */
static int64_t rule_second(const struct zone *z, int y, int i)
{
    const int *r = z->rule[i];
    int64_t first = format_days_from_civil(y, r[0], 1);
    int wd = (int)(((first + 4) % 7 + 7) % 7);
    int64_t day = first + (r[2] - wd + 7) % 7 + 7 * (r[1] - 1);
    int64_t next = r[0] == 12 ? format_days_from_civil(y + 1, 1, 1) : format_days_from_civil(y, r[0] + 1, 1);
    while (day >= next)
        day -= 7;
    return day * 86400 + r[3];
}

void zone_at(const void *zone, int64_t ms, int32_t *ret_offset_s, struct str *ret_abbrev)
{
    const struct zone *z = zone;
    if (!z)
        return;
    int64_t s = ms >= 0 ? ms / 1000 : -((-ms + 999) / 1000);
    if (z->has_rule && (!z->n || s >= z->at[z->n - 1])) {
        bool dst = false;
        if (z->has_dst) {
            int y, mo, d, hh, mm, ss;
            format_civil(ms + (int64_t)z->std_off * 1000, &y, &mo, &d, &hh, &mm, &ss);
            int64_t on = rule_second(z, y, 0) - z->std_off, off = rule_second(z, y, 1) - z->dst_off;
            dst = on < off ? s >= on && s < off : s >= on || s < off;
        }
        *ret_offset_s = dst ? z->dst_off : z->std_off;
        *ret_abbrev = str_of(dst ? z->dst_name : z->std_name);
        return;
    }
    size_t lo = 0, hi = z->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (z->at[mid] <= s)
            lo = mid + 1;
        else
            hi = mid;
    }
    size_t type = lo ? z->idx[lo - 1] : 0;
    *ret_offset_s = z->types[type].off;
    *ret_abbrev = str_of(z->abbrevs + z->types[type].abbrev);
}

/* ---- reading ---- */

struct raw_part {
    const struct yaml_node *times;
    struct config_strs weekdays, days, months, years;
    struct str location;
};
#define P(member) offsetof(struct raw_part, member)
static const struct config_row part_rows[] = {
    {"times", CFG_NODE, P(times), .doc = "start_time and end_time, HH:MM, end exclusive"},
    {"weekdays", CFG_STRS, P(weekdays), .flags = CFG_SCALAR_OK, .doc = "monday or monday:friday"},
    {"days_of_month", CFG_STRS, P(days), .flags = CFG_SCALAR_OK, .doc = "1:5, -1 = the last"},
    {"months", CFG_STRS, P(months), .flags = CFG_SCALAR_OK, .doc = "names or 1:12"},
    {"years", CFG_STRS, P(years), .flags = CFG_SCALAR_OK, .doc = "2026:2028"},
    {"location", CFG_STR, P(location), .doc = "IANA zone, Local, or UTC (default)"},
};
static const struct config_schema part_schema = {.name = "time_interval",
                                                 .size = sizeof(struct raw_part),
                                                 .rows = part_rows,
                                                 .n = ARRAY_LEN(part_rows),
                                                 .doc = "Times at which something holds"};

static const char *const weekday_names[] = {"sunday",   "monday", "tuesday",  "wednesday",
                                            "thursday", "friday", "saturday", NULL};
static const char *const month_names[] = {"january", "february",  "march",   "april",    "may",      "june", "july",
                                          "august",  "september", "october", "november", "december", NULL};

static bool one_value(struct str s, const char *const *names, int base, int *ret)
{
    for (int i = 0; names && names[i]; i++)
        if (str_ieq(s, str_of(names[i]))) {
            *ret = i + base;
            return true;
        }
    int64_t v;
    if ((names == weekday_names) || !parse_i64(s, &v) || v < -10000 || v > 10000)
        return false;
    *ret = (int)v;
    return true;
}

static int read_ranges(struct load *l, const struct yaml_node *n, const char *key, const struct config_strs *in,
                       const char *const *names, int base, int min, int max, struct interval_ranges *out)
{
    const struct yaml_node *at = yaml_get(n, key);
    out->v = ARENA_ARRAY(l->c->arena, struct interval_range, in->n + 1);
    for (size_t i = 0; i < in->n; i++) {
        struct str a, b;
        bool pair = str_cut(in->v[i], ':', &a, &b);
        struct interval_range *r = &out->v[out->n++];
        if (!one_value(str_trim(a), names, base, &r->from) ||
            !one_value(pair ? str_trim(b) : str_trim(a), names, base, &r->to))
            return config_fail(l->ctx, at ? at : n, "%s: \"" STR_FMT "\" is not valid", key, STR_ARG(in->v[i]));
        bool negative = min < 0;
        if (r->from < min || r->to > max || r->to < min || r->from > max || (negative && (r->from == 0 || r->to == 0)))
            return config_fail(l->ctx, at ? at : n, "%s: \"" STR_FMT "\" is out of range", key, STR_ARG(in->v[i]));
        if (negative && r->from < 0 && r->to > 0)
            return config_fail(l->ctx, at ? at : n, "%s: end day must be negative if start day is negative", key);
        if ((r->from > 0) == (r->to > 0) && r->from > r->to)
            return config_fail(l->ctx, at ? at : n, "%s: start of \"" STR_FMT "\" is after its end", key,
                               STR_ARG(in->v[i]));
    }
    return 0;
}

static bool clock_time(struct str s, int *ret)
{
    struct str a, b;
    uint64_t h, m;
    if (!str_cut(s, ':', &a, &b) || a.n != 2 || b.n != 2 || !parse_u64(a, &h) || !parse_u64(b, &m) || h > 24 ||
        m > 59 || (h == 24 && m))
        return false;
    *ret = (int)(h * 60 + m);
    return true;
}

static int read_part(struct load *l, const struct yaml_node *n, struct interval_part *p)
{
    struct raw_part raw = {0};
    int e = config_read(l->ctx, &part_schema, n, &raw);
    if (e)
        return e;
    if (raw.times && raw.times->kind == YAML_SEQ) {
        p->times = ARENA_ARRAY(l->c->arena, struct interval_time, raw.times->n + 1);
        for (size_t i = 0; i < raw.times->n; i++) {
            const struct yaml_node *t = raw.times->items[i], *from = yaml_get(t, "start_time"),
                                   *to = yaml_get(t, "end_time");
            struct interval_time *x = &p->times[p->n_times++];
            if (!from || !to || !clock_time(from->s, &x->start_min) || !clock_time(to->s, &x->end_min))
                return config_fail(l->ctx, t, "times: wants start_time and end_time as HH:MM");
            if (x->start_min >= x->end_min)
                return config_fail(l->ctx, t, "times: start_time must be before end_time");
        }
    }
    if ((e = read_ranges(l, n, "weekdays", &raw.weekdays, weekday_names, 0, 0, 6, &p->weekdays)) ||
        (e = read_ranges(l, n, "days_of_month", &raw.days, NULL, 0, -31, 31, &p->days)) ||
        (e = read_ranges(l, n, "months", &raw.months, month_names, 1, 1, 12, &p->months)) ||
        (e = read_ranges(l, n, "years", &raw.years, NULL, 0, 0, 9999, &p->years)))
        return e;
    if (raw.location.n && !str_eqz(raw.location, "UTC")) {
        p->zone = zone_find(raw.location);
        const struct yaml_node *at = yaml_get(n, "location");
        if (!p->zone)
            return config_fail(l->ctx, at ? at : n, "unknown time zone \"" STR_FMT "\"", STR_ARG(raw.location));
    }
    return 0;
}

int intervals_read(struct load *l, const struct yaml_node *list, const char *key)
{
    if (!list || list->kind == YAML_NULL)
        return 0;
    if (list->kind != YAML_SEQ)
        return config_fail(l->ctx, list, "%s: wants a list", key);
    struct interval *all = ARENA_ARRAY(l->c->arena, struct interval, l->c->n_intervals + list->n + 1);
    if (l->c->n_intervals)
        memcpy(all, l->c->intervals, l->c->n_intervals * sizeof(*all));
    l->c->intervals = all;
    for (size_t i = 0; i < list->n; i++) {
        const struct yaml_node *n = list->items[i], *name = yaml_get(n, "name"), *parts = yaml_get(n, "time_intervals");
        if (!name || !name->s.n)
            return config_fail(l->ctx, n, "missing name in time interval");
        for (size_t k = 0; k < l->c->n_intervals; k++)
            if (str_eq(all[k].name, name->s))
                return config_fail(l->ctx, n, "time interval \"" STR_FMT "\" is not unique", STR_ARG(name->s));
        struct interval *iv = &all[l->c->n_intervals++];
        iv->name = name->s;
        if (parts && parts->kind == YAML_SEQ) {
            iv->v = ARENA_ARRAY(l->c->arena, struct interval_part, parts->n + 1);
            for (size_t k = 0; k < parts->n; k++) {
                int e = read_part(l, parts->items[k], &iv->v[iv->n++]);
                if (e)
                    return e;
            }
        }
    }
    return 0;
}

/* ---- asking ---- */

static bool in_ranges(const struct interval_ranges *r, int v)
{
    bool hit = r->n == 0;
    for (size_t i = 0; i < r->n && !hit; i++)
        hit = v >= r->v[i].from && v <= r->v[i].to;
    return hit;
}

static bool part_active(const struct interval_part *p, int64_t now_ms)
{
    int32_t off = 0;
    struct str abbrev = STR("UTC");
    zone_at(p->zone, now_ms, &off, &abbrev);
    int64_t local = now_ms + (int64_t)off * 1000;
    int y, mon, d, h, min, s;
    format_civil(local, &y, &mon, &d, &h, &min, &s);
    int64_t day = format_days_from_civil(y, mon, d);
    int64_t next = mon == 12 ? format_days_from_civil(y + 1, 1, 1) : format_days_from_civil(y, mon + 1, 1);
    int last = (int)(next - format_days_from_civil(y, mon, 1)), now_min = h * 60 + min;
    bool hit = p->n_times == 0;
    for (size_t i = 0; i < p->n_times && !hit; i++)
        hit = now_min >= p->times[i].start_min && now_min < p->times[i].end_min;
    if (!hit || !in_ranges(&p->weekdays, (int)(((day + 4) % 7 + 7) % 7)) || !in_ranges(&p->months, mon) ||
        !in_ranges(&p->years, y))
        return false;
    hit = p->days.n == 0;
    for (size_t i = 0; i < p->days.n && !hit; i++) {
        int from = p->days.v[i].from, to = p->days.v[i].to;
        if (from < 0)
            from = MAX(last + from + 1, 1);
        if (to < 0)
            to = last + to + 1;
        from = MIN(from, last + 1); /* a range wholly past the month's end holds on no day */
        hit = d >= from && d <= MIN(to, last);
    }
    return hit;
}

bool interval_active(const struct interval *iv, int64_t now_ms)
{
    for (size_t i = 0; i < iv->n; i++)
        if (part_active(&iv->v[i], now_ms))
            return true;
    return false;
}

// SPDX-License-Identifier: Apache-2.0
/* Values: truth, printing (fmt.Sprint) and printf (fmt.Sprintf). */
#include "template/template_int.h"
#include "base/format.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "codec/f64.h"
#include <math.h>
#include <stdio.h>

static const struct template_zones *zones;

void template_set_zones(const struct template_zones *z)
{
    zones = z;
}

const void *template_zone_find(struct str name)
{
    return zones ? zones->find(name) : NULL;
}

void template_zone_at(struct tval time, int32_t *ret_offset_s, struct str *ret_abbrev)
{
    if (time.zone && zones)
        zones->at(time.zone, time.i, ret_offset_s, ret_abbrev);
}

const char *tval_type(struct tval v)
{
    switch (v.kind) {
    case TVAL_NIL:
        return "<nil>";
    case TVAL_BOOL:
        return "bool";
    case TVAL_INT:
        return "int";
    case TVAL_FLOAT:
        return "float64";
    case TVAL_STR:
        return "string";
    case TVAL_LIST:
        return v.list->strings ? "[]string" : "[]interface {}";
    case TVAL_MAP:
        return v.map->methods ? v.map->methods->name : v.map->strings ? "map[string]string" : "map[string]interface {}";
    case TVAL_OBJ:
        return v.obj.type->name;
    case TVAL_TIME:
        return "time.Time";
    case TVAL_DURATION:
        return "time.Duration";
    }
    return "?";
}

bool tval_truth(struct template_run *r, struct tval v)
{
    v = template_view(r, v);
    switch (v.kind) {
    case TVAL_NIL:
        return false;
    case TVAL_BOOL:
        return v.b;
    case TVAL_INT:
    case TVAL_DURATION:
        return v.i != 0;
    case TVAL_FLOAT:
        return v.f != 0;
    case TVAL_STR:
        return v.s.n > 0;
    case TVAL_LIST:
        return v.list->n > 0;
    case TVAL_MAP:
        return v.map->n > 0;
    case TVAL_OBJ:
    case TVAL_TIME: /* structs are always true */
        return true;
    }
    return false;
}

bool tval_number(struct tval v, double *ret)
{
    switch (v.kind) {
    case TVAL_INT:
        *ret = (double)v.i;
        return true;
    case TVAL_FLOAT:
        *ret = v.f;
        return true;
    case TVAL_DURATION:
        *ret = (double)v.i / 1000;
        return true;
    case TVAL_STR:
        return f64_parse_go(v.s, ret);
    case TVAL_TIME:
        *ret = (double)v.i / 1000;
        return true;
    case TVAL_NIL:
    case TVAL_BOOL:
    case TVAL_LIST:
    case TVAL_MAP:
    case TVAL_OBJ:
        break;
    }
    return false;
}

struct tval tval_list_of(struct arena *a, const struct tval *v, size_t n)
{
    struct tlist *l = ARENA_NEW(a, struct tlist);
    struct tval *copy = ARENA_ARRAY(a, struct tval, n + 1);
    if (n)
        memcpy(copy, v, n * sizeof(*v));
    *l = (struct tlist){.n = n, .v = copy};
    return tval_list(l);
}

struct sort_pair {
    struct tpair p;
    size_t order;
};

static int by_key(const void *a, const void *b)
{
    const struct sort_pair *x = a, *y = b;
    int c = str_cmp(x->p.key, y->p.key);
    return c ? c : x->order < y->order ? -1 : 1;
}

struct tval tval_map_of(struct arena *a, const struct tpair *v, size_t n, bool strings)
{
    struct sort_pair *s = ARENA_ARRAY(a, struct sort_pair, n + 1);
    for (size_t i = 0; i < n; i++)
        s[i] = (struct sort_pair){.p = v[i], .order = i};
    qsort(s, n, sizeof(*s), by_key);
    struct tpair *out = ARENA_ARRAY(a, struct tpair, n + 1);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (k && str_eq(out[k - 1].key, s[i].p.key))
            k--;
        out[k++] = s[i].p;
    }
    struct tmap *m = ARENA_NEW(a, struct tmap);
    *m = (struct tmap){.n = k, .v = out, .strings = strings};
    return tval_map(m);
}

void go_quote(struct buf *b, struct str s)
{
    buf_putc(b, '"');
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        size_t k = utf8_decode(str_sub(s, i, s.n), &cp);
        unsigned char c = (unsigned char)s.p[i];
        if (!k) {
            buf_fmt(b, "\\x%02x", c);
            k = 1;
        } else if (c == '"' || c == '\\') {
            buf_putc(b, '\\');
            buf_putc(b, (char)c);
        } else if (c >= 7 && c <= 13) {
            buf_putc(b, '\\');
            buf_putc(b, "abtnvfr"[c - 7]);
        } else if (c < 0x20 || c == 0x7f) {
            buf_fmt(b, "\\x%02x", c);
        } else {
            buf_put(b, s.p + i, k);
        }
        i += k;
    }
    buf_putc(b, '"');
}

void duration_go(struct buf *b, int64_t ms)
{
    if (ms == 0) {
        buf_z(b, "0s");
        return;
    }
    uint64_t u = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
    if (ms < 0)
        buf_putc(b, '-');
    if (u < 1000) {
        buf_u64(b, u);
        buf_z(b, "ms");
        return;
    }
    if (u >= 3600000) {
        buf_u64(b, u / 3600000);
        buf_putc(b, 'h');
    }
    if (u >= 60000) {
        buf_u64(b, u / 60000 % 60);
        buf_putc(b, 'm');
    }
    buf_u64(b, u / 1000 % 60);
    unsigned frac = (unsigned)(u % 1000);
    if (frac) {
        char t[8];
        int n = snprintf(t, sizeof(t), ".%03u", frac);
        while (n > 1 && t[n - 1] == '0')
            n--;
        buf_put(b, t, (size_t)n);
    }
    buf_putc(b, 's');
}

static void print_time(struct buf *b, struct tval v)
{
    int32_t off = 0;
    struct str name = STR("UTC");
    template_zone_at(v, &off, &name);
    time_format_go(b, v.i, STR("2006-01-02 15:04:05.999999999 -0700 MST"), off, name);
}

/* %v of a value inside another: strings bare, maps as map[k:v], lists as [a b]. */
static void print_value(struct template_run *r, struct buf *b, struct tval v, unsigned depth)
{
    v = template_view(r, v);
    if (depth > 16 || buf_error(b)) {
        buf_z(b, "...");
        return;
    }
    switch (v.kind) {
    case TVAL_NIL:
        buf_z(b, "<nil>");
        return;
    case TVAL_BOOL:
        buf_z(b, v.b ? "true" : "false");
        return;
    case TVAL_INT:
        buf_i64(b, v.i);
        return;
    case TVAL_FLOAT:
        f64_put_g(b, v.f);
        return;
    case TVAL_STR:
        buf_str(b, v.s);
        return;
    case TVAL_LIST:
        buf_putc(b, '[');
        for (size_t i = 0; i < v.list->n; i++) {
            if (i)
                buf_putc(b, ' ');
            print_value(r, b, v.list->v[i], depth + 1);
        }
        buf_putc(b, ']');
        return;
    case TVAL_MAP:
        buf_z(b, "map[");
        for (size_t i = 0; i < v.map->n; i++) {
            if (i)
                buf_putc(b, ' ');
            buf_str(b, v.map->v[i].key);
            buf_putc(b, ':');
            print_value(r, b, v.map->v[i].value, depth + 1);
        }
        buf_putc(b, ']');
        return;
    case TVAL_OBJ:
        buf_fmt(b, "{%s}", v.obj.type->name);
        return;
    case TVAL_TIME:
        print_time(b, v);
        return;
    case TVAL_DURATION:
        duration_go(b, v.i);
        return;
    }
}

void tval_print(struct template_run *r, struct buf *b, struct tval v)
{
    print_value(r, b, v, 0);
}

void template_sprint(struct template_run *r, const struct tval *args, size_t n, bool line, struct buf *b)
{
    for (size_t i = 0; i < n; i++) {
        /* Sprint puts a blank between operands when neither is a string, Sprintln always. */
        if (i && (line || (args[i].kind != TVAL_STR && args[i - 1].kind != TVAL_STR)))
            buf_putc(b, ' ');
        tval_print(r, b, args[i]);
    }
    if (line)
        buf_putc(b, '\n');
}

/* ---- printf ---- */

struct spec {
    bool minus, plus, sharp, space, zero, has_width, has_prec;
    int width, prec;
    char verb;
};

static void pad(struct buf *b, const struct spec *s, struct str text, bool numeric)
{
    size_t w = 0;
    for (size_t i = 0; i < text.n; i++)
        w += ((unsigned char)text.p[i] & 0xc0) != 0x80;
    size_t fill = s->has_width && (size_t)s->width > w ? (size_t)s->width - w : 0;
    if (s->minus) {
        buf_str(b, text);
        while (fill--)
            buf_putc(b, ' ');
        return;
    }
    if (s->zero && numeric && text.n && (text.p[0] == '-' || text.p[0] == '+')) {
        buf_putc(b, text.p[0]);
        text = str_sub(text, 1, text.n);
    }
    while (fill-- > 0)
        buf_putc(b, s->zero ? '0' : ' ');
    buf_str(b, text);
}

static void bad_verb(struct template_run *r, struct buf *b, const struct spec *s, struct tval v)
{
    buf_fmt(b, "%%!%c(", s->verb);
    if (v.kind == TVAL_NIL) {
        buf_z(b, "<nil>");
    } else {
        buf_z(b, tval_type(v));
        buf_putc(b, '=');
        tval_print(r, b, v);
    }
    buf_putc(b, ')');
}

static void format_int(struct template_run *r, struct buf *b, const struct spec *s, struct tval v)
{
    int64_t i = v.i;
    uint64_t u = i < 0 ? -(uint64_t)i : (uint64_t)i;
    char digits[72];
    size_t n = sizeof(digits);
    unsigned base = 10;
    const char *prefix = "";
    switch (s->verb) {
    case 'v':
    case 'd':
        break;
    case 'b':
        base = 2;
        prefix = s->sharp ? "0b" : "";
        break;
    case 'o':
        base = 8;
        prefix = s->sharp ? "0" : "";
        break;
    case 'O':
        base = 8;
        prefix = "0o";
        break;
    case 'x':
        base = 16;
        prefix = s->sharp ? "0x" : "";
        break;
    case 'X':
        base = 16;
        prefix = s->sharp ? "0X" : "";
        break;
    case 'c': {
        char enc[4];
        size_t k = utf8_encode(u <= 0x10ffff && i >= 0 ? (uint32_t)u : 0xfffd, enc);
        pad(b, s, str_make(enc, k), false);
        return;
    }
    case 'q': {
        char enc[4];
        size_t k = utf8_encode(u <= 0x10ffff && i >= 0 ? (uint32_t)u : 0xfffd, enc);
        _cleanup_buf_ struct buf t = BUF_INIT(16);
        buf_putc(&t, '\'');
        if (k == 1 && (enc[0] == '\'' || enc[0] == '\\'))
            buf_putc(&t, '\\');
        buf_put(&t, enc, k);
        buf_putc(&t, '\'');
        pad(b, s, buf_view(&t), false);
        return;
    }
    case 'U':
        snprintf(digits, sizeof(digits), "U+%04llX", (unsigned long long)u);
        pad(b, s, str_of(digits), false);
        return;
    default:
        bad_verb(r, b, s, v);
        return;
    }
    const char *set = s->verb == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    do
        digits[--n] = set[u % base];
    while (u /= base);
    size_t have = sizeof(digits) - n;
    _cleanup_buf_ struct buf t = BUF_INIT(4096);
    if (i < 0)
        buf_putc(&t, '-');
    else if (s->plus)
        buf_putc(&t, '+');
    else if (s->space)
        buf_putc(&t, ' ');
    buf_z(&t, prefix);
    if (s->has_prec)
        for (size_t k = have; k < (size_t)s->prec && k < 1000; k++)
            buf_putc(&t, '0');
    buf_put(&t, digits + n, have);
    struct spec p = *s;
    p.zero = s->zero && !s->has_prec;
    pad(b, &p, buf_view(&t), true);
}

static void format_float(struct template_run *r, struct buf *b, const struct spec *s, double f)
{
    char t[F64_TEXT_MAX + 1100];
    size_t n;
    struct spec p = *s;
    int prec = s->prec > 1000 ? 1000 : s->prec;
    if (isnan(f) || isinf(f)) {
        const char *z = isnan(f) ? (s->plus ? "+NaN" : "NaN") : f > 0 ? "+Inf" : "-Inf";
        p.zero = false;
        pad(b, &p, str_of(z), true);
        return;
    }
    switch (s->verb) {
    case 'v':
    case 'g':
    case 'G':
        if (s->has_prec) {
            n = (size_t)snprintf(t, sizeof(t), s->verb == 'G' ? "%.*G" : "%.*g", prec, f);
        } else {
            n = f64_write_g(t, f);
            if (s->verb == 'G')
                for (size_t i = 0; i < n; i++)
                    t[i] = t[i] == 'e' ? 'E' : t[i];
        }
        break;
    case 'e':
    case 'E':
        n = (size_t)snprintf(t, sizeof(t), s->verb == 'E' ? "%.*E" : "%.*e", s->has_prec ? prec : 6, f);
        break;
    case 'f':
    case 'F':
        n = (size_t)snprintf(t, sizeof(t), "%.*f", s->has_prec ? prec : 6, f);
        break;
    default:
        bad_verb(r, b, s, tval_f64(f));
        return;
    }
    _cleanup_buf_ struct buf out = BUF_INIT(sizeof(t) + 2);
    if (!signbit(f) && (s->plus || s->space))
        buf_putc(&out, s->plus ? '+' : ' ');
    buf_put(&out, t, n);
    pad(b, &p, buf_view(&out), true);
}

static struct str cut_runes(struct str s, int runes)
{
    size_t i = 0;
    for (; i < s.n; i++)
        if (((unsigned char)s.p[i] & 0xc0) != 0x80 && runes-- == 0)
            break;
    return str_sub(s, 0, i);
}

static void format_str(struct template_run *r, struct buf *b, const struct spec *s, struct tval v, struct str t)
{
    _cleanup_buf_ struct buf out = BUF_INIT((size_t)limit(template_output_bytes));
    if (s->has_prec && s->verb != 'x' && s->verb != 'X')
        t = cut_runes(t, s->prec);
    switch (s->verb) {
    case 'v':
        if (s->sharp && v.kind == TVAL_STR)
            go_quote(&out, t);
        else
            buf_str(&out, t);
        break;
    case 's':
        buf_str(&out, t);
        break;
    case 'q':
        if (s->sharp && str_chr(t, '`') < 0)
            buf_fmt(&out, "`" STR_FMT "`", STR_ARG(t));
        else
            go_quote(&out, t);
        break;
    case 'x':
    case 'X':
        for (size_t i = 0; i < t.n && i < (size_t)limit(template_output_bytes); i++)
            buf_fmt(&out, s->verb == 'x' ? "%02x" : "%02X", (unsigned char)t.p[i]);
        break;
    default:
        bad_verb(r, b, s, v);
        return;
    }
    pad(b, s, buf_view(&out), false);
}

static void format_arg(struct template_run *r, struct buf *b, const struct spec *s, struct tval v)
{
    if (s->verb == 'T') {
        pad(b, s, str_of(tval_type(v)), false);
        return;
    }
    v = template_view(r, v);
    switch (v.kind) {
    case TVAL_NIL:
        if (s->verb == 'v')
            pad(b, s, STR("<nil>"), false);
        else
            bad_verb(r, b, s, v);
        return;
    case TVAL_BOOL:
        if (s->verb == 'v' || s->verb == 't')
            pad(b, s, v.b ? STR("true") : STR("false"), false);
        else
            bad_verb(r, b, s, v);
        return;
    case TVAL_INT:
        format_int(r, b, s, v);
        return;
    case TVAL_FLOAT:
        format_float(r, b, s, v.f);
        return;
    case TVAL_STR:
        format_str(r, b, s, v, v.s);
        return;
    case TVAL_DURATION:
        if (s->verb == 'd') {
            format_int(r, b, s, tval_int(v.i * 1000000));
            return;
        }
        break;
    case TVAL_LIST:
        if (s->verb != 'v') { /* the verb goes to each item */
            buf_putc(b, '[');
            for (size_t i = 0; i < v.list->n && !buf_error(b); i++) {
                if (i)
                    buf_putc(b, ' ');
                if (v.list->v[i].kind == TVAL_LIST)
                    tval_print(r, b, v.list->v[i]);
                else
                    format_arg(r, b, s, v.list->v[i]);
            }
            buf_putc(b, ']');
            return;
        }
        break;
    case TVAL_MAP:
    case TVAL_OBJ:
    case TVAL_TIME:
        break;
    }
    _cleanup_buf_ struct buf t = BUF_INIT((size_t)limit(template_output_bytes));
    tval_print(r, &t, v);
    struct spec plain = *s;
    if (plain.verb == 'v')
        plain.sharp = false;
    format_str(r, b, &plain, v, buf_view(&t));
}

static bool digits(struct str f, size_t *i, int *ret)
{
    int v = 0;
    size_t start = *i;
    for (; *i < f.n && f.p[*i] >= '0' && f.p[*i] <= '9'; (*i)++)
        v = v < 100000 ? v * 10 + (f.p[*i] - '0') : v;
    *ret = v > 10000 ? 10000 : v;
    return *i > start;
}

int template_printf(struct template_run *r, struct str f, const struct tval *args, size_t n, struct buf *b)
{
    size_t arg = 0;
    bool reordered = false;
    for (size_t i = 0; i < f.n && !buf_error(b);) {
        if (f.p[i] != '%') {
            size_t k = i;
            while (k < f.n && f.p[k] != '%')
                k++;
            buf_put(b, f.p + i, k - i);
            i = k;
            continue;
        }
        struct spec s = {0};
        i++;
        for (; i < f.n; i++) {
            char c = f.p[i];
            if (c == '-')
                s.minus = true;
            else if (c == '+')
                s.plus = true;
            else if (c == '#')
                s.sharp = true;
            else if (c == ' ')
                s.space = true;
            else if (c == '0')
                s.zero = true;
            else
                break;
        }
        if (s.minus)
            s.zero = false;
        for (int part = 0; part < 2; part++) { /* width, then precision */
            if (part == 1) {
                if (i >= f.n || f.p[i] != '.')
                    break;
                i++;
                s.has_prec = true;
            }
            int num = 0;
            if (i < f.n && f.p[i] == '[') {
                size_t k = i + 1;
                if (digits(f, &k, &num) && k < f.n && f.p[k] == ']' && num >= 1) {
                    arg = (size_t)num - 1;
                    reordered = true;
                    i = k + 1;
                }
            }
            bool has = true;
            if (i < f.n && f.p[i] == '*') {
                i++;
                if (arg < n && args[arg].kind == TVAL_INT && args[arg].i > -10000 && args[arg].i < 10000) {
                    num = (int)args[arg].i;
                } else {
                    buf_z(b, part ? "%!(BADPREC)" : "%!(BADWIDTH)");
                    has = false;
                }
                arg++;
                if (part == 0 && num < 0) {
                    s.minus = true;
                    s.zero = false;
                    num = -num;
                }
            } else {
                num = 0;
                has = digits(f, &i, &num);
            }
            if (part == 0) {
                s.has_width = has;
                s.width = num;
            } else {
                s.prec = has && num >= 0 ? num : 0;
            }
        }
        if (i < f.n && f.p[i] == '[') {
            size_t k = i + 1;
            int num;
            if (digits(f, &k, &num) && k < f.n && f.p[k] == ']' && num >= 1) {
                arg = (size_t)num - 1;
                reordered = true;
                i = k + 1;
            }
        }
        if (i >= f.n) {
            buf_z(b, "%!(NOVERB)");
            break;
        }
        uint32_t cp;
        size_t k = utf8_decode(str_sub(f, i, f.n), &cp);
        if (k > 1 || !k) {
            buf_fmt(b, "%%!" STR_FMT "(NOVERB)", (int)MAX(k, 1), f.p + i);
            i += MAX(k, 1);
            continue;
        }
        s.verb = f.p[i++];
        if (s.verb == '%') {
            buf_putc(b, '%');
            continue;
        }
        if (arg >= n) {
            buf_fmt(b, "%%!%c(%s)", s.verb, reordered ? "BADINDEX" : "MISSING");
            continue;
        }
        format_arg(r, b, &s, args[arg++]);
    }
    if (!reordered && arg < n) {
        buf_z(b, "%!(EXTRA ");
        for (size_t k = arg; k < n; k++) {
            if (k > arg)
                buf_z(b, ", ");
            buf_z(b, tval_type(args[k]));
            if (args[k].kind != TVAL_NIL) {
                buf_putc(b, '=');
                tval_print(r, b, args[k]);
            }
        }
        buf_putc(b, ')');
    }
    return buf_error(b) ? template_fail(r, "result is longer than %lld bytes", (long long)limit(template_output_bytes))
                        : 0;
}

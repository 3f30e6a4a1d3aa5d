// SPDX-License-Identifier: Apache-2.0
/* Matchers as people write them in alertmanager.yml, amtool and the API: the UTF-8 grammar first (names and values
 * quoted or bare), the classic one of old Alertmanagers when that fails. */
#include "notify/notify_int.h"
#include "base/utf8.h"

struct cursor {
    struct str s;
    size_t at;
    struct arena *a;
};

static void blanks(struct cursor *c)
{
    while (c->at < c->s.n && strchr(" \t\r\n", c->s.p[c->at]) && c->s.p[c->at])
        c->at++;
}

static bool reserved(char ch)
{
    return ch == 0 || strchr("{}!=~,\\\"'` \t\r\n", ch) != NULL;
}

/* A double-quoted string with Go's escapes. */
static bool quoted(struct cursor *c, struct str *ret)
{
    char *out = arena_alloc(c->a, c->s.n - c->at + 8);
    size_t n = 0;
    for (c->at++; c->at < c->s.n && c->s.p[c->at] != '"'; c->at++) {
        char ch = c->s.p[c->at];
        if (ch == '\n')
            return false;
        if (ch != '\\') {
            out[n++] = ch;
            continue;
        }
        if (++c->at >= c->s.n)
            return false;
        ch = c->s.p[c->at];
        static const char from[] = "abfnrtv\\\"'", to[] = "\a\b\f\n\r\t\v\\\"'";
        const char *hit = memchr(from, ch, sizeof(from) - 1);
        if (hit) {
            out[n++] = to[hit - from];
            continue;
        }
        unsigned digits = ch == 'x' ? 2 : ch == 'u' ? 4 : ch == 'U' ? 8 : 0;
        uint32_t cp = 0;
        if (!digits)
            return false;
        for (unsigned k = 0; k < digits; k++) {
            if (++c->at >= c->s.n)
                return false;
            char d = c->s.p[c->at];
            int v = d >= '0' && d <= '9'                     ? d - '0'
                    : (d | 0x20) >= 'a' && (d | 0x20) <= 'f' ? (d | 0x20) - 'a' + 10
                                                             : -1;
            if (v < 0)
                return false;
            cp = cp * 16 + (uint32_t)v;
        }
        if (ch == 'x') {
            out[n++] = (char)cp;
        } else {
            char enc[4];
            size_t k = utf8_encode(cp, enc);
            if (!k)
                return false;
            memcpy(out + n, enc, k);
            n += k;
        }
    }
    if (c->at >= c->s.n)
        return false;
    c->at++;
    *ret = str_make(out, n);
    return utf8_valid(*ret);
}

static bool word(struct cursor *c, struct str *ret)
{
    blanks(c);
    if (c->at < c->s.n && c->s.p[c->at] == '"')
        return quoted(c, ret);
    size_t start = c->at;
    while (c->at < c->s.n && !reserved(c->s.p[c->at]))
        c->at++;
    *ret = str_sub(c->s, start, c->at);
    return c->at > start && utf8_valid(*ret);
}

static bool operator_at(struct cursor *c, enum match_op *ret)
{
    blanks(c);
    struct str rest = str_sub(c->s, c->at, c->s.n);
    static const char *const ops[] = {"=~", "!~", "!=", "="};
    static const enum match_op kinds[] = {MATCH_RE, MATCH_NRE, MATCH_NE, MATCH_EQ};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (str_starts(rest, str_of(ops[i]))) {
            c->at += strlen(ops[i]);
            *ret = kinds[i];
            return true;
        }
    return false;
}

struct parsed {
    enum match_op op;
    struct str name, value;
};
struct parsed_list {
    VEC(struct parsed) v;
};

static bool parse_utf8(struct cursor *c, struct parsed_list *out, struct err *e)
{
    blanks(c);
    bool braces = c->at < c->s.n && c->s.p[c->at] == '{';
    if (braces)
        c->at++;
    for (;;) {
        blanks(c);
        if (c->at >= c->s.n || c->s.p[c->at] == '}')
            break;
        struct parsed p = {0};
        size_t start = c->at;
        if (!word(c, &p.name) || !p.name.n) {
            err_set(e, "%zu: wants a label name, found \"" STR_FMT "\"", start, STR_ARG(str_sub(c->s, start, c->s.n)));
            return false;
        }
        if (!operator_at(c, &p.op)) {
            err_set(e, "%zu: wants an operator (= != =~ !~) after \"" STR_FMT "\"", c->at, STR_ARG(p.name));
            return false;
        }
        start = c->at;
        if (!word(c, &p.value)) {
            err_set(e, "%zu: wants a value after \"" STR_FMT "\"", start, STR_ARG(p.name));
            return false;
        }
        vec_push(&out->v, p);
        blanks(c);
        if (c->at < c->s.n && c->s.p[c->at] == ',') {
            c->at++;
            continue;
        }
        break;
    }
    blanks(c);
    if (braces) {
        if (c->at >= c->s.n || c->s.p[c->at] != '}') {
            err_set(e, "%zu: wants a comma or a closing brace", c->at);
            return false;
        }
        c->at++;
        blanks(c);
    }
    if (c->at < c->s.n) {
        err_set(e, "%zu: unexpected \"" STR_FMT "\"", c->at, STR_ARG(str_sub(c->s, c->at, c->s.n)));
        return false;
    }
    return true;
}

/* name OP value up to the next comma outside quotes; the value loses its quotes and \" \n \\ escapes. */
static bool classic_one(struct cursor *c, struct str t, struct parsed_list *out)
{
    t = str_trim(t);
    size_t n = 0;
    while (n < t.n && ((t.p[n] >= 'a' && t.p[n] <= 'z') || (t.p[n] >= 'A' && t.p[n] <= 'Z') || t.p[n] == '_' ||
                       t.p[n] == ':' || (n && t.p[n] >= '0' && t.p[n] <= '9')))
        n++;
    struct parsed p = {.name = str_sub(t, 0, n)};
    struct cursor k = {.s = t, .at = n};
    if (!n || !operator_at(&k, &p.op))
        return false;
    struct str v = str_trim(str_sub(t, k.at, t.n));
    bool open = v.n && v.p[0] == '"', closed = v.n > 1 && v.p[v.n - 1] == '"' && (v.n < 3 || v.p[v.n - 2] != '\\');
    if (open != closed)
        return false;
    if (open)
        v = str_sub(v, 1, v.n - 1);
    char *text = arena_alloc(c->a, v.n + 1);
    size_t m = 0;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '\\' && i + 1 < v.n) {
            char x = v.p[++i];
            if (x == 'n')
                text[m++] = '\n';
            else if (x == '"' || x == '\\')
                text[m++] = x;
            else {
                text[m++] = '\\';
                text[m++] = x;
            }
        } else if (v.p[i] == '"') {
            return false;
        } else {
            text[m++] = v.p[i];
        }
    }
    p.value = str_make(text, m);
    if (!utf8_valid(p.value))
        return false;
    vec_push(&out->v, p);
    return true;
}

static bool parse_classic(struct cursor *c, struct parsed_list *out)
{
    struct str t = str_trim(c->s);
    if (t.n && t.p[0] == '{') {
        if (t.p[t.n - 1] != '}')
            return false;
        t = str_sub(t, 1, t.n - 1);
    }
    size_t start = 0;
    bool in_quotes = false;
    for (size_t i = 0; i <= t.n; i++) {
        if (i < t.n && t.p[i] == '"' && (!i || t.p[i - 1] != '\\'))
            in_quotes = !in_quotes;
        if (i < t.n && (t.p[i] != ',' || in_quotes))
            continue;
        struct str one = str_sub(t, start, i);
        start = i + 1;
        if (i == t.n && str_empty(str_trim(one)))
            break; /* a trailing comma */
        if (!classic_one(c, one, out))
            return false;
    }
    return true;
}

int notify_matchers_parse(struct str text, struct arena *a, struct matcher **ret, size_t *ret_n, bool *ret_classic,
                          struct err *e)
{
    struct cursor c = {.s = text, .a = a};
    struct parsed_list l = {0};
    struct err why = {0};
    bool classic = false;
    if (text.n > (size_t)limit(regex_bytes)) {
        err_set(e, "matchers are longer than %lld bytes", (long long)limit(regex_bytes));
        return -EINVAL;
    }
    if (!parse_utf8(&c, &l, &why)) {
        vec_reset(&l.v);
        c.at = 0;
        classic = true;
        if (!parse_classic(&c, &l)) {
            vec_done(&l.v);
            err_set(e, "bad matcher format: " STR_FMT ": %s", STR_ARG(text), why.msg);
            return -EINVAL;
        }
    }
    struct matcher *m = ARENA_ARRAY(a, struct matcher, l.v.n + 1);
    for (size_t i = 0; i < l.v.n; i++) {
        struct parsed *p = &l.v.v[i];
        if (matcher_init(&m[i], p->op, arena_str(a, p->name), arena_str(a, p->value), e)) {
            for (size_t k = 0; k < i; k++)
                matcher_done(&m[k]);
            vec_done(&l.v);
            return -EINVAL;
        }
    }
    *ret = m;
    *ret_n = l.v.n;
    if (ret_classic)
        *ret_classic = classic;
    vec_done(&l.v);
    return 0;
}

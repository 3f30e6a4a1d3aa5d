// SPDX-License-Identifier: Apache-2.0
/* Text to tokens. Three modes, as in Prometheus' lexer (promql/parser/lex.go, 3.14): statements, inside braces, inside
 * square brackets (where durations are computed). The first mistake ends the list. */
#include "promql/ast_int.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/utf8.h"

static const char *const words[] = {
    [T_ADD] = "+",
    [T_SUB] = "-",
    [T_MUL] = "*",
    [T_DIV] = "/",
    [T_MOD] = "%",
    [T_POW] = "^",
    [T_ATAN2] = "atan2",
    [T_EQLC] = "==",
    [T_NEQ] = "!=",
    [T_LTE] = "<=",
    [T_LSS] = "<",
    [T_GTE] = ">=",
    [T_GTR] = ">",
    [T_TRIM_UPPER] = "</",
    [T_TRIM_LOWER] = ">/",
    [T_AND] = "and",
    [T_OR] = "or",
    [T_UNLESS] = "unless",
    [T_AVG] = "avg",
    [T_BOTTOMK] = "bottomk",
    [T_COUNT] = "count",
    [T_COUNT_VALUES] = "count_values",
    [T_GROUP] = "group",
    [T_LIMITK] = "limitk",
    [T_LIMIT_RATIO] = "limit_ratio",
    [T_MAX] = "max",
    [T_MIN] = "min",
    [T_QUANTILE] = "quantile",
    [T_STDDEV] = "stddev",
    [T_STDVAR] = "stdvar",
    [T_SUM] = "sum",
    [T_TOPK] = "topk",
    [T_BY] = "by",
    [T_WITHOUT] = "without",
    [T_ON] = "on",
    [T_IGNORING] = "ignoring",
    [T_GROUP_LEFT] = "group_left",
    [T_GROUP_RIGHT] = "group_right",
    [T_BOOL] = "bool",
    [T_OFFSET] = "offset",
    [T_ANCHORED] = "anchored",
    [T_SMOOTHED] = "smoothed",
    [T_FILL] = "fill",
    [T_FILL_LEFT] = "fill_left",
    [T_FILL_RIGHT] = "fill_right",
    [T_START] = "start",
    [T_END] = "end",
    [T_STEP] = "step",
    [T_RANGE] = "range",
    [T_MIN_OF] = "min_of",
    [T_MAX_OF] = "max_of",
    [T_COMMA] = ",",
    [T_COLON] = ":",
    [T_AT] = "@",
    [T_EQL] = "=",
    [T_EQL_REGEX] = "=~",
    [T_NEQ_REGEX] = "!~",
    [T_LPAREN] = "(",
    [T_RPAREN] = ")",
    [T_LBRACE] = "{",
    [T_RBRACE] = "}",
    [T_LBRACKET] = "[",
    [T_RBRACKET] = "]",
};

const char *token_word(enum token_kind k)
{
    return (size_t)k < ARRAY_LEN(words) && words[k] ? words[k] : "";
}

struct lexer {
    const char *s;
    size_t n, pos, start;
    struct arena *a;
    struct token *v;
    size_t count, cap;
    int parens;
    bool in_braces, in_brackets, failed;
};

static bool alpha(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool alnum(int c)
{
    return alpha(c) || digit(c);
}

static int peek(const struct lexer *l)
{
    return l->pos < l->n ? (unsigned char)l->s[l->pos] : -1;
}

static int peek_at(const struct lexer *l, size_t d)
{
    return l->pos + d < l->n ? (unsigned char)l->s[l->pos + d] : -1;
}

static void push(struct lexer *l, enum token_kind k, uint32_t pos, struct str text)
{
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 32;
        struct token *v = ARENA_ARRAY(l->a, struct token, cap);
        if (l->count)
            memcpy(v, l->v, l->count * sizeof(*v));
        l->v = v;
        l->cap = cap;
    }
    l->v[l->count++] = (struct token){.kind = k, .pos = pos, .text = text};
}

static void emit(struct lexer *l, enum token_kind k)
{
    push(l, k, (uint32_t)l->start, str_make(l->s + l->start, l->pos - l->start));
    l->start = l->pos;
}

static void fail_at(struct lexer *l, size_t pos, struct str msg)
{
    push(l, T_ERROR, (uint32_t)pos, msg);
    l->failed = true;
}

static void fail(struct lexer *l, struct str msg)
{
    fail_at(l, l->start, msg);
}

/* The character at the position, as Go's %q of a rune. */
static struct str quoted_rune(struct lexer *l)
{
    uint32_t cp;
    size_t n = utf8_decode(str_make(l->s + l->pos, l->n - l->pos), &cp);
    if (n == 0)
        return STR("'\xef\xbf\xbd'");
    switch (cp) {
    case '\n':
        return STR("'\\n'");
    case '\t':
        return STR("'\\t'");
    case '\r':
        return STR("'\\r'");
    case '\'':
        return STR("'\\''");
    case '\\':
        return STR("'\\\\'");
    default:
        if (cp < 0x20 || cp == 0x7f)
            return arena_fmt(l->a, "'\\x%02x'", (unsigned)cp);
        return arena_fmt(l->a, "'%.*s'", (int)n, l->s + l->pos);
    }
}

static void skip_comment(struct lexer *l)
{
    while (l->pos < l->n && l->s[l->pos] != '\n' && l->s[l->pos] != '\r')
        l->pos++;
    l->start = l->pos;
}

/* An escape after the backslash. Only checks; the value is made by promql_unquote. */
static bool lex_escape(struct lexer *l, char quote)
{
    int c = peek(l);
    unsigned digits, base;
    uint32_t max;
    switch (c) {
    case 'a':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
    case 'v':
    case '\\':
        l->pos++;
        return true;
    case '0' ... '7':
        digits = 3, base = 8, max = 255;
        break;
    case 'x':
        l->pos++;
        digits = 2, base = 16, max = 255;
        break;
    case 'u':
        l->pos++;
        digits = 4, base = 16, max = 0x10ffff;
        break;
    case 'U':
        l->pos++;
        digits = 8, base = 16, max = 0x10ffff;
        break;
    case -1:
        fail(l, STR("escape sequence not terminated"));
        return false;
    default:
        if (c == quote) {
            l->pos++;
            return true;
        }
        uint32_t cp = 0xfffd;
        size_t n = utf8_decode(str_make(l->s + l->pos, l->n - l->pos), &cp);
        fail(l, arena_fmt(l->a, "unknown escape sequence U+%04X '%.*s'", cp, (int)n, l->s + l->pos));
        return false;
    }
    uint32_t value = 0;
    for (; digits > 0; digits--) {
        c = peek(l);
        unsigned d = digit(c)               ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                            : 16;
        if (d >= base) {
            if (c < 0) {
                fail(l, STR("escape sequence not terminated"));
            } else {
                uint32_t cp = 0xfffd;
                size_t n = utf8_decode(str_make(l->s + l->pos, l->n - l->pos), &cp);
                fail(l,
                     arena_fmt(l->a, "illegal character U+%04X '%.*s' in escape sequence", cp, (int)n, l->s + l->pos));
            }
            return false;
        }
        value = value * base + d;
        l->pos++;
    }
    if (value > max || (value >= 0xd800 && value < 0xe000)) {
        fail(l, STR("escape sequence is an invalid Unicode code point"));
        return false;
    }
    return true;
}

static void lex_string(struct lexer *l, char quote)
{
    l->pos++;
    for (;;) {
        int c = peek(l);
        if (c == -1 || (quote != '`' && c == '\n')) {
            fail(l, quote == '`' ? STR("unterminated raw string") : STR("unterminated quoted string"));
            return;
        }
        l->pos++;
        if (c == quote)
            break;
        if (quote != '`' && c == '\\' && !lex_escape(l, quote))
            return;
    }
    emit(l, T_STRING);
}

/* A number: decimal with fraction, exponent and single underscores between digits, or a hexadecimal integer. */
static bool scan_number(struct lexer *l)
{
    size_t from = l->pos;
    bool hex = false, dot = false, exponent = false;
    if (peek(l) == '0') {
        l->pos++;
        if (peek(l) == 'x' || peek(l) == 'X') {
            l->pos++;
            hex = true;
            if (peek(l) == '_')
                l->pos++;
        }
    }
    for (;;) {
        int c = peek(l);
        if (digit(c) || (hex && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))) {
            l->pos++;
        } else if (c == '.') {
            l->pos++;
            if (dot || hex)
                return false;
            dot = true;
            c = peek(l);
            if (c == '_' || c == '.') {
                l->pos++;
                return false;
            }
        } else if (!hex && (c == 'e' || c == 'E')) {
            l->pos++;
            if (exponent)
                return false;
            exponent = true;
            if (peek(l) == '+' || peek(l) == '-')
                l->pos++;
            if (!digit(peek(l)))
                return false;
        } else if (c == '_') {
            l->pos++;
            c = peek(l);
            if (!digit(c) && !(hex && alnum(c) && c != '_'))
                return false;
        } else {
            break;
        }
    }
    return l->pos > from && !alnum(peek(l));
}

static bool unit_char(int c, bool first)
{
    return c == 's' || c == 'm' || c == 'h' || c == 'd' || c == 'w' || (first && c == 'y');
}

/* What follows the first number of a duration; wrong units are told apart later. */
static bool scan_duration_rest(struct lexer *l)
{
    if (!unit_char(peek(l), true))
        return false;
    l->pos++;
    if (peek(l) == 's')
        l->pos++;
    while (digit(peek(l))) {
        while (digit(peek(l)))
            l->pos++;
        if (!unit_char(peek(l), false))
            return false;
        l->pos++;
        if (peek(l) == 's')
            l->pos++;
    }
    return !alnum(peek(l));
}

static void lex_number(struct lexer *l)
{
    if (scan_number(l)) {
        emit(l, T_NUMBER);
        return;
    }
    if (scan_duration_rest(l)) {
        emit(l, T_DURATION);
        return;
    }
    if (alpha(peek(l)))
        while (alnum(peek(l)))
            l->pos++;
    struct buf b = BUF_INIT(1 << 20);
    buf_z(&b, "bad number or duration syntax: ");
    promql_quote(&b, str_make(l->s + l->start, l->pos - l->start));
    fail(l, arena_str(l->a, buf_view(&b)));
    buf_done(&b);
}

static enum token_kind word_kind(struct str s)
{
    if (str_ieq(s, STR("inf")) || str_ieq(s, STR("nan")))
        return T_NUMBER;
    for (int k = T_ATAN2; k <= T_KEY_LAST; k++)
        if (words[k] && alpha((unsigned char)words[k][0]) && str_ieq(s, str_of(words[k])))
            return (enum token_kind)k;
    return T_IDENTIFIER;
}

static void lex_statement(struct lexer *l)
{
    int c = peek(l), next = peek_at(l, 1);
    enum token_kind one = T_EOF;
    switch (c) {
    case ' ':
    case '\t':
    case '\n':
    case '\r':
        l->start = ++l->pos;
        return;
    case '#':
        skip_comment(l);
        return;
    case ',':
        one = T_COMMA;
        break;
    case '+':
        one = T_ADD;
        break;
    case '-':
        one = T_SUB;
        break;
    case '*':
        one = T_MUL;
        break;
    case '/':
        one = T_DIV;
        break;
    case '%':
        one = T_MOD;
        break;
    case '^':
        one = T_POW;
        break;
    case '@':
        one = T_AT;
        break;
    case '=':
        l->pos++;
        if (next == '=') {
            l->pos++;
            emit(l, T_EQLC);
        } else if (next == '~') {
            fail(l, arena_fmt(l->a, "unexpected character after '=': " STR_FMT, STR_ARG(quoted_rune(l))));
        } else {
            emit(l, T_EQL);
        }
        return;
    case '!':
        l->pos++;
        if (next == '=') {
            l->pos++;
            emit(l, T_NEQ);
        } else {
            fail(l, arena_fmt(l->a, "unexpected character after '!': " STR_FMT, STR_ARG(quoted_rune(l))));
        }
        return;
    case '<':
    case '>':
        l->pos++;
        if (next == '=' || next == '/') {
            l->pos++;
            emit(l, next == '=' ? (c == '<' ? T_LTE : T_GTE) : (c == '<' ? T_TRIM_UPPER : T_TRIM_LOWER));
        } else {
            emit(l, c == '<' ? T_LSS : T_GTR);
        }
        return;
    case '"':
    case '\'':
    case '`':
        lex_string(l, (char)c);
        return;
    case '(':
        l->parens++;
        one = T_LPAREN;
        break;
    case ')':
        l->pos++;
        if (--l->parens < 0)
            fail_at(l, l->pos, STR("unexpected right parenthesis ')'"));
        else
            emit(l, T_RPAREN);
        return;
    case '{':
        l->in_braces = true;
        one = T_LBRACE;
        break;
    case '[':
        l->in_brackets = true;
        one = T_LBRACKET;
        break;
    default:
        if (digit(c) || (c == '.' && digit(next))) {
            lex_number(l);
            return;
        }
        if (alpha(c) || c == ':') {
            while (alnum(peek(l)) || peek(l) == ':')
                l->pos++;
            struct str w = str_make(l->s + l->start, l->pos - l->start);
            emit(l, str_chr(w, ':') >= 0 ? T_METRIC_IDENTIFIER : word_kind(w));
            return;
        }
        fail(l, arena_fmt(l->a, "unexpected character: " STR_FMT, STR_ARG(quoted_rune(l))));
        return;
    }
    l->pos++;
    emit(l, one);
}

static void lex_braces(struct lexer *l)
{
    int c = peek(l), next = peek_at(l, 1);
    switch (c) {
    case -1:
        fail(l, STR("unexpected end of input inside braces"));
        return;
    case ' ':
    case '\t':
    case '\n':
    case '\r':
        l->start = ++l->pos;
        return;
    case '#':
        skip_comment(l);
        return;
    case ',':
        l->pos++;
        emit(l, T_COMMA);
        return;
    case '"':
    case '\'':
    case '`':
        lex_string(l, (char)c);
        return;
    case '=':
        l->pos += next == '~' ? 2 : 1;
        emit(l, next == '~' ? T_EQL_REGEX : T_EQL);
        return;
    case '!':
        l->pos++;
        if (next == '~' || next == '=') {
            l->pos++;
            emit(l, next == '~' ? T_NEQ_REGEX : T_NEQ);
        } else {
            fail(l, arena_fmt(l->a, "unexpected character after '!' inside braces: " STR_FMT, STR_ARG(quoted_rune(l))));
        }
        return;
    case '{':
        fail(l, STR("unexpected left brace '{'"));
        return;
    case '}':
        l->pos++;
        l->in_braces = false;
        emit(l, T_RBRACE);
        return;
    default:
        if (alpha(c)) {
            while (alnum(peek(l)))
                l->pos++;
            emit(l, T_IDENTIFIER);
            return;
        }
        fail(l, arena_fmt(l->a, "unexpected character inside braces: " STR_FMT, STR_ARG(quoted_rune(l))));
    }
}

static void lex_brackets(struct lexer *l)
{
    static const char singles[] = "():,+-*/%^";
    static const enum token_kind kinds[] = {T_LPAREN, T_RPAREN, T_COLON, T_COMMA, T_ADD,
                                            T_SUB,    T_MUL,    T_DIV,   T_MOD,   T_POW};
    int c = peek(l);
    if (c == -1) {
        fail(l, STR("unexpected end of input in duration expression"));
        return;
    }
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        l->start = ++l->pos;
        return;
    }
    if (c == '#') {
        skip_comment(l);
        return;
    }
    if (c == ']') {
        l->pos++;
        l->in_brackets = false;
        emit(l, T_RBRACKET);
        return;
    }
    const char *hit = c ? strchr(singles, c) : NULL;
    if (hit) {
        l->pos++;
        emit(l, kinds[hit - singles]);
        return;
    }
    if (digit(c) || (c == '.' && digit(peek_at(l, 1)))) {
        lex_number(l);
        return;
    }
    if (alpha(c)) {
        size_t n = 0;
        while (alnum(peek_at(l, n)))
            n++;
        enum token_kind k = word_kind(str_make(l->s + l->pos, n));
        if (k == T_STEP || k == T_RANGE || k == T_MIN_OF || k == T_MAX_OF) {
            l->pos += n;
            emit(l, k);
            return;
        }
    }
    enum token_kind before = l->count ? l->v[l->count - 1].kind : T_EOF;
    bool operand = before == T_NUMBER || before == T_DURATION || before == T_RPAREN;
    fail(l, arena_fmt(l->a,
                      operand ? "unexpected character: " STR_FMT ", expected ':'"
                              : "unexpected character in duration expression: " STR_FMT,
                      STR_ARG(quoted_rune(l))));
}

struct tokens promql_lex(struct str text, struct arena *a)
{
    struct lexer l = {.s = text.p, .n = text.n, .a = a};
    while (!l.failed) {
        if (l.in_braces) {
            lex_braces(&l);
        } else if (l.in_brackets) {
            lex_brackets(&l);
        } else if (l.pos >= l.n) {
            if (l.parens > 0)
                fail(&l, STR("unclosed left parenthesis"));
            else
                emit(&l, T_EOF);
            break;
        } else {
            lex_statement(&l);
        }
    }
    return (struct tokens){.v = l.v, .n = l.count};
}

/* ---- Strings and durations --------------------------------------------------------- */

int promql_unquote(struct str q, struct arena *a, struct str *ret, struct err *e)
{
    if (q.n < 2 || q.p[0] != q.p[q.n - 1] || (q.p[0] != '"' && q.p[0] != '\'' && q.p[0] != '`')) {
        err_set(e, "invalid quoted string");
        return -EINVAL;
    }
    struct str in = str_make(q.p + 1, q.n - 2);
    if (q.p[0] == '`') {
        *ret = in;
        return 0;
    }
    if (!memchr(in.p, '\\', in.n)) {
        *ret = in;
        return 0;
    }
    char *out = arena_alloc(a, in.n * 2 + 1); /* \ooo may make a byte, \u at most as many bytes as it has characters */
    size_t n = 0;
    for (size_t i = 0; i < in.n;) {
        if (in.p[i] != '\\') {
            out[n++] = in.p[i++];
            continue;
        }
        if (++i >= in.n)
            goto bad;
        char c = in.p[i++];
        unsigned digits = 0, base = 16;
        switch (c) {
        case 'a':
            out[n++] = '\a';
            continue;
        case 'b':
            out[n++] = '\b';
            continue;
        case 'f':
            out[n++] = '\f';
            continue;
        case 'n':
            out[n++] = '\n';
            continue;
        case 'r':
            out[n++] = '\r';
            continue;
        case 't':
            out[n++] = '\t';
            continue;
        case 'v':
            out[n++] = '\v';
            continue;
        case '\\':
            out[n++] = '\\';
            continue;
        case '0' ... '7':
            i--;
            digits = 3;
            base = 8;
            break;
        case 'x':
            digits = 2;
            break;
        case 'u':
            digits = 4;
            break;
        case 'U':
            digits = 8;
            break;
        default:
            if (c != q.p[0])
                goto bad;
            out[n++] = c;
            continue;
        }
        uint32_t value = 0;
        for (unsigned k = 0; k < digits; k++, i++) {
            int d = i < in.n ? (unsigned char)in.p[i] : -1;
            unsigned x = digit(d)               ? (unsigned)(d - '0')
                         : d >= 'a' && d <= 'f' ? (unsigned)(d - 'a') + 10
                         : d >= 'A' && d <= 'F' ? (unsigned)(d - 'A') + 10
                                                : 16;
            if (x >= base)
                goto bad;
            value = value * base + x;
        }
        if (c == 'u' || c == 'U') {
            size_t w = utf8_encode(value, out + n);
            if (w == 0)
                goto bad;
            n += w;
        } else {
            if (value > 255)
                goto bad;
            out[n++] = (char)value;
        }
    }
    *ret = str_make(out, n);
    return 0;
bad:
    err_set(e, "invalid escape in quoted string");
    return -EINVAL;
}

void promql_quote(struct buf *b, struct str s)
{
    buf_putc(b, '"');
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        static const char named[] = "abtnvfr";
        if (c >= 7 && c <= 13) {
            buf_putc(b, '\\');
            buf_putc(b, named[c - 7]);
            i++;
        } else if (c == '"' || c == '\\') {
            buf_putc(b, '\\');
            buf_putc(b, (char)c);
            i++;
        } else if (c < 0x20 || c == 0x7f) {
            buf_fmt(b, "\\x%02x", c);
            i++;
        } else if (c < 0x80) {
            buf_putc(b, (char)c);
            i++;
        } else {
            uint32_t cp;
            size_t n = utf8_decode(str_sub(s, i, s.n), &cp);
            if (n == 0) {
                buf_fmt(b, "\\x%02x", c);
                i++;
            } else {
                buf_put(b, s.p + i, n);
                i += n;
            }
        }
    }
    buf_putc(b, '"');
}

bool promql_duration(struct str s, struct arena *a, int64_t *ret_ms, struct str *ret_err)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"y", 31536000000}, {"w", 604800000}, {"d", 86400000}, {"h", 3600000},
                 {"m", 60000},       {"s", 1000},      {"ms", 1}};
    if (s.n == 0) {
        *ret_err = STR("empty duration string");
        return false;
    }
    if (str_eqz(s, "0")) {
        *ret_ms = 0;
        return true;
    }
    int64_t total = 0;
    size_t last = 0, i = 0;
    bool any = false;
    while (i < s.n) {
        size_t from = i;
        int64_t v = 0;
        bool overflow = false;
        while (i < s.n && digit((unsigned char)s.p[i])) {
            overflow |= __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, s.p[i] - '0', &v);
            i++;
        }
        size_t unit = i;
        while (i < s.n && !digit((unsigned char)s.p[i]))
            i++;
        struct str u = str_sub(s, unit, i);
        size_t k = 0;
        while (k < ARRAY_LEN(units) && !str_eqz(u, units[k].unit))
            k++;
        if (from == unit) {
            *ret_err = arena_fmt(a, "not a valid duration string: \"" STR_FMT "\"", STR_ARG(s));
            return false;
        }
        if (k == ARRAY_LEN(units)) {
            *ret_err = arena_fmt(a, "unknown unit \"" STR_FMT "\" in duration \"" STR_FMT "\"", STR_ARG(u), STR_ARG(s));
            return false;
        }
        if (any && k <= last) { /* units go from large to small, each once */
            *ret_err = arena_fmt(a, "not a valid duration string: \"" STR_FMT "\"", STR_ARG(s));
            return false;
        }
        any = true;
        last = k;
        int64_t add;
        if (overflow || __builtin_mul_overflow(v, units[k].ms, &add) || __builtin_add_overflow(total, add, &total) ||
            total > INT64_MAX / 1000000) { /* Go counts nanoseconds in 64 bits */
            *ret_err = STR("duration out of range");
            return false;
        }
    }
    *ret_ms = total;
    return true;
}

void promql_position(struct str text, uint32_t pos, unsigned *ret_line, unsigned *ret_col)
{
    unsigned line = 1;
    size_t from = 0;
    if (pos > text.n)
        pos = (uint32_t)text.n;
    for (size_t i = 0; i < pos; i++)
        if (text.p[i] == '\n') {
            line++;
            from = i + 1;
        }
    *ret_line = line;
    *ret_col = (unsigned)(pos - from) + 1;
}

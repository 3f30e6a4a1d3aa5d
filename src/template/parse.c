// SPDX-License-Identifier: Apache-2.0
/* Text to tree. The lexer runs inside the parser: one token of look-ahead, blanks are tokens inside actions because
 * they separate arguments (Go text/template/parse, lex.go and parse.go). */
#include "template/template_int.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "base/limits.h"
#include "codec/f64.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>

enum tok {
    T_EOF,
    T_TEXT,
    T_LEFT,  /* {{ */
    T_RIGHT, /* }} */
    T_SPACE,
    T_IDENT,
    T_FIELD,
    T_VAR,
    T_STRING,
    T_RAW,
    T_CHAR,
    T_NUMBER,
    T_BOOL,
    T_DOT,
    T_NIL,
    T_PIPE,
    T_DECLARE,
    T_ASSIGN,
    T_COMMA,
    T_LPAREN,
    T_RPAREN,
    T_KEYWORD,
    T_BAD,
};

struct token {
    enum tok kind;
    uint32_t pos;
    struct str s;
};

struct parser {
    struct template_set *set;
    struct arena *a;
    struct str name, text;
    struct err *err;
    size_t at; /* lexer */
    bool in_action;
    bool trim_next; /* the last action ended in -}} */
    unsigned parens;
    size_t tok_line_pos; /* where the line of messages is counted */
    struct token tok;
    bool has_tok;
    bool failed;
    unsigned nest, loops;
    VEC(struct str) vars;
};

static unsigned line_of(struct str text, size_t pos)
{
    unsigned line = 1;
    for (size_t i = 0; i < pos && i < text.n; i++)
        line += text.p[i] == '\n';
    return line;
}

__attribute__((format(printf, 2, 3))) static void fail(struct parser *p, const char *fmt, ...)
{
    if (p->failed)
        return;
    p->failed = true;
    char msg[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    err_set(p->err, "template: " STR_FMT ":%u: %s", STR_ARG(p->name), line_of(p->text, p->tok_line_pos), msg);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_alnum(struct str rest, size_t *ret_n)
{
    unsigned char c = rest.n ? (unsigned char)rest.p[0] : 0;
    *ret_n = 1;
    if (c < 0x80)
        return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    uint32_t cp;
    *ret_n = utf8_decode(rest, &cp); /* letters beyond ASCII: accepted as Go accepts unicode.IsLetter */
    return *ret_n > 0;
}

static struct str rest_of(const struct parser *p)
{
    return str_sub(p->text, p->at, p->text.n);
}

static struct token bad(struct parser *p, const char *msg)
{
    fail(p, "%s", msg);
    return (struct token){.kind = T_BAD, .pos = (uint32_t)p->at};
}

/* Text up to the next {{, with the trimming of both neighbours; comments are skipped here. */
static struct token lex_text(struct parser *p)
{
    for (;;) {
        size_t start = p->at;
        struct str rest = rest_of(p);
        ptrdiff_t left = str_find(rest, STR("{{"));
        struct str text = left < 0 ? rest : str_sub(rest, 0, (size_t)left);
        size_t after = start + text.n;
        if (p->trim_next) {
            while (text.n && is_space(text.p[0])) {
                text.p++;
                text.n--;
            }
            p->trim_next = false;
        }
        bool trim_left = false;
        if (left >= 0) {
            struct str inner = str_sub(p->text, after + 2, p->text.n);
            trim_left = inner.n >= 2 && inner.p[0] == '-' && is_space(inner.p[1]);
            if (trim_left)
                while (text.n && is_space(text.p[text.n - 1]))
                    text.n--;
        }
        if (text.n) {
            p->at = after;
            return (struct token){.kind = T_TEXT, .pos = (uint32_t)(text.p - p->text.p), .s = text};
        }
        if (left < 0) {
            p->at = p->text.n;
            return (struct token){.kind = T_EOF, .pos = (uint32_t)p->at};
        }
        p->at = after + 2;
        struct str inner = rest_of(p);
        size_t skip = 0;
        if (trim_left)
            while (skip < inner.n && is_space(inner.p[skip]) == (skip > 0) && (skip > 0 || inner.p[0] == '-'))
                skip++;
        struct str body = str_sub(inner, skip, inner.n);
        if (str_starts(body, STR("/*"))) {
            p->tok_line_pos = after;
            ptrdiff_t close = str_find(body, STR("*/"));
            if (close < 0)
                return bad(p, "unclosed comment");
            struct str tail = str_sub(body, (size_t)close + 2, body.n);
            size_t used = skip + (size_t)close + 2;
            if (str_starts(tail, STR("}}"))) {
                p->at += used + 2;
            } else {
                size_t k = 0;
                while (k < tail.n && is_space(tail.p[k]))
                    k++;
                if (k == 0 || !str_starts(str_sub(tail, k, tail.n), STR("-}}")))
                    return bad(p, "comment ends before closing delimiter");
                p->at += used + k + 3;
                p->trim_next = true;
            }
            continue;
        }
        if (trim_left)
            p->at += 1; /* the blank after the marker stays a blank token */
        p->in_action = true;
        p->parens = 0;
        return (struct token){.kind = T_LEFT, .pos = (uint32_t)after, .s = STR("{{")};
    }
}

static struct token take(struct parser *p, enum tok kind, size_t n)
{
    struct token t = {.kind = kind, .pos = (uint32_t)p->at, .s = str_sub(p->text, p->at, p->at + n)};
    p->at += n;
    return t;
}

static const char *const keywords[] = {"block", "break", "continue", "define",   "else",
                                       "end",   "if",    "range",    "template", "with"};

static size_t word_len(struct str rest)
{
    size_t n = 0, k;
    while (n < rest.n && is_alnum(str_sub(rest, n, rest.n), &k))
        n += k;
    return n;
}

static bool terminator(struct str rest)
{
    if (!rest.n)
        return true;
    char c = rest.p[0];
    return is_space(c) || c == '.' || c == ',' || c == '|' || c == ':' || c == ')' || c == '(' || c == '=' ||
           str_starts(rest, STR("}}"));
}

static struct token lex_action(struct parser *p)
{
    struct str rest = rest_of(p);
    size_t blanks = 0;
    while (blanks < rest.n && is_space(rest.p[blanks]))
        blanks++;
    if (blanks && str_starts(str_sub(rest, blanks, rest.n), STR("-}}"))) {
        if (p->parens)
            return bad(p, "unclosed left paren");
        p->at += blanks + 3;
        p->in_action = false;
        p->trim_next = true;
        return (struct token){.kind = T_RIGHT, .pos = (uint32_t)(p->at - 3), .s = STR("}}")};
    }
    if (str_starts(rest, STR("}}"))) {
        if (p->parens)
            return bad(p, "unclosed left paren");
        p->in_action = false;
        return take(p, T_RIGHT, 2);
    }
    if (!rest.n)
        return bad(p, "unclosed action");
    if (blanks)
        return take(p, T_SPACE, blanks);
    char c = rest.p[0];
    char next = rest.n > 1 ? rest.p[1] : 0;
    if (c == ':' && next == '=')
        return take(p, T_DECLARE, 2);
    if (c == '=')
        return take(p, T_ASSIGN, 1);
    if (c == ',')
        return take(p, T_COMMA, 1);
    if (c == '|')
        return take(p, T_PIPE, 1);
    if (c == '(') {
        p->parens++;
        return take(p, T_LPAREN, 1);
    }
    if (c == ')') {
        if (!p->parens)
            return bad(p, "unexpected right paren");
        p->parens--;
        return take(p, T_RPAREN, 1);
    }
    if (c == '"' || c == '\'') {
        size_t n = 1;
        while (n < rest.n && rest.p[n] != c) {
            if (rest.p[n] == '\n')
                break;
            n += rest.p[n] == '\\' ? 2 : 1;
        }
        if (n >= rest.n || rest.p[n] != c)
            return bad(p, c == '"' ? "unterminated quoted string" : "unterminated character constant");
        return take(p, c == '"' ? T_STRING : T_CHAR, n + 1);
    }
    if (c == '`') {
        ptrdiff_t close = str_chr(str_sub(rest, 1, rest.n), '`');
        if (close < 0)
            return bad(p, "unterminated raw quoted string");
        return take(p, T_RAW, (size_t)close + 2);
    }
    if (c == '$') {
        size_t n = 1 + word_len(str_sub(rest, 1, rest.n));
        if (!terminator(str_sub(rest, n, rest.n)))
            goto bad_char_after;
        return take(p, T_VAR, n);
    }
    if (c == '.' && !(next >= '0' && next <= '9')) {
        size_t n = 1 + word_len(str_sub(rest, 1, rest.n));
        if (!terminator(str_sub(rest, n, rest.n)))
            goto bad_char_after;
        return take(p, n == 1 ? T_DOT : T_FIELD, n);
    }
    if (c == '+' || c == '-' || c == '.' || (c >= '0' && c <= '9')) {
        size_t n = 1;
        bool hex = c == '0' && (next == 'x' || next == 'X');
        while (n < rest.n) {
            char d = rest.p[n];
            bool digit =
                (d >= '0' && d <= '9') || d == '.' || d == '_' || (d >= 'a' && d <= 'z') || (d >= 'A' && d <= 'Z');
            char e = rest.p[n - 1];
            bool sign = (d == '+' || d == '-') && (((e == 'e' || e == 'E') && !hex) || e == 'p' || e == 'P');
            if (!digit && !sign)
                break;
            n++;
        }
        return take(p, T_NUMBER, n);
    }
    size_t n = word_len(rest);
    if (n) {
        struct str word = str_sub(rest, 0, n);
        if (!terminator(str_sub(rest, n, rest.n)))
            goto bad_char_after;
        for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
            if (str_eqz(word, keywords[i]))
                return take(p, T_KEYWORD, n);
        if (str_eqz(word, "true") || str_eqz(word, "false"))
            return take(p, T_BOOL, n);
        return take(p, str_eqz(word, "nil") ? T_NIL : T_IDENT, n);
    }
    fail(p, "unexpected \"%c\" in command", c >= 0x20 && c < 0x7f ? c : '?');
    return (struct token){.kind = T_BAD, .pos = (uint32_t)p->at};
bad_char_after : {
    size_t k = c == '$' || c == '.' ? 1 + word_len(str_sub(rest, 1, rest.n)) : word_len(rest);
    unsigned char b = (unsigned char)rest.p[k];
    fail(p, "bad character U+%04X '%c'", b, b >= 0x20 && b < 0x7f ? b : '?');
    return (struct token){.kind = T_BAD, .pos = (uint32_t)p->at};
}
}

static struct token peek(struct parser *p)
{
    if (!p->has_tok) {
        if (p->failed)
            p->tok = (struct token){.kind = T_BAD};
        else {
            p->tok_line_pos = p->at;
            p->tok = p->in_action ? lex_action(p) : lex_text(p);
            if (!p->failed)
                p->tok_line_pos = p->tok.pos;
        }
        p->has_tok = true;
    }
    return p->tok;
}

static struct token next(struct parser *p)
{
    struct token t = peek(p);
    p->has_tok = false;
    return t;
}

static struct token next_word(struct parser *p) /* skipping blanks */
{
    struct token t;
    do
        t = next(p);
    while (t.kind == T_SPACE);
    return t;
}

static struct token peek_word(struct parser *p)
{
    while (peek(p).kind == T_SPACE)
        next(p);
    return peek(p);
}

static void unexpected(struct parser *p, struct token t, const char *context)
{
    if (t.kind == T_BAD)
        return;
    if (t.kind == T_EOF) {
        fail(p, "unexpected EOF");
        return;
    }
    if (t.kind == T_KEYWORD)
        fail(p, "unexpected <" STR_FMT "> in %s", STR_ARG(t.s), context);
    else if (t.s.n > 10)
        fail(p, "unexpected \"%.10s\"... in %s", t.s.p, context);
    else if (t.s.n && t.s.p[0] == '"')
        fail(p, "unexpected \"\\\"" STR_FMT "\" in %s", STR_ARG(str_sub(t.s, 1, t.s.n)), context);
    else
        fail(p, "unexpected \"" STR_FMT "\" in %s", STR_ARG(t.s), context);
}

static struct node *node_new(struct parser *p, enum node_kind kind, uint32_t pos)
{
    struct node *n = ARENA_NEW(p->a, struct node);
    n->kind = kind;
    n->pos = n->end = pos;
    return n;
}

/* strconv.Unquote of a double-quoted (or character) literal. */
static bool unquote(struct parser *p, struct str lit, struct str *ret)
{
    struct str s = str_sub(lit, 1, lit.n - 1);
    char *out = arena_alloc(p->a, s.n * 2 + 4);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c != '\\') {
            out[n++] = c;
            continue;
        }
        if (++i >= s.n)
            return false;
        c = s.p[i];
        static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
        const char *hit = memchr(from, c, sizeof(from) - 1);
        if (hit) {
            out[n++] = to[hit - from];
            continue;
        }
        unsigned digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '7' ? 3 : 0;
        unsigned base = digits == 3 ? 8 : 16;
        if (!digits)
            return false;
        if (base == 16)
            i++;
        uint32_t cp = 0;
        for (unsigned k = 0; k < digits; k++, i++) {
            if (i >= s.n)
                return false;
            char d = s.p[i];
            unsigned v = d >= '0' && d <= '9'   ? (unsigned)(d - '0')
                         : d >= 'a' && d <= 'f' ? (unsigned)(d - 'a' + 10)
                         : d >= 'A' && d <= 'F' ? (unsigned)(d - 'A' + 10)
                                                : 99;
            if (v >= base)
                return false;
            cp = cp * base + v;
        }
        i--;
        if (c == 'u' || c == 'U') {
            char enc[4];
            size_t k = utf8_encode(cp, enc);
            if (!k)
                return false;
            memcpy(out + n, enc, k);
            n += k;
        } else if (cp > 255) {
            return false;
        } else {
            out[n++] = (char)cp;
        }
    }
    *ret = str_make(out, n);
    return true;
}

static bool number(struct str s, struct tval *ret)
{
    bool neg = s.n && s.p[0] == '-';
    struct str d = s.n && (s.p[0] == '-' || s.p[0] == '+') ? str_sub(s, 1, s.n) : s;
    unsigned base = 10;
    if (d.n > 2 && d.p[0] == '0') {
        char k = d.p[1] | 0x20;
        base = k == 'x' ? 16 : k == 'o' ? 8 : k == 'b' ? 2 : 10;
    }
    if (base != 10)
        d = str_sub(d, 2, d.n);
    else if (d.n > 1 && d.p[0] == '0')
        base = 8;
    uint64_t v = 0;
    bool integer = d.n > 0;
    for (size_t i = 0; i < d.n && integer; i++) {
        char c = d.p[i];
        if (c == '_')
            continue;
        unsigned k = c >= '0' && c <= '9'                     ? (unsigned)(c - '0')
                     : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (unsigned)((c | 0x20) - 'a' + 10)
                                                              : 99;
        integer =
            k < base && !__builtin_mul_overflow(v, base, &v) && !__builtin_add_overflow(v, k, &v) && v <= INT64_MAX;
    }
    if (integer) {
        *ret = tval_int(neg ? -(int64_t)v : (int64_t)v);
    } else {
        double f;
        if (!f64_parse_go(s, &f))
            return false;
        *ret = tval_f64(f);
        if (fabs(f) < 9e15 && f == (double)(int64_t)f && str_chr(s, '.') < 0)
            *ret = tval_int((int64_t)f); /* 1e3 is an integer constant too */
    }
    ret->ideal = true;
    return true;
}

static struct node *parse_pipe(struct parser *p, const char *context, enum tok end);

static void add_name(struct parser *p, struct node *n, struct str name)
{
    struct str *v = ARENA_ARRAY(p->a, struct str, n->n_names + 1);
    if (n->n_names)
        memcpy(v, n->names, n->n_names * sizeof(*v));
    v[n->n_names++] = name;
    n->names = v;
}

/* One value, or NULL when the next token starts none. */
static struct node *parse_term(struct parser *p)
{
    struct token t = peek_word(p);
    struct node *n;
    switch ((int)t.kind) {
    case T_IDENT:
        next(p);
        n = node_new(p, NODE_FUNC, t.pos);
        n->text = t.s;
        n->func = template_find_func(p->set, t.s);
        if (!n->func)
            fail(p, "function \"" STR_FMT "\" not defined", STR_ARG(t.s));
        break;
    case T_DOT:
        next(p);
        n = node_new(p, NODE_DOT, t.pos);
        break;
    case T_NIL:
        next(p);
        n = node_new(p, NODE_NIL, t.pos);
        break;
    case T_VAR: {
        next(p);
        n = node_new(p, NODE_VAR, t.pos);
        n->text = t.s;
        bool known = false;
        for (size_t i = 0; i < p->vars.n && !known; i++)
            known = str_eq(p->vars.v[i], t.s);
        if (!known)
            fail(p, "undefined variable \"" STR_FMT "\"", STR_ARG(t.s));
        break;
    }
    case T_FIELD:
        next(p);
        n = node_new(p, NODE_FIELD, t.pos);
        add_name(p, n, str_sub(t.s, 1, t.s.n));
        break;
    case T_BOOL:
        next(p);
        n = node_new(p, NODE_CONST, t.pos);
        n->value = tval_bool(t.s.p[0] == 't');
        break;
    case T_NUMBER:
        next(p);
        n = node_new(p, NODE_CONST, t.pos);
        if (!number(t.s, &n->value))
            fail(p, "bad number syntax: \"" STR_FMT "\"", STR_ARG(t.s));
        break;
    case T_CHAR: {
        next(p);
        n = node_new(p, NODE_CONST, t.pos);
        struct str s;
        uint32_t cp = 0;
        if (!unquote(p, t.s, &s) || (s.n && utf8_decode(s, &cp) != s.n) || !s.n)
            fail(p, "malformed character constant: " STR_FMT, STR_ARG(t.s));
        n->value = tval_int(cp);
        n->value.ideal = true;
        break;
    }
    case T_STRING: {
        next(p);
        n = node_new(p, NODE_CONST, t.pos);
        struct str s = STR_NULL;
        if (!unquote(p, t.s, &s))
            fail(p, "invalid syntax in string " STR_FMT, STR_ARG(t.s));
        n->value = tval_str(s);
        break;
    }
    case T_RAW:
        next(p);
        n = node_new(p, NODE_CONST, t.pos);
        n->value = tval_str(str_sub(t.s, 1, t.s.n - 1));
        break;
    case T_LPAREN:
        next(p);
        if (++p->nest > TEMPLATE_NEST_MAX) {
            fail(p, "nested deeper than %d", TEMPLATE_NEST_MAX);
            return NULL;
        }
        n = parse_pipe(p, "parenthesized pipeline", T_RPAREN);
        p->nest--;
        n->pos = t.pos;
        break;
    default:
        return NULL;
    }
    n->end = (uint32_t)p->at;
    return n;
}

static struct node *parse_operand(struct parser *p)
{
    struct node *n = parse_term(p);
    if (!n || p->failed)
        return n;
    if (peek(p).kind == T_FIELD) {
        if (n->kind == NODE_DOT) {
            unexpected(p, peek(p), "operand");
            return n;
        }
        if (n->kind == NODE_CONST || n->kind == NODE_NIL) {
            fail(p, "unexpected . after term \"" STR_FMT "\"", STR_ARG(str_sub(p->text, n->pos, n->end)));
            return n;
        }
        if (n->kind != NODE_FIELD && n->kind != NODE_VAR) {
            struct node *chain = node_new(p, NODE_CHAIN, n->pos);
            chain->pipe = n;
            n = chain;
        }
        while (peek(p).kind == T_FIELD) {
            struct token t = next(p);
            add_name(p, n, str_sub(t.s, 1, t.s.n));
            n->end = t.pos + (uint32_t)t.s.n;
        }
    }
    return n;
}

static struct node *parse_command(struct parser *p)
{
    struct node *cmd = node_new(p, NODE_COMMAND, peek_word(p).pos);
    VEC(struct node *) args = {0};
    while (!p->failed) {
        peek_word(p);
        struct node *arg = parse_operand(p);
        if (arg)
            vec_push(&args, arg);
        struct token t = peek(p);
        if (t.kind == T_SPACE) {
            next(p);
            continue;
        }
        if (t.kind == T_RIGHT || t.kind == T_RPAREN || t.kind == T_PIPE)
            break;
        unexpected(p, t, "operand");
    }
    if (!args.n)
        fail(p, "empty command");
    cmd->n_kids = args.n;
    cmd->kids = ARENA_ARRAY(p->a, struct node *, args.n + 1);
    for (size_t i = 0; i < args.n; i++)
        cmd->kids[i] = args.v[i];
    cmd->end = args.n ? args.v[args.n - 1]->end : cmd->pos;
    vec_done(&args);
    return cmd;
}

static void check_pipe(struct parser *p, struct node *pipe, const char *context)
{
    if (p->failed)
        return;
    if (!pipe->n_kids)
        fail(p, "missing value for %s", context);
    for (size_t i = 1; i < pipe->n_kids; i++) {
        enum node_kind k = pipe->kids[i]->kids[0]->kind;
        if (k == NODE_CONST || k == NODE_DOT || k == NODE_NIL)
            fail(p, "non executable command in pipeline stage %zu", i + 1);
    }
}

static struct node *parse_pipe(struct parser *p, const char *context, enum tok end)
{
    struct node *pipe = node_new(p, NODE_PIPE, peek_word(p).pos);
    VEC(struct node *) cmds = {0};
    /* $x := ..., $x = ..., and in range $i, $x := ... The declaration is seen by looking past the variable. */
    if (peek_word(p).kind == T_VAR) {
        size_t save_at = p->at, save_vars = p->vars.n;
        struct token save = p->tok;
        unsigned save_parens = p->parens;
        struct token v = next(p);
        struct token t = next_word(p);
        if (t.kind == T_DECLARE || t.kind == T_ASSIGN) {
            pipe->assign = t.kind == T_ASSIGN;
            add_name(p, pipe, v.s);
        } else if (t.kind == T_COMMA && str_eqz(str_of(context), "range")) {
            add_name(p, pipe, v.s);
            struct token v2 = next_word(p);
            if (v2.kind == T_VAR) {
                add_name(p, pipe, v2.s);
                t = next_word(p);
                pipe->assign = t.kind == T_ASSIGN;
                if (t.kind != T_DECLARE && t.kind != T_ASSIGN)
                    fail(p, "too many declarations in %s", context);
            } else {
                fail(p, "range can only initialize variables");
            }
        } else if (t.kind == T_COMMA) {
            fail(p, "too many declarations in %s", context);
        } else if (!p->failed) {
            p->at = save_at;
            p->tok = save;
            p->has_tok = true;
            p->vars.n = save_vars;
            p->parens = save_parens;
            p->in_action = true;
            p->trim_next = false;
        }
        if (pipe->assign)
            for (size_t i = 0; i < pipe->n_names; i++) {
                bool known = false;
                for (size_t k = 0; k < p->vars.n; k++)
                    known |= str_eq(p->vars.v[k], pipe->names[i]);
                if (!known)
                    fail(p, "undefined variable \"" STR_FMT "\"", STR_ARG(pipe->names[i]));
            }
    }
    while (!p->failed) {
        struct token t = peek_word(p);
        if (t.kind == end) {
            next(p);
            break;
        }
        if (t.kind == T_PIPE) {
            if (!cmds.n) {
                unexpected(p, t, context);
                break;
            }
            next(p);
            t = peek_word(p);
            if (t.kind == end || t.kind == T_RIGHT || t.kind == T_RPAREN)
                fail(p, "missing value for %s", context);
        }
        struct node *cmd;
        switch ((int)t.kind) {
        case T_BOOL:
        case T_CHAR:
        case T_DOT:
        case T_FIELD:
        case T_IDENT:
        case T_NUMBER:
        case T_NIL:
        case T_RAW:
        case T_STRING:
        case T_VAR:
        case T_LPAREN:
            cmd = parse_command(p);
            vec_push(&cmds, cmd);
            break;
        default:
            unexpected(p, t, context);
        }
    }
    pipe->n_kids = cmds.n;
    pipe->kids = ARENA_ARRAY(p->a, struct node *, cmds.n + 1);
    for (size_t i = 0; i < cmds.n; i++)
        pipe->kids[i] = cmds.v[i];
    pipe->end = (uint32_t)(cmds.n ? cmds.v[cmds.n - 1]->end : pipe->pos);
    vec_done(&cmds);
    check_pipe(p, pipe, context);
    for (size_t i = 0; i < pipe->n_names && !pipe->assign; i++)
        vec_push(&p->vars, pipe->names[i]);
    return pipe;
}

enum list_end { END_EOF, END_END, END_ELSE, END_ELSE_IF, END_ELSE_WITH };
static enum list_end parse_list(struct parser *p, struct node_list *ret, bool top);

static void add_template(struct parser *p, struct str name, struct node_list body)
{
    bool empty = true;
    for (size_t i = 0; i < body.n && empty; i++)
        empty = body.v[i]->kind == NODE_TEXT && str_empty(str_trim(body.v[i]->text));
    if (empty && map_get(&p->set->templates, name))
        return; /* an empty later definition does not replace one with content */
    struct tmpl *t = ARENA_NEW(p->a, struct tmpl);
    *t = (struct tmpl){.name = arena_str(p->a, name), .file = p->name, .source = p->text, .body = body};
    map_put(&p->set->templates, t->name, t);
}

static struct str parse_name(struct parser *p, const char *context)
{
    struct token t = next_word(p);
    struct str s = STR_NULL;
    if (t.kind == T_RAW)
        s = str_sub(t.s, 1, t.s.n - 1);
    else if (t.kind != T_STRING || !unquote(p, t.s, &s))
        unexpected(p, t, context);
    return s;
}

static void expect_right(struct parser *p, const char *context)
{
    struct token t = next_word(p);
    if (t.kind != T_RIGHT)
        unexpected(p, t, context);
}

static struct node *parse_control(struct parser *p, enum node_kind kind, uint32_t pos, const char *context)
{
    struct node *n = node_new(p, kind, pos);
    if (++p->nest > TEMPLATE_NEST_MAX) {
        fail(p, "nested deeper than %d", TEMPLATE_NEST_MAX);
        return n;
    }
    size_t vars = p->vars.n;
    n->pipe = parse_pipe(p, context, T_RIGHT);
    n->end = (uint32_t)p->at;
    if (kind == NODE_RANGE)
        p->loops++;
    enum list_end end = p->failed ? END_EOF : parse_list(p, &n->list, false);
    if (kind == NODE_RANGE)
        p->loops--;
    if (end == END_ELSE) {
        end = parse_list(p, &n->alt, false);
        if (end != END_END)
            fail(p, "expected end; found {{else}}");
    } else if (end == END_ELSE_IF || end == END_ELSE_WITH) {
        if ((end == END_ELSE_IF && kind != NODE_IF) || (end == END_ELSE_WITH && kind != NODE_WITH)) {
            fail(p, "unexpected <%s> in else", end == END_ELSE_IF ? "if" : "with");
        } else {
            n->alt.v = ARENA_ARRAY(p->a, struct node *, 1);
            n->alt.n = 1;
            n->alt.v[0] = parse_control(p, kind, (uint32_t)p->at, context); /* its {{end}} is ours too */
        }
    }
    p->vars.n = vars;
    p->nest--;
    return n;
}

static enum list_end parse_list(struct parser *p, struct node_list *ret, bool top)
{
    VEC(struct node *) v = {0};
    enum list_end end = END_EOF;
    while (!p->failed) {
        struct token t = next(p);
        if (t.kind == T_EOF) {
            if (!top)
                fail(p, "unexpected EOF");
            break;
        }
        if (t.kind == T_TEXT) {
            struct node *n = node_new(p, NODE_TEXT, t.pos);
            n->text = t.s;
            vec_push(&v, n);
            continue;
        }
        if (t.kind != T_LEFT)
            break;
        uint32_t pos = t.pos + 2;
        t = peek_word(p);
        if (t.kind != T_KEYWORD) {
            struct node *n = node_new(p, NODE_ACTION, pos);
            n->pipe = parse_pipe(p, "command", T_RIGHT);
            n->end = n->pipe->end;
            vec_push(&v, n);
            continue;
        }
        next(p);
        struct str w = t.s;
        struct node *n = NULL;
        if (str_eqz(w, "if")) {
            n = parse_control(p, NODE_IF, t.pos, "if");
        } else if (str_eqz(w, "with")) {
            n = parse_control(p, NODE_WITH, t.pos, "with");
        } else if (str_eqz(w, "range")) {
            n = parse_control(p, NODE_RANGE, t.pos, "range");
        } else if (str_eqz(w, "break") || str_eqz(w, "continue")) {
            expect_right(p, w.p[0] == 'b' ? "{{break}}" : "{{continue}}");
            if (!p->loops)
                fail(p, "{{" STR_FMT "}} outside {{range}}", STR_ARG(w));
            n = node_new(p, w.p[0] == 'b' ? NODE_BREAK : NODE_CONTINUE, t.pos);
        } else if (str_eqz(w, "template")) {
            n = node_new(p, NODE_TEMPLATE, t.pos);
            n->text = parse_name(p, "template clause");
            if (peek_word(p).kind == T_RIGHT)
                next(p);
            else if (!p->failed)
                n->pipe = parse_pipe(p, "template clause", T_RIGHT);
            n->end = (uint32_t)p->at;
        } else if (str_eqz(w, "define") || str_eqz(w, "block")) {
            bool block = w.p[0] == 'b';
            if (!top && !block) {
                fail(p, "unexpected <define> in command");
                break;
            }
            if (++p->nest > TEMPLATE_NEST_MAX) {
                fail(p, "nested deeper than %d", TEMPLATE_NEST_MAX);
                break;
            }
            struct str name = parse_name(p, block ? "block clause" : "define clause");
            struct node *pipe = NULL;
            if (block)
                pipe = parse_pipe(p, "block clause", T_RIGHT);
            else
                expect_right(p, "define clause");
            size_t vars = p->vars.n, loops = p->loops;
            VEC(struct str) outer = {0};
            for (size_t i = 0; i < vars; i++)
                vec_push(&outer, p->vars.v[i]);
            p->vars.n = 0;
            vec_push(&p->vars, STR("$"));
            p->loops = 0;
            struct node_list body = {0};
            if (!p->failed && parse_list(p, &body, false) != END_END)
                fail(p, "unexpected {{else}} in %s clause", block ? "block" : "define");
            p->vars.n = 0;
            for (size_t i = 0; i < outer.n; i++)
                vec_push(&p->vars, outer.v[i]);
            vec_done(&outer);
            p->loops = (unsigned)loops;
            p->nest--;
            if (!p->failed)
                add_template(p, name, body);
            if (block) {
                n = node_new(p, NODE_TEMPLATE, t.pos);
                n->text = name;
                n->pipe = pipe;
                n->end = t.pos;
            }
        } else if (str_eqz(w, "end")) {
            expect_right(p, "end");
            if (top)
                fail(p, "unexpected {{end}}");
            end = END_END;
            break;
        } else { /* else */
            struct token k = peek_word(p);
            if (k.kind == T_KEYWORD && (str_eqz(k.s, "if") || str_eqz(k.s, "with"))) {
                next(p);
                end = k.s.p[0] == 'i' ? END_ELSE_IF : END_ELSE_WITH;
            } else {
                expect_right(p, "else");
                end = END_ELSE;
            }
            if (top)
                fail(p, "unexpected {{else}}");
            break;
        }
        if (n)
            vec_push(&v, n);
    }
    ret->n = v.n;
    ret->v = ARENA_ARRAY(p->a, struct node *, v.n + 1);
    for (size_t i = 0; i < v.n; i++)
        ret->v[i] = v.v[i];
    vec_done(&v);
    return end;
}

/* ---- sets ---- */

struct template_set *template_set_new(const struct template_set *parent, const struct template_func *funcs)
{
    struct template_set *s = NEW(struct template_set);
    s->parent = parent;
    s->funcs = funcs;
    s->arena = arena_new(0);
    return s;
}

struct template_set *template_set_free(struct template_set *s)
{
    if (s) {
        map_done(&s->templates);
        arena_free(s->arena);
        free(s);
    }
    return NULL;
}

const struct template_func *template_find_func(const struct template_set *s, struct str name)
{
    for (; s; s = s->parent)
        for (const struct template_func *f = s->funcs; f && f->name; f++)
            if (str_eqz(name, f->name))
                return f;
    for (const struct template_func *f = template_builtins; f->name; f++)
        if (str_eqz(name, f->name))
            return f;
    return NULL;
}

const struct tmpl *template_find(const struct template_set *s, struct str name)
{
    for (; s; s = s->parent) {
        const struct tmpl *t = map_get(&s->templates, name);
        if (t)
            return t;
    }
    return NULL;
}

bool template_has(const struct template_set *s, struct str name)
{
    return template_find(s, name);
}

int template_parse(struct template_set *s, struct str name, struct str text, struct err *e)
{
    if (text.n > (size_t)limit(config_file_bytes)) {
        err_set(e, "template: " STR_FMT ": longer than %lld bytes", STR_ARG(name), (long long)limit(config_file_bytes));
        return -EINVAL;
    }
    struct parser p = {.set = s, .a = s->arena, .err = e};
    p.name = arena_str(s->arena, name);
    p.text = arena_str(s->arena, text);
    vec_push(&p.vars, STR("$"));
    struct node_list body = {0};
    parse_list(&p, &body, true);
    vec_done(&p.vars);
    if (p.failed)
        return -EINVAL;
    add_template(&p, p.name, body);
    return 0;
}

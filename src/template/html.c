// SPDX-License-Identifier: Apache-2.0
/* Escaping by context, as html/template: the literal text of the template is followed by a small HTML tokeniser while
 * it is written, and each value is escaped for the place it lands in. (Go decides when it parses, from the same
 * contexts; deciding at run time gives the same result for every branch that is really taken.) Values can never change
 * the context. */
#include "template/template_int.h"
#include "base/limits.h"

static bool letter(char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool name_is(const char *have, unsigned n, const char *want)
{
    return n == strlen(want) && memcmp(have, want, n) == 0;
}

/* html/template attr.go: which attributes hold URLs, scripts or styles. */
static enum html_kind attr_kind(const struct html_ctx *h)
{
    static const char *const urls[] = {"action", "archive",    "background", "cite",   "classid",  "codebase",
                                       "data",   "formaction", "href",       "icon",   "longdesc", "manifest",
                                       "poster", "profile",    "src",        "usemap", "xmlns"};
    if (h->name_n >= 2 && h->name[0] == 'o' && h->name[1] == 'n')
        return HTML_JS;
    if (name_is(h->name, h->name_n, "style"))
        return HTML_CSS;
    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        if (name_is(h->name, h->name_n, urls[i]))
            return HTML_URL;
    return HTML_PLAIN;
}

static bool raw_element(const struct html_ctx *h, enum html_kind *ret)
{
    static const struct {
        const char *name;
        enum html_kind kind;
    } raw[] = {{"script", HTML_JS}, {"style", HTML_CSS}, {"textarea", HTML_PLAIN}, {"title", HTML_PLAIN}};
    for (size_t i = 0; i < ARRAY_LEN(raw); i++)
        if (name_is(h->element, h->element_n, raw[i].name)) {
            *ret = raw[i].kind;
            return true;
        }
    return false;
}

static void tag_end(struct html_ctx *h)
{
    enum html_kind k = HTML_PLAIN;
    h->state = !h->closing && raw_element(h, &k) ? HTML_RAW : HTML_TEXT;
    h->kind = h->state == HTML_RAW ? k : HTML_PLAIN;
    h->js_quote = 0;
}

static void value_start(struct html_ctx *h, char delim)
{
    h->state = HTML_VALUE;
    h->delim = delim;
    h->kind = attr_kind(h);
    h->value_started = h->query = h->url_written = false;
    h->js_quote = 0;
}

static void follow_js(struct html_ctx *h, char c, char before)
{
    if (before == '\\')
        return;
    if (h->js_quote) {
        if (c == h->js_quote)
            h->js_quote = 0;
    } else if (c == '"' || c == '\'' || c == '`') {
        h->js_quote = c;
    }
}

void html_text(struct template_run *r, struct str s)
{
    struct html_ctx *h = &r->html;
    size_t from = 0; /* comments are dropped from the output, as html/template does */
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        switch (h->state) {
        case HTML_TEXT:
            if (c != '<')
                break;
            if (str_starts(str_sub(s, i, s.n), STR("<!--"))) {
                buf_put(r->out, s.p + from, i - from);
                h->state = HTML_COMMENT;
                i += 3;
                break;
            }
            h->state = HTML_TAG_OPEN;
            h->element_n = 0;
            h->closing = false;
            break;
        case HTML_COMMENT:
            if (str_starts(str_sub(s, i, s.n), STR("-->"))) {
                i += 2;
                from = i + 1;
                h->state = HTML_TEXT;
            }
            break;
        case HTML_TAG_OPEN:
            if (c == '/' && !h->element_n) {
                h->closing = true;
            } else if (letter(c) || (h->element_n && ((c >= '0' && c <= '9') || c == '-' || c == ':'))) {
                if (h->element_n < sizeof(h->element))
                    h->element[h->element_n++] = (char)(letter(c) ? c | 0x20 : c);
            } else if (!h->element_n && c != '!') {
                h->state = HTML_TEXT; /* a lone < */
            } else if (c == '>') {
                tag_end(h);
            } else {
                h->state = HTML_TAG;
            }
            break;
        case HTML_TAG:
            if (c == '>') {
                tag_end(h);
            } else if (!space(c) && c != '/') {
                h->state = HTML_ATTR_NAME;
                h->name_n = 0;
                h->name[h->name_n++] = (char)(letter(c) ? c | 0x20 : c);
            }
            break;
        case HTML_ATTR_NAME:
            if (c == '=') {
                h->state = HTML_BEFORE_VALUE;
            } else if (c == '>') {
                tag_end(h);
            } else if (space(c) || c == '/') {
                h->state = HTML_AFTER_NAME;
            } else if (h->name_n < sizeof(h->name)) {
                h->name[h->name_n++] = (char)(letter(c) ? c | 0x20 : c);
            }
            break;
        case HTML_AFTER_NAME:
            if (c == '=') {
                h->state = HTML_BEFORE_VALUE;
            } else if (c == '>') {
                tag_end(h);
            } else if (!space(c) && c != '/') {
                h->state = HTML_ATTR_NAME;
                h->name_n = 0;
                h->name[h->name_n++] = (char)(letter(c) ? c | 0x20 : c);
            }
            break;
        case HTML_BEFORE_VALUE:
            if (c == '>') {
                tag_end(h);
            } else if (c == '"' || c == '\'') {
                value_start(h, c);
            } else if (!space(c)) {
                value_start(h, 0);
                h->value_started = true;
            }
            break;
        case HTML_VALUE:
            if (h->delim ? c == h->delim : c == '>' || space(c)) {
                h->kind = HTML_PLAIN;
                h->state = HTML_TAG;
                if (c == '>')
                    tag_end(h);
                break;
            }
            h->value_started = true;
            h->url_written = true;
            if (h->kind == HTML_URL && (c == '?' || c == '#'))
                h->query = true;
            if (h->kind == HTML_JS)
                follow_js(h, c, i ? s.p[i - 1] : 0);
            break;
        case HTML_RAW:
            if (c == '<' && i + 1 < s.n && s.p[i + 1] == '/') {
                struct str rest = str_sub(s, i + 2, s.n);
                if (rest.n >= h->element_n &&
                    str_ieq(str_sub(rest, 0, h->element_n), str_make(h->element, h->element_n))) {
                    h->state = HTML_TAG_OPEN;
                    h->kind = HTML_PLAIN;
                    h->element_n = 0;
                    h->closing = false;
                    break;
                }
            }
            if (h->kind == HTML_JS)
                follow_js(h, c, i ? s.p[i - 1] : 0);
            break;
        }
    }
    if (h->state != HTML_COMMENT)
        buf_put(r->out, s.p + from, s.n - from);
}

/* ---- values ---- */

static bool url_char(unsigned char c, bool query)
{
    if ((c >= '0' && c <= '9') || letter((char)c) || c == '-' || c == '.' || c == '_' || c == '~')
        return true;
    return !query && strchr("!#$&*+,/:;=?@[]", c) && c;
}

/* html/template url.go: escape everything inside a query, normalise elsewhere (bytes that are fine stay, %xx stays). */
static void put_url(struct buf *b, struct str s, bool query)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool escaped = !query && c == '%' && i + 2 < s.n;
        for (int k = 1; escaped && k <= 2; k++) {
            char d = s.p[i + (size_t)k];
            escaped = (d >= '0' && d <= '9') || ((d | 0x20) >= 'a' && (d | 0x20) <= 'f');
        }
        if (url_char(c, query) || escaped) {
            buf_putc(b, (char)c);
        } else {
            buf_putc(b, '%');
            buf_putc(b, hex[c >> 4]);
            buf_putc(b, hex[c & 15]);
        }
    }
}

/* Only http, https, mailto and relative URLs may come from a value: javascript: and data: are replaced. */
static bool url_allowed(struct str s)
{
    ptrdiff_t colon = str_chr(s, ':');
    if (colon < 0)
        return true;
    struct str scheme = str_sub(s, 0, (size_t)colon);
    if (str_chr(scheme, '/') >= 0)
        return true;
    return str_ieq(scheme, STR("http")) || str_ieq(scheme, STR("https")) || str_ieq(scheme, STR("mailto"));
}

static void put_js_string(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || strchr("\"'`\\/<>&+=", c))
            buf_fmt(b, "\\u%04x", c);
        else
            buf_putc(b, (char)c);
    }
}

static void put_attr(struct buf *b, struct str s, char delim)
{
    if (delim) {
        html_escape(b, s);
        return;
    }
    for (size_t i = 0; i < s.n; i++) { /* unquoted: nothing may end the value */
        char c = s.p[i];
        if (space(c) || c == '=' || c == '`' || c == '+')
            buf_fmt(b, "&#%d;", c);
        else
            html_escape(b, str_make(&c, 1));
    }
}

void html_value(struct template_run *r, struct tval v)
{
    struct html_ctx *h = &r->html;
    _cleanup_buf_ struct buf text = BUF_INIT((size_t)limit(template_output_bytes));
    _cleanup_buf_ struct buf esc = BUF_INIT((size_t)limit(template_output_bytes) * 2);
    struct tval plain = template_view(r, v);
    if (plain.kind == TVAL_STR)
        buf_str(&text, plain.s);
    else if (plain.kind != TVAL_NIL)
        tval_print(r, &text, plain);
    struct str s = buf_view(&text);
    if (h->state == HTML_BEFORE_VALUE) {
        value_start(h, 0);
        h->value_started = true;
    }
    switch (h->state) {
    case HTML_TEXT:
        if (v.kind == TVAL_STR && v.safe)
            buf_str(r->out, s);
        else
            html_escape(r->out, s);
        return;
    case HTML_RAW:
    case HTML_VALUE:
        if (h->kind == HTML_URL) {
            bool safe = v.kind == TVAL_STR && v.url;
            if (!h->url_written && !h->query && !safe && !url_allowed(s))
                s = STR("#ZgotmplZ");
            put_url(&esc, s, h->query && !safe);
            h->url_written = true;
            if (!h->query)
                h->query = str_chr(s, '?') >= 0 || str_chr(s, '#') >= 0;
            s = buf_view(&esc);
        } else if (h->kind == HTML_JS) {
            if (h->js_quote) {
                put_js_string(&esc, s);
            } else if (plain.kind == TVAL_INT || plain.kind == TVAL_FLOAT || plain.kind == TVAL_BOOL) {
                buf_fmt(&esc, " " STR_FMT " ", STR_ARG(s));
            } else {
                buf_putc(&esc, '"');
                put_js_string(&esc, s);
                buf_putc(&esc, '"');
            }
            s = buf_view(&esc);
        } else if (h->kind == HTML_CSS) {
            bool fine = true; /* words, colours and lengths pass; anything that could start something does not */
            for (size_t i = 0; i < s.n && fine; i++)
                fine = letter(s.p[i]) || (s.p[i] >= '0' && s.p[i] <= '9') || strchr("#.%- _,", s.p[i]) != NULL;
            if (!fine)
                s = STR("ZgotmplZ");
        }
        if (h->state == HTML_RAW && h->kind != HTML_PLAIN)
            buf_str(r->out, s);
        else
            put_attr(r->out, s, h->state == HTML_RAW ? '"' : h->delim);
        return;
    case HTML_TAG:
    case HTML_TAG_OPEN:
    case HTML_ATTR_NAME:
    case HTML_AFTER_NAME: { /* a name: letters and digits only */
        bool fine = s.n > 0 && h->state != HTML_TAG_OPEN;
        for (size_t i = 0; i < s.n && fine; i++)
            fine = letter(s.p[i]) || (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-';
        if (fine && (s.n < 2 || !str_ieq(str_sub(s, 0, 2), STR("on"))))
            buf_str(r->out, s);
        else
            buf_z(r->out, "ZgotmplZ");
        return;
    }
    case HTML_COMMENT:
    case HTML_BEFORE_VALUE:
        return;
    }
}

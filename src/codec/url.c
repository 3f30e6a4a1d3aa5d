// SPDX-License-Identifier: Apache-2.0
#include "codec/url.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool url_decode(struct str s, bool plus, struct arena *a, struct str *ret)
{
    size_t i = 0;
    while (i < s.n && s.p[i] != '%' && !(plus && s.p[i] == '+'))
        i++;
    if (i == s.n) {
        *ret = s;
        return true;
    }
    char *out = arena_try(a, s.n + 1);
    if (!out)
        return false;
    size_t n = 0;
    for (i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
                return false;
            c = (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]));
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        out[n++] = c;
    }
    *ret = str_make(out, n);
    return true;
}

int url_args(struct str text, size_t max, struct arena *a, struct url_arg **ret, size_t *ret_n)
{
    size_t pieces = 0, n = 0;
    for (size_t i = 0; i < text.n; i++)
        pieces += text.p[i] == '&';
    if (pieces >= max)
        return -E2BIG;
    struct url_arg *v = arena_try(a, (pieces + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    struct str rest = text, piece;
    bool more = text.n > 0;
    while (more) {
        struct str name, value;
        more = str_cut(rest, '&', &piece, &rest);
        if (str_empty(piece))
            continue;
        (void)str_cut(piece, '=', &name, &value); /* no '=': a name without a value */
        if (!url_decode(name, true, a, &v[n].name) || !url_decode(value, true, a, &v[n].value))
            return -EINVAL;
        n++;
    }
    *ret = v;
    *ret_n = n;
    return 0;
}

void url_encode(struct buf *b, struct str s)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
            c == '_' || c == '~') {
            buf_putc(b, (char)c);
        } else {
            buf_putc(b, '%');
            buf_putc(b, digits[c >> 4]);
            buf_putc(b, digits[c & 15]);
        }
    }
}

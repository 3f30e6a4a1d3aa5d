// SPDX-License-Identifier: Apache-2.0
#include "codec/base64.h"

static int digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

bool base64_decode(struct str in, char *out, size_t size, size_t *ret_n)
{
    while (in.n && in.p[in.n - 1] == '=')
        in.n--;
    size_t n = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    if (in.n % 4 == 1)
        return false;
    for (size_t i = 0; i < in.n; i++) {
        int d = digit(in.p[i]);
        if (d < 0)
            return false;
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have >= 8) {
            have -= 8;
            if (n == size)
                return false;
            out[n++] = (char)(bits >> have);
        }
    }
    *ret_n = n;
    return true;
}

void base64_encode(struct buf *b, struct str in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < in.n; i += 3) {
        size_t left = in.n - i;
        uint32_t v = (uint32_t)(unsigned char)in.p[i] << 16;
        if (left > 1)
            v |= (uint32_t)(unsigned char)in.p[i + 1] << 8;
        if (left > 2)
            v |= (unsigned char)in.p[i + 2];
        buf_putc(b, digits[v >> 18]);
        buf_putc(b, digits[v >> 12 & 63]);
        buf_putc(b, left > 1 ? digits[v >> 6 & 63] : '=');
        buf_putc(b, left > 2 ? digits[v & 63] : '=');
    }
}

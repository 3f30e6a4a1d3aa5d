// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

size_t utf8_decode(struct str s, uint32_t *ret_cp)
{
    if (s.n == 0)
        return 0;
    const unsigned char *p = (const unsigned char *)s.p;
    if (p[0] < 0x80) {
        *ret_cp = p[0];
        return 1;
    }
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || s.n < len)
        return 0;
    uint32_t cp = p[0] & (0xffU >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        cp = cp << 6 | (p[i] & 0x3f);
    }
    if ((len == 3 && cp < 0x800) || (len == 4 && cp < 0x10000) || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
        return 0;
    *ret_cp = cp;
    return len;
}

bool utf8_valid(struct str s)
{
    while (s.n) {
        if (s.n >= 8) { /* eight ASCII bytes at once: the common case */
            uint64_t w;
            memcpy(&w, s.p, 8);
            if ((w & 0x8080808080808080ULL) == 0) {
                s.p += 8, s.n -= 8;
                continue;
            }
        }
        uint32_t cp;
        size_t len = utf8_decode(s, &cp);
        if (!len)
            return false;
        s.p += len, s.n -= len;
    }
    return true;
}

size_t utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp >= 0xd800 && cp < 0xe000)
        return 0;
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    if (cp > 0x10ffff)
        return 0;
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

void utf8_scrub(struct buf *b, struct str s)
{
    while (s.n) {
        uint32_t cp;
        size_t len = utf8_decode(s, &cp);
        if (len)
            buf_put(b, s.p, len);
        else
            buf_z(b, "\xef\xbf\xbd");
        len = len ? len : 1;
        s.p += len, s.n -= len;
    }
}

static size_t columns(uint32_t cp)
{
    if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x300 && cp < 0x370) || cp == 0x200b || cp == 0x200d ||
        (cp >= 0xfe00 && cp < 0xfe10))
        return 0;
    if ((cp >= 0x1100 && cp < 0x1160) || (cp >= 0x2e80 && cp < 0xa4d0) || (cp >= 0xac00 && cp < 0xd7a4) ||
        (cp >= 0xf900 && cp < 0xfb00) || (cp >= 0xfe30 && cp < 0xfe70) || (cp >= 0xff00 && cp < 0xff61) ||
        (cp >= 0x1f300 && cp < 0x1f650) || (cp >= 0x1f680 && cp < 0x1f700) || (cp >= 0x1f900 && cp < 0x1fb00) ||
        (cp >= 0x20000 && cp < 0x30000))
        return 2;
    return 1;
}

size_t utf8_width(struct str s)
{
    size_t width = 0;
    while (s.n) {
        uint32_t cp;
        size_t len = utf8_decode(s, &cp);
        width += len ? columns(cp) : 1;
        len = len ? len : 1;
        s.p += len, s.n -= len;
    }
    return width;
}

// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"

#include "base/mem.h"
#include <stdint.h>

int str_cmp(struct str a, struct str b)
{
    size_t n = MIN(a.n, b.n);
    int c = n ? memcmp(a.p, b.p, n) : 0;
    if (c)
        return c;
    return (a.n > b.n) - (a.n < b.n);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool str_ieq(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

ptrdiff_t str_find(struct str s, struct str needle)
{
    if (needle.n == 0)
        return 0;
    if (s.n < needle.n)
        return -1;
    const char *p = memmem(s.p, s.n, needle.p, needle.n);
    return p ? p - s.p : -1;
}

ptrdiff_t str_chr(struct str s, char c)
{
    const char *p = s.n ? memchr(s.p, c, s.n) : NULL;
    return p ? p - s.p : -1;
}

ptrdiff_t str_rchr(struct str s, char c)
{
    const char *p = s.n ? memrchr(s.p, c, s.n) : NULL;
    return p ? p - s.p : -1;
}

struct str str_sub(struct str s, size_t from, size_t to)
{
    to = MIN(to, s.n);
    from = MIN(from, to);
    return str_make(s.p + from, to - from);
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
    while (s.n && blank(s.p[0]))
        s.p++, s.n--;
    while (s.n && blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool str_cut(struct str s, char sep, struct str *left, struct str *right)
{
    ptrdiff_t i = str_chr(s, sep);
    if (left)
        *left = i < 0 ? s : str_sub(s, 0, (size_t)i);
    if (right)
        *right = i < 0 ? str_make(s.p + s.n, 0) : str_sub(s, (size_t)i + 1, s.n);
    return i >= 0;
}

bool str_line(struct str *rest, struct str *ret_line)
{
    if (rest->n == 0)
        return false;
    struct str line;
    str_cut(*rest, '\n', &line, rest);
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    *ret_line = line;
    return true;
}

#define DISTANCE_LEN 64 /* longer names are not worth a suggestion */

size_t str_distance(struct str a, struct str b, size_t max)
{
    size_t row[DISTANCE_LEN + 1];
    if (a.n > DISTANCE_LEN || b.n > DISTANCE_LEN || (a.n > b.n ? a.n - b.n : b.n - a.n) > max)
        return max + 1;
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t up = row[j];
            size_t cost = diagonal + (a.p[i - 1] != b.p[j - 1]);
            row[j] = MIN(MIN(up + 1, row[j - 1] + 1), cost);
            diagonal = up;
        }
    }
    return MIN(row[b.n], max + 1);
}

const char *str_nearest(struct str s, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t best_distance = MIN(s.n / 3 + 1, 3);
    for (size_t i = 0; i < n; i++) {
        size_t d = str_distance(s, str_of(names[i]), best_distance);
        if (d < best_distance || (d == best_distance && !best)) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}

char *str_dupz(struct str s)
{
    char *z = xmalloc(s.n + 1);
    if (s.n)
        memcpy(z, s.p, s.n);
    z[s.n] = 0;
    return z;
}

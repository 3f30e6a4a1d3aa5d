// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Borrowed byte slices: a pointer and a length, never NUL-terminated by contract. A slice owns nothing; its bytes live
 * as long as whatever they were cut from. All functions are pure and thread-safe. */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(lit) ((struct str){.p = ("" lit), .n = sizeof(lit) - 1})
#define STR_NULL ((struct str){.p = NULL, .n = 0})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p

/* A slice over a NUL-terminated string; NULL gives an empty slice. */
static inline struct str str_of(const char *z)
{
    return (struct str){.p = z, .n = z ? strlen(z) : 0};
}

static inline struct str str_make(const char *p, size_t n)
{
    return (struct str){.p = p, .n = n};
}

static inline bool str_empty(struct str s)
{
    return s.n == 0;
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_eqz(struct str a, const char *z)
{
    return str_eq(a, str_of(z));
}

/* Byte order, shorter first on a common prefix (the order of Go's string comparison). */
int str_cmp(struct str a, struct str b);
bool str_ieq(struct str a, struct str b); /* ASCII case-insensitive equality */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/* Offset of the first occurrence, or -1. */
ptrdiff_t str_find(struct str s, struct str needle);
ptrdiff_t str_chr(struct str s, char c);
ptrdiff_t str_rchr(struct str s, char c);
/* [from, to) clamped to the slice. */
struct str str_sub(struct str s, size_t from, size_t to);
/* Without leading and trailing blanks, tabs, CR and LF. */
struct str str_trim(struct str s);
/* Cut at the first `sep`: true and both halves, or false with *left = s and *right empty. Outputs may be NULL. */
bool str_cut(struct str s, char sep, struct str *left, struct str *right);
/* Next line without its LF (and CR); advances *rest. false at the end. */
bool str_line(struct str *rest, struct str *ret_line);
/* Levenshtein distance, capped at `max` + 1; for "did you mean". */
size_t str_distance(struct str a, struct str b, size_t max);
/* The nearest of `n` names within two edits (and a third of the length), or NULL. */
const char *str_nearest(struct str s, const char *const *names, size_t n);
/* malloc'd NUL-terminated copy; owned by the caller. */
char *str_dupz(struct str s);

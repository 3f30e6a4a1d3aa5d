// SPDX-License-Identifier: Apache-2.0
#pragma once
/* RE2 (PromQL's own syntax, linear time) behind C, with fast paths for the patterns people write: a literal, a|b|c,
 * prefix.*, .*suffix, .+, .*. Immutable after compile: share between threads freely. */
#include "base/buf.h"
#include "base/error.h"

struct regex;
struct arena;

enum regex_flags {
    REGEX_ANCHORED = 1, /* the whole text must match (matchers, relabelling) */
    REGEX_DOT_NL = 2,   /* . matches newline too (PromQL matchers) */
};

/* Compile; owned by the caller. 0; -EINVAL with the reason in *e; limits regex_bytes and regex_memory apply. */
MUST_USE int regex_new(struct str pattern, unsigned flags, struct regex **ret, struct err *e);
struct regex *regex_free(struct regex *re);
bool regex_match(const struct regex *re, struct str text);
/* The only strings that can match (for `a|b|c`): borrowed from re; false when the set is not a short list. */
bool regex_alternatives(const struct regex *re, const struct str **ret, size_t *ret_n);
/* A literal every match must start with (may be empty); borrowed. */
struct str regex_prefix(const struct regex *re);
/* Match and expand $1, ${1}, ${name}, $name in `replacement` as Go's Regexp.Expand; appends to out. false: no match,
 * nothing written. */
bool regex_expand(const struct regex *re, struct str text, struct str replacement, struct buf *out);
/* Go's ReplaceAllString. */
void regex_replace_all(const struct regex *re, struct str text, struct str replacement, struct buf *out);
/* First match at or after `from` with groups: fills at most n slices (0 = whole); false when none. */
bool regex_find(const struct regex *re, struct str text, size_t from, struct str *groups, size_t n);
size_t regex_groups(const struct regex *re);
const char *regex_group_name(const struct regex *re, size_t i); /* NULL when unnamed */
bool regex_group_name_valid(struct str name);

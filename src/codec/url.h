// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Percent-encoding (RFC 3986) and query strings as forms write them (WHATWG application/x-www-form-urlencoded). */
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

/* Undo %XX, and '+' as a blank where `plus`. The result is borrowed from s when nothing changed, else in the arena.
 * false: a '%' without two hex digits. */
__attribute__((warn_unused_result)) bool url_decode(struct str s, bool plus, struct arena *a, struct str *ret);

struct url_arg {
    struct str name, value;
};
/* "a=1&b=2" to decoded pairs in order; empty pieces are skipped. 0; -EINVAL for a bad escape, -E2BIG past `max` pairs,
 * -ENOMEM past the arena's budget. */
MUST_USE int url_args(struct str text, size_t max, struct arena *a, struct url_arg **ret, size_t *ret_n);

/* Escape all but unreserved characters; a blank becomes %20. */
void url_encode(struct buf *b, struct str s);

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/buf.h"
#include <stdint.h>

/* Strict RFC 3629: no overlongs, no surrogates, at most U+10FFFF. */
bool utf8_valid(struct str s);
/* Decode one code point at the start; returns its length in bytes (1..4), or 0 when invalid or empty. */
size_t utf8_decode(struct str s, uint32_t *ret_cp);
/* Encode; returns 1..4 bytes written to out, or 0 for an invalid code point. */
size_t utf8_encode(uint32_t cp, char out[4]);
/* Append s, each invalid byte replaced by U+FFFD. */
void utf8_scrub(struct buf *b, struct str s);
/* Terminal columns, counting wide East Asian and emoji as 2 and combining marks as 0 (approximate). */
size_t utf8_width(struct str s);

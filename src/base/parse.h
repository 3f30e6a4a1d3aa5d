// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Locale-free text to number. Every function consumes the whole slice or fails; outputs are untouched on failure.
 * Floating point lives in codec/f64.h (it needs the C++ runtime, which the keeper does without). */
#include "base/str.h"
#include <stdint.h>

__attribute__((warn_unused_result)) bool parse_u64(struct str s, uint64_t *ret); /* decimal */
__attribute__((warn_unused_result)) bool parse_i64(struct str s, int64_t *ret);
__attribute__((warn_unused_result)) bool parse_bool(struct str s, bool *ret); /* true false yes no on off 1 0 */
/* Prometheus duration to milliseconds: ([0-9]+(y|w|d|h|m|s|ms))+ in that order, each unit once, or "0". y = 365 d. */
__attribute__((warn_unused_result)) bool parse_duration_ms(struct str s, int64_t *ret_ms);
/* Go's time.ParseDuration subset: decimals and ns us ms s m h; to milliseconds (rounded towards zero). */
__attribute__((warn_unused_result)) bool parse_go_duration_ms(struct str s, int64_t *ret_ms);
/* Byte sizes: B, KB, MB, GB, TB, PB, EB and K, M, G, KiB ..., all powers of 1024 (as Prometheus' flags); bare number =
 * bytes. */
__attribute__((warn_unused_result)) bool parse_bytes(struct str s, uint64_t *ret);
/* RFC 3339 date-time with optional fraction, `Z` or an offset; to Unix milliseconds. */
__attribute__((warn_unused_result)) bool parse_rfc3339_ms(struct str s, int64_t *ret_ms);

// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Values to text, appended to a buf. */
#include "base/buf.h"
#include <stdint.h>

/* Prometheus duration: "1h30m", "15s", "0s", "1ms"; years, weeks and days only where exact, as Go
 * model.Duration.String. */
void format_duration_ms(struct buf *b, int64_t ms);
/* For people: "1h 30m", "12.3s", "450ms". */
void format_duration_human(struct buf *b, int64_t ms);
/* RFC 3339 in UTC with milliseconds: 2026-11-22T10:00:00.000Z. */
void format_rfc3339_ms(struct buf *b, int64_t ms);
/* "1.5 GiB", "312 KiB", "17 B". */
void format_bytes(struct buf *b, uint64_t bytes);
/* Civil date in UTC of Unix milliseconds. */
void format_civil(int64_t ms, int *ret_y, int *ret_mon, int *ret_d, int *ret_h, int *ret_min, int *ret_s);
/* Days since 1970-01-01 of a civil date (proleptic Gregorian). */
int64_t format_days_from_civil(int64_t y, int m, int d);

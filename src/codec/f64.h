// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Doubles to text and back, locale-free, shortest round trip (wraps the C++17 charconv of libstdc++). */
#include "base/buf.h"

#define F64_TEXT_MAX 352 /* bytes enough for any f64_write form */

/* As Go's strconv.FormatFloat(v, 'f', -1, 64), with NaN, +Inf, -Inf: scalars in Prometheus' JSON. Returns length. */
size_t f64_write(char *out, double v);
/* As FormatFloat(v, 'g', -1, 64), which is also Go's %v and the text exposition form: "1e+06", "1.048576e+06",
 * "123456". */
size_t f64_write_g(char *out, double v);
/* As encoding/json and the sample values of Prometheus' JSON: exponent below 1e-6 and from 1e21 on ("1e-07"). */
size_t f64_write_json(char *out, double v);
/* As 'e' with shortest digits: "1e+00" (alert values). */
size_t f64_write_e(char *out, double v);
void f64_put(struct buf *b, double v); /* f64_write appended */
void f64_put_g(struct buf *b, double v);
void f64_put_json(struct buf *b, double v);

/* Decimal float of the exposition formats: optional sign, digits, fraction, exponent; Inf, +Inf, -Inf, NaN in any case;
 * the whole slice or false. Also Go's hexadecimal floats and underscores when `go` is set. */
__attribute__((warn_unused_result)) bool f64_parse(struct str s, double *ret);
__attribute__((warn_unused_result)) bool f64_parse_go(struct str s, double *ret);

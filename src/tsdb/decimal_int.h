// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Doubles that are short decimals: v = m / 10^exp, exactly. The quotient of two exact doubles is correctly rounded
 * (IEEE 754), and m < 2^53 and 10^exp (exp <= 22) are exact, so decoding gives the very bits that were tested. */
#include "model/sample.h"

#define DECIMAL_EXP_MAX 14

static inline double decimal_power(int exp)
{
    static const double p10[DECIMAL_EXP_MAX + 1] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6, 1e7,
                                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};
    return p10[exp];
}

static inline double decimal_value(int64_t m, int exp)
{
    return exp == 0 ? (double)m : (double)m / decimal_power(exp);
}

/* Is v = m / 10^exp bit for bit? exp 0 takes every integral double of 63 bits. -0.0, NaN and infinities never fit. */
static inline bool decimal_exact(double v, int exp, int64_t *ret)
{
    double x = exp == 0 ? v : v * decimal_power(exp);
    double bound = exp == 0 ? 9.2e18 : 9007199254740992.0; /* 2^53 */
    if (!(x > -bound && x < bound))
        return false;
    int64_t m = exp == 0 ? (int64_t)x : (int64_t)(x + (x < 0 ? -0.5 : 0.5));
    if (f64_bits(decimal_value(m, exp)) != f64_bits(v))
        return false;
    *ret = m;
    return true;
}

/* The smallest exponent >= from that fits, or -1. */
static inline int decimal_exponent(double v, int from)
{
    int64_t m;
    for (int e = from; e <= DECIMAL_EXP_MAX; e++)
        if (decimal_exact(v, e, &m))
            return e;
    return -1;
}

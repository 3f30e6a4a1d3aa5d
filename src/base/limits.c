// SPDX-License-Identifier: Apache-2.0
#include "base/limits.h"

const struct limit_row limit_rows[LIMIT_COUNT] = {
#define X(n, d, lo, hi, u, t) [LIMIT_##n] = {.name = #n, .def = (d), .min = (lo), .max = (hi), .unit = (u), .doc = (t)},
    LIMIT_TABLE(X)
#undef X
};

int64_t limit_values[LIMIT_COUNT] = {
#define X(n, d, lo, hi, u, t) [LIMIT_##n] = (d),
    LIMIT_TABLE(X)
#undef X
};

bool limit_set(struct str name, int64_t value)
{
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        const struct limit_row *r = &limit_rows[i];
        if (str_eqz(name, r->name)) {
            if (value < r->min || value > r->max)
                return false;
            limit_values[i] = value;
            return true;
        }
    }
    return false;
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/str.h"
#include <stdint.h>

/* Go's time.Parse: the whole text by the layout; years without a date start at year 0. False when it does not fit. */
bool time_parse_go(struct str layout, struct str s, int64_t *ret_ms);

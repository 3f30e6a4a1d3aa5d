// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What hune says about itself besides its rooms: process_*, hune_build_info, configuration reload state. */
#include "base/metrics.h"

struct self {
    _Atomic int64_t reload_ok, reload_ms; /* last reload: worked, Unix ms of the last good one */
    int64_t started_ms;
};
void self_collect(void *self, struct metrics_out *out);
int64_t self_resident_bytes(void);

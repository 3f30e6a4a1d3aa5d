// SPDX-License-Identifier: Apache-2.0
#pragma once
/* How discovery tells whoever polls (scrape, notifier) what there is. Groups are replaced whole, by source. */
#include "model/labels.h"

struct target_group {
    struct str source;            /* unique within its pool: "static/0", a file's path ... */
    struct labels labels;         /* shared by all targets of the group */
    const struct labels *targets; /* each has at least __address__; n = 0 removes the group */
    size_t n;
};

struct target_sink {
    /* Replace the groups of `pool` (a job's name) that carry these sources. Copied. Any thread; the effect is
     * asynchronous. generation: that of the configuration the groups come from; groups of an older one are ignored. */
    void (*update)(struct target_sink *s, uint64_t generation, struct str pool, const struct target_group *groups,
                   size_t n);
};

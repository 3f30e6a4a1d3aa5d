// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What cannot be watched by rules, because rules need the store: the store itself. Once a second: is it read-only? A
 * change becomes an event, and an alert handed to the notifier directly (HuneReadOnly, critical). */
#include "model/alert.h"
#include "model/event.h"
#include "tsdb/tsdb.h"

struct watch {
    struct tsdb *tsdb;
    struct journal *journal;
    struct alert_sink *alerts;
    const struct clock *clock;
    int64_t since_ms, told_ms; /* read-only since; 0 = not */
    char reason[160];
};
/* Main thread, every second. */
void watch_step(struct watch *w);

// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Alerts on their way from rules (or POST /api/v2/alerts) to the notifier inside, outside Alertmanagers and whoever
 * else listens. */
#include "model/labels.h"

struct alert {
    struct labels labels, annotations;
    int64_t starts_ms; /* fired at */
    int64_t ends_ms;   /* firing: until when the sender vouches for it; resolved: when it ended; 0 = unknown */
    int64_t updated_ms;
    struct str generator_url;
    bool resolved;
    double value; /* the expression's value at the last evaluation; NaN when unknown */
};

struct alert_sink {
    /* Take one batch (copied). Any thread. Durable before 0 is returned where the sink keeps state. */
    int (*put)(struct alert_sink *s, const struct alert *alerts, size_t n);
};

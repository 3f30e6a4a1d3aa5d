// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Outside Alertmanagers (alerting.alertmanagers of prometheus.yml): discovery's groups become addresses for the
 * forwarder. */
#include "discover/discover.h"
#include "notify/notify.h"

struct outside;
struct outside *outside_new(struct forward *f); /* f borrowed */
struct outside *outside_free(struct outside *o);
/* Take the Alertmanager entries of a generation; returns the pools to hand to discovery (borrowed until the next
 * apply). */
const struct discover_pool *outside_apply(struct outside *o, struct promfile *f, size_t *ret_n);
/* Alerts for the forwarder: external labels and alert_relabel_configs applied on the way. After the first
 * outside_apply(). */
struct alert_sink *outside_alert_sink(struct outside *o);
/* The addresses in force, in the arena. Any thread. */
void outside_urls(struct outside *o, struct arena *a, struct str **ret, size_t *ret_n);

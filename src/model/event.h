// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The event journal: what happened, typed, append-only. Everything that closes a seam subscribes to it; a room never
 * calls another to notify it, it emits. The store is db/. Kinds are dotted: alert.firing, process.exited,
 * anomaly.opened, notify.failed, config.refused, server.started, auth.login ... (doc/reference/events.md lists them).
 */
#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

enum severity { SEV_NONE, SEV_INFO, SEV_WARNING, SEV_CRITICAL };
extern const char *const severity_names[]; /* "", "info", "warning", "critical" */
enum severity
severity_parse(struct str s); /* also fatal, page, error, major -> critical; warn, minor -> warning; else none */

struct event {
    uint64_t seq;    /* set by the journal, from 1, without gaps */
    int64_t t_ms;    /* when it happened; 0 = now */
    struct str kind; /* required */
    enum severity severity;
    struct str service; /* job, application or component it is about; may be empty */
    struct str subject; /* what exactly: alert fingerprint, process name#instance, anomaly id, file ... */
    struct str actor;   /* "hune", user name, or "keeper" */
    struct str summary; /* one line for people, English */
    struct str links;   /* JSON object of related ids: {"anomaly":"ANO-..","alert":"<fingerprint>"}; may be empty */
    struct str payload; /* JSON object, details by kind; may be empty. Limit event_payload_bytes */
};

struct event_filter {
    struct str kind_prefix; /* "alert." or "" */
    struct str service, subject;
    enum severity min_severity;
    int64_t from_ms, to_ms; /* 0 = open */
    uint64_t after_seq, before_seq;
    struct str text; /* substring of summary or subject */
    size_t limit;    /* 0 = 100 */
    bool ascending;  /* oldest first */
};

struct journal {
    /* Append; durable (synced) when it returns 0, with e->seq and e->t_ms set. Any thread; blocks for the writer.
     * Subscribers run afterwards on the journal's own thread, in order, each event once per process. */
    int (*append)(struct journal *j, struct event *e);
    /* Append without waiting: queued, written within a second, order kept. For facts whose loss in a crash is bearable.
     * Copies. */
    void (*post)(struct journal *j, const struct event *e);
    /* Newest first unless ascending; array and strings in the arena. */
    int (*list)(struct journal *j, const struct event_filter *f, struct arena *a, struct event **ret, size_t *ret_n);
    /* fn runs on the journal's thread, must be quick and must not call append (post is fine). Start-up only. */
    void (*subscribe)(struct journal *j, void (*fn)(void *ctx, const struct event *e), void *ctx);
};

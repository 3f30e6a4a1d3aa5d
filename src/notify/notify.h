// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Alertmanager's job: alerts in, routed, grouped, silenced, inhibited, told to receivers once, and again until it
 * worked. Behaviour follows Alertmanager 0.34 (docs/configuration.md, docs/notifications.md). One loop thread owns
 * everything; other threads reach it through the functions here, which take one lock for as long as memory is touched,
 * never for a write to disk or network of the loop. Alerts, silences and the notification log are durable before they
 * are acknowledged. */
#include "base/clock.h"
#include "base/metrics.h"
#include "model/alert.h"
#include "model/event.h"
#include "model/matcher.h"
#include "net/client.h"
#include "sys/fs.h"
#include "template/template.h"

/* ---- configuration ---- */

struct notify_config; /* immutable; alertmanager.yml with its templates parsed */

/* Read alertmanager.yml. Problems: "file:line:col: ...". Warnings (a receiver kind that cannot send yet, classic
 * matchers) go to `warn` (may be NULL). 0 with *ret owned by the caller; -EINVAL; -errno. */
typedef void (*notify_warn_fn)(void *ctx, const char *text);
MUST_USE int notify_config_load(const char *path, notify_warn_fn warn, void *ctx, struct notify_config **ret,
                                struct err *e);
MUST_USE int notify_config_parse(struct str text, const char *name, const char *dir, notify_warn_fn warn, void *ctx,
                                 struct notify_config **ret, struct err *e);
/* Journal only: every alert is shown, nobody is told. */
struct notify_config *notify_config_default(void);
struct notify_config *notify_config_free(struct notify_config *c);
/* What `amtool check-config` says of the parts: "Found: ...". */
void notify_config_summary(const struct notify_config *c, struct buf *out);
void notify_config_yaml(const struct notify_config *c, struct buf *out); /* with secrets masked */
/* Names of the receivers an alert with these labels would go to, in order (amtool config routes test); in the arena. */
void notify_config_route(const struct notify_config *c, struct labels l, struct arena *a, struct str **ret,
                         size_t *ret_n);
/* The routing tree as `amtool config routes show` draws it. */
void notify_config_tree(const struct notify_config *c, struct buf *out);

/* Alertmanager's matcher syntax, UTF-8 first, classic second: `a="b"`, `a=b`, or a list `{a="b",c=~"d"}`. Matchers and
 * bytes in the arena (free each with matcher_done). *ret_classic: only the classic parser took it. 0, or -EINVAL. */
MUST_USE int notify_matchers_parse(struct str text, struct arena *a, struct matcher **ret, size_t *ret_n,
                                   bool *ret_classic, struct err *e);

/* `amtool template render`: run `text` with the configuration's templates (and the built-in ones) on template data as
 * JSON
 * ({"receiver", "status", "alerts": [...], "groupLabels", "commonLabels", "commonAnnotations", "externalURL"}). 0, or
 * -EINVAL. */
MUST_USE int notify_template_render(const struct notify_config *c, struct str text, bool html, struct str json,
                                    int64_t now_ms, struct buf *out, struct err *e);

/* ---- running ---- */

/* How a message leaves. The real one speaks HTTP and SMTP; a simulation puts its own here. */
struct notify_job;
struct notify_result {
    bool ok, retry;         /* failed: try again? */
    long status;            /* HTTP status or SMTP reply, 0 = none */
    int64_t retry_after_ms; /* 0 = not said */
    struct err err;
};
struct notify_message { /* one message to one integration; borrowed until done */
    struct str receiver, kind, group_key, idempotency_key;
    size_t index; /* of the integration within its receiver's kind */
    struct str url, body, content_type;
    const struct http_config *http;
    const struct smtp_message *mail; /* set: e-mail instead of HTTP */
    const struct http_header *headers;
    size_t n_headers;
    int64_t timeout_ms;
};
struct notify_transport {
    /* Begin; later call notify_job_done(job, result) exactly once, from poll() on the loop's thread. */
    void (*send)(struct notify_transport *t, const struct notify_message *m, struct notify_job *job);
    void (*cancel)(struct notify_transport *t, struct notify_job *job);
    void (*poll)(struct notify_transport *t, int timeout_ms);
    void (*wake)(struct notify_transport *t); /* any thread */
    void (*free)(struct notify_transport *t);
};
struct notify_transport *notify_transport_net(void);
void notify_job_done(struct notify_job *job, const struct notify_result *result);

struct notify_options {
    const struct clock *clock;
    const struct vfs *vfs;              /* NULL = vfs_real */
    const char *dir;                    /* folder of the durable files, made when absent; NULL = memory only */
    struct journal *journal;            /* may be NULL */
    struct notify_transport *transport; /* NULL = notify_transport_net(); owned by the notifier */
    struct str external_url;            /* copied; without trailing slash */
    int64_t retention_ms;               /* of the notification log and expired silences; 0 = 120h */
    int64_t start_delay_ms;             /* --dispatch.start-delay */
    struct str language;                /* "en" (default) or "fr": the default messages */
};

struct notify;
/* Recovers alerts, silences and the notification log from dir. Takes config. 0; -errno; -EINVAL with the reason. */
MUST_USE int notify_open(const struct notify_options *o, struct notify_config *config, struct notify **ret,
                         struct err *e);
struct notify *notify_close(struct notify *n); /* stops the thread; nothing is lost */
MUST_USE int notify_start(struct notify *n);   /* the loop thread; not with notify_step() */
/* Do what is due now, without waiting; returns milliseconds until something is due (INT64_MAX: nothing). For fake
 * clocks. */
int64_t notify_step(struct notify *n);
void notify_apply(struct notify *n,
                  struct notify_config *c); /* takes c; reload: log and silences stay, groups are built anew */
/* Alerts from rules or the API. Borrowed for as long as n lives. */
struct alert_sink *notify_alert_sink(struct notify *n);

/* ---- silences ---- */

enum silence_state { SILENCE_PENDING, SILENCE_ACTIVE, SILENCE_EXPIRED };
extern const char *const silence_state_names[];

struct silence {
    char id[37]; /* UUID; empty = new */
    const struct matcher *matchers;
    size_t n_matchers;
    int64_t starts_ms, ends_ms, updated_ms;
    struct str created_by, comment;
    enum silence_state state; /* out */
};
enum silence_error { SILENCE_E_NOT_FOUND = 1, SILENCE_E_INVALID };
/* Create, or change the one named by id. Durable when it returns 0; ret_id gets 36 characters and NUL. SILENCE_E_*:
 * reason in *e; -errno. */
MUST_USE int notify_silence_set(struct notify *n, const struct silence *s, struct str actor, char ret_id[37],
                                struct err *e);
MUST_USE int notify_silence_expire(struct notify *n, struct str id, struct str actor, struct err *e);
void notify_silences(struct notify *n, struct arena *a, struct silence **ret,
                     size_t *ret_n); /* matchers without compiled regex */

/* ---- listing, for API v2; copies into the arena; any thread ---- */

enum notify_alert_state { NOTIFY_UNPROCESSED, NOTIFY_ACTIVE, NOTIFY_SUPPRESSED };
extern const char *const notify_alert_state_names[]; /* "unprocessed", "active", "suppressed" */

struct notify_alert_view {
    struct alert alert;
    uint64_t fingerprint;
    enum notify_alert_state state;
    const struct str *receivers, *silenced_by, *inhibited_by, *muted_by; /* ids, hex fingerprints, interval names */
    size_t n_receivers, n_silenced_by, n_inhibited_by, n_muted_by;
};
struct notify_group_view {
    struct labels labels;
    struct str receiver, route_id, key;
    const struct notify_alert_view *alerts;
    size_t n_alerts;
};
void notify_alerts(struct notify *n, struct arena *a, struct notify_alert_view **ret, size_t *ret_n); /* firing ones */
void notify_groups(struct notify *n, struct arena *a, struct notify_group_view **ret, size_t *ret_n);
void notify_receivers(struct notify *n, struct arena *a, struct str **ret, size_t *ret_n);
void notify_status_yaml(struct notify *n, struct buf *out); /* the loaded configuration, secrets masked */
void notify_collect(void *notify, struct metrics_out *out); /* alertmanager_* */

/* ---- alerts to outside Alertmanagers (prometheus.yml: alerting.alertmanagers) ---- */

struct forward_target {
    struct str url; /* http://host:port/prefix */
    struct http_config http;
    int64_t timeout_ms;
};
struct forward; /* own thread; a bounded queue (limit notify_queue) per process, oldest dropped and counted */
struct forward *forward_new(const struct clock *c);
struct forward *forward_free(struct forward *f);
MUST_USE int forward_start(struct forward *f);
void forward_apply(struct forward *f, const struct forward_target *t, size_t n,
                   struct labels external_labels); /* copied */
struct alert_sink *forward_alert_sink(struct forward *f);
void forward_collect(void *forward, struct metrics_out *out); /* prometheus_notifications_* */

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "notify/notify.h"
#include <errno.h>
#include <stdio.h>
#include <pthread.h>

/* ---- configuration ---- */

enum receiver_kind {
    KIND_WEBHOOK,
    KIND_EMAIL,
    KIND_DISCORD,
    KIND_OTHER, /* read and checked; cannot send yet */
};

struct integration {
    enum receiver_kind kind;
    const char *kind_name; /* "webhook" */
    size_t index;          /* among those of its kind in the receiver */
    bool send_resolved;
    struct http_config http;
    bool has_http;
    /* webhook, discord */
    struct str url, url_file;
    int64_t max_alerts, timeout_ms;
    const struct yaml_node *payload;                          /* webhook: own payload, templated */
    struct str title, message, content, username, avatar_url; /* discord, templated */
    /* email */
    struct str to, from, smarthost, hello, auth_username, auth_password, auth_password_file, auth_identity, html, text;
    struct config_map headers;
    bool require_tls, has_require_tls, implicit_tls, has_headers;
    const struct yaml_node *tls_node, *threading;
    struct str auth_secret, auth_secret_file;
    bool has_html, has_text;
    uint32_t line;
};

struct receiver {
    struct str name;
    struct integration *v;
    size_t n;
    uint32_t line;
};

struct interval_time {
    int start_min, end_min;
};
struct interval_range {
    int from, to; /* inclusive */
};
struct interval_ranges {
    struct interval_range *v;
    size_t n;
};
struct interval_part {
    struct interval_time *times;
    size_t n_times;
    struct interval_ranges weekdays, days, months, years;
    const void *zone; /* NULL = UTC */
};
struct interval {
    struct str name;
    struct interval_part *v;
    size_t n;
};

struct route {
    struct route *parent;
    const struct receiver *receiver;
    struct str receiver_name;
    struct str *group_by; /* sorted */
    size_t n_group_by;
    bool group_by_all, has_group_by, keep_going;
    struct matcher *matchers;
    size_t n_matchers;
    int64_t group_wait_ms, group_interval_ms, repeat_interval_ms;
    bool has_wait, has_interval, has_repeat;
    struct config_map labels;
    const struct interval **mute, **active;
    size_t n_mute, n_active;
    struct route *routes;
    size_t n_routes;
    struct str key; /* "{}/{a=\"b\"}": the first half of group keys */
    struct str id;  /* key and position: survives a reload */
    uint32_t line;
};

struct inhibit_rule {
    struct str name;
    struct matcher *source, *target;
    size_t n_source, n_target;
    struct config_strs equal;
};

struct notify_config {
    _Atomic int refs;
    struct arena *arena;
    struct route root;
    struct receiver *receivers;
    size_t n_receivers, n_intervals, n_inhibit, n_template_files;
    struct interval *intervals;
    struct inhibit_rule *inhibit;
    struct template_set *templates;
    int64_t resolve_timeout_ms;
    struct str yaml;                /* masked */
    VEC(struct matcher *) matchers; /* to be released */
    VEC(size_t) matcher_counts;
    bool journal_only; /* no file: nobody is told */
};
struct notify_config *notify_config_ref(struct notify_config *c);

struct load { /* one reading */
    struct notify_config *c;
    struct config_ctx *ctx;
    notify_warn_fn warn;
    void *warn_ctx;
    struct global {
        int64_t resolve_timeout_ms;
        struct http_config http;
        bool has_http;
        struct str smtp_from, smtp_smarthost, smtp_hello, smtp_auth_username, smtp_auth_password,
            smtp_auth_password_file, smtp_auth_identity, smtp_auth_secret, smtp_auth_secret_file;
        bool smtp_require_tls, smtp_force_implicit_tls;
        const struct yaml_node *smtp_tls_config;
        const struct yaml_node *node; /* for the kinds that look up their own keys */
    } global;
};
__attribute__((format(printf, 2, 3))) void load_warn(struct load *l, const char *fmt, ...);
int receivers_read(struct load *l, const struct yaml_node *list);
int intervals_read(struct load *l, const struct yaml_node *list, const char *key);
/* A copy of the document in which values of keys that hold secrets read <secret>. */
const struct yaml_node *mask_tree(const struct yaml_node *n, struct arena *a);
bool interval_active(const struct interval *iv, int64_t now_ms);
const void *zone_find(struct str name); /* IANA name, "Local" or "UTC"; NULL when unknown (and for UTC) */
void zone_at(const void *zone, int64_t ms, int32_t *ret_offset_s, struct str *ret_abbrev);
extern const char notify_default_templates[];

/* ---- running state ---- */

struct group;

struct alarm { /* one alert in the store */
    uint64_t fp;
    void *block; /* labels, annotations, url */
    struct alert a;
    bool timeout;             /* the end is only "not heard of since" */
    int groups;               /* groups that hold it */
    uint64_t silence_version; /* the silenced_by below is of this version */
    VEC(struct entry *) silenced_by;
};

struct entry { /* one silence */
    char id[37];
    struct arena *mem;
    struct matcher *matchers;
    size_t n_matchers;
    int64_t starts_ms, ends_ms, updated_ms;
    struct str created_by, comment;
    bool told_active, told_expired;
};

struct log_entry {  /* what one integration was told of one group */
    struct str key; /* group key, receiver, kind, index */
    int64_t t_ms, expires_ms;
    uint64_t *firing, *resolved; /* fingerprints */
    size_t n_firing, n_resolved;
};

enum job_state { JOB_IDLE, JOB_SENDING, JOB_WAITING };

struct job_alert {  /* as it was when the group was flushed */
    struct alert a; /* borrowed from the job's arena */
    uint64_t fp;
};

struct notify_job {
    struct notify *n;
    struct group *group; /* NULL after the group went away */
    const struct integration *in;
    struct notify_config *config;
    enum job_state state;
    struct arena *mem;
    struct job_alert *alerts;
    size_t n_alerts;
    struct str log_key, receiver, group_key;
    struct labels group_labels;
    struct config_map route_labels;
    struct labels common_labels, common_annotations; /* given from outside (template render) instead of computed */
    struct str status;
    bool has_common;
    int64_t flush_ms, deadline_ms, retry_ms, backoff_ms;
    unsigned attempts;
    struct notify_message msg;
    struct smtp_message mail;
    struct str reason; /* "first notification", ... */
};

struct group {
    uint64_t hash;
    const struct route *route;
    struct notify_config *config;
    struct arena *mem;
    struct labels labels;
    struct str key;
    VEC(struct alarm *) alarms;
    struct idmap members; /* fingerprint -> 1 */
    int64_t next_ms, flush_ms;
    bool flushed, failed;     /* failed: a job of the last flush */
    bool again;               /* an older message was still on its way at the last flush */
    size_t running;           /* jobs of the last flush that are not done */
    struct notify_job **jobs; /* one slot per integration of the receiver, NULL = none */
    size_t n_jobs;
    struct str muted_by; /* interval name at the last flush, empty = not muted */
};

struct notify {
    struct notify_options o;
    struct alert_sink sink;
    struct notify_transport *transport;
    pthread_mutex_t mu;    /* guards the state below. Rank: before nothing (leaf) */
    pthread_mutex_t io_mu; /* order of records in the file; taken before mu */
    pthread_cond_t cond;
    pthread_t thread;
    bool running, stop;
    struct notify_config *config;
    struct idmap alarm_index; /* fingerprint -> pointer */
    VEC(struct alarm *) alarms;
    VEC(struct group *) groups;
    struct idmap group_index; /* hash -> pointer */
    VEC(struct entry *) silences;
    uint64_t silence_version;
    int64_t silence_next_ms; /* when a silence next begins or ends */
    struct map log;          /* key -> struct log_entry */
    VEC(struct notify_job *) jobs;
    struct arena *inhibit_mem;
    bool inhibit_dirty;
    int64_t inhibit_until_ms;
    struct idmap *inhibit_index; /* one per rule: hash of equal labels -> list */
    /* durable file */
    int fd;
    off_t file_bytes, compacted_bytes;
    struct buf outbox;
    bool store_broken; /* a write failed: the next one writes everything anew */
    int64_t started_ms, log_gc_ms;
};

/* store.c */
MUST_USE int notify_store_open(struct notify *n, struct err *e);
void notify_store_close(struct notify *n);
MUST_USE int store_flush(struct notify *n); /* without locks: write and sync what is queued */
void store_alert(struct notify *n, const struct alarm *x);
void store_alert_gone(struct notify *n, uint64_t fp);
void store_silence(struct notify *n, const struct entry *s);
void store_log(struct notify *n, const struct log_entry *l);

MUST_USE int store_compact(struct notify *n);

/* state */
void *pack_alert(const struct alert *in, struct alert *out); /* one malloc block with all bytes */
bool alert_resolved(const struct alert *a, int64_t now);
struct alarm *alarm_upsert(struct notify *n, const struct alert *a, int64_t now, bool timeout, bool *ret_changed);
struct alarm *alarm_find(struct notify *n, uint64_t fp);
struct entry *silence_add(struct notify *n, const char id[37], const struct silence *s, int64_t now);
void log_put(struct notify *n, struct str key, int64_t t_ms, int64_t expires_ms, const uint64_t *firing,
             size_t n_firing, const uint64_t *resolved, size_t n_resolved);
void route_alarm(struct notify *n, struct alarm *x, int64_t now);
enum silence_state silence_state_at(const struct entry *s, int64_t now);
void silence_refresh(struct notify *n, struct alarm *x, int64_t now);
bool inhibited(struct notify *n, const struct alarm *x, int64_t now, uint64_t *ret_by);
void routes_match(const struct route *r, struct labels l, const struct route **out, size_t max, size_t *ret_n);
void poke(struct notify *n);

/* data.c: what templates see (Alertmanager's template.Data). Everything in the arena. */
struct tval data_of(const struct notify_job *j, struct arena *a, struct str external_url, struct tval route_labels);
struct tval route_labels_of(struct notify_job *j);
bool job_firing(const struct notify_job *j);
struct labels job_common(const struct notify_job *j, struct arena *a, bool annotations);
/* Run a text as a template on the job's data, into the job's arena. */
MUST_USE int job_expand(struct notify_job *j, const char *what, struct str text, bool html, struct str *ret,
                        struct err *e);

/* message.c: fills job->msg (and job->mail) in the job's arena. 0 or -EINVAL with the reason (a template that fails is
 * not retried). */
MUST_USE int message_build(struct notify_job *j, struct err *e);

/* metrics: counted per kind of receiver */
enum fail_reason { FAIL_CLIENT, FAIL_SERVER, FAIL_TEMPLATE, FAIL_OTHER, FAIL_REASONS };
void notify_count_request(const char *kind, bool failed, uint64_t took_ns);
void notify_count(const char *kind, bool failed, enum fail_reason why);

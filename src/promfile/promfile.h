// SPDX-License-Identifier: Apache-2.0
#pragma once
/* prometheus.yml as typed data: one immutable generation per load, in its own arena, reference counted. It knows keys,
 * defaults, bounds and cross checks of Prometheus 3.x and nothing of what the sections do: scrape, discover, rules,
 * remote and notify read their part of it. Keys that are valid but that nothing acts on yet give a warning, never
 * silence. */
#include "base/arena.h"
#include "config/config.h"
#include "model/labels.h"
#include "model/relabel.h"
#include "net/client.h"

enum promfile_flags {
    PROMFILE_SYNTAX_ONLY =
        1, /* do not look for files that keys point at; unknown kinds of discovery are warnings, not errors */
};

struct relabel_rules {
    const struct relabel_rule *v;
    size_t n;
};

struct promfile_limits { /* 0 = no limit */
    int64_t body_bytes, samples, labels, label_name_length, label_value_length, targets, dropped_targets;
};

/* One entry of a *_sd_configs list. */
struct promfile_sd {
    const char *kind;             /* "static", "file", "http", "dns", "docker", "consul", "kubernetes" ... */
    const struct yaml_node *node; /* in the generation's tree, for kinds that read themselves */
    /* static: targets as label sets with __address__, plus labels */
    struct labels labels;
    const struct labels *targets;
    size_t n_targets;
    /* file */
    struct config_strs files; /* patterns, absolute or relative to the working folder */
    int64_t refresh_ms;
};

struct promfile_sds {
    const struct promfile_sd *v;
    size_t n;
};

enum promfile_protocol { /* scrape_protocols */
                         PROTO_PROTOBUF,
                         PROTO_OM_0_0_1,
                         PROTO_OM_1_0_0,
                         PROTO_TEXT_0_0_4,
                         PROTO_TEXT_1_0_0,
                         PROTO_COUNT
};
extern const char *const promfile_protocol_names[PROTO_COUNT + 1]; /* "PrometheusProto" ... */

struct promfile_scrape {
    struct str job;
    int64_t interval_ms, timeout_ms;
    struct str metrics_path, scheme;
    struct {
        struct str name;
        struct config_strs values;
    } * params;
    size_t n_params;
    bool honor_labels, honor_timestamps, track_timestamps_staleness, enable_compression, extra_scrape_metrics;
    bool legacy_names;          /* metric_name_validation_scheme: legacy */
    int protocols[PROTO_COUNT]; /* in order of preference */
    size_t n_protocols;
    int fallback; /* enum promfile_protocol or -1 */
    struct promfile_limits limits;
    struct http_config http;
    struct relabel_rules relabel, metric_relabel;
    struct promfile_sds sds;
    uint64_t hash; /* over everything above: equal hash = same behaviour */
};

struct promfile_alertmanager {
    struct str scheme, path_prefix, api_version;
    int64_t timeout_ms;
    struct http_config http;
    struct relabel_rules relabel, alert_relabel;
    struct promfile_sds sds;
};

struct promfile_remote { /* remote_write and remote_read entries: read and checked; node for the room that acts on it */
    struct str name, url;
    struct relabel_rules write_relabel;
    const struct yaml_node *node;
};

struct promfile {
    struct str path;     /* as given; empty for text */
    struct str text;     /* the document as it should be shown: secrets masked, defaults not filled in */
    uint64_t generation; /* rises with every load of the process, from 1 */
    struct {
        int64_t scrape_interval_ms, scrape_timeout_ms, evaluation_interval_ms, rule_query_offset_ms;
        struct labels external_labels; /* ${ENV} expanded, sorted */
        struct str query_log_file, scrape_failure_log_file;
        struct promfile_limits limits;
    } global;
    struct config_strs rule_files; /* patterns, joined with the file's folder */
    struct promfile_scrape *scrapes;
    size_t n_scrapes;
    struct relabel_rules alert_relabel;
    struct promfile_alertmanager *alertmanagers;
    size_t n_alertmanagers;
    struct {
        int64_t out_of_order_window_ms;
        int64_t retention_ms;    /* 0 = not set here */
        int64_t retention_bytes; /* 0 = not set here */
        double retention_percentage;
        int64_t max_exemplars; /* -1 = not set */
    } storage;
    struct promfile_remote *remote_write, *remote_read;
    size_t n_remote_write, n_remote_read;
    struct config_strs warnings; /* sentences, each with file:line:col */
};

/* Read a file, or a text (name: for messages, dir: what relative paths start from). 0 and a reference; -EINVAL, -ENOENT
 * ... with "file:line:col: ..." in *e. Any thread. */
MUST_USE int promfile_load(const char *path, unsigned flags, struct promfile **ret, struct err *e);
MUST_USE int promfile_parse(struct str text, const char *name, const char *dir, unsigned flags, struct promfile **ret,
                            struct err *e);
struct promfile *promfile_ref(struct promfile *f);
struct promfile *promfile_unref(struct promfile *f); /* accepts NULL, returns NULL */

/* For `check config`: load and describe. Appends what promtool's reader expects ("SUCCESS: ..." or "FAILED: ..." and
 * warnings); returns 0 or -EINVAL. The rule files matched are appended to *ret_rules (malloc'd paths; may be NULL). */
int promfile_check(const char *path, unsigned flags, struct buf *out, struct config_strs *ret_rules, struct arena *a);
/* The reference page of the configuration file, Markdown. */
void promfile_reference(struct buf *b);

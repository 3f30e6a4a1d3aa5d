// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Shared by the files of this room: the reading in progress and the schemas that refer to each other. */
#include "base/vec.h"
#include "promfile/promfile.h"

/* One load. ctx.user of every reading points here. */
struct reading {
    struct promfile *f;
    struct arena *arena;
    unsigned flags;
    bool legacy_names; /* global.metric_name_validation_scheme, read before everything else */
    VEC(struct str) warnings;
    VEC(struct regex *) regexes; /* of all rules, owned by the generation */
};

struct generation { /* what a struct promfile really is */
    struct promfile f;
    _Atomic int refs;
    struct arena *arena;
    struct regex **regexes;
    size_t n_regexes;
};

void promfile_warn(struct config_ctx *c, const struct yaml_node *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Rows of http_config moved into an object that embeds one at `offset`, behind `own`. Allocated once, for ever. */
void promfile_join_rows(struct config_schema *s, const struct config_row *own, size_t n_own, size_t http_offset);

/* CFG_CUSTOM readers of struct relabel_rules, struct labels. */
int promfile_read_relabel(struct config_ctx *c, const struct yaml_node *n, void *field);
int promfile_read_labels(struct config_ctx *c, const struct yaml_node *n, void *field);
/* CFG_CUSTOM of a int64_t where "" and 0 mean none: byte sizes that want a unit, as Go's units package. */
int promfile_read_bytes(struct config_ctx *c, const struct yaml_node *n, void *field);
int promfile_check_url(struct config_ctx *c, const struct yaml_node *n, struct str url, const char *what);
/* A pattern of rule_files, scrape_config_files: a star in the last part of the path only. */
bool promfile_pattern_valid(struct str s);

/* *_sd_configs: a row per kind whose CFG_NODE lands in a table of nodes. */
#define PROMFILE_SD_MAX 40
struct sd_nodes {
    const struct yaml_node *v[PROMFILE_SD_MAX];
};
size_t promfile_sd_rows(struct config_row *rows, size_t offset); /* writes one row per kind, returns how many */
int promfile_read_sds(struct config_ctx *c, const struct sd_nodes *nodes, struct promfile_sds *ret);

/* Cross checks inside kinds that are not acted on. Required keys are known to be there. */
int promfile_check_kind(struct config_ctx *c, const char *kind, const struct yaml_node *n);

/* Limits shared by global and scrape_config. */
struct scrape_raw {
    struct promfile_scrape s;
    struct sd_nodes sd;
    bool interval_set, timeout_set, has_params;
    const struct yaml_node *params, *protocols, *fallback, *native_bucket_limit, *native_factor;
    struct str validation, escaping, failure_log;
    bool native_histograms, classic_always, convert_nhcb;
    bool native_set, classic_set, nhcb_set, extra_set, validation_set, escaping_set, failure_log_set;
    bool body_set, samples_set, labels_set, name_set, value_set, targets_set, dropped_set;
    const struct yaml_node *node;
};
struct global_raw {
    int64_t scrape_interval_ms, scrape_timeout_ms, evaluation_interval_ms, rule_query_offset_ms;
    struct labels external_labels;
    struct str query_log_file, scrape_failure_log_file, validation, escaping;
    struct promfile_limits limits;
    const struct yaml_node *protocols, *interval, *timeout;
    bool native_histograms, classic_always, convert_nhcb, extra_scrape_metrics;
    int64_t gogc;
};
extern const struct config_schema promfile_global_schema;
extern struct config_schema promfile_scrape_schema, promfile_am_schema, promfile_rw_schema, promfile_rr_schema;
extern const struct config_schema promfile_otlp_schema, promfile_tracing_schema;

struct am_raw {
    struct promfile_alertmanager a;
    struct sd_nodes sd;
    struct yaml_node *sigv4;
};
struct remote_raw {
    struct promfile_remote r;
    struct http_config http;
    int64_t timeout_ms;
    struct config_map headers, required_matchers;
    struct yaml_node *queue, *metadata, *sigv4, *azuread, *google_iam;
    struct str protobuf_message;
    bool flag[8];
    int64_t chunked_read_limit;
};
struct tracing_raw {
    struct str client_type, endpoint, compression;
    double fraction;
    bool insecure;
    struct config_map headers;
    int64_t timeout_ms;
    struct yaml_node *tls, *http_headers;
};
struct otlp_raw {
    struct config_strs promote, ignore;
    bool promote_all, keep, nhcb, scope, sanitize, preserve;
    struct str strategy;
};

void promfile_init_schemas(void);   /* idempotent, thread-safe */
void promfile_remote_schemas(void); /* once, by promfile_init_schemas */
/* After global is known: inherit, check, and build the final struct. */
int promfile_finish_scrape(struct config_ctx *c, const struct global_raw *g, struct scrape_raw *raw);
int promfile_read_protocols(struct config_ctx *c, const struct yaml_node *n, int *out, size_t *ret_n);

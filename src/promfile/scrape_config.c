// SPDX-License-Identifier: Apache-2.0
/* The sections that describe polling: global, scrape_configs, relabelling rules, alertmanagers. Keys and checks follow
 * Prometheus 3.x config/config.go. */
#include "promfile/promfile_int.h"

#include "base/format.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/parse.h"
#include "base/utf8.h"
#include <pthread.h>

const char *const promfile_protocol_names[PROTO_COUNT + 1] = {
    [PROTO_PROTOBUF] = "PrometheusProto",       [PROTO_OM_0_0_1] = "OpenMetricsText0.0.1",
    [PROTO_OM_1_0_0] = "OpenMetricsText1.0.0",  [PROTO_TEXT_0_0_4] = "PrometheusText0.0.4",
    [PROTO_TEXT_1_0_0] = "PrometheusText1.0.0", NULL,
};

/* --- relabelling --- */

struct rule_raw {
    struct relabel_rule r;
    struct config_strs sources;
    struct str action;
    int64_t modulus;
    bool action_set;
};
#define RULE(k, t, f, ...)                                                                                             \
    {                                                                                                                  \
        .key = k, .type = t, .offset = offsetof(struct rule_raw, f), __VA_ARGS__                                       \
    }
static const struct config_row rule_rows[] = {
    RULE("source_labels", CFG_STRS, sources, .doc = "labels whose values are joined by the separator"),
    RULE("separator", CFG_STR, r.separator, .present_offset = offsetof(struct rule_raw, r.separator_set),
         .doc = "between the joined values; default ;"),
    RULE("target_label", CFG_STR, r.target, .doc = "label to write"),
    RULE("regex", CFG_STR, r.pattern, .present_offset = offsetof(struct rule_raw, r.pattern_set),
         .doc = "RE2, anchored; default (.*)"),
    RULE("modulus", CFG_INT, modulus, .doc = "hashmod: number of shares"),
    RULE("replacement", CFG_STR, r.replacement, .present_offset = offsetof(struct rule_raw, r.replacement_set),
         .doc = "what to write; default $1"),
    RULE(
        "action", CFG_STR, action, .present_offset = offsetof(struct rule_raw, action_set),
        .doc =
            "replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase"),
};
static const struct config_schema rule_schema = {
    .name = "relabel_config",
    .size = sizeof(struct rule_raw),
    .rows = rule_rows,
    .n = ARRAY_LEN(rule_rows),
    .doc = "One relabelling rule",
};

int promfile_read_relabel(struct config_ctx *c, const struct yaml_node *n, void *field)
{
    struct reading *rd = c->user;
    struct relabel_rules *out = field;
    if (n->kind == YAML_NULL)
        return 0;
    if (n->kind != YAML_SEQ)
        return config_fail(c, n, "wants a list of relabelling rules");
    struct relabel_rule *v = ARENA_ARRAY(c->arena, struct relabel_rule, n->n ? n->n : 1);
    for (size_t i = 0; i < n->n; i++) {
        const struct yaml_node *item = n->items[i];
        if (item->kind == YAML_NULL)
            return config_fail(c, item, "empty relabelling rule");
        struct rule_raw raw = {0};
        int r = config_read(c, &rule_schema, item, &raw);
        if (r < 0)
            return r;
        /* `regex:` with nothing behind it keeps the default, as Go's yaml does */
        const struct yaml_node *re = yaml_get(item, "regex");
        if (re && re->kind == YAML_NULL && !re->quoted)
            raw.r.pattern_set = false;
        if (raw.action_set && str_empty(raw.action))
            return config_fail(c, yaml_get(item, "action"), "relabel action cannot be empty");
        raw.r.action = RELABEL_REPLACE;
        if (raw.action_set) {
            bool known = false;
            for (int k = 0; k < RELABEL_ACTION_COUNT && !known; k++)
                if (str_ieq(raw.action, str_of(relabel_action_names[k]))) {
                    raw.r.action = (enum relabel_action)k;
                    known = true;
                }
            if (!known) {
                const char *near = str_nearest(raw.action, relabel_action_names, RELABEL_ACTION_COUNT);
                return config_fail(c, yaml_get(item, "action"), "unknown relabel action \"" STR_FMT "\"%s%s%s",
                                   STR_ARG(raw.action), near ? ", did you mean \"" : "", near ? near : "",
                                   near ? "\"?" : "");
            }
        }
        if (raw.modulus < 0)
            return config_fail(c, yaml_get(item, "modulus"), "modulus: must not be negative");
        raw.r.modulus = (uint64_t)raw.modulus;
        raw.r.sources = raw.sources.v;
        raw.r.n_sources = raw.sources.n;
        raw.r.legacy_names = rd->legacy_names;
        struct err e = {0};
        if (relabel_rule_check(&raw.r, &e) < 0)
            return config_fail(c, item, "%s", e.msg);
        vec_push(&rd->regexes, raw.r.re);
        v[i] = raw.r;
    }
    *out = (struct relabel_rules){v, n->n};
    return 0;
}

int promfile_read_labels(struct config_ctx *c, const struct yaml_node *n, void *field)
{
    struct reading *rd = c->user;
    if (n->kind == YAML_NULL)
        return 0;
    if (n->kind != YAML_MAP)
        return config_fail(c, n, "wants a mapping of label names to values");
    struct labels_builder b = {0};
    lb_init(&b, (struct labels){0});
    int r = 0;
    for (size_t i = 0; i < n->n && r == 0; i++) {
        struct str name = n->keys[i]->s, value = n->items[i]->s;
        if (n->items[i]->kind != YAML_SCALAR && n->items[i]->kind != YAML_NULL)
            r = config_fail(c, n->items[i], "wants a label value");
        else if (str_empty(name) || !utf8_valid(name) || (rd->legacy_names && !label_name_legacy(name)))
            r = config_fail(c, n->keys[i], "\"" STR_FMT "\" is not a valid label name", STR_ARG(name));
        else if (!utf8_valid(value))
            r = config_fail(c, n->items[i], "\"" STR_FMT "\" is not a valid label value", STR_ARG(value));
        else
            lb_set(&b, name, value);
    }
    if (r == 0)
        *(struct labels *)field = lb_labels(&b, c->arena);
    lb_done(&b);
    return r;
}

int promfile_read_bytes(struct config_ctx *c, const struct yaml_node *n, void *field)
{
    uint64_t v;
    if (n->kind == YAML_NULL || (n->kind == YAML_SCALAR && (str_empty(n->s) || str_eqz(n->s, "0")))) {
        *(int64_t *)field = 0;
        return 0;
    }
    char last = n->kind == YAML_SCALAR ? n->s.p[n->s.n - 1] : '0';
    if (n->kind != YAML_SCALAR || (last >= '0' && last <= '9') || !parse_bytes(n->s, &v) || v > INT64_MAX)
        return config_fail(c, n, "\"" STR_FMT "\" is no size; a number with a unit is wanted, such as 512KB, 10MB, 1GB",
                           STR_ARG(n->s));
    *(int64_t *)field = (int64_t)v;
    return 0;
}

bool promfile_pattern_valid(struct str s)
{
    ptrdiff_t star = str_chr(s, '*');
    return star < 0 ||
           (str_chr(str_sub(s, (size_t)star, s.n), '/') < 0 && str_chr(str_sub(s, (size_t)star + 1, s.n), '*') < 0);
}

int promfile_check_url(struct config_ctx *c, const struct yaml_node *n, struct str url, const char *what)
{
    struct str rest;
    if (str_empty(url))
        return config_fail(c, n, "%s: URL is missing", what);
    if (str_starts(url, STR("http://")))
        rest = str_sub(url, 7, url.n);
    else if (str_starts(url, STR("https://")))
        rest = str_sub(url, 8, url.n);
    else
        return config_fail(c, n, "%s: URL scheme must be 'http' or 'https', found \"" STR_FMT "\"", what, STR_ARG(url));
    if (str_empty(rest) || rest.p[0] == '/' || rest.p[0] == '?' || rest.p[0] == '#')
        return config_fail(c, n, "%s: host is missing in URL \"" STR_FMT "\"", what, STR_ARG(url));
    return 0;
}

int promfile_read_protocols(struct config_ctx *c, const struct yaml_node *n, int *out, size_t *ret_n)
{
    size_t count = 0;
    if (n->kind != YAML_SEQ)
        return config_fail(c, n, "scrape_protocols: wants a list of protocols");
    for (size_t i = 0; i < n->n; i++) {
        int found = -1;
        for (int k = 0; k < PROTO_COUNT; k++)
            if (str_eqz(n->items[i]->s, promfile_protocol_names[k]))
                found = k;
        if (found < 0)
            return config_fail(c, n->items[i],
                               "unknown scrape protocol \"" STR_FMT
                               "\", allowed: PrometheusProto, OpenMetricsText0.0.1, "
                               "OpenMetricsText1.0.0, PrometheusText0.0.4, PrometheusText1.0.0",
                               STR_ARG(n->items[i]->s));
        for (size_t k = 0; k < count; k++)
            if (out[k] == found)
                return config_fail(c, n->items[i], "scrape protocol \"" STR_FMT "\" is there twice",
                                   STR_ARG(n->items[i]->s));
        out[count++] = found;
    }
    if (count == 0)
        return config_fail(c, n, "scrape_protocols cannot be empty");
    *ret_n = count;
    return 0;
}

/* --- global --- */

#define G(k, t, f, ...)                                                                                                \
    {                                                                                                                  \
        .key = k, .type = t, .offset = offsetof(struct global_raw, f), __VA_ARGS__                                     \
    }
static const struct config_row global_rows[] = {
    G("scrape_interval", CFG_DURATION, scrape_interval_ms, .dflt = "1m", .unit = "duration",
      .doc = "how often targets are asked"),
    G("scrape_timeout", CFG_DURATION, scrape_timeout_ms, .unit = "duration",
      .doc = "how long an answer may take; default 10s, at most the interval"),
    G("scrape_protocols", CFG_NODE, protocols, .doc = "formats to ask for, most wanted first"),
    G("evaluation_interval", CFG_DURATION, evaluation_interval_ms, .dflt = "1m", .unit = "duration",
      .doc = "how often rules are evaluated"),
    G("rule_query_offset", CFG_DURATION, rule_query_offset_ms, .dflt = "0s", .unit = "duration",
      .doc = "how far back rules look"),
    G("external_labels", CFG_CUSTOM, external_labels, .read = promfile_read_labels,
      .doc = "labels added to what leaves this server; ${ENV} is expanded"),
    G("query_log_file", CFG_STR, query_log_file, .flags = CFG_PATH, .doc = "file of all queries (not acted on yet)"),
    G("scrape_failure_log_file", CFG_STR, scrape_failure_log_file, .flags = CFG_PATH,
      .doc = "file of failed scrapes (not acted on yet)"),
    G("body_size_limit", CFG_CUSTOM, limits.body_bytes, .read = promfile_read_bytes, .unit = "bytes",
      .doc = "largest uncompressed answer, 0 = none"),
    G("sample_limit", CFG_INT, limits.samples, .max = INT64_MAX,
      .doc = "most samples of one scrape after relabelling, 0 = none"),
    G("target_limit", CFG_INT, limits.targets, .max = INT64_MAX, .doc = "most targets of one job, 0 = none"),
    G("label_limit", CFG_INT, limits.labels, .max = INT64_MAX, .doc = "most labels of one sample, 0 = none"),
    G("label_name_length_limit", CFG_INT, limits.label_name_length, .max = INT64_MAX, .unit = "bytes",
      .doc = "longest label name, 0 = none"),
    G("label_value_length_limit", CFG_INT, limits.label_value_length, .max = INT64_MAX, .unit = "bytes",
      .doc = "longest label value, 0 = none"),
    G("keep_dropped_targets", CFG_INT, limits.dropped_targets, .max = INT64_MAX,
      .doc = "how many dropped targets are remembered, 0 = all"),
    G("metric_name_validation_scheme", CFG_STR, validation, .doc = "utf8 (default) or legacy"),
    G("metric_name_escaping_scheme", CFG_STR, escaping, .doc = "allow-utf-8, underscores, dots or values"),
    G("scrape_native_histograms", CFG_BOOL, native_histograms, .dflt = "false",
      .doc = "ask for native histograms (not acted on yet)"),
    G("always_scrape_classic_histograms", CFG_BOOL, classic_always, .dflt = "false",
      .doc = "keep classic histograms beside native ones (not acted on yet)"),
    G("convert_classic_histograms_to_nhcb", CFG_BOOL, convert_nhcb, .dflt = "false",
      .doc = "store classic histograms as native ones (not acted on yet)"),
    G("extra_scrape_metrics", CFG_BOOL, extra_scrape_metrics, .dflt = "false",
      .doc = "report timeout, limit and body size of each scrape"),
};

static int check_names(struct config_ctx *c, const struct yaml_node *n, struct str validation, struct str escaping)
{
    if (!str_empty(validation) && !str_eqz(validation, "utf8") && !str_eqz(validation, "legacy"))
        return config_fail(c, yaml_get(n, "metric_name_validation_scheme"),
                           "unrecognized metric_name_validation_scheme \"" STR_FMT "\", allowed: utf8, legacy",
                           STR_ARG(validation));
    static const char *const schemes[] = {"allow-utf-8", "underscores", "dots", "values"};
    bool known = str_empty(escaping);
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        known |= str_eqz(escaping, schemes[i]);
    if (!known)
        return config_fail(c, yaml_get(n, "metric_name_escaping_scheme"),
                           "unknown metric_name_escaping_scheme \"" STR_FMT
                           "\", allowed: allow-utf-8, underscores, dots, values",
                           STR_ARG(escaping));
    if (str_eqz(escaping, "allow-utf-8") && str_eqz(validation, "legacy"))
        return config_fail(c, yaml_get(n, "metric_name_escaping_scheme"),
                           "utf8 metric names requested but validation scheme is not set to UTF8");
    return 0;
}

static int check_global(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    struct global_raw *g = object;
    if (g->scrape_interval_ms == 0)
        g->scrape_interval_ms = 60000;
    if (g->evaluation_interval_ms == 0)
        g->evaluation_interval_ms = 60000;
    if (g->scrape_timeout_ms > g->scrape_interval_ms)
        return config_fail(c, yaml_get(n, "scrape_timeout"), "global scrape timeout greater than scrape interval");
    if (g->scrape_timeout_ms == 0)
        g->scrape_timeout_ms = MIN(10000, g->scrape_interval_ms);
    int protocols[PROTO_COUNT];
    size_t n_protocols;
    if (g->protocols && g->protocols->kind != YAML_NULL) {
        int r = promfile_read_protocols(c, g->protocols, protocols, &n_protocols);
        if (r < 0)
            return r;
    }
    return check_names(c, n, g->validation, g->escaping);
}

const struct config_schema promfile_global_schema = {
    .name = "global",
    .size = sizeof(struct global_raw),
    .rows = global_rows,
    .n = ARRAY_LEN(global_rows),
    .check = check_global,
    .doc = "Defaults of all jobs and rules",
};

/* --- scrape_configs --- */

#define S(k, t, f, ...)                                                                                                \
    {                                                                                                                  \
        .key = k, .type = t, .offset = offsetof(struct scrape_raw, f), __VA_ARGS__                                     \
    }
#define SET(f) .present_offset = offsetof(struct scrape_raw, f)
static const struct config_row scrape_rows[] = {
    S("job_name", CFG_STR, s.job, .doc = "name of the job, unique; becomes the label job"),
    S("scrape_interval", CFG_DURATION, s.interval_ms, .unit = "duration",
      .doc = "how often; default global.scrape_interval"),
    S("scrape_timeout", CFG_DURATION, s.timeout_ms, .unit = "duration",
      .doc = "how long an answer may take; default global.scrape_timeout"),
    S("scrape_protocols", CFG_NODE, protocols, .doc = "formats to ask for, most wanted first"),
    S("fallback_scrape_protocol", CFG_NODE, fallback, .doc = "format of answers without a usable Content-Type"),
    S("metrics_path", CFG_STR, s.metrics_path, .dflt = "/metrics", .doc = "path asked for"),
    S("scheme", CFG_STR, s.scheme, .dflt = "http", .doc = "http or https"),
    S("params", CFG_NODE, params, .doc = "URL parameters: name -> list of values"),
    S("honor_labels", CFG_BOOL, s.honor_labels, .dflt = "false",
      .doc = "labels of the target win over ours; else they become exported_..."),
    S("honor_timestamps", CFG_BOOL, s.honor_timestamps, .dflt = "true", .doc = "use timestamps in the answer"),
    S("track_timestamps_staleness", CFG_BOOL, s.track_timestamps_staleness, .dflt = "false",
      .doc = "staleness also for series with timestamps"),
    S("enable_compression", CFG_BOOL, s.enable_compression, .dflt = "true", .doc = "ask for gzip"),
    S("body_size_limit", CFG_CUSTOM, s.limits.body_bytes, SET(body_set), .read = promfile_read_bytes, .unit = "bytes",
      .doc = "largest uncompressed answer, 0 = none"),
    S("sample_limit", CFG_INT, s.limits.samples, SET(samples_set), .max = INT64_MAX,
      .doc = "most samples after relabelling, 0 = none"),
    S("target_limit", CFG_INT, s.limits.targets, SET(targets_set), .max = INT64_MAX, .doc = "most targets, 0 = none"),
    S("label_limit", CFG_INT, s.limits.labels, SET(labels_set), .max = INT64_MAX,
      .doc = "most labels of a sample, 0 = none"),
    S("label_name_length_limit", CFG_INT, s.limits.label_name_length, SET(name_set), .max = INT64_MAX, .unit = "bytes",
      .doc = "longest label name, 0 = none"),
    S("label_value_length_limit", CFG_INT, s.limits.label_value_length, SET(value_set), .max = INT64_MAX,
      .unit = "bytes", .doc = "longest label value, 0 = none"),
    S("keep_dropped_targets", CFG_INT, s.limits.dropped_targets, SET(dropped_set), .max = INT64_MAX,
      .doc = "how many dropped targets are remembered, 0 = all"),
    S("metric_name_validation_scheme", CFG_STR, validation, SET(validation_set), .doc = "utf8 (default) or legacy"),
    S("metric_name_escaping_scheme", CFG_STR, escaping, SET(escaping_set),
      .doc = "allow-utf-8, underscores, dots or values"),
    S("scrape_native_histograms", CFG_BOOL, native_histograms, SET(native_set),
      .doc = "ask for native histograms (not acted on yet)"),
    S("always_scrape_classic_histograms", CFG_BOOL, classic_always, SET(classic_set),
      .doc = "keep classic histograms beside native ones (not acted on yet)"),
    S("scrape_classic_histograms", CFG_BOOL, classic_always, SET(classic_set),
      .doc = "older name of always_scrape_classic_histograms"),
    S("convert_classic_histograms_to_nhcb", CFG_BOOL, convert_nhcb, SET(nhcb_set),
      .doc = "store classic histograms as native ones (not acted on yet)"),
    S("native_histogram_bucket_limit", CFG_NODE, native_bucket_limit,
      .doc = "most buckets of a native histogram (not acted on yet)"),
    S("native_histogram_min_bucket_factor", CFG_NODE, native_factor,
      .doc = "coarsest resolution of native histograms (not acted on yet)"),
    S("extra_scrape_metrics", CFG_BOOL, s.extra_scrape_metrics, SET(extra_set),
      .doc = "report timeout, limit and body size of each scrape"),
    S("scrape_failure_log_file", CFG_STR, failure_log, SET(failure_log_set), .flags = CFG_PATH,
      .doc = "file of failed scrapes (not acted on yet)"),
    S("relabel_configs", CFG_CUSTOM, s.relabel, .read = promfile_read_relabel, .sub = &rule_schema,
      .doc = "rewrite or drop targets"),
    S("metric_relabel_configs", CFG_CUSTOM, s.metric_relabel, .read = promfile_read_relabel, .sub = &rule_schema,
      .doc = "rewrite or drop samples"),
};

static int read_params(struct config_ctx *c, const struct yaml_node *n, struct promfile_scrape *s)
{
    if (n->kind == YAML_NULL)
        return 0;
    if (n->kind != YAML_MAP)
        return config_fail(c, n, "params: wants a mapping of names to lists of values");
    s->params = arena_alloc(c->arena, sizeof(*s->params) * (n->n ? n->n : 1));
    for (size_t i = 0; i < n->n; i++) {
        const struct yaml_node *list = n->items[i];
        s->params[i].name = n->keys[i]->s;
        if (list->kind != YAML_SEQ)
            return config_fail(c, list, "params: wants a list of values");
        s->params[i].values.v = ARENA_ARRAY(c->arena, struct str, list->n ? list->n : 1);
        for (size_t k = 0; k < list->n; k++) {
            if (list->items[k]->kind == YAML_SEQ || list->items[k]->kind == YAML_MAP)
                return config_fail(c, list->items[k], "params: wants a value");
            s->params[i].values.v[k] = list->items[k]->s;
        }
        s->params[i].values.n = list->n;
    }
    s->n_params = n->n;
    return 0;
}

static int check_scrape(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    struct scrape_raw *raw = object;
    raw->node = n;
    if (!n || n->kind != YAML_MAP)
        return config_fail(c, n, "empty or null scrape config section");
    if (str_empty(raw->s.job))
        return config_fail(c, n, "job_name is empty");
    if (!str_eqz(raw->s.scheme, "http") && !str_eqz(raw->s.scheme, "https") && !str_empty(raw->s.scheme))
        return config_fail(c, yaml_get(n, "scheme"), "scheme: \"" STR_FMT "\" is not http or https",
                           STR_ARG(raw->s.scheme));
    int r = check_names(c, n, raw->validation, raw->escaping);
    if (r == 0)
        r = http_config_schema.check(c, n, &raw->s.http);
    if (r == 0 && raw->params)
        r = read_params(c, raw->params, &raw->s);
    raw->s.fallback = -1;
    if (r == 0 && raw->fallback && raw->fallback->kind == YAML_SCALAR) {
        for (int k = 0; k < PROTO_COUNT; k++)
            if (str_eqz(raw->fallback->s, promfile_protocol_names[k]))
                raw->s.fallback = k;
        if (raw->s.fallback < 0)
            return config_fail(c, raw->fallback, "fallback_scrape_protocol: unknown protocol \"" STR_FMT "\"",
                               STR_ARG(raw->fallback->s));
        if (raw->s.fallback == PROTO_PROTOBUF)
            promfile_warn(c, raw->fallback, "fallback_scrape_protocol PrometheusProto is not acted on in this version");
    }
    return r == 0 ? promfile_read_sds(c, &raw->sd, &raw->s.sds) : r;
}

struct config_schema promfile_scrape_schema = {
    .name = "scrape_config",
    .size = sizeof(struct scrape_raw),
    .check = check_scrape,
    .doc = "One job: a group of targets asked the same way",
};

/* Everything a node says, positions left out: two jobs written the same way hash the same. */
static uint64_t node_hash(const struct yaml_node *n, uint64_t h)
{
    h = hash_mix(h ^ (uint64_t)n->kind ^ n->n << 8 ^ hash_bytes(n->s.p, n->s.n));
    for (size_t i = 0; i < n->n; i++) {
        if (n->kind == YAML_MAP)
            h = node_hash(n->keys[i], h);
        h = node_hash(n->items[i], h * 31);
    }
    return h;
}

int promfile_finish_scrape(struct config_ctx *c, const struct global_raw *g, struct scrape_raw *raw)
{
    struct promfile_scrape *s = &raw->s;
    const struct yaml_node *n = raw->node;
    if (s->interval_ms == 0)
        s->interval_ms = g->scrape_interval_ms;
    if (s->timeout_ms > s->interval_ms)
        return config_fail(c, yaml_get(n, "scrape_timeout"),
                           "scrape timeout greater than scrape interval for scrape config with job name \"" STR_FMT
                           "\"",
                           STR_ARG(s->job));
    if (s->timeout_ms == 0)
        s->timeout_ms = MIN(g->scrape_timeout_ms, s->interval_ms);
    const struct promfile_limits *d = &g->limits;
    if (!raw->body_set || s->limits.body_bytes == 0)
        s->limits.body_bytes = d->body_bytes;
    if (!raw->samples_set || s->limits.samples == 0)
        s->limits.samples = d->samples;
    if (!raw->labels_set || s->limits.labels == 0)
        s->limits.labels = d->labels;
    if (!raw->name_set || s->limits.label_name_length == 0)
        s->limits.label_name_length = d->label_name_length;
    if (!raw->value_set || s->limits.label_value_length == 0)
        s->limits.label_value_length = d->label_value_length;
    if (!raw->targets_set || s->limits.targets == 0)
        s->limits.targets = d->targets;
    if (!raw->dropped_set || s->limits.dropped_targets == 0)
        s->limits.dropped_targets = d->dropped_targets;
    if (!raw->extra_set)
        s->extra_scrape_metrics = g->extra_scrape_metrics;
    struct str validation = str_empty(raw->validation) ? g->validation : raw->validation;
    struct str escaping = str_empty(raw->escaping) ? g->escaping : raw->escaping;
    if (str_eqz(escaping, "allow-utf-8") && str_eqz(validation, "legacy") && !str_empty(raw->escaping))
        return config_fail(c, n, "utf8 metric names requested but validation scheme is not set to UTF8");
    s->legacy_names = str_eqz(validation, "legacy");
    if (str_empty(s->scheme))
        s->scheme = STR("http");
    if (str_empty(s->metrics_path))
        s->metrics_path = STR("/metrics");
    const struct yaml_node *protocols =
        raw->protocols && raw->protocols->kind != YAML_NULL ? raw->protocols : g->protocols;
    if (protocols && protocols->kind != YAML_NULL) {
        int r = promfile_read_protocols(c, protocols, s->protocols, &s->n_protocols);
        if (r < 0)
            return r;
    } else { /* Prometheus' default order, without protobuf */
        static const int order[] = {PROTO_OM_1_0_0, PROTO_OM_0_0_1, PROTO_TEXT_1_0_0, PROTO_TEXT_0_0_4};
        memcpy(s->protocols, order, sizeof(order));
        s->n_protocols = ARRAY_LEN(order);
    }
    if (raw->native_set && raw->native_histograms)
        promfile_warn(c, n, "job \"" STR_FMT "\": scrape_native_histograms is not acted on in this version",
                      STR_ARG(s->job));
    if (raw->nhcb_set && raw->convert_nhcb)
        promfile_warn(c, n, "job \"" STR_FMT "\": convert_classic_histograms_to_nhcb is not acted on in this version",
                      STR_ARG(s->job));
    if (raw->failure_log_set && !str_empty(raw->failure_log))
        promfile_warn(c, n,
                      "job \"" STR_FMT "\": scrape_failure_log_file is not acted on in this version (failures are in "
                      "the log and on the targets page)",
                      STR_ARG(s->job));
    if (raw->native_bucket_limit || raw->native_factor)
        promfile_warn(c, n, "job \"" STR_FMT "\": limits of native histograms are not acted on in this version",
                      STR_ARG(s->job));
    uint64_t h = node_hash(n, 1);
    h = hash_mix(h ^ (uint64_t)s->interval_ms) + hash_mix((uint64_t)s->timeout_ms + 7);
    h ^= hash_bytes(&s->limits, sizeof(s->limits)) ^ hash_bytes(s->protocols, sizeof(s->protocols[0]) * s->n_protocols);
    s->hash = hash_mix(h + s->legacy_names + 2 * (uint64_t)s->extra_scrape_metrics);
    return 0;
}

/* --- alertmanagers --- */

#define A(k, t, f, ...)                                                                                                \
    {                                                                                                                  \
        .key = k, .type = t, .offset = offsetof(struct am_raw, f), __VA_ARGS__                                         \
    }
static const struct config_row am_rows[] = {
    A("scheme", CFG_STR, a.scheme, .dflt = "http", .doc = "http or https"),
    A("path_prefix", CFG_STR, a.path_prefix, .doc = "path before /api/v2/alerts"),
    A("timeout", CFG_DURATION, a.timeout_ms, .dflt = "10s", .unit = "duration", .doc = "how long a push may take"),
    A("api_version", CFG_STR, a.api_version, .dflt = "v2", .doc = "v2"),
    A("relabel_configs", CFG_CUSTOM, a.relabel, .read = promfile_read_relabel, .sub = &rule_schema,
      .doc = "rewrite or drop Alertmanagers"),
    A("alert_relabel_configs", CFG_CUSTOM, a.alert_relabel, .read = promfile_read_relabel, .sub = &rule_schema,
      .doc = "rewrite or drop alerts for them"),
    A("sigv4", CFG_NODE, sigv4, .doc = "AWS signatures (not acted on yet)"),
};

static int check_am(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    struct am_raw *raw = object;
    if (!n || n->kind != YAML_MAP)
        return config_fail(c, n, "empty or null Alertmanager section");
    if (!str_eqz(raw->a.api_version, "v2"))
        return config_fail(c, yaml_get(n, "api_version"),
                           "expected Alertmanager api version to be one of [v2] but got \"" STR_FMT "\"",
                           STR_ARG(raw->a.api_version));
    int r = http_config_schema.check(c, n, &raw->a.http);
    if (raw->sigv4)
        promfile_warn(c, raw->sigv4, "sigv4 is not acted on in this version");
    return r == 0 ? promfile_read_sds(c, &raw->sd, &raw->a.sds) : r;
}

struct config_schema promfile_am_schema = {
    .name = "alertmanager_config",
    .size = sizeof(struct am_raw),
    .check = check_am,
    .doc = "Alertmanagers that alerts are pushed to",
};

void promfile_join_rows(struct config_schema *s, const struct config_row *own, size_t n_own, size_t http_offset)
{
    struct config_row *rows = xcalloc(n_own + http_config_schema.n, sizeof(*rows));
    memcpy(rows, own, n_own * sizeof(*rows));
    for (size_t i = 0; i < http_config_schema.n; i++) {
        rows[n_own + i] = http_config_schema.rows[i];
        rows[n_own + i].offset += http_offset;
        if (rows[n_own + i].present_offset)
            rows[n_own + i].present_offset += http_offset;
    }
    s->rows = rows;
    s->n = n_own + http_config_schema.n;
}

static void init_schemas(void)
{
    struct config_row own[ARRAY_LEN(scrape_rows) + PROMFILE_SD_MAX];
    memcpy(own, scrape_rows, sizeof(scrape_rows));
    size_t n = ARRAY_LEN(scrape_rows);
    n += promfile_sd_rows(own + n, offsetof(struct scrape_raw, sd));
    promfile_join_rows(&promfile_scrape_schema, own, n, offsetof(struct scrape_raw, s.http));
    memcpy(own, am_rows, sizeof(am_rows));
    n = ARRAY_LEN(am_rows);
    n += promfile_sd_rows(own + n, offsetof(struct am_raw, sd));
    promfile_join_rows(&promfile_am_schema, own, n, offsetof(struct am_raw, a.http));
    promfile_remote_schemas();
}

void promfile_init_schemas(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, init_schemas); /* cannot fail with a static control */
}

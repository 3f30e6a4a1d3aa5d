// SPDX-License-Identifier: Apache-2.0
/* Sections that are read and checked, but not acted on yet: remote_write, remote_read, otlp, tracing. */
#include "promfile/promfile_int.h"

static const char *const reserved_headers[] = {
    "authorization",       "content-encoding", "content-type",    "x-prometheus-remote-write-version",
    "user-agent",          "connection",       "keep-alive",      "proxy-authenticate",
    "proxy-authorization", "www-authenticate", "accept-encoding", "x-prometheus-remote-read-version"};

static int check_headers(struct config_ctx *c, const struct yaml_node *n, const struct config_map *h)
{
    for (size_t i = 0; i < h->n; i++)
        for (size_t k = 0; k < ARRAY_LEN(reserved_headers); k++)
            if (str_ieq(h->v[i].key, str_of(reserved_headers[k])))
                return k == 0
                           ? config_fail(c, yaml_get(n, "headers"),
                                         "the authorization header must be set by basic_auth, authorization or oauth2")
                           : config_fail(c, yaml_get(n, "headers"), "%s is a reserved header. It must not be changed",
                                         reserved_headers[k]);
    return 0;
}

struct queue_raw {
    int64_t capacity, max_shards, min_shards, per_send, deadline_ms, min_backoff_ms, max_backoff_ms, age_ms;
    bool retry_429;
};
#define Q(k, t, f, d)                                                                                                  \
    {                                                                                                                  \
        .key = k, .type = t, .offset = offsetof(struct queue_raw, f), .dflt = d                                        \
    }
static const struct config_row queue_rows[] = {
    Q("capacity", CFG_INT, capacity, "10000"),
    Q("max_shards", CFG_INT, max_shards, "50"),
    Q("min_shards", CFG_INT, min_shards, "1"),
    Q("max_samples_per_send", CFG_INT, per_send, "2000"),
    Q("batch_send_deadline", CFG_DURATION, deadline_ms, "5s"),
    Q("min_backoff", CFG_DURATION, min_backoff_ms, "30ms"),
    Q("max_backoff", CFG_DURATION, max_backoff_ms, "5s"),
    Q("retry_on_http_429", CFG_BOOL, retry_429, "false"),
    Q("sample_age_limit", CFG_DURATION, age_ms, "0s"),
};
static int check_queue(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    const struct queue_raw *q = object;
    static const char *const names[] = {"capacity", "max_shards", "max_samples_per_send"};
    const int64_t v[] = {q->capacity, q->max_shards, q->per_send};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (v[i] <= 0)
            return config_fail(c, yaml_get(n, names[i]), "remote write queue %s must be positive", names[i]);
    if (q->min_shards > q->max_shards)
        return config_fail(c, n, "remote write queue min_shards must not be above max_shards");
    return 0;
}
static const struct config_schema queue_schema = {.name = "queue_config",
                                                  .size = sizeof(struct queue_raw),
                                                  .rows = queue_rows,
                                                  .n = ARRAY_LEN(queue_rows),
                                                  .check = check_queue};

#define W(k, t, f, ...)                                                                                                \
    {                                                                                                                  \
        .key = k, .type = t, .offset = offsetof(struct remote_raw, f), __VA_ARGS__                                     \
    }
static const struct config_row rw_rows[] = {
    W("url", CFG_STR, r.url, .doc = "where samples are pushed"),
    W("name", CFG_STR, r.name, .doc = "unique name of the queue"),
    W("remote_timeout", CFG_DURATION, timeout_ms, .dflt = "30s", .doc = "how long a push may take"),
    W("headers", CFG_MAP, headers, .doc = "further headers"),
    W("write_relabel_configs", CFG_CUSTOM, r.write_relabel, .read = promfile_read_relabel,
      .doc = "rewrite or drop samples"),
    W("send_exemplars", CFG_BOOL, flag[0], .doc = "send exemplars"),
    W("send_native_histograms", CFG_BOOL, flag[1], .doc = "send native histograms"),
    W("round_robin_dns", CFG_BOOL, flag[2], .doc = "use all addresses of the host in turn"),
    W("queue_config", CFG_NODE, queue, .doc = "shards, batches, retries"),
    W("metadata_config", CFG_NODE, metadata, .doc = "sending of metadata"),
    W("protobuf_message", CFG_STR, protobuf_message,
      .doc = "prometheus.WriteRequest or io.prometheus.write.v2.Request"),
    W("sigv4", CFG_NODE, sigv4, .doc = "AWS signatures"),
    W("azuread", CFG_NODE, azuread, .doc = "Azure AD tokens"),
    W("google_iam", CFG_NODE, google_iam, .doc = "Google IAM"),
};
static int check_rw(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    struct remote_raw *raw = object;
    if (!n || n->kind != YAML_MAP)
        return config_fail(c, n, "empty or null remote write config section");
    if (str_empty(raw->r.url))
        return config_fail(c, n, "url for remote_write is empty");
    int r = check_headers(c, n, &raw->headers);
    if (r == 0 && !str_empty(raw->protobuf_message) && !str_eqz(raw->protobuf_message, "prometheus.WriteRequest") &&
        !str_eqz(raw->protobuf_message, "io.prometheus.write.v2.Request"))
        r = config_fail(c, yaml_get(n, "protobuf_message"),
                        "invalid protobuf_message \"" STR_FMT
                        "\", allowed: prometheus.WriteRequest, io.prometheus.write.v2.Request",
                        STR_ARG(raw->protobuf_message));
    if (r == 0 && raw->queue) {
        struct queue_raw q = {0};
        r = config_read(c, &queue_schema, raw->queue, &q);
    }
    raw->r.node = n;
    return r < 0 ? r : http_config_schema.check(c, n, &raw->http);
}

static const struct config_row rr_rows[] = {
    W("url", CFG_STR, r.url, .doc = "where samples are read from"),
    W("name", CFG_STR, r.name, .doc = "unique name"),
    W("remote_timeout", CFG_DURATION, timeout_ms, .dflt = "1m", .doc = "how long a read may take"),
    W("headers", CFG_MAP, headers, .doc = "further headers"),
    W("chunked_read_limit", CFG_INT, chunked_read_limit, .doc = "largest frame, bytes"),
    W("required_matchers", CFG_MAP, required_matchers, .doc = "labels a selector must ask for"),
    W("read_recent", CFG_BOOL, flag[0], .doc = "ask also for what the local store covers"),
    W("filter_external_labels", CFG_BOOL, flag[1], .doc = "use external labels as selectors"),
};
static int check_rr(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    struct remote_raw *raw = object;
    if (!n || n->kind != YAML_MAP)
        return config_fail(c, n, "empty or null remote read config section");
    if (str_empty(raw->r.url))
        return config_fail(c, n, "url for remote_read is empty");
    int r = check_headers(c, n, &raw->headers);
    raw->r.node = n;
    return r < 0 ? r : http_config_schema.check(c, n, &raw->http);
}
struct config_schema promfile_rw_schema = {
    .name = "remote_write", .size = sizeof(struct remote_raw), .check = check_rw};
struct config_schema promfile_rr_schema = {.name = "remote_read", .size = sizeof(struct remote_raw), .check = check_rr};

void promfile_remote_schemas(void)
{
    promfile_join_rows(&promfile_rw_schema, rw_rows, ARRAY_LEN(rw_rows), offsetof(struct remote_raw, http));
    promfile_join_rows(&promfile_rr_schema, rr_rows, ARRAY_LEN(rr_rows), offsetof(struct remote_raw, http));
}

#define T(k, t, f, ...)                                                                                                \
    {                                                                                                                  \
        .key = k, .type = t, .offset = offsetof(struct tracing_raw, f), __VA_ARGS__                                    \
    }
static const struct config_row tracing_rows[] = {
    T("client_type", CFG_STR, client_type, .dflt = "grpc", .doc = "grpc or http"),
    T("endpoint", CFG_STR, endpoint, .doc = "where spans go"),
    T("sampling_fraction", CFG_F64, fraction, .dflt = "0", .doc = "share of traces kept"),
    T("insecure", CFG_BOOL, insecure, .doc = "without TLS"),
    T("headers", CFG_MAP, headers, .doc = "further headers"),
    T("http_headers", CFG_NODE, http_headers, .doc = "further headers"),
    T("compression", CFG_STR, compression, .doc = "gzip"),
    T("timeout", CFG_DURATION, timeout_ms, .dflt = "10s", .doc = "how long an export may take"),
    T("tls_config", CFG_NODE, tls, .doc = "TLS of the connection"),
};
static int check_tracing(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    const struct tracing_raw *t = object;
    if (!str_eqz(t->client_type, "grpc") && !str_eqz(t->client_type, "http"))
        return config_fail(c, yaml_get(n, "client_type"),
                           "expected tracing client type to be http or grpc but got \"" STR_FMT "\"",
                           STR_ARG(t->client_type));
    if (str_empty(t->endpoint))
        return config_fail(c, n, "tracing endpoint must be set");
    if (!str_empty(t->compression) && !str_eqz(t->compression, "gzip"))
        return config_fail(c, yaml_get(n, "compression"),
                           "invalid compression type " STR_FMT " provided, valid options: gzip",
                           STR_ARG(t->compression));
    for (size_t i = 0; i < t->headers.n; i++)
        if (str_ieq(t->headers.v[i].key, STR("authorization")))
            return config_fail(c, yaml_get(n, "headers"), "authorization header configuration is not yet supported");
    return check_headers(c, n, &t->headers);
}
const struct config_schema promfile_tracing_schema = {.name = "tracing",
                                                      .size = sizeof(struct tracing_raw),
                                                      .rows = tracing_rows,
                                                      .n = ARRAY_LEN(tracing_rows),
                                                      .check = check_tracing};

#define O(k, t, f, ...)                                                                                                \
    {                                                                                                                  \
        .key = k, .type = t, .offset = offsetof(struct otlp_raw, f), __VA_ARGS__                                       \
    }
static const struct config_row otlp_rows[] = {
    O("promote_all_resource_attributes", CFG_BOOL, promote_all, .doc = "all resource attributes become labels"),
    O("promote_resource_attributes", CFG_STRS, promote, .doc = "these resource attributes become labels"),
    O("ignore_resource_attributes", CFG_STRS, ignore, .doc = "all but these"),
    O("translation_strategy", CFG_STR, strategy, .doc = "how names are translated"),
    O("keep_identifying_resource_attributes", CFG_BOOL, keep, .doc = "keep service.* in target_info"),
    O("convert_histograms_to_nhcb", CFG_BOOL, nhcb, .doc = "store as native histograms"),
    O("promote_scope_metadata", CFG_BOOL, scope, .doc = "scope becomes labels"),
    O("label_name_underscore_sanitization", CFG_BOOL, sanitize, .doc = "prefix names that start with an underscore"),
    O("label_name_preserve_multiple_underscores", CFG_BOOL, preserve, .doc = "keep runs of underscores"),
};
static int check_otlp(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    const struct otlp_raw *o = object;
    const struct reading *rd = c->user;
    static const char *const names[] = {"UnderscoreEscapingWithSuffixes", "UnderscoreEscapingWithoutSuffixes",
                                        "NoUTF8EscapingWithSuffixes", "NoTranslation"};
    size_t k = 0;
    while (k < ARRAY_LEN(names) && !str_eqz(o->strategy, names[k]))
        k++;
    if (k == ARRAY_LEN(names) && !str_empty(o->strategy))
        return config_fail(c, yaml_get(n, "translation_strategy"),
                           "unsupported OTLP translation strategy \"" STR_FMT "\"", STR_ARG(o->strategy));
    if (rd->legacy_names && (k == 2 || k == 3))
        return config_fail(c, yaml_get(n, "translation_strategy"),
                           "OTLP translation strategy %s is not allowed when UTF8 is disabled", names[k]);
    if (o->promote_all && o->promote.n)
        return config_fail(
            c, n,
            "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously");
    if (!o->promote_all && o->ignore.n)
        return config_fail(
            c, n, "'ignore_resource_attributes' can only be set if 'promote_all_resource_attributes' is enabled");
    for (size_t i = 0; i < o->promote.n; i++)
        if (str_empty(str_trim(o->promote.v[i])))
            return config_fail(c, yaml_get(n, "promote_resource_attributes"), "empty promoted OTel resource attribute");
    return 0;
}
const struct config_schema promfile_otlp_schema = {
    .name = "otlp", .size = sizeof(struct otlp_raw), .rows = otlp_rows, .n = ARRAY_LEN(otlp_rows), .check = check_otlp};

// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Every size a user or a peer can choose has its row here: name, default, smallest, largest, unit, what it bounds.
 * The reference page and `hune limits` print this table; hune.yml (`limits:`) may change a value at start-up. */
#include "base/str.h"
#include <stdint.h>

#define LIMIT_TABLE(X)                                                                                                 \
    /* X(name, default, min, max, unit, doc) */                                                                        \
    X(config_file_bytes, 8 << 20, 1 << 10, 256 << 20, "bytes", "one configuration, rule or target file")               \
    X(yaml_depth, 64, 8, 1000, "levels", "nesting of a YAML document")                                                 \
    X(yaml_nodes, 1000000, 1000, 100000000, "nodes", "nodes of a YAML document, aliases expanded")                     \
    X(json_depth, 128, 8, 2000, "levels", "nesting of a JSON document")                                                \
    X(regex_bytes, 65536, 64, 1 << 20, "bytes", "source of one regular expression")                                    \
    X(regex_memory, 16 << 20, 1 << 20, 256 << 20, "bytes", "compiled program and caches of one regular expression")    \
    X(http_body_bytes, 64 << 20, 1 << 10, 1 << 30, "bytes", "body of a request to hune")                               \
    X(http_header_bytes, 64 << 10, 4 << 10, 1 << 20, "bytes", "headers of one request to hune")                        \
    X(http_connections, 512, 8, 65536, "connections", "simultaneous connections to hune")                              \
    X(http_idle_s, 300, 5, 3600, "seconds", "an idle connection is closed after")                                      \
    X(http_per_ip, 512, 4, 65536, "connections", "simultaneous connections from one address")                          \
    X(http_header_s, 10, 1, 600, "seconds", "time a client has to send its request headers")                           \
    X(http_body_s, 120, 1, 3600, "seconds", "time a client has to send the body of a request")                         \
    X(http_workers, 4, 1, 256, "threads", "workers for slow requests (started when first needed)")                     \
    X(http_queue, 256, 1, 65536, "requests", "slow requests waiting for a worker")                                     \
    X(http_args, 20000, 16, 1000000, "arguments", "query and form arguments of one request")                           \
    X(http_answer_bytes, 256 << 20, 1 << 20, 4LL << 30, "bytes", "an answer that is built in memory")                  \
    X(http_stream_bytes, 64 << 10, 4 << 10, 16 << 20, "bytes", "piece of a streamed answer")                           \
    X(sse_queue_bytes, 1 << 20, 4 << 10, 64 << 20, "bytes", "events waiting for one slow live client")                 \
    X(sse_clients, 64, 1, 10000, "connections", "live event streams at once")                                          \
    X(scrape_body_bytes, 256 << 20, 1 << 10, 2LL << 30, "bytes",                                                       \
      "uncompressed scrape response, where the job sets none")                                                         \
    X(scrape_targets, 100000, 10, 10000000, "targets", "targets after discovery, all jobs together")                   \
    X(label_name_bytes, 4096, 16, 1 << 20, "bytes", "one label name")                                                  \
    X(label_value_bytes, 1 << 20, 64, 16 << 20, "bytes", "one label value")                                            \
    X(labels_per_series, 1024, 8, 65536, "labels", "labels of one series")                                             \
    X(metadata_metrics, 100000, 100, 10000000, "metrics", "metrics whose type, unit and help are remembered")          \
    X(query_bytes, 1 << 20, 1 << 10, 64 << 20, "bytes", "text of one PromQL query")                                    \
    X(query_depth, 256, 16, 10000, "levels", "nesting of one PromQL query")                                            \
    X(query_memory, 512 << 20, 1 << 20, 1LL << 40, "bytes", "working memory of one query")                             \
    X(query_samples, 50000000, 1000, 1LL << 40, "samples", "samples one query may hold (--query.max-samples)")         \
    X(template_output_bytes, 1 << 20, 1 << 10, 64 << 20, "bytes", "what one template may write")                       \
    X(template_steps, 1000000, 1000, 1LL << 40, "steps", "actions one template may execute")                           \
    X(event_payload_bytes, 256 << 10, 1 << 10, 16 << 20, "bytes", "payload of one journal event")                      \
    X(journal_queue, 10000, 100, 1000000, "events", "posted events waiting for the disk")                              \
    X(app_log_lines, 2000, 10, 1000000, "lines", "newest lines of one application kept in memory for the page")        \
    X(app_log_bytes, 256 << 10, 4 << 10, 64 << 20, "bytes", "newest lines of one application kept in memory")          \
    X(anomaly_text_bytes, 64 << 10, 256, 1 << 20, "bytes", "one text field of an anomaly record")                      \
    X(alerts_per_rule, 100000, 10, 10000000, "alerts", "active alerts of one rule, where the group sets no limit")     \
    X(notify_queue, 10000, 10, 1000000, "alerts", "alerts waiting for one outside Alertmanager")                       \
    X(keeper_apps, 1024, 1, 65536, "processes", "processes under one keeper")                                          \
    X(keeper_log_bytes, 100 << 20, 64 << 10, 1LL << 40, "bytes", "kept log of one application, older is rotated out")  \
    X(control_message_bytes, 4 << 20, 4 << 10, 64 << 20, "bytes", "one message on the control socket")

enum limit_id {
#define X(name, def, min, max, unit, doc) LIMIT_##name,
    LIMIT_TABLE(X)
#undef X
        LIMIT_COUNT
};

struct limit_row {
    const char *name;
    int64_t def, min, max;
    const char *unit, *doc;
};
extern const struct limit_row limit_rows[LIMIT_COUNT];

/* The value in force. Set once before the first thread starts, constant afterwards. */
extern int64_t limit_values[LIMIT_COUNT];
#define limit(name) (limit_values[LIMIT_##name])
/* By name, from configuration; false when the name is unknown or the value out of bounds. Start-up only. */
bool limit_set(struct str name, int64_t value);

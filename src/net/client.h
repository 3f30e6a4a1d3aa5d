// SPDX-License-Identifier: Apache-2.0
#pragma once
/* HTTP and SMTP client (wraps libcurl's multi interface; libcurl is loaded on first use). One http_multi belongs to one
 * thread, which calls http_multi_poll() in its loop; only http_multi_wake() may come from elsewhere. Connections are
 * kept alive per multi. Name look-ups are cached inside and never block the thread. */
#include "base/buf.h"
#include "base/error.h"
#include "config/config.h"

struct http_multi;
struct http_call;

struct http_header {
    struct str name, value;
    bool file; /* value is a path, read at each call (http_headers: files) */
};

/* The options Prometheus and Alertmanager share (http_config); borrowed by calls, immutable. File secrets are read at
 * each call. */
struct http_config {
    struct {
        struct str username, password, password_file, username_file;
        bool present;
    } basic_auth;
    struct {
        struct str type, credentials, credentials_file; /* type default Bearer */
        bool present;
    } authorization;
    struct {
        struct str ca, ca_file, cert, cert_file, key, key_file, server_name;
        bool insecure_skip_verify;
        int min_version, max_version; /* 0 default, 10..13 = TLS 1.0..1.3 */
    } tls;
    struct {
        struct str client_id, client_secret, client_secret_file, token_url;
        struct config_strs scopes;
        struct config_map endpoint_params;
        struct yaml_node *tls_node;
        struct str proxy_url, no_proxy;
        bool proxy_from_environment;
        bool present;
    } oauth2;
    struct str bearer_token, bearer_token_file; /* folded into authorization by the schema's check */
    struct yaml_node *proxy_connect_header;
    struct str proxy_url, no_proxy;
    bool proxy_from_environment;
    bool follow_redirects; /* default true */
    bool enable_http2;     /* default true */
    struct http_header *headers;
    size_t n_headers;
};
extern const struct config_schema http_config_schema; /* bearer_token(_file) folded into authorization */

struct http_request {
    const char *method; /* NULL = GET */
    struct str url;
    const struct http_config *config; /* NULL = defaults */
    const struct http_header *headers;
    size_t n_headers;
    struct str body; /* borrowed until the call is done */
    int64_t timeout_ms;
    size_t max_body; /* uncompressed response bytes; 0 = limit scrape_body_bytes */
    bool accept_gzip;
    const char *unix_socket; /* NULL, or connect here */
    bool keep_headers;       /* fill response.headers */
};

struct http_response {
    int error;       /* 0, or a negative errno: -ETIMEDOUT, -ECONNREFUSED, -EMSGSIZE (body over max_body), -EIO ... */
    struct err err;  /* the reason in words */
    long status;     /* HTTP status, SMTP reply code */
    struct str body; /* borrowed for the callback */
    struct str content_type;
    struct str retry_after, location;
    struct str headers; /* raw header block when keep_headers */
    uint64_t wire_bytes, body_bytes;
    uint64_t took_ns;
};
typedef void (*http_done_fn)(void *ctx, const struct http_response *r);

struct http_multi *http_multi_new(size_t max_connections);
struct http_multi *http_multi_free(struct http_multi *m); /* cancels what runs, without callbacks */
/* Start; fn runs exactly once from a later http_multi_poll(), unless cancelled. 0, or -EINVAL/-EIO with the reason. */
MUST_USE int http_multi_start(struct http_multi *m, const struct http_request *r, http_done_fn fn, void *ctx,
                              struct http_call **ret, struct err *e);
void http_call_cancel(struct http_call *c);
/* Wait up to timeout_ms for progress, run callbacks. Returns the number of calls still running. */
size_t http_multi_poll(struct http_multi *m, int timeout_ms);
void http_multi_wake(struct http_multi *m); /* any thread, async-signal-unsafe */

struct smtp_message {
    struct str smarthost; /* host:port */
    struct str hello;     /* EHLO name */
    struct str from;      /* envelope sender */
    const struct str *to; /* envelope recipients */
    size_t n_to;
    struct str username, password;    /* empty = no AUTH */
    bool require_tls;                 /* STARTTLS or fail */
    bool implicit_tls;                /* smtps (port 465) */
    const struct http_config *config; /* tls part only; may be NULL */
    struct str data;                  /* full RFC 5322 message, CRLF lines; dot-stuffing is done here */
    int64_t timeout_ms;
};
MUST_USE int smtp_multi_start(struct http_multi *m, const struct smtp_message *msg, http_done_fn fn, void *ctx,
                              struct http_call **ret, struct err *e);

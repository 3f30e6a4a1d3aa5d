// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Inside of the HTTP server. server.c alone knows libmicrohttpd; request.c answers questions about a request, workers.c
 * runs slow ones, listen.c binds addresses.
 *
 *   NEW --guard, route--> IDENTIFY --> BODY --> HANDLE --> ANSWERED
 *                            |                    |
 *                            +-- worker (wrong    +-- WAITING on a worker (http_later) --> READY --> ANSWERED
 *                                passwords cost)
 */
#include "base/clock.h"
#include "codec/url.h"
#include "net/client.h"
#include "net/compress_int.h"
#include "net/guard_int.h"
#include "net/route_int.h"
#include "net/server.h"
#include "net/tls_int.h"
#include "sys/thread.h"

#include <netinet/in.h>

struct mhd; /* what server.c keeps per request and server, behind its own types */

enum req_state { REQ_NEW, REQ_IDENTIFY, REQ_BODY, REQ_HANDLE, REQ_WAITING, REQ_READY, REQ_ANSWERED };
enum answer_kind { ANSWER_NONE, ANSWER_BODY, ANSWER_ASSET, ANSWER_STREAM, ANSWER_SSE };
enum conn_phase { CONN_FRESH, CONN_IDLE, CONN_HEAD, CONN_BODY, CONN_BUSY };

/* One TCP connection; in the server's list, under its lock. */
struct conn {
    struct conn *next, **link;
    struct http_server *server;
    int fd;
    enum conn_phase phase;
    uint64_t since_ns;    /* in this phase */
    struct http_req *req; /* the one being answered; cleared under the lock before the request dies */
    bool cut;
};

struct answer_header {
    const char *name;
    char *value; /* in the request's arena */
};

struct http_req {
    struct http_server *server;
    struct conn *conn;
    void *handle; /* the library's connection */
    enum req_state state;
    struct arena *arena;
    struct str target, raw_path, path;
    struct guard_head head;
    unsigned method; /* enum http_method; HEAD counts as GET */
    bool is_head;
    struct route_match match;
    const struct http_route *row; /* NULL: the fallback */
    struct http_identity who;
    int identify_result;
    struct url_arg *args;
    size_t n_args;
    struct buf body, out;
    char peer[64];
    _Atomic bool cancelled;

    /* worker */
    struct http_req *next_job;
    http_handler job;
    void *job_ctx;

    /* answer */
    enum answer_kind kind;
    int status;
    const char *type;
    struct answer_header headers[24];
    size_t n_headers;
    bool close;
    const struct http_asset *asset;
    struct stream *stream;
    struct http_sse *sse;
};

struct stream {
    int (*produce)(void *ctx, struct buf *out);
    void (*done)(void *ctx);
    void *ctx;
    struct buf piece;
    size_t sent;
    bool last, failed;
    struct deflater *deflater; /* NULL: as it is */
    struct buf packed;
};

struct listener {
    struct str text;
    int fd;
    uint16_t port;
    bool loopback, local; /* local: a unix socket */
    void *daemon;
};

struct http_server {
    struct route_table routes;
    struct route_entry fallback_entry;
    struct http_route fallback_row;
    struct arena *arena;
    struct str external_origin, prefix, cors_text;
    struct regex *cors;
    VEC(struct str) hosts;
    struct guard_hosts guard;
    VEC(struct listener) listeners;
    struct config_map extra_headers;
    char *tls_cert, *tls_key, *tls_ca;
    enum tls_client_auth tls_client_auth;
    char tls_priorities[128];
    bool has_credential, started;
    _Atomic bool stopping;
    http_identify_fn identify;
    void *identify_ctx;

    pthread_mutex_t lock; /* connections and event streams */
    pthread_cond_t wake;
    struct conn *conns;
    size_t n_conns;
    struct http_sse *streams;
    size_t n_streams;
    pthread_t watch;
    bool watching;

    pthread_mutex_t work_lock;
    pthread_cond_t work_cond, work_idle;
    struct http_req *jobs, **jobs_tail;
    size_t n_jobs, n_threads, n_waiting;
    _Atomic size_t n_running; /* the watch thread looks at it without the lock */
};

enum { M_REQUESTS, M_REFUSED, M_CONNECTIONS, M_STREAMS, M_CUT, M_WORKERS, M_QUEUE, M_COUNT };
extern struct metric server_metrics[M_COUNT];

/* server.c */
void server_resume(struct http_req *r);
void server_suspend_handle(void *handle);
void server_resume_handle(void *handle);

/* check.c: true to go on, false when answered */
unsigned check_method(struct str m);                                  /* bit of enum http_method, 0 = unknown */
void server_refuse(struct http_req *r, int status, const char *text); /* req_refuse(), counted */
bool check_row(struct http_req *r);
bool check_origin(struct http_req *r);
bool check_identity(struct http_req *r);
bool check_body(struct http_req *r);

/* sse.c: what the library calls, the watch thread, and the end of the server */
#define READ_END ((ssize_t)-1)
#define READ_ABORT ((ssize_t)-2)
ssize_t sse_read(void *arg, uint64_t pos, char *out, size_t max);
void sse_released(void *arg);
void sse_watch(struct http_server *s, uint64_t now); /* with s->lock held */
bool sse_end_all(struct http_server *s, bool hard);  /* true while streams are open */

/* watch.c */
void *server_watch(void *server);
bool server_hung_up(int fd);
void server_cut(struct conn *c); /* with the server's lock held */

/* request.c */
void req_take_head(struct http_req *r);
MUST_USE int req_parse_args(struct http_req *r);
bool req_accepts(const struct http_req *r, const char *coding);
/* A refusal before or instead of a handler. */
void req_refuse(struct http_req *r, int status, const char *text);

/* workers.c */
void workers_init(struct http_server *s);
bool workers_add(struct http_server *s, struct http_req *r); /* false: full */
void workers_stop(struct http_server *s);                    /* answers what waits with 503, waits for what runs */
void workers_done(struct http_server *s);

/* listen.c */
MUST_USE int listen_open(struct listener *l, struct err *e);
bool listen_loopback(struct str address);
void port_owner(uint16_t port, struct buf *out); /* "prometheus (pid 42)", or empty */

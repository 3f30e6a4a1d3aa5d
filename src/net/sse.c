// SPDX-License-Identifier: Apache-2.0
/* Server-sent events (WHATWG HTML, 9.2). A stream has two holders, its owner and the library; the last one frees it.
 * Its queue is filled by any thread and emptied by the library's, whose connection sleeps while there is nothing to
 * send. Lock order: server, stream. */
#include "net/server_int.h"

#include "base/limits.h"

#define HEARTBEAT_NS (15ull * 1000000000)

struct http_sse {
    pthread_mutex_t lock;
    struct http_server *server;
    struct http_sse *next, **link; /* the server's list, under its lock; link NULL once removed */
    void *handle;                  /* the library's connection, NULL when it let go */
    int fd;
    unsigned refs; /* the owner's, the library's */
    bool suspended, closing, gone;
    struct buf queue;
    size_t sent;
    uint64_t written_ns;
};

static void sse_unref(struct http_sse *e)
{
    pthread_mutex_lock(&e->lock);
    bool last = --e->refs == 0;
    pthread_mutex_unlock(&e->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&e->lock);
    buf_done(&e->queue);
    free(e);
}

/* With e->lock held. */
static void sse_wake(struct http_sse *e)
{
    if (e->suspended && e->handle) {
        e->suspended = false;
        server_resume_handle(e->handle);
    }
}

struct http_sse *http_sse_open(struct http_req *r)
{
    struct http_server *s = r->server;
    ASSERT(r->kind == ANSWER_NONE);
    struct http_sse *e = NEW(struct http_sse);
    pthread_mutex_init(&e->lock, NULL);
    e->server = s;
    e->handle = r->handle;
    e->fd = r->conn ? r->conn->fd : -1;
    e->refs = 2;
    buf_init(&e->queue, (size_t)limit(sse_queue_bytes));
    buf_z(&e->queue, "retry: 3000\n\n");
    e->written_ns = clock_mono_ns(&clock_real);
    pthread_mutex_lock(&s->lock);
    bool full = s->n_streams >= (size_t)limit(sse_clients) || s->stopping;
    if (!full) {
        s->n_streams++;
        e->next = s->streams;
        e->link = &s->streams;
        if (e->next)
            e->next->link = &e->next;
        s->streams = e;
        metric_set(&server_metrics[M_STREAMS], (int64_t)s->n_streams);
    }
    pthread_mutex_unlock(&s->lock);
    if (full) {
        e->refs = 1;
        sse_unref(e);
        http_set_header(r, "Retry-After", STR("10"));
        http_fail(r, 503, "%lld live streams are open already (limit sse_clients)", (long long)limit(sse_clients));
        return NULL;
    }
    r->kind = ANSWER_SSE;
    r->status = 200;
    r->type = "text/event-stream";
    r->sse = e;
    return e;
}

static void put_lines(struct buf *b, const char *field, struct str text)
{
    struct str rest = text, line;
    bool more = true;
    while (more) {
        more = str_cut(rest, '\n', &line, &rest);
        buf_z(b, field);
        buf_str(b, line);
        buf_putc(b, '\n');
    }
}

int http_sse_send(struct http_sse *e, struct str event, struct str id, struct str data)
{
    pthread_mutex_lock(&e->lock);
    if (!e->gone) {
        if (e->sent && e->sent == e->queue.n) {
            buf_reset(&e->queue);
            e->sent = 0;
        }
        if (event.n)
            put_lines(&e->queue, "event: ", event);
        if (id.n)
            put_lines(&e->queue, "id: ", id);
        put_lines(&e->queue, "data: ", data);
        buf_putc(&e->queue, '\n');
        e->gone = buf_error(&e->queue) != 0; /* too slow: half an event must not be shown */
        e->written_ns = clock_mono_ns(&clock_real);
        sse_wake(e);
    }
    bool gone = e->gone;
    pthread_mutex_unlock(&e->lock);
    return gone ? -EPIPE : 0;
}

bool http_sse_gone(const struct http_sse *e)
{
    struct http_sse *m = (struct http_sse *)e;
    pthread_mutex_lock(&m->lock);
    bool gone = m->gone;
    pthread_mutex_unlock(&m->lock);
    return gone;
}

void http_sse_close(struct http_sse *e)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    e->closing = true;
    sse_wake(e);
    pthread_mutex_unlock(&e->lock);
    sse_unref(e);
}

ssize_t sse_read(void *arg, uint64_t pos, char *out, size_t max)
{
    struct http_sse *e = arg;
    ssize_t n = 0;
    (void)pos;
    pthread_mutex_lock(&e->lock);
    if (e->gone) {
        n = READ_ABORT;
    } else if (e->sent < e->queue.n) {
        n = (ssize_t)MIN(max, e->queue.n - e->sent);
        memcpy(out, e->queue.p + e->sent, (size_t)n);
        e->sent += (size_t)n;
        if (e->sent == e->queue.n) {
            buf_reset(&e->queue);
            e->sent = 0;
        }
    } else if (e->closing || e->server->stopping) {
        n = READ_END;
    } else {
        e->suspended = true;
        server_suspend_handle(e->handle);
    }
    pthread_mutex_unlock(&e->lock);
    return n;
}

/* The library lets go of the stream: the client left, or it ended. */
void sse_released(void *arg)
{
    struct http_sse *e = arg;
    struct http_server *s = e->server;
    pthread_mutex_lock(&s->lock);
    if (e->link) {
        *e->link = e->next;
        if (e->next)
            e->next->link = e->link;
        e->link = NULL;
        s->n_streams--;
        metric_set(&server_metrics[M_STREAMS], (int64_t)s->n_streams);
    }
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&e->lock);
    e->gone = true;
    e->handle = NULL;
    e->suspended = false;
    pthread_mutex_unlock(&e->lock);
    sse_unref(e);
}

/* With s->lock held: heartbeats, and streams whose client left. */
void sse_watch(struct http_server *s, uint64_t now)
{
    for (struct http_sse *e = s->streams; e; e = e->next) {
        pthread_mutex_lock(&e->lock);
        if (!e->gone && e->suspended && now - e->written_ns > HEARTBEAT_NS) {
            buf_z(&e->queue, ":\n\n");
            e->written_ns = now;
            sse_wake(e);
        }
        if (e->suspended && !e->gone && server_hung_up(e->fd)) {
            e->gone = true;
            sse_wake(e);
        }
        pthread_mutex_unlock(&e->lock);
    }
}

bool sse_end_all(struct http_server *s, bool hard)
{
    pthread_mutex_lock(&s->lock);
    bool any = s->streams != NULL;
    for (struct http_sse *e = s->streams; e; e = e->next) {
        pthread_mutex_lock(&e->lock);
        e->closing = true;
        e->gone |= hard;
        sse_wake(e);
        pthread_mutex_unlock(&e->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return any;
}

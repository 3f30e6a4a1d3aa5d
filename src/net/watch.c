// SPDX-License-Identifier: Apache-2.0
/* The watch thread: bounds the time of heads and bodies, notices clients that hung up while their request waits or
 * runs, keeps event streams alive. It sleeps while no connection is open. */
#include "net/server_int.h"

#include "base/limits.h"

#include <poll.h>
#include <sys/socket.h>

#define TICK_MS 1000
#define TICK_BUSY_MS 100 /* while a worker runs: an abandoned query stops about this soon */

void server_cut(struct conn *c)
{
    if (c->cut)
        return;
    c->cut = true;
    metric_add(&server_metrics[M_CUT], 1);
    (void)shutdown(c->fd, SHUT_RDWR); /* the library sees the end and closes */
}

bool server_hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* With s->lock held. */
static bool watch_connections(struct http_server *s, uint64_t now)
{
    bool busy = false;
    for (struct conn *c = s->conns; c; c = c->next) {
        uint64_t age_s = (now - c->since_ns) / 1000000000;
        switch (c->phase) {
        case CONN_FRESH:
        case CONN_HEAD:
            if (age_s >= (uint64_t)limit(http_header_s))
                server_cut(c);
            break;
        case CONN_BODY:
            if (age_s >= (uint64_t)limit(http_body_s))
                server_cut(c);
            break;
        case CONN_BUSY:
            busy = true;
            if (c->req && server_hung_up(c->fd))
                c->req->cancelled = true;
            break;
        case CONN_IDLE:
            break;
        }
    }
    return busy;
}

void *server_watch(void *arg)
{
    struct http_server *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        if (!s->conns) {
            pthread_cond_wait(&s->wake, &s->lock);
            continue;
        }
        uint64_t now = clock_mono_ns(&clock_real);
        bool busy = watch_connections(s, now);
        sse_watch(s, now);
        busy = busy && s->n_running; /* event streams alone need no haste */
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t ns = (uint64_t)until.tv_nsec + (busy ? TICK_BUSY_MS : TICK_MS) * 1000000ull;
        until.tv_sec += (time_t)(ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
        pthread_cond_timedwait(&s->wake, &s->lock, &until);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

// SPDX-License-Identifier: Apache-2.0
#include "net/resolve_int.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/thread.h"

#include <arpa/inet.h>
#include <netdb.h>

/* 30 s: names behind load balancers change about that fast; a failed look-up is tried again after 5 s. An address that
 * is past its time is still used while the new look-up runs, and for STALE_MAX when the resolver is down: monitoring
 * must not go blind because DNS does. */
#define FRESH_NS (30ull * 1000000000)
#define FAILED_NS (5ull * 1000000000)
#define STALE_NS (600ull * 1000000000)
#define LOOKUP_THREADS 4
#define NAMES_MAX 4096

struct waiter {
    void (*wake)(void *);
    void *ctx;
};

struct name {
    char *host;   /* key of the map */
    char *addrs;  /* "a,b", or NULL */
    char *failed; /* reason of the last failure, or NULL */
    uint64_t found_ns, tried_ns;
    bool pending;
    VEC(struct waiter) waiters;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map names;
static VEC(struct name *) queue;
static unsigned threads;
static int (*lookup_fn)(const char *host, struct buf *out);

static int lookup_real(const char *host, struct buf *out)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list;
    int r = getaddrinfo(host, NULL, &hints, &list);
    if (r != 0)
        return r;
    for (struct addrinfo *i = list; i; i = i->ai_next) {
        char text[INET6_ADDRSTRLEN];
        const void *at = i->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)(void *)i->ai_addr)->sin_addr
                                                 : (void *)&((struct sockaddr_in6 *)(void *)i->ai_addr)->sin6_addr;
        if (!inet_ntop(i->ai_family, at, text, sizeof(text)))
            continue;
        if (out->n)
            buf_putc(out, ',');
        buf_fmt(out, i->ai_family == AF_INET ? "%s" : "[%s]", text);
    }
    freeaddrinfo(list);
    return out->n ? 0 : EAI_NONAME;
}

static void *lookup_thread(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    while (queue.n) {
        struct name *n = queue.v[0];
        vec_del(&queue, 0);
        int (*fn)(const char *, struct buf *) = lookup_fn ? lookup_fn : lookup_real;
        pthread_mutex_unlock(&lock);
        struct buf out = BUF_INIT(4096);
        int r = fn(n->host, &out); /* names are never freed while pending */
        pthread_mutex_lock(&lock);
        uint64_t now = clock_mono_ns(&clock_real);
        n->pending = false;
        n->tried_ns = now;
        free(n->failed);
        n->failed = NULL;
        if (r == 0) {
            free(n->addrs);
            n->addrs = buf_take(&out, NULL);
            n->found_ns = now;
        } else {
            n->failed = xstrdup(gai_strerror(r));
        }
        buf_done(&out);
        for (size_t i = 0; i < n->waiters.n; i++)
            n->waiters.v[i].wake(n->waiters.v[i].ctx);
        vec_reset(&n->waiters);
    }
    threads--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* With the lock held. */
static void forget_names(void)
{
    struct map keep = {0};
    for (struct map_entry *e = NULL; (e = map_next(&names, e));) {
        struct name *n = e->value;
        if (n->pending) {
            map_put(&keep, str_of(n->host), n);
            continue;
        }
        vec_done(&n->waiters);
        free(n->host);
        free(n->addrs);
        free(n->failed);
        free(n);
    }
    map_done(&names);
    names = keep;
}

static int start_lookup(struct name *n)
{
    n->pending = true;
    vec_push(&queue, n);
    if (threads >= LOOKUP_THREADS)
        return 0;
    pthread_t t;
    int r = thread_start(&t, "hune-dns", lookup_thread, NULL);
    if (r < 0) {
        if (threads)
            return 0; /* another will come to it */
        queue.n--;
        n->pending = false;
        return r;
    }
    pthread_detach(t);
    threads++;
    return 0;
}

enum resolve_state resolve_name(struct str host, struct buf *out, void (*wake)(void *ctx), void *ctx, struct err *e)
{
    enum resolve_state ret = RESOLVE_PENDING;
    pthread_mutex_lock(&lock);
    struct name *n = map_get(&names, host);
    if (!n) {
        if (names.n >= NAMES_MAX)
            forget_names();
        n = NEW(struct name);
        n->host = str_dupz(host);
        map_put(&names, str_of(n->host), n);
    }
    uint64_t now = clock_mono_ns(&clock_real);
    bool known = n->addrs && now - n->found_ns < STALE_NS;
    bool fresh = n->addrs && now - n->found_ns < FRESH_NS;
    bool failed_lately = n->failed && now - n->tried_ns < FAILED_NS;
    if (!fresh && !failed_lately && !n->pending) {
        int r = start_lookup(n);
        if (r < 0 && !known) {
            err_set(e, "cannot look up " STR_FMT ": %s", STR_ARG(host), err_name(r));
            pthread_mutex_unlock(&lock);
            return RESOLVE_FAILED;
        }
    }
    if (known) {
        buf_z(out, n->addrs);
        ret = RESOLVE_HIT;
    } else if (n->pending) {
        vec_push(&n->waiters, (struct waiter){.wake = wake, .ctx = ctx});
    } else {
        err_set(e, "lookup " STR_FMT ": %s", STR_ARG(host), n->failed ? n->failed : "no answer");
        ret = RESOLVE_FAILED;
    }
    pthread_mutex_unlock(&lock);
    return ret;
}

void resolve_forget(void *ctx)
{
    pthread_mutex_lock(&lock);
    for (struct map_entry *e = NULL; (e = map_next(&names, e));) {
        struct name *n = e->value;
        for (size_t i = n->waiters.n; i-- > 0;)
            if (n->waiters.v[i].ctx == ctx)
                vec_swap_del(&n->waiters, i);
    }
    pthread_mutex_unlock(&lock);
}

void resolve_set_lookup(int (*fn)(const char *host, struct buf *out))
{
    pthread_mutex_lock(&lock);
    lookup_fn = fn;
    forget_names();
    pthread_mutex_unlock(&lock);
}

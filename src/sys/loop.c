// SPDX-License-Identifier: Apache-2.0
#include "sys/loop.h"

#include "base/mem.h"
#include <uv.h>

/* Every handle is the first member of its wrapper, and the wrapper is released by the handle's close callback: the one
 * moment from which libuv looks at neither (libuv design overview, "Handles and requests"). */
struct loop_timer {
    uv_timer_t h;
    void (*fn)(void *arg);
    void *arg;
};

struct loop_io {
    uv_poll_t h;
    void (*fn)(void *arg, int events);
    void *arg;
};

struct loop_signal {
    uv_signal_t h;
    void (*fn)(void *arg, int signum);
    void *arg;
};

struct post {
    struct post *next;
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_mutex_t lock; /* guards first and last: the only state other threads touch */
    struct post *first, *last;
};

static void free_wrapper(uv_handle_t *h)
{
    free(h);
}

static void close_handle(void *h)
{
    if (!uv_is_closing(h))
        uv_close(h, free_wrapper);
}

static struct post *take_posts(struct loop *l)
{
    uv_mutex_lock(&l->lock);
    struct post *p = l->first;
    l->first = l->last = NULL;
    uv_mutex_unlock(&l->lock);
    return p;
}

static void on_wake(uv_async_t *h)
{
    struct loop *l = CONTAINER_OF(h, struct loop, wake);
    /* Posts made by these functions run in the next turn, so a chain of posts cannot hold the loop. */
    for (struct post *p = take_posts(l), *next; p; p = next) {
        next = p->next;
        p->fn(p->arg);
        free(p);
    }
}

struct loop *loop_new(void)
{
    struct loop *l = NEW(struct loop);
    if (uv_loop_init(&l->uv) != 0 || uv_mutex_init(&l->lock) != 0 || uv_async_init(&l->uv, &l->wake, on_wake) != 0)
        FATAL("event loop: no descriptors left");
    return l;
}

static void close_walked(uv_handle_t *h, void *arg)
{
    struct loop *l = arg;
    if (uv_is_closing(h))
        return;
    uv_close(h, h == (uv_handle_t *)&l->wake ? NULL : free_wrapper);
}

struct loop *loop_free(struct loop *l)
{
    if (!l)
        return NULL;
    uv_walk(&l->uv, close_walked, l);
    uv_run(&l->uv, UV_RUN_DEFAULT); /* runs the close callbacks; nothing else is left */
    int r = uv_loop_close(&l->uv);
    ASSERT(r == 0);
    for (struct post *p = take_posts(l), *next; p; p = next) {
        next = p->next;
        free(p);
    }
    uv_mutex_destroy(&l->lock);
    free(l);
    return NULL;
}

void loop_run(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
    uv_stop(&l->uv);
}

uint64_t loop_now_ms(const struct loop *l)
{
    /* The loop's cached time may be older than a callback that took long; timers are set from a fresh one. */
    uv_loop_t *uv = (uv_loop_t *)&l->uv;
    uv_update_time(uv);
    return uv_now(uv);
}

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct post *p = NEW(struct post);
    *p = (struct post){.fn = fn, .arg = arg};
    uv_mutex_lock(&l->lock);
    if (l->last)
        l->last->next = p;
    else
        l->first = p;
    l->last = p;
    uv_mutex_unlock(&l->lock);
    uv_async_send(&l->wake);
}

static void on_timer(uv_timer_t *h)
{
    struct loop_timer *t = (struct loop_timer *)h;
    t->fn(t->arg);
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct loop_timer *t = NEW(struct loop_timer);
    t->fn = fn;
    t->arg = arg;
    uv_timer_init(&l->uv, &t->h);
    return t;
}

void loop_timer_set(struct loop_timer *t, uint64_t after_ms, uint64_t repeat_ms)
{
    uv_update_time(t->h.loop);
    uv_timer_start(&t->h, on_timer, after_ms, repeat_ms);
}

void loop_timer_stop(struct loop_timer *t)
{
    uv_timer_stop(&t->h);
}

struct loop_timer *loop_timer_close(struct loop_timer *t)
{
    if (t)
        close_handle(&t->h);
    return NULL;
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct loop_io *io = (struct loop_io *)h;
    int e = 0;
    if (events & UV_READABLE)
        e |= LOOP_READ;
    if (events & UV_WRITABLE)
        e |= LOOP_WRITE;
    if (events & UV_DISCONNECT)
        e |= LOOP_HUP;
    if (status < 0)
        e |= LOOP_HUP; /* POLLERR: libuv has stopped the handle, the caller should close it */
    io->fn(io->arg, e);
}

struct loop_io *loop_io_new(struct loop *l, int fd, void (*fn)(void *arg, int events), void *arg)
{
    struct loop_io *io = NEW(struct loop_io);
    io->fn = fn;
    io->arg = arg;
    int r = uv_poll_init(&l->uv, &io->h, fd);
    if (r != 0) { /* a regular file, or a descriptor that is polled already: a mistake of the caller */
        free(io);
        BUG("loop_io_new(fd %d): %s", fd, uv_strerror(r));
    }
    return io;
}

void loop_io_set(struct loop_io *io, int events)
{
    int e = 0;
    if (events & LOOP_READ)
        e |= UV_READABLE;
    if (events & LOOP_WRITE)
        e |= UV_WRITABLE;
    if (events & LOOP_HUP)
        e |= UV_DISCONNECT;
    if (e)
        uv_poll_start(&io->h, e, on_poll);
    else
        uv_poll_stop(&io->h);
}

struct loop_io *loop_io_close(struct loop_io *io)
{
    if (io)
        close_handle(&io->h); /* stops polling at once, so the caller may close its descriptor right after */
    return NULL;
}

static void on_signal(uv_signal_t *h, int signum)
{
    struct loop_signal *s = (struct loop_signal *)h;
    s->fn(s->arg, signum);
}

struct loop_signal *loop_signal_new(struct loop *l, int signum, void (*fn)(void *arg, int signum), void *arg)
{
    struct loop_signal *s = NEW(struct loop_signal);
    s->fn = fn;
    s->arg = arg;
    if (uv_signal_init(&l->uv, &s->h) != 0 || uv_signal_start(&s->h, on_signal, signum) != 0)
        FATAL("cannot watch signal %d", signum);
    return s;
}

struct loop_signal *loop_signal_close(struct loop_signal *s)
{
    if (s)
        close_handle(&s->h);
    return NULL;
}

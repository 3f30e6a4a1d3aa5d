// SPDX-License-Identifier: Apache-2.0
#include "sys/thread.h"

#include "base/mem.h"
#include <limits.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct thread_start_args {
    void *(*fn)(void *);
    void *arg;
    char name[16];
};

static void *thread_main(void *p)
{
    struct thread_start_args a = *(struct thread_start_args *)p;
    free(p);
    (void)pthread_setname_np(pthread_self(), a.name); /* only for people who look */
    return a.fn(a.arg);
}

int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *), void *arg)
{
    struct thread_start_args *a = NEW(struct thread_start_args);
    a->fn = fn;
    a->arg = arg;
    snprintf(a->name, sizeof(a->name), "%s", name);
    pthread_attr_t attr;
    int r = pthread_attr_init(&attr);
    if (r) {
        free(a);
        return -r;
    }
    size_t stack = MAX((size_t)THREAD_STACK_BYTES, (size_t)PTHREAD_STACK_MIN);
    r = pthread_attr_setstacksize(&attr, stack);
    /* A new thread inherits the mask: signals stay with the thread that asked for them. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (!r)
        r = pthread_create(ret, &attr, thread_main, a);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (r)
        free(a);
    return -r;
}

/* A ring under a mutex. The eventfd is written when the queue becomes non-empty or is closed and read when the consumer
 * empties it, so a burst costs one system call on either side. */
struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    void **ring;
    size_t max, cap, first, n;
    int fd;
    bool closed, signalled;
};

struct mailbox *mailbox_new(size_t max)
{
    struct mailbox *m = NEW(struct mailbox);
    m->max = max ? max : 1;
    m->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->fd < 0) {
        free(m);
        return NULL;
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->ready, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

struct mailbox *mailbox_free(struct mailbox *m)
{
    if (!m)
        return NULL;
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->ready);
    close(m->fd);
    free(m->ring);
    free(m);
    return NULL;
}

static void mailbox_signal(struct mailbox *m)
{
    if (m->signalled)
        return;
    uint64_t one = 1;
    m->signalled = true;
    (void)!write(m->fd, &one, sizeof(one)); /* cannot be full: it is read before it is written again */
}

static void mailbox_unsignal(struct mailbox *m)
{
    uint64_t count;
    if (m->signalled && !m->closed && m->n == 0) {
        (void)!read(m->fd, &count, sizeof(count));
        m->signalled = false;
    }
}

int mailbox_post(struct mailbox *m, void *msg)
{
    int r = 0;
    pthread_mutex_lock(&m->lock);
    if (m->closed) {
        r = -EPIPE;
    } else if (m->n == m->max) {
        r = -ENOBUFS;
    } else {
        if (m->n == m->cap) { /* grows to its bound: most mailboxes stay nearly empty */
            size_t cap = MIN(m->max, m->cap ? m->cap * 2 : 8);
            void **ring = xcalloc(cap, sizeof(*ring));
            for (size_t i = 0; i < m->n; i++)
                ring[i] = m->ring[(m->first + i) % m->cap];
            free(m->ring);
            m->ring = ring;
            m->cap = cap;
            m->first = 0;
        }
        m->ring[(m->first + m->n++) % m->cap] = msg;
        mailbox_signal(m);
        pthread_cond_signal(&m->ready);
    }
    pthread_mutex_unlock(&m->lock);
    return r;
}

static void *take_locked(struct mailbox *m)
{
    void *msg = NULL;
    if (m->n) {
        msg = m->ring[m->first];
        m->first = (m->first + 1) % m->cap;
        m->n--;
    }
    mailbox_unsignal(m);
    return msg;
}

void *mailbox_take(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    void *msg = take_locked(m);
    pthread_mutex_unlock(&m->lock);
    return msg;
}

void *mailbox_wait(struct mailbox *m, int timeout_ms)
{
    struct timespec until;
    if (timeout_ms >= 0) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += timeout_ms / 1000;
        until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
    }
    pthread_mutex_lock(&m->lock);
    int r = 0;
    while (m->n == 0 && !m->closed && r == 0)
        r = timeout_ms < 0 ? pthread_cond_wait(&m->ready, &m->lock)
                           : pthread_cond_timedwait(&m->ready, &m->lock, &until);
    void *msg = take_locked(m);
    pthread_mutex_unlock(&m->lock);
    return msg;
}

void mailbox_close(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    m->closed = true;
    mailbox_signal(m);
    pthread_cond_broadcast(&m->ready);
    pthread_mutex_unlock(&m->lock);
}

int mailbox_fd(const struct mailbox *m)
{
    return m->fd;
}

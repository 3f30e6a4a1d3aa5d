// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Threads with small stacks, and the mailbox by which they talk. Upper floors hold no locks: they post messages. */
#include "base/error.h"
#include <pthread.h>
#include <stdint.h>

#define THREAD_STACK_BYTES (512 << 10)

/* Start a named thread (name <= 15 bytes) with all signals blocked. 0 or -errno. */
MUST_USE int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *), void *arg);

/* A bounded multi-producer queue of pointers with one consumer, and an eventfd that is readable while it is not empty.
 */
struct mailbox;
struct mailbox *mailbox_new(size_t max);
struct mailbox *mailbox_free(struct mailbox *m);         /* messages still inside are leaked to nobody: drain first */
MUST_USE int mailbox_post(struct mailbox *m, void *msg); /* 0, -ENOBUFS when full, -EPIPE when closed. Any thread. */
void *mailbox_take(struct mailbox *m);                   /* NULL when empty; consumer only */
void *mailbox_wait(struct mailbox *m,
                   int timeout_ms);    /* NULL on time-out or when closed and empty; -1 waits for ever */
void mailbox_close(struct mailbox *m); /* further posts fail, waiters wake */
int mailbox_fd(const struct mailbox *m);

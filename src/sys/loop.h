// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Event loop (wraps libuv; none of its types show). One loop per thread; everything but loop_wake() and loop_post() is
 * for the loop's own thread. Handles are released by their _close call; their memory is freed by the loop later, a
 * callback may close its own handle. */
#include "base/error.h"
#include <stdint.h>
#include <sys/types.h>

struct loop;
struct loop *loop_new(void);
struct loop *loop_free(struct loop *l); /* closes what is still open */
void loop_run(struct loop *l);          /* until loop_stop() */
void loop_stop(struct loop *l);
uint64_t loop_now_ms(const struct loop *l); /* monotonic */
/* Run fn(arg) on the loop's thread; any thread. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *t, uint64_t after_ms, uint64_t repeat_ms); /* restarts */
void loop_timer_stop(struct loop_timer *t);
struct loop_timer *loop_timer_close(struct loop_timer *t);

enum loop_io_events { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HUP = 4 };
struct loop_io;
struct loop_io *loop_io_new(struct loop *l, int fd, void (*fn)(void *arg, int events),
                            void *arg);           /* fd stays the caller's */
void loop_io_set(struct loop_io *io, int events); /* 0 pauses */
struct loop_io *loop_io_close(struct loop_io *io);

struct loop_signal;
struct loop_signal *loop_signal_new(struct loop *l, int signum, void (*fn)(void *arg, int signum), void *arg);
struct loop_signal *loop_signal_close(struct loop_signal *s);

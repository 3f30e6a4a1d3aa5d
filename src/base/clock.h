// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Time is injected, so that a test can live through a week in a second. Data carries Unix milliseconds; intervals are
 * measured in monotonic nanoseconds and never with the wall clock. */
#include <stdint.h>

struct clock {
    int64_t (*now_ms)(const struct clock *c);   /* Unix milliseconds */
    uint64_t (*mono_ns)(const struct clock *c); /* monotonic nanoseconds */
};

extern const struct clock clock_real;

static inline int64_t clock_now_ms(const struct clock *c)
{
    return c->now_ms(c);
}

static inline uint64_t clock_mono_ns(const struct clock *c)
{
    return c->mono_ns(c);
}

/* A clock that moves only when told. */
struct clock_fake {
    struct clock clock; /* hand out &f.clock */
    int64_t ms;
    uint64_t ns;
};
void clock_fake_init(struct clock_fake *f, int64_t start_ms);
void clock_fake_advance(struct clock_fake *f, int64_t ms); /* both clocks */
void clock_fake_jump(struct clock_fake *f, int64_t ms);    /* the wall clock alone */

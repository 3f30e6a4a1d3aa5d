// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include "base/mem.h"
#include <time.h>

static int64_t real_ms(const struct clock *c)
{
    (void)c;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static uint64_t real_ns(const struct clock *c)
{
    (void)c;
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

const struct clock clock_real = {.now_ms = real_ms, .mono_ns = real_ns};

static int64_t fake_ms(const struct clock *c)
{
    return CONTAINER_OF(c, const struct clock_fake, clock)->ms;
}

static uint64_t fake_ns(const struct clock *c)
{
    return CONTAINER_OF(c, const struct clock_fake, clock)->ns;
}

void clock_fake_init(struct clock_fake *f, int64_t start_ms)
{
    *f = (struct clock_fake){.clock = {.now_ms = fake_ms, .mono_ns = fake_ns}, .ms = start_ms, .ns = 1};
}

void clock_fake_advance(struct clock_fake *f, int64_t ms)
{
    f->ms += ms;
    f->ns += (uint64_t)ms * 1000000U;
}

void clock_fake_jump(struct clock_fake *f, int64_t ms)
{
    f->ms += ms;
}

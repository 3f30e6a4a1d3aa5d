// SPDX-License-Identifier: Apache-2.0
/* When targets are asked: a binary heap by due time, and offsets inside the interval that depend on the target alone,
 * so that load spreads evenly and a restart keeps the rhythm. */
#include "base/hash.h"
#include "scrape/scrape_int.h"

static void place(struct scrape *s, size_t i, struct target *t)
{
    s->heap.v[i] = t;
    t->heap_at = i + 1;
}

static void sift_up(struct scrape *s, size_t i, struct target *t)
{
    for (; i > 0; i = (i - 1) / 2) {
        struct target *up = s->heap.v[(i - 1) / 2];
        if (up->due_ns <= t->due_ns)
            break;
        place(s, i, up);
    }
    place(s, i, t);
}

static void sift_down(struct scrape *s, size_t i, struct target *t)
{
    for (;;) {
        size_t kid = 2 * i + 1;
        if (kid >= s->heap.n)
            break;
        if (kid + 1 < s->heap.n && s->heap.v[kid + 1]->due_ns < s->heap.v[kid]->due_ns)
            kid++;
        if (s->heap.v[kid]->due_ns >= t->due_ns)
            break;
        place(s, i, s->heap.v[kid]);
        i = kid;
    }
    place(s, i, t);
}

void heap_push(struct scrape *s, struct target *t)
{
    ASSERT(t->heap_at == 0);
    vec_push(&s->heap, t);
    sift_up(s, s->heap.n - 1, t);
}

void heap_remove(struct scrape *s, struct target *t)
{
    if (t->heap_at == 0)
        return;
    size_t i = t->heap_at - 1;
    t->heap_at = 0;
    struct target *last = s->heap.v[--s->heap.n];
    if (last == t)
        return;
    sift_down(s, i, last);
    sift_up(s, last->heap_at - 1, last);
}

/* Prometheus' Target.offset: the wall clock modulo the interval equals the target's hash modulo the interval. */
void target_plan_first(struct target *t, bool at_once)
{
    struct scrape *s = t->scrape;
    uint64_t interval_ns = (uint64_t)t->interval_ms * 1000000, now_ns = clock_mono_ns(s->clock);
    int64_t wall_ms = clock_now_ms(s->clock);
    uint64_t wait_ns = 0;
    if (!at_once) {
        uint64_t offset = (hash_bytes(t->key.p, t->key.n) ^ s->seed) % interval_ns;
        uint64_t phase = (uint64_t)wall_ms * 1000000 % interval_ns;
        wait_ns = offset >= phase ? offset - phase : interval_ns - phase + offset;
    }
    heap_remove(s, t);
    t->due_ns = now_ns + wait_ns;
    t->planned_ms = wall_ms + (int64_t)(wait_ns / 1000000);
    heap_push(s, t);
}

void target_plan_next(struct target *t)
{
    struct scrape *s = t->scrape;
    uint64_t interval_ns = (uint64_t)t->interval_ms * 1000000, now_ns = clock_mono_ns(s->clock);
    heap_remove(s, t);
    t->due_ns += interval_ns;
    t->planned_ms += t->interval_ms;
    if (t->due_ns <= now_ns) { /* we are late by more than an interval: skip what was missed */
        uint64_t missed = (now_ns - t->due_ns) / interval_ns + 1;
        t->due_ns += missed * interval_ns;
        t->planned_ms += (int64_t)missed * t->interval_ms;
        count(s, N_SKIPPED, (int64_t)missed);
    }
    heap_push(s, t);
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <stddef.h>
#include <stdint.h>

/* xoshiro256**: fast, seedable, not for secrets. */
struct rand_state {
    uint64_t s[4];
};
void rand_seed(struct rand_state *r, uint64_t seed);
uint64_t rand_u64(struct rand_state *r);
uint64_t rand_below(struct rand_state *r, uint64_t n); /* 0 .. n-1, n > 0 */
double rand_unit(struct rand_state *r);                /* [0, 1) */
/* Kernel randomness, for tokens and seeds. Aborts if the kernel has none. */
void rand_secure(void *p, size_t n);

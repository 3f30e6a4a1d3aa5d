// SPDX-License-Identifier: Apache-2.0
#include "base/rand.h"

#include "base/error.h"
#include <sys/random.h>

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

/* splitmix64 spreads one word over the state, as xoshiro's authors advise. */
void rand_seed(struct rand_state *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        r->s[i] = z ^ (z >> 31);
    }
}

uint64_t rand_u64(struct rand_state *r)
{
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rand_below(struct rand_state *r, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)rand_u64(r) * n) >> 64);
}

double rand_unit(struct rand_state *r)
{
    return (double)(rand_u64(r) >> 11) * 0x1p-53;
}

void rand_secure(void *p, size_t n)
{
    char *at = p;
    while (n) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno != EINTR)
            FATAL("getrandom: %s", err_name(-errno));
        if (got > 0) {
            at += got;
            n -= (size_t)got;
        }
    }
}

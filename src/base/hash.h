// SPDX-License-Identifier: Apache-2.0
#pragma once
/* XXH3 64-bit hashes (wraps xxhash). hash_bytes() is stable over machines and versions: it may be stored on disk.
 * hash_seeded() differs per process: for in-memory tables fed with foreign keys. */
#include "base/str.h"
#include <stdint.h>

uint64_t hash_bytes(const void *p, size_t n);
uint64_t hash_seeded(const void *p, size_t n);
uint32_t hash_crc32c(uint32_t crc, const void *p, size_t n); /* Castagnoli, init 0; hardware where present */

static inline uint64_t hash_mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ULL;
    return x ^ (x >> 33);
}

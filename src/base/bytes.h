// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Explicit little-endian encoding: every durable format goes through these, never through struct dumps. Varints are
 * LEB128 (protobuf's), signed ones zigzag. Readers are bounded: they never look past `end`. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void put_u16le(void *p, uint16_t v)
{
    memcpy(p, &v, 2);
}
static inline void put_u32le(void *p, uint32_t v)
{
    memcpy(p, &v, 4);
}
static inline void put_u64le(void *p, uint64_t v)
{
    memcpy(p, &v, 8);
}
static inline uint16_t get_u16le(const void *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
static inline uint32_t get_u32le(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline uint64_t get_u64le(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts need byte swaps here");

#define VARINT_MAX 10

/* Writes at most VARINT_MAX bytes, returns how many. */
static inline size_t put_uvarint(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

static inline uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static inline size_t put_varint(uint8_t *p, int64_t v)
{
    return put_uvarint(p, zigzag(v));
}

/* Reads one varint from *pp; false (and *pp unchanged) when cut short or longer than 64 bits. */
static inline bool get_uvarint(const uint8_t **pp, const uint8_t *end, uint64_t *ret)
{
    const uint8_t *p = *pp;
    uint64_t v = 0;
    for (unsigned shift = 0; p < end && shift < 70; shift += 7) {
        uint8_t b = *p++;
        if (shift == 63 && b > 1)
            return false;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *pp = p;
            *ret = v;
            return true;
        }
    }
    return false;
}

static inline bool get_varint(const uint8_t **pp, const uint8_t *end, int64_t *ret)
{
    uint64_t u;
    if (!get_uvarint(pp, end, &u))
        return false;
    *ret = unzigzag(u);
    return true;
}

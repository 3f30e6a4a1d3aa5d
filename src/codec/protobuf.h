// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Reading protobuf's wire format (protobuf.dev/programming-guides/encoding) without copying: a cursor over bytes that
 * yields one field after another. Groups (wire types 3 and 4) are refused: no message we read has them. */
#include "base/bytes.h"
#include "base/str.h"

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

struct pb {
    const uint8_t *p, *end;
    bool bad; /* sticky */
};

struct pb_field {
    uint32_t number;
    enum pb_wire wire;
    uint64_t v;       /* VARINT, FIXED64, FIXED32 */
    struct str bytes; /* BYTES; borrowed */
};

static inline struct pb pb_over(struct str s)
{
    return (struct pb){.p = (const uint8_t *)s.p, .end = (const uint8_t *)s.p + s.n};
}

/* Next field; false at the end or when the bytes are no message (then r->bad). */
bool pb_next(struct pb *r, struct pb_field *f);

static inline double pb_double(const struct pb_field *f)
{
    double v;
    memcpy(&v, &f->v, 8);
    return v;
}

static inline int64_t pb_sint(uint64_t v)
{
    return unzigzag(v);
}

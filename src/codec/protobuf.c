// SPDX-License-Identifier: Apache-2.0
#include "codec/protobuf.h"

bool pb_next(struct pb *r, struct pb_field *f)
{
    if (r->bad || r->p == r->end)
        return false;
    uint64_t tag, n;
    if (!get_uvarint(&r->p, r->end, &tag) || tag >> 3 == 0 || tag >> 32)
        goto bad;
    f->number = (uint32_t)(tag >> 3);
    switch (tag & 7) {
    case PB_VARINT:
        f->wire = PB_VARINT;
        if (!get_uvarint(&r->p, r->end, &f->v))
            goto bad;
        return true;
    case PB_FIXED64:
        f->wire = PB_FIXED64;
        if (r->end - r->p < 8)
            goto bad;
        f->v = get_u64le(r->p);
        r->p += 8;
        return true;
    case PB_BYTES:
        f->wire = PB_BYTES;
        if (!get_uvarint(&r->p, r->end, &n) || n > (uint64_t)(r->end - r->p))
            goto bad;
        f->bytes = str_make((const char *)r->p, (size_t)n);
        r->p += n;
        return true;
    case PB_FIXED32:
        f->wire = PB_FIXED32;
        if (r->end - r->p < 4)
            goto bad;
        f->v = get_u32le(r->p);
        r->p += 4;
        return true;
    default:
        break;
    }
bad:
    r->bad = true;
    return false;
}

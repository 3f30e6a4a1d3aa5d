// SPDX-License-Identifier: Apache-2.0
/* The keeper's only parser: a stream of frames. */
#include "control/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str rest = str_make((const char *)data, n);
    struct control_frame f;
    size_t used;
    while (control_parse(rest, 1 << 16, &f, &used) == 0) {
        ASSERT(used == CONTROL_HEAD_BYTES + f.body.n && used <= rest.n);
        struct control_proc p;
        control_proc_read(f.body, &p);
        ASSERT(p.state < CS_COUNT && p.event < CE_COUNT);
        uint16_t tag;
        struct str v, body = f.body;
        /* Written again, it is the same frame. */
        struct buf b = BUF_INIT(1 << 17);
        size_t at = control_begin(&b, (enum control_type)f.type, f.id);
        while (control_field(&body, &tag, &v))
            control_put(&b, (enum control_tag)tag, v);
        control_end(&b, at);
        ASSERT(b.n == used && memcmp(b.p, rest.p, used) == 0);
        buf_done(&b);
        rest = str_sub(rest, used, rest.n);
    }
    return 0;
}

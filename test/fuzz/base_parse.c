// SPDX-License-Identifier: Apache-2.0
#include "base/format.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str s = str_make((const char *)data, n);
    int64_t ms, again;
    uint64_t u;
    struct buf b = BUF_INIT(4096);
    if (parse_duration_ms(s, &ms)) {
        format_duration_ms(&b, ms);
        ASSERT(parse_duration_ms(buf_view(&b), &again) && again == ms);
    }
    bool ok = parse_go_duration_ms(s, &ms);
    ok |= parse_bytes(s, &u);
    if (parse_rfc3339_ms(s, &ms)) {
        buf_reset(&b);
        format_rfc3339_ms(&b, ms);
        ok |= parse_rfc3339_ms(buf_view(&b), &again);
    }
    (void)ok;
    struct buf clean = BUF_INIT(3 * n + 8);
    utf8_scrub(&clean, s);
    ASSERT(utf8_valid(buf_view(&clean)));
    (void)utf8_width(s);
    buf_done(&clean);
    buf_done(&b);
    return 0;
}

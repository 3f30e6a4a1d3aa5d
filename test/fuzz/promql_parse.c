// SPDX-License-Identifier: Apache-2.0
/* Any bytes: parse, and when they parse, print, format, write as JSON; the print must parse to the same print. */
#include "base/buf.h"
#include "base/error.h"
#include "promql/promql.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct promql *q, *again;
    struct err e = {0};
    if (promql_parse(str_make((const char *)data, n), &q, &e) != 0) {
        ASSERT(e.msg[0]);
        return 0;
    }
    struct buf a = BUF_INIT(16 << 20), b = BUF_INIT(16 << 20);
    promql_print(&a, q);
    if (buf_error(&a) == 0) {
        ASSERT(promql_parse(buf_view(&a), &again, &e) == 0);
        promql_print(&b, again);
        ASSERT(str_eq(buf_view(&a), buf_view(&b)));
        promql_free(again);
    }
    buf_reset(&b);
    promql_format(&b, q);
    buf_reset(&b);
    struct jw w;
    jw_init(&w, &b);
    promql_ast_json(&w, q);
    const struct promql_selector *s;
    (void)promql_selectors(q, &s);
    promql_free(q);
    buf_done(&a);
    buf_done(&b);
    return 0;
}

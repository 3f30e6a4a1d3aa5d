// SPDX-License-Identifier: Apache-2.0
/* Any text parses or is refused; what parses runs within its limits, as text and as HTML. */
#include "template/template.h"
#include "base/limits.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    limit_set(STR("template_steps"), 5000);
    limit_set(STR("template_output_bytes"), 16384);
    struct template_set *s = template_set_new(NULL, n % 2 ? template_funcs_am : template_funcs_prom);
    struct err e = {0};
    if (template_parse(s, STR("f"), str_make((const char *)p, n), &e) == 0) {
        struct arena *a = arena_new(0);
        struct tval items[] = {tval_z("<x>"), tval_int(7), tval_f64(1.5), tval_time(1767323045678),
                               tval_duration(90000)};
        struct tpair root[] = {
            {STR("Labels"), tval_list_of(a, items, 5)}, {STR("Value"), tval_f64(2)}, {STR("S"), items[0]}};
        struct buf out = BUF_INIT(1 << 16);
        struct template_prom host = {.now_ms = 1000};
        struct template_exec x = {.name = STR("f"), .data = tval_map_of(a, root, 3, false), .arena = a, .host = &host};
        int first = template_exec(s, &x, &out, &e); /* either way is fine */
        x.flags = TEMPLATE_HTML;
        buf_reset(&out);
        e.msg[0] = 0;
        int second = template_exec(s, &x, &out, &e);
        (void)first;
        (void)second;
        buf_done(&out);
        arena_free(a);
    }
    template_set_free(s);
    return 0;
}

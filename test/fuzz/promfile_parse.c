// SPDX-License-Identifier: Apache-2.0
/* Any text as prometheus.yml: refused with a reason, or a generation whose masked text can be read again. */
#include "promfile/promfile.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct promfile *f = NULL;
    struct err e = {0};
    /* no files are looked for: scrape_config_files would make the outcome depend on the machine */
    if (memmem(data, n, "scrape_config_files", 19))
        return 0;
    if (promfile_parse(str_make((const char *)data, n), "f.yml", "", PROMFILE_SYNTAX_ONLY, &f, &e) < 0) {
        if (!e.msg[0])
            abort();
        return 0;
    }
    for (size_t i = 0; i < f->n_scrapes; i++) {
        struct labels_builder b = {0};
        _cleanup_arena_ struct arena *a = arena_new(16 << 20);
        lb_init(&b, (struct labels){0});
        lb_set(&b, STR("__address__"), STR("a:1"));
        lb_set(&b, STR("job"), f->scrapes[i].job);
        (void)relabel_apply(f->scrapes[i].relabel.v, f->scrapes[i].relabel.n, &b, a); /* either answer is fine */
        lb_done(&b);
    }
    promfile_unref(f);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
/* First byte: JSON or YAML. */
#include "discover/discover.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct target_group *g = NULL;
    size_t n_groups = 0;
    struct err e = {0};
    struct str text = str_make((const char *)data + 1, n - 1);
    if (discover_parse_file(text, data[0] & 1 ? "f.json" : "f.yml", a, &g, &n_groups, &e) < 0) {
        if (!e.msg[0])
            abort();
        return 0;
    }
    for (size_t i = 0; i < n_groups; i++) {
        if (!labels_has(g[i].labels, STR("__meta_filepath")))
            abort();
        for (size_t k = 0; k < g[i].n; k++)
            if (g[i].targets[k].n > 1)
                abort();
    }
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "codec/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena *a = arena_new(32 << 20);
    struct yaml_node *node;
    struct err e = {0};
    if (yaml_parse(str_make((const char *)data, n), "f", a, &node, &e))
        ASSERT(e.msg[0]);
    else
        (void)yaml_get(node, "a");
    arena_free(a);
    return 0;
}

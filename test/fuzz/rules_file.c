// SPDX-License-Identifier: Apache-2.0
#include "rules/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct rules_file f = {.path = "f.yml", .text = str_make(n ? (const char *)p : "", n)};
    struct rules_load l = {.files = &f, .n_files = 1};
    struct rules_config *c = NULL;
    struct err e = {0};
    if (rules_config_load(&l, &c, &e) == 0)
        rules_config_free(c);
    return 0;
}

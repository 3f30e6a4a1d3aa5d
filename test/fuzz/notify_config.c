// SPDX-License-Identifier: Apache-2.0
#include "notify/notify.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct notify_config *c = NULL;
    struct err e = {0};
    if (notify_config_parse(str_make((const char *)p, n), "f.yml", "/nonexistent", NULL, NULL, &c, &e))
        return 0;
    struct buf b = BUF_INIT(1 << 22);
    notify_config_yaml(c, &b);
    notify_config_tree(c, &b);
    buf_done(&b);
    notify_config_free(c);
    return 0;
}

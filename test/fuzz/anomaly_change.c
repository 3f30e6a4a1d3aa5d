// SPDX-License-Identifier: Apache-2.0
/* Bodies of changes and numbers of sheets, as they come from the network. */
#include "anomaly/anomaly.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str s = str_make((const char *)data, n);
    struct err e = {0};
    int r = anomaly_check_json(s, n & 1, &e);
    if (r != 0 && (r != ANOMALY_E_INVALID || !e.msg[0]))
        BUG("refused without a reason: %d", r);
    char id[ANOMALY_ID_BYTES], again[ANOMALY_ID_BYTES];
    if (anomaly_id_normal(s, id) && (!anomaly_id_normal(str_of(id), again) || strcmp(id, again) != 0))
        BUG("the normal form %s is not stable", id);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
/* The file of users: whatever it holds, it is refused or it comes back as it was read. */
#include "../../src/auth/auth_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct auth_rows rows, again;
    if (auth_rows_parse(str_make((const char *)data, n), "users", &rows, NULL) == 0) {
        struct buf one = BUF_INIT(8 << 20), two = BUF_INIT(8 << 20);
        auth_rows_write(&rows, &one);
        ASSERT(auth_rows_parse(buf_view(&one), "users", &again, NULL) == 0);
        auth_rows_write(&again, &two);
        ASSERT(str_eq(buf_view(&one), buf_view(&two)));
        vec_done(&rows.v);
        vec_done(&again.v);
        buf_done(&one);
        buf_done(&two);
    }
    struct buf out = BUF_INIT(4096);
    (void)auth_base64(str_make((const char *)data, n), &out);
    buf_done(&out);
    return 0;
}

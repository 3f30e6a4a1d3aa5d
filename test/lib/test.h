// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What cmocka lacks: seeds that are printed, scratch folders, slices in assertions. Include this instead of cmocka.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rand.h"
#include "base/str.h"

/* The seed of this run: $HUNE_TEST_SEED, or fresh; printed once, so a failure can be replayed. */
uint64_t test_seed(void);
/* Rounds for a property test: `dflt`, or that times $HUNE_TEST_SCALE. */
unsigned test_rounds(unsigned dflt);
/* A fresh folder under $TMPDIR, removed with its content at exit. Owned by the library. */
const char *test_dir(void);
const char *test_source_dir(void); /* the project's root */

#define assert_str(got, want_literal)                                                                                  \
    do {                                                                                                               \
        struct str got_ = (got);                                                                                       \
        struct str want_ = STR(want_literal);                                                                          \
        if (!str_eq(got_, want_))                                                                                      \
            fail_msg("got \"" STR_FMT "\", want \"" STR_FMT "\"", STR_ARG(got_), STR_ARG(want_));                      \
    } while (0)

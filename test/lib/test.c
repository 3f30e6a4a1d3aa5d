// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"
#include <ftw.h>
#include <unistd.h>

uint64_t test_seed(void)
{
    static uint64_t seed;
    if (!seed) {
        const char *z = getenv("HUNE_TEST_SEED");
        if (!z || !parse_u64(str_of(z), &seed) || !seed)
            rand_secure(&seed, sizeof(seed));
        if (!seed)
            seed = 1;
        print_message("HUNE_TEST_SEED=%llu\n", (unsigned long long)seed);
    }
    return seed;
}

unsigned test_rounds(unsigned dflt)
{
    const char *z = getenv("HUNE_TEST_SCALE");
    uint64_t scale;
    return z && parse_u64(str_of(z), &scale) && scale > 0 && scale < 100000 ? dflt * (unsigned)scale : dflt;
}

static char *dirs[64];
static size_t n_dirs;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_dirs(void)
{
    for (size_t i = 0; i < n_dirs; i++) {
        nftw(dirs[i], remove_one, 16, FTW_DEPTH | FTW_PHYS);
        free(dirs[i]);
    }
}

const char *test_dir(void)
{
    const char *tmp = getenv("TMPDIR");
    char *path = xasprintf("%s/hune-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(path));
    if (n_dirs == 0)
        atexit(remove_dirs);
    assert_true(n_dirs < ARRAY_LEN(dirs));
    return dirs[n_dirs++] = path;
}

const char *test_source_dir(void)
{
    const char *z = getenv("HUNE_TEST_SOURCE");
    return z ? z : ".";
}

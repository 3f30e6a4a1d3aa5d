// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "apps/apps_int.h"
#include "base/limits.h"
#include "base/mem.h"
#include "sys/fs.h"
#include <unistd.h>

static void rings(void **state)
{
    (void)state;
    struct ring r = {0};
    char text[64];
    for (unsigned i = 1; i <= 5000; i++) {
        int n = snprintf(text, sizeof(text), "line %u", i);
        ring_push(&r, i, 0, 1, str_make(text, (size_t)n));
    }
    assert_int_equal(r.n, limit(app_log_lines));
    assert_int_equal(ring_at(&r, r.n - 1)->n, 5000);
    assert_int_equal(ring_at(&r, 0)->n, 5000 - limit(app_log_lines) + 1);
    char *big = xcalloc(1, 100000);
    memset(big, 'x', 100000);
    for (unsigned i = 0; i < 10; i++)
        ring_push(&r, 6000 + i, 0, 2, str_make(big, 100000));
    assert_true(r.bytes <= (size_t)limit(app_log_bytes));
    assert_int_equal(r.n, 2);
    free(big);
    ring_done(&r);
}

/* Paging backwards gives every line once, whatever the page size. */
static void files(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char *path = fs_join(dir, "api-out.log");
    _cleanup_buf_ struct buf b = BUF_INIT(8 << 20);
    struct rand_state rnd;
    rand_seed(&rnd, test_seed());
    for (unsigned i = 0; i < 20000; i++)
        buf_fmt(&b, "%u %.*s\n", i, (int)rand_below(&rnd, 60),
                "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmn");
    buf_z(&b, "unfinished");
    assert_int_equal(fs_write_file(&vfs_real, path, buf_view(&b), 0600), 0);
    for (unsigned round = 0; round < 4; round++) {
        struct arena *a = arena_new(0);
        uint64_t before = 0;
        size_t page = 1 + rand_below(&rnd, 3000), seen = 0;
        do {
            struct str *v;
            size_t n;
            assert_int_equal(lines_read(path, before, page, a, &v, &n, &before), 0);
            for (size_t i = n; i-- > 0; seen++) {
                char want[32];
                int w = seen == 0 ? snprintf(want, sizeof(want), "unfinished")
                                  : snprintf(want, sizeof(want), "%zu ", 20000 - seen);
                assert_true(str_starts(v[i], str_make(want, (size_t)w)));
            }
            assert_true(n > 0);
        } while (before > 0);
        assert_int_equal(seen, 20001);
        arena_free(a);
    }
    char *one = fs_join(dir, "api-out.3.log"), *two = fs_join(dir, "api-out.12.log"),
         *other = fs_join(dir, "api-out.x.log");
    assert_int_equal(fs_write_file(&vfs_real, one, STR("a\n"), 0600), 0);
    assert_int_equal(fs_write_file(&vfs_real, two, STR("b\n"), 0600), 0);
    assert_int_equal(fs_write_file(&vfs_real, other, STR("c\n"), 0600), 0);
    char *got = lines_rotated(path, 1), *older = lines_rotated(path, 2), *none = lines_rotated(path, 3);
    assert_string_equal(got, two);
    assert_string_equal(older, one);
    assert_null(none);
    struct str *v;
    size_t n;
    uint64_t from;
    struct arena *a = arena_new(0);
    assert_int_equal(lines_read("/nonexistent", 0, 10, a, &v, &n, &from), -ENOENT);
    assert_int_equal(lines_read("/dev/null", 0, 10, a, &v, &n, &from), -EINVAL);
    arena_free(a);
    free(got), free(older), free(one), free(two), free(other), free(path);
}

static void usage(void **state)
{
    (void)state;
    struct usage u;
    assert_true(usage_of(getpid(), &u));
    assert_true(u.rss_bytes > 100000 && u.processes >= 1);
    assert_false(usage_of(1 << 29, &u));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rings), cmocka_unit_test(files), cmocka_unit_test(usage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

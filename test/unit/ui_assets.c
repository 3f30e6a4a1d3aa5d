// SPDX-License-Identifier: Apache-2.0
#include "test.h"
#include "ui/ui.h"

static void views_fall_back_to_the_index(void **state)
{
    (void)state;
    const struct ui_asset *index = ui_find(STR("/index.html"));

    assert_non_null(index);
    assert_ptr_equal(ui_find(STR("/")), index);
    assert_ptr_equal(ui_find(STR("/anomalies/ANO-20261122-001")), index);
    assert_ptr_equal(ui_find(STR("/processes/api.js")), index);
    assert_ptr_equal(ui_find(STR("/graph")), index);
    assert_false(index->immutable);
    assert_true(str_starts(index->type, STR("text/html")));
}

static void other_paths_are_not_found(void **state)
{
    (void)state;
    assert_null(ui_find(STR("")));
    assert_null(ui_find(STR("alerts")));
    assert_null(ui_find(STR("/api/v1/query")));
    assert_null(ui_find(STR("/metrics")));
    assert_null(ui_find(STR("/assets/gone.js")));
    assert_null(ui_find(STR("/alertsx")));
    assert_null(ui_find(STR("/../etc/passwd")));
}

static void rows_are_sorted_and_whole(void **state)
{
    (void)state;
    size_t n;
    const struct ui_asset *all = ui_assets(&n);

    assert_true(n >= 1);
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(ui_find(all[i].path), &all[i]);
        assert_true(i == 0 || str_cmp(all[i - 1].path, all[i].path) < 0);
        assert_true(all[i].body.n > 0);
        assert_true(all[i].etag.n > 2 && all[i].etag.p[0] == '"' && all[i].etag.p[all[i].etag.n - 1] == '"');
        assert_true(all[i].type.n > 0);
        if (all[i].gzip.n) {
            assert_memory_equal(all[i].gzip.p, "\x1f\x8b\x08", 3);
            assert_true(all[i].gzip.n < all[i].body.n);
        }
        assert_true(all[i].brotli.n < all[i].body.n);
        assert_int_equal(all[i].immutable, str_starts(all[i].path, STR("/assets/")));
    }
}

static void whole_page_fits_its_budget(void **state)
{
    (void)state;
    size_t n, sum = 0;
    const struct ui_asset *all = ui_assets(&n);

    for (size_t i = 0; i < n; i++) {
        sum += all[i].gzip.n ? all[i].gzip.n : all[i].body.n;
    }
    assert_true(sum <=
                350 * 1024); /* issue 2: transferred size, every view opened, in the worse of the two encodings */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_fall_back_to_the_index),
        cmocka_unit_test(other_paths_are_not_found),
        cmocka_unit_test(rows_are_sorted_and_whole),
        cmocka_unit_test(whole_page_fits_its_budget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

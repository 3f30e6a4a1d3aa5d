// SPDX-License-Identifier: Apache-2.0
/* Maps against a plain array, arenas against their own bytes, civil dates against the C library. */
#include "test.h"

#include "base/arena.h"
#include "base/bytes.h"
#include "base/format.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/parse.h"
#include <time.h>

#define KEYS 300

static void test_map(void **state)
{
    (void)state;
    struct rand_state r;
    rand_seed(&r, test_seed());
    struct map m = {0};
    struct idmap ids = {0};
    static char names[KEYS][8];
    uint64_t model[KEYS] = {0};
    for (size_t i = 0; i < KEYS; i++)
        snprintf(names[i], sizeof(names[i]), "k%zu", i);
    for (unsigned step = 0; step < test_rounds(200000); step++) {
        size_t k = rand_below(&r, KEYS);
        struct str key = str_of(names[k]);
        uint64_t v = rand_u64(&r) | 1, got = 0;
        if (rand_below(&r, 5) < 2) {
            assert_int_equal((uintptr_t)map_del(&m, key), model[k]);
            assert_int_equal(idmap_del(&ids, k), model[k] != 0);
            model[k] = 0;
        } else {
            assert_int_equal((uintptr_t)map_put(&m, key, (void *)(uintptr_t)v), model[k]);
            idmap_put(&ids, k, v);
            model[k] = v;
        }
        k = rand_below(&r, KEYS);
        assert_int_equal((uintptr_t)map_get(&m, str_of(names[k])), model[k]);
        assert_int_equal(idmap_get(&ids, k, &got), model[k] != 0);
        assert_int_equal(got, model[k]);
    }
    size_t n = 0, want = 0;
    for (struct map_entry *e = NULL; (e = map_next(&m, e));)
        n++;
    for (size_t i = 0; i < KEYS; i++)
        want += model[i] != 0;
    assert_int_equal(n, want);
    assert_int_equal(m.n, want);
    map_done(&m);
    idmap_done(&ids);
}

static void test_arena(void **state)
{
    (void)state;
    struct rand_state r;
    rand_seed(&r, test_seed());
    struct arena *a = arena_new(8 << 20);
    for (unsigned round = 0; round < test_rounds(20); round++) {
        unsigned char *p[500];
        size_t size[500];
        for (size_t i = 0; i < 500; i++) {
            size[i] = rand_below(&r, rand_below(&r, 10) ? 200 : 9000);
            p[i] = arena_alloc(a, size[i]);
            assert_int_equal((uintptr_t)p[i] % 16, 0);
            for (size_t k = 0; k < size[i]; k++)
                assert_int_equal(p[i][k], 0);
            memset(p[i], (int)(i & 0xff), size[i]);
        }
        for (size_t i = 0; i < 500; i++)
            for (size_t k = 0; k < size[i]; k++)
                assert_int_equal(p[i][k], i & 0xff);
        arena_reset(a);
    }
    assert_null(arena_try(a, 9 << 20)); /* over budget: no memory, no abort */
    assert_non_null(arena_try(a, 1 << 20));
    arena_free(a);
}

static void test_varints(void **state)
{
    (void)state;
    struct rand_state r;
    rand_seed(&r, test_seed());
    for (unsigned i = 0; i < test_rounds(100000); i++) {
        int64_t v = (int64_t)(rand_u64(&r) >> rand_below(&r, 64)) * (rand_below(&r, 2) ? 1 : -1);
        uint8_t b[VARINT_MAX];
        size_t n = put_varint(b, v);
        const uint8_t *p = b;
        int64_t got = 0;
        assert_true(get_varint(&p, b + n, &got));
        assert_true(got == v && p == b + n);
        p = b;
        assert_false(get_varint(&p, b + n - 1, &got));
    }
}

static void test_dates(void **state)
{
    (void)state;
    struct rand_state r;
    rand_seed(&r, test_seed());
    for (unsigned i = 0; i < test_rounds(20000); i++) {
        int64_t ms = (int64_t)rand_below(&r, 8000000000000ULL) - 2000000000000LL;
        struct buf b = BUF_INIT(64);
        format_rfc3339_ms(&b, ms);
        int64_t again;
        assert_true(parse_rfc3339_ms(buf_view(&b), &again));
        assert_int_equal(again, ms);
        time_t t = (time_t)(ms >= 0 ? ms / 1000 : (ms - 999) / 1000);
        struct tm tm;
        gmtime_r(&t, &tm);
        char want[32];
        strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S", &tm);
        assert_memory_equal(b.p, want, strlen(want));
        buf_done(&b);
    }
}

static void test_crc(void **state)
{
    (void)state;
    assert_int_equal(hash_crc32c(0, "123456789", 9), 0xE3069283); /* RFC 3720 check value */
    uint32_t part = hash_crc32c(0, "12345", 5);
    assert_int_equal(hash_crc32c(part, "6789", 4), 0xE3069283);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_map), cmocka_unit_test(test_arena),
                                       cmocka_unit_test(test_varints), cmocka_unit_test(test_dates),
                                       cmocka_unit_test(test_crc)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

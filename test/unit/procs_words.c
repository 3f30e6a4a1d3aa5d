// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "procs/procs_int.h"
#include "base/utf8.h"
#include <signal.h>

/* The conversions of a printf format, without its words. */
static void conversions(const char *z, char *out, size_t size)
{
    size_t n = 0;
    for (; *z; z++) {
        if (*z != '%')
            continue;
        do
            out[n++] = *z++;
        while (*z && !strchr("diuxsc%", *z) && n < size - 3);
        out[n++] = *z;
    }
    out[n] = 0;
}

static void test_both_languages_take_the_same(void **state)
{
    (void)state;
    for (int w = 0; w < W_COUNT; w++) {
        const char *en = word_in((enum word)w, false), *fr = word_in((enum word)w, true);
        assert_true(en && *en && fr && *fr);
        assert_true(utf8_valid(str_of(fr)));
        char a[128], b[128];
        conversions(en, a, sizeof(a));
        conversions(fr, b, sizeof(b));
        if (strcmp(a, b) != 0)
            fail_msg("\"%s\" takes %s, \"%s\" takes %s", en, a, fr, b);
    }
}

static void test_verbs(void **state)
{
    (void)state;
    for (size_t i = 0; i < procs_n_verbs; i++) {
        const struct procs_verb *v = &procs_verbs[i];
        assert_true(v->run && v->usage && v->help_en && v->help_fr && v->more_en && v->more_fr);
        assert_int_equal(strncmp(v->usage, v->name, strlen(v->name)), 0);
        assert_non_null(strstr(v->more_en, "Examples:"));
        assert_non_null(strstr(v->more_fr, "Exemples :"));
        assert_ptr_equal(procs_find(v->name), v);
        for (size_t k = 0; k < ARRAY_LEN(v->aliases) && v->aliases[k]; k++)
            assert_ptr_equal(procs_find(v->aliases[k]), v);
    }
    assert_null(procs_find("nothing"));
}

static void test_language(void **state)
{
    (void)state;
    unsetenv("LC_MESSAGES");
    setenv("LC_ALL", "fr_FR.UTF-8", 1);
    setenv("LANG", "en_US.UTF-8", 1);
    assert_true(procs_french());
    setenv("LC_ALL", "C", 1);
    setenv("LANG", "fr_CA", 1);
    assert_false(procs_french());
    unsetenv("LC_ALL");
    assert_true(procs_french());
    unsetenv("LANG");
    assert_false(procs_french());
}

static void test_args(void **state)
{
    (void)state;
    char *argv[] = {"start", "app.js", "--name=x", "-n", "y",  "--data.dir", "/d",
                    "-k",    "5s",     "--lines",  "7",  "--", "--name"};
    struct args a = args_of(ARRAY_LEN(argv), argv);
    const char *w;
    assert_int_equal(args_next(&a, &w), ARGS_WORD);
    assert_string_equal(w, "app.js");
    assert_int_equal(args_next(&a, &w), ARGS_FLAG);
    assert_true(args_is(&a, "--name", 'n') && !args_is(&a, "--nam", 0) && !args_is(&a, "--names", 0));
    assert_string_equal(args_value(&a), "x");
    assert_int_equal(args_next(&a, &w), ARGS_FLAG);
    assert_true(args_is(&a, "--name", 'n'));
    assert_string_equal(args_value(&a), "y");
    assert_int_equal(args_next(&a, &w), ARGS_FLAG); /* --data.dir was taken on the way */
    assert_string_equal(args_data_dir, "/d");
    uint64_t v;
    assert_true(args_is(&a, "--kill-timeout", 'k') && args_duration_ms(&a, &v) && v == 5000);
    assert_int_equal(args_next(&a, &w), ARGS_FLAG);
    assert_true(args_u64(&a, &v) && v == 7);
    assert_int_equal(args_next(&a, &w), ARGS_REST);
    assert_string_equal(argv[a.at], "--name");
    int sig = 0;
    assert_true(args_signal(&a, "SIGHUP", &sig) && sig == SIGHUP);
    assert_true(args_signal(&a, "usr2", &sig) && sig == SIGUSR2);
    assert_true(args_signal(&a, "9", &sig) && sig == SIGKILL);
    assert_false(args_signal(&a, "99", &sig));
    assert_true(a.bad);
    args_data_dir = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_languages_take_the_same),
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_language),
        cmocka_unit_test(test_args),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

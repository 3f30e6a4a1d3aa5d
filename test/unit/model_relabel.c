// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "model/relabel.h"
#include "test.h"

struct fixture {
    struct arena *a;
    struct labels_builder b;
};

/* Labels as k=v pairs separated by commas, sorted. */
static struct str run(struct fixture *f, const char *labels, const struct relabel_rule *proto, size_t n)
{
    f->a = arena_new(0);
    struct label v[16];
    size_t k = 0;
    struct str rest = str_of(labels), item;
    while (!str_empty(rest)) {
        str_cut(rest, ',', &item, &rest);
        str_cut(item, '=', &v[k].name, &v[k].value);
        k++;
    }
    lb_init(&f->b, (struct labels){0});
    for (size_t i = 0; i < k; i++)
        lb_set(&f->b, v[i].name, v[i].value);
    struct relabel_rule r[8];
    struct err e = {0};
    for (size_t i = 0; i < n; i++) {
        r[i] = proto[i];
        if (relabel_rule_check(&r[i], &e) < 0)
            fail_msg("%s", e.msg);
    }
    bool keep = relabel_apply(r, n, &f->b, f->a);
    for (size_t i = 0; i < n; i++)
        relabel_rule_done(&r[i]);
    if (!keep)
        return STR("(dropped)");
    struct labels out = lb_labels(&f->b, f->a);
    struct buf text = BUF_INIT(4096);
    for (size_t i = 0; i < out.n; i++)
        buf_fmt(&text, "%s" STR_FMT "=" STR_FMT, i ? "," : "", STR_ARG(out.v[i].name), STR_ARG(out.v[i].value));
    struct str s = arena_str(f->a, buf_view(&text));
    buf_done(&text);
    return s;
}

#define RULES(...)                                                                                                     \
    (const struct relabel_rule[])                                                                                      \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define SRC(...)                                                                                                       \
    .sources = (const struct str[]){__VA_ARGS__}, .n_sources = ARRAY_LEN(((const struct str[]){__VA_ARGS__}))
#define RE(s) .pattern = STR(s), .pattern_set = true
#define REP(s) .replacement = STR(s), .replacement_set = true

#define CASE(labels, want, ...)                                                                                        \
    do {                                                                                                               \
        struct fixture f = {0};                                                                                        \
        const struct relabel_rule rules[] = {__VA_ARGS__};                                                             \
        assert_str(run(&f, labels, rules, ARRAY_LEN(rules)), want);                                                    \
        lb_done(&f.b);                                                                                                 \
        arena_free(f.a);                                                                                               \
    } while (0)

static void actions(void **state)
{
    (void)state;
    CASE("a=foo,b=bar", "a=foo,b=bar,d=foo", {.action = RELABEL_REPLACE, SRC(STR("a")), .target = STR("d")});
    CASE("a=foo,b=bar", "a=foo,b=bar,d=oo-foo;bar",
         {.action = RELABEL_REPLACE,
          SRC(STR("a"), STR("b")),
          .target = STR("d"),
          RE("f(.*);(.*)r"),
          REP("oo-f${1};${2}r")});
    CASE("a=foo", "a=foo", {.action = RELABEL_REPLACE, SRC(STR("a")), .target = STR("d"), RE("x.*")});
    CASE("a=foo,d=x", "a=foo", {.action = RELABEL_REPLACE, SRC(STR("gone")), .target = STR("d")});
    CASE("a=foo", "a=foo,d=x", {.action = RELABEL_REPLACE, .target = STR("d"), REP("x")});
    CASE("a=foo", "a=foo,foo_x=y",
         {.action = RELABEL_REPLACE, SRC(STR("a")), .target = STR("${1}_x"), RE("(.*)"), REP("y")});
    CASE("a=foo-bar", "a=foo-bar",
         {.action = RELABEL_REPLACE, SRC(STR("a")), .target = STR("$1"), REP("y"), .legacy_names = true});
    CASE("a=x\ny", "a=x\ny,d=hit",
         {.action = RELABEL_REPLACE, SRC(STR("a")), .target = STR("d"), RE("x.y"), REP("hit")});
    CASE("a=foo", "a=foo", {.action = RELABEL_KEEP, SRC(STR("a")), RE("f.*")});
    CASE("a=foo", "(dropped)", {.action = RELABEL_KEEP, SRC(STR("a")), RE("f")});
    CASE("a=foo", "(dropped)", {.action = RELABEL_DROP, SRC(STR("a")), RE("foo|bar")});
    CASE("a=foo", "a=foo", {.action = RELABEL_DROP, SRC(STR("a")), RE("fo")});
    CASE("a=foo,b=foo", "a=foo,b=foo", {.action = RELABEL_KEEPEQUAL, SRC(STR("a")), .target = STR("b")});
    CASE("a=foo,b=bar", "(dropped)", {.action = RELABEL_KEEPEQUAL, SRC(STR("a")), .target = STR("b")});
    CASE("a=foo,b=foo", "(dropped)", {.action = RELABEL_DROPEQUAL, SRC(STR("a")), .target = STR("b")});
    /* reference values by another MD5 */
    CASE("a=foo,b=bar", "a=foo,b=bar,d=750",
         {.action = RELABEL_HASHMOD, SRC(STR("a"), STR("b")), .target = STR("d"), .modulus = 1000});
    CASE("a=foo", "a=foo,d=958", {.action = RELABEL_HASHMOD, SRC(STR("no")), .target = STR("d"), .modulus = 1000});
    CASE("__meta_x=1,__meta_y=2,z=3", "__meta_x=1,__meta_y=2,x=1,y=2,z=3",
         {.action = RELABEL_LABELMAP, RE("__meta_(.+)")});
    CASE("a1=1,a2=2,b=3", "b=3", {.action = RELABEL_LABELDROP, RE("a.")});
    CASE("a1=1,a2=2,b=3", "a1=1,a2=2", {.action = RELABEL_LABELKEEP, RE("a.")});
    CASE("a=Föö É", "a=Föö É,b=föö é", {.action = RELABEL_LOWERCASE, SRC(STR("a")), .target = STR("b")});
    CASE("a=Föö é", "a=Föö é,b=FÖÖ É", {.action = RELABEL_UPPERCASE, SRC(STR("a")), .target = STR("b")});
    CASE("a=foo", "(dropped)", {.action = RELABEL_REPLACE, SRC(STR("a")), .target = STR("t")},
         {.action = RELABEL_DROP, SRC(STR("t")), RE("foo")});
}

static void bad_rules_are_refused(void **state)
{
    (void)state;
    static const struct str one[] = {{"a", 1}};
    const struct {
        struct relabel_rule r;
        const char *why;
    } cases[] = {
        {{.action = RELABEL_REPLACE}, "requires 'target_label'"},
        {{.action = RELABEL_HASHMOD, .target = STR("x")}, "non-zero modulus"},
        {{.action = RELABEL_REPLACE, .target = STR("a-b"), .legacy_names = true}, "invalid 'target_label'"},
        {{.action = RELABEL_LOWERCASE, .target = STR("x"), REP("y")}, "'replacement' can not be set"},
        {{.action = RELABEL_LABELMAP, REP("a-b"), .legacy_names = true}, "invalid 'replacement'"},
        {{.action = RELABEL_LABELMAP, REP("")}, "invalid 'replacement'"},
        {{.action = RELABEL_KEEPEQUAL, .target = STR("x"), RE("y")}, "no other fields"},
        {{.action = RELABEL_LABELDROP, .sources = one, .n_sources = 1}, "requires only 'regex'"},
        {{.action = RELABEL_KEEP, RE("(")}, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct relabel_rule r = cases[i].r;
        struct err e = {0};
        assert_int_equal(relabel_rule_check(&r, &e), -EINVAL);
        if (!strstr(e.msg, cases[i].why))
            fail_msg("got \"%s\", want \"%s\"", e.msg, cases[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(actions), cmocka_unit_test(bad_rules_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

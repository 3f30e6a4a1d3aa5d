// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "discover/discover.h"
#include "test.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

struct catcher {
    struct target_sink sink;
    pthread_mutex_t lock;
    struct {
        char source[256], first[64], label[64];
        size_t n;
    } groups[16];
    size_t n;
};

static void update(struct target_sink *ts, uint64_t generation, struct str pool, const struct target_group *g, size_t n)
{
    struct catcher *c = CONTAINER_OF(ts, struct catcher, sink);
    assert_true(generation > 0);
    assert_str(pool, "j");
    (void)pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < c->n && !str_eqz(g[i].source, c->groups[k].source))
            k++;
        if (k == c->n)
            c->n++;
        (void)snprintf(c->groups[k].source, sizeof(c->groups[k].source), STR_FMT, STR_ARG(g[i].source));
        c->groups[k].n = g[i].n;
        struct str first = g[i].n ? labels_get(g[i].targets[0], STR("__address__")) : STR("");
        (void)snprintf(c->groups[k].first, sizeof(c->groups[k].first), STR_FMT, STR_ARG(first));
        (void)snprintf(c->groups[k].label, sizeof(c->groups[k].label), STR_FMT,
                       STR_ARG(labels_get(g[i].labels, STR("l"))));
    }
    (void)pthread_mutex_unlock(&c->lock);
}

static size_t targets(struct catcher *c)
{
    size_t n = 0;
    (void)pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->n; i++)
        n += c->groups[i].n;
    (void)pthread_mutex_unlock(&c->lock);
    return n;
}

static bool becomes(struct catcher *c, size_t want)
{
    for (int i = 0; i < 300; i++) {
        if (targets(c) == want)
            return true;
        (void)poll(NULL, 0, 10);
    }
    return false;
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void files_are_followed(void **state)
{
    (void)state;
    const char *dir = test_dir();
    put(dir, "a.json", "[{\"targets\":[\"a:1\",\"b:1\"],\"labels\":{\"l\":\"x\"}},{\"targets\":[\"c:1\"]}]");
    put(dir, "b.yml", "- targets: [d:1]\n  labels: {l: y}\n");
    struct promfile *f;
    struct err e = {0};
    char text[1024];
    (void)snprintf(text, sizeof(text),
                   "scrape_configs: [{job_name: j, static_configs: [{targets: [s:1]}], file_sd_configs: [{files: "
                   "['%s/*.json', '%s/b.yml']}]}]",
                   dir, dir);
    if (promfile_parse(str_of(text), "p", "", 0, &f, &e) < 0)
        fail_msg("%s", e.msg);
    struct catcher c = {.sink = {update}, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct discover *d = discover_new();
    struct discover_pool pool = {f->scrapes[0].job, &f->scrapes[0].sds, &c.sink};
    discover_apply(d, f, &pool, 1);
    assert_int_equal(targets(&c), 5); /* at once */
    put(dir, "a.json", "[{\"targets\":[\"a:1\",\"b:1\"]}]");
    assert_true(becomes(&c, 4));
    put(dir, "a.json", "[{\"targets\":");
    (void)poll(NULL, 0, 150);
    assert_int_equal(targets(&c), 4); /* the last good content stays */
    put(dir, "new.json", "[{\"targets\":[\"n:1\"]}]");
    assert_true(becomes(&c, 5));
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/b.yml", dir);
    assert_int_equal(unlink(path), 0);
    assert_true(becomes(&c, 4));
    discover_apply(d, f, &pool, 0);
    discover_free(d);
    promfile_unref(f);
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"x.json", "{}"},
        {"x.json", "[{\"target\":[]}]"},
        {"x.json", "[{\"targets\":[1]}]"},
        {"x.yml", "targets: []"},
        {"x.yml", "- targets: a:1\n"},
        {"x.yml", "- targets: [a:1]\n  labels: [x]\n"},
        {"x.yml", "- target: [a:1]\n"},
    };
    const char *dir = test_dir();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new(0);
        struct target_group *g;
        size_t n;
        struct err e = {0};
        char path[512];
        put(dir, cases[i][0], cases[i][1]);
        (void)snprintf(path, sizeof(path), "%s/%s", dir, cases[i][0]);
        assert_int_equal(discover_read_file(path, a, &g, &n, &e), -EINVAL);
        assert_non_null(strstr(e.msg, cases[i][0]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_are_followed), cmocka_unit_test(bad_files_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* Alertmanager's own cases, where the shared conformance folder is present: configurations taken or refused, routes,
 * templates. */
#include "test.h"
#include "base/arena.h"
#include "codec/json.h"
#include "notify/notify.h"
#include <stdio.h>

static char root[512];
static size_t right, wrong;

static struct str slurp(struct arena *a, const char *path)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 << 20);
    return fs_read_file(path, &b) ? STR_NULL : arena_str(a, buf_view(&b));
}

static void verdict(const struct json *c, bool ok, const char *why, struct str got)
{
    if (ok) {
        right++;
        return;
    }
    wrong++;
    struct str id = json_str(c, "id", STR("?")), want = json_str(c, "stdout", STR(""));
    print_message("WRONG " STR_FMT ": %s\n  got  [" STR_FMT "]\n  want [" STR_FMT "]\n", STR_ARG(id), why, STR_ARG(got),
                  STR_ARG(want));
}

static void config_case(const struct json *c, const char *path, bool accept)
{
    struct notify_config *k = NULL;
    struct err e = {0};
    int r = notify_config_load(path, NULL, NULL, &k, &e);
    verdict(c, (r == 0) == accept, r ? e.msg : "accepted", STR_NULL);
    notify_config_free(k);
}

static void route_case(struct arena *a, const struct json *c, const char *path)
{
    struct notify_config *k = NULL;
    struct err e = {0};
    if (notify_config_load(path, NULL, NULL, &k, &e)) {
        verdict(c, false, e.msg, STR_NULL);
        return;
    }
    const struct json *labels = json_get(c, "labels");
    struct labels_builder b = {0};
    lb_init(&b, (struct labels){0});
    for (size_t i = 0; i < labels->n; i++) {
        struct matcher *m;
        size_t n;
        if (notify_matchers_parse(labels->items[i].s, a, &m, &n, NULL, &e) || n != 1)
            fail_msg("%s", e.msg);
        lb_set(&b, m->name, m->value);
        matcher_done(m);
    }
    struct str *names;
    size_t n;
    notify_config_route(k, lb_labels(&b, a), a, &names, &n);
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 16);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(&out, ',');
        buf_str(&out, names[i]);
    }
    buf_putc(&out, '\n');
    verdict(c, str_eq(buf_view(&out), json_str(c, "stdout", STR(""))), "routes", buf_view(&out));
    lb_done(&b);
    notify_config_free(k);
}

static void template_case(struct arena *a, const struct json *c, const char *path, bool accept)
{
    struct notify_config *k = notify_config_default();
    struct err e = {0};
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    int r = notify_template_render(k, json_str(c, "text", STR("")), str_eqz(json_str(c, "type", STR("")), "html"),
                                   slurp(a, path), 0, &out, &e);
    if (!accept)
        verdict(c, r != 0, "accepted", buf_view(&out));
    else
        verdict(c, r == 0 && str_eq(buf_view(&out), json_str(c, "stdout", STR(""))), e.msg, buf_view(&out));
    notify_config_free(k);
}

static void upstream_cases(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *a = arena_new(0);
    char path[1024];
    snprintf(root, sizeof(root), "%s/../shared/conformance/clicheck", test_source_dir());
    snprintf(path, sizeof(path), "%s/manifest.jsonl", root);
    struct str rest = slurp(a, path), line;
    if (!rest.n) {
        print_message("no conformance folder: nothing to do\n");
        return;
    }
    while (str_line(&rest, &line)) {
        _cleanup_arena_ struct arena *one = arena_new(0);
        const struct json *c;
        struct err e = {0};
        if (!line.n)
            continue;
        if (json_parse(line, one, &c, &e))
            fail_msg("manifest: %s", e.msg);
        struct str kind = json_str(c, "kind", STR("")), file = json_str(c, "file", STR(""));
        bool accept = str_eqz(json_str(c, "expect", STR("")), "accept");
        snprintf(path, sizeof(path), "%s/" STR_FMT, root, STR_ARG(file));
        if (str_eqz(kind, "am-check-config"))
            config_case(c, path, accept);
        else if (str_eqz(kind, "am-routes"))
            route_case(one, c, path);
        else if (str_eqz(kind, "am-template"))
            template_case(one, c, path, accept);
    }
    print_message("%zu right, %zu wrong\n", right, wrong);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(upstream_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
#include "app/generation.h"

#include "base/log.h"
#include "base/parse.h"
#include "promql/promql.h"
#include "sys/fs.h"
#include <unistd.h>

struct generation *generation_free(struct generation *g)
{
    if (!g)
        return NULL;
    promfile_unref(g->prom);
    rules_config_free(g->rules);
    notify_config_free(g->notify);
    buf_done(&g->warnings);
    arena_free(g->arena);
    free(g);
    return NULL;
}

static int check_expr(struct str expr, struct err *e)
{
    struct promql *p = NULL;
    int r = promql_parse(expr, &p, e);
    promql_free(p);
    return r;
}

static void warn(void *ctx, const char *text)
{
    struct generation *g = ctx;
    buf_z(&g->warnings, text);
    buf_putc(&g->warnings, '\n');
}

static char *folder_of(struct arena *a, const char *path)
{
    struct str p = str_of(path);
    ptrdiff_t slash = str_rchr(p, '/');
    return slash < 0 ? arena_strz(a, STR(".")) : arena_strz(a, str_sub(p, 0, slash ? (size_t)slash : 1));
}

/* Without a Prometheus file there is nothing to scrape but what hune watches by itself. */
static int builtin_prom(struct generation *g, struct err *e)
{
    struct str text = arena_fmt(
        g->arena, "global:\n  scrape_interval: %llds\n  scrape_timeout: %llds\n  evaluation_interval: %llds\n",
        (long long)MAX(g->file.interval_ms / 1000, 1), (long long)MAX(g->file.interval_ms / 1000, 1),
        (long long)MAX(g->file.interval_ms / 1000, 1));
    return promfile_parse(text, "built-in", ".", 0, &g->prom, e);
}

/* config.file is a hune.yml when its first key says so, else a prometheus.yml that means exactly what it says. */
static int read_config_file(struct generation *g, const struct options *o, struct err *e)
{
    const char *path = arena_strz(g->arena, o->config_file);
    struct config_ctx c = {.file = path, .dir = folder_of(g->arena, path), .arena = g->arena, .err = e};
    struct yaml_node *root;
    int r = config_load(&c, path, &root);
    if (r)
        return r;
    if (!yaml_get(root, "hune")) {
        g->file = (struct hunefile){.prometheus = str_of(path), .interval_ms = 15000, .environment = STR("production")};
        return promfile_load(path, 0, &g->prom, e);
    }
    r = config_read(&c, &hunefile_schema, root, &g->file);
    if (r)
        return r;
    if (g->file.prometheus.n)
        return promfile_load(arena_strz(g->arena, g->file.prometheus), 0, &g->prom, e);
    return builtin_prom(g, e);
}

static int load_rules(struct generation *g, struct err *e)
{
    VEC(struct rules_file) files = {0};
    const struct config_strs *lists[] = {&g->prom->rule_files, &g->file.rules};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct rules_file *found = NULL;
        size_t n = 0;
        int r = rules_glob(".", lists[i], g->arena, &found, &n);
        if (r) {
            vec_done(&files);
            return r;
        }
        for (size_t k = 0; k < n; k++)
            vec_push(&files, found[k]);
    }
    for (const struct rules_file *f = rules_shipped; g->file.default_rules && f->path; f++)
        vec_push(&files, *f);
    struct rules_load l = {
        .files = files.v,
        .n_files = files.n,
        .default_interval_ms = g->prom->global.evaluation_interval_ms,
        .default_offset_ms = g->prom->global.rule_query_offset_ms,
        .check_expr = check_expr,
    };
    int r = rules_config_load(&l, &g->rules, e);
    vec_done(&files);
    return r;
}

static int load_notify(struct generation *g, const struct options *o, struct err *e)
{
    struct str path = o->alertmanager_file.n ? o->alertmanager_file : g->file.alertmanager;
    if (!path.n) {
        g->notify = notify_config_default();
        return 0;
    }
    g->alertmanager = true;
    return notify_config_load(arena_strz(g->arena, path), warn, g, &g->notify, e);
}

int generation_load(const struct options *o, struct generation **ret, struct err *e)
{
    struct generation *g = NEW(struct generation);
    g->arena = arena_new(0);
    buf_init(&g->warnings, 64 << 10);
    g->source = arena_str(g->arena, o->config_file);
    int r;
    if (o->config_file.n) {
        r = read_config_file(g, o, e);
    } else {
        struct config_ctx c = {.file = "built-in", .dir = ".", .arena = g->arena, .err = e};
        config_defaults(&c, &hunefile_schema, &g->file);
        r = builtin_prom(g, e);
    }
    if (r == 0)
        r = load_rules(g, e);
    if (r == 0)
        r = load_notify(g, o, e);
    if (r) {
        generation_free(g);
        return r;
    }
    for (size_t i = 0; i < g->prom->warnings.n; i++) {
        buf_str(&g->warnings, g->prom->warnings.v[i]);
        buf_putc(&g->warnings, '\n');
    }
    for (size_t i = 0; i < g->prom->n_alertmanagers; i++)
        if (g->prom->alertmanagers[i].alert_relabel.n)
            warn(g, "alerting.alertmanagers: alert_relabel_configs of a single Alertmanager are not acted on in this "
                    "version; those of "
                    "`alerting` are");
    *ret = g;
    return 0;
}

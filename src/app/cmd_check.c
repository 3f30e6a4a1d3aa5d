// SPDX-License-Identifier: Apache-2.0
/* hune check config|rules FILE...: promtool's words and exit codes. */
#include "app/cmd_int.h"

#include "app/generation.h"
#include "promql/promql.h"
#include <stdio.h>

#define OUT_BYTES ((size_t)16 << 20)

static int check_expr(struct str expr, struct err *e)
{
    struct promql *p = NULL;
    int r = promql_parse(expr, &p, e);
    promql_free(p);
    return r;
}

static int rules(const char *const *paths, size_t n)
{
    _cleanup_buf_ struct buf out = BUF_INIT(OUT_BYTES), err = BUF_INIT(OUT_BYTES);
    struct rules_check c = {.paths = paths, .n_paths = n, .check_expr = check_expr, .lint_duplicates = true};
    int code = rules_check(&c, &out, &err);
    fputs(buf_cstr(&out), stdout);
    fputs(buf_cstr(&err), stderr);
    return code;
}

/* A prometheus.yml with its rule files, or a hune.yml with all it names. */
static int config(const char *path, unsigned flags)
{
    _cleanup_arena_ struct arena *a = arena_new(0);
    _cleanup_buf_ struct buf out = BUF_INIT(OUT_BYTES);
    struct err e = {0};
    struct config_ctx c = {.file = path, .dir = ".", .arena = a, .err = &e};
    struct yaml_node *root;
    if (config_load(&c, path, &root) == 0 && yaml_get(root, "hune")) {
        struct options o = {.config_file = str_of(path)};
        struct generation *g = NULL;
        if (generation_load(&o, &g, &e)) {
            fprintf(stderr, "  FAILED: %s\n", e.msg);
            return 1;
        }
        printf(" SUCCESS: %s is valid hune config file syntax, %zu rules\n", path, rules_config_count(g->rules));
        fputs(buf_cstr(&g->warnings), stdout);
        generation_free(g);
        return 0;
    }
    struct config_strs files = {0};
    int r = promfile_check(path, flags, &out, &files, a);
    fputs(buf_cstr(&out), r ? stderr : stdout);
    if (r)
        return 1;
    const char **paths = xcalloc(files.n + 1, sizeof(*paths));
    for (size_t i = 0; i < files.n; i++)
        paths[i] = arena_strz(a, files.v[i]);
    int code = files.n ? rules(paths, files.n) : 0;
    free(paths);
    return code;
}

int cmd_check(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "config") == 0) {
        int code = 0;
        unsigned flags = 0;
        for (int i = 2; i < argc; i++) {
            if (strcmp(argv[i], "--syntax-only") == 0)
                flags = PROMFILE_SYNTAX_ONLY; /* as promtool: nothing the file points at is looked for */
            else
                code = MAX(code, config(argv[i], flags));
        }
        return code;
    }
    if (argc >= 3 && strcmp(argv[1], "rules") == 0)
        return rules((const char *const *)&argv[2], (size_t)(argc - 2));
    bool help = argc >= 2 && strcmp(argv[1], "--help") == 0;
    fprintf(help ? stdout : stderr, "%s",
            cmd_text("hune check config [--syntax-only] FILE...   a prometheus.yml with its rule files, or a hune.yml "
                     "with all it names\n"
                     "hune check rules FILE...    rule files\n"
                     "Exit code 0: good; 1: a problem, told as file:line:column; 3: lint findings.\n",
                     "hune check config [--syntax-only] FICHIER...   un prometheus.yml avec ses règles, ou un hune.yml "
                     "et ce qu'il nomme\n"
                     "hune check rules FICHIER...    des fichiers de règles\n"
                     "Code de retour 0 : bon ; 1 : un problème, dit comme fichier:ligne:colonne ; 3 : remarques.\n"));
    return help ? 0 : 2;
}

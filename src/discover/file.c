// SPDX-License-Identifier: Apache-2.0
/* Reading one target file: a list of {targets: [...], labels: {...}}, as JSON or YAML. */
#include "base/limits.h"
#include "base/utf8.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "discover/discover.h"
#include "sys/fs.h"

static int bad(struct err *e, const char *path, size_t group, const char *what)
{
    err_set(e, "%s: group %zu: %s", path, group, what);
    return -EINVAL;
}

/* JSON and YAML meet in this: one group as two lists. */
struct raw_group {
    struct str *targets;
    size_t n_targets;
    struct label *labels;
    size_t n_labels;
};

static int from_json(const char *path, struct str text, struct arena *a, struct raw_group **ret, size_t *ret_n,
                     struct err *e)
{
    const struct json *j;
    int r = json_parse(text, a, &j, e);
    if (r < 0) {
        err_prefix(e, "%s", path);
        return r;
    }
    if (j->kind != JSON_ARRAY) {
        err_set(e, "%s: a list of groups is wanted", path);
        return -EINVAL;
    }
    struct raw_group *v = ARENA_ARRAY(a, struct raw_group, j->n + 1);
    for (size_t i = 0; i < j->n; i++) {
        const struct json *g = &j->items[i];
        if (g->kind != JSON_OBJECT)
            return bad(e, path, i, "wants an object with targets and labels");
        for (size_t k = 0; k < g->n; k++)
            if (!str_eqz(g->keys[k], "targets") && !str_eqz(g->keys[k], "labels"))
                return bad(e, path, i, "unknown key, allowed: targets, labels");
        const struct json *targets = json_get(g, "targets"), *labels = json_get(g, "labels");
        if (targets && targets->kind == JSON_ARRAY) {
            v[i].targets = ARENA_ARRAY(a, struct str, targets->n + 1);
            for (size_t k = 0; k < targets->n; k++) {
                if (targets->items[k].kind != JSON_STRING)
                    return bad(e, path, i, "targets wants texts");
                v[i].targets[v[i].n_targets++] = targets->items[k].s;
            }
        } else if (targets && targets->kind != JSON_NULL) {
            return bad(e, path, i, "targets wants a list");
        }
        if (labels && labels->kind == JSON_OBJECT) {
            v[i].labels = ARENA_ARRAY(a, struct label, labels->n + 1);
            for (size_t k = 0; k < labels->n; k++) {
                if (labels->items[k].kind != JSON_STRING)
                    return bad(e, path, i, "label values want texts");
                v[i].labels[v[i].n_labels++] = (struct label){labels->keys[k], labels->items[k].s};
            }
        } else if (labels && labels->kind != JSON_NULL) {
            return bad(e, path, i, "labels wants an object");
        }
    }
    *ret = v;
    *ret_n = j->n;
    return 0;
}

static int from_yaml(const char *path, struct str text, struct arena *a, struct raw_group **ret, size_t *ret_n,
                     struct err *e)
{
    struct yaml_node *y;
    int r = yaml_parse(text, path, a, &y, e);
    if (r < 0)
        return r;
    if (y->kind != YAML_SEQ && y->kind != YAML_NULL) {
        err_set(e, "%s:%u:%u: a list of groups is wanted", path, y->line, y->col);
        return -EINVAL;
    }
    struct raw_group *v = ARENA_ARRAY(a, struct raw_group, y->n + 1);
    for (size_t i = 0; i < y->n; i++) {
        const struct yaml_node *g = y->items[i];
        if (g->kind != YAML_MAP)
            return bad(e, path, i, "wants a mapping with targets and labels");
        for (size_t k = 0; k < g->n; k++)
            if (!str_eqz(g->keys[k]->s, "targets") && !str_eqz(g->keys[k]->s, "labels"))
                return bad(e, path, i, "unknown key, allowed: targets, labels");
        const struct yaml_node *targets = yaml_get(g, "targets"), *labels = yaml_get(g, "labels");
        if (targets && targets->kind == YAML_SEQ) {
            v[i].targets = ARENA_ARRAY(a, struct str, targets->n + 1);
            for (size_t k = 0; k < targets->n; k++) {
                if (targets->items[k]->kind != YAML_SCALAR)
                    return bad(e, path, i, "targets wants texts");
                v[i].targets[v[i].n_targets++] = targets->items[k]->s;
            }
        } else if (targets && targets->kind != YAML_NULL) {
            return bad(e, path, i, "targets wants a list");
        }
        if (labels && labels->kind == YAML_MAP) {
            v[i].labels = ARENA_ARRAY(a, struct label, labels->n + 1);
            for (size_t k = 0; k < labels->n; k++) {
                if (labels->items[k]->kind != YAML_SCALAR && labels->items[k]->kind != YAML_NULL)
                    return bad(e, path, i, "label values want texts");
                v[i].labels[v[i].n_labels++] = (struct label){labels->keys[k]->s, labels->items[k]->s};
            }
        } else if (labels && labels->kind != YAML_NULL) {
            return bad(e, path, i, "labels wants a mapping");
        }
    }
    *ret = v;
    *ret_n = y->n;
    return 0;
}

static int build(const char *path, const struct raw_group *raw, size_t n, struct arena *a, struct target_group *ret,
                 struct err *e)
{
    int r = 0;
    struct labels_builder b = {0};
    for (size_t i = 0; i < n && r == 0; i++) {
        lb_init(&b, (struct labels){0});
        for (size_t k = 0; k < raw[i].n_labels && r == 0; k++) {
            struct label l = raw[i].labels[k];
            if (str_empty(l.name) || !utf8_valid(l.name))
                r = bad(e, path, i, "a label name is not valid");
            else if (!utf8_valid(l.value))
                r = bad(e, path, i, "a label value is not valid UTF-8");
            lb_set(&b, l.name, l.value);
        }
        lb_set(&b, STR("__meta_filepath"), str_of(path));
        struct labels *targets = ARENA_ARRAY(a, struct labels, raw[i].n_targets + 1);
        for (size_t k = 0; k < raw[i].n_targets; k++) {
            struct label *l = ARENA_NEW(a, struct label);
            *l = (struct label){STR("__address__"), raw[i].targets[k]};
            targets[k] = (struct labels){l, 1};
        }
        ret[i] = (struct target_group){.source = arena_fmt(a, "%s:%zu", path, i),
                                       .labels = lb_labels(&b, a),
                                       .targets = targets,
                                       .n = raw[i].n_targets};
    }
    lb_done(&b);
    return r;
}

int discover_parse_file(struct str text, const char *path, struct arena *a, struct target_group **ret, size_t *ret_n,
                        struct err *e)
{
    struct raw_group *raw = NULL;
    size_t n = 0;
    bool json = str_ends(str_of(path), STR(".json")) || str_ends(str_of(path), STR(".JSON"));
    path = arena_strz(a, str_of(path));
    int r = json ? from_json(path, text, a, &raw, &n, e) : from_yaml(path, text, a, &raw, &n, e);
    if (r < 0)
        return r;
    struct target_group *v = ARENA_ARRAY(a, struct target_group, n + 1);
    if ((r = build(path, raw, n, a, v, e)) < 0)
        return r;
    *ret = v;
    *ret_n = n;
    return 0;
}

int discover_read_file(const char *path, struct arena *a, struct target_group **ret, size_t *ret_n, struct err *e)
{
    struct buf b = BUF_INIT((size_t)limit(config_file_bytes));
    int r = fs_read_file(path, &b);
    if (r < 0)
        err_set(e, "%s: %s", path, err_name(r));
    else
        r = discover_parse_file(arena_str(a, buf_view(&b)), path, a, ret, ret_n, e);
    buf_done(&b);
    return r;
}

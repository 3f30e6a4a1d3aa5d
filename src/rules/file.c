// SPDX-License-Identifier: Apache-2.0
/* Rule files: schema, checks (the wording of Prometheus' model/rulefmt), templates parsed once. */
#include "rules/rules_int.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "sys/fs.h"
#include <errno.h>
#include <stdio.h>

struct reading {
    struct rules_config *config;
    const struct rules_load *load;
    struct group_def **groups;
    size_t n_groups;
};

const struct str rule_template_prefix = {
    .p = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := "
         ".Value}}",
    .n = sizeof("{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value "
                ":= .Value}}") -
         1};

#define AT(type, member) offsetof(struct type, member)

static const struct config_row rule_rows[] = {
    {"record", CFG_STR, AT(rule_def, record), .doc = "Name of the series to write; this or alert"},
    {"alert", CFG_STR, AT(rule_def, alert), .doc = "Name of the alert; this or record"},
    {"expr", CFG_STR, AT(rule_def, expr), .doc = "PromQL expression; every series it returns is a result or an alert"},
    {"for", CFG_DURATION, AT(rule_def, for_ms), .unit = "duration", .present_offset = AT(rule_def, has_for),
     .doc = "How long a series must be returned before its alert fires"},
    {"keep_firing_for", CFG_DURATION, AT(rule_def, keep_firing_for_ms), .unit = "duration",
     .present_offset = AT(rule_def, has_keep),
     .doc = "How long an alert goes on firing after its series is no longer returned"},
    {"labels", CFG_MAP, AT(rule_def, labels_map), .doc = "Labels to add or replace; templates in alerting rules"},
    {"annotations", CFG_MAP, AT(rule_def, annotations_map), .present_offset = AT(rule_def, has_annotations),
     .doc = "Texts of the alert; templates"},
};
static int check_rule(struct config_ctx *c, const struct yaml_node *n, void *object);
static const struct config_schema rule_schema = {.name = "rule",
                                                 .size = sizeof(struct rule_def),
                                                 .rows = rule_rows,
                                                 .n = ARRAY_LEN(rule_rows),
                                                 .check = check_rule,
                                                 .doc = "One recording or alerting rule"};

static const struct config_row group_rows[] = {
    {"name", CFG_STR, AT(group_def, name), .doc = "Unique within the file"},
    {"interval", CFG_DURATION, AT(group_def, interval_ms), .unit = "duration",
     .doc = "Time between evaluations; global evaluation_interval when absent"},
    {"limit", CFG_INT, AT(group_def, limit), .unit = "series", .min = 0, .max = INT64_MAX,
     .doc = "Most alerts or series one rule may produce; 0 = no limit"},
    {"query_offset", CFG_DURATION, AT(group_def, query_offset_ms), .unit = "duration",
     .present_offset = AT(group_def, has_offset),
     .doc = "How far in the past expressions are evaluated; global rule_query_offset when absent"},
    {"labels", CFG_MAP, AT(group_def, labels),
     .doc = "Labels added to every rule of the group that does not set them itself"},
    {"partial_response_strategy", CFG_STR, AT(group_def, partial_response_strategy),
     .doc = "Of Thanos; read and ignored"},
    {"rules", CFG_LIST, AT(group_def, rule_list), .sub = &rule_schema,
     .doc = "Evaluated one after the other, in this order"},
};
static int check_group(struct config_ctx *c, const struct yaml_node *n, void *object);
static const struct config_schema group_schema = {.name = "rule group",
                                                  .size = sizeof(struct group_def),
                                                  .rows = group_rows,
                                                  .n = ARRAY_LEN(group_rows),
                                                  .check = check_group,
                                                  .doc = "Rules evaluated together"};

struct file_def {
    struct config_list groups;
};
static const struct config_row file_rows[] = {
    {"groups", CFG_LIST, offsetof(struct file_def, groups), .sub = &group_schema, .doc = "Groups of rules"},
};
static int check_file(struct config_ctx *c, const struct yaml_node *n, void *object);
static const struct config_schema file_schema = {.name = "rule file",
                                                 .size = sizeof(struct file_def),
                                                 .rows = file_rows,
                                                 .n = ARRAY_LEN(file_rows),
                                                 .check = check_file,
                                                 .doc = "A file of rules"};

static const struct yaml_node *at_key(const struct yaml_node *n, const char *key)
{
    const struct yaml_node *v = n ? yaml_get(n, key) : NULL;
    return v ? v : n;
}

static bool label_name_ok(struct str s)
{
    return s.n > 0 && utf8_valid(s);
}

static int check_labels(struct config_ctx *c, const struct yaml_node *n, const struct config_map *m, const char *what)
{
    for (size_t i = 0; i < m->n; i++) {
        if (!label_name_ok(m->v[i].key) || (what[0] == 'l' && str_eqz(m->v[i].key, LABEL_NAME)))
            return config_fail(c, n, "invalid %s name: " STR_FMT, what, STR_ARG(m->v[i].key));
        if (!utf8_valid(m->v[i].value))
            return config_fail(c, n, "invalid %s value: not UTF-8", what);
    }
    return 0;
}

static int compile(struct config_ctx *c, const struct yaml_node *n, const struct rule_def *d,
                   const struct config_map *m, const char *what, bool templated, struct rule_pair **ret, size_t *ret_n)
{
    struct rule_pair *p = ARENA_ARRAY(c->arena, struct rule_pair, m->n + 1);
    *ret = p;
    *ret_n = m->n; /* set at once, so that a failure half-way frees what was made */
    for (size_t i = 0; i < m->n; i++) {
        p[i] = (struct rule_pair){.name = m->v[i].key, .value = m->v[i].value};
        if (!templated || str_find(m->v[i].value, STR("{{")) < 0)
            continue;
        _cleanup_buf_ struct buf b = BUF_INIT(m->v[i].value.n + rule_template_prefix.n + 16);
        buf_str(&b, rule_template_prefix);
        buf_str(&b, m->v[i].value);
        struct str name = arena_fmt(c->arena, "__alert_" STR_FMT, STR_ARG(d->alert));
        struct err e = {0};
        p[i].template_name = name;
        p[i].set = template_set_new(NULL, template_funcs_prom);
        if (template_parse(p[i].set, name, buf_view(&b), &e))
            return config_fail(
                c, at_key(yaml_get(n, what), str_empty(m->v[i].key) ? "" : arena_strz(c->arena, m->v[i].key)),
                "%s \"" STR_FMT "\": %s", what[0] == 'l' ? "label" : "annotation", STR_ARG(m->v[i].key), e.msg);
    }
    return 0;
}

static int check_rule(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    struct rule_def *d = object;
    const struct reading *rd = c->user;
    d->line = n ? n->line : 0;
    bool record = d->record.n > 0, alert = d->alert.n > 0;
    if (record && alert)
        return config_fail(c, at_key(n, "alert"), "only one of 'record' and 'alert' must be set");
    if (!record && !alert)
        return config_fail(c, n, "one of 'record' or 'alert' must be set");
    struct str name = record ? d->record : d->alert;
    if (!d->expr.n)
        return config_fail(c, n, "\"" STR_FMT "\": field 'expr' must be set in rule", STR_ARG(name));
    struct err e = {0};
    if (rd->load->check_expr && rd->load->check_expr(d->expr, &e))
        return config_fail(c, at_key(n, "expr"), "\"" STR_FMT "\": could not parse expression: %s", STR_ARG(name),
                           e.msg);
    if (record) {
        if (d->has_annotations && d->annotations_map.n)
            return config_fail(c, at_key(n, "annotations"),
                               "\"" STR_FMT "\": invalid field 'annotations' in recording rule", STR_ARG(name));
        if (d->for_ms)
            return config_fail(c, at_key(n, "for"), "\"" STR_FMT "\": invalid field 'for' in recording rule",
                               STR_ARG(name));
        if (d->keep_firing_for_ms)
            return config_fail(c, at_key(n, "keep_firing_for"),
                               "\"" STR_FMT "\": invalid field 'keep_firing_for' in recording rule", STR_ARG(name));
        if (str_chr(name, '{') >= 0 || str_chr(name, '}') >= 0)
            return config_fail(c, at_key(n, "record"),
                               "braces present in the recording rule name; should it be in expr?: " STR_FMT,
                               STR_ARG(name));
        if (!utf8_valid(name))
            return config_fail(c, at_key(n, "record"), "invalid recording rule name: " STR_FMT, STR_ARG(name));
    }
    int r = check_labels(c, at_key(n, "labels"), &d->labels_map, "label");
    if (!r)
        r = check_labels(c, at_key(n, "annotations"), &d->annotations_map, "annotation");
    if (!r)
        r = compile(c, n, d, &d->labels_map, "labels", alert, &d->labels, &d->n_labels);
    if (!r)
        r = compile(c, n, d, &d->annotations_map, "annotations", alert, &d->annotations, &d->n_annotations);
    return r;
}

static int check_group(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    struct group_def *g = object;
    const struct reading *rd = c->user;
    g->line = n ? n->line : 0;
    if (!g->name.n)
        return config_fail(c, n, "Groupname must not be empty");
    if (!g->interval_ms)
        g->interval_ms = rd->load->default_interval_ms ? rd->load->default_interval_ms : 60000;
    if (!g->has_offset)
        g->query_offset_ms = rd->load->default_offset_ms;
    g->rules = g->rule_list.v;
    g->n_rules = g->rule_list.n;
    return check_labels(c, at_key(n, "labels"), &g->labels, "label");
}

static int check_file(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    struct file_def *f = object;
    _cleanup_(map_done) struct map seen = {0};
    for (size_t i = 0; i < f->groups.n; i++) {
        struct group_def *g = CONFIG_AT(f->groups, struct group_def, i);
        if (map_put(&seen, g->name, g)) {
            const struct yaml_node *list = at_key(n, "groups");
            return config_fail(c, list && i < list->n ? list->items[i] : n,
                               "groupname: \"" STR_FMT "\" is repeated in the same file", STR_ARG(g->name));
        }
    }
    return 0;
}

/* ---- generations ---- */

static uint64_t mix_str(uint64_t h, struct str s)
{
    return hash_mix(h * 31 + hash_bytes(s.p, s.n) + s.n);
}

static uint64_t mix_map(uint64_t h, const struct config_map *m)
{
    for (size_t i = 0; i < m->n; i++)
        h = mix_str(mix_str(h, m->v[i].key), m->v[i].value);
    return hash_mix(h + m->n);
}

static void finish_group(struct group_def *g)
{
    uint64_t h = hash_mix((uint64_t)g->interval_ms ^ (uint64_t)g->limit << 1 ^ (uint64_t)g->query_offset_ms << 2);
    h = mix_map(h, &g->labels);
    for (size_t i = 0; i < g->n_rules; i++) {
        const struct rule_def *d = &g->rules[i];
        h = mix_str(mix_str(mix_str(h, d->record), d->alert), d->expr);
        h = hash_mix(h + (uint64_t)d->for_ms * 3 + (uint64_t)d->keep_firing_for_ms * 7);
        h = mix_map(mix_map(h, &d->labels_map), &d->annotations_map);
    }
    g->content = h;
    g->identity = mix_str(mix_str(0, g->file), g->name);
}

/* Labels of the group are labels of its rules, unless a rule sets them. */
static void inherit_labels(struct arena *a, struct group_def *g)
{
    for (size_t i = 0; i < g->n_rules && g->labels.n; i++) {
        struct rule_def *d = &g->rules[i];
        struct rule_pair *p = ARENA_ARRAY(a, struct rule_pair, d->n_labels + g->labels.n);
        size_t n = 0;
        for (size_t k = 0; k < g->labels.n; k++) {
            bool own = false;
            for (size_t q = 0; q < d->n_labels; q++)
                own |= str_eq(d->labels[q].name, g->labels.v[k].key);
            if (!own)
                p[n++] = (struct rule_pair){.name = g->labels.v[k].key, .value = g->labels.v[k].value};
        }
        for (size_t q = 0; q < d->n_labels; q++)
            p[n++] = d->labels[q];
        d->labels = p;
        d->n_labels = n;
    }
}

static void free_sets(struct file_def *f)
{
    for (size_t i = 0; i < f->groups.n; i++) {
        struct config_list *rules = &CONFIG_AT(f->groups, struct group_def, i)->rule_list;
        for (size_t k = 0; k < rules->n; k++) {
            struct rule_def *d = CONFIG_AT(*rules, struct rule_def, k);
            for (size_t q = 0; q < d->n_labels; q++)
                template_set_free(d->labels[q].set);
            for (size_t q = 0; q < d->n_annotations; q++)
                template_set_free(d->annotations[q].set);
        }
    }
}

int rules_read_file(struct rules_config *c, const struct rules_file *f, const struct rules_load *l, struct err *e)
{
    struct reading rd = {.config = c, .load = l};
    struct config_ctx ctx = {.file = f->path, .dir = ".", .arena = c->arena, .err = e, .user = &rd};
    struct yaml_node *root = NULL;
    int r = f->text.p ? yaml_parse(f->text, f->path, c->arena, &root, e) : config_load(&ctx, f->path, &root);
    struct file_def *file = ARENA_NEW(c->arena, struct file_def);
    if (!r)
        r = config_read(&ctx, &file_schema, root, file);
    if (r) {
        free_sets(file);
        return r;
    }
    struct group_def **all = ARENA_ARRAY(c->arena, struct group_def *, c->n_groups + file->groups.n + 1);
    if (c->n_groups)
        memcpy(all, c->groups, c->n_groups * sizeof(*all));
    for (size_t i = 0; i < file->groups.n; i++) {
        struct group_def *g = CONFIG_AT(file->groups, struct group_def, i);
        g->file = arena_str(c->arena, str_of(f->path));
        inherit_labels(c->arena, g);
        finish_group(g);
        all[c->n_groups++] = g;
        c->n_rules += g->n_rules;
    }
    c->groups = all;
    return 0;
}

int rules_config_load(const struct rules_load *l, struct rules_config **ret, struct err *e)
{
    struct rules_config *c = NEW(struct rules_config);
    atomic_init(&c->refs, 1);
    c->arena = arena_new(0);
    int first = 0;
    for (size_t i = 0; i < l->n_files; i++) {
        struct err one = {0};
        int r = rules_read_file(c, &l->files[i], l, &one);
        if (!r)
            continue;
        if (l->report)
            l->report(l->ctx, l->files[i].path, one.msg);
        if (!first) {
            first = r;
            err_set(e, "%s", one.msg);
        }
    }
    if (first) {
        rules_config_free(c);
        return first;
    }
    *ret = c;
    return 0;
}

struct rules_config *rules_config_ref(struct rules_config *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

struct rules_config *rules_config_free(struct rules_config *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return NULL;
    for (size_t i = 0; i < c->n_groups; i++)
        for (size_t k = 0; k < c->groups[i]->n_rules; k++) {
            struct rule_def *d = &c->groups[i]->rules[k];
            for (size_t q = 0; q < d->n_labels; q++)
                template_set_free(d->labels[q].set);
            for (size_t q = 0; q < d->n_annotations; q++)
                template_set_free(d->annotations[q].set);
        }
    arena_free(c->arena);
    free(c);
    return NULL;
}

size_t rules_config_count(const struct rules_config *c)
{
    return c->n_rules;
}

int rules_glob(const char *dir, const struct config_strs *patterns, struct arena *a, struct rules_file **ret,
               size_t *ret_n)
{
    VEC(struct rules_file) out = {0};
    int r = 0;
    for (size_t i = 0; i < patterns->n && !r; i++) {
        _cleanup_free_ char *pattern = str_dupz(patterns->v[i]);
        _cleanup_free_ char *full = fs_join(dir, pattern);
        struct fs_names names = {0};
        r = fs_glob(full, &names);
        for (size_t k = 0; k < names.n && !r; k++) {
            bool seen = false;
            for (size_t q = 0; q < out.n && !seen; q++)
                seen = strcmp(out.v[q].path, names.v[k]) == 0;
            if (!seen)
                vec_push(&out, (struct rules_file){.path = arena_strz(a, str_of(names.v[k]))});
        }
        fs_names_free(&names);
    }
    if (!r) {
        *ret = ARENA_ARRAY(a, struct rules_file, out.n + 1);
        if (out.n)
            memcpy(*ret, out.v, out.n * sizeof(*out.v));
        *ret_n = out.n;
    }
    vec_done(&out);
    return r;
}

/* ---- check rules ---- */

static size_t count_duplicates(const struct rules_config *c, struct buf *out)
{
    size_t n = 0;
    _cleanup_(map_done) struct map seen = {0};
    for (size_t i = 0; i < c->n_groups; i++)
        for (size_t k = 0; k < c->groups[i]->n_rules; k++) {
            const struct rule_def *d = &c->groups[i]->rules[k];
            _cleanup_buf_ struct buf key = BUF_INIT(1 << 20);
            buf_str(&key, d->record.n ? d->record : d->alert);
            for (size_t q = 0; q < d->n_labels; q++)
                buf_fmt(&key, "\xff" STR_FMT "\xff" STR_FMT, STR_ARG(d->labels[q].name), STR_ARG(d->labels[q].value));
            struct str kept = arena_str(c->arena, buf_view(&key));
            if (!map_put(&seen, kept, (void *)d))
                continue;
            if (!n++)
                buf_z(out, "Duplicate rules found:\n");
            buf_fmt(out, "  %s: " STR_FMT "\n", d->record.n ? "Metric" : "Alert",
                    STR_ARG(d->record.n ? d->record : d->alert));
        }
    return n;
}

int rules_check(const struct rules_check *k, struct buf *out, struct buf *err_out)
{
    bool failed = false, lint = false;
    size_t n = k->n_paths ? k->n_paths : 1;
    for (size_t i = 0; i < n; i++) {
        struct rules_file f = {.path = "standard input", .text = k->stdin_text};
        if (k->n_paths)
            f = (struct rules_file){.path = k->paths[i]};
        else if (!f.text.p)
            f.text = STR("");
        buf_fmt(out, "Checking %s\n", f.path);
        struct rules_load l = {.files = &f, .n_files = 1, .check_expr = k->check_expr};
        struct rules_config *c = NULL;
        struct err e = {0};
        if (rules_config_load(&l, &c, &e)) {
            buf_fmt(err_out, "  FAILED:\n%s\n", e.msg);
            failed = true;
        } else {
            _cleanup_buf_ struct buf found = BUF_INIT(1 << 20);
            size_t dups = k->lint_duplicates ? count_duplicates(c, &found) : 0;
            if (dups) {
                buf_fmt(out, "%zu duplicate rule(s) found.\n", dups);
                buf_str(out, buf_view(&found));
                buf_z(out, "Might cause inconsistency while recording expressions\n");
                lint = true;
            }
            buf_fmt(out, "  SUCCESS: %zu rules found\n", c->n_rules);
            rules_config_free(c);
        }
        buf_putc(out, '\n');
    }
    return failed ? 1 : lint && k->lint_fatal ? 3 : 0;
}

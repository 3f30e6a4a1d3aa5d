// SPDX-License-Identifier: Apache-2.0
/* The file as a whole: order of reading, cross checks, the generation. */
#include "promfile/promfile_int.h"

#include "base/limits.h"
#include "sys/fs.h"
#include <stdatomic.h>

void promfile_warn(struct config_ctx *c, const struct yaml_node *n, const char *fmt, ...)
{
    struct reading *rd = c->user;
    char msg[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof(msg), fmt, ap); /* a cut warning is still one */
    va_end(ap);
    if (n && n->line)
        vec_push(&rd->warnings, arena_fmt(rd->arena, "%s:%u:%u: %s", c->file, n->line, n->col, msg));
    else
        vec_push(&rd->warnings, arena_fmt(rd->arena, "%s: %s", c->file, msg));
}

/* --- storage --- */

struct storage_raw {
    struct {
        int64_t window_ms;
        double stale_threshold;
        struct {
            int64_t time_ms, bytes;
            double percentage;
        } retention;
        struct {
            struct str floats;
        } chunk_encoding;
    } tsdb;
    struct {
        int64_t max;
        bool set;
    } exemplars;
};
#define IN(f) offsetof(struct storage_raw, f)
static const struct config_row retention_rows[] = {
    {.key = "time",
     .type = CFG_DURATION,
     .offset = IN(tsdb.retention.time_ms) - IN(tsdb.retention),
     .doc = "how long samples are kept"},
    {.key = "size",
     .type = CFG_CUSTOM,
     .offset = IN(tsdb.retention.bytes) - IN(tsdb.retention),
     .read = promfile_read_bytes,
     .doc = "how much disk the store may take"},
    {.key = "percentage",
     .type = CFG_F64,
     .offset = IN(tsdb.retention.percentage) - IN(tsdb.retention),
     .doc = "how much of the disk it may take (not acted on yet)"},
};
static int check_retention(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    const typeof(((struct storage_raw *)0)->tsdb.retention) *r = object;
    if (!(r->percentage >= 0 && r->percentage <= 100))
        return config_fail(c, yaml_get(n, "percentage"),
                           "'storage.tsdb.retention.percentage' must be in the range [0, 100]");
    return 0;
}
static const struct config_schema retention_schema = {.name = "retention",
                                                      .size = sizeof(((struct storage_raw *)0)->tsdb.retention),
                                                      .rows = retention_rows,
                                                      .n = ARRAY_LEN(retention_rows),
                                                      .check = check_retention};
static const struct config_row chunk_rows[] = {
    {.key = "floats", .type = CFG_STR, .offset = 0, .doc = "xor or xor2 (accepted; hune's encoding is its own)"}};
static int check_chunk(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    struct str s = *(struct str *)object;
    if (!str_empty(s) && !str_eqz(s, "xor") && !str_eqz(s, "xor2"))
        return config_fail(c, yaml_get(n, "floats"),
                           "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted "
                           "entirely, got \"" STR_FMT "\"",
                           STR_ARG(s));
    return 0;
}
static const struct config_schema chunk_schema = {.name = "chunk_encoding",
                                                  .size = sizeof(struct str),
                                                  .rows = chunk_rows,
                                                  .n = ARRAY_LEN(chunk_rows),
                                                  .check = check_chunk};
static const struct config_row tsdb_rows[] = {
    {.key = "out_of_order_time_window",
     .type = CFG_DURATION,
     .offset = IN(tsdb.window_ms) - IN(tsdb),
     .doc = "how much older than the newest a sample may be"},
    {.key = "stale_series_compaction_threshold",
     .type = CFG_F64,
     .offset = IN(tsdb.stale_threshold) - IN(tsdb),
     .doc = "accepted; hune compacts by its own rule"},
    {.key = "retention",
     .type = CFG_STRUCT,
     .offset = IN(tsdb.retention) - IN(tsdb),
     .sub = &retention_schema,
     .doc = "what is kept"},
    {.key = "chunk_encoding",
     .type = CFG_STRUCT,
     .offset = IN(tsdb.chunk_encoding) - IN(tsdb),
     .sub = &chunk_schema,
     .doc = "encoding of chunks"},
};
static const struct config_schema tsdb_schema = {
    .name = "tsdb", .size = sizeof(((struct storage_raw *)0)->tsdb), .rows = tsdb_rows, .n = ARRAY_LEN(tsdb_rows)};
static const struct config_row exemplar_rows[] = {{.key = "max_exemplars",
                                                   .type = CFG_INT,
                                                   .offset = 0,
                                                   .dflt = "100000",
                                                   .doc = "how many exemplars are kept (not acted on yet)"}};
static const struct config_schema exemplar_schema = {.name = "exemplars",
                                                     .size = sizeof(((struct storage_raw *)0)->exemplars),
                                                     .rows = exemplar_rows,
                                                     .n = ARRAY_LEN(exemplar_rows)};
static const struct config_row storage_rows[] = {
    {.key = "tsdb", .type = CFG_STRUCT, .offset = IN(tsdb), .sub = &tsdb_schema, .doc = "the time-series store"},
    {.key = "exemplars",
     .type = CFG_STRUCT,
     .offset = IN(exemplars),
     .sub = &exemplar_schema,
     .present_offset = IN(exemplars.set),
     .doc = "exemplars"},
};
static const struct config_schema storage_schema = {
    .name = "storage", .size = sizeof(struct storage_raw), .rows = storage_rows, .n = ARRAY_LEN(storage_rows)};

/* --- the document --- */

struct alerting_raw {
    struct relabel_rules relabel;
    struct config_list alertmanagers;
};
static const struct config_row alerting_rows[] = {
    {.key = "alert_relabel_configs",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct alerting_raw, relabel),
     .read = promfile_read_relabel,
     .doc = "rewrite or drop alerts"},
    {.key = "alertmanagers",
     .type = CFG_LIST,
     .offset = offsetof(struct alerting_raw, alertmanagers),
     .sub = &promfile_am_schema,
     .doc = "where alerts are pushed"},
};
static const struct config_schema alerting_schema = {
    .name = "alerting", .size = sizeof(struct alerting_raw), .rows = alerting_rows, .n = ARRAY_LEN(alerting_rows)};

static const struct config_row runtime_rows[] = {
    {.key = "gogc", .type = CFG_INT, .offset = 0, .doc = "accepted; hune collects no garbage"}};
static const struct config_schema runtime_schema = {
    .name = "runtime", .size = sizeof(int64_t), .rows = runtime_rows, .n = ARRAY_LEN(runtime_rows)};

struct file_raw {
    struct global_raw global;
    struct alerting_raw alerting;
    struct storage_raw storage;
    struct otlp_raw otlp;
    struct tracing_raw tracing;
    struct config_strs rule_files, scrape_files;
    struct config_list scrapes, rw, rr;
    int64_t gogc;
    bool otlp_set, tracing_set, runtime_set;
};
#define F(k, t, f, ...)                                                                                                \
    {                                                                                                                  \
        .key = k, .type = t, .offset = offsetof(struct file_raw, f), __VA_ARGS__                                       \
    }
/* Read in the order of the file, but for `global`, whose name validation decides how others are read. */
static const struct config_row file_rows[] = {
    F("global", CFG_STRUCT, global, .sub = &promfile_global_schema, .doc = "defaults"),
    F("runtime", CFG_STRUCT, gogc, .sub = &runtime_schema, .present_offset = offsetof(struct file_raw, runtime_set),
      .doc = "accepted"),
    F("rule_files", CFG_STRS, rule_files, .flags = CFG_PATH, .doc = "patterns of rule files"),
    F("scrape_config_files", CFG_STRS, scrape_files, .flags = CFG_PATH,
      .doc = "patterns of files with further scrape_configs"),
    F("scrape_configs", CFG_LIST, scrapes, .sub = &promfile_scrape_schema, .doc = "jobs"),
    F("alerting", CFG_STRUCT, alerting, .sub = &alerting_schema, .doc = "what happens to alerts"),
    F("remote_write", CFG_LIST, rw, .sub = &promfile_rw_schema,
      .doc = "stores that get a copy of every sample (not acted on yet)"),
    F("remote_read", CFG_LIST, rr, .sub = &promfile_rr_schema,
      .doc = "stores that queries also ask (not acted on yet)"),
    F("otlp", CFG_STRUCT, otlp, .sub = &promfile_otlp_schema, .present_offset = offsetof(struct file_raw, otlp_set),
      .doc = "OTLP ingestion (not acted on yet)"),
    F("storage", CFG_STRUCT, storage, .sub = &storage_schema, .doc = "what is kept and how"),
    F("tracing", CFG_STRUCT, tracing, .sub = &promfile_tracing_schema,
      .present_offset = offsetof(struct file_raw, tracing_set), .doc = "hune's own traces (not acted on yet)"),
};
static const struct config_schema file_schema = {.name = "prometheus.yml",
                                                 .size = sizeof(struct file_raw),
                                                 .rows = file_rows,
                                                 .n = ARRAY_LEN(file_rows),
                                                 .doc = "The Prometheus configuration file"};

/* $VAR, ${VAR} and $$ as Go's os.Expand; unknown variables are empty and warned about. */
static struct str expand_env(struct config_ctx *c, const struct yaml_node *at, struct str s)
{
    struct reading *rd = c->user;
    if (str_chr(s, '$') < 0)
        return s;
    _cleanup_buf_ struct buf out = BUF_INIT((size_t)limit(label_value_bytes));
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '$' || i + 1 >= s.n) {
            buf_putc(&out, s.p[i]);
            continue;
        }
        size_t from = i + 1, to;
        bool brace = s.p[from] == '{';
        if (s.p[from] == '$') {
            buf_putc(&out, '$');
            i++;
            continue;
        }
        from += brace;
        for (to = from; to < s.n && (s.p[to] == '_' || (s.p[to] >= '0' && s.p[to] <= '9') ||
                                     (s.p[to] >= 'a' && s.p[to] <= 'z') || (s.p[to] >= 'A' && s.p[to] <= 'Z'));)
            to++;
        if (to == from || (brace && (to >= s.n || s.p[to] != '}'))) {
            i = brace && to < s.n ? to : i; /* a bad reference vanishes, as in Go */
            continue;
        }
        const char *name = arena_strz(rd->arena, str_sub(s, from, to));
        const char *value = getenv(name);
        if (!value || !value[0])
            promfile_warn(c, at, "external_labels: environment variable %s is empty", name);
        buf_z(&out, value ? value : "");
        i = brace ? to : to - 1;
    }
    return arena_str(rd->arena, buf_view(&out));
}

static int read_scrape_files(struct config_ctx *c, const struct file_raw *raw, const struct yaml_node *at,
                             struct config_list *all)
{
    struct scrape_files_raw {
        struct config_list scrapes;
    };
    static const struct config_row rows[] = {
        {.key = "scrape_configs", .type = CFG_LIST, .offset = 0, .sub = &promfile_scrape_schema}};
    static const struct config_schema schema = {
        .name = "scrape config file", .size = sizeof(struct scrape_files_raw), .rows = rows, .n = 1};
    *all = raw->scrapes;
    for (size_t i = 0; i < raw->scrape_files.n; i++) {
        struct str pattern = raw->scrape_files.v[i];
        if (!promfile_pattern_valid(pattern))
            return config_fail(c, at, "invalid scrape config file path \"" STR_FMT "\"", STR_ARG(pattern));
        struct fs_names names = {0};
        int r = fs_glob(arena_strz(c->arena, pattern), &names);
        if (r < 0 && r != -ENOENT)
            return config_fail(c, at, "scrape_config_files: " STR_FMT ": %s", STR_ARG(pattern), err_name(r));
        for (size_t k = 0; k < names.n; k++) {
            struct config_ctx sub = *c;
            const char *slash = strrchr(names.v[k], '/');
            sub.file = arena_strz(c->arena, str_of(names.v[k]));
            sub.dir = slash ? arena_strz(c->arena, str_make(names.v[k], (size_t)(slash - names.v[k]))) : "";
            struct yaml_node *node;
            struct scrape_files_raw part = {0};
            r = config_load(&sub, names.v[k], &node);
            if (r == 0)
                r = config_read(&sub, &schema, node, &part);
            if (r < 0) {
                fs_names_free(&names);
                return r;
            }
            struct scrape_raw *v = ARENA_ARRAY(c->arena, struct scrape_raw, all->n + part.scrapes.n + 1);
            if (all->n)
                memcpy(v, all->v, all->n * sizeof(*v));
            if (part.scrapes.n)
                memcpy(v + all->n, part.scrapes.v, part.scrapes.n * sizeof(*v));
            *all = (struct config_list){v, all->n + part.scrapes.n};
        }
        fs_names_free(&names);
    }
    return 0;
}

static int finish_remote(struct config_ctx *c, const struct yaml_node *at, const struct config_list *list,
                         const char *what, struct promfile_remote **ret, size_t *ret_n)
{
    struct promfile_remote *v = ARENA_ARRAY(c->arena, struct promfile_remote, list->n + 1);
    for (size_t i = 0; i < list->n; i++) {
        v[i] = CONFIG_AT(*list, struct remote_raw, i)->r;
        for (size_t k = 0; k < i; k++)
            if (!str_empty(v[i].name) && str_eq(v[k].name, v[i].name))
                return config_fail(c, v[i].node, "found multiple %s configs with name \"" STR_FMT "\"", what,
                                   STR_ARG(v[i].name));
    }
    if (list->n)
        promfile_warn(c, at, "%s is not acted on in this version", what);
    *ret = v;
    *ret_n = list->n;
    return 0;
}

static int finish(struct config_ctx *c, struct file_raw *raw, const struct yaml_node *n)
{
    struct reading *rd = c->user;
    struct promfile *f = rd->f;
    const struct global_raw *g = &raw->global;
    const struct yaml_node *global = yaml_get(n, "global");
    int r = promfile_global_schema.check(c, global, &raw->global); /* also when the section is not there */
    if (r < 0)
        return r;
    f->global.scrape_interval_ms = g->scrape_interval_ms;
    f->global.scrape_timeout_ms = g->scrape_timeout_ms;
    f->global.evaluation_interval_ms = g->evaluation_interval_ms;
    f->global.rule_query_offset_ms = g->rule_query_offset_ms;
    f->global.query_log_file = g->query_log_file;
    f->global.scrape_failure_log_file = g->scrape_failure_log_file;
    f->global.limits = g->limits;
    struct label *ext = ARENA_ARRAY(c->arena, struct label, g->external_labels.n + 1);
    size_t n_ext = 0;
    for (size_t i = 0; i < g->external_labels.n; i++) {
        struct label l = g->external_labels.v[i];
        l.value = expand_env(c, global ? yaml_get(global, "external_labels") : NULL, l.value);
        if (!str_empty(l.value))
            ext[n_ext++] = l;
    }
    f->global.external_labels = (struct labels){ext, n_ext};
    if (!str_empty(g->query_log_file))
        promfile_warn(c, yaml_get(global, "query_log_file"), "query_log_file is not acted on in this version");
    if (!str_empty(g->scrape_failure_log_file))
        promfile_warn(c, yaml_get(global, "scrape_failure_log_file"),
                      "scrape_failure_log_file is not acted on in this version (failures are in the log and on the "
                      "targets page)");
    if (g->native_histograms)
        promfile_warn(c, yaml_get(global, "scrape_native_histograms"),
                      "scrape_native_histograms is not acted on in this version");
    if (g->convert_nhcb)
        promfile_warn(c, yaml_get(global, "convert_classic_histograms_to_nhcb"),
                      "convert_classic_histograms_to_nhcb is not acted on in this version");

    for (size_t i = 0; i < raw->rule_files.n; i++)
        if (!promfile_pattern_valid(raw->rule_files.v[i]))
            return config_fail(c, yaml_get(n, "rule_files"),
                               "invalid rule file path \"" STR_FMT
                               "\" (a star may stand in the last part of a path only)",
                               STR_ARG(raw->rule_files.v[i]));
    f->rule_files = raw->rule_files;

    struct config_list scrapes;
    r = read_scrape_files(c, raw, yaml_get(n, "scrape_config_files"), &scrapes);
    if (r < 0)
        return r;
    f->scrapes = ARENA_ARRAY(c->arena, struct promfile_scrape, scrapes.n + 1);
    f->n_scrapes = scrapes.n;
    for (size_t i = 0; i < scrapes.n; i++) {
        struct scrape_raw *s = CONFIG_AT(scrapes, struct scrape_raw, i);
        if ((r = promfile_finish_scrape(c, g, s)) < 0)
            return r;
        for (size_t k = 0; k < i; k++)
            if (str_eq(f->scrapes[k].job, s->s.job))
                return config_fail(c, s->node, "found multiple scrape configs with job name \"" STR_FMT "\"",
                                   STR_ARG(s->s.job));
        f->scrapes[i] = s->s;
    }

    f->alert_relabel = raw->alerting.relabel;
    f->n_alertmanagers = raw->alerting.alertmanagers.n;
    f->alertmanagers = ARENA_ARRAY(c->arena, struct promfile_alertmanager, f->n_alertmanagers + 1);
    for (size_t i = 0; i < f->n_alertmanagers; i++)
        f->alertmanagers[i] = CONFIG_AT(raw->alerting.alertmanagers, struct am_raw, i)->a;

    const struct storage_raw *st = &raw->storage;
    f->storage.out_of_order_window_ms = st->tsdb.window_ms;
    f->storage.retention_ms = st->tsdb.retention.time_ms;
    f->storage.retention_bytes = st->tsdb.retention.bytes;
    f->storage.retention_percentage = st->tsdb.retention.percentage;
    f->storage.max_exemplars = st->exemplars.set ? st->exemplars.max : -1;
    const struct yaml_node *storage = yaml_get(n, "storage");
    if (st->tsdb.retention.percentage > 0)
        promfile_warn(c, storage, "storage.tsdb.retention.percentage is not acted on in this version");
    if (st->exemplars.set)
        promfile_warn(c, storage, "storage.exemplars is not acted on in this version");
    if ((r = finish_remote(c, yaml_get(n, "remote_write"), &raw->rw, "remote_write", &f->remote_write,
                           &f->n_remote_write)) < 0 ||
        (r = finish_remote(c, yaml_get(n, "remote_read"), &raw->rr, "remote_read", &f->remote_read,
                           &f->n_remote_read)) < 0)
        return r;
    if (raw->otlp_set)
        promfile_warn(c, yaml_get(n, "otlp"), "otlp is not acted on in this version");
    if (raw->tracing_set)
        promfile_warn(c, yaml_get(n, "tracing"), "tracing is not acted on in this version");
    if (raw->runtime_set)
        promfile_warn(c, yaml_get(n, "runtime"), "runtime.gogc has no meaning here: hune collects no garbage");
    return 0;
}

static void destroy(struct generation *gen)
{
    for (size_t i = 0; i < gen->n_regexes; i++)
        regex_free(gen->regexes[i]);
    free(gen->regexes);
    arena_free(gen->arena);
    free(gen);
}

static int parse(struct str text, const char *name, const char *dir, unsigned flags, struct promfile **ret,
                 struct err *e)
{
    static _Atomic uint64_t generations;
    promfile_init_schemas();
    struct generation *gen = NEW(struct generation);
    gen->arena = arena_new(0);
    atomic_store(&gen->refs, 1);
    struct reading rd = {.f = &gen->f, .arena = gen->arena, .flags = flags};
    struct config_ctx c = {.file = name, .dir = dir, .arena = gen->arena, .err = e, .user = &rd};
    struct file_raw *raw = ARENA_NEW(gen->arena, struct file_raw);
    struct yaml_node *node = NULL;
    int r = yaml_parse(text, name, gen->arena, &node, e);
    if (r == 0) {
        const struct yaml_node *global = yaml_get(node, "global");
        const struct yaml_node *scheme = global ? yaml_get(global, "metric_name_validation_scheme") : NULL;
        rd.legacy_names = scheme && str_eqz(scheme->s, "legacy");
        r = config_read(&c, &file_schema, node, raw);
    }
    if (r == 0)
        r = finish(&c, raw, node);
    gen->regexes = rd.regexes.v;
    gen->n_regexes = rd.regexes.n;
    if (r == 0) {
        gen->f.path = arena_str(gen->arena, str_of(name));
        _cleanup_buf_ struct buf masked = BUF_INIT((size_t)limit(config_file_bytes) * 2);
        config_mask(&masked, node, &file_schema);
        gen->f.text = arena_str(gen->arena, buf_view(&masked));
        gen->f.warnings.v = ARENA_ARRAY(gen->arena, struct str, rd.warnings.n + 1);
        gen->f.warnings.n = rd.warnings.n;
        if (rd.warnings.n)
            memcpy(gen->f.warnings.v, rd.warnings.v, rd.warnings.n * sizeof(struct str));
        gen->f.generation = atomic_fetch_add(&generations, 1) + 1;
        *ret = &gen->f;
    } else {
        destroy(gen);
    }
    vec_done(&rd.warnings);
    return r;
}

int promfile_parse(struct str text, const char *name, const char *dir, unsigned flags, struct promfile **ret,
                   struct err *e)
{
    return parse(text, name, dir, flags, ret, e);
}

int promfile_load(const char *path, unsigned flags, struct promfile **ret, struct err *e)
{
    struct buf b = BUF_INIT((size_t)limit(config_file_bytes));
    int r = fs_read_file(path, &b);
    if (r < 0) {
        err_set(e, "%s: %s", path, err_name(r));
    } else {
        const char *slash = strrchr(path, '/');
        _cleanup_free_ char *dir =
            str_dupz(slash ? str_make(path, slash == path ? 1 : (size_t)(slash - path)) : STR(""));
        r = parse(buf_view(&b), path, dir, flags, ret, e);
    }
    buf_done(&b);
    return r;
}

struct promfile *promfile_ref(struct promfile *f)
{
    struct generation *gen = CONTAINER_OF(f, struct generation, f);
    ASSERT(atomic_fetch_add(&gen->refs, 1) > 0);
    return f;
}

struct promfile *promfile_unref(struct promfile *f)
{
    if (!f)
        return NULL;
    struct generation *gen = CONTAINER_OF(f, struct generation, f);
    int refs = atomic_fetch_sub(&gen->refs, 1);
    ASSERT(refs > 0);
    if (refs == 1)
        destroy(gen);
    return NULL;
}

int promfile_check(const char *path, unsigned flags, struct buf *out, struct config_strs *ret_rules, struct arena *a)
{
    struct promfile *f;
    struct err e = {0};
    buf_fmt(out, "Checking %s\n", path);
    int r = promfile_load(path, flags, &f, &e);
    if (r < 0) {
        buf_fmt(out, "  FAILED: %s\n", e.msg);
        return -EINVAL;
    }
    VEC(struct str) rules = {0};
    for (size_t i = 0; !(flags & PROMFILE_SYNTAX_ONLY) && i < f->rule_files.n; i++) {
        struct fs_names names = {0};
        struct str pattern = f->rule_files.v[i];
        int found = fs_glob(arena_strz(a, pattern), &names);
        if ((found < 0 || names.n == 0) && str_chr(pattern, '*') < 0) {
            buf_fmt(out, "  FAILED: \"" STR_FMT "\" does not point to an existing file\n", STR_ARG(pattern));
            r = -EINVAL;
        }
        for (size_t k = 0; k < names.n; k++)
            vec_push(&rules, arena_str(a, str_of(names.v[k])));
        fs_names_free(&names);
    }
    for (size_t i = 0; i < f->warnings.n; i++)
        buf_fmt(out, "  WARNING: " STR_FMT "\n", STR_ARG(f->warnings.v[i]));
    if (r == 0) {
        if (rules.n)
            buf_fmt(out, "  SUCCESS: %zu rule files found\n", rules.n);
        buf_fmt(out, " SUCCESS: %s is valid prometheus config file syntax\n\n", path);
    }
    if (ret_rules) {
        ret_rules->v = ARENA_ARRAY(a, struct str, rules.n + 1);
        ret_rules->n = rules.n;
        if (rules.n)
            memcpy(ret_rules->v, rules.v, rules.n * sizeof(struct str));
    }
    vec_done(&rules);
    promfile_unref(f);
    return r;
}

void promfile_reference(struct buf *b)
{
    promfile_init_schemas();
    config_reference(b, &file_schema);
    config_reference(b, &promfile_global_schema);
    config_reference(b, &promfile_scrape_schema);
    config_reference(b, &promfile_am_schema);
    config_reference(b, &alerting_schema);
    config_reference(b, &storage_schema);
}

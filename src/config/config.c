// SPDX-License-Identifier: Apache-2.0
#include "config/config.h"

#include "base/format.h"
#include "base/limits.h"
#include "base/parse.h"
#include "codec/f64.h"
#include "sys/fs.h"

int config_fail(struct config_ctx *c, const struct yaml_node *n, const char *fmt, ...)
{
    _cleanup_buf_ struct buf b = BUF_INIT(sizeof(c->err->msg) * 2);
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(&b, fmt, ap);
    va_end(ap);
    if (n && n->line)
        err_set(c->err, "%s:%u:%u: %s", c->file, n->line, n->col, buf_cstr(&b));
    else
        err_set(c->err, "%s: %s", c->file, buf_cstr(&b));
    return -EINVAL;
}

static const char *kind_name(const struct yaml_node *n)
{
    switch (n->kind) {
    case YAML_NULL:
        return "nothing";
    case YAML_SCALAR:
        return "a single value";
    case YAML_SEQ:
        return "a list";
    case YAML_MAP:
        return "a mapping";
    }
    return "?";
}

static int want(struct config_ctx *c, const struct config_row *row, const struct yaml_node *n, const char *what)
{
    if (n->kind == YAML_SCALAR && !(row->flags & CFG_SECRET))
        return config_fail(c, n, "%s: wants %s, found \"" STR_FMT "\"", row->key, what, STR_ARG(n->s));
    return config_fail(c, n, "%s: wants %s, found %s", row->key, what, kind_name(n));
}

static void bound_text(struct buf *b, const struct config_row *row, int64_t v)
{
    if (row->type == CFG_DURATION)
        format_duration_ms(b, v);
    else
        buf_i64(b, v);
    if (row->type == CFG_INT && row->unit) {
        buf_putc(b, ' ');
        buf_z(b, row->unit);
    }
}

static int check_bounds(struct config_ctx *c, const struct config_row *row, const struct yaml_node *n, int64_t v)
{
    if ((row->min == 0 && row->max == 0) || (v >= row->min && (row->max == 0 || v <= row->max)))
        return 0;
    _cleanup_buf_ struct buf b = BUF_INIT(200);
    bool low = v < row->min;
    bound_text(&b, row, low ? row->min : row->max);
    return config_fail(c, n, "%s: \"" STR_FMT "\" is %s %s", row->key, STR_ARG(n->s),
                       low ? "below the minimum" : "above the maximum", buf_cstr(&b));
}

static struct str joined(struct config_ctx *c, struct str path)
{
    if (path.n == 0 || path.p[0] == '/' || !c->dir || !c->dir[0])
        return path;
    return arena_fmt(c->arena, "%s/" STR_FMT, c->dir, STR_ARG(path));
}

static int read_strs(struct config_ctx *c, const struct config_row *row, const struct yaml_node *n,
                     struct config_strs *out)
{
    if (n->kind == YAML_NULL)
        return 0;
    if (n->kind == YAML_SCALAR && (row->flags & CFG_SCALAR_OK)) {
        out->v = ARENA_NEW(c->arena, struct str);
        out->v[0] = row->flags & CFG_PATH ? joined(c, n->s) : n->s;
        out->n = 1;
        return 0;
    }
    if (n->kind != YAML_SEQ)
        return want(c, row, n, "a list of strings");
    out->v = ARENA_ARRAY(c->arena, struct str, n->n);
    out->n = n->n;
    for (size_t i = 0; i < n->n; i++) {
        const struct yaml_node *item = n->items[i];
        if (item->kind != YAML_SCALAR && item->kind != YAML_NULL)
            return want(c, row, item, "a string");
        out->v[i] = row->flags & CFG_PATH ? joined(c, item->s) : item->s;
    }
    return 0;
}

static int read_map(struct config_ctx *c, const struct config_row *row, const struct yaml_node *n,
                    struct config_map *out)
{
    if (n->kind == YAML_NULL)
        return 0;
    if (n->kind != YAML_MAP)
        return want(c, row, n, "a mapping of names to strings");
    out->v = ARENA_ARRAY(c->arena, struct config_pair, n->n);
    out->n = n->n;
    for (size_t i = 0; i < n->n; i++) {
        if (n->items[i]->kind != YAML_SCALAR && n->items[i]->kind != YAML_NULL)
            return want(c, row, n->items[i], "a string");
        out->v[i] = (struct config_pair){.key = n->keys[i]->s, .value = n->items[i]->s};
    }
    return 0;
}

static int read_list(struct config_ctx *c, const struct config_row *row, const struct yaml_node *n,
                     struct config_list *out)
{
    if (n->kind == YAML_NULL)
        return 0;
    if (n->kind != YAML_SEQ)
        return want(c, row, n, "a list");
    out->v = arena_alloc(c->arena, n->n * row->sub->size);
    out->n = n->n;
    for (size_t i = 0; i < n->n; i++) {
        int r = config_read(c, row->sub, n->items[i], (char *)out->v + i * row->sub->size);
        if (r)
            return r;
    }
    return 0;
}

static int read_enum(struct config_ctx *c, const struct config_row *row, const struct yaml_node *n, int *out)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1000);
    for (int i = 0; row->names[i]; i++) {
        if (n->kind == YAML_SCALAR && str_eqz(n->s, row->names[i])) {
            *out = i;
            return 0;
        }
        buf_z(&b, i ? ", " : "one of ");
        buf_z(&b, row->names[i]);
    }
    return want(c, row, n, buf_cstr(&b));
}

static int read_scalar(struct config_ctx *c, const struct config_row *row, const struct yaml_node *n, void *field)
{
    if (n->kind != YAML_SCALAR && n->kind != YAML_NULL)
        return want(c, row, n, "a single value");
    int64_t i;
    uint64_t u;
    switch ((int)row->type) {
    case CFG_BOOL:
        return yaml_bool(n, field) ? 0 : want(c, row, n, "true or false");
    case CFG_INT:
        if (n->quoted || !parse_i64(n->s, &i))
            return want(c, row, n, "a whole number");
        *(int64_t *)field = i;
        return check_bounds(c, row, n, i);
    case CFG_F64:
        return f64_parse(n->s, field) ? 0 : want(c, row, n, "a number");
    case CFG_STR:
        *(struct str *)field = row->flags & CFG_PATH ? joined(c, n->s) : n->s;
        return 0;
    case CFG_DURATION:
        if (!parse_duration_ms(n->s, &i))
            return want(c, row, n, "a duration such as 30s, 5m or 1h30m");
        *(int64_t *)field = i;
        return check_bounds(c, row, n, i);
    default: /* CFG_BYTES */
        if (!parse_bytes(n->s, &u) || u > INT64_MAX)
            return want(c, row, n, "a size such as 512KB, 10MB or 1GB");
        *(int64_t *)field = (int64_t)u;
        return check_bounds(c, row, n, (int64_t)u);
    }
}

static int read_field(struct config_ctx *c, const struct config_row *row, const struct yaml_node *n, char *object)
{
    void *field = object + row->offset;
    /* `key:` with nothing behind it keeps the default, as Go's yaml does. */
    if (n->kind == YAML_NULL && !n->quoted && row->type != CFG_STRUCT && row->type != CFG_CUSTOM &&
        row->type != CFG_NODE)
        return 0;
    switch (row->type) {
    case CFG_STRS:
        return read_strs(c, row, n, field);
    case CFG_MAP:
        return read_map(c, row, n, field);
    case CFG_STRUCT:
        return config_read(c, row->sub, n, field);
    case CFG_LIST:
        return read_list(c, row, n, field);
    case CFG_ENUM:
        return read_enum(c, row, n, field);
    case CFG_NODE:
        *(const struct yaml_node **)field = n;
        return 0;
    case CFG_CUSTOM:
        return row->read(c, n, field);
    case CFG_BOOL:
    case CFG_INT:
    case CFG_F64:
    case CFG_STR:
    case CFG_DURATION:
    case CFG_BYTES:
        return read_scalar(c, row, n, field);
    }
    return 0;
}

void config_defaults(struct config_ctx *c, const struct config_schema *s, void *object)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct config_row *row = &s->rows[i];
        if (row->type == CFG_STRUCT) {
            config_defaults(c, row->sub, (char *)object + row->offset);
        } else if (row->dflt) {
            struct yaml_node n = {.kind = YAML_SCALAR, .s = str_of(row->dflt)};
            struct err e = {0};
            struct config_ctx quiet = *c;
            quiet.err = &e;
            if (read_field(&quiet, row, &n, object))
                BUG("default of %s.%s: %s", s->name, row->key, e.msg);
        }
    }
}

static const struct config_row *find_row(const struct config_schema *s, struct str key)
{
    for (size_t i = 0; i < s->n; i++)
        if (str_eqz(key, s->rows[i].key))
            return &s->rows[i];
    return NULL;
}

static int unknown_key(struct config_ctx *c, const struct config_schema *s, const struct yaml_node *key)
{
    const char **names = xcalloc(s->n, sizeof(*names));
    for (size_t i = 0; i < s->n; i++)
        names[i] = s->rows[i].key;
    const char *near = str_nearest(key->s, names, s->n);
    int r = near ? config_fail(c, key, "unknown key \"" STR_FMT "\" in %s, did you mean \"%s\"?", STR_ARG(key->s),
                               s->name, near)
                 : config_fail(c, key, "unknown key \"" STR_FMT "\" in %s", STR_ARG(key->s), s->name);
    free(names);
    return r;
}

int config_read(struct config_ctx *c, const struct config_schema *s, const struct yaml_node *n, void *object)
{
    config_defaults(c, s, object);
    if (n && n->kind != YAML_MAP && n->kind != YAML_NULL)
        return config_fail(c, n, "%s: wants a mapping, found %s", s->name, kind_name(n));
    for (size_t i = 0; n && n->kind == YAML_MAP && i < n->n; i++) {
        const struct config_row *row = find_row(s, n->keys[i]->s);
        if (!row)
            return unknown_key(c, s, n->keys[i]);
        int r = read_field(c, row, n->items[i], object);
        if (r)
            return r;
        if (row->present_offset)
            *(bool *)((char *)object + row->present_offset) = true;
    }
    for (size_t i = 0; i < s->n; i++)
        if ((s->rows[i].flags & CFG_REQUIRED) && !(n && yaml_get(n, s->rows[i].key)))
            return config_fail(c, n, "%s: \"%s\" is required", s->name, s->rows[i].key);
    return s->check ? s->check(c, n, object) : 0;
}

int config_load(struct config_ctx *c, const char *path, struct yaml_node **ret)
{
    struct buf b = BUF_INIT((size_t)limit(config_file_bytes));
    int r = fs_read_file(path, &b);
    if (r == -EMSGSIZE)
        err_set(c->err, "%s: larger than %lld bytes (limit config_file_bytes)", path,
                (long long)limit(config_file_bytes));
    else if (r)
        err_set(c->err, "%s: %s", path, err_name(r));
    else
        r = yaml_parse(buf_view(&b), c->file ? c->file : path, c->arena, ret, c->err);
    buf_done(&b);
    return r;
}

/* --- writing --- */

static bool needs_quotes(struct str s)
{
    bool flag;
    double number;
    struct yaml_node as_plain = {.kind = YAML_SCALAR, .s = s};
    if (s.n == 0 || yaml_bool(&as_plain, &flag) || f64_parse(s, &number) || str_eqz(s, "null") || str_eqz(s, "~"))
        return true;
    if (strchr("-?:,[]{}#&*!|>'\"%@` ", s.p[0]) || s.p[s.n - 1] == ' ' || s.p[s.n - 1] == ':')
        return true;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || (s.p[i] == ':' && i + 1 < s.n && s.p[i + 1] == ' ') ||
            (s.p[i] == '#' && i && s.p[i - 1] == ' '))
            return true;
    return false;
}

static void put_scalar(struct buf *b, struct str s)
{
    if (!needs_quotes(s)) {
        buf_str(b, s);
        return;
    }
    buf_putc(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        if (ch == '"' || ch == '\\')
            buf_fmt(b, "\\%c", ch);
        else if (ch == '\n')
            buf_z(b, "\\n");
        else if (ch < 0x20)
            buf_fmt(b, "\\x%02x", ch);
        else
            buf_putc(b, (char)ch);
    }
    buf_putc(b, '"');
}

static void indent(struct buf *b, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        buf_z(b, "  ");
}

#define SECRET_TEXT "<secret>"

/* A node at `depth`; the caller has written "key:" or "-". */
static void put_node(struct buf *b, const struct yaml_node *n, const struct config_schema *s, unsigned depth,
                     bool secret);

static void put_map(struct buf *b, const struct yaml_node *n, const struct config_schema *s, unsigned depth,
                    bool secret, bool after_dash)
{
    for (size_t i = 0; i < n->n; i++) {
        const struct config_row *row = s ? find_row(s, n->keys[i]->s) : NULL;
        if (!(after_dash && i == 0))
            indent(b, depth);
        put_scalar(b, n->keys[i]->s);
        buf_putc(b, ':');
        put_node(b, n->items[i], row ? row->sub : NULL, depth + 1, secret || (row && (row->flags & CFG_SECRET)));
    }
}

static void put_seq(struct buf *b, const struct yaml_node *n, const struct config_schema *s, unsigned depth,
                    bool secret)
{
    for (size_t i = 0; i < n->n; i++) {
        const struct yaml_node *item = n->items[i];
        indent(b, depth - 1);
        buf_putc(b, '-');
        if (item->kind == YAML_MAP && item->n) {
            buf_putc(b, ' ');
            put_map(b, item, s, depth, secret, true);
        } else {
            put_node(b, item, s, depth + 1, secret);
        }
    }
}

static void put_node(struct buf *b, const struct yaml_node *n, const struct config_schema *s, unsigned depth,
                     bool secret)
{
    switch (n->kind) {
    case YAML_NULL:
        buf_putc(b, '\n');
        return;
    case YAML_SCALAR:
        buf_putc(b, ' ');
        if (secret && n->s.n)
            buf_z(b, SECRET_TEXT);
        else
            put_scalar(b, n->s);
        buf_putc(b, '\n');
        return;
    case YAML_SEQ:
        buf_z(b, n->n ? "\n" : " []\n");
        put_seq(b, n, s, depth, secret);
        return;
    case YAML_MAP:
        buf_z(b, n->n ? "\n" : " {}\n");
        put_map(b, n, s, depth, secret, false);
        return;
    }
}

void config_mask(struct buf *b, const struct yaml_node *n, const struct config_schema *s)
{
    if (n->kind == YAML_MAP)
        put_map(b, n, s, 0, false, false);
}

static void write_object(struct buf *b, const struct config_schema *s, const char *object, bool all, unsigned depth,
                         bool after_dash);

static bool is_default(const struct config_row *row, const void *field)
{
    switch ((int)row->type) {
    case CFG_STRS:
    case CFG_MAP:
    case CFG_LIST:
        return ((const struct config_strs *)field)->n == 0; /* all three end in a count at the same place */
    case CFG_STR:
        return str_eqz(*(const struct str *)field, row->dflt ? row->dflt : "");
    case CFG_BOOL: {
        bool d = false;
        struct yaml_node n = {.kind = YAML_SCALAR, .s = str_of(row->dflt)};
        if (row->dflt)
            (void)yaml_bool(&n, &d); /* defaults were proved readable at start */
        return *(const bool *)field == d;
    }
    default:
        return false;
    }
}

static void write_value(struct buf *b, const struct config_row *row, const char *field, bool all, unsigned depth)
{
    switch (row->type) {
    case CFG_BOOL:
        buf_z(b, *(const bool *)(const void *)field ? " true" : " false");
        break;
    case CFG_INT:
        buf_putc(b, ' ');
        buf_i64(b, *(const int64_t *)(const void *)field);
        break;
    case CFG_F64:
        buf_putc(b, ' ');
        f64_put_g(b, *(const double *)(const void *)field);
        break;
    case CFG_STR: {
        struct str s = *(const struct str *)(const void *)field;
        buf_putc(b, ' ');
        put_scalar(b, s.n && (row->flags & CFG_SECRET) ? STR(SECRET_TEXT) : s);
        break;
    }
    case CFG_DURATION:
        buf_putc(b, ' ');
        format_duration_ms(b, *(const int64_t *)(const void *)field);
        break;
    case CFG_BYTES:
        buf_fmt(b, " %lldB", (long long)*(const int64_t *)(const void *)field);
        break;
    case CFG_ENUM:
        buf_putc(b, ' ');
        buf_z(b, row->names[*(const int *)(const void *)field]);
        break;
    case CFG_STRS: {
        const struct config_strs *v = (const void *)field;
        for (size_t i = 0; i < v->n; i++) {
            buf_putc(b, '\n');
            indent(b, depth);
            buf_z(b, "- ");
            put_scalar(b, v->v[i]);
        }
        break;
    }
    case CFG_MAP: {
        const struct config_map *v = (const void *)field;
        for (size_t i = 0; i < v->n; i++) {
            buf_putc(b, '\n');
            indent(b, depth + 1);
            put_scalar(b, v->v[i].key);
            buf_z(b, ": ");
            put_scalar(b, row->flags & CFG_SECRET ? STR(SECRET_TEXT) : v->v[i].value);
        }
        break;
    }
    case CFG_STRUCT:
        buf_putc(b, '\n');
        write_object(b, row->sub, field, all, depth + 1, false);
        return;
    case CFG_LIST: {
        const struct config_list *v = (const void *)field;
        buf_putc(b, '\n');
        for (size_t i = 0; i < v->n; i++) {
            indent(b, depth);
            buf_z(b, "- ");
            write_object(b, row->sub, (const char *)v->v + i * row->sub->size, all, depth + 1, true);
        }
        return;
    }
    case CFG_NODE:
    case CFG_CUSTOM:
        break;
    }
    buf_putc(b, '\n');
}

static void write_object(struct buf *b, const struct config_schema *s, const char *object, bool all, unsigned depth,
                         bool after_dash)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct config_row *row = &s->rows[i];
        const char *field = object + row->offset;
        if (row->type == CFG_NODE || row->type == CFG_CUSTOM || (!all && is_default(row, field)))
            continue;
        if ((row->type == CFG_STRS || row->type == CFG_MAP || row->type == CFG_LIST) && is_default(row, field))
            continue;
        if (row->type == CFG_STRUCT && row->present_offset &&
            !*(const bool *)(const void *)(object + row->present_offset))
            continue;
        if (!after_dash)
            indent(b, depth);
        after_dash = false;
        buf_z(b, row->key);
        buf_putc(b, ':');
        write_value(b, row, field, all, depth);
    }
    if (after_dash)
        buf_z(b, "{}\n");
}

void config_write(struct buf *b, const struct config_schema *s, const void *object, bool all)
{
    write_object(b, s, object, all, 0, false);
}

void config_reference(struct buf *b, const struct config_schema *s)
{
    static const char *const types[] = {
        [CFG_BOOL] = "true / false", [CFG_INT] = "whole number", [CFG_F64] = "number", [CFG_STR] = "string",
        [CFG_DURATION] = "duration", [CFG_BYTES] = "size",       [CFG_ENUM] = "word",  [CFG_STRS] = "list of strings",
        [CFG_MAP] = "mapping",       [CFG_STRUCT] = "section",   [CFG_LIST] = "list",  [CFG_NODE] = "any",
        [CFG_CUSTOM] = "special"};
    buf_fmt(b, "### %s\n\n", s->name);
    if (s->doc)
        buf_fmt(b, "%s.\n\n", s->doc);
    buf_z(b, "| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < s->n; i++) {
        const struct config_row *row = &s->rows[i];
        buf_fmt(b, "| `%s` | %s%s%s | %s | ", row->key, row->sub ? row->sub->name : types[row->type],
                row->type == CFG_LIST ? " list" : "", row->flags & CFG_SECRET ? ", secret" : "",
                row->dflt ? row->dflt : "");
        for (size_t k = 0; row->names && row->names[k]; k++)
            buf_fmt(b, "%s%s", k ? ", " : "", row->names[k]);
        if (row->min || row->max) {
            bound_text(b, row, row->min);
            buf_z(b, " to ");
            if (row->max)
                bound_text(b, row, row->max);
            else
                buf_z(b, "any");
        }
        buf_fmt(b, " | %s |\n", row->doc ? row->doc : "");
    }
    buf_putc(b, '\n');
}

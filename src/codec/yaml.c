// SPDX-License-Identifier: Apache-2.0
/* libyaml's events become a tree in the caller's arena. An alias is expanded by sharing the anchored node (the tree is
 * read-only); expanded nodes count against yaml_nodes, so an alias bomb ends at the limit. */
#include "codec/yaml.h"

#include "base/limits.h"
#include "base/map.h"
#include "base/vec.h"
#include <yaml.h>

struct sized_node { /* the node handed out, with what an alias to it costs */
    struct yaml_node node;
    int64_t weight;
    bool open; /* still being read: an alias to it would loop */
};

struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    bool have_event;
    const char *name;
    struct arena *arena;
    struct err *err;
    struct map anchors; /* name -> struct sized_node * */
    int64_t nodes;
};

static int fail(struct reader *r, yaml_mark_t at, const char *what)
{
    err_set(r->err, "%s:%zu:%zu: %s", r->name, at.line + 1, at.column + 1, what);
    return -EINVAL;
}

static int next_event(struct reader *r)
{
    if (r->have_event)
        yaml_event_delete(&r->event);
    r->have_event = false;
    if (!yaml_parser_parse(&r->parser, &r->event)) {
        const yaml_parser_t *p = &r->parser;
        yaml_mark_t at = p->problem_mark;
        if (p->error == YAML_READER_ERROR) { /* has an offset instead of a mark */
            err_set(r->err, "%s: byte %zu: %s", r->name, p->problem_offset,
                    p->problem ? p->problem : "not valid UTF-8");
            return -EINVAL;
        }
        err_set(r->err, "%s:%zu:%zu: %s%s%s", r->name, at.line + 1, at.column + 1, p->problem ? p->problem : "bad YAML",
                p->context ? " " : "", p->context ? p->context : "");
        return -EINVAL;
    }
    r->have_event = true;
    return 0;
}

static int read_node(struct reader *r, int64_t depth, struct sized_node **ret);

static bool plain_null(struct str s)
{
    return s.n == 0 || str_eq(s, STR("~")) || str_eq(s, STR("null")) || str_eq(s, STR("Null")) ||
           str_eq(s, STR("NULL"));
}

static int add_anchor(struct reader *r, const yaml_char_t *anchor, struct sized_node *n)
{
    if (anchor)
        map_put(&r->anchors, arena_str(r->arena, str_of((const char *)anchor)), n);
    return 0;
}

static struct sized_node *new_node(struct reader *r, enum yaml_kind kind)
{
    struct sized_node *n = arena_try(r->arena, sizeof(*n));
    if (!n)
        return NULL;
    n->node.kind = kind;
    n->node.line = (uint32_t)r->event.start_mark.line + 1;
    n->node.col = (uint32_t)r->event.start_mark.column + 1;
    n->weight = 1;
    return n;
}

static int read_scalar(struct reader *r, struct sized_node **ret)
{
    const char *tag = (const char *)r->event.data.scalar.tag;
    if (tag && strcmp(tag, "tag:yaml.org,2002:binary") == 0)
        return fail(r, r->event.start_mark, "a binary value is not allowed here");
    struct sized_node *n = new_node(r, YAML_SCALAR);
    if (!n)
        return -ENOMEM;
    struct str text = str_make((const char *)r->event.data.scalar.value, r->event.data.scalar.length);
    char *copy = arena_try(r->arena, text.n + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, text.p, text.n);
    n->node.s = str_make(copy, text.n);
    n->node.quoted =
        r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE || (tag && strcmp(tag, "tag:yaml.org,2002:str") == 0);
    if (!n->node.quoted && plain_null(text))
        n->node.kind = YAML_NULL;
    *ret = n;
    return add_anchor(r, r->event.data.scalar.anchor, n);
}

static int copy_items(struct reader *r, struct yaml_node ***ret, struct yaml_node **from, size_t n)
{
    if (n == 0)
        return 0;
    *ret = arena_try(r->arena, n * sizeof(**ret));
    if (!*ret)
        return -ENOMEM;
    memcpy(*ret, from, n * sizeof(**ret));
    return 0;
}

static int read_seq(struct reader *r, int64_t depth, struct sized_node **ret)
{
    struct sized_node *n = new_node(r, YAML_SEQ);
    if (!n)
        return -ENOMEM;
    add_anchor(r, r->event.data.sequence_start.anchor, n);
    n->open = true;
    VEC(struct yaml_node *) items = {0};
    int e;
    while ((e = next_event(r)) == 0 && r->event.type != YAML_SEQUENCE_END_EVENT) {
        struct sized_node *item;
        e = read_node(r, depth + 1, &item);
        if (e)
            break;
        n->weight += item->weight;
        vec_push(&items, &item->node);
    }
    n->open = false;
    n->node.n = items.n;
    if (e == 0)
        e = copy_items(r, &n->node.items, items.v, items.n);
    vec_done(&items);
    *ret = n;
    return e;
}

typedef VEC(struct yaml_node *) node_vec;

/* Keys of a merged map that the map itself does not set. */
static int merge(struct reader *r, const struct yaml_node *from, node_vec *keys, node_vec *values, struct map *seen)
{
    if (from->kind == YAML_SEQ) {
        for (size_t i = 0; i < from->n; i++) {
            int e = merge(r, from->items[i], keys, values, seen);
            if (e)
                return e;
        }
        return 0;
    }
    if (from->kind != YAML_MAP) {
        err_set(r->err, "%s:%u:%u: a merge key (<<) wants a mapping", r->name, from->line, from->col);
        return -EINVAL;
    }
    for (size_t i = 0; i < from->n; i++) {
        if (map_get(seen, from->keys[i]->s))
            continue;
        map_put(seen, from->keys[i]->s, from->keys[i]);
        vec_push(keys, from->keys[i]);
        vec_push(values, from->items[i]);
    }
    return 0;
}

static int read_pairs(struct reader *r, int64_t depth, struct sized_node *n, node_vec *keys, node_vec *values,
                      struct map *seen)
{
    const struct yaml_node *merged = NULL;
    int e;
    while ((e = next_event(r)) == 0 && r->event.type != YAML_MAPPING_END_EVENT) {
        yaml_mark_t at = r->event.start_mark;
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail(r, at, "a mapping key must be a plain word or a string");
        struct sized_node *key, *value;
        bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        if ((e = read_scalar(r, &key)) || (e = next_event(r)) || (e = read_node(r, depth + 1, &value)))
            return e;
        n->weight += 1 + value->weight;
        key->node.kind = YAML_SCALAR; /* also `null:` and `~:` are words here */
        if (plain && str_eq(key->node.s, STR("<<"))) {
            merged = &value->node;
            continue;
        }
        if (map_put(seen, key->node.s, key)) {
            err_set(r->err, "%s:%zu:%zu: key \"" STR_FMT "\" stands twice in this mapping", r->name, at.line + 1,
                    at.column + 1, STR_ARG(key->node.s));
            return -EINVAL;
        }
        vec_push(keys, &key->node);
        vec_push(values, &value->node);
    }
    return e ? e : merged ? merge(r, merged, keys, values, seen) : 0;
}

static int read_map(struct reader *r, int64_t depth, struct sized_node **ret)
{
    struct sized_node *n = new_node(r, YAML_MAP);
    if (!n)
        return -ENOMEM;
    add_anchor(r, r->event.data.mapping_start.anchor, n);
    n->open = true;
    node_vec keys = {0}, values = {0};
    struct map seen = {0};
    int e = read_pairs(r, depth, n, &keys, &values, &seen);
    n->open = false;
    n->node.n = keys.n;
    if (e == 0)
        e = copy_items(r, &n->node.keys, keys.v, keys.n);
    if (e == 0)
        e = copy_items(r, &n->node.items, values.v, values.n);
    vec_done(&keys);
    vec_done(&values);
    map_done(&seen);
    *ret = n;
    return e;
}

static int read_alias(struct reader *r, struct sized_node **ret)
{
    struct sized_node *n = map_get(&r->anchors, str_of((const char *)r->event.data.alias.anchor));
    if (!n)
        return fail(r, r->event.start_mark, "alias to an anchor that does not exist");
    if (n->open)
        return fail(r, r->event.start_mark, "alias to a node that contains it");
    r->nodes += n->weight - 1;
    *ret = n;
    return 0;
}

static int read_node(struct reader *r, int64_t depth, struct sized_node **ret)
{
    yaml_mark_t at = r->event.start_mark;
    if (depth > limit(yaml_depth))
        return fail(r, at, "nested too deep (limit yaml_depth)");
    int e;
    switch ((int)r->event.type) {
    case YAML_SCALAR_EVENT:
        e = read_scalar(r, ret);
        break;
    case YAML_SEQUENCE_START_EVENT:
        e = read_seq(r, depth, ret);
        break;
    case YAML_MAPPING_START_EVENT:
        e = read_map(r, depth, ret);
        break;
    case YAML_ALIAS_EVENT:
        e = read_alias(r, ret);
        break;
    default:
        return fail(r, at, "unexpected end of the document");
    }
    if (e == 0 && ++r->nodes > limit(yaml_nodes))
        return fail(r, at, "too many nodes, aliases expanded (limit yaml_nodes)");
    return e;
}

static int read_document(struct reader *r, struct yaml_node **ret)
{
    int e = next_event(r); /* stream start */
    if (e || (e = next_event(r)))
        return e;
    if (r->event.type == YAML_STREAM_END_EVENT) {
        struct sized_node *empty = new_node(r, YAML_NULL);
        if (!empty)
            return -ENOMEM;
        *ret = &empty->node;
        return 0;
    }
    struct sized_node *root;
    if ((e = next_event(r)) || (e = read_node(r, 1, &root)) || (e = next_event(r)) || (e = next_event(r)))
        return e;
    if (r->event.type != YAML_STREAM_END_EVENT)
        return fail(r, r->event.start_mark, "a second document begins here, one is allowed");
    *ret = &root->node;
    return 0;
}

int yaml_parse(struct str text, const char *name, struct arena *a, struct yaml_node **ret, struct err *e)
{
    struct reader r = {.name = name, .arena = a, .err = e};
    if (!yaml_parser_initialize(&r.parser))
        return -ENOMEM;
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    int result = read_document(&r, ret);
    if (result == -ENOMEM)
        err_set(e, "%s: too large for the memory set aside for it", name);
    if (r.have_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    map_done(&r.anchors);
    return result;
}

struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (!map || map->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (str_eqz(map->keys[i]->s, key))
            return map->items[i];
    return NULL;
}

bool yaml_bool(const struct yaml_node *n, bool *ret)
{
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"};
    static const char *const no[] = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"};
    if (!n || n->kind != YAML_SCALAR || n->quoted)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (str_eqz(n->s, yes[i]) || str_eqz(n->s, no[i])) {
            *ret = str_eqz(n->s, yes[i]);
            return true;
        }
    }
    return false;
}

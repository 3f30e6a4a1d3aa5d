// SPDX-License-Identifier: Apache-2.0
#pragma once
/* YAML documents as a tree with line:column (libyaml events, our own tree). JSON is accepted as the YAML subset it is.
 * Duplicate keys, anchors that loop, depth and node limits are errors. Merge keys (<<) are expanded. */
#include "base/arena.h"
#include "base/error.h"

enum yaml_kind { YAML_NULL, YAML_SCALAR, YAML_SEQ, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind; /* YAML_NULL: empty plain scalar, ~ or null */
    bool quoted;         /* scalar was quoted or a block: always text */
    uint32_t line, col;  /* from 1 */
    struct str s;        /* scalar text */
    size_t n;
    struct yaml_node **items; /* sequence items, or map values */
    struct yaml_node **keys;  /* map keys (scalars) */
};

/* Parse the first document (an empty file gives a YAML_NULL node; a second document is an error). All memory in the
 * arena. 0; -EINVAL with "name:line:col: reason"; limits yaml_depth, yaml_nodes. */
MUST_USE int yaml_parse(struct str text, const char *name, struct arena *a, struct yaml_node **ret, struct err *e);
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key); /* NULL when absent */
/* YAML 1.2 core (plus yes/no/on/off as Go's yaml.v2 reads them into bools). */
bool yaml_bool(const struct yaml_node *n, bool *ret);

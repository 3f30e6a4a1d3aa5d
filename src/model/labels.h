// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Label sets: the identity of a series. A set is sorted by name (byte order), names are unique, no value is empty (an
 * empty value is the same as no label), names and values are valid UTF-8. Sets are borrowed views: whoever made them
 * (an arena, the engine's string table) keeps the bytes. */
#include "base/arena.h"
#include "base/vec.h"
#include "codec/json.h"

struct label {
    struct str name, value;
};

struct labels {
    const struct label *v;
    size_t n;
};

#define LABEL_NAME "__name__"

struct str labels_get(struct labels l, struct str name); /* empty when absent */
bool labels_has(struct labels l, struct str name);
int labels_cmp(struct labels a, struct labels b); /* Prometheus' order: name, value, name, value ... */
bool labels_equal(struct labels a, struct labels b);
/* Stable over processes (may be stored). */
uint64_t labels_hash(struct labels l);
/* Hash over the names in `names` (sorted) only, or over all but them and the metric name when `without`: for grouping
 * and matching. */
uint64_t labels_hash_by(struct labels l, const struct str *names, size_t n, bool without);
/* Copy set and bytes into the arena. */
struct labels labels_copy(struct arena *a, struct labels l);
/* {a="b", c="d"} with names quoted where needed; name{...} form with the metric name in front. */
void labels_format(struct buf *b, struct labels l);
void labels_format_metric(struct buf *b, struct labels l);
void labels_json(struct jw *w, struct labels l); /* an object */
/* Read `name{a="b"}` or `{a="b"}`; into the arena. */
MUST_USE int labels_parse(struct str text, struct arena *a, struct labels *ret, struct err *e);

/* FNV/xxh independent fingerprint used by Alertmanager (FNV-1a over name 0xff value 0xff, Prometheus
 * model.LabelSet.Fingerprint). */
uint64_t labels_fingerprint(struct labels l);

bool label_name_legacy(struct str s);  /* [a-zA-Z_][a-zA-Z0-9_]* */
bool metric_name_legacy(struct str s); /* [a-zA-Z_:][a-zA-Z0-9_:]* */

/* Builder: starts from a base set, then set and delete in any order; borrowed strings. */
struct labels_builder {
    VEC(struct label) v; /* unsorted, unique names; deleted ones have an empty value */
};
void lb_init(struct labels_builder *b,
             struct labels base); /* b: zeroed at first; may be begun again without lb_done() */
void lb_set(struct labels_builder *b, struct str name, struct str value); /* empty value deletes */
void lb_del(struct labels_builder *b, struct str name);
struct str lb_get(const struct labels_builder *b, struct str name);
/* The sorted set; array in the arena, strings still borrowed (labels_copy to own them). */
struct labels lb_labels(struct labels_builder *b, struct arena *a);
void lb_done(struct labels_builder *b);

// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Relabelling: rewrite or drop a label set by a list of rules (targets before a scrape, samples after it, alerts on
 * their way out). Semantics and defaults are those of Prometheus 3.x relabel_config. */
#include "codec/regex.h"
#include "model/labels.h"

enum relabel_action {
    RELABEL_REPLACE,
    RELABEL_KEEP,
    RELABEL_DROP,
    RELABEL_KEEPEQUAL,
    RELABEL_DROPEQUAL,
    RELABEL_HASHMOD,
    RELABEL_LABELMAP,
    RELABEL_LABELDROP,
    RELABEL_LABELKEEP,
    RELABEL_LOWERCASE,
    RELABEL_UPPERCASE,
    RELABEL_ACTION_COUNT
};
extern const char *const relabel_action_names[RELABEL_ACTION_COUNT + 1]; /* NULL-terminated */

struct relabel_rule {
    enum relabel_action action;
    const struct str *sources; /* label names, values joined by separator */
    size_t n_sources;
    struct str separator; /* default ; */
    struct str target;
    struct str pattern;     /* default (.*), anchored, dot matches newline */
    struct str replacement; /* default $1 */
    uint64_t modulus;
    bool pattern_set, separator_set, replacement_set; /* written in the file: some actions refuse them */
    bool legacy_names;                                /* target names must be [a-zA-Z_][a-zA-Z0-9_]* */
    struct regex *re;                                 /* made by relabel_rule_check; owned */
};

/* Fill in defaults that are not set, check as Prometheus' Config.Validate and compile the pattern. Strings are
 * borrowed. 0, or -EINVAL with the reason. */
MUST_USE int relabel_rule_check(struct relabel_rule *r, struct err *e);
void relabel_rule_done(struct relabel_rule *r); /* the pattern only */

/* Apply all rules in order. false: the set is to be dropped (b is then in an undefined but valid state). New strings
 * live in the arena. Thread-safe for shared rules. */
bool relabel_apply(const struct relabel_rule *rules, size_t n, struct labels_builder *b, struct arena *a);

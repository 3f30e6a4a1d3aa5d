// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Label matchers: `name OP "value"`. Regular expressions are RE2, fully anchored, dot matches newline. */
#include "codec/regex.h"
#include "model/labels.h"

enum match_op { MATCH_EQ, MATCH_NE, MATCH_RE, MATCH_NRE };
extern const char *const match_op_names[]; /* "=", "!=", "=~", "!~" */

struct matcher {
    enum match_op op;
    struct str name, value;
    struct regex *re; /* MATCH_RE, MATCH_NRE; owned by the matcher */
};

/* Compiles the expression where there is one; strings are borrowed. 0, or -EINVAL with the reason. */
MUST_USE int matcher_init(struct matcher *m, enum match_op op, struct str name, struct str value, struct err *e);
void matcher_done(struct matcher *m);
/* An absent label has the empty value. */
bool matcher_value(const struct matcher *m, struct str value);
bool matcher_labels(const struct matcher *m, struct labels l);
bool matchers_all(const struct matcher *m, size_t n, struct labels l);
void matcher_format(struct buf *b, const struct matcher *m); /* name="value", quoted as PromQL */

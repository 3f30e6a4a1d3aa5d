// SPDX-License-Identifier: Apache-2.0
#include "model/matcher.h"

const char *const match_op_names[] = {[MATCH_EQ] = "=", [MATCH_NE] = "!=", [MATCH_RE] = "=~", [MATCH_NRE] = "!~"};

int matcher_init(struct matcher *m, enum match_op op, struct str name, struct str value, struct err *e)
{
    struct regex *re = NULL;
    if (op == MATCH_RE || op == MATCH_NRE) {
        int r = regex_new(value, REGEX_ANCHORED | REGEX_DOT_NL, &re, e);
        if (r)
            return r;
    }
    *m = (struct matcher){.op = op, .name = name, .value = value, .re = re};
    return 0;
}

void matcher_done(struct matcher *m)
{
    m->re = regex_free(m->re);
}

bool matcher_value(const struct matcher *m, struct str value)
{
    switch (m->op) {
    case MATCH_EQ:
        return str_eq(m->value, value);
    case MATCH_NE:
        return !str_eq(m->value, value);
    case MATCH_RE:
        return regex_match(m->re, value);
    case MATCH_NRE:
        return !regex_match(m->re, value);
    }
    return false;
}

bool matcher_labels(const struct matcher *m, struct labels l)
{
    return matcher_value(m, labels_get(l, m->name));
}

bool matchers_all(const struct matcher *m, size_t n, struct labels l)
{
    for (size_t i = 0; i < n; i++)
        if (!matcher_labels(&m[i], l))
            return false;
    return true;
}

void matcher_format(struct buf *b, const struct matcher *m)
{
    /* Reuse the quoting of label sets: {name="value"} without its braces. */
    struct label l = {.name = m->name, .value = m->value};
    _cleanup_buf_ struct buf tmp = BUF_INIT(m->name.n * 4 + m->value.n * 4 + 16);
    labels_format(&tmp, (struct labels){.v = &l, .n = 1});
    struct str text = str_sub(buf_view(&tmp), 1, tmp.n - 1);
    struct label only_name = {.name = m->name, .value = STR("")};
    _cleanup_buf_ struct buf head = BUF_INIT(m->name.n * 4 + 16);
    labels_format(&head, (struct labels){.v = &only_name, .n = 1});
    size_t name_len = head.n - 2 - 3; /* { } and ="" */
    buf_str(b, str_sub(text, 0, name_len));
    buf_z(b, match_op_names[m->op]);
    buf_str(b, str_sub(text, name_len + 1, text.n));
}

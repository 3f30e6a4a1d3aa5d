// SPDX-License-Identifier: Apache-2.0
/* What the contracts carry in common: columns, and the words of their enumerations. */
#include "model/event.h"
#include "model/sink.h"
#include "model/source.h"

const char *const row_status_text[ROW_STATUS_COUNT] = {
    [ROW_OK] = "ok",
    [ROW_DUPLICATE] = "duplicate",
    [ROW_DUP_VALUE] = "duplicate sample for timestamp",
    [ROW_OUT_OF_ORDER] = "out of order sample",
    [ROW_TOO_OLD] = "too old sample",
    [ROW_TOO_NEW] = "sample too far in the future",
    [ROW_BAD_LABELS] = "invalid labels",
    [ROW_NO_SPACE] = "no space left on the disk",
};

const char *const severity_names[] = {
    [SEV_NONE] = "", [SEV_INFO] = "info", [SEV_WARNING] = "warning", [SEV_CRITICAL] = "critical"};

enum severity severity_parse(struct str s)
{
    static const struct {
        const char *word;
        enum severity severity;
    } words[] = {
        {"critical", SEV_CRITICAL}, {"fatal", SEV_CRITICAL},        {"page", SEV_CRITICAL},   {"error", SEV_CRITICAL},
        {"major", SEV_CRITICAL},    {"critique", SEV_CRITICAL},     {"warning", SEV_WARNING}, {"warn", SEV_WARNING},
        {"minor", SEV_WARNING},     {"avertissement", SEV_WARNING}, {"info", SEV_INFO},       {"information", SEV_INFO},
        {"notice", SEV_INFO}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_ieq(s, str_of(words[i].word)))
            return words[i].severity;
    return SEV_NONE;
}

void column_done(struct column *c)
{
    free(c->t);
    free(c->v);
    free(c->h);
    free(c->st);
    arena_free(c->hists);
    *c = (struct column){0};
}

void column_reset(struct column *c)
{
    c->n = 0;
    free(c->h);
    free(c->st);
    c->h = NULL;
    c->st = NULL;
    if (c->hists)
        arena_reset(c->hists);
}

void column_reserve(struct column *c, size_t n)
{
    if (c->n + n <= c->cap)
        return;
    size_t cap = MAX(c->cap * 2, MAX(c->n + n, (size_t)256));
    c->t = xrealloc(c->t, cap * sizeof(*c->t));
    c->v = xrealloc(c->v, cap * sizeof(*c->v));
    if (c->h)
        c->h = xrealloc(c->h, cap * sizeof(*c->h));
    if (c->st)
        c->st = xrealloc(c->st, cap * sizeof(*c->st));
    c->cap = cap;
}

void column_push(struct column *c, int64_t t, double v)
{
    column_reserve(c, 1);
    c->t[c->n] = t;
    c->v[c->n] = v;
    if (c->h)
        c->h[c->n] = NULL;
    if (c->st)
        c->st[c->n] = 0;
    c->n++;
}

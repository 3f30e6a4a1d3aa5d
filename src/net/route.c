// SPDX-License-Identifier: Apache-2.0
#include "net/route_int.h"

#include "codec/url.h"

void routes_add(struct route_table *t, const struct http_route *rows, size_t n, void *ctx)
{
    for (size_t i = 0; i < n; i++) {
        ASSERT(rows[i].path[0] == '/' && rows[i].methods && rows[i].handle && rows[i].doc);
        struct route_entry *e = NEW(struct route_entry);
        e->row = &rows[i];
        e->ctx = ctx;
        vec_push(&t->v, e);
    }
}

void routes_done(struct route_table *t)
{
    for (size_t i = 0; i < t->v.n; i++)
        free(t->v.v[i]);
    vec_done(&t->v);
}

/* Segment by segment; each segment of the path is decoded by itself, so an escaped slash never makes a new segment.
 * Returns 0 no, else a rank: more literal segments win, a rest ranks lowest. */
static unsigned match(const struct http_route *row, struct str path, struct arena *a, struct route_match *m, int *err)
{
    struct str pat = str_of(row->path);
    unsigned rank = 1;
    m->n_params = 0;
    pat = str_sub(pat, 1, pat.n);
    path = str_sub(path, 1, path.n);
    for (;;) {
        struct str want, got, pat_rest, path_rest, text;
        bool more_pat = str_cut(pat, '/', &want, &pat_rest);
        if (want.n > 2 && want.p[0] == '{') {
            bool rest = want.p[want.n - 2] == '*';
            struct str name = str_sub(want, 1, want.n - (rest ? 2 : 1));
            bool more_path = str_cut(path, '/', &got, &path_rest);
            if (rest)
                got = path;
            if (str_empty(got) && !rest)
                return 0;
            if (!url_decode(got, false, a, &text) || memchr(text.p ? text.p : "", 0, text.n)) {
                *err = -EINVAL;
                return 0;
            }
            ASSERT(m->n_params < ROUTE_PARAMS_MAX);
            m->params[m->n_params].name = name;
            m->params[m->n_params++].value = text;
            if (rest)
                return rank;
            if (more_pat != more_path)
                return 0;
            rank += 1;
        } else {
            bool more_path = str_cut(path, '/', &got, &path_rest);
            if (!url_decode(got, false, a, &text)) {
                *err = -EINVAL;
                return 0;
            }
            if (!str_eq(text, want) || more_pat != more_path)
                return 0;
            rank += 100;
        }
        if (!more_pat)
            return rank + 1000;
        pat = pat_rest;
        path = path_rest;
    }
}

int routes_find(const struct route_table *t, struct str path, unsigned method, struct arena *a, struct route_match *ret)
{
    unsigned best = 0;
    *ret = (struct route_match){0};
    unsigned allowed = 0;
    for (size_t i = 0; i < t->v.n; i++) {
        struct route_match m = {0};
        int err = 0;
        unsigned rank = match(t->v.v[i]->row, path, a, &m, &err);
        if (err < 0)
            return err;
        if (!rank)
            continue;
        allowed |= t->v.v[i]->row->methods;
        if (rank > best && (t->v.v[i]->row->methods & method)) {
            best = rank;
            *ret = m;
            ret->entry = t->v.v[i];
        }
    }
    ret->allowed = allowed;
    return 0;
}

void route_count(struct route_entry *e, unsigned status)
{
    for (size_t i = 0; i < ROUTE_CODES; i++) {
        uint32_t code = atomic_load_explicit(&e->answers[i].code, memory_order_relaxed);
        if (code == 0) {
            uint32_t none = 0;
            code = atomic_compare_exchange_strong(&e->answers[i].code, &none, status) ? status : none;
        }
        if (code == status || i + 1 == ROUTE_CODES) {
            atomic_fetch_add_explicit(&e->answers[i].n, 1, memory_order_relaxed);
            return;
        }
    }
}

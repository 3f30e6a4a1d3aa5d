// SPDX-License-Identifier: Apache-2.0
/* Binary operators. A scalar side streams; two vectors are matched through a table of signatures. Rules and error texts
 * follow VectorBinop and friends in promql/engine.go of Prometheus 3.14. */
#include "promql/exec_int.h"
#include "base/map.h"
#include "base/mem.h"
#include <math.h>

double scalar_op(enum token_kind op, double l, double r)
{
    switch ((int)op) {
    case T_ADD:
        return l + r;
    case T_SUB:
        return l - r;
    case T_MUL:
        return l * r;
    case T_DIV:
        return l / r;
    case T_POW:
        return pow(l, r);
    case T_MOD:
        return fmod(l, r);
    case T_ATAN2:
        return atan2(l, r);
    case T_EQLC:
        return l == r;
    case T_NEQ:
        return l != r;
    case T_GTR:
        return l > r;
    case T_LSS:
        return l < r;
    case T_GTE:
        return l >= r;
    case T_LTE:
        return l <= r;
    default:
        return NAN;
    }
}

/* Whether the result is another quantity than the left side. */
static bool drops_name(enum token_kind op)
{
    return !op_is_comparison(op) && op != T_TRIM_UPPER && op != T_TRIM_LOWER;
}

struct value {
    double v;
    const struct histogram *h; /* instead of v */
};

struct bin_run {
    struct exec *x;
    const struct frame *f;
    const struct expr *e;
    enum token_kind op;
    bool comparison, returns_bool;
    struct arena *hists;
};

static void note_types(struct bin_run *b, bool lh, bool rh)
{
    const char *op = token_word(b->op);
    x_note(b->x, NOTE_BINARY_TYPES, b->e->start, STR(""),
           arena_fmt(b->x->a, "\"%s\": %s %s %s", op, lh ? "histogram" : "float", op, rh ? "histogram" : "float"));
}

static const struct histogram *add_or_sub(struct bin_run *b, const struct histogram *l, const struct histogram *r)
{
    unsigned status = 0;
    struct histogram *h = b->op == T_ADD ? hist_add(b->hists, l, r, &status) : hist_sub(b->hists, l, r, &status);
    if (!h) {
        x_note(b->x, NOTE_BINARY_LAYOUT, b->e->start, STR(""), str_of(token_word(b->op)));
        return NULL;
    }
    const char *what = b->op == T_ADD ? "addition" : "subtraction";
    if (status & HIST_RECONCILED)
        x_note(b->x, NOTE_RECONCILED, b->e->start, STR(""), str_of(what));
    if (status & HIST_RESET_CONFLICT)
        x_note(b->x, NOTE_RESET_CONFLICT, b->e->start, STR(""), str_of(what));
    return hist_compact(b->hists, h);
}

/* One pair where a histogram takes part. false: no result. */
static bool histogram_op(struct bin_run *b, struct value l, struct value r, struct value *ret)
{
    if (l.h && r.h) {
        switch ((int)b->op) {
        case T_ADD:
        case T_SUB: {
            const struct histogram *h = add_or_sub(b, l.h, r.h);
            *ret = (struct value){.v = stale_nan(), .h = h};
            return h != NULL;
        }
        case T_EQLC:
        case T_NEQ: {
            bool keep = fhist_equal(l.h, r.h) == (b->op == T_EQLC);
            *ret = b->returns_bool ? (struct value){.v = keep} : l;
            return keep || b->returns_bool;
        }
        default:
            note_types(b, true, true);
            return false;
        }
    }
    if (l.h && !r.h) {
        struct histogram *h = NULL;
        switch ((int)b->op) {
        case T_MUL:
            h = hist_scale(b->hists, l.h, r.v);
            break;
        case T_DIV:
            h = hist_divide(b->hists, l.h, r.v);
            break;
        case T_TRIM_UPPER:
        case T_TRIM_LOWER:
            h = hist_trim(b->hists, l.h, r.v, b->op == T_TRIM_UPPER);
            break;
        default:
            break;
        }
        if (h) {
            *ret = (struct value){.v = stale_nan(), .h = h};
            return true;
        }
    } else if (r.h && b->op == T_MUL) {
        *ret = (struct value){.v = stale_nan(), .h = hist_scale(b->hists, r.h, l.v)};
        return true;
    }
    note_types(b, l.h != NULL, r.h != NULL);
    return false;
}

/* One pair of elements. false: no result. */
static bool element_op(struct bin_run *b, struct value l, struct value r, struct value *ret)
{
    if (l.h || r.h)
        return histogram_op(b, l, r, ret);
    if (b->op == T_TRIM_UPPER || b->op == T_TRIM_LOWER) {
        note_types(b, false, false);
        return false;
    }
    double v = scalar_op(b->op, l.v, r.v);
    if (!b->comparison || b->returns_bool) {
        *ret = (struct value){.v = v};
        return true;
    }
    *ret = (struct value){.v = l.v};
    return v != 0;
}

/* ---- A vector and a scalar --------------------------------------------------------- */

struct scalar_side {
    struct bin_run b;
    double *scalar;
    bool swapped; /* the scalar stands on the left */
    row_fn emit;
    void *ctx;
};

static void float_loop(struct scalar_side *s, double *v, size_t n)
{
    const double *k = s->scalar;
    enum token_kind op = s->b.op;
#define EACH(expr)                                                                                                     \
    for (size_t i = 0; i < n; i++)                                                                                     \
        if (has_float(v[i])) {                                                                                         \
            double a = s->swapped ? k[i] : v[i], c = s->swapped ? v[i] : k[i];                                         \
            v[i] = (expr);                                                                                             \
        }
    if (s->b.comparison && !s->b.returns_bool) {
        EACH(scalar_op(op, a, c) != 0 ? v[i] : stale_nan())
        return;
    }
    switch ((int)op) {
    case T_ADD:
        EACH(a + c)
        break;
    case T_SUB:
        EACH(a - c)
        break;
    case T_MUL:
        EACH(a * c)
        break;
    case T_DIV:
        EACH(a / c)
        break;
    default:
        EACH(scalar_op(op, a, c))
        break;
    }
#undef EACH
}

static int scalar_side_take(void *ctx, struct row *r)
{
    struct scalar_side *s = ctx;
    size_t n = s->b.f->n;
    bool trim = s->b.op == T_TRIM_LOWER || s->b.op == T_TRIM_UPPER;
    if (!r->h && !trim) {
        float_loop(s, r->v, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            if (!has_point(r, i))
                continue;
            struct value v = {.v = r->v[i], .h = r->h ? r->h[i] : NULL}, k = {.v = s->scalar[i]}, out;
            if (!element_op(&s->b, s->swapped ? k : v, s->swapped ? v : k, &out)) {
                r->v[i] = stale_nan();
                if (r->h)
                    r->h[i] = NULL;
                continue;
            }
            if (s->b.comparison && !s->b.returns_bool)
                continue; /* the element stays as it is */
            r->v[i] = out.h ? stale_nan() : out.v;
            if (r->h)
                r->h[i] = out.h;
        }
    }
    if (drops_name(s->b.op) || s->b.returns_bool)
        r->drop_name = true;
    bool filters = (s->b.comparison && !s->b.returns_bool) || r->h || trim;
    int rc = filters && !row_any(r, n) ? 0 : s->emit(s->ctx, r);
    arena_reset(s->b.hists);
    return rc;
}

/* ---- Signatures -------------------------------------------------------------------- */

struct sig { /* the rows of both sides that may match */
    struct labels key;
    struct sig *next;
    VEC(uint32_t) l, r;
    uint8_t *seen;           /* per step */
    const struct row *first; /* when looking for duplicates */
};

struct match {
    struct bin_run b;
    struct str *names; /* sorted */
    size_t n_names;
    struct rows l, r;
    VEC(struct sig *) sigs;
    struct idmap by_hash;
    struct row_map out; /* several pairs may make one series */
};

static int compare_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static bool in_list(const struct str *v, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(v[i], name))
            return true;
    return false;
}

static bool signs(const struct match *m, struct str name)
{
    bool named = in_list(m->names, m->n_names, name);
    return m->b.e->bin.on ? named : !named && !str_eqz(name, LABEL_NAME);
}

static bool same_key(const struct match *m, struct labels row, struct labels key)
{
    size_t k = 0;
    for (size_t i = 0; i < row.n; i++) {
        if (!signs(m, row.v[i].name))
            continue;
        if (k == key.n || !str_eq(row.v[i].name, key.v[k].name) || !str_eq(row.v[i].value, key.v[k].value))
            return false;
        k++;
    }
    return k == key.n;
}

static struct sig *find_sig(struct match *m, struct labels row)
{
    struct exec *x = m->b.x;
    uint64_t hash = labels_hash_by(row, m->names, m->n_names, !m->b.e->bin.on), at;
    bool known = idmap_get(&m->by_hash, hash, &at);
    struct sig *s = known ? m->sigs.v[at] : NULL;
    while (s && !same_key(m, row, s->key))
        s = s->next;
    if (s)
        return s;
    struct label *v = X_ARRAY(x, struct label, row.n);
    s = X_ARRAY(x, struct sig, 1);
    if (!v || !s)
        return NULL;
    size_t k = 0;
    for (size_t i = 0; i < row.n; i++)
        if (signs(m, row.v[i].name))
            v[k++] = row.v[i];
    s->key = (struct labels){.v = v, .n = k};
    if (known) {
        s->next = m->sigs.v[at]->next;
        m->sigs.v[at]->next = s;
    } else {
        idmap_put(&m->by_hash, hash, m->sigs.n);
    }
    vec_push(&m->sigs, s);
    return s;
}

static int index_rows(struct match *m)
{
    for (size_t i = 0; i < m->l.n; i++) {
        struct sig *s = find_sig(m, m->l.v[i].labels);
        if (!s)
            return QUERY_E_BUDGET;
        vec_push(&s->l, (uint32_t)i);
    }
    for (size_t i = 0; i < m->r.n; i++) {
        struct sig *s = find_sig(m, m->r.v[i].labels);
        if (!s)
            return QUERY_E_BUDGET;
        vec_push(&s->r, (uint32_t)i);
    }
    return 0;
}

static int set_point(struct match *m, struct row *o, size_t i, struct value v)
{
    if (v.h) {
        if (!o->h && !(o->h = X_ARRAY(m->b.x, const struct histogram *, m->b.f->n)))
            return QUERY_E_BUDGET;
        o->h[i] = hist_copy(m->b.x->a, v.h);
        o->v[i] = stale_nan();
        return 0;
    }
    o->v[i] = v.v;
    return 0;
}

static struct value value_at(const struct row *r, size_t i)
{
    return (struct value){.v = r->v[i], .h = r->h ? r->h[i] : NULL};
}

/* ---- Set operators ----------------------------------------------------------------- */

static int mark_seen(struct match *m, struct sig *s, bool left)
{
    size_t n = m->b.f->n;
    if (!(s->seen = X_ARRAY(m->b.x, uint8_t, n)))
        return QUERY_E_BUDGET;
    const struct rows *rows = left ? &m->l : &m->r;
    size_t count = left ? s->l.n : s->r.n;
    const uint32_t *v = left ? s->l.v : s->r.v;
    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; i < n; i++)
            s->seen[i] |= has_point(&rows->v[v[k]], i);
    return 0;
}

static int merge_out(struct match *m, const struct row *r)
{
    struct row *o;
    int rc = row_map_get(&m->out, r->labels, &o);
    if (rc != 0)
        return rc;
    o->drop_name |= r->drop_name;
    return rows_merge(&m->out.rows, o, r);
}

static int set_operator(struct match *m, row_fn emit, void *ctx)
{
    size_t n = m->b.f->n;
    bool either = m->b.op == T_OR;
    int rc = 0;
    if (either)
        for (size_t k = 0; rc == 0 && k < m->l.n; k++)
            rc = merge_out(m, &m->l.v[k]);
    for (size_t s = 0; rc == 0 && s < m->sigs.n; s++) {
        struct sig *sig = m->sigs.v[s];
        rc = mark_seen(m, sig, either);
        size_t count = either ? sig->r.n : sig->l.n;
        for (size_t k = 0; rc == 0 && k < count; k++) {
            struct row *r = either ? &m->r.v[sig->r.v[k]] : &m->l.v[sig->l.v[k]];
            bool keep_seen = m->b.op == T_AND;
            for (size_t i = 0; i < n; i++)
                if ((bool)sig->seen[i] != keep_seen) {
                    r->v[i] = stale_nan();
                    if (r->h)
                        r->h[i] = NULL;
                }
        }
    }
    const struct rows *from = either ? &m->r : &m->l;
    for (size_t k = 0; rc == 0 && k < from->n; k++) {
        struct row *r = &from->v[k];
        if (!row_any(r, n))
            continue;
        rc = either ? merge_out(m, r) : emit(ctx, r);
    }
    return rc == 0 && either ? row_map_emit(&m->out, emit, ctx) : rc;
}

/* ---- Arithmetic and comparison ----------------------------------------------------- */

/* One-to-many swaps the sides, so that the many side is always called the left one here. */
static bool sides_swapped(const struct match *m)
{
    return m->b.e->bin.card == CARD_ONE_TO_MANY;
}

static int duplicates(struct match *m, const struct sig *s, const struct row *a, const struct row *b)
{
    struct buf t = BUF_INIT(4096);
    buf_z(&t, "found duplicate series for the match group ");
    labels_format(&t, s->key);
    buf_fmt(&t, " on the %s hand-side of the operation: [", sides_swapped(m) ? "left" : "right");
    labels_format(&t, b->labels);
    buf_z(&t, ", ");
    labels_format(&t, a->labels);
    buf_z(&t, "];many-to-many matching not allowed: matching labels must be unique on one side");
    int rc = x_fail(m->b.x, QUERY_E_EXEC, "%s", buf_cstr(&t));
    buf_done(&t);
    return rc;
}

/* There are two elements on the one side somewhere: name those that an evaluation step by step would meet first. */
static int first_duplicates(struct match *m)
{
    const struct rows *one = sides_swapped(m) ? &m->l : &m->r;
    struct sig **sig = X_ARRAY(m->b.x, struct sig *, one->n);
    if (!sig)
        return QUERY_E_BUDGET;
    for (size_t k = 0; k < one->n; k++)
        if (!(sig[k] = find_sig(m, one->v[k].labels)))
            return QUERY_E_BUDGET;
    for (size_t i = 0; i < m->b.f->n; i++) {
        for (size_t s = 0; s < m->sigs.n; s++)
            m->sigs.v[s]->first = NULL;
        for (size_t k = 0; k < one->n; k++) {
            const struct row *r = &one->v[k];
            if (!has_point(r, i))
                continue;
            if (sig[k]->first)
                return duplicates(m, sig[k], sig[k]->first, r);
            sig[k]->first = r;
        }
    }
    BUG("duplicates vanished");
}

/* Labels of the result: the left (many) side's, without the name where it becomes another quantity, cut to the matching
 * labels one to one, with the labels of group_x taken from the one side. */
static struct labels result_labels(struct match *m, struct labels l, struct labels one)
{
    const struct expr *e = m->b.e;
    struct labels_builder b = {0};
    lb_init(&b, l);
    if (drops_name(m->b.op)) {
        lb_del(&b, STR(LABEL_NAME));
        lb_del(&b, STR("__type__"));
        lb_del(&b, STR("__unit__"));
    }
    if (e->bin.card == CARD_ONE_TO_ONE)
        for (size_t i = 0; i < l.n; i++)
            if (in_list(m->names, m->n_names, l.v[i].name) != e->bin.on)
                lb_del(&b, l.v[i].name);
    for (size_t i = 0; i < e->bin.include.n; i++) {
        struct str v = labels_get(one, e->bin.include.v[i]);
        if (v.n)
            lb_set(&b, e->bin.include.v[i], v);
        else
            lb_del(&b, e->bin.include.v[i]);
    }
    struct labels out = labels_build(m->b.x, &b);
    lb_done(&b);
    return out;
}

struct pair_cache { /* of the last pair: labels are the same at most steps */
    const struct row *many, *one;
    size_t out; /* index in m->out */
    bool valid;
};

/* One pair at one step. many or one may be NULL where a fill value stands in. */
static int pair_step(struct match *m, struct sig *s, const struct row *many, const struct row *one, size_t i,
                     struct value lv, struct value rv, struct pair_cache *cache)
{
    bool swapped = sides_swapped(m);
    struct value out;
    bool keep = swapped ? element_op(&m->b, rv, lv, &out) : element_op(&m->b, lv, rv, &out);
    if (!cache->valid || cache->many != many || cache->one != one) {
        if (!keep)
            return 0;
        struct row *o;
        int rc = row_map_get(
            &m->out, result_labels(m, many ? many->labels : s->key, one ? one->labels : (struct labels){0}), &o);
        if (rc != 0)
            return rc;
        *cache = (struct pair_cache){.many = many, .one = one, .out = (size_t)(o - m->out.rows.v), .valid = true};
    }
    if (!keep)
        return 0;
    struct row *o = &m->out.rows.v[cache->out];
    o->drop_name |= m->b.returns_bool || (many && !drops_name(m->b.op) && many->drop_name);
    if (has_point(o, i))
        return x_fail(
            m->b.x, QUERY_E_EXEC,
            m->b.e->bin.card == CARD_ONE_TO_ONE
                ? "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                : "multiple matches for labels: grouping labels must ensure unique matches");
    return set_point(m, o, i, out);
}

static int match_sig(struct match *m, struct sig *s)
{
    const struct expr *e = m->b.e;
    size_t n = m->b.f->n;
    bool swapped = sides_swapped(m);
    const struct rows *many = swapped ? &m->r : &m->l, *one = swapped ? &m->l : &m->r;
    const uint32_t *mv = swapped ? s->r.v : s->l.v, *ov = swapped ? s->l.v : s->r.v;
    size_t nm = swapped ? s->r.n : s->l.n, no = swapped ? s->l.n : s->r.n;
    /* Prometheus swaps the sides of one-to-many before it looks at the fill values, and does not swap those: fill_left
     * always stands in on the many side. */
    bool fills_one = e->bin.fills_right, fills_many = e->bin.fills_left;
    double fill_one = e->bin.fill_right, fill_many = e->bin.fill_left;
    if ((no == 0 && !fills_one) || (nm == 0 && !fills_many)) {
        /* duplicates on the one side are an error even when nothing matches them */
        if (no < 2)
            return 0;
    }
    struct exec *x = m->b.x;
    const struct row **at = X_ARRAY(x, const struct row *, n); /* the one side's element per step */
    uint8_t *matched = X_ARRAY(x, uint8_t, n);
    if (!at || !matched)
        return QUERY_E_BUDGET;
    for (size_t k = 0; k < no; k++) {
        const struct row *r = &one->v[ov[k]];
        for (size_t i = 0; i < n; i++) {
            if (!has_point(r, i))
                continue;
            if (at[i])
                return first_duplicates(m);
            at[i] = r;
        }
    }
    int rc = 0;
    bool single = e->bin.card == CARD_ONE_TO_ONE;
    for (size_t k = 0; k < nm; k++) {
        const struct row *r = &many->v[mv[k]];
        struct pair_cache cache = {0};
        if ((rc = x_check(x)) != 0)
            return rc;
        for (size_t i = 0; i < n; i++) {
            if (!has_point(r, i))
                continue;
            if (!at[i] && !fills_one)
                continue;
            if (single && matched[i])
                return x_fail(
                    x, QUERY_E_EXEC,
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)");
            matched[i] = 1;
            struct value ov1 = at[i] ? value_at(at[i], i) : (struct value){.v = fill_one};
            if ((rc = pair_step(m, s, r, at[i], i, value_at(r, i), ov1, &cache)) != 0)
                return rc;
        }
        arena_reset(m->b.hists);
    }
    if (!fills_many)
        return 0;
    struct pair_cache cache = {0};
    for (size_t i = 0; i < n; i++) {
        if (!at[i] || matched[i])
            continue;
        if ((rc = pair_step(m, s, NULL, at[i], i, (struct value){.v = fill_many}, value_at(at[i], i), &cache)) != 0)
            return rc;
    }
    return 0;
}

static int match_rows(struct match *m, row_fn emit, void *ctx)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->sigs.n; i++)
        if ((rc = x_check(m->b.x)) == 0)
            rc = match_sig(m, m->sigs.v[i]);
    return rc == 0 ? row_map_emit(&m->out, emit, ctx) : rc;
}

static int exec_vectors(struct bin_run *b, row_fn emit, void *ctx)
{
    struct exec *x = b->x;
    const struct expr *e = b->e;
    struct match m = {.b = *b, .n_names = e->bin.labels.n};
    m.l = m.r = m.out.rows = (struct rows){.x = x, .steps = b->f->n};
    m.out.f = b->f;
    if (!(m.names = X_ARRAY(x, struct str, m.n_names)))
        return QUERY_E_BUDGET;
    for (size_t i = 0; i < m.n_names; i++)
        m.names[i] = e->bin.labels.v[i];
    if (m.n_names > 1)
        qsort(m.names, m.n_names, sizeof(struct str), compare_str);
    bool stats = x->hist_stats;
    x->hist_stats = false; /* comparisons need the hints as stored */
    int rc = exec_vector(x, b->f, e->bin.l, rows_take, &m.l);
    if (rc == 0)
        rc = exec_vector(x, b->f, e->bin.r, rows_take, &m.r);
    x->hist_stats = stats;
    if (rc == 0)
        rc = index_rows(&m);
    if (rc == 0)
        rc = op_is_set(b->op) ? set_operator(&m, emit, ctx) : match_rows(&m, emit, ctx);
    for (size_t i = 0; i < m.sigs.n; i++) {
        vec_done(&m.sigs.v[i]->l);
        vec_done(&m.sigs.v[i]->r);
    }
    vec_done(&m.sigs);
    idmap_done(&m.by_hash);
    row_map_done(&m.out);
    return rc;
}

int exec_binary(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    struct bin_run b = {.x = x,
                        .f = f,
                        .e = e,
                        .op = e->bin.op,
                        .comparison = op_is_comparison(e->bin.op),
                        .returns_bool = e->bin.returns_bool,
                        .hists = arena_new(0)};
    int rc;
    if (e->bin.l->type == PROMQL_SCALAR || e->bin.r->type == PROMQL_SCALAR) {
        struct scalar_side s = {.b = b, .swapped = e->bin.l->type == PROMQL_SCALAR, .emit = emit, .ctx = ctx};
        s.scalar = X_ARRAY(x, double, f->n);
        rc = s.scalar ? exec_scalar(x, f, s.swapped ? e->bin.l : e->bin.r, s.scalar) : QUERY_E_BUDGET;
        if (rc == 0)
            rc = exec_vector(x, f, s.swapped ? e->bin.r : e->bin.l, scalar_side_take, &s);
    } else {
        rc = exec_vectors(&b, emit, ctx);
    }
    arena_free(b.hists);
    return rc;
}

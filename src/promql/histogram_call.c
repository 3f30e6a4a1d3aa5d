// SPDX-License-Identifier: Apache-2.0
/* Functions of histograms, native ones (points) and classic ones (series with an `le` label). */
#include "promql/exec_int.h"
#include "base/mem.h"
#include "codec/f64.h"
#include <math.h>

struct hist_map {
    const struct frame *f;
    unsigned id;
    struct arena *scratch;
    row_fn emit;
    void *ctx;
};

static int hist_map_take(void *ctx, struct row *r)
{
    struct hist_map *m = ctx;
    bool any = false;
    for (size_t i = 0; i < m->f->n; i++) {
        const struct histogram *h = r->h ? r->h[i] : NULL;
        if (!h) {
            r->v[i] = stale_nan(); /* floats are ignored */
            continue;
        }
        any = true;
        switch (m->id) {
        case FN_HISTOGRAM_COUNT:
            r->v[i] = h->count;
            break;
        case FN_HISTOGRAM_SUM:
            r->v[i] = h->sum;
            break;
        case FN_HISTOGRAM_AVG:
            r->v[i] = h->sum / h->count;
            break;
        case FN_HISTOGRAM_STDVAR:
            r->v[i] = hist_variance(m->scratch, h);
            break;
        default:
            r->v[i] = sqrt(hist_variance(m->scratch, h));
            break;
        }
    }
    arena_reset(m->scratch);
    if (!any)
        return 0;
    r->h = NULL;
    r->drop_name = true;
    return m->emit(m->ctx, r);
}

/* ---- Quantiles and fractions ------------------------------------------------------- */

/* One histogram: the rows of its classic buckets, or the row of its native form, or both (which is refused). */
struct family {
    struct labels labels; /* without le */
    bool drop_name;
    VEC(uint32_t) buckets; /* rows */
    VEC(double) bounds;
    VEC(uint32_t) natives;
};

struct families {
    struct exec *x;
    const struct frame *f;
    const struct expr *e;
    uint32_t pos; /* of the histogram argument */
    struct rows rows;
    VEC(struct family) v;
    struct idmap by_hash;
    VEC(uint32_t) next; /* chain of equal hashes: index + 1 */
    double *p1, *p2;
    struct arena *scratch;
    struct classic_bucket *buckets;
};

static struct family *family_of(struct families *s, struct labels labels)
{
    uint64_t hash = labels_hash(labels), at = 0;
    bool known = idmap_get(&s->by_hash, hash, &at);
    for (size_t i = known ? at + 1 : 0; i; i = s->next.v[i - 1])
        if (labels_equal(s->v.v[i - 1].labels, labels))
            return &s->v.v[i - 1];
    uint32_t before = known ? (uint32_t)at + 1 : 0;
    idmap_put(&s->by_hash, hash, s->v.n);
    vec_push(&s->next, before);
    vec_push(&s->v, (struct family){.labels = labels});
    return &s->v.v[s->v.n - 1];
}

static struct labels without_le(struct exec *x, struct labels l)
{
    if (!labels_has(l, STR("le")))
        return l;
    struct label *v = ARENA_ARRAY(x->a, struct label, l.n);
    size_t n = 0;
    for (size_t i = 0; i < l.n; i++)
        if (!str_eqz(l.v[i].name, "le"))
            v[n++] = l.v[i];
    return (struct labels){.v = v, .n = n};
}

static int families_take(void *ctx, struct row *r)
{
    struct families *s = ctx;
    struct exec *x = s->x;
    uint32_t index = (uint32_t)s->rows.n;
    int rc = rows_take(&s->rows, r);
    if (rc != 0)
        return rc;
    bool floats = false;
    for (size_t i = 0; !floats && i < s->f->n; i++)
        floats = has_float(r->v[i]);
    if (floats) {
        struct str le = labels_get(r->labels, STR("le"));
        double bound;
        if (!f64_parse(le, &bound)) {
            x_note(x, NOTE_BAD_BUCKET, s->pos, metric_name(r->labels), le);
        } else {
            struct family *fam = family_of(s, without_le(x, r->labels));
            fam->drop_name |= r->drop_name;
            vec_push(&fam->buckets, index);
            vec_push(&fam->bounds, bound);
        }
    }
    if (r->h) {
        struct family *fam = family_of(s, r->labels);
        fam->drop_name |= r->drop_name;
        vec_push(&fam->natives, index);
    }
    return 0;
}

static double one_value(struct families *s, const struct family *fam, size_t i, double a, double b)
{
    struct exec *x = s->x;
    bool fraction = s->e->call.id == FN_HISTOGRAM_FRACTION;
    const struct histogram *h = NULL;
    size_t n = 0;
    for (size_t k = 0; k < fam->natives.n && !h; k++)
        h = s->rows.v[fam->natives.v[k]].h[i];
    for (size_t k = 0; k < fam->buckets.n; k++) {
        double count = s->rows.v[fam->buckets.v[k]].v[i];
        if (has_float(count))
            s->buckets[n++] = (struct classic_bucket){.upper = fam->bounds.v[k], .count = count};
    }
    struct str name = metric_name(fam->labels);
    if (h && n > 0) {
        x_note(x, NOTE_MIXED_CLASSIC, s->pos, name, STR(""));
        return stale_nan();
    }
    if (h) {
        double v;
        if (fraction) {
            bool nan_seen = false;
            v = hist_fraction(s->scratch, a, b, h, &nan_seen);
            if (nan_seen)
                x_note(x, NOTE_FRACTION_NAN, s->pos, name, STR(""));
        } else {
            struct hist_quantile_notes notes = {0};
            v = hist_quantile(s->scratch, a, h, &notes);
            if (notes.nan_result)
                x_note(x, NOTE_QUANTILE_NAN, s->pos, name, STR(""));
            if (notes.nan_skewed)
                x_note(x, NOTE_QUANTILE_SKEWED, s->pos, name, STR(""));
        }
        arena_reset(s->scratch);
        return v;
    }
    if (n == 0)
        return stale_nan();
    if (fraction)
        return classic_fraction(a, b, s->buckets, n);
    struct classic_fix fix = {0};
    double v = classic_quantile(a, s->buckets, n, &fix);
    if (fix.forced_monotonic)
        x_note_monotonic(x, s->pos, name, &fix, frame_ts(s->f, i));
    return v;
}

static int emit_families(struct families *s, struct str label, struct str value, row_fn emit, void *ctx)
{
    struct exec *x = s->x;
    struct row out;
    int rc = row_init(x, s->f, &out, false);
    for (size_t k = 0; rc == 0 && k < s->v.n; k++) {
        const struct family *fam = &s->v.v[k];
        if ((rc = x_check(x)) != 0)
            break;
        bool any = false;
        for (size_t i = 0; i < s->f->n; i++) {
            out.v[i] = one_value(s, fam, i, s->p1[i], s->p2 ? s->p2[i] : 0);
            any |= has_float(out.v[i]);
        }
        if (!any)
            continue;
        out.labels = fam->labels;
        out.drop_name = true;
        if (label.n > 0) {
            struct labels_builder b = {0};
            lb_init(&b, fam->labels);
            lb_set(&b, label, value);
            out.labels = labels_build(x, &b);
            lb_done(&b);
        }
        rc = emit(ctx, &out);
    }
    return rc;
}

static void note_quantiles(struct families *s, const struct expr *arg)
{
    char text[F64_TEXT_MAX];
    for (size_t i = 0; i < s->f->n; i++)
        if (!(s->p1[i] >= 0 && s->p1[i] <= 1))
            x_note(s->x, NOTE_BAD_QUANTILE, arg->start, STR(""),
                   arena_str(s->x->a, str_make(text, f64_write_g(text, s->p1[i]))));
}

/* As OpenMetrics writes the `quantile` label: always with a fraction. */
static struct str quantile_text(struct exec *x, double q)
{
    char text[F64_TEXT_MAX + 2];
    size_t n = f64_write_g(text, q);
    if (isfinite(q) && !memchr(text, '.', n) && !memchr(text, 'e', n)) {
        text[n++] = '.';
        text[n++] = '0';
    }
    return arena_str(x->a, str_make(text, n));
}

static int families_run(struct families *s, row_fn emit, void *ctx)
{
    struct exec *x = s->x;
    const struct expr *e = s->e;
    unsigned id = e->call.id;
    size_t vector_arg = id == FN_HISTOGRAM_QUANTILES ? 0 : id == FN_HISTOGRAM_FRACTION ? 2 : 1;
    s->pos = e->call.args[vector_arg]->start;
    if (!(s->p1 = X_ARRAY(x, double, s->f->n)))
        return QUERY_E_BUDGET;
    int r = 0;
    if (id != FN_HISTOGRAM_QUANTILES && (r = exec_scalar(x, s->f, e->call.args[0], s->p1)) != 0)
        return r;
    if (id == FN_HISTOGRAM_QUANTILE)
        note_quantiles(s, e->call.args[0]);
    if (id == FN_HISTOGRAM_FRACTION) {
        if (!(s->p2 = X_ARRAY(x, double, s->f->n)))
            return QUERY_E_BUDGET;
        if ((r = exec_scalar(x, s->f, e->call.args[1], s->p2)) != 0)
            return r;
    }
    if ((r = exec_vector(x, s->f, e->call.args[vector_arg], families_take, s)) != 0)
        return r;
    size_t most = 1;
    for (size_t i = 0; i < s->v.n; i++)
        most = MAX(most, s->v.v[i].buckets.n);
    if (!(s->buckets = X_ARRAY(x, struct classic_bucket, most)))
        return QUERY_E_BUDGET;
    if (id != FN_HISTOGRAM_QUANTILES)
        return emit_families(s, STR(""), STR(""), emit, ctx);
    struct str label;
    if ((r = exec_string(x, e->call.args[1], &label)) != 0)
        return r;
    if (label.n == 0)
        return x_fail(x, QUERY_E_EXEC, "invalid label name \"\" in histogram_quantiles()");
    for (size_t q = 2; r == 0 && q < e->call.n_args; q++) {
        if ((r = exec_scalar(x, s->f, e->call.args[q], s->p1)) != 0)
            break;
        note_quantiles(s, e->call.args[q]);
        r = emit_families(s, label, quantile_text(x, s->p1[0]), emit, ctx);
    }
    return r;
}

int exec_histogram_call(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    struct arena *scratch = arena_new(0);
    int r;
    switch (e->call.id) {
    case FN_HISTOGRAM_QUANTILE:
    case FN_HISTOGRAM_QUANTILES:
    case FN_HISTOGRAM_FRACTION: {
        struct families s = {.x = x, .f = f, .e = e, .scratch = scratch, .rows = {.x = x, .steps = f->n}};
        bool stats = x->hist_stats;
        x->hist_stats = false;
        r = families_run(&s, emit, ctx);
        x->hist_stats = stats;
        for (size_t i = 0; i < s.v.n; i++) {
            vec_done(&s.v.v[i].buckets);
            vec_done(&s.v.v[i].bounds);
            vec_done(&s.v.v[i].natives);
        }
        vec_done(&s.v);
        vec_done(&s.next);
        idmap_done(&s.by_hash);
        break;
    }
    default: {
        struct hist_map m = {.f = f, .id = e->call.id, .scratch = scratch, .emit = emit, .ctx = ctx};
        bool stats = x->hist_stats;
        x->hist_stats = e->call.id != FN_HISTOGRAM_STDDEV && e->call.id != FN_HISTOGRAM_STDVAR;
        r = exec_vector(x, f, e->call.args[0], hist_map_take, &m);
        x->hist_stats = stats;
        break;
    }
    }
    arena_free(scratch);
    return r;
}

// SPDX-License-Identifier: Apache-2.0
/* Two walks over one message: the first checks every byte and every label, the second appends in batches of BATCH rows,
 * so that memory follows the batch and not the body. Field numbers: prometheus/prompb/remote.proto, types.proto and
 * io/prometheus/write/v2/types.proto (Prometheus 3.x). */
#include "ingest/ingest.h"

#include "base/limits.h"
#include "base/utf8.h"
#include "codec/protobuf.h"
#include "codec/snappy.h"

#define BATCH 4096
/* Buckets and spans one histogram may bring; Prometheus' own scrapes keep to 160, and a body cannot make more than its
 * bytes. */
#define HIST_BUCKETS_MAX 65536

struct walk {
    struct sink *sink; /* NULL: checking */
    enum ingest_version version;
    struct ingest_result *ret;
    struct err *e;
    const struct str *symbols; /* v2 */
    size_t n_symbols;
    struct arena *arena; /* labels and histograms of the batch */
    struct sample_row *rows;
    size_t n;
    enum row_status first_refused;
};

static int bad(struct walk *w, const char *what)
{
    err_set(w->e, "%s", what);
    return INGEST_E_BAD;
}

static int flush(struct walk *w)
{
    if (w->n == 0)
        return 0;
    int r = sink_append(w->sink, w->rows, w->n, 0);
    if (r < 0) {
        err_set(w->e, "the samples could not be stored: %s", err_name(r));
        return r;
    }
    for (size_t i = 0; i < w->n; i++) {
        switch (w->rows[i].status) {
        case ROW_OK:
            *(w->rows[i].h ? &w->ret->histograms : &w->ret->samples) += 1;
            break;
        case ROW_DUPLICATE:
            w->ret->duplicates++;
            break;
        case ROW_NO_SPACE:
            err_set(w->e, "%s", row_status_text[ROW_NO_SPACE]);
            return -ENOSPC;
        case ROW_DUP_VALUE:
        case ROW_OUT_OF_ORDER:
        case ROW_TOO_OLD:
        case ROW_TOO_NEW:
        case ROW_BAD_LABELS:
        case ROW_STATUS_COUNT:
            w->ret->refused++;
            if (!w->first_refused) {
                w->first_refused = w->rows[i].status;
                struct buf b = BUF_INIT(512);
                labels_format_metric(&b, w->rows[i].labels);
                err_set(w->e, "%s: %.*s", row_status_text[w->rows[i].status], (int)MIN(b.n, 400), b.p ? b.p : "");
                buf_done(&b);
            }
            break;
        }
    }
    w->n = 0;
    arena_reset(w->arena);
    return 0;
}

/* ---- labels ---- */

static int label_cmp(const void *a, const void *b)
{
    return str_cmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

/* Sort, drop empty values, refuse what is no label set. */
static int finish_labels(struct walk *w, struct label *v, size_t n, struct labels *ret)
{
    size_t kept = 0;
    bool sorted = true;
    for (size_t i = 0; i < n; i++) {
        if (str_empty(v[i].name))
            return bad(w, "a label has no name");
        if (v[i].name.n > (size_t)limit(label_name_bytes))
            return bad(w, "a label name is too long (limit label_name_bytes)");
        if (v[i].value.n > (size_t)limit(label_value_bytes))
            return bad(w, "a label value is too long (limit label_value_bytes)");
        if (!utf8_valid(v[i].name) || !utf8_valid(v[i].value))
            return bad(w, "a label is not valid UTF-8");
        if (i && str_cmp(v[i - 1].name, v[i].name) >= 0)
            sorted = false;
    }
    if (!sorted)
        qsort(v, n, sizeof(*v), label_cmp);
    for (size_t i = 0; i < n; i++) {
        if (i && str_eq(v[i - 1].name, v[i].name)) {
            err_set(w->e, "label " STR_FMT " is there twice", STR_ARG(str_sub(v[i].name, 0, 100)));
            return INGEST_E_BAD;
        }
    }
    for (size_t i = 0; i < n; i++)
        if (!str_empty(v[i].value))
            v[kept++] = v[i];
    if (kept == 0)
        return bad(w, "a series has no labels");
    *ret = (struct labels){.v = v, .n = kept};
    return 0;
}

static struct label *label_room(struct walk *w, size_t n)
{
    return n <= (size_t)limit(labels_per_series) ? ARENA_ARRAY(w->arena, struct label, n ? n : 1) : NULL;
}

static int labels_v1(struct walk *w, struct str series, struct labels *ret)
{
    struct pb r = pb_over(series);
    struct pb_field f;
    size_t n = 0;
    while (pb_next(&r, &f))
        n += f.number == 1;
    struct label *v = label_room(w, n);
    if (!v)
        return bad(w, "a series has too many labels (limit labels_per_series)");
    n = 0;
    r = pb_over(series);
    while (pb_next(&r, &f)) {
        if (f.number != 1)
            continue;
        if (f.wire != PB_BYTES)
            return bad(w, "a label is not a message");
        struct label l = {.name = STR(""), .value = STR("")};
        struct pb lr = pb_over(f.bytes);
        struct pb_field lf;
        while (pb_next(&lr, &lf)) {
            if ((lf.number == 1 || lf.number == 2) && lf.wire != PB_BYTES)
                return bad(w, "a label holds something other than text");
            if (lf.number == 1)
                l.name = lf.bytes;
            else if (lf.number == 2)
                l.value = lf.bytes;
        }
        if (lr.bad)
            return bad(w, "a label is cut short");
        v[n++] = l;
    }
    return finish_labels(w, v, n, ret);
}

static int labels_v2(struct walk *w, struct str series, struct labels *ret)
{
    struct pb r = pb_over(series);
    struct pb_field f;
    size_t n = 0, at = 0;
    for (int pass = 0; pass < 2; pass++) {
        struct label *v = NULL;
        if (pass == 1) {
            if (n % 2)
                return bad(w, "label references do not come in pairs");
            v = label_room(w, n / 2);
            if (!v)
                return bad(w, "a series has too many labels (limit labels_per_series)");
        }
        r = pb_over(series);
        while (pb_next(&r, &f)) {
            if (f.number != 1)
                continue;
            struct pb one = f.wire == PB_BYTES ? pb_over(f.bytes) : (struct pb){0};
            for (bool more = f.wire == PB_VARINT || one.p < one.end; more;
                 more = f.wire == PB_BYTES && one.p < one.end) {
                uint64_t ref = f.v;
                if (f.wire == PB_BYTES && !get_uvarint(&one.p, one.end, &ref))
                    return bad(w, "label references are cut short");
                if (pass == 0) {
                    n++;
                    continue;
                }
                if (ref >= w->n_symbols)
                    return bad(w, "a label refers to a symbol that is not there");
                *(at % 2 ? &v[at / 2].value : &v[at / 2].name) = w->symbols[ref];
                at++;
            }
        }
        if (pass == 1)
            return finish_labels(w, v, n / 2, ret);
    }
    return 0;
}

/* ---- histograms ---- */

struct numbers { /* repeated doubles or sint64, packed or one by one */
    double *v;
    size_t n, cap;
};

static bool push(struct walk *w, struct numbers *a, double v)
{
    if (a->n == a->cap) {
        size_t cap = a->cap ? a->cap * 2 : 16;
        if (cap > HIST_BUCKETS_MAX)
            return false;
        double *more = ARENA_ARRAY(w->arena, double, cap);
        if (a->n)
            memcpy(more, a->v, a->n * sizeof(double));
        a->v = more;
        a->cap = cap;
    }
    a->v[a->n++] = v;
    return true;
}

static bool take_doubles(struct walk *w, const struct pb_field *f, struct numbers *a)
{
    if (f->wire == PB_FIXED64)
        return push(w, a, pb_double(f));
    if (f->wire != PB_BYTES || f->bytes.n % 8)
        return false;
    for (size_t i = 0; i < f->bytes.n; i += 8) {
        double v;
        memcpy(&v, f->bytes.p + i, 8);
        if (!push(w, a, v))
            return false;
    }
    return true;
}

/* Deltas between neighbouring integer buckets, made absolute. */
static bool take_deltas(struct walk *w, const struct pb_field *f, struct numbers *a, int64_t *last)
{
    if (f->wire == PB_VARINT) {
        *last = (int64_t)((uint64_t)*last + (uint64_t)pb_sint(f->v));
        return push(w, a, (double)*last);
    }
    if (f->wire != PB_BYTES)
        return false;
    const uint8_t *p = (const uint8_t *)f->bytes.p, *end = p + f->bytes.n;
    while (p < end) {
        uint64_t v;
        if (!get_uvarint(&p, end, &v))
            return false;
        *last = (int64_t)((uint64_t)*last + (uint64_t)pb_sint(v));
        if (!push(w, a, (double)*last))
            return false;
    }
    return true;
}

struct spans {
    struct hist_span *v;
    uint32_t n, cap;
    uint64_t total;
};

static bool take_span(struct walk *w, const struct pb_field *f, struct spans *s)
{
    if (f->wire != PB_BYTES)
        return false;
    struct hist_span span = {0};
    struct pb r = pb_over(f->bytes);
    struct pb_field x;
    while (pb_next(&r, &x)) {
        if (x.wire != PB_VARINT)
            continue;
        if (x.number == 1) {
            int64_t off = pb_sint(x.v);
            if (off < INT32_MIN || off > INT32_MAX)
                return false;
            span.offset = (int32_t)off;
        } else if (x.number == 2) {
            if (x.v > HIST_BUCKETS_MAX)
                return false;
            span.length = (uint32_t)x.v;
        }
    }
    if (r.bad || (s->n && span.offset < 0))
        return false;
    if (s->n == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 4;
        if (cap > HIST_BUCKETS_MAX)
            return false;
        struct hist_span *more = ARENA_ARRAY(w->arena, struct hist_span, cap);
        if (s->n)
            memcpy(more, s->v, s->n * sizeof(*more));
        s->v = more;
        s->cap = cap;
    }
    s->v[s->n++] = span;
    s->total += span.length;
    return true;
}

static int histogram(struct walk *w, struct str bytes, struct sample_row *row)
{
    struct histogram *h = ARENA_NEW(w->arena, struct histogram);
    struct numbers pos = {0}, neg = {0}, custom = {0};
    struct spans ps = {0}, ns = {0};
    int64_t pos_last = 0, neg_last = 0;
    struct pb r = pb_over(bytes);
    struct pb_field f;
    bool ok = true;
    while (ok && pb_next(&r, &f)) {
        bool number = f.wire == PB_VARINT, real = f.wire == PB_FIXED64;
        switch (f.number) {
        case 1:
            ok = number;
            h->count = (double)f.v;
            break;
        case 2:
            ok = real;
            h->count = pb_double(&f);
            break;
        case 3:
            ok = real;
            h->sum = pb_double(&f);
            break;
        case 4:
            ok = number;
            h->schema = (int32_t)pb_sint(f.v);
            break;
        case 5:
            ok = real;
            h->zero_threshold = pb_double(&f);
            break;
        case 6:
            ok = number;
            h->zero_count = (double)f.v;
            break;
        case 7:
            ok = real;
            h->zero_count = pb_double(&f);
            break;
        case 8:
            ok = take_span(w, &f, &ns);
            break;
        case 9:
            ok = take_deltas(w, &f, &neg, &neg_last);
            break;
        case 10:
            ok = take_doubles(w, &f, &neg);
            break;
        case 11:
            ok = take_span(w, &f, &ps);
            break;
        case 12:
            ok = take_deltas(w, &f, &pos, &pos_last);
            break;
        case 13:
            ok = take_doubles(w, &f, &pos);
            break;
        case 14:
            ok = number && f.v <= HIST_GAUGE;
            h->hint = (enum hist_hint)(f.v & 3);
            break;
        case 15:
            ok = number;
            row->t = (int64_t)f.v;
            break;
        case 16:
            ok = take_doubles(w, &f, &custom);
            break;
        case 17:
            ok = number;
            row->st = (int64_t)f.v;
            break;
        default:
            break;
        }
    }
    if (!ok || r.bad)
        return bad(w, "a histogram is malformed");
    if (ps.total != pos.n || ns.total != neg.n)
        return bad(w, "a histogram's spans and buckets differ in number");
    bool custom_schema = h->schema == -53;
    if (!custom_schema && (h->schema < -4 || h->schema > 8))
        return bad(w, "a histogram's schema is not between -4 and 8, nor -53");
    if (custom_schema ? (ns.n || neg.n) : custom.n)
        return bad(w, "a histogram mixes custom bounds with exponential buckets");
    for (size_t i = 1; i < custom.n; i++)
        if (!(custom.v[i - 1] < custom.v[i]))
            return bad(w, "a histogram's custom bounds do not rise");
    for (size_t i = 0; i < pos.n + neg.n; i++)
        if ((i < pos.n ? pos.v[i] : neg.v[i - pos.n]) < 0 && h->hint != HIST_GAUGE)
            return bad(w, "a histogram has a negative bucket");
    h->pos_spans = ps.v;
    h->neg_spans = ns.v;
    h->n_pos_spans = ps.n;
    h->n_neg_spans = ns.n;
    h->pos = pos.v;
    h->neg = neg.v;
    h->custom = custom.v;
    h->n_pos = (uint32_t)pos.n;
    h->n_neg = (uint32_t)neg.n;
    h->n_custom = (uint32_t)custom.n;
    row->h = h;
    return 0;
}

/* ---- the message ---- */

static int sample(struct walk *w, struct str bytes, struct sample_row *row)
{
    struct pb r = pb_over(bytes);
    struct pb_field f;
    while (pb_next(&r, &f)) {
        if (f.number == 1) {
            if (f.wire != PB_FIXED64)
                return bad(w, "a sample's value is not a double");
            row->v = pb_double(&f);
        } else if (f.number == 2 || (f.number == 3 && w->version == INGEST_V2)) {
            if (f.wire != PB_VARINT)
                return bad(w, "a sample's time is not a number");
            *(f.number == 2 ? &row->t : &row->st) = (int64_t)f.v;
        }
    }
    return r.bad ? bad(w, "a sample is cut short") : 0;
}

static int series(struct walk *w, struct str bytes)
{
    uint32_t hist_field = w->version == INGEST_V1 ? 4 : 3;
    struct labels labels = {0};
    struct pb r = pb_over(bytes);
    struct pb_field f;
    int e = w->version == INGEST_V1 ? labels_v1(w, bytes, &labels) : labels_v2(w, bytes, &labels);
    if (e)
        return e;
    int64_t created = 0;
    while (pb_next(&r, &f)) {
        if (f.number == 6 && w->version == INGEST_V2 && f.wire == PB_VARINT)
            created = (int64_t)f.v;
        if (f.number != 2 && f.number != hist_field)
            continue;
        if (f.wire != PB_BYTES)
            return bad(w, "a sample is not a message");
        struct sample_row row = {.labels = labels, .st = created};
        e = f.number == 2 ? sample(w, f.bytes, &row) : histogram(w, f.bytes, &row);
        if (e)
            return e;
        if (!w->sink)
            continue;
        w->rows[w->n++] = row;
        if (w->n == BATCH) {
            /* the batch ends, and with it the arena: this series' labels are read anew */
            if ((e = flush(w)) ||
                (e = w->version == INGEST_V1 ? labels_v1(w, bytes, &labels) : labels_v2(w, bytes, &labels)))
                return e;
        }
    }
    return r.bad ? bad(w, "a series is cut short") : 0;
}

static const char *const metadata_types[] = {"unknown",        "counter", "gauge", "histogram",
                                             "gaugehistogram", "summary", "info",  "stateset"};

static void metadata_v1(struct walk *w, struct str bytes)
{
    struct pb r = pb_over(bytes);
    struct pb_field f;
    uint64_t type = 0;
    struct str name = STR(""), help = STR(""), unit = STR("");
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_VARINT)
            type = f.v;
        else if (f.wire == PB_BYTES && (f.number == 2 || f.number == 4 || f.number == 5))
            *(f.number == 2 ? &name : f.number == 4 ? &help : &unit) = f.bytes;
    }
    if (!w->sink || str_empty(name) || type >= ARRAY_LEN(metadata_types) || !w->sink->metadata || !utf8_valid(name) ||
        !utf8_valid(help) || name.n > 4096 || help.n > 65536)
        return;
    char *help_z = str_dupz(help), *unit_z = str_dupz(unit);
    w->sink->metadata(w->sink, name,
                      &(struct metric_meta){.type = metadata_types[type], .help = help_z, .unit = unit_z});
    free(help_z);
    free(unit_z);
    w->ret->metadata++;
}

static int walk(struct walk *w, struct str message)
{
    uint32_t series_field = w->version == INGEST_V1 ? 1 : 5;
    struct pb r = pb_over(message);
    struct pb_field f;
    int e = 0;
    while (pb_next(&r, &f)) {
        if (f.number == series_field) {
            if (f.wire != PB_BYTES)
                return bad(w, "a series is not a message");
            if ((e = series(w, f.bytes)))
                return e;
            if (!w->sink)
                arena_reset(w->arena);
        } else if (f.number == 3 && w->version == INGEST_V1) {
            if (f.wire != PB_BYTES)
                return bad(w, "metadata is not a message");
            metadata_v1(w, f.bytes);
        }
    }
    if (r.bad)
        return bad(w, "the body is not a remote-write message");
    return w->sink ? flush(w) : 0;
}

int ingest_message(struct sink *sink, struct str message, enum ingest_version version, struct ingest_result *ret,
                   struct err *e)
{
    *ret = (struct ingest_result){0};
    _cleanup_arena_ struct arena *arena = arena_new(0), *symbols = arena_new(0);
    struct walk w = {.version = version, .ret = ret, .e = e, .arena = arena};
    if (str_empty(message))
        return bad(&w, "the body is empty");
    if (version == INGEST_V2) {
        struct pb r = pb_over(message);
        struct pb_field f;
        size_t n = 0;
        while (pb_next(&r, &f))
            n += f.number == 4;
        if (r.bad)
            return bad(&w, "the body is not a remote-write message");
        struct str *v = ARENA_ARRAY(symbols, struct str, n ? n : 1);
        n = 0;
        for (r = pb_over(message); pb_next(&r, &f);)
            if (f.number == 4) {
                if (f.wire != PB_BYTES)
                    return bad(&w, "a symbol is not a text");
                v[n++] = f.bytes;
            }
        w.symbols = v;
        w.n_symbols = n;
    }
    int r = walk(&w, message); /* nothing is stored of a body that is wrong somewhere */
    if (r)
        return r;
    arena_reset(arena);
    w.sink = sink;
    w.rows = xmalloc(BATCH * sizeof(*w.rows));
    r = walk(&w, message);
    free(w.rows);
    return r ? r : ret->refused ? INGEST_E_BAD : 0;
}

int ingest_remote_write(struct sink *sink, struct str packed, enum ingest_version version, struct ingest_result *ret,
                        struct err *e)
{
    *ret = (struct ingest_result){0};
    _cleanup_buf_ struct buf b = BUF_INIT((size_t)limit(http_body_bytes));
    int r = snappy_unpack(packed, &b);
    if (r < 0) {
        err_set(e, "%s",
                r == -EMSGSIZE ? "the unpacked body is too large (limit http_body_bytes)"
                               : "the body is not in snappy block format");
        return r == -EMSGSIZE ? INGEST_E_TOO_LARGE : INGEST_E_BAD;
    }
    return ingest_message(sink, buf_view(&b), version, ret, e);
}

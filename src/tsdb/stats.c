// SPDX-License-Identifier: Apache-2.0
/* What the store tells of itself: figures, cardinality, metadata, metrics. */
#include "tsdb/tsdb_int.h"

#include "base/limits.h"

/* ---- figures ---- */

static uint64_t counted(struct tsdb *db, int what)
{
    return atomic_load_explicit(&db->count[what], memory_order_relaxed);
}

void tsdb_stats(struct tsdb *db, struct tsdb_stats *ret)
{
    struct tsdb_stats s = {.head_min_t = atomic_load(&db->head_min_t),
                           .head_max_t = atomic_load(&db->head_max_t),
                           .series = atomic_load(&db->n_series),
                           .chunks = atomic_load(&db->head_chunks),
                           .head_samples = atomic_load(&db->head_samples),
                           .head_bytes = atomic_load(&db->head_bytes),
                           .wal_bytes = atomic_load(&db->wal_bytes),
                           .appended = counted(db, C_APPENDED),
                           .appended_histograms = counted(db, C_APPENDED_HISTOGRAMS),
                           .out_of_order = counted(db, C_OUT_OF_ORDER),
                           .duplicates = counted(db, C_DUPLICATES),
                           .refused = counted(db, C_REFUSED),
                           .series_created = counted(db, C_CREATED),
                           .series_removed = counted(db, C_REMOVED),
                           .flushes = counted(db, C_FLUSHES),
                           .flushes_failed = counted(db, C_FLUSHES_FAILED),
                           .compactions = counted(db, C_COMPACTIONS),
                           .compactions_failed = counted(db, C_COMPACTIONS_FAILED),
                           .blocks_expired = counted(db, C_EXPIRED),
                           .corruptions = counted(db, C_CORRUPTIONS),
                           .wal_write_errors = counted(db, C_WAL_ERRORS),
                           .fsync_errors = counted(db, C_FSYNC_ERRORS),
                           .replayed_samples = db->replayed,
                           .replay_ns = db->replay_ns,
                           .read_only = atomic_load(&db->read_only)};
    uint32_t first = atomic_load(&db->wal_first), last = atomic_load(&db->wal_last);
    s.wal_segment = last;
    s.wal_segments = first ? (uint64_t)last - first + 1 : 0;
    s.min_t = s.head_min_t;
    s.max_t = s.head_max_t;
    struct blockset *bs = blocks_get(db);
    s.blocks = bs->n;
    for (size_t i = 0; i < bs->n; i++) {
        const struct block *b = bs->v[i].b;
        s.block_series += b->meta.n_series;
        s.block_samples += b->meta.n_samples;
        s.block_bytes += b->size;
        s.tombstones += bs->v[i].t ? bs->v[i].t->n : 0;
        s.min_t = MIN(s.min_t, b->meta.min_t);
        s.max_t = MAX(s.max_t, b->meta.max_t);
    }
    blockset_unref(bs);
    s.disk_bytes = s.block_bytes + s.wal_bytes;
    pthread_rwlock_rdlock(&db->index_lock);
    s.label_pairs = db->index.n_pairs;
    pthread_rwlock_unlock(&db->index_lock);
    pthread_mutex_lock(&db->state_lock);
    snprintf(s.reason, sizeof(s.reason), "%s", db->reason);
    pthread_mutex_unlock(&db->state_lock);
    *ret = s;
}

/* ---- cardinality ---- */

struct top { /* the largest `max` so far, unordered */
    struct tsdb_count *v;
    size_t n, max;
};

static int count_cmp(const void *a, const void *b)
{
    const struct tsdb_count *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return str_cmp(x->name, y->name);
}

/* Names are borrowed; pairs are told apart by both. Keeps the array sorted: limits are small. */
static void top_add(struct top *t, struct str name, uint64_t value)
{
    struct tsdb_count c = {.name = name, .value = value};
    if (t->max == 0 || (t->n == t->max && count_cmp(&c, &t->v[t->n - 1]) >= 0))
        return;
    size_t at = t->n < t->max ? t->n++ : t->n - 1;
    while (at > 0 && count_cmp(&c, &t->v[at - 1]) < 0) {
        t->v[at] = t->v[at - 1];
        at--;
    }
    t->v[at] = c;
}

static struct tsdb_count *top_own(struct top *t, struct arena *a, size_t *ret_n)
{
    struct tsdb_count *v = ARENA_ARRAY(a, struct tsdb_count, t->n + 1);
    for (size_t i = 0; i < t->n; i++)
        v[i] = (struct tsdb_count){.name = arena_str(a, t->v[i].name), .value = t->v[i].value};
    *ret_n = t->n;
    free(t->v);
    return v;
}

void tsdb_cardinality(struct tsdb *db, size_t max, struct arena *a, struct tsdb_cardinality *ret)
{
    struct top metric = {.max = max}, values = {.max = max}, bytes = {.max = max}, pairs = {.max = max};
    struct top *tops[] = {&metric, &values, &bytes, &pairs};
    for (size_t i = 0; i < ARRAY_LEN(tops); i++)
        tops[i]->v = xcalloc(max + 1, sizeof(struct tsdb_count));
    *ret = (struct tsdb_cardinality){0};
    pthread_rwlock_rdlock(&db->index_lock);
    for (size_t i = 0; i < db->index.names.n; i++) {
        const struct hname *n = db->index.names.v[i];
        if (!n)
            continue;
        top_add(&values, n->s, n->pairs.n);
        uint64_t used = 0; /* bytes of values times the series that carry them, as Prometheus counts */
        for (size_t k = 0; k < n->pairs.n; k++) {
            const struct hpair *p = &db->index.pairs.v[n->pairs.v[k]];
            used += (uint64_t)p->vlen * p->n;
            if (str_eq(n->s, STR(LABEL_NAME)))
                top_add(&metric, str_make(p->value, p->vlen), p->n);
        }
        top_add(&bytes, n->s, used);
    }
    /* name=value is only spelled for pairs that reach the list: find the smallest that does first. */
    struct top sizes = {.max = max, .v = xcalloc(max + 1, sizeof(struct tsdb_count))};
    for (size_t i = 0; i < db->index.pairs.n; i++)
        if (db->index.pairs.v[i].value)
            top_add(&sizes, STR(""), db->index.pairs.v[i].n);
    uint64_t least = sizes.n == max && max ? sizes.v[max - 1].value : 0;
    free(sizes.v);
    struct arena *names = arena_new(0);
    for (size_t i = 0; i < db->index.pairs.n; i++) {
        const struct hpair *p = &db->index.pairs.v[i];
        if (!p->value || p->n < least || max == 0)
            continue;
        struct label l = hindex_label(&db->index, (uint32_t)i);
        if (pairs.n < max || p->n > pairs.v[pairs.n - 1].value || p->n == least)
            top_add(&pairs, arena_fmt(names, STR_FMT "=" STR_FMT, STR_ARG(l.name), STR_ARG(l.value)), p->n);
    }
    ret->series_by_metric = top_own(&metric, a, &ret->n_series_by_metric);
    ret->values_by_label = top_own(&values, a, &ret->n_values_by_label);
    ret->bytes_by_label = top_own(&bytes, a, &ret->n_bytes_by_label);
    ret->series_by_pair = top_own(&pairs, a, &ret->n_series_by_pair);
    pthread_rwlock_unlock(&db->index_lock);
    arena_free(names);
}

/* ---- metadata ---- */

struct meta_entry {
    char *metric, *type, *help, *unit;
};

static void meta_entry_free(struct meta_entry *m)
{
    free(m->metric);
    free(m->type);
    free(m->help);
    free(m->unit);
    free(m);
}

void meta_free(struct tsdb *db)
{
    for (struct map_entry *e = NULL; (e = map_next(&db->meta, e));)
        meta_entry_free(e->value);
    map_done(&db->meta);
}

static void replace(char **p, const char *z)
{
    if (*p && strcmp(*p, z ? z : "") == 0)
        return; /* the usual case: a scrape says what the last one said */
    free(*p);
    *p = xstrdup(z ? z : "");
}

void sink_metadata(struct sink *sink, struct str metric, const struct metric_meta *m)
{
    struct tsdb *db = CONTAINER_OF(sink, struct tsdb, sink);
    if (str_empty(metric) || metric.n > (size_t)limit(label_value_bytes))
        return;
    pthread_mutex_lock(&db->meta_lock);
    struct meta_entry *e = map_get(&db->meta, metric);
    if (!e && db->meta.n < (size_t)limit(metadata_metrics)) {
        e = NEW(struct meta_entry);
        e->metric = str_dupz(metric);
        map_put(&db->meta, str_make(e->metric, metric.n), e);
    }
    if (e) {
        replace(&e->type, m->type);
        replace(&e->help, m->help);
        replace(&e->unit, m->unit);
    }
    pthread_mutex_unlock(&db->meta_lock);
}

static int metadata_cmp(const void *a, const void *b)
{
    return str_cmp(((const struct tsdb_metadata *)a)->metric, ((const struct tsdb_metadata *)b)->metric);
}

void tsdb_metadata(struct tsdb *db, struct str metric, size_t max, struct arena *a, struct tsdb_metadata **ret,
                   size_t *ret_n)
{
    pthread_mutex_lock(&db->meta_lock);
    struct tsdb_metadata *v = ARENA_ARRAY(a, struct tsdb_metadata, db->meta.n + 1);
    size_t n = 0;
    for (struct map_entry *e = NULL; (e = map_next(&db->meta, e));) {
        const struct meta_entry *m = e->value;
        if (!str_empty(metric) && !str_eq(e->key, metric))
            continue;
        v[n++] = (struct tsdb_metadata){.metric = arena_str(a, e->key),
                                        .meta = {.type = arena_strz(a, str_of(m->type)),
                                                 .help = arena_strz(a, str_of(m->help)),
                                                 .unit = arena_strz(a, str_of(m->unit))}};
    }
    pthread_mutex_unlock(&db->meta_lock);
    if (n)
        qsort(v, n, sizeof(*v), metadata_cmp);
    *ret = v;
    *ret_n = max ? MIN(max, n) : n;
}

/* ---- metrics ---- */

struct row {
    const char *name, *help;
    enum metric_type type;
    size_t at; /* offset of a uint64 in struct tsdb_stats */
    double scale;
};

#define AT(field) offsetof(struct tsdb_stats, field)
/* Names of Prometheus where the meaning is the same; ours for the rest. */
static const struct row rows[] = {
    {"prometheus_tsdb_head_series", "Series in memory.", METRIC_GAUGE, AT(series), 1},
    {"prometheus_tsdb_head_chunks", "Chunks in memory.", METRIC_GAUGE, AT(chunks), 1},
    {"prometheus_tsdb_head_series_created_total", "Series made.", METRIC_COUNTER, AT(series_created), 1},
    {"prometheus_tsdb_head_series_removed_total", "Series that left memory.", METRIC_COUNTER, AT(series_removed), 1},
    {"prometheus_tsdb_head_out_of_order_samples_appended_total",
     "Samples appended that were older than their series' newest.", METRIC_COUNTER, AT(out_of_order), 1},
    {"prometheus_tsdb_blocks_loaded", "Blocks on disk.", METRIC_GAUGE, AT(blocks), 1},
    {"prometheus_tsdb_storage_blocks_bytes", "Bytes of the blocks.", METRIC_GAUGE, AT(block_bytes), 1},
    {"prometheus_tsdb_wal_storage_size_bytes", "Bytes of the write-ahead log.", METRIC_GAUGE, AT(wal_bytes), 1},
    {"prometheus_tsdb_wal_writes_failed_total", "Writes to the log that failed.", METRIC_COUNTER, AT(wal_write_errors),
     1},
    {"prometheus_tsdb_wal_corruptions_total", "Damaged records, chunks and files met.", METRIC_COUNTER, AT(corruptions),
     1},
    {"prometheus_tsdb_time_retentions_total", "Blocks removed because of retention.", METRIC_COUNTER,
     AT(blocks_expired), 1},
    {"hune_tsdb_head_bytes", "Memory of samples not yet in blocks.", METRIC_GAUGE, AT(head_bytes), 1},
    {"hune_tsdb_head_samples", "Samples not yet in blocks.", METRIC_GAUGE, AT(head_samples), 1},
    {"hune_tsdb_label_pairs", "Distinct label pairs in memory.", METRIC_GAUGE, AT(label_pairs), 1},
    {"hune_tsdb_duplicates_total", "Samples that were there already.", METRIC_COUNTER, AT(duplicates), 1},
    {"hune_tsdb_refused_total", "Samples refused.", METRIC_COUNTER, AT(refused), 1},
    {"hune_tsdb_flushes_total", "Times memory went to blocks.", METRIC_COUNTER, AT(flushes), 1},
    {"hune_tsdb_flushes_failed_total", "Times it could not.", METRIC_COUNTER, AT(flushes_failed), 1},
    {"hune_tsdb_fsync_failed_total", "Failed fsyncs of the log.", METRIC_COUNTER, AT(fsync_errors), 1},
    {"hune_tsdb_block_samples", "Samples in blocks.", METRIC_GAUGE, AT(block_samples), 1},
    {"hune_tsdb_tombstones", "Deleted ranges not yet cleaned from blocks.", METRIC_GAUGE, AT(tombstones), 1},
    {"prometheus_tsdb_wal_segment_current", "Number of the newest segment of the log.", METRIC_GAUGE, AT(wal_segment),
     1},
    {"hune_tsdb_wal_segments", "Segments of the log.", METRIC_GAUGE, AT(wal_segments), 1},
    {"hune_tsdb_replayed_samples", "Samples read from the log at the start.", METRIC_GAUGE, AT(replayed_samples), 1},
    {"prometheus_tsdb_data_replay_duration_seconds", "How long that took.", METRIC_GAUGE, AT(replay_ns), 1e-9},
};

static void emit(struct metrics_out *out, const char *name, const char *help, enum metric_type type, double v)
{
    out->family(out, str_of(name), str_of(help), type);
    out->sample(out, STR(""), NULL, 0, v);
}

static void collect(void *ctx, struct metrics_out *out)
{
    struct tsdb_stats s;
    tsdb_stats(ctx, &s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t v;
        memcpy(&v, (const char *)&s + rows[i].at, sizeof(v));
        emit(out, rows[i].name, rows[i].help, rows[i].type, (double)v * rows[i].scale);
    }
    /* Prometheus calls the head's way to a block a compaction, too. */
    emit(out, "prometheus_tsdb_compactions_total", "Blocks made, from memory or from blocks.", METRIC_COUNTER,
         (double)(s.compactions + s.flushes));
    emit(out, "prometheus_tsdb_compactions_failed_total", "Times that failed.", METRIC_COUNTER,
         (double)(s.compactions_failed + s.flushes_failed));
    out->family(out, STR("prometheus_tsdb_head_samples_appended_total"), STR("Samples appended."), METRIC_COUNTER);
    struct metric_label type[] = {{STR("type"), STR("float")}, {STR("type"), STR("histogram")}};
    out->sample(out, STR(""), &type[0], 1, (double)(s.appended - s.appended_histograms));
    out->sample(out, STR(""), &type[1], 1, (double)s.appended_histograms);
    if (s.head_max_t != INT64_MIN) {
        emit(out, "prometheus_tsdb_head_min_time", "Oldest sample in memory, Unix ms.", METRIC_GAUGE,
             (double)s.head_min_t);
        emit(out, "prometheus_tsdb_head_max_time", "Newest sample in memory, Unix ms.", METRIC_GAUGE,
             (double)s.head_max_t);
    }
    if (s.max_t != INT64_MIN)
        emit(out, "prometheus_tsdb_lowest_timestamp", "Oldest sample of all, Unix ms.", METRIC_GAUGE, (double)s.min_t);
    emit(out, "hune_tsdb_read_only", "1 while samples are refused because they cannot be written.", METRIC_GAUGE,
         s.read_only);
}

void tsdb_metrics(struct tsdb *db, struct metrics *m)
{
    metrics_add_collector(m, collect, db);
}

// SPDX-License-Identifier: Apache-2.0
/* Rows to log records and memory, and back after a restart.
 *
 * A batch is checked against what is known, written as one record with one call, and then applied. What memory refuses
 * while applying (a second value for one time) stays in the record; the replay refuses it again, for the same reason.
 */
#include "tsdb/tsdb_int.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "tsdb/decimal_int.h"
#include <sys/stat.h>

enum {                   /* a row's control byte */
       ROW_VALUE = 0x0f, /* 0..3: decimal with that exponent; or one of the two below */
       ROW_RAW = 14,
       ROW_HIST = 15,
       ROW_NEXT_ID = 0x10, /* the series is the one before plus 1 */
       ROW_SAME_T = 0x20,
       ROW_ST = 0x40,
       ROW_DECIMAL_MAX = 3,
       BATCH_EXACT = 1 /* flag: SINK_EXACT_ORDER */
};

static void put_u(struct buf *b, uint64_t v)
{
    uint8_t tmp[VARINT_MAX];
    buf_put(b, tmp, put_uvarint(tmp, v));
}

static int64_t diff(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t plus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

/* ---- state ---- */

void set_read_only(struct tsdb *db, const char *what, int err)
{
    pthread_mutex_lock(&db->state_lock);
    snprintf(db->reason, sizeof(db->reason), "%s: %s", what, err_name(err));
    atomic_store(&db->read_only, true);
    pthread_mutex_unlock(&db->state_lock);
}

void clear_read_only(struct tsdb *db)
{
    pthread_mutex_lock(&db->state_lock);
    db->reason[0] = 0;
    atomic_store(&db->read_only, false);
    pthread_mutex_unlock(&db->state_lock);
}

static void mark_dirty(struct tsdb *db)
{
    pthread_mutex_lock(&db->wake_lock);
    if (!db->dirty) {
        db->dirty = true;
        pthread_cond_signal(&db->wake_sync);
    }
    pthread_mutex_unlock(&db->wake_lock);
}

int db_sync(struct tsdb *db)
{
    struct wal *w = &db->wal;
    int r = 0;
    pthread_mutex_lock(&w->sync_lock);
    pthread_mutex_lock(&db->append_lock);
    uint64_t target = w->written;
    int fd = w->fd;
    size_t n_old = w->old.n;
    int *old = xmalloc((n_old + 1) * sizeof(*old));
    for (size_t i = 0; i < n_old; i++)
        old[i] = w->old.v[i];
    if (atomic_load(&db->wal_lost))
        r = -EIO;
    pthread_mutex_unlock(&db->append_lock);
    if (!r && target > w->synced) {
        /* Without the lock: writers go on meanwhile. Nobody else closes a descriptor of the log. */
        for (size_t i = 0; i < n_old && !r; i++)
            r = w->vfs->fsync(w->vfs, old[i]);
        if (!r && fd >= 0)
            r = w->vfs->fsync(w->vfs, fd);
        count_add(db, C_FSYNCS, 1);
        if (r) {
            /* After a failed fsync the kernel may have dropped the pages and will report success next time: the
             * segment is worth nothing any more. What it held is in memory; until that stands in a block, nothing is
             * accepted (flush_head clears the state). */
            count_add(db, C_FSYNC_ERRORS, 1);
            pthread_mutex_lock(&db->append_lock);
            wal_abandon(w);
            atomic_store(&db->wal_lost, true);
            set_read_only(db, "fsync of the write-ahead log failed", r);
            pthread_mutex_unlock(&db->append_lock);
        } else {
            w->synced = target;
        }
    }
    if (!r && n_old) {
        pthread_mutex_lock(&db->append_lock);
        for (size_t i = 0; i < n_old; i++)
            (void)w->vfs->close(w->vfs, w->old.v[i]); /* durable already */
        memmove(w->old.v, w->old.v + n_old, (w->old.n - n_old) * sizeof(*w->old.v));
        w->old.n -= n_old;
        pthread_mutex_unlock(&db->append_lock);
    }
    pthread_mutex_unlock(&w->sync_lock);
    free(old);
    return r;
}

/* One record to the log; append_lock held, a segment is open. */
static int log_record(struct tsdb *db)
{
    int r = wal_append(&db->wal, &db->record);
    if (r) {
        count_add(db, C_WAL_ERRORS, 1);
        set_read_only(db, "writing the write-ahead log failed", r);
        return r;
    }
    atomic_store(&db->wal_last, db->wal.seg);
    atomic_fetch_add(&db->wal_bytes, db->record.n);
    count_add(db, C_WAL_BYTES_WRITTEN, db->record.n);
    if (atomic_load(&db->read_only))
        clear_read_only(db);
    mark_dirty(db);
    return 0;
}

static int open_segment(struct tsdb *db)
{
    if (atomic_load(&db->wal_lost))
        return -EIO;
    uint32_t before = db->wal.seg;
    int r = wal_prepare(&db->wal);
    if (r) {
        count_add(db, C_WAL_ERRORS, 1);
        set_read_only(db, "opening a write-ahead log segment failed", r);
    } else if (db->wal.seg != before) {
        atomic_fetch_add(&db->wal_bytes, WAL_SEGMENT_HEADER);
        uint32_t none = 0;
        atomic_compare_exchange_strong(&db->wal_first, &none, db->wal.seg);
        atomic_store(&db->wal_last, db->wal.seg);
    }
    return r;
}

void wal_probe(struct tsdb *db)
{
    pthread_mutex_lock(&db->append_lock);
    if (atomic_load(&db->read_only) && open_segment(db) == 0) {
        wal_begin(&db->record);
        buf_putc(&db->record, WAL_PROBE);
        (void)log_record(db); /* success clears the state, failure keeps it */
    }
    pthread_mutex_unlock(&db->append_lock);
}

/* ---- a batch ---- */

/* Labels against those of the series defined before in this record: neighbours share most. */
static void put_definition(struct tsdb *db, const struct mseries *s, const struct mseries *before)
{
    put_u(&db->record, s->id);
    put_u(&db->record, s->n_labels);
    for (uint32_t i = 0; i < s->n_labels; i++) {
        uint32_t same = UINT32_MAX;
        for (uint32_t k = 0; before && k < before->n_labels && same == UINT32_MAX; k++)
            if (before->pairs[k] == s->pairs[i])
                same = k;
        if (same != UINT32_MAX) {
            put_u(&db->record, same + 1);
            continue;
        }
        struct label l = hindex_label(&db->index, s->pairs[i]);
        put_u(&db->record, 0);
        put_u(&db->record, l.name.n);
        buf_str(&db->record, l.name);
        put_u(&db->record, l.value.n);
        buf_str(&db->record, l.value);
    }
}

static void put_row(struct buf *b, const struct sample_row *row, uint32_t id, uint32_t prev_id, int64_t prev_t)
{
    uint8_t ctl = 0;
    int64_t m = 0;
    if (id == prev_id + 1)
        ctl |= ROW_NEXT_ID;
    if (row->t == prev_t)
        ctl |= ROW_SAME_T;
    if (row->st)
        ctl |= ROW_ST;
    int exp = 0;
    while (!row->h && exp <= ROW_DECIMAL_MAX && !decimal_exact(row->v, exp, &m))
        exp++;
    ctl |= row->h ? ROW_HIST : exp <= ROW_DECIMAL_MAX ? (uint8_t)exp : ROW_RAW;
    uint8_t tmp[1 + 4 * VARINT_MAX], *p = tmp;
    *p++ = ctl;
    if (!(ctl & ROW_NEXT_ID))
        p += put_varint(p, (int64_t)id - prev_id);
    if (!(ctl & ROW_SAME_T))
        p += put_varint(p, diff(row->t, prev_t));
    if (ctl & ROW_ST)
        p += put_varint(p, diff(row->t, row->st));
    if ((ctl & ROW_VALUE) <= ROW_DECIMAL_MAX) {
        p += put_varint(p, m);
    } else if ((ctl & ROW_VALUE) == ROW_RAW) {
        put_u64le(p, f64_bits(row->v));
        p += 8;
    }
    buf_put(b, tmp, (size_t)(p - tmp));
    if (row->h) {
        _cleanup_buf_ struct buf h = BUF_INIT(64 << 20);
        int r = hist_put(&h, 0, 0, 0, 0, row->h);
        ASSERT(r == 0); /* checked before */
        put_u(b, h.n);
        buf_put(b, h.p, h.n);
    }
}

/* What the rules say before anything is made for the row. */
static enum row_status check_row(const struct tsdb *db, const struct sample_row *row, int64_t now, int64_t newest)
{
    if (db->o.max_future_ms >= 0 && row->t > now && diff(row->t, now) > db->o.max_future_ms)
        return ROW_TOO_NEW;
    if (db->o.retention_ms > 0 && newest != INT64_MIN && row->t < newest &&
        (uint64_t)newest - (uint64_t)row->t > (uint64_t)db->o.retention_ms)
        return ROW_TOO_OLD;
    if (row->h && !hist_valid(row->h))
        return ROW_BAD_LABELS;
    return ROW_OK;
}

static enum row_status check_order(const struct tsdb *db, const struct mseries *s, const struct sample_row *row,
                                   int64_t newest, unsigned flags)
{
    if (!s->has_last || row->t > s->last_t)
        return ROW_OK;
    if (row->t == s->last_t) {
        if (row->h || s->last_hist)
            return ROW_OK; /* compared when applied */
        return f64_bits(row->v) == s->last_bits ? ROW_DUPLICATE : ROW_DUP_VALUE;
    }
    if (flags & SINK_EXACT_ORDER || db->o.ooo_window_ms == 0)
        return ROW_OUT_OF_ORDER;
    if (db->o.ooo_window_ms > 0 && (uint64_t)newest - (uint64_t)row->t > (uint64_t)db->o.ooo_window_ms)
        return ROW_TOO_OLD;
    return ROW_OK;
}

static int refuse_all(struct sample_row *rows, size_t n, int r)
{
    for (size_t i = 0; i < n; i++)
        rows[i].status = ROW_NO_SPACE;
    return r;
}

int sink_append_rows(struct sink *sink, struct sample_row *rows, size_t n, unsigned flags)
{
    struct tsdb *db = CONTAINER_OF(sink, struct tsdb, sink);
    if (n == 0)
        return 0;
    int64_t now = clock_now_ms(db->clock);
    pthread_mutex_lock(&db->append_lock);
    int r = open_segment(db);
    if (r) {
        pthread_mutex_unlock(&db->append_lock);
        return refuse_all(rows, n, r);
    }
    int64_t newest = atomic_load_explicit(&db->max_t, memory_order_relaxed);
    size_t kept = 0, defs = 0;
    vec_reset(&db->row_series);
    vec_reset(&db->defined);
    vec_reserve(&db->row_series, n);
    for (size_t i = 0; i < n; i++) {
        struct sample_row *row = &rows[i];
        struct mseries *s = NULL;
        row->created = false;
        row->status = check_row(db, row, now, newest);
        if (row->status == ROW_OK) {
            s = row->ref && row->ref <= UINT32_MAX ? head_by_id(db, (uint32_t)row->ref) : NULL;
            if (!s)
                s = head_series(db, row->labels, &row->created);
            row->status = s ? check_order(db, s, row, newest, flags) : ROW_BAD_LABELS;
            row->ref = s ? s->id : 0;
        }
        db->row_series.v[i] = s;
        if (row->status != ROW_OK)
            continue;
        kept++;
        if (s->wal_seg != db->wal.seg || s->defined == DEFINE_AGAIN) {
            s->defined = s->wal_seg != db->wal.seg ? DEFINED_NOW : DEFINED_TWICE;
            s->wal_seg = db->wal.seg;
            vec_push(&db->defined, s);
            defs++;
        }
    }
    if (kept) {
        struct buf *b = &db->record;
        wal_begin(b);
        buf_putc(b, WAL_BATCH);
        buf_putc(b, flags & SINK_EXACT_ORDER ? BATCH_EXACT : 0);
        put_u(b, defs);
        for (size_t i = 0; i < defs; i++)
            put_definition(db, db->defined.v[i], i ? db->defined.v[i - 1] : NULL);
        put_u(b, kept);
        uint32_t prev_id = 0;
        int64_t prev_t = 0;
        for (size_t i = 0; i < n; i++) {
            if (rows[i].status != ROW_OK)
                continue;
            put_row(b, &rows[i], db->row_series.v[i]->id, prev_id, prev_t);
            prev_id = db->row_series.v[i]->id;
            prev_t = rows[i].t;
        }
        r = log_record(db);
        for (size_t i = 0; i < defs; i++)
            if (db->defined.v[i]->defined == DEFINED_NOW)
                db->defined.v[i]->defined = DEFINE_AGAIN;
        if (r) {
            for (size_t i = 0; i < defs; i++)
                db->defined.v[i]->wal_seg = 0; /* the log does not know them after all */
            pthread_mutex_unlock(&db->append_lock);
            return refuse_all(rows, n, r);
        }
        pthread_mutex_lock(&db->commit_lock);
        for (size_t i = 0; i < n; i++)
            if (rows[i].status == ROW_OK)
                rows[i].status = head_apply(db, db->row_series.v[i], rows[i].t, rows[i].v, rows[i].st, rows[i].h,
                                            flags & SINK_EXACT_ORDER);
        if (!db->have_flush_from) {
            db->have_flush_from = true;
            atomic_store(&db->flush_from_t, atomic_load(&db->max_t));
        }
        pthread_mutex_unlock(&db->commit_lock);
    }
    if (db->record.cap > (4 << 20)) /* one giant batch must not cost memory for ever */
        buf_done(&db->record);
    if (db->row_series.cap > (1 << 17))
        vec_done(&db->row_series);
    if (db->defined.cap > (1 << 12))
        vec_done(&db->defined);
    bool flush = flush_due(db);
    pthread_mutex_unlock(&db->append_lock);
    size_t appended = 0, histograms = 0, duplicates = 0;
    for (size_t i = 0; i < n; i++) {
        appended += rows[i].status == ROW_OK;
        histograms += rows[i].status == ROW_OK && rows[i].h;
        duplicates += rows[i].status == ROW_DUPLICATE;
    }
    count_add(db, C_APPENDED, appended);
    count_add(db, C_APPENDED_HISTOGRAMS, histograms);
    count_add(db, C_DUPLICATES, duplicates);
    count_add(db, C_REFUSED, n - appended - duplicates);
    if (flush) {
        pthread_mutex_lock(&db->wake_lock);
        if (!db->flush_wanted) {
            db->flush_wanted = true;
            pthread_cond_signal(&db->wake_compact);
        }
        pthread_mutex_unlock(&db->wake_lock);
    }
    if (kept && (db->o.sync == TSDB_SYNC_ALWAYS || flags & SINK_SYNC))
        return db_sync(db);
    return 0;
}

/* ---- and back ---- */

static bool get_string(const uint8_t **pp, const uint8_t *end, struct str *ret)
{
    uint64_t n;
    if (!get_uvarint(pp, end, &n) || n > (uint64_t)(end - *pp))
        return false;
    *ret = str_make((const char *)*pp, (size_t)n);
    *pp += n;
    return true;
}

static struct mseries **ids_place(struct replay_ids *ids, uint64_t id)
{
    while (ids->pages.n <= id / ID_PAGE)
        vec_push(&ids->pages, NULL);
    struct mseries ***page = &ids->pages.v[id / ID_PAGE];
    if (!*page)
        *page = xcalloc(ID_PAGE, sizeof(**page));
    return &(*page)[id % ID_PAGE];
}

static struct mseries *ids_get(const struct replay_ids *ids, uint64_t id)
{
    return id / ID_PAGE < ids->pages.n && ids->pages.v[id / ID_PAGE] ? ids->pages.v[id / ID_PAGE][id % ID_PAGE] : NULL;
}

void replay_ids_done(struct replay_ids *ids)
{
    for (size_t i = 0; i < ids->pages.n; i++)
        free(ids->pages.v[i]);
    vec_done(&ids->pages);
}

static bool replay_definitions(struct tsdb *db, const uint8_t **pp, const uint8_t *end, struct replay_ids *ids)
{
    uint64_t defs, id, n, code;
    VEC(struct label) prev = {0}, cur = {0};
    bool good = get_uvarint(pp, end, &defs);
    for (uint64_t i = 0; good && i < defs; i++) {
        good = get_uvarint(pp, end, &id) && get_uvarint(pp, end, &n) && n <= (uint64_t)(end - *pp);
        vec_reset(&cur);
        for (uint64_t k = 0; good && k < n; k++) {
            struct label l = {0};
            good = get_uvarint(pp, end, &code) && code <= prev.n;
            if (good && code == 0)
                good = get_string(pp, end, &l.name) && get_string(pp, end, &l.value);
            else if (good)
                l = prev.v[code - 1];
            if (good)
                vec_push(&cur, l);
        }
        if (!good)
            break;
        bool created;
        struct mseries *s = head_series(db, (struct labels){.v = cur.v, .n = cur.n}, &created);
        good = s && id < REPLAY_IDS_MAX;
        if (good)
            *ids_place(ids, id) = s;
        typeof(prev) swap = prev;
        prev = cur;
        cur = swap;
    }
    vec_done(&prev);
    vec_done(&cur);
    return good;
}

bool replay_record(struct tsdb *db, struct str payload, struct replay_ids *ids)
{
    const uint8_t *p = (const uint8_t *)payload.p, *end = p + payload.n;
    if (payload.n == 1 && *p == WAL_PROBE)
        return true;
    if (payload.n < 2 || p[0] != WAL_BATCH || p[1] & ~BATCH_EXACT)
        return false;
    bool exact = p[1] & BATCH_EXACT;
    p += 2;
    uint64_t rows;
    if (!replay_definitions(db, &p, end, ids) || !get_uvarint(&p, end, &rows))
        return false;
    int64_t t = 0, id = 0, i;
    struct column hists = {0};
    bool good = true;
    uint64_t applied = 0;
    pthread_mutex_lock(&db->commit_lock);
    for (uint64_t k = 0; good && k < rows; k++) {
        int64_t st = 0;
        double v = 0;
        const struct histogram *h = NULL;
        if (p >= end) {
            good = false;
            break;
        }
        uint8_t ctl = *p++;
        if (ctl & ROW_NEXT_ID)
            id = plus(id, 1);
        else if ((good = get_varint(&p, end, &i)))
            id = plus(id, i);
        if (good && !(ctl & ROW_SAME_T) && (good = get_varint(&p, end, &i)))
            t = plus(t, i);
        if (good && ctl & ROW_ST && (good = get_varint(&p, end, &i)))
            st = diff(t, i);
        unsigned form = ctl & ROW_VALUE;
        if (!good || ctl & 0x80 || (form > ROW_DECIMAL_MAX && form < ROW_RAW)) {
            good = false;
        } else if (form <= ROW_DECIMAL_MAX) {
            good = get_varint(&p, end, &i);
            if (good)
                v = decimal_value(i, (int)form);
        } else if (form == ROW_RAW) {
            good = end - p >= 8;
            if (good) {
                v = f64_from_bits(get_u64le(p));
                p += 8;
            }
        } else {
            struct str blob;
            column_reset(&hists);
            good = get_string(&p, end, &blob) &&
                   chunk_decode(CHUNK_HIST, (const uint8_t *)blob.p, blob.n, 1, INT64_MIN, INT64_MAX, &hists) == 0 &&
                   hists.n == 1;
            if (good)
                h = hists.h[0];
        }
        struct mseries *series = good ? ids_get(ids, (uint64_t)id) : NULL;
        if (series) {
            applied += head_apply(db, series, t, v, st, h, exact) == ROW_OK;
        } else if (good) {
            count_add(db, C_CORRUPTIONS, 1); /* its definition was lost with a damaged record */
        }
    }
    pthread_mutex_unlock(&db->commit_lock);
    db->replayed += applied;
    column_done(&hists);
    return good && p == end;
}

static int replay_segment(struct tsdb *db, const char *path, uint32_t seg)
{
    struct wal_reader reader;
    int r = wal_reader_open(&reader, db->vfs, path, seg);
    if (r)
        return r;
    struct replay_ids ids = {0};
    struct str payload;
    uint64_t before = atomic_load(&db->count[C_CORRUPTIONS]);
    while ((r = wal_next(&reader, &payload)) == 1)
        if (!replay_record(db, payload, &ids))
            count_add(db, C_CORRUPTIONS, 1);
    count_add(db, C_CORRUPTIONS, reader.holes);
    uint64_t bad = atomic_load(&db->count[C_CORRUPTIONS]) - before;
    if (bad)
        log_error("write-ahead log damaged: some samples are lost", KV_Z("path", path), KV_INT("places", bad),
                  KV_INT("bytes", reader.damaged));
    wal_reader_done(&reader);
    replay_ids_done(&ids);
    return r;
}

int wal_replay(struct tsdb *db, uint32_t done, struct err *e)
{
    struct fs_names names;
    uint64_t t0 = clock_mono_ns(db->clock);
    int r = fs_list(db->wal_dir, &names);
    if (r) {
        err_set(e, "%s: %s", db->wal_dir, err_name(r));
        return r;
    }
    uint32_t last = done, first = 0;
    for (size_t i = 0; i < names.n && !r; i++) { /* sorted; numbers have eight digits or, after 10^8 segments, more */
        uint32_t seg;
        if (!wal_name_parse(names.v[i], &seg))
            continue;
        _cleanup_free_ char *path = fs_join(db->wal_dir, names.v[i]);
        if (seg <= done) {
            (void)db->vfs->unlink(db->vfs, path); /* its samples are in blocks; next start tries again */
            continue;
        }
        struct stat st;
        if (stat(path, &st) == 0)
            atomic_fetch_add(&db->wal_bytes, (uint64_t)st.st_size);
        r = replay_segment(db, path, seg);
        if (r == -ENOTSUP) {
            err_set(e, "%s was written by a later version", path);
        } else if (r) {
            /* Unreadable: set aside for a person, go on with the rest. */
            _cleanup_free_ char *bad = xasprintf("%s.bad", path);
            count_add(db, C_CORRUPTIONS, 1);
            log_error("write-ahead log segment unreadable, set aside", KV_Z("path", path), KV_ERR(r));
            (void)db->vfs->rename(db->vfs, path, bad); /* if even that fails it is met again at the next start */
            r = 0;
        }
        first = first ? MIN(first, seg) : seg;
        last = MAX(last, seg);
    }
    fs_names_free(&names);
    if (r)
        return r;
    db->wal.seg = last;
    atomic_store(&db->wal_first, first);
    atomic_store(&db->wal_last, first ? last : 0);
    db->replay_ns = clock_mono_ns(db->clock) - t0;
    return 0;
}

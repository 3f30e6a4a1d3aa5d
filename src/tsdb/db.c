// SPDX-License-Identifier: Apache-2.0
/* Opening, closing, the two threads, and the calls that are no more than a lock around maintenance. */
#include "tsdb/tsdb_int.h"

#include "base/hash.h"
#include "base/parse.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYNC_DELAY_MS 700       /* with TSDB_SYNC_1S: leaves 300 ms of the promised second for the fsync itself */
#define PROBE_MS 1000           /* read-only: how often a write is tried */
#define TICK_MS 10000           /* maintenance when nobody asks for it */
#define RETRY_NS 10000000000ULL /* after a failed flush or compaction */
#define INDEX_IDLE_NS                                                                                                  \
    300000000000ULL /* a block's index leaves memory after 5 minutes without use: dashboards ask oftener */
#define CLOSE_FLUSH_SAMPLES 100000 /* what a start replays in about 10 ms */
#define OFF_OLD_MAX 4 /* TSDB_SYNC_OFF: finished segments kept open before they are synced and closed after all */

struct tsdb_options tsdb_options_default(const char *path)
{
    return (struct tsdb_options){.path = path, .ooo_window_ms = TSDB_OOO_ANY};
}

static int64_t or_default(int64_t v, int64_t dflt)
{
    return v == 0 ? dflt : v;
}

/* ---- opening ---- */

static void sort_and_publish(struct tsdb *db, struct blockset_entry *v, size_t n)
{
    struct blockset *bs = xcalloc(1, sizeof(*bs));
    atomic_init(&bs->refs, 1);
    db->bs = bs;
    blocks_publish(db, NULL, 0, v, n, 0);
}

static int open_block(struct tsdb *db, const char *path, struct blockset_entry *ret, struct err *why)
{
    struct err e = {0};
    int r = block_open(db->vfs, path, &db->count[C_CORRUPTIONS], &ret->b, &e);
    if (!r) {
        r = tombs_load(path, (uint32_t)MIN(ret->b->meta.n_series, (uint64_t)UINT32_MAX), &ret->t);
        if (r) { /* deleted samples are seen again: said, and the list set aside */
            _cleanup_free_ char *del = tombs_path(path), *bad = xasprintf("%s.bad", del);
            count_add(db, C_CORRUPTIONS, 1);
            log_error("list of deletions damaged, set aside", KV_Z("path", del), KV_ERR(r));
            if (r == -EBADMSG)
                (void)db->vfs->rename(db->vfs, del, bad); /* else it is met again at the next start */
            ret->t = NULL;
        }
        return 0;
    }
    ret->b = NULL;
    if (r == -ENOTSUP) {
        err_set(why, "%s", e.msg);
        return r;
    }
    count_add(db, C_CORRUPTIONS, 1);
    log_error("block unusable, set aside", KV_Z("why", e.msg));
    if (r == -EBADMSG) {
        _cleanup_free_ char *bad = xasprintf("%s.bad", path);
        (void)db->vfs->rename(db->vfs, path, bad); /* else it is met again at the next start */
    }
    return 0;
}

static int open_blocks(struct tsdb *db, struct err *e)
{
    struct fs_names names;
    int r = fs_list(db->block_dir, &names);
    if (r) {
        err_set(e, "%s: %s", db->block_dir, err_name(r));
        return r;
    }
    VEC(struct blockset_entry) v = {0};
    db->next_block = 1;
    for (size_t i = 0; i < names.n && !r; i++) {
        _cleanup_free_ char *path = fs_join(db->block_dir, names.v[i]);
        struct blockset_entry entry = {0};
        uint64_t seq;
        if (str_ends(str_of(names.v[i]), STR(".tmp"))) {
            (void)db->vfs->unlink(db->vfs, path); /* begun, never finished; the next start tries again */
            continue;
        }
        if (!block_name_parse(names.v[i], &seq))
            continue;
        db->next_block = MAX(db->next_block, seq + 1);
        r = open_block(db, path, &entry, e);
        if (entry.b && entry.b->meta.seq != seq) { /* somebody renamed it: two might claim one number */
            log_error("block has another number than its name", KV_Z("path", path));
            count_add(db, C_CORRUPTIONS, 1);
            block_unref(entry.b);
            tombs_unref(entry.t);
            continue;
        }
        if (entry.b)
            vec_push(&v, entry);
    }
    fs_names_free(&names);
    if (r) {
        for (size_t i = 0; i < v.n; i++) {
            block_unref(v.v[i].b);
            tombs_unref(v.v[i].t);
        }
        vec_done(&v);
        return r;
    }
    /* A crash between a compaction's rename and the removal of what it replaces. */
    bool *replaced = xcalloc(v.n + 1, sizeof(*replaced));
    for (size_t k = 0; k < v.n; k++)
        for (uint32_t p = 0; p < v.v[k].b->meta.n_parents; p++)
            for (size_t i = 0; i < v.n; i++)
                replaced[i] = replaced[i] || (i != k && v.v[i].b->meta.seq == v.v[k].b->meta.parents[p]);
    size_t w = 0;
    for (size_t i = 0; i < v.n; i++) {
        if (!replaced[i]) {
            v.v[w++] = v.v[i];
            continue;
        }
        _cleanup_free_ char *del = tombs_path(v.v[i].b->path);
        if (db->vfs->unlink(db->vfs, v.v[i].b->path) == 0)
            (void)db->vfs->unlink(db->vfs, del); /* usually there is none */
        block_unref(v.v[i].b);
        tombs_unref(v.v[i].t);
    }
    free(replaced);
    for (size_t i = 0; i < w; i++)
        atomic_store(&db->max_t, MAX(atomic_load(&db->max_t), v.v[i].b->meta.max_t));
    sort_and_publish(db, v.v, w);
    vec_done(&v);
    return 0;
}

/* ---- what a clean stop leaves ---- */

#define INVENTORY "wal/clean"

static void list_file(struct tsdb *db, struct buf *b, const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0)
        buf_fmt(b, "%lld %s\n", (long long)st.st_size, path + strlen(db->path) + 1);
}

void inventory_write(struct tsdb *db)
{
    _cleanup_buf_ struct buf b = BUF_INIT(16 << 20);
    _cleanup_free_ char *path = fs_join(db->path, INVENTORY);
    uint32_t first = atomic_load(&db->wal_first), last = atomic_load(&db->wal_last);
    for (uint32_t seg = first; seg && seg <= last; seg++) {
        _cleanup_free_ char *p = wal_path(db->wal_dir, seg);
        list_file(db, &b, p);
    }
    for (size_t i = 0; i < db->bs->n; i++)
        list_file(db, &b, db->bs->v[i].b->path);
    uint32_t crc = hash_crc32c(0, b.p, b.n);
    buf_fmt(&b, "crc %u\n", crc);
    if (fs_write_file(db->vfs, path, buf_view(&b), 0600))
        log_debug("no list of files left"); /* only a comfort: damage is then found by checksums alone */
}

void inventory_check(struct tsdb *db)
{
    _cleanup_buf_ struct buf b = BUF_INIT(16 << 20);
    _cleanup_free_ char *path = fs_join(db->path, INVENTORY);
    if (fs_read_file(path, &b))
        return;                           /* none: the last stop was no clean one */
    (void)db->vfs->unlink(db->vfs, path); /* if it stays it is true as long as its files are there */
    struct str rest = buf_view(&b), line, size, name;
    uint64_t crc, bytes;
    ptrdiff_t end = str_find(rest, STR("crc "));
    struct str tail = str_trim(str_sub(rest, end < 0 ? rest.n : (size_t)end + 4, rest.n));
    if (end < 0 || !parse_u64(tail, &crc) || crc != hash_crc32c(0, rest.p, (size_t)end))
        return; /* damaged itself: tells nothing */
    rest = str_sub(rest, 0, (size_t)end);
    while (str_line(&rest, &line)) {
        if (!str_cut(line, ' ', &size, &name) || !parse_u64(size, &bytes))
            continue;
        _cleanup_free_ char *rel = str_dupz(name);
        _cleanup_free_ char *file = fs_join(db->path, rel);
        struct stat st;
        bool gone = stat(file, &st) != 0;
        if (gone || (uint64_t)st.st_size < bytes) {
            count_add(db, C_CORRUPTIONS, 1);
            log_error(gone ? "file missing since the last stop: damaged, its samples are lost"
                           : "file cut short since the last stop: damaged, some samples are lost",
                      KV_Z("path", file));
        }
    }
}

static void *sync_main(void *arg);
static void *compact_main(void *arg);

static int start_threads(struct tsdb *db)
{
    int r = thread_start(&db->sync_thread, "tsdb-sync", sync_main, db);
    db->have_sync = r == 0;
    if (!r) {
        r = thread_start(&db->compact_thread, "tsdb-compact", compact_main, db);
        db->have_compact = r == 0;
    }
    return r;
}

static void init_locks(struct tsdb *db)
{
    pthread_mutex_t *locks[] = {&db->maint_lock, &db->append_lock, &db->commit_lock,
                                &db->meta_lock,  &db->state_lock,  &db->wake_lock};
    for (size_t i = 0; i < ARRAY_LEN(locks); i++)
        pthread_mutex_init(locks[i], NULL);
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_init(&db->stripe[i], NULL);
    pthread_rwlockattr_t ra;
    pthread_rwlockattr_init(&ra);
    pthread_rwlockattr_setkind_np(&ra, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&db->index_lock, &ra);
    pthread_rwlockattr_destroy(&ra);
    pthread_condattr_t ca;
    pthread_condattr_init(&ca);
    pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
    pthread_cond_init(&db->wake_sync, &ca);
    pthread_cond_init(&db->wake_compact, &ca);
    pthread_condattr_destroy(&ca);
}

int tsdb_open(const struct tsdb_options *o, struct tsdb **ret, struct err *e)
{
    struct tsdb *db = NEW(struct tsdb);
    db->o = *o;
    db->o.retention_ms = or_default(o->retention_ms, 15 * 86400000LL);
    db->o.block_range_ms = or_default(o->block_range_ms, 2 * 3600000LL);
    db->o.max_future_ms = or_default(o->max_future_ms, 3600000LL);
    db->o.wal_segment_bytes = or_default(o->wal_segment_bytes, 64LL << 20);
    db->o.head_bytes_max = or_default(o->head_bytes_max, 512LL << 20);
    db->clock = o->clock ? o->clock : &clock_real;
    db->vfs = o->vfs ? o->vfs : &vfs_real;
    db->sink = (struct sink){.append = sink_append_rows, .metadata = sink_metadata};
    db->source = (struct source){.open = source_open_snapshot};
    db->path = xstrdup(o->path);
    db->wal_dir = fs_join(o->path, "wal");
    db->block_dir = fs_join(o->path, "blocks");
    db->lock_fd = -1;
    db->epoch = 1;
    db->next_id = 1;
    db->record = BUF_INIT(WAL_RECORD_MAX);
    atomic_init(&db->max_t, INT64_MIN);
    atomic_init(&db->head_min_t, INT64_MAX);
    atomic_init(&db->head_max_t, INT64_MIN);
    init_locks(db);
    wal_init(&db->wal, db->vfs, db->wal_dir, db->o.wal_segment_bytes, 0);
    const char *dirs[] = {db->path, db->wal_dir, db->block_dir};
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(dirs) && !r; i++) {
        r = fs_mkdirs(dirs[i], 0700);
        if (r)
            err_set(e, "%s: %s", dirs[i], err_name(r));
    }
    /* The lock stands in a folder that is only ours: the data folder above may have a lock of its owner's. */
    if (!r)
        r = fs_lock_dir(db->wal_dir, &db->lock_fd, e);
    if (!r)
        inventory_check(db);
    if (!r)
        r = open_blocks(db, e);
    uint32_t done = 0;
    for (size_t i = 0; !r && i < db->bs->n; i++)
        done = MAX(done, db->bs->v[i].b->meta.wal_done);
    int64_t blocks_max = atomic_load(&db->max_t);
    if (!r)
        r = wal_replay(db, done, e);
    if (!r && atomic_load(&db->head_samples)) {
        int64_t min = atomic_load(&db->head_min_t), max = atomic_load(&db->head_max_t);
        db->flush_from_t = MIN(max, MAX(blocks_max, min));
        db->have_flush_from = true;
    }
    if (!r && !o->no_threads)
        r = start_threads(db);
    db->started = !r;
    if (r) {
        err_set(e, "%s: %s", o->path, err_name(r)); /* kept only if nobody said more */
        atomic_store(&db->wal_lost, true);          /* do not write anything on the way out */
        tsdb_close(db);
        return r;
    }
    *ret = db;
    return 0;
}

struct tsdb *tsdb_close(struct tsdb *db)
{
    if (!db)
        return NULL;
    pthread_mutex_lock(&db->wake_lock);
    db->stop = true;
    pthread_cond_broadcast(&db->wake_sync);
    pthread_cond_broadcast(&db->wake_compact);
    pthread_mutex_unlock(&db->wake_lock);
    if (db->have_sync)
        pthread_join(db->sync_thread, NULL);
    if (db->have_compact)
        pthread_join(db->compact_thread, NULL);
    ASSERT(!db->snaps);
    if (!atomic_load(&db->wal_lost)) {
        int r = db_sync(db);
        if (r)
            log_error("the write-ahead log could not be synced at the end", KV_ERR(r));
        pthread_mutex_lock(&db->maint_lock);
        if (atomic_load(&db->head_samples) >= CLOSE_FLUSH_SAMPLES)
            (void)flush_head(db); /* else the next start replays the log */
        pthread_mutex_unlock(&db->maint_lock);
        if (!r && db->started)
            inventory_write(db);
    } else if (db->bs && atomic_load(&db->head_samples)) {
        pthread_mutex_lock(&db->maint_lock);
        if (db->started)
            (void)flush_head(db); /* the last chance of what the failed log held */
        pthread_mutex_unlock(&db->maint_lock);
    }
    wal_done(&db->wal);
    head_free(db);
    meta_free(db);
    blockset_unref(db->bs);
    if (db->lock_fd >= 0)
        close(db->lock_fd);
    buf_done(&db->record);
    vec_done(&db->row_series);
    vec_done(&db->defined);
    for (size_t i = 0; i < db->doomed.n; i++)
        free(db->doomed.v[i]);
    vec_done(&db->doomed);
    pthread_mutex_t *locks[] = {&db->maint_lock, &db->append_lock, &db->commit_lock,
                                &db->meta_lock,  &db->state_lock,  &db->wake_lock};
    for (size_t i = 0; i < ARRAY_LEN(locks); i++)
        pthread_mutex_destroy(locks[i]);
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&db->stripe[i]);
    pthread_rwlock_destroy(&db->index_lock);
    pthread_cond_destroy(&db->wake_sync);
    pthread_cond_destroy(&db->wake_compact);
    free(db->path);
    free(db->wal_dir);
    free(db->block_dir);
    free(db);
    return NULL;
}

/* ---- threads ---- */

/* wake_lock held. */
static void wait_ms(pthread_cond_t *c, pthread_mutex_t *m, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(c, m, &until); /* time-out and wake-up are treated alike */
}

/* Sleeps without end while nothing is written. */
static void *sync_main(void *arg)
{
    struct tsdb *db = arg;
    pthread_mutex_lock(&db->wake_lock);
    while (!db->stop) {
        if (atomic_load(&db->read_only)) {
            wait_ms(&db->wake_sync, &db->wake_lock, PROBE_MS);
            if (db->stop)
                break;
            pthread_mutex_unlock(&db->wake_lock);
            if (atomic_load(&db->wal_lost)) {
                pthread_mutex_lock(&db->maint_lock);
                if (atomic_load(&db->wal_lost))
                    (void)flush_head(db); /* tried again in a second */
                pthread_mutex_unlock(&db->maint_lock);
            } else {
                wal_probe(db);
            }
            pthread_mutex_lock(&db->wake_lock);
            continue;
        }
        if (!db->dirty) {
            /* Not for ever: a failed write makes the store read-only without a signal. */
            wait_ms(&db->wake_sync, &db->wake_lock, TICK_MS);
            continue;
        }
        if (!db->stop)
            wait_ms(&db->wake_sync, &db->wake_lock, SYNC_DELAY_MS);
        db->dirty = false;
        pthread_mutex_unlock(&db->wake_lock);
        bool wanted = db->o.sync != TSDB_SYNC_OFF;
        if (!wanted) {
            pthread_mutex_lock(&db->append_lock);
            wanted = db->wal.old.n > OFF_OLD_MAX;
            pthread_mutex_unlock(&db->append_lock);
        }
        if (wanted)
            (void)db_sync(db); /* a failure is in the state, the metrics and the next append */
        pthread_mutex_lock(&db->wake_lock);
    }
    pthread_mutex_unlock(&db->wake_lock);
    return NULL;
}

static void *compact_main(void *arg)
{
    struct tsdb *db = arg;
    bool failed = false;
    pthread_mutex_lock(&db->wake_lock);
    while (!db->stop) {
        if (!db->flush_wanted || failed) /* after a failure the next tick is soon enough */
            wait_ms(&db->wake_compact, &db->wake_lock, TICK_MS);
        if (db->stop)
            break;
        db->flush_wanted = false;
        pthread_mutex_unlock(&db->wake_lock);
        failed = tsdb_tick(db) < 0;
        pthread_mutex_lock(&db->wake_lock);
    }
    pthread_mutex_unlock(&db->wake_lock);
    return NULL;
}

int tsdb_tick(struct tsdb *db)
{
    int r = 0;
    pthread_mutex_lock(&db->maint_lock);
    uint64_t now = clock_mono_ns(db->clock);
    if (now >= db->retry_ns) {
        if (flush_due(db) || atomic_load(&db->wal_lost)) {
            r = flush_head(db);
            if (r)
                log_warn("flush failed, will be tried again", KV_ERR(r));
        }
        bool did = true;
        for (int i = 0; i < 8 && did && !r; i++) {
            r = compact_blocks(db, &did);
            if (r)
                log_warn("compaction failed, will be tried again", KV_ERR(r));
        }
        db->retry_ns = r ? now + RETRY_NS : 0;
    }
    head_gc(db);
    expire_blocks(db);
    struct blockset *bs = blocks_get(db);
    for (size_t i = 0; i < bs->n; i++)
        block_index_idle(bs->v[i].b, now > INDEX_IDLE_NS ? now - INDEX_IDLE_NS : 0);
    blockset_unref(bs);
    pthread_mutex_unlock(&db->maint_lock);
    if (atomic_load(&db->read_only) && !atomic_load(&db->wal_lost))
        wal_probe(db);
    return r;
}

/* ---- calls ---- */

struct sink *tsdb_sink(struct tsdb *db)
{
    return &db->sink;
}

struct source *tsdb_source(struct tsdb *db)
{
    return &db->source;
}

int tsdb_sync(struct tsdb *db)
{
    return db_sync(db);
}

int tsdb_flush(struct tsdb *db)
{
    pthread_mutex_lock(&db->maint_lock);
    int r = flush_head(db);
    pthread_mutex_unlock(&db->maint_lock);
    if (!r)
        head_gc(db);
    return r;
}

int tsdb_delete(struct tsdb *db, const struct matcher *m, size_t n, int64_t mint, int64_t maxt)
{
    if (n == 0 || mint > maxt)
        return -EINVAL;
    pthread_mutex_lock(&db->maint_lock);
    int r = delete_samples(db, m, n, mint, maxt);
    pthread_mutex_unlock(&db->maint_lock);
    return r;
}

int tsdb_clean_tombstones(struct tsdb *db)
{
    pthread_mutex_lock(&db->maint_lock);
    int r = compact_tombstones(db);
    pthread_mutex_unlock(&db->maint_lock);
    return r;
}

static int copy_file(const struct vfs *v, const char *from, const char *to)
{
    int in = v->open(v, from, O_RDONLY, 0);
    if (in < 0)
        return in;
    int out = v->open(v, to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    int r = MIN(out, 0);
    char *chunk = xmalloc(256 << 10);
    for (off_t at = 0; !r;) {
        ssize_t n = v->pread(v, in, chunk, 256 << 10, at);
        if (n <= 0) {
            r = (int)n;
            break;
        }
        r = fs_write_all(v, out, chunk, (size_t)n, at);
        at += n;
    }
    free(chunk);
    if (!r)
        r = v->fsync(v, out);
    if (out >= 0) {
        int c = v->close(v, out);
        if (!r)
            r = c;
    }
    (void)v->close(v, in); /* read only */
    return r;
}

static int link_or_copy(const struct vfs *v, const char *from, const char *to)
{
    if (link(from, to) == 0)
        return 0;
    return errno == EXDEV || errno == EPERM || errno == EOPNOTSUPP || errno == EMLINK ? copy_file(v, from, to) : -errno;
}

int tsdb_snapshot_dir(struct tsdb *db, const char *dir)
{
    _cleanup_free_ char *blocks = fs_join(dir, "blocks"), *wal = fs_join(dir, "wal");
    if (access(blocks, F_OK) == 0)
        return -EEXIST;
    int r = fs_mkdirs(blocks, 0700);
    if (!r)
        r = fs_mkdirs(wal, 0700);
    if (r)
        return r;
    pthread_mutex_lock(&db->maint_lock);
    r = flush_head(db);
    struct blockset *bs = blocks_get(db);
    for (size_t i = 0; i < bs->n && !r; i++) {
        _cleanup_free_ char *to = block_name(blocks, bs->v[i].b->meta.seq);
        r = link_or_copy(db->vfs, bs->v[i].b->path, to);
        if (!r && bs->v[i].t) /* written anew: the list may change under a link */
            r = tombs_store(db->vfs, to, bs->v[i].t);
    }
    blockset_unref(bs);
    pthread_mutex_unlock(&db->maint_lock);
    if (!r)
        r = db->vfs->sync_dir(db->vfs, blocks);
    if (!r)
        r = db->vfs->sync_dir(db->vfs, dir);
    return r;
}

int tsdb_check(struct tsdb *db, void (*fn)(void *ctx, const struct tsdb_problem *p), void *ctx)
{
    pthread_mutex_lock(&db->maint_lock);
    int n = head_check(db, fn, ctx);
    struct blockset *bs = blocks_get(db);
    for (size_t i = 0; i < bs->n; i++) {
        struct block *b = bs->v[i].b;
        struct bindex *x;
        int r = block_index(b, clock_mono_ns(db->clock), &x);
        if (r) {
            problem(fn, ctx, &n, "%s: index: %s", b->path, err_name(r));
            continue;
        }
        if (x->n_series != b->meta.n_series)
            problem(fn, ctx, &n, "%s: %u series where %llu are told", b->path, x->n_series,
                    (unsigned long long)b->meta.n_series);
        int bad = block_verify(b, x);
        if (bad)
            problem(fn, ctx, &n, "%s: %d chunks damaged", b->path, bad);
        bindex_unref(x);
    }
    blockset_unref(bs);
    pthread_mutex_unlock(&db->maint_lock);
    return n;
}

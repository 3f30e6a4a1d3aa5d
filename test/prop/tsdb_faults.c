// SPDX-License-Identifier: Apache-2.0
/* The same life of a store again and again: each time another call to the disk fails, or the power goes. What was
 * acknowledged must be there afterwards, nothing may be there that was never written, and a store that met one fault
 * must mend itself.
 *
 * The power cut keeps of each file what was synced, and of each folder the names that were (POSIX to the letter); or,
 * more kindly and more treacherously, a random part of the rest as well. */
#include "test.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "tsdb/tsdb.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define T0 1700000000000LL
#define MINUTE 60000LL
#define SERIES 6

/* ---- a life ---- */

struct fact {
    unsigned series;
    int64_t t;
    double v;
    bool acked;
};

struct life {
    VEC(struct fact) facts;
    bool deleted, delete_tried; /* series 1, all times before delete_before */
    int64_t delete_before;
    double next;
    int errors;
    const long *calls; /* the fault's counter */
    long calls_before_last;
};

static char series_names[SERIES][4];

static struct labels labels_of(unsigned series, struct label l[2])
{
    snprintf(series_names[series], sizeof(series_names[series]), "%u", series);
    l[0] = (struct label){STR("__name__"), STR("m")};
    l[1] = (struct label){STR("id"), str_of(series_names[series])};
    return (struct labels){.v = l, .n = 2};
}

static int put(struct life *life, struct tsdb *db, int64_t t, unsigned first, unsigned n, unsigned flags)
{
    struct sample_row rows[SERIES];
    struct label l[SERIES][2];
    size_t base = life->facts.n;
    for (unsigned i = 0; i < n; i++) {
        struct fact f = {.series = (first + i) % SERIES, .t = t, .v = life->next += 0.25};
        rows[i] = (struct sample_row){.labels = labels_of(f.series, l[i]), .t = f.t, .v = f.v};
        vec_push(&life->facts, f);
    }
    int r = sink_append(tsdb_sink(db), rows, n, flags);
    for (unsigned i = 0; i < n; i++)
        life->facts.v[base + i].acked = r == 0 && rows[i].status == ROW_OK;
    life->errors += r != 0;
    return r;
}

static struct tsdb *open_with(const struct vfs *v, const char *dir, struct clock_fake *clock)
{
    struct tsdb_options o = tsdb_options_default(dir);
    struct err e = {0};
    struct tsdb *db;
    o.vfs = v;
    o.clock = &clock->clock;
    o.no_threads = true;
    o.sync = TSDB_SYNC_ALWAYS;
    o.retention_ms = -1;
    o.max_future_ms = TSDB_FUTURE_ANY;
    o.block_range_ms = 10 * MINUTE;
    o.wal_segment_bytes = 400; /* several segments */
    return tsdb_open(&o, &db, &e) ? NULL : db;
}

static void live(struct life *life, const struct vfs *v, const char *dir, struct clock_fake *clock)
{
    struct tsdb *db = open_with(v, dir, clock);
    if (!db) {
        life->errors++;
        return;
    }
    int64_t t = T0;
    for (int i = 0; i < 5; i++)
        put(life, db, t += 1000, (unsigned)i, 3, 0);
    life->errors += tsdb_sync(db) != 0;
    life->errors += tsdb_flush(db) != 0;
    put(life, db, t += MINUTE, 0, SERIES, 0);
    put(life, db, t - 30000, 2, 3, 0); /* late */
    put(life, db, t - 90000, 2, 2, 0);
    life->errors += tsdb_flush(db) != 0;
    put(life, db, t += MINUTE, 1, 4, 0);
    life->errors += tsdb_flush(db) != 0;
    life->errors += tsdb_tick(db) != 0; /* merges */
    put(life, db, t += MINUTE, 0, SERIES, 0);
    struct matcher m;
    struct err e = {0};
    assert_int_equal(matcher_init(&m, MATCH_EQ, STR("id"), STR("1"), &e), 0);
    life->delete_tried = true;
    life->delete_before = t - MINUTE / 2;
    life->deleted = tsdb_delete(db, &m, 1, INT64_MIN, life->delete_before) == 0;
    life->errors += !life->deleted;
    matcher_done(&m);
    put(life, db, t += MINUTE, 0, 2, SINK_SYNC);
    life->errors += tsdb_clean_tombstones(db) != 0;
    for (int i = 0; i < 3; i++)
        put(life, db, t += 1000, (unsigned)i, 3, 0);
    clock_fake_advance(clock, 60000);
    (void)!tsdb_tick(db);
    life->calls_before_last = life->calls ? *life->calls : 0;
    put(life, db, t += 1000, 0, SERIES, 0);
    tsdb_close(db);
}

/* Everything acknowledged is there, everything there was written. */
static void verify(const struct life *life, const char *dir, struct clock_fake *clock, const char *what, long at)
{
    struct tsdb *db = open_with(&vfs_real, dir, clock);
    if (!db)
        fail_msg("%s at call %ld: does not open", what, at);
    if (tsdb_check(db, NULL, NULL))
        fail_msg("%s at call %ld: check finds damage", what, at);
    struct snapshot *sn;
    assert_int_equal(source_open(tsdb_source(db), &sn), 0);
    struct arena *a = arena_new(0);
    struct column c = {0};
    for (unsigned s = 0; s < SERIES; s++) {
        struct matcher m;
        struct err e = {0};
        struct label l[2];
        struct labels want = labels_of(s, l);
        struct source_list list;
        assert_int_equal(matcher_init(&m, MATCH_EQ, STR("id"), want.v[1].value, &e), 0);
        assert_int_equal(sn->ops->select(sn, &m, 1, INT64_MIN, INT64_MAX, a, &list), 0);
        matcher_done(&m);
        column_reset(&c);
        if (list.n)
            assert_int_equal(sn->ops->read(sn, &list.v[0], INT64_MIN, INT64_MAX, &c), 0);
        for (size_t i = 0; i < life->facts.n; i++) {
            const struct fact *f = &life->facts.v[i];
            if (f->series != s)
                continue;
            bool found = false, in_range = s == 1 && life->delete_tried && f->t <= life->delete_before;
            for (size_t k = 0; k < c.n; k++)
                found = found || (c.t[k] == f->t && c.v[k] == f->v);
            if (f->acked && !in_range && !found)
                fail_msg("%s at call %ld: sample %zu of series %u was acknowledged and is lost", what, at, i, s);
            if (in_range && life->deleted && found && f->t < T0 + 4 * MINUTE)
                fail_msg("%s at call %ld: sample %zu of series %u is back from deletion", what, at, i, s);
        }
        for (size_t k = 0; k < c.n; k++) {
            bool written = false;
            for (size_t i = 0; i < life->facts.n; i++)
                written = written || (life->facts.v[i].series == s && life->facts.v[i].t == c.t[k] &&
                                      life->facts.v[i].v == c.v[k]);
            if (!written)
                fail_msg("%s at call %ld: series %u has a sample that nobody wrote", what, at, s);
        }
    }
    /* And it goes on working. */
    struct life more = {.next = 1e6};
    assert_int_equal(put(&more, db, T0 + 60 * MINUTE, 0, SERIES, SINK_SYNC), 0);
    vec_done(&more.facts);
    column_done(&c);
    arena_free(a);
    snapshot_release(sn);
    tsdb_close(db);
}

/* ---- failing calls ---- */

static void run_faults(const char *what, int error, bool sticky, bool torn)
{
    const char *base = test_dir();
    for (long n = 1;; n++) {
        char *dir = xasprintf("%s/%ld", base, n);
        struct clock_fake clock;
        clock_fake_init(&clock, T0);
        struct vfs_fault f;
        vfs_fault_init(&f);
        f.fail_at = n;
        f.error = error;
        f.sticky = sticky;
        f.short_write = torn;
        struct life life = {.calls = &f.calls};
        live(&life, &f.vfs, dir, &clock);
        bool met = f.calls >= n;
        if (n <= life.calls_before_last && !sticky) { /* one fault, a tick later: healthy again */
            const struct fact *last = &life.facts.v[life.facts.n - 1];
            if (!last->acked)
                fail_msg("%s at call %ld: still refusing after the fault has passed", what, n);
        }
        if (!met)
            assert_int_equal(life.errors, 0);
        verify(&life, dir, &clock, what, n);
        vec_done(&life.facts);
        assert_int_equal(fs_remove_tree(dir), 0);
        free(dir);
        if (!met) {
            print_message("%s: %ld calls\n", what, n - 1);
            return;
        }
    }
}

static void test_eio(void **state)
{
    (void)state;
    run_faults("EIO once", EIO, false, false);
}

static void test_eio_torn(void **state)
{
    (void)state;
    run_faults("EIO once, half written", EIO, false, true);
}

static void test_enospc(void **state)
{
    (void)state;
    run_faults("ENOSPC for good", ENOSPC, true, true);
}

static void test_eio_sticky(void **state)
{
    (void)state;
    run_faults("EIO for good", EIO, true, false);
}

/* ---- power cuts ---- */

struct cfile {
    struct buf synced;
    bool ever_synced;
};
struct cname {
    char *path;
    struct cfile *f;
};
struct cut {
    struct vfs vfs;
    long calls, at;
    bool kind; /* keep random parts of what was not synced */
    VEC(struct cname) now, durable;
    VEC(struct cfile *) files;
    struct {
        int fd;
        struct cfile *f;
    } open[64];
    const char *image;
    struct rand_state rnd;
};

static struct cname *name_find(struct cut *c, const char *path)
{
    for (size_t i = 0; i < c->now.n; i++)
        if (strcmp(c->now.v[i].path, path) == 0)
            return &c->now.v[i];
    return NULL;
}

static bool in_dir(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
}

static void write_image(struct cut *c, const char *root, const char *path, const struct cfile *f, const char *live_path)
{
    char *to = xasprintf("%s%s", c->image, path + strlen(root));
    struct buf content = BUF_INIT(1 << 24), now = BUF_INIT(1 << 24);
    buf_put(&content, f->synced.p, f->synced.n);
    if (c->kind && live_path && fs_read_file(live_path, &now) == 0 && rand_below(&c->rnd, 2)) {
        /* Unsynced pages reached the disk in part: up to somewhere, maybe with a hole of zeros. */
        size_t keep = now.n ? rand_below(&c->rnd, now.n + 1) : 0;
        if (keep > f->synced.n) {
            buf_put(&content, now.p + f->synced.n, keep - f->synced.n);
            if (rand_below(&c->rnd, 2))
                memset(content.p + f->synced.n, 0, (keep - f->synced.n) / 2);
        }
    }
    assert_int_equal(fs_write_file(&vfs_real, to, buf_view(&content), 0600), 0);
    buf_done(&content);
    buf_done(&now);
    free(to);
}

static void power_off(struct cut *c, const char *root)
{
    for (size_t i = 0; i < c->durable.n; i++) {
        const char *live = NULL;
        for (size_t k = 0; k < c->now.n; k++)
            if (c->now.v[k].f == c->durable.v[i].f)
                live = c->now.v[k].path;
        write_image(c, root, c->durable.v[i].path, c->durable.v[i].f, live);
    }
    for (size_t k = 0; c->kind && k < c->now.n; k++)
        if (rand_below(&c->rnd, 2)) /* a name that was not synced may be there all the same */
            write_image(c, root, c->now.v[k].path, c->now.v[k].f, c->now.v[k].path);
}

static const char *cut_root;

static bool off(const struct vfs *v)
{
    struct cut *c = CONTAINER_OF(v, struct cut, vfs);
    c->calls++;
    if (c->calls == c->at)
        power_off(c, cut_root);
    return c->calls >= c->at;
}

static int cut_open(const struct vfs *v, const char *path, int flags, mode_t mode)
{
    struct cut *c = CONTAINER_OF(v, struct cut, vfs);
    if (off(v))
        return -EIO;
    int fd = vfs_real.open(&vfs_real, path, flags, mode);
    if (fd < 0)
        return fd;
    struct cname *n = name_find(c, path);
    if (!n && flags & O_CREAT) {
        struct cfile *f = NEW(struct cfile);
        f->synced = BUF_INIT(1 << 24);
        vec_push(&c->files, f);
        vec_push(&c->now, ((struct cname){.path = xstrdup(path), .f = f}));
        n = name_find(c, path);
    }
    for (size_t i = 0; n && i < ARRAY_LEN(c->open); i++) {
        if (c->open[i].fd == 0) {
            c->open[i].fd = fd + 1;
            c->open[i].f = n->f;
            break;
        }
    }
    return fd;
}

static ssize_t cut_pread(const struct vfs *v, int fd, void *p, size_t n, off_t at)
{
    return off(v) ? -EIO : vfs_real.pread(&vfs_real, fd, p, n, at);
}

static ssize_t cut_pwrite(const struct vfs *v, int fd, const void *p, size_t n, off_t at)
{
    return off(v) ? -EIO : vfs_real.pwrite(&vfs_real, fd, p, n, at);
}

static int cut_fsync(const struct vfs *v, int fd)
{
    struct cut *c = CONTAINER_OF(v, struct cut, vfs);
    if (off(v))
        return -EIO;
    for (size_t i = 0; i < ARRAY_LEN(c->open); i++) {
        if (c->open[i].fd != fd + 1)
            continue;
        struct cfile *f = c->open[i].f;
        char self[64];
        snprintf(self, sizeof(self), "/proc/self/fd/%d", fd); /* it may be open for writing only */
        buf_reset(&f->synced);
        assert_int_equal(fs_read_file(self, &f->synced), 0);
    }
    return 0;
}

static int cut_ftruncate(const struct vfs *v, int fd, off_t n)
{
    return off(v) ? -EIO : vfs_real.ftruncate(&vfs_real, fd, n);
}

static int cut_close(const struct vfs *v, int fd)
{
    struct cut *c = CONTAINER_OF(v, struct cut, vfs);
    for (size_t i = 0; i < ARRAY_LEN(c->open); i++)
        if (c->open[i].fd == fd + 1)
            c->open[i].fd = 0;
    return vfs_real.close(&vfs_real, fd);
}

static void name_drop(struct cut *c, const char *path)
{
    struct cname *n = name_find(c, path);
    if (n) {
        free(n->path);
        vec_del(&c->now, (size_t)(n - c->now.v));
    }
}

static int cut_rename(const struct vfs *v, const char *from, const char *to)
{
    struct cut *c = CONTAINER_OF(v, struct cut, vfs);
    if (off(v))
        return -EIO;
    int r = vfs_real.rename(&vfs_real, from, to);
    if (r)
        return r;
    name_drop(c, to);
    struct cname *n = name_find(c, from);
    assert_non_null(n);
    free(n->path);
    n->path = xstrdup(to);
    return 0;
}

static int cut_unlink(const struct vfs *v, const char *path)
{
    struct cut *c = CONTAINER_OF(v, struct cut, vfs);
    if (off(v))
        return -EIO;
    int r = vfs_real.unlink(&vfs_real, path);
    if (!r)
        name_drop(c, path);
    return r;
}

static int cut_mkdir(const struct vfs *v, const char *path, mode_t mode)
{
    return off(v) ? -EIO : vfs_real.mkdir(&vfs_real, path, mode);
}

static int cut_sync_dir(const struct vfs *v, const char *path)
{
    struct cut *c = CONTAINER_OF(v, struct cut, vfs);
    if (off(v))
        return -EIO;
    for (size_t i = 0; i < c->durable.n;) {
        if (in_dir(c->durable.v[i].path, path)) {
            free(c->durable.v[i].path);
            vec_swap_del(&c->durable, i);
        } else {
            i++;
        }
    }
    for (size_t i = 0; i < c->now.n; i++)
        if (in_dir(c->now.v[i].path, path))
            vec_push(&c->durable, ((struct cname){.path = xstrdup(c->now.v[i].path), .f = c->now.v[i].f}));
    return 0;
}

static void run_cuts(bool kind)
{
    const char *base = test_dir();
    for (long at = 1;; at++) {
        char *dir = xasprintf("%s/%ld", base, at), *image = xasprintf("%s/%ld-image", base, at);
        char *wal = fs_join(image, "wal"), *blocks = fs_join(image, "blocks");
        assert_int_equal(fs_mkdirs(wal, 0700), 0);
        assert_int_equal(fs_mkdirs(blocks, 0700), 0);
        struct clock_fake clock;
        clock_fake_init(&clock, T0);
        struct cut c = {.vfs = {.open = cut_open,
                                .pread = cut_pread,
                                .pwrite = cut_pwrite,
                                .fsync = cut_fsync,
                                .ftruncate = cut_ftruncate,
                                .close = cut_close,
                                .rename = cut_rename,
                                .unlink = cut_unlink,
                                .mkdir = cut_mkdir,
                                .sync_dir = cut_sync_dir},
                        .at = at,
                        .kind = kind,
                        .image = image};
        rand_seed(&c.rnd, test_seed() + (uint64_t)at);
        cut_root = dir;
        struct life life = {0};
        live(&life, &c.vfs, dir, &clock);
        if (c.calls < at)
            power_off(&c, dir); /* after the end: everything closed */
        verify(&life, image, &clock, kind ? "power cut, parts written" : "power cut", at);
        bool over = c.calls < at;
        for (size_t i = 0; i < c.now.n; i++)
            free(c.now.v[i].path);
        for (size_t i = 0; i < c.durable.n; i++)
            free(c.durable.v[i].path);
        for (size_t i = 0; i < c.files.n; i++) {
            buf_done(&c.files.v[i]->synced);
            free(c.files.v[i]);
        }
        vec_done(&c.now);
        vec_done(&c.durable);
        vec_done(&c.files);
        vec_done(&life.facts);
        assert_int_equal(fs_remove_tree(dir), 0);
        assert_int_equal(fs_remove_tree(image), 0);
        free(dir), free(image), free(wal), free(blocks);
        if (over)
            return;
    }
}

static void test_power_cut(void **state)
{
    (void)state;
    run_cuts(false);
}

static void test_power_cut_parts(void **state)
{
    (void)state;
    run_cuts(true);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT, "test"); /* failures are what this is about */
    /* Thousands of fsyncs whose effect is simulated: memory will do. */
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eio),        cmocka_unit_test(test_eio_torn),  cmocka_unit_test(test_enospc),
        cmocka_unit_test(test_eio_sticky), cmocka_unit_test(test_power_cut), cmocka_unit_test(test_power_cut_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

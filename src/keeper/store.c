// SPDX-License-Identifier: Apache-2.0
#include "keeper/keeper_int.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/parse.h"
#include "base/rand.h"
#include "sys/fs.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/*
 * Three files in DATA/keeper (byte by byte: doc/format/keeper.md).
 *   apps  every application now known; rewritten (rename) when one comes or goes
 *   pids  a 64-byte slot per process, written in place at every change: costs one pwrite per start or exit
 *   dump  like apps, written by `save`, read by `resurrect`
 * A clean end removes apps and pids, so finding them means that the keeper was killed or the machine stopped.
 *
 * apps and pids are not synced: they must survive the keeper, which needs only the page cache. After a power cut
 * nothing is left alive to adopt; a torn apps file then fails its checksum and `resurrect` has the synced dump.
 */

#define FILE_MAGIC "HUNEAPPS"
#define PIDS_MAGIC "HUNEPIDS"
#define STORE_VERSION 1
#define FILE_HEAD 16 /* magic, u32 version, u32 crc32c of the rest */
#define SLOT 64
#define FILE_MAX (64 << 20)

/* ---- pids ---- */

static char *path_of(const struct keeper *k, const char *name)
{
    return xasprintf("%s/%s", k->keeper_dir, name);
}

static bool slot_ok(const uint8_t *s)
{
    return hash_crc32c(0, s, SLOT - 4) == get_u32le(s + SLOT - 4);
}

static void slot_write(struct keeper *k, uint32_t slot, uint8_t s[SLOT])
{
    put_u32le(s + SLOT - 4, hash_crc32c(0, s, SLOT - 4));
    if (pwrite(k->pids_fd, s, SLOT, (off_t)SLOT * (1 + (off_t)slot)) != SLOT)
        keeper_say(k, "keeper/pids cannot be written: %s", err_name(-errno));
}

void store_pid_clear(struct keeper *k, uint32_t slot)
{
    uint8_t s[SLOT] = {0};
    slot_write(k, slot, s);
}

void store_pid(struct keeper *k, const struct proc *p)
{
    uint8_t s[SLOT] = {0};
    put_u32le(s, p->id);
    put_u32le(s + 4, (uint32_t)p->pid);
    put_u64le(s + 8, p->start_ticks);
    put_u64le(s + 16, (uint64_t)p->created_ms);
    put_u64le(s + 24, (uint64_t)p->started_ms);
    put_u32le(s + 32, p->m.restarts);
    put_u32le(s + 36, p->m.unstable);
    s[40] = 1;
    s[41] = (uint8_t)p->m.state;
    put_u64le(s + 48, p->app->spec_hash);
    slot_write(k, p->slot, s);
}

/* The slot an earlier keeper had for this process, or NULL. */
static const uint8_t *old_slot(const struct keeper *k, uint32_t id, uint32_t *ret_slot)
{
    const uint8_t *p = (const uint8_t *)k->old_pids.p;
    for (size_t at = SLOT; at + SLOT <= k->old_pids.n; at += SLOT)
        if (slot_ok(p + at) && p[at + 40] == 1 && get_u32le(p + at) == id) {
            *ret_slot = (uint32_t)(at / SLOT - 1);
            return p + at;
        }
    return NULL;
}

uint32_t store_slot(struct keeper *k, uint32_t id)
{
    uint32_t slot;
    if (old_slot(k, id, &slot))
        return slot;
    size_t n_old = k->old_pids.n / SLOT;
    for (slot = n_old ? (uint32_t)n_old - 1 : 0;; slot++) {
        bool taken = false;
        for (size_t i = 0; i < k->procs.n && !taken; i++)
            taken = k->procs.v[i]->slot == slot;
        if (!taken)
            return slot;
    }
}

int store_open(struct keeper *k, struct err *e)
{
    _cleanup_free_ char *path = path_of(k, "pids");
    k->pids_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (k->pids_fd < 0) {
        int r = -errno;
        err_set(e, "%s: %s", path, err_name(r));
        return r;
    }
    buf_init(&k->old_pids, FILE_MAX);
    if (fs_read_file(path, &k->old_pids) < 0)
        buf_reset(&k->old_pids);
    const uint8_t *h = (const uint8_t *)k->old_pids.p;
    bool known =
        k->old_pids.n >= SLOT && memcmp(h, PIDS_MAGIC, 8) == 0 && slot_ok(h) && get_u32le(h + 8) == STORE_VERSION;
    uint8_t boot[16], head[SLOT] = {0};
    proc_boot_id(boot);
    if (known)
        k->keeper_id = get_u64le(h + 32);
    else
        rand_secure(&k->keeper_id, sizeof(k->keeper_id));
    if (!known || memcmp(h + 16, boot, 16) != 0) {
        /* Another boot: no process of then is alive, whatever now has its number. Slots keep their state. */
        for (size_t at = SLOT; known && at + SLOT <= k->old_pids.n; at += SLOT)
            memset(k->old_pids.p + at + 4, 0, 12);
        for (size_t at = SLOT; known && at + SLOT <= k->old_pids.n; at += SLOT)
            put_u32le(k->old_pids.p + at + SLOT - 4, hash_crc32c(0, k->old_pids.p + at, SLOT - 4));
        if (!known)
            buf_reset(&k->old_pids);
    }
    memcpy(head, PIDS_MAGIC, 8);
    put_u32le(head + 8, STORE_VERSION);
    memcpy(head + 16, boot, 16);
    put_u64le(head + 32, k->keeper_id);
    put_u32le(head + SLOT - 4, hash_crc32c(0, head, SLOT - 4));
    if (pwrite(k->pids_fd, head, SLOT, 0) != SLOT) {
        int r = errno ? -errno : -EIO;
        err_set(e, "%s: %s", path, err_name(r));
        return r;
    }
    return 0;
}

void store_close(struct keeper *k)
{
    if (k->pids_fd >= 0)
        close(k->pids_fd);
    k->pids_fd = -1;
    buf_done(&k->old_pids);
}

void store_forget(struct keeper *k)
{
    static const char *const names[] = {"apps", "pids", "keeper.pid", "control.sock"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        _cleanup_free_ char *path = path_of(k, names[i]);
        unlink(path);
    }
}

/* ---- apps and dump ---- */

void spec_copy(struct buf *to, struct str body)
{
    uint16_t tag;
    struct str v;
    while (control_field(&body, &tag, &v))
        if (tag >= CT_NAME && tag <= CT_INSTANCE_VAR)
            control_put(to, (enum control_tag)tag, v);
}

static bool app_wanted(const struct keeper *k, const struct app *a)
{
    for (size_t i = 0; i < k->procs.n; i++)
        if (k->procs.v[i]->app == a && proc_busy(k->procs.v[i]))
            return true;
    return false;
}

static uint32_t encode_apps(struct keeper *k, struct buf *b)
{
    uint32_t n = 0;
    uint8_t head[FILE_HEAD] = {0};
    buf_put(b, head, sizeof(head));
    for (size_t i = 0; i < k->apps.n; i++) {
        const struct app *a = k->apps.v[i];
        if (a->server)
            continue; /* its command line comes from `hune run` */
        size_t at = control_begin(b, CONTROL_ADD, 0);
        control_put_u64(b, CT_STATE, app_wanted(k, a));
        for (size_t p = 0; p < k->procs.n; p++)
            if (k->procs.v[p]->app == a)
                control_put_u64(b, CT_ID, k->procs.v[p]->id);
        spec_copy(b, buf_view(&a->spec));
        control_end(b, at);
        n++;
    }
    if (!buf_error(b)) {
        memcpy(b->p, FILE_MAGIC, 8);
        put_u32le(b->p + 8, STORE_VERSION);
        put_u32le(b->p + 12, hash_crc32c(0, b->p + FILE_HEAD, b->n - FILE_HEAD));
    }
    return n;
}

void store_apps(struct keeper *k)
{
    _cleanup_buf_ struct buf b = BUF_INIT(FILE_MAX);
    encode_apps(k, &b);
    _cleanup_free_ char *path = path_of(k, "apps"), *tmp = path_of(k, "apps.tmp");
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : buf_error(&b);
    if (r == 0)
        r = fs_write_all(&vfs_real, fd, b.p, b.n, 0);
    if (fd >= 0)
        close(fd);
    if (r == 0 && rename(tmp, path) != 0)
        r = -errno;
    if (r < 0)
        keeper_say(k, "keeper/apps cannot be written: %s", err_name(r));
}

/* fn for every application of a file. 0; 1 when it is not ours or damaged (fn was not called); -errno. */
static int read_apps(const char *path, int (*fn)(struct keeper *k, struct str body, struct err *e), struct keeper *k,
                     struct err *e)
{
    _cleanup_buf_ struct buf b = BUF_INIT(FILE_MAX);
    int r = fs_read_file(path, &b);
    if (r < 0) {
        err_set(e, "%s: %s", path, err_name(r));
        return r;
    }
    if (b.n < FILE_HEAD || memcmp(b.p, FILE_MAGIC, 8) != 0 || get_u32le(b.p + 8) != STORE_VERSION ||
        get_u32le(b.p + 12) != hash_crc32c(0, b.p + FILE_HEAD, b.n - FILE_HEAD)) {
        err_set(e, "%s: damaged, or of another version", path);
        return 1;
    }
    struct str rest = str_make(b.p + FILE_HEAD, b.n - FILE_HEAD);
    struct control_frame f;
    size_t used;
    while (rest.n && control_parse(rest, FILE_MAX, &f, &used) == 0) {
        rest = str_sub(rest, used, rest.n);
        struct err why = {0};
        if (f.type == CONTROL_ADD && fn(k, f.body, &why) != 0)
            keeper_say(k, "%s: " STR_FMT ": %s", path, STR_ARG(control_get(f.body, CT_NAME)), why.msg);
    }
    return 0;
}

static int add_known(struct keeper *k, struct str body, struct err *e)
{
    uint32_t ids[KEEPER_INSTANCES];
    size_t n = 0;
    uint16_t tag;
    struct str v, rest = body;
    while (control_field(&rest, &tag, &v))
        if (tag == CT_ID && n < ARRAY_LEN(ids))
            ids[n++] = (uint32_t)control_number(v);
    _cleanup_buf_ struct buf spec = BUF_INIT(FILE_MAX);
    spec_copy(&spec, body);
    struct app *a;
    return app_add(k, buf_view(&spec), ids, n, &a, e);
}

/* A process of ours that no adopted main process answers for. */
static void end_stray(void *ctx, pid_t pid, struct str value)
{
    struct keeper *k = ctx;
    struct str left, id_text;
    uint64_t id;
    if (!str_cut(value, '-', &left, &id_text) || !parse_u64(id_text, &id))
        return;
    const struct proc *p = proc_find(k, (uint32_t)id);
    if (p && p->m.main_alive)
        return;
    keeper_say(k, "ending pid %d, left behind by an earlier keeper", (int)pid);
    kill(pid, id == KEEPER_SERVER_ID ? SIGTERM : SIGKILL);
}

static void end_job(void *ctx, pid_t pid, struct str value)
{
    (void)ctx;
    (void)value;
    kill(pid, SIGKILL);
}

void store_resume(struct keeper *k)
{
    _cleanup_free_ char *path = path_of(k, "apps");
    struct err e = {0};
    if (access(path, F_OK) == 0) {
        if (read_apps(path, add_known, k, &e) != 0)
            keeper_say(k, "%s", e.msg);
    }
    /* First who lives, then who must not, then who should: a start must find its port free. */
    for (size_t i = 0; i < k->procs.n; i++) {
        struct proc *p = k->procs.v[i];
        uint32_t slot;
        const uint8_t *s = old_slot(k, p->id, &slot);
        if (!s)
            continue;
        p->created_ms = (int64_t)get_u64le(s + 16);
        p->m.restarts = get_u32le(s + 32);
        p->m.unstable = get_u32le(s + 36);
        pid_t pid = (pid_t)get_u32le(s + 4);
        uint64_t ticks = get_u64le(s + 8);
        if (pid > 0 && ticks && proc_start_ticks(pid) == ticks) {
            proc_adopt(p, pid, ticks, (int64_t)get_u64le(s + 24));
            if (s[41] == CS_STOPPING)
                proc_feed(p, ME_STOP);
            else if (p->app->server && get_u64le(s + 48) != p->app->spec_hash)
                proc_feed(p, ME_RESTART); /* `hune run` was given other flags this time */
        }
    }
    char marker[64];
    snprintf(marker, sizeof(marker), "HUNE_INSTANCE=%016llx-", (unsigned long long)k->keeper_id);
    if (k->old_pids.n > SLOT) {
        proc_each_marked(marker, end_stray, k);
        snprintf(marker, sizeof(marker), "HUNE_JOB=%016llx-", (unsigned long long)k->keeper_id);
        proc_each_marked(marker, end_job, k); /* whoever asked for it is not waiting any more */
    }
    for (size_t i = 0; i < k->procs.n; i++) {
        struct proc *p = k->procs.v[i];
        uint32_t slot;
        const uint8_t *s = old_slot(k, p->id, &slot);
        if (p->m.state != CS_STOPPED || p->app->server)
            continue;
        if (!s || s[41] == CS_ONLINE || s[41] == CS_LAUNCHING || s[41] == CS_WAITING)
            proc_feed(p, ME_START);
        else if (s[41] == CS_ERRORED)
            p->m.state = CS_ERRORED;
        store_pid(k, p);
    }
    if (k->old_pids.n > SLOT)
        store_apps(k);
    buf_done(&k->old_pids);
}

int store_save(struct keeper *k, uint32_t *ret_n, struct err *e)
{
    _cleanup_buf_ struct buf b = BUF_INIT(FILE_MAX);
    uint32_t n = encode_apps(k, &b);
    int r = buf_error(&b);
    _cleanup_free_ char *path = path_of(k, "dump");
    if (r == 0)
        r = fs_write_file(&vfs_real, path, buf_view(&b), 0600);
    if (r < 0) {
        err_set(e, "%s: %s", path, err_name(r));
        return r;
    }
    *ret_n = n;
    return 0;
}

static uint32_t resurrected;

static int resurrect_one(struct keeper *k, struct str body, struct err *e)
{
    if (app_find(k, control_get(body, CT_NAME)))
        return 0;
    _cleanup_buf_ struct buf spec = BUF_INIT(FILE_MAX);
    spec_copy(&spec, body);
    struct app *a;
    int r = app_add(k, buf_view(&spec), NULL, 0, &a, e);
    if (r != 0)
        return r;
    resurrected++;
    bool start = control_get_u64(body, CT_STATE, 1) != 0;
    for (size_t i = 0; i < k->procs.n; i++)
        if (k->procs.v[i]->app == a) {
            conns_state(k, k->procs.v[i], CE_ADDED);
            if (start)
                proc_feed(k->procs.v[i], ME_START);
        }
    return 0;
}

int store_resurrect(struct keeper *k, uint32_t *ret_n, struct err *e)
{
    _cleanup_free_ char *path = path_of(k, "dump");
    resurrected = 0;
    int r = read_apps(path, resurrect_one, k, e);
    if (r != 0)
        return r;
    if (resurrected)
        store_apps(k);
    *ret_n = resurrected;
    return 0;
}

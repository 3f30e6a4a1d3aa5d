// SPDX-License-Identifier: Apache-2.0
/* What must survive: alerts, silences, the notification log. One append-only file (doc/format/notify.md): each record a
 * length, a checksum and a JSON object. A torn tail is cut off; everything acknowledged was synced. Records queue up in
 * the outbox under `mu`, one writer at a time takes the whole queue to disk (`io_mu`), so callers that wait together
 * share one sync. */
#include "notify/notify_int.h"
#include "base/bytes.h"
#include <fcntl.h>
#include <unistd.h>

#define MAGIC "HUNENOT1"
#define HEAD 8
#define RECORD_MAX (32u << 20)
#define COMPACT_MIN_BYTES (1 << 20)

static const struct vfs *vfs_of(const struct notify *n)
{
    return n->o.vfs ? n->o.vfs : &vfs_real;
}

static void path_of(const struct notify *n, char *out, size_t max)
{
    snprintf(out, max, "%s/notify.log", n->o.dir);
}

/* ---- records ---- */

static void frame(struct buf *out, struct str json)
{
    char head[8];
    put_u32le(head, (uint32_t)json.n);
    put_u32le(head + 4, hash_crc32c(0, json.p, json.n));
    buf_put(out, head, 8);
    buf_str(out, json);
}

static void put_fps(struct jw *w, const char *key, const uint64_t *v, size_t n)
{
    jw_key(w, key);
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        char t[20];
        snprintf(t, sizeof(t), "%016llx", (unsigned long long)v[i]);
        jw_z(w, t);
    }
    jw_end(w);
}

static void emit_alert(struct buf *out, const struct alarm *x)
{
    _cleanup_buf_ struct buf b = BUF_INIT(RECORD_MAX);
    struct jw w;
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kz(&w, "t", "a");
    jw_key(&w, "l");
    labels_json(&w, x->a.labels);
    jw_key(&w, "a");
    labels_json(&w, x->a.annotations);
    jw_ki64(&w, "s", x->a.starts_ms);
    jw_ki64(&w, "e", x->a.ends_ms);
    jw_ki64(&w, "u", x->a.updated_ms);
    jw_kstr(&w, "g", x->a.generator_url);
    jw_kf64(&w, "v", x->a.value);
    jw_kbool(&w, "to", x->timeout);
    jw_kbool(&w, "r", x->a.resolved);
    jw_end(&w);
    frame(out, buf_view(&b));
}

static void emit_silence(struct buf *out, const struct entry *s)
{
    _cleanup_buf_ struct buf b = BUF_INIT(RECORD_MAX);
    struct jw w;
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kz(&w, "t", "s");
    jw_kz(&w, "id", s->id);
    jw_key(&w, "m");
    jw_arr(&w);
    for (size_t i = 0; i < s->n_matchers; i++) {
        jw_arr(&w);
        jw_str(&w, s->matchers[i].name);
        jw_i64(&w, s->matchers[i].op);
        jw_str(&w, s->matchers[i].value);
        jw_end(&w);
    }
    jw_end(&w);
    jw_ki64(&w, "s", s->starts_ms);
    jw_ki64(&w, "e", s->ends_ms);
    jw_ki64(&w, "u", s->updated_ms);
    jw_kstr(&w, "by", s->created_by);
    jw_kstr(&w, "c", s->comment);
    jw_end(&w);
    frame(out, buf_view(&b));
}

static void emit_log(struct buf *out, const struct log_entry *l)
{
    _cleanup_buf_ struct buf b = BUF_INIT(RECORD_MAX);
    struct jw w;
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kz(&w, "t", "n");
    jw_kstr(&w, "k", l->key);
    jw_ki64(&w, "at", l->t_ms);
    jw_ki64(&w, "x", l->expires_ms);
    put_fps(&w, "f", l->firing, l->n_firing);
    put_fps(&w, "r", l->resolved, l->n_resolved);
    jw_end(&w);
    frame(out, buf_view(&b));
}

void store_alert(struct notify *n, const struct alarm *x)
{
    if (n->o.dir)
        emit_alert(&n->outbox, x);
}

void store_alert_gone(struct notify *n, uint64_t fp)
{
    if (!n->o.dir)
        return;
    char t[48];
    int len = snprintf(t, sizeof(t), "{\"t\":\"d\",\"f\":\"%016llx\"}", (unsigned long long)fp);
    frame(&n->outbox, str_make(t, (size_t)len));
}

void store_silence(struct notify *n, const struct entry *s)
{
    if (n->o.dir)
        emit_silence(&n->outbox, s);
}

void store_log(struct notify *n, const struct log_entry *l)
{
    if (n->o.dir)
        emit_log(&n->outbox, l);
}

/* ---- writing ---- */

/* Everything alive into a new file; the caller holds io_mu, not mu. */
static int rewrite(struct notify *n)
{
    struct buf b = BUF_INIT((size_t)4 << 30);
    char path[4096], tmp[4100];
    path_of(n, path, sizeof(path));
    snprintf(tmp, sizeof(tmp), "%s.tmp", path);
    buf_put(&b, MAGIC, HEAD);
    pthread_mutex_lock(&n->mu);
    for (size_t i = 0; i < n->alarms.n; i++)
        emit_alert(&b, n->alarms.v[i]);
    for (size_t i = 0; i < n->silences.n; i++)
        emit_silence(&b, n->silences.v[i]);
    for (struct map_entry *e = NULL; (e = map_next(&n->log, e));)
        emit_log(&b, e->value);
    buf_reset(&n->outbox); /* its records are part of the state just written */
    pthread_mutex_unlock(&n->mu);
    const struct vfs *v = vfs_of(n);
    int fd = v->open(v, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), r = fd < 0 ? fd : buf_error(&b);
    if (!r)
        r = fs_write_all(v, fd, b.p, b.n, 0);
    if (!r)
        r = v->fsync(v, fd);
    if (!r)
        r = v->rename(v, tmp, path);
    if (!r)
        r = v->sync_dir(v, n->o.dir);
    if (r) {
        if (fd >= 0)
            (void)v->close(v, fd); /* the file is given up */
        (void)v->unlink(v, tmp);   /* may not exist */
        n->store_broken = true;
    } else {
        if (n->fd >= 0)
            (void)v->close(v, n->fd); /* replaced; nothing of it is needed */
        n->fd = fd;
        n->file_bytes = n->compacted_bytes = (off_t)b.n;
        n->store_broken = false;
    }
    buf_done(&b);
    return r;
}

int store_flush(struct notify *n)
{
    if (!n->o.dir)
        return 0;
    pthread_mutex_lock(&n->io_mu);
    int r = 0;
    if (n->store_broken) {
        r = rewrite(n);
    } else {
        pthread_mutex_lock(&n->mu);
        struct buf out = n->outbox;
        n->outbox = (struct buf)BUF_INIT(out.max);
        pthread_mutex_unlock(&n->mu);
        const struct vfs *v = vfs_of(n);
        if (buf_error(&out)) {
            n->store_broken = true;
            r = rewrite(n);
        } else if (out.n) {
            r = fs_write_all(v, n->fd, out.p, out.n, n->file_bytes);
            if (!r)
                r = v->fsync(v, n->fd);
            if (!r)
                n->file_bytes += (off_t)out.n;
            else
                n->store_broken = true; /* what was queued is in memory: the next flush writes everything anew */
        }
        buf_done(&out);
    }
    pthread_mutex_unlock(&n->io_mu);
    return r;
}

int store_compact(struct notify *n)
{
    if (!n->o.dir)
        return 0;
    pthread_mutex_lock(&n->io_mu);
    int r = n->file_bytes < COMPACT_MIN_BYTES + 2 * n->compacted_bytes ? 0 : rewrite(n);
    pthread_mutex_unlock(&n->io_mu);
    return r;
}

/* ---- reading ---- */

static struct labels read_labels(const struct json *o, struct arena *a)
{
    struct labels_builder b = {0};
    lb_init(&b, (struct labels){0});
    for (size_t i = 0; o && o->kind == JSON_OBJECT && i < o->n; i++)
        lb_set(&b, o->keys[i], o->items[i].s);
    struct labels l = lb_labels(&b, a);
    lb_done(&b);
    return l;
}

static uint64_t hex64(struct str s)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++)
        v = v << 4 | (uint64_t)(s.p[i] <= '9' ? s.p[i] - '0' : (s.p[i] | 0x20) - 'a' + 10);
    return v;
}

static size_t read_fps(const struct json *list, struct arena *a, uint64_t **ret)
{
    size_t n = list && list->kind == JSON_ARRAY ? list->n : 0;
    *ret = ARENA_ARRAY(a, uint64_t, n + 1);
    for (size_t i = 0; i < n; i++)
        (*ret)[i] = hex64(list->items[i].s);
    return n;
}

static void apply(struct notify *n, const struct json *o, struct arena *a, int64_t now)
{
    struct str t = json_str(o, "t", STR(""));
    if (str_eqz(t, "a")) {
        struct alert x = {.labels = read_labels(json_get(o, "l"), a),
                          .annotations = read_labels(json_get(o, "a"), a),
                          .starts_ms = json_i64(o, "s", 0),
                          .ends_ms = json_i64(o, "e", 0),
                          .updated_ms = json_i64(o, "u", 0),
                          .generator_url = json_str(o, "g", STR("")),
                          .resolved = json_bool(o, "r", false),
                          .value = json_f64(o, "v", 0)};
        uint64_t fp = labels_fingerprint(x.labels);
        struct alarm *old = alarm_find(n, fp);
        if (!old) {
            old = NEW(struct alarm);
            old->fp = fp;
            vec_push(&n->alarms, old);
            idmap_put(&n->alarm_index, fp, (uint64_t)(uintptr_t)old);
        }
        free(old->block);
        old->block = pack_alert(&x, &old->a);
        old->timeout = json_bool(o, "to", false);
    } else if (str_eqz(t, "d")) {
        struct alarm *old = alarm_find(n, hex64(json_str(o, "f", STR("0"))));
        for (size_t i = 0; old && i < n->alarms.n; i++)
            if (n->alarms.v[i] == old) {
                vec_swap_del(&n->alarms, i);
                idmap_del(&n->alarm_index, old->fp);
                free(old->block);
                free(old);
                break;
            }
    } else if (str_eqz(t, "s")) {
        const struct json *m = json_get(o, "m");
        size_t count = m && m->kind == JSON_ARRAY ? m->n : 0;
        struct matcher *v = ARENA_ARRAY(a, struct matcher, count + 1);
        for (size_t i = 0; i < count; i++)
            if (m->items[i].kind == JSON_ARRAY && m->items[i].n == 3)
                v[i] = (struct matcher){.name = m->items[i].items[0].s,
                                        .op = (enum match_op)(m->items[i].items[1].i & 3),
                                        .value = m->items[i].items[2].s};
        struct str id = json_str(o, "id", STR(""));
        char z[37] = "";
        if (id.n == 36)
            memcpy(z, id.p, 36);
        struct silence s = {.matchers = v,
                            .n_matchers = count,
                            .starts_ms = json_i64(o, "s", 0),
                            .ends_ms = json_i64(o, "e", 0),
                            .created_by = json_str(o, "by", STR("")),
                            .comment = json_str(o, "c", STR(""))};
        struct entry *e = silence_add(n, z, &s, json_i64(o, "u", now));
        if (e)
            e->told_active = e->told_expired = true; /* told before the restart, or soon enough by the page */
    } else if (str_eqz(t, "n")) {
        uint64_t *f, *r;
        size_t nf = read_fps(json_get(o, "f"), a, &f), nr = read_fps(json_get(o, "r"), a, &r);
        log_put(n, json_str(o, "k", STR("")), json_i64(o, "at", 0), json_i64(o, "x", 0), f, nf, r, nr);
    }
}

int notify_store_open(struct notify *n, struct err *e)
{
    n->fd = -1;
    n->outbox = (struct buf)BUF_INIT((size_t)1 << 30);
    if (!n->o.dir)
        return 0;
    int r = fs_mkdirs(n->o.dir, 0700);
    if (r) {
        err_set(e, "%s: %s", n->o.dir, err_name(r));
        return r;
    }
    char path[4096];
    path_of(n, path, sizeof(path));
    struct buf b = BUF_INIT((size_t)4 << 30);
    r = fs_read_file(path, &b);
    if (r && r != -ENOENT) {
        err_set(e, "%s: %s", path, err_name(r));
        buf_done(&b);
        return r;
    }
    if (!r && b.n && (b.n < HEAD || memcmp(b.p, MAGIC, HEAD) != 0)) {
        err_set(e, "%s: not a notification log of a version this hune knows", path);
        buf_done(&b);
        return -EINVAL;
    }
    int64_t now = clock_now_ms(n->o.clock);
    struct arena *a = arena_new(0);
    size_t at = HEAD;
    while (at + 8 <= b.n) {
        uint32_t len = get_u32le(b.p + at), crc = get_u32le(b.p + at + 4);
        if (len > RECORD_MAX || at + 8 + len > b.n || hash_crc32c(0, b.p + at + 8, len) != crc)
            break; /* the tail of a crash: never acknowledged */
        const struct json *o;
        if (json_parse(str_make(b.p + at + 8, len), a, &o, NULL) == 0)
            apply(n, o, a, now);
        arena_reset(a);
        at += 8 + len;
    }
    if (b.n > HEAD && at < b.n)
        log_warn("notification log ended in an unfinished record; it was never acknowledged and is dropped",
                 KV_INT("bytes", b.n - at));
    arena_free(a);
    buf_done(&b);
    r = rewrite(n);
    if (r)
        err_set(e, "%s: %s", path, err_name(r));
    return r;
}

void notify_store_close(struct notify *n)
{
    const struct vfs *v = vfs_of(n);
    if (n->fd >= 0)
        (void)v->close(v, n->fd); /* all is synced already */
    n->fd = -1;
    buf_done(&n->outbox);
}

// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/format.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_MAX_BYTES 8192
#define WINDOW_NS 10000000000ULL

static struct {
    _Atomic int min;
    enum log_format format;
    const char *component;
    void (*tap)(void *ctx, enum log_level lvl, struct str line);
    void *tap_ctx;
    pthread_mutex_t lock; /* one line at a time; guards sites and the tap */
} logger = {.min = LOG_INFO, .lock = PTHREAD_MUTEX_INITIALIZER};

void log_setup(enum log_level min, enum log_format format, const char *component)
{
    logger.format = format;
    logger.component = component;
    atomic_store_explicit(&logger.min, (int)min, memory_order_relaxed);
}

enum log_level log_min(void)
{
    return (enum log_level)atomic_load_explicit(&logger.min, memory_order_relaxed);
}

void log_tap(void (*fn)(void *ctx, enum log_level lvl, struct str line), void *ctx)
{
    pthread_mutex_lock(&logger.lock);
    logger.tap = fn;
    logger.tap_ctx = ctx;
    pthread_mutex_unlock(&logger.lock);
}

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static void quoted(struct buf *b, struct str s)
{
    static const char hex[] = "0123456789abcdef";
    buf_putc(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            buf_putc(b, '\\');
            buf_putc(b, (char)c);
        } else if (c == '\n') {
            buf_z(b, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            buf_z(b, "\\u00");
            buf_putc(b, hex[c >> 4]);
            buf_putc(b, hex[c & 15]);
        } else {
            buf_putc(b, (char)c);
        }
    }
    buf_putc(b, '"');
}

static bool plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
            return false;
    }
    return s.n > 0;
}

static void pair(struct buf *b, const char *key, struct str v, bool text)
{
    if (logger.format == LOG_JSON) {
        if (b->n > 1)
            buf_putc(b, ',');
        buf_putc(b, '"');
        buf_z(b, key);
        buf_z(b, "\":");
        if (text)
            quoted(b, v);
        else
            buf_str(b, v);
        return;
    }
    if (b->n)
        buf_putc(b, ' ');
    buf_z(b, key);
    buf_putc(b, '=');
    if (text && !plain(v))
        quoted(b, v);
    else
        buf_str(b, v);
}

static void pair_kv(struct buf *b, const struct log_kv *kv)
{
    char num[32];
    switch (kv->kind) {
    case KV_S:
        pair(b, kv->key, kv->s, true);
        return;
    case KV_I:
        pair(b, kv->key, str_make(num, (size_t)snprintf(num, sizeof(num), "%lld", (long long)kv->i)), false);
        return;
    case KV_F:
        pair(b, kv->key, str_make(num, (size_t)snprintf(num, sizeof(num), "%.6g", kv->f)), false);
        return;
    case KV_B:
        pair(b, kv->key, kv->i ? STR("true") : STR("false"), false);
        return;
    case KV_END:
        return;
    }
}

void log_emit(struct log_site *site, enum log_level lvl, const char *file, int line, const char *msg,
              const struct log_kv *kv)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LINE_MAX_BYTES);
    _cleanup_buf_ struct buf ts = BUF_INIT(64);
    int saved = errno;
    pthread_mutex_lock(&logger.lock);
    uint64_t now = clock_mono_ns(&clock_real);
    uint32_t kept_back = 0;
    if (now - site->window_ns > WINDOW_NS) {
        kept_back = site->suppressed;
        *site = (struct log_site){.window_ns = now};
    }
    if (++site->in_window > LOG_BURST) {
        site->suppressed++;
        goto out;
    }
    if (logger.format == LOG_JSON)
        buf_putc(&b, '{');
    format_rfc3339_ms(&ts, clock_now_ms(&clock_real));
    pair(&b, "time", buf_view(&ts), true);
    pair(&b, "level", str_of(level_names[lvl]), true);
    if (logger.component)
        pair(&b, "component", str_of(logger.component), true);
    pair(&b, "msg", str_of(msg), true);
    for (; kv->kind != KV_END; kv++)
        pair_kv(&b, kv);
    if (kept_back)
        pair_kv(&b, &KV_INT("suppressed", kept_back));
    if (lvl == LOG_DEBUG) {
        pair(&b, "file", str_of(file), true);
        pair_kv(&b, &KV_INT("line", line));
    }
    if (logger.format == LOG_JSON)
        buf_putc(&b, '}');
    if (logger.tap)
        logger.tap(logger.tap_ctx, lvl, buf_view(&b));
    b.max++; /* room for the newline even in a line cut at the maximum */
    b.err = 0;
    buf_putc(&b, '\n');
    ssize_t ignored = write(STDERR_FILENO, b.p, b.n);
    (void)ignored; /* a log that cannot be written has nowhere to complain */
out:
    pthread_mutex_unlock(&logger.lock);
    errno = saved;
}

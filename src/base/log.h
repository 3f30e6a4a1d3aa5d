// SPDX-License-Identifier: Apache-2.0
#pragma once
/* One event, one line: log_warn("scrape failed", KV_STR("target", t), KV_MS("took", 12)). logfmt (default) or JSON on
 * stderr. Rooms of floors 0-3 return errors and do not log (debug excepted); the service that decides logs once. Each
 * call site prints at most LOG_BURST lines in 10 s and then says how many it kept back. Thread-safe. */
#include "base/str.h"
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };
#define LOG_BURST 50

struct log_kv {
    const char *key;
    enum { KV_END, KV_S, KV_I, KV_F, KV_B } kind;
    struct str s;
    int64_t i;
    double f;
};

#define KV_STR(k, v) ((struct log_kv){.key = (k), .kind = KV_S, .s = (v)})
#define KV_Z(k, v) ((struct log_kv){.key = (k), .kind = KV_S, .s = str_of(v)})
#define KV_INT(k, v) ((struct log_kv){.key = (k), .kind = KV_I, .i = (int64_t)(v)})
#define KV_MS(k, v) KV_INT(k "_ms", v)
#define KV_F64(k, v) ((struct log_kv){.key = (k), .kind = KV_F, .f = (v)})
#define KV_BOOL(k, v) ((struct log_kv){.key = (k), .kind = KV_B, .i = (v)})
#define KV_ERR(r) KV_Z("err", err_name(r))

struct log_site {
    uint64_t window_ns;
    uint32_t in_window, suppressed;
};

void log_setup(enum log_level min, enum log_format format, const char *component);
enum log_level log_min(void);
/* Also called for every line of at least `min` (the page's log view, tests); NULL to stop. Runs on the logging thread.
 */
void log_tap(void (*fn)(void *ctx, enum log_level lvl, struct str line), void *ctx);
void log_emit(struct log_site *site, enum log_level lvl, const char *file, int line, const char *msg,
              const struct log_kv *kv);

#define log_at(lvl, msg, ...)                                                                                          \
    do {                                                                                                               \
        static struct log_site log_site_;                                                                              \
        if ((lvl) >= log_min())                                                                                        \
            log_emit(&log_site_, (lvl), __FILE__, __LINE__, (msg),                                                     \
                     &((const struct log_kv[]){{.kind = KV_END}, ##__VA_ARGS__, {.kind = KV_END}})[1]);                \
    } while (0)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)

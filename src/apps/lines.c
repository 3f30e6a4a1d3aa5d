// SPDX-License-Identifier: Apache-2.0
/* Log lines: the newest in memory, the older ones out of the keeper's files. */
#include "apps/apps_int.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/parse.h"
#include "sys/fs.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BACK_MAX (4 << 20) /* bytes of a file looked at in one call */
#define CHUNK (64 << 10)

static void ring_drop(struct ring *r)
{
    struct ring_line *l = &r->v[r->first];
    r->bytes -= l->len;
    free(l->text);
    *l = (struct ring_line){0};
    r->first = (r->first + 1) % r->cap;
    r->n--;
}

void ring_push(struct ring *r, uint64_t n, int64_t t_ms, int stream, struct str text)
{
    size_t max_lines = (size_t)limit(app_log_lines), max_bytes = (size_t)limit(app_log_bytes);
    text = str_sub(text, 0, max_bytes);
    while (r->n && (r->n >= max_lines || r->bytes + text.n > max_bytes))
        ring_drop(r);
    if (r->n == r->cap) {
        size_t cap = MIN(max_lines, r->cap ? r->cap * 2 : 16);
        struct ring_line *v = xcalloc(cap, sizeof(*v));
        for (size_t i = 0; i < r->n; i++)
            v[i] = *ring_at(r, i);
        free(r->v);
        r->v = v;
        r->cap = cap;
        r->first = 0;
    }
    r->v[(r->first + r->n++) % r->cap] =
        (struct ring_line){.n = n, .t_ms = t_ms, .stream = stream, .text = str_dupz(text), .len = text.n};
    r->bytes += text.n;
}

void ring_done(struct ring *r)
{
    while (r->n)
        ring_drop(r);
    free(r->v);
    *r = (struct ring){0};
}

int lines_read(const char *path, uint64_t before, size_t limit_lines, struct arena *a, struct str **ret, size_t *ret_n,
               uint64_t *ret_from)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -EINVAL; /* a pipe or a terminal somebody named as a log */
    }
    uint64_t end = before && before < (uint64_t)st.st_size ? before : (uint64_t)st.st_size, from = end;
    _cleanup_free_ char *text = xmalloc(READ_BACK_MAX);
    size_t have = 0, lines = 0; /* the newest `have` bytes lie at the end of text */
    while (from > 0 && have < READ_BACK_MAX && lines <= limit_lines) {
        size_t want = (size_t)MIN(MIN((uint64_t)CHUNK, from), (uint64_t)(READ_BACK_MAX - have));
        char *at = text + READ_BACK_MAX - have - want;
        ssize_t n = pread(fd, at, want, (off_t)(from - want));
        if (n != (ssize_t)want)
            break; /* it was truncated under us */
        for (size_t i = 0; i < want; i++)
            lines += at[i] == '\n';
        have += want;
        from -= want;
    }
    close(fd);
    struct str all = str_make(text + READ_BACK_MAX - have, have), line, rest;
    if (from > 0) { /* the first piece begins in the middle of a line */
        ptrdiff_t nl = str_chr(all, '\n');
        size_t skip = nl < 0 ? all.n : (size_t)nl + 1;
        from += skip;
        all = str_sub(all, skip, all.n);
    }
    size_t total = 0;
    for (rest = all; str_line(&rest, &line);)
        total++;
    size_t drop = total > limit_lines ? total - limit_lines : 0;
    for (rest = all; drop && str_line(&rest, &line); drop--)
        from = end - rest.n;
    if (total <= limit_lines)
        rest = all;
    struct str *v = ARENA_ARRAY(a, struct str, MIN(total, limit_lines) + 1);
    size_t n = 0;
    while (str_line(&rest, &line))
        v[n++] = arena_str(a, line);
    *ret = v;
    *ret_n = n;
    *ret_from = from;
    return 0;
}

char *lines_rotated(const char *path, unsigned rotation)
{
    struct str p = str_of(path), tail = STR(".log");
    if (!str_ends(p, tail))
        tail = STR("");
    struct str stem = str_sub(p, 0, p.n - tail.n);
    ptrdiff_t slash = str_rchr(stem, '/');
    if (slash < 0)
        return NULL;
    _cleanup_free_ char *dir = str_dupz(str_sub(stem, 0, (size_t)slash));
    struct str base = str_sub(stem, (size_t)slash + 1, stem.n);
    struct fs_names names = {0};
    if (fs_list(dir, &names) != 0)
        return NULL;
    /* The rotation-th greatest number: few files (the keeper keeps at most some dozens), so look each time. */
    uint64_t below = UINT64_MAX, best = 0;
    bool found = false;
    for (unsigned k = 0; k < rotation; k++) {
        found = false;
        best = 0;
        for (size_t i = 0; i < names.n; i++) {
            struct str s = str_of(names.v[i]);
            uint64_t seq;
            if (!str_starts(s, base) || !str_ends(s, tail) || s.n < base.n + 2 + tail.n || s.p[base.n] != '.' ||
                !parse_u64(str_sub(s, base.n + 1, s.n - tail.n), &seq) || seq >= below)
                continue;
            if (!found || seq > best)
                best = seq;
            found = true;
        }
        below = best;
        if (!found)
            break;
    }
    fs_names_free(&names);
    return found ? xasprintf(STR_FMT ".%llu" STR_FMT, STR_ARG(stem), (unsigned long long)best, STR_ARG(tail)) : NULL;
}

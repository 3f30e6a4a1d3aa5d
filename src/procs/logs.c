// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

#include "base/parse.h"
#include "sys/fs.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAIL_MAX (16 << 20) /* looked at for the last lines */

struct view {
    bool out, err, raw, stream;
    uint64_t lines;
    const struct plist *l;
    struct pick p;
    bool colors;
};

/* The last `lines` lines of the file, from at most TAIL_MAX bytes. */
static void tail_of(const char *path, uint64_t *lines, struct buf *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        off_t at = st.st_size, begin = 0;
        uint64_t seen = 0;
        static char chunk[65536];
        while (at > 0 && begin == 0 && st.st_size - at < TAIL_MAX) {
            size_t n = (size_t)MIN(at, (off_t)sizeof(chunk));
            at -= (off_t)n;
            if (pread(fd, chunk, n, at) != (ssize_t)n)
                break;
            for (size_t i = n; i-- > 0;) { /* the very last newline ends a line, it does not begin one */
                if (chunk[i] != '\n' || at + (off_t)i == st.st_size - 1)
                    continue;
                if (++seen == *lines) {
                    begin = at + (off_t)i + 1;
                    break;
                }
            }
        }
        if (begin == 0 && at > 0)
            begin = at;
        *lines -= MIN(*lines, seen < *lines ? seen + 1 : seen);
        for (off_t pos = begin; pos < st.st_size;) {
            ssize_t n = pread(fd, chunk, sizeof(chunk), pos);
            if (n <= 0)
                break;
            buf_put(ret, chunk, (size_t)MIN(n, st.st_size - pos));
            pos += n;
        }
    }
    close(fd);
}

/* The newest rotated file before this one: NAME.N.log with the highest N. malloc'd, or NULL. */
static char *rotated(const char *path)
{
    struct str p = str_of(path), tail = str_ends(p, STR(".log")) ? STR(".log") : STR("");
    struct str stem = str_sub(p, 0, p.n - tail.n);
    _cleanup_free_ char *pattern = xasprintf(STR_FMT ".[0-9]*" STR_FMT, STR_ARG(stem), STR_ARG(tail));
    struct fs_names names;
    if (fs_glob(pattern, &names) != 0)
        return NULL;
    char *best = NULL;
    uint64_t best_n = 0, n;
    for (size_t i = 0; i < names.n; i++) {
        struct str s = str_of(names.v[i]);
        if (s.n > stem.n + 1 + tail.n && parse_u64(str_sub(s, stem.n + 1, s.n - tail.n), &n) && n >= best_n) {
            free(best);
            best = xstrdup(names.v[i]);
            best_n = n;
        }
    }
    fs_names_free(&names);
    return best;
}

static void print_lines(const struct view *v, struct str name, int instance, bool err, struct str text)
{
    struct str one;
    while (str_line(&text, &one)) {
        if (v->raw)
            printf(STR_FMT "\n", STR_ARG(one));
        else if (instance >= 0)
            printf("%s" STR_FMT "#%d |%s " STR_FMT "\n", v->colors ? (err ? "\x1b[31m" : "\x1b[36m") : "",
                   STR_ARG(name), instance, v->colors ? "\x1b[0m" : "", STR_ARG(one));
        else
            printf("%s" STR_FMT " |%s " STR_FMT "\n", v->colors ? (err ? "\x1b[31m" : "\x1b[36m") : "", STR_ARG(name),
                   v->colors ? "\x1b[0m" : "", STR_ARG(one));
    }
}

static void print_file(const struct view *v, struct str name, bool err, struct str file)
{
    if (v->lines == 0 || file.n == 0)
        return;
    _cleanup_free_ char *path = str_dupz(file);
    uint64_t left = v->lines;
    _cleanup_buf_ struct buf now = BUF_INIT(TAIL_MAX + 65536), before = BUF_INIT(TAIL_MAX + 65536);
    tail_of(path, &left, &now);
    _cleanup_free_ char *older = left > 0 ? rotated(path) : NULL;
    if (older)
        tail_of(older, &left, &before);
    if (now.n + before.n == 0)
        return;
    if (!v->raw) {
        fprintf(stderr, word(W_TAIL_OF), (unsigned long long)(v->lines - left), path);
        fputs(":\n", stderr);
    }
    print_lines(v, name, -1, err, buf_view(&before));
    print_lines(v, name, -1, err, buf_view(&now));
    fflush(stdout);
}

static void print_tails(const struct view *v)
{
    for (size_t i = 0; i < v->p.v.n; i++) {
        const struct control_proc *q = v->p.v.v[i];
        bool seen = false; /* the instances of one application share their files */
        for (size_t k = 0; k < i && !seen; k++)
            seen = str_eq(v->p.v.v[k]->out_file, q->out_file) && str_eq(v->p.v.v[k]->err_file, q->err_file);
        if (seen)
            continue;
        if (v->out)
            print_file(v, q->name, false, q->out_file);
        if (v->err && !str_eq(q->out_file, q->err_file))
            print_file(v, q->name, true, q->err_file);
    }
}

static const struct control_proc *by_id(const struct view *v, uint64_t id)
{
    for (size_t i = 0; i < v->l->v.n; i++)
        if (v->l->v.v[i].id == id)
            return &v->l->v.v[i];
    return NULL;
}

static int follow(struct control_client *c, const struct view *v)
{
    for (;;) {
        struct control_frame f;
        int r = control_recv(c, -1, &f);
        if (r == -EPIPE)
            return 0; /* hune stopped */
        if (r < 0) {
            complain("hune logs: %s", err_name(r));
            return 1;
        }
        if (f.type == CONTROL_LOST) {
            fprintf(stderr, word(W_SKIPPED), (unsigned long long)control_get_u64(f.body, CT_COUNT, 0));
            fputc('\n', stderr);
        }
        if (f.type != CONTROL_LOG)
            continue;
        bool err = control_get_u64(f.body, CT_STREAM, 1) == 2;
        const struct control_proc *p = by_id(v, control_get_u64(f.body, CT_ID, 0));
        if ((err && v->err) || (!err && v->out))
            print_lines(v, p ? p->name : STR("?"), p ? (int)p->instance : 0, err, control_get(f.body, CT_BYTES));
        if (fflush(stdout) != 0)
            return 1; /* whoever read us has gone */
    }
}

int verb_logs(int argc, char **argv)
{
    struct args a = args_of(argc, argv);
    struct view v = {.out = true, .err = true, .stream = true, .lines = 15};
    VEC(const char *) selectors = {0};
    const char *w;
    int r = 0;
    for (enum args_kind k; r == 0 && (k = args_next(&a, &w)) != ARGS_END;) {
        if (k == ARGS_WORD)
            vec_push(&selectors, w);
        else if (k == ARGS_REST)
            continue;
        else if (args_is(&a, "--lines", 0))
            args_u64(&a, &v.lines);
        else if (args_is(&a, "--err", 0))
            v.out = false;
        else if (args_is(&a, "--out", 0))
            v.err = false;
        else if (args_is(&a, "--raw", 0))
            v.raw = true;
        else if (args_is(&a, "--nostream", 0))
            v.stream = false;
        else
            r = args_unknown(&a);
    }
    if (a.bad)
        r = 2;
    if (selectors.n == 0)
        vec_push(&selectors, "all");
    struct control_client *c = r == 0 ? client_open(NEED_RUNNING) : NULL;
    struct plist l = {0};
    v.l = &l;
    v.colors = color_on(stdout);
    if (r == 0)
        r = c && plist_read(c, false, &l) ? 0 : 1;
    for (size_t i = 0; r == 0 && i < selectors.n; i++)
        r = pick_add(&v.p, &l, selectors.v[i], true) ? 0 : 1;
    if (r == 0) {
        print_tails(&v);
        if (v.stream) {
            uint32_t *ids = xcalloc(v.p.v.n + 1, sizeof(*ids));
            for (size_t i = 0; i < v.p.v.n; i++)
                ids[i] = v.p.v.v[i]->id;
            bool all = selectors.n == 1 && strcmp(selectors.v[0], "all") == 0;
            r = subscribe(c, TOPIC_LOGS, ids, all ? 0 : v.p.v.n) ? follow(c, &v) : 1;
            free(ids);
        }
    }
    vec_done(&v.p.v);
    vec_done(&selectors);
    plist_done(&l);
    control_close(c);
    return r;
}

int verb_flush(int argc, char **argv)
{
    struct args a = args_of(argc, argv);
    VEC(const char *) selectors = {0};
    const char *w;
    int r = 0;
    for (enum args_kind k; r == 0 && (k = args_next(&a, &w)) != ARGS_END;)
        if (k == ARGS_WORD)
            vec_push(&selectors, w);
        else if (k == ARGS_FLAG)
            r = args_unknown(&a);
    if (a.bad)
        r = 2;
    if (selectors.n == 0)
        vec_push(&selectors, "all");
    struct control_client *c = r == 0 ? client_open(NEED_RUNNING) : NULL;
    struct plist l = {0};
    struct pick p = {0};
    if (r == 0)
        r = c && plist_read(c, false, &l) ? 0 : 1;
    for (size_t i = 0; r == 0 && i < selectors.n; i++)
        r = pick_add(&p, &l, selectors.v[i], true) ? 0 : 1;
    if (r == 0) {
        _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
        size_t at = control_begin(&b, CONTROL_FLUSH, control_next_id(c));
        for (size_t i = 0; i < p.v.n; i++)
            control_put_u64(&b, CT_ID, p.v.v[i]->id);
        control_end(&b, at);
        struct err e = {0};
        r = control_ask(c, &b, 10000, NULL, NULL, NULL, &e) ? 1 : 0;
        puts(r ? e.msg : word(W_FLUSHED));
    }
    vec_done(&p.v);
    vec_done(&selectors);
    plist_done(&l);
    control_close(c);
    return r;
}

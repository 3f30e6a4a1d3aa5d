// SPDX-License-Identifier: Apache-2.0
#include "control/control.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- where things are ---- */

char *control_data_dir(const char *flag, struct err *e)
{
    const char *dir = flag && *flag ? flag : getenv("HUNE_DATA_DIR");
    if (!dir || !*dir) {
        const char *home = getenv("HOME");
        if (!home || !*home) {
            err_set(e, "no data folder: give --data.dir, or set HUNE_DATA_DIR or HOME");
            return NULL;
        }
        return xasprintf("%s/.hune", home);
    }
    if (dir[0] == '/')
        return xstrdup(dir);
    _cleanup_free_ char *cwd = getcwd(NULL, 0);
    return xasprintf("%s/%s", cwd ? cwd : ".", dir);
}

char *control_socket_path(const char *data_dir)
{
    return xasprintf("%s/keeper/control.sock", data_dir);
}

/* Fill the address of `path`. A path longer than sun_path is reached through a descriptor of its folder, kept open in
 * *ret_dir (else -1) until the call that uses the address is over. */
static int address_of(const char *path, struct sockaddr_un *ret, int *ret_dir)
{
    *ret_dir = -1;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n < sizeof(sa.sun_path)) {
        memcpy(sa.sun_path, path, n + 1);
        *ret = sa;
        return 0;
    }
    ptrdiff_t slash = str_rchr(str_of(path), '/');
    if (slash <= 0)
        return -ENAMETOOLONG;
    _cleanup_free_ char *dir = str_dupz(str_make(path, (size_t)slash));
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int len = snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/%s", fd, path + slash + 1);
    if (len < 0 || (size_t)len >= sizeof(sa.sun_path)) {
        close(fd);
        return -ENAMETOOLONG;
    }
    *ret = sa;
    *ret_dir = fd;
    return 0;
}

static int socket_at(const char *path, bool listening)
{
    struct sockaddr_un sa;
    int dir, r = address_of(path, &sa, &dir);
    if (r < 0)
        return r;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        r = -errno;
    } else if (!listening) {
        r = connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
    } else {
        unlink(sa.sun_path);
        mode_t old = umask(0177); /* 0600 from the first moment */
        r = bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 64) < 0 ? -errno : 0;
        umask(old);
    }
    if (dir >= 0)
        close(dir);
    if (r < 0 && fd >= 0)
        close(fd);
    return r < 0 ? r : fd;
}

int control_socket_listen(const char *path)
{
    return socket_at(path, true);
}

int control_socket_connect(const char *path)
{
    return socket_at(path, false);
}

/* ---- blocking client ---- */

struct control_client {
    int fd;
    uint32_t last_id;
    struct buf in;
    size_t taken; /* bytes of `in` that belong to the frame handed out last */
};

int control_open(const char *data_dir, int timeout_ms, struct control_client **ret, struct err *e)
{
    _cleanup_free_ char *path = control_socket_path(data_dir);
    uint64_t end = clock_mono_ns(&clock_real) + (uint64_t)MAX(timeout_ms, 0) * 1000000;
    for (;;) {
        int fd = control_socket_connect(path);
        if (fd >= 0) {
            struct control_client *c = NEW(struct control_client);
            c->fd = fd;
            buf_init(&c->in, (size_t)limit(control_message_bytes) + CONTROL_HEAD_BYTES + 65536);
            *ret = c;
            return 0;
        }
        if (clock_mono_ns(&clock_real) >= end) {
            err_set(e, "%s: %s", path, err_name(fd));
            return fd;
        }
        poll(NULL, 0, 5);
    }
}

struct control_client *control_close(struct control_client *c)
{
    if (c) {
        close(c->fd);
        buf_done(&c->in);
        free(c);
    }
    return NULL;
}

int control_fd(const struct control_client *c)
{
    return c->fd;
}

uint32_t control_next_id(struct control_client *c)
{
    if (++c->last_id == 0)
        c->last_id = 1;
    return c->last_id;
}

int control_send(struct control_client *c, struct buf *b)
{
    int r = buf_error(b);
    for (size_t at = 0; r == 0 && at < b->n;) {
        ssize_t n = send(c->fd, b->p + at, b->n - at, MSG_NOSIGNAL);
        if (n > 0) {
            at += (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd p = {.fd = c->fd, .events = POLLOUT};
            if (poll(&p, 1, 10000) == 0)
                r = -ETIMEDOUT;
        } else if (errno != EINTR) {
            r = -errno;
        }
    }
    buf_reset(b);
    return r;
}

int control_recv(struct control_client *c, int timeout_ms, struct control_frame *ret)
{
    if (c->taken) {
        memmove(c->in.p, c->in.p + c->taken, c->in.n - c->taken);
        c->in.n -= c->taken;
        c->taken = 0;
    }
    uint64_t end = clock_mono_ns(&clock_real) + (uint64_t)MAX(timeout_ms, 0) * 1000000;
    for (;;) {
        int r = control_parse(buf_view(&c->in), (size_t)limit(control_message_bytes), ret, &c->taken);
        if (r <= 0)
            return r;
        r = buf_reserve(&c->in, 65536);
        if (r < 0)
            return r;
        ssize_t n = recv(c->fd, c->in.p + c->in.n, 65536, 0);
        if (n > 0) {
            c->in.n += (size_t)n;
            continue;
        }
        if (n == 0)
            return -EPIPE;
        if (errno != EAGAIN && errno != EINTR)
            return errno == ECONNRESET ? -EPIPE : -errno;
        int wait_ms = -1;
        if (timeout_ms >= 0) {
            uint64_t now = clock_mono_ns(&clock_real);
            if (now >= end)
                return -ETIMEDOUT;
            wait_ms = (int)((end - now) / 1000000) + 1;
        }
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        if (poll(&p, 1, wait_ms) < 0 && errno == EINTR && timeout_ms < 0)
            return -EINTR; /* a signal (Ctrl-C) must be able to end an endless wait */
    }
}

int control_ask(struct control_client *c, struct buf *b, int timeout_ms,
                void (*fn)(void *ctx, const struct control_frame *f), void *ctx, struct str *ret, struct err *e)
{
    int r = control_send(c, b);
    while (r == 0) {
        struct control_frame f;
        r = control_recv(c, timeout_ms, &f);
        if (r < 0)
            break;
        if (f.id == c->last_id && f.type == CONTROL_OK) {
            if (ret)
                *ret = f.body;
            return 0;
        }
        if (f.id == c->last_id && f.type == CONTROL_FAIL) {
            struct str text = control_get(f.body, CT_TEXT);
            err_set(e, STR_FMT, STR_ARG(text));
            return 1;
        }
        if (fn)
            fn(ctx, &f);
    }
    err_set(e, "the keeper does not answer: %s", err_name(r));
    return r;
}

// SPDX-License-Identifier: Apache-2.0
/* Listening sockets, and who holds a port that is taken. */
#include "net/server_int.h"

#include "base/parse.h"
#include "sys/fs.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void split(struct str text, struct str *host, struct str *port)
{
    ptrdiff_t colon = str_rchr(text, ':');
    *host = colon < 0 ? STR("") : str_sub(text, 0, (size_t)colon);
    *port = colon < 0 ? text : str_sub(text, (size_t)colon + 1, text.n);
    if (host->n > 2 && host->p[0] == '[' && host->p[host->n - 1] == ']')
        *host = str_sub(*host, 1, host->n - 1);
}

bool listen_loopback(struct str address)
{
    if (str_starts(address, STR("unix:")))
        return true;
    struct str host, port;
    split(address, &host, &port);
    _cleanup_free_ char *z = str_dupz(host);
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, z, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, z, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return str_ieq(host, STR("localhost"));
}

/* Inodes of sockets that listen on the port, from /proc/net/tcp and tcp6 (proc(5)). */
static size_t listening_inodes(uint16_t port, uint64_t *out, size_t max)
{
    static const char *const files[] = {"/proc/net/tcp", "/proc/net/tcp6"};
    size_t n = 0;
    char want[8];
    (void)snprintf(want, sizeof(want), ":%04X", port);
    for (size_t f = 0; f < ARRAY_LEN(files); f++) {
        struct buf text = BUF_INIT(8 << 20);
        if (fs_read_file(files[f], &text) == 0) {
            struct str rest = buf_view(&text), line;
            (void)str_line(&rest, &line);
            while (str_line(&rest, &line) && n < max) {
                struct str word[10];
                size_t words = 0;
                for (struct str left = str_trim(line); words < 10 && left.n; left = str_trim(left))
                    (void)str_cut(left, ' ', &word[words++], &left);
                uint64_t inode;
                if (words == 10 && str_ends(word[1], str_of(want)) && str_eqz(word[3], "0A") &&
                    parse_u64(word[9], &inode))
                    out[n++] = inode;
            }
        }
        buf_done(&text);
    }
    return n;
}

static bool holds(const char *pid, const uint64_t *inodes, size_t n)
{
    char path[64], link[64];
    (void)snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
    DIR *d = opendir(path);
    if (!d)
        return false;
    bool found = false;
    for (struct dirent *e; !found && (e = readdir(d));) {
        ssize_t len = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
        struct str s = str_make(link, len > 0 ? (size_t)len : 0);
        uint64_t inode;
        if (!str_starts(s, STR("socket:[")) || !parse_u64(str_sub(s, 8, s.n - 1), &inode))
            continue;
        for (size_t i = 0; i < n; i++)
            found |= inodes[i] == inode;
    }
    closedir(d);
    return found;
}

void port_owner(uint16_t port, struct buf *out)
{
    uint64_t inodes[16];
    size_t n = listening_inodes(port, inodes, ARRAY_LEN(inodes));
    DIR *d = n ? opendir("/proc") : NULL;
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        uint64_t pid;
        if (!parse_u64(str_of(e->d_name), &pid) || !holds(e->d_name, inodes, n))
            continue;
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/%.16s/comm", e->d_name);
        struct buf comm = BUF_INIT(256);
        struct str name = fs_read_file(path, &comm) == 0 ? str_trim(buf_view(&comm)) : STR("process");
        buf_fmt(out, STR_FMT " (pid %s)", STR_ARG(name), e->d_name);
        buf_done(&comm);
        break;
    }
    closedir(d);
}

static int listen_unix(struct listener *l, struct str path, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (path.n >= sizeof(a.sun_path)) {
        err_set(e, "the path of socket " STR_FMT " is longer than %zu bytes", STR_ARG(path), sizeof(a.sun_path) - 1);
        return -ENAMETOOLONG;
    }
    memcpy(a.sun_path, path.p, path.n);
    struct stat st;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (stat(a.sun_path, &st) == 0 && S_ISSOCK(st.st_mode) && connect(fd, (void *)&a, sizeof(a)) < 0 &&
        errno == ECONNREFUSED)
        (void)unlink(a.sun_path); /* left behind by a dead server */
    mode_t old = umask(0077);
    int r = bind(fd, (void *)&a, sizeof(a)) < 0 || listen(fd, SOMAXCONN) < 0 ? -errno : 0;
    umask(old);
    if (r < 0) {
        err_set(e, "cannot listen on unix socket " STR_FMT ": %s", STR_ARG(path), err_name(r));
        close(fd);
        return r;
    }
    l->fd = fd;
    l->local = l->loopback = true;
    return 0;
}

int listen_open(struct listener *l, struct err *e)
{
    if (str_starts(l->text, STR("unix:")))
        return listen_unix(l, str_sub(l->text, 5, l->text.n), e);
    struct str host, port;
    uint64_t number;
    split(l->text, &host, &port);
    if (!parse_u64(port, &number) || number > 65535) {
        err_set(e, "listen address \"" STR_FMT "\": wants HOST:PORT, such as 127.0.0.1:4863", STR_ARG(l->text));
        return -EINVAL;
    }
    l->loopback = listen_loopback(l->text);
    bool any = str_empty(host) || str_eqz(host, "::");
    _cleanup_free_ char *z = str_dupz(any ? STR("::") : host);
    _cleanup_free_ char *port_z = str_dupz(port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
    int gr = getaddrinfo(z, port_z, &hints, &list);
    if (gr != 0 && any) /* a kernel without IPv6 */
        gr = getaddrinfo("0.0.0.0", port_z, &hints, &list);
    if (gr != 0) {
        err_set(e, "listen address \"" STR_FMT "\": %s", STR_ARG(l->text), gai_strerror(gr));
        return -EINVAL;
    }
    int r = 0, fd = -1;
    for (int pass = 0; pass < 2 && fd < 0; pass++) {
        const struct addrinfo *ai = list;
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number)};
        const struct sockaddr *at = ai->ai_addr;
        socklen_t at_len = ai->ai_addrlen;
        if (pass == 1) {
            if (!any || r != -EAFNOSUPPORT)
                break;
            at = (const struct sockaddr *)(const void *)&v4;
            at_len = sizeof(v4);
        }
        int one = 1, zero = 0;
        fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            r = -errno;
            continue;
        }
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (at->sa_family == AF_INET6)
            (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, any ? &zero : &one, sizeof(zero));
        r = bind(fd, at, at_len) < 0 || listen(fd, SOMAXCONN) < 0 ? -errno : 0;
        if (r < 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (r == -EADDRINUSE) {
        struct buf who = BUF_INIT(512);
        port_owner((uint16_t)number, &who);
        err_set(e, "cannot listen on " STR_FMT ": the port is in use%s" STR_FMT, STR_ARG(l->text), who.n ? " by " : "",
                STR_ARG(buf_view(&who)));
        buf_done(&who);
        return r;
    }
    if (r < 0) {
        err_set(e, "cannot listen on " STR_FMT ": %s", STR_ARG(l->text), err_name(r));
        return r;
    }
    struct sockaddr_storage got;
    socklen_t got_len = sizeof(got);
    if (getsockname(fd, (void *)&got, &got_len) == 0)
        l->port = ntohs(got.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&got)->sin6_port
                                                  : ((struct sockaddr_in *)&got)->sin_port);
    l->fd = fd;
    return 0;
}

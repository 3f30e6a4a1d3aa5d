// SPDX-License-Identifier: Apache-2.0
#include "sys/fs.h"

#include "base/mem.h"
#include "base/vec.h"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the real files ---- */

static int real_open(const struct vfs *v, const char *path, int flags, mode_t mode)
{
    (void)v;
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static ssize_t real_pread(const struct vfs *v, int fd, void *p, size_t n, off_t at)
{
    (void)v;
    ssize_t r;
    do
        r = pread(fd, p, n, at);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

static ssize_t real_pwrite(const struct vfs *v, int fd, const void *p, size_t n, off_t at)
{
    (void)v;
    ssize_t r;
    do
        r = pwrite(fd, p, n, at);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

static int real_fsync(const struct vfs *v, int fd)
{
    (void)v;
    /* fdatasync writes the size too when it changed, which is all that reading back needs. */
    return fdatasync(fd) < 0 ? -errno : 0;
}

static int real_ftruncate(const struct vfs *v, int fd, off_t n)
{
    (void)v;
    return ftruncate(fd, n) < 0 ? -errno : 0;
}

static int real_close(const struct vfs *v, int fd)
{
    (void)v;
    /* On Linux the descriptor is gone even after EINTR: never again. */
    return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static int real_rename(const struct vfs *v, const char *from, const char *to)
{
    (void)v;
    return rename(from, to) < 0 ? -errno : 0;
}

static int real_unlink(const struct vfs *v, const char *path)
{
    (void)v;
    return unlink(path) < 0 ? -errno : 0;
}

static int real_mkdir(const struct vfs *v, const char *path, mode_t mode)
{
    (void)v;
    return mkdir(path, mode) < 0 ? -errno : 0;
}

static int real_sync_dir(const struct vfs *v, const char *path)
{
    (void)v;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return r;
}

const struct vfs vfs_real = {.open = real_open,
                             .pread = real_pread,
                             .pwrite = real_pwrite,
                             .fsync = real_fsync,
                             .ftruncate = real_ftruncate,
                             .close = real_close,
                             .rename = real_rename,
                             .unlink = real_unlink,
                             .mkdir = real_mkdir,
                             .sync_dir = real_sync_dir};

/* ---- faults: every call but close counts ---- */

static int fault_due(const struct vfs *v)
{
    struct vfs_fault *f = CONTAINER_OF(v, struct vfs_fault, vfs);
    long call = __atomic_add_fetch(&f->calls, 1, __ATOMIC_SEQ_CST);
    if (f->fail_at > 0 && (call == f->fail_at || (f->sticky && call > f->fail_at)))
        return -f->error;
    return 0;
}

static int fault_open(const struct vfs *v, const char *path, int flags, mode_t mode)
{
    int r = fault_due(v);
    return r ? r : real_open(v, path, flags, mode);
}

static ssize_t fault_pread(const struct vfs *v, int fd, void *p, size_t n, off_t at)
{
    int r = fault_due(v);
    return r ? r : real_pread(v, fd, p, n, at);
}

static ssize_t fault_pwrite(const struct vfs *v, int fd, const void *p, size_t n, off_t at)
{
    int r = fault_due(v);
    if (!r)
        return real_pwrite(v, fd, p, n, at);
    if (CONTAINER_OF(v, struct vfs_fault, vfs)->short_write && n > 1)
        (void)real_pwrite(v, fd, p, n / 2, at); /* torn: the bytes may be there, the caller hears of the error */
    return r;
}

static int fault_fsync(const struct vfs *v, int fd)
{
    int r = fault_due(v);
    return r ? r : real_fsync(v, fd);
}

static int fault_ftruncate(const struct vfs *v, int fd, off_t n)
{
    int r = fault_due(v);
    return r ? r : real_ftruncate(v, fd, n);
}

static int fault_rename(const struct vfs *v, const char *from, const char *to)
{
    int r = fault_due(v);
    return r ? r : real_rename(v, from, to);
}

static int fault_unlink(const struct vfs *v, const char *path)
{
    int r = fault_due(v);
    return r ? r : real_unlink(v, path);
}

static int fault_mkdir(const struct vfs *v, const char *path, mode_t mode)
{
    int r = fault_due(v);
    return r ? r : real_mkdir(v, path, mode);
}

static int fault_sync_dir(const struct vfs *v, const char *path)
{
    int r = fault_due(v);
    return r ? r : real_sync_dir(v, path);
}

void vfs_fault_init(struct vfs_fault *f)
{
    *f = (struct vfs_fault){.vfs = {.open = fault_open,
                                    .pread = fault_pread,
                                    .pwrite = fault_pwrite,
                                    .fsync = fault_fsync,
                                    .ftruncate = fault_ftruncate,
                                    .close = real_close,
                                    .rename = fault_rename,
                                    .unlink = fault_unlink,
                                    .mkdir = fault_mkdir,
                                    .sync_dir = fault_sync_dir},
                            .error = EIO};
}

/* ---- whole files ---- */

int fs_write_all(const struct vfs *v, int fd, const void *p, size_t n, off_t at)
{
    const char *c = p;
    while (n > 0) {
        ssize_t r = v->pwrite(v, fd, c, n, at);
        if (r < 0)
            return (int)r;
        if (r == 0)
            return -EIO; /* a regular file never takes nothing without an error */
        c += r;
        n -= (size_t)r;
        at += r;
    }
    return 0;
}

int fs_read_file(const char *path, struct buf *out)
{
    int fd = real_open(NULL, path, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    int r = 0;
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            r = -errno;
            break;
        }
        if (n == 0)
            break;
        buf_put(out, chunk, (size_t)n);
        r = buf_error(out);
        if (r)
            break;
    }
    close(fd);
    return r;
}

/* The folder part of a path, malloc'd; "." when there is none. */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : str_dupz(str_make(path, (size_t)(slash - path)));
}

int fs_write_file(const struct vfs *v, const char *path, struct str content, mode_t mode)
{
    _cleanup_free_ char *tmp = xasprintf("%s.tmp", path);
    _cleanup_free_ char *dir = parent_of(path);
    int fd = v->open(v, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode);
    if (fd < 0)
        return fd;
    int r = fs_write_all(v, fd, content.p, content.n, 0);
    if (!r)
        r = v->fsync(v, fd);
    int c = v->close(v, fd);
    if (!r)
        r = c;
    if (!r)
        r = v->rename(v, tmp, path);
    if (r) {
        (void)v->unlink(v, tmp); /* best effort: the next write truncates it */
        return r;
    }
    return v->sync_dir(v, dir);
}

/* ---- folders ---- */

int fs_mkdirs(const char *path, mode_t mode)
{
    _cleanup_free_ char *p = xstrdup(path);
    for (char *c = p + 1; *p; c++) {
        if (*c != '/' && *c != 0)
            continue;
        char was = *c;
        *c = 0;
        if (mkdir(p, mode) == 0) {
            _cleanup_free_ char *parent = parent_of(p);
            int r =
                real_sync_dir(NULL, parent); /* the new name must last, or all that is synced inside is lost with it */
            if (r && r != -EACCES && r != -EINVAL) /* a folder we may not read, a file system that cannot */
                return r;
        } else if (errno != EEXIST) {
            return -errno;
        }
        *c = was;
        if (!was)
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int fs_remove_tree(const char *path)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0)
        return errno == ENOENT ? 0 : -errno;
    return 0;
}

static int name_cmp(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int fs_list(const char *path, struct fs_names *ret)
{
    DIR *d = opendir(path);
    if (!d)
        return -errno;
    VEC(char *) names = {0};
    int r = 0;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e) {
            r = -errno;
            break;
        }
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            vec_push(&names, xstrdup(e->d_name));
    }
    closedir(d);
    if (r) {
        struct fs_names partial = {.v = names.v, .n = names.n};
        fs_names_free(&partial);
        return r;
    }
    if (names.n)
        qsort(names.v, names.n, sizeof(*names.v), name_cmp);
    *ret = (struct fs_names){.v = names.v, .n = names.n};
    return 0;
}

void fs_names_free(struct fs_names *n)
{
    for (size_t i = 0; i < n->n; i++)
        free(n->v[i]);
    free(n->v);
    *n = (struct fs_names){0};
}

int fs_glob(const char *pattern, struct fs_names *ret)
{
    glob_t g = {0};
    int r = glob(pattern, 0, NULL, &g); /* sorted by default */
    if (r == GLOB_NOMATCH) {
        globfree(&g);
        *ret = (struct fs_names){0};
        return 0;
    }
    if (r) {
        globfree(&g);
        return r == GLOB_NOSPACE ? -ENOMEM : -EIO;
    }
    ret->v = xcalloc(g.gl_pathc, sizeof(*ret->v));
    ret->n = g.gl_pathc;
    for (size_t i = 0; i < g.gl_pathc; i++)
        ret->v[i] = xstrdup(g.gl_pathv[i]);
    qsort(ret->v, ret->n, sizeof(*ret->v), name_cmp); /* byte order, whatever the locale says */
    globfree(&g);
    return 0;
}

char *fs_join(const char *dir, const char *name)
{
    if (name[0] == '/' || !dir || !*dir)
        return xstrdup(name);
    size_t n = strlen(dir);
    return xasprintf("%s%s%s", dir, dir[n - 1] == '/' ? "" : "/", name);
}

/* ---- one owner per folder ---- */

static void describe_self(char *out, size_t n)
{
    char comm[64] = "";
    int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t got = read(fd, comm, sizeof(comm) - 1);
        close(fd);
        comm[got > 0 ? got : 0] = 0;
        comm[strcspn(comm, "\n")] = 0;
    }
    snprintf(out, n, "%ld %s\n", (long)getpid(), *comm ? comm : "hune");
}

int fs_lock_dir(const char *dir, int *ret_fd, struct err *e)
{
    _cleanup_free_ char *path = fs_join(dir, "lock");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        int r = -errno;
        err_set(e, "%s: %s", path, err_name(r));
        return r;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int r = -errno;
        char holder[128] = "";
        ssize_t n = pread(fd, holder, sizeof(holder) - 1, 0);
        holder[n > 0 ? n : 0] = 0;
        holder[strcspn(holder, "\n")] = 0;
        close(fd);
        if (r == -EWOULDBLOCK)
            err_set(e, "%s is in use by process %s", dir, *holder ? holder : "(unknown)");
        else
            err_set(e, "%s: %s", path, err_name(r));
        return r;
    }
    char self[128];
    describe_self(self, sizeof(self));
    /* Who holds it is a courtesy: a full disk must not keep the owner out. */
    if (ftruncate(fd, 0) == 0)
        (void)!pwrite(fd, self, strlen(self), 0);
    *ret_fd = fd;
    return 0;
}

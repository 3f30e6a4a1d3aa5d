// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Files, with faults as data: durable code goes through a struct vfs, so that a test can fail the n-th call. All
 * descriptors are O_CLOEXEC. Return 0 / a count, or -errno. */
#include "base/buf.h"
#include "base/error.h"
#include <sys/types.h>

struct vfs {
    int (*open)(const struct vfs *v, const char *path, int flags, mode_t mode); /* fd or -errno */
    ssize_t (*pread)(const struct vfs *v, int fd, void *p, size_t n, off_t at);
    ssize_t (*pwrite)(const struct vfs *v, int fd, const void *p, size_t n, off_t at);
    int (*fsync)(const struct vfs *v, int fd); /* fdatasync where enough */
    int (*ftruncate)(const struct vfs *v, int fd, off_t n);
    int (*close)(const struct vfs *v, int fd);
    int (*rename)(const struct vfs *v, const char *from, const char *to);
    int (*unlink)(const struct vfs *v, const char *path);
    int (*mkdir)(const struct vfs *v, const char *path, mode_t mode);
    int (*sync_dir)(const struct vfs *v, const char *path);
};
extern const struct vfs vfs_real;

/* Fails the n-th matching call (from 1) and, when sticky, all later ones; counts calls. For tests. */
struct vfs_fault {
    struct vfs vfs; /* hand out &f.vfs */
    long fail_at, calls;
    int error;                /* positive errno */
    bool sticky, short_write; /* short_write: the failing pwrite writes half first */
};
void vfs_fault_init(struct vfs_fault *f);

MUST_USE int fs_write_all(const struct vfs *v, int fd, const void *p, size_t n, off_t at);
/* Whole file into out (limit: the buf's maximum). 0, -ENOENT, -EMSGSIZE ... */
MUST_USE int fs_read_file(const char *path, struct buf *out);
/* Write to path.tmp, fsync, rename, fsync the folder. */
MUST_USE int fs_write_file(const struct vfs *v, const char *path, struct str content, mode_t mode);
MUST_USE int fs_mkdirs(const char *path, mode_t mode); /* like mkdir -p; new names are synced */
MUST_USE int fs_remove_tree(const char *path);         /* rm -r; 0 when absent */
/* Sorted names of a folder (malloc'd strings in *ret, free with fs_names_free). */
struct fs_names {
    char **v;
    size_t n;
};
MUST_USE int fs_list(const char *path, struct fs_names *ret);
void fs_names_free(struct fs_names *n);
/* Paths matching a shell glob, sorted. */
MUST_USE int fs_glob(const char *pattern, struct fs_names *ret);
/* "dir/name", or name alone when absolute. malloc'd. */
char *fs_join(const char *dir, const char *name);

/* One owner per folder: flock on dir/lock, with "pid command" inside. 0 and an fd to keep; -EWOULDBLOCK with the
 * holder's description in *e. */
MUST_USE int fs_lock_dir(const char *dir, int *ret_fd, struct err *e);

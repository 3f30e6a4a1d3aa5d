// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "base/mem.h"
#include "sys/fs.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_write_and_read(void **state)
{
    (void)state;
    char *path = fs_join(test_dir(), "a");
    assert_int_equal(fs_write_file(&vfs_real, path, STR("one"), 0600), 0);
    assert_int_equal(fs_write_file(&vfs_real, path, STR("two!"), 0600), 0);
    struct buf b = BUF_INIT(100);
    assert_int_equal(fs_read_file(path, &b), 0);
    assert_str(buf_view(&b), "two!");
    buf_done(&b);
    struct buf small = BUF_INIT(3);
    assert_int_equal(fs_read_file(path, &small), -EMSGSIZE);
    buf_done(&small);
    struct buf none = BUF_INIT(3);
    assert_int_equal(fs_read_file("/nonexistent/file", &none), -ENOENT);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(path);
}

/* Whatever call fails, the file holds the old content or the new one, whole. */
static void test_write_file_faults(void **state)
{
    (void)state;
    char *path = fs_join(test_dir(), "f");
    for (int torn = 0; torn < 2; torn++) {
        for (long n = 1;; n++) {
            assert_int_equal(fs_write_file(&vfs_real, path, STR("old"), 0600), 0);
            struct vfs_fault f;
            vfs_fault_init(&f);
            f.fail_at = n;
            f.short_write = torn;
            int r = fs_write_file(&f.vfs, path, STR("newer"), 0600);
            struct buf b = BUF_INIT(100);
            assert_int_equal(fs_read_file(path, &b), 0);
            bool is_new = str_eq(buf_view(&b), STR("newer"));
            assert_true(is_new || str_eq(buf_view(&b), STR("old")));
            buf_done(&b);
            if (f.calls < n) {
                assert_int_equal(r, 0);
                assert_true(is_new);
                break;
            }
            assert_int_equal(r, -EIO);
        }
    }
    free(path);
}

static void test_fault_sticky(void **state)
{
    (void)state;
    struct vfs_fault f;
    vfs_fault_init(&f);
    f.fail_at = 2;
    f.error = ENOSPC;
    f.sticky = true;
    char *path = fs_join(test_dir(), "s");
    int fd = f.vfs.open(&f.vfs, path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fs_write_all(&f.vfs, fd, "abc", 3, 0), -ENOSPC);
    assert_int_equal(f.vfs.fsync(&f.vfs, fd), -ENOSPC);
    assert_int_equal(f.vfs.close(&f.vfs, fd), 0);
    free(path);
}

static void test_folders(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char *deep = fs_join(dir, "x/y/z");
    assert_int_equal(fs_mkdirs(deep, 0700), 0);
    assert_int_equal(fs_mkdirs(deep, 0700), 0);
    char *b = fs_join(deep, "b.txt"), *a = fs_join(deep, "a.txt"), *under = fs_join(a, "dir");
    assert_int_equal(fs_write_file(&vfs_real, b, STR(""), 0600), 0);
    assert_int_equal(fs_write_file(&vfs_real, a, STR(""), 0600), 0);
    assert_int_equal(fs_mkdirs(a, 0700), -ENOTDIR);
    assert_int_equal(fs_mkdirs(under, 0700), -ENOTDIR);
    struct fs_names names;
    assert_int_equal(fs_list(deep, &names), 0);
    assert_int_equal(names.n, 2);
    assert_string_equal(names.v[0], "a.txt");
    fs_names_free(&names);
    assert_int_equal(fs_list("/nonexistent", &names), -ENOENT);
    char *pattern = fs_join(deep, "*.txt");
    assert_int_equal(fs_glob(pattern, &names), 0);
    assert_int_equal(names.n, 2);
    assert_string_equal(names.v[0], a);
    fs_names_free(&names);
    assert_int_equal(fs_glob("/nonexistent/*", &names), 0);
    assert_int_equal(names.n, 0);
    char *x = fs_join(dir, "x");
    assert_int_equal(fs_remove_tree(x), 0);
    assert_int_equal(fs_remove_tree(x), 0);
    assert_int_equal(access(x, F_OK), -1);
    free(deep), free(a), free(b), free(under), free(pattern), free(x);
    char *abs = fs_join("/a", "/b"), *slash = fs_join("/a/", "b"), *none = fs_join("", "b");
    assert_string_equal(abs, "/b");
    assert_string_equal(slash, "/a/b");
    assert_string_equal(none, "b");
    free(abs), free(slash), free(none);
}

static void test_lock(void **state)
{
    (void)state;
    const char *dir = test_dir();
    struct err e = {0};
    int fd = -1, second = -1;
    assert_int_equal(fs_lock_dir(dir, &fd, &e), 0);
    assert_int_equal(fs_lock_dir(dir, &second, &e), -EWOULDBLOCK);
    char pid[32];
    snprintf(pid, sizeof(pid), "process %ld ", (long)getpid());
    assert_non_null(strstr(e.msg, pid));
    close(fd);
    assert_int_equal(fs_lock_dir(dir, &second, NULL), 0);
    close(second);
    err_clear(&e);
    assert_int_equal(fs_lock_dir("/nonexistent", &fd, &e), -ENOENT);
    assert_non_null(strstr(e.msg, "/nonexistent/lock"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_read), cmocka_unit_test(test_write_file_faults),
        cmocka_unit_test(test_fault_sticky),   cmocka_unit_test(test_folders),
        cmocka_unit_test(test_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

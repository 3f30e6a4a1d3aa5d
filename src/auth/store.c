// SPDX-License-Identifier: Apache-2.0
/* The file DATA/users: one line an entry, replaced whole (doc/format/users.md). A lock file keeps two writers apart. */
#include "auth/auth_int.h"

#include "base/parse.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#define HEADER "hune-users 1"
#define FILE_MAX (4 << 20)
#define PASSWORD_MIN 8
#define PASSWORD_MAX 1024

bool auth_name_ok(struct str s)
{
    if (s.n == 0 || s.n > AUTH_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("._@-", c))))
            return false;
    }
    return true;
}

bool auth_role_parse(struct str s, enum http_role *ret)
{
    for (int i = HTTP_VIEWER; i <= HTTP_ADMIN; i++)
        if (str_eqz(s, http_role_names[i])) {
            *ret = (enum http_role)i;
            return true;
        }
    if (!str_eqz(s, "admin"))
        return false;
    *ret = HTTP_ADMIN;
    return true;
}

static int parse_line(struct str line, struct auth_row *ret)
{
    struct str word[5];
    for (size_t i = 0; i < 5; i++) {
        bool more = str_cut(line, ' ', &word[i], &line);
        if (more != (i < 4))
            return -EINVAL;
    }
    *ret = (struct auth_row){.token = str_eqz(word[0], "token")};
    if (!ret->token && !str_eqz(word[0], "user"))
        return -EINVAL;
    if (!auth_name_ok(word[1]) || !auth_role_parse(word[2], &ret->role) || !parse_i64(word[3], &ret->created_ms))
        return -EINVAL;
    if (word[4].n >= PASSWORD_HASH_MAX || (ret->token && word[4].n != 2 * SHA256_BYTES) ||
        (!ret->token && !str_starts(word[4], STR("$argon2id$"))))
        return -EINVAL;
    for (size_t i = 0; i < word[4].n; i++)
        if ((unsigned char)word[4].p[i] <= ' ' || (unsigned char)word[4].p[i] >= 0x7f)
            return -EINVAL;
    memcpy(ret->name, word[1].p, word[1].n);
    memcpy(ret->secret, word[4].p, word[4].n);
    return 0;
}

int auth_rows_parse(struct str text, const char *file, struct auth_rows *ret, struct err *e)
{
    struct auth_rows r = {0};
    struct str line;
    size_t n = 0;
    int result = 0;
    while (result == 0 && str_line(&text, &line)) {
        n++;
        struct auth_row row;
        if (n == 1) {
            if (!str_eqz(line, HEADER)) {
                err_set(e, "%s:1: not a file of users (wants \"" HEADER "\")", file);
                result = -EINVAL;
            }
            continue;
        }
        if (str_empty(str_trim(line)))
            continue;
        if (parse_line(line, &row) < 0) {
            err_set(e, "%s:%zu: malformed entry", file, n);
            result = -EINVAL;
        } else if (r.v.n >= AUTH_ENTRIES_MAX) {
            err_set(e, "%s:%zu: more than %d entries", file, n, AUTH_ENTRIES_MAX);
            result = -EINVAL;
        } else {
            vec_push(&r.v, row);
        }
    }
    if (result == 0 && n == 0) {
        err_set(e, "%s: the file is empty (wants \"" HEADER "\")", file);
        result = -EINVAL;
    }
    if (result < 0) {
        vec_done(&r.v);
        return result;
    }
    *ret = r;
    return 0;
}

void auth_rows_write(const struct auth_rows *r, struct buf *out)
{
    buf_z(out, HEADER "\n");
    for (size_t i = 0; i < r->v.n; i++) {
        const struct auth_row *row = &r->v.v[i];
        buf_fmt(out, "%s %s %s %lld %s\n", row->token ? "token" : "user", row->name, http_role_names[row->role],
                (long long)row->created_ms, row->secret);
    }
}

int auth_rows_load(const char *data_dir, struct auth_rows *ret, struct err *e)
{
    _cleanup_free_ char *path = fs_join(data_dir, "users");
    _cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
    int r = fs_read_file(path, &text);
    if (r == -ENOENT) {
        *ret = (struct auth_rows){0};
        return 0;
    }
    if (r < 0) {
        err_set(e, "cannot read %s: %s", path, err_name(r));
        return r;
    }
    return auth_rows_parse(buf_view(&text), path, ret, e);
}

/* Change the file under the lock: fn edits the rows. */
static int change(const char *data_dir, int (*fn)(struct auth_rows *rows, void *ctx, struct err *e), void *ctx,
                  struct err *e)
{
    int r = fs_mkdirs(data_dir, 0700);
    if (r < 0) {
        err_set(e, "cannot make %s: %s", data_dir, err_name(r));
        return r;
    }
    _cleanup_free_ char *path = fs_join(data_dir, "users"), *lock_path = fs_join(data_dir, "users.lock");
    int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0) {
        r = -errno;
        err_set(e, "cannot lock %s: %s", lock_path, err_name(r));
        if (lock >= 0)
            close(lock);
        return r;
    }
    struct auth_rows rows = {0};
    r = auth_rows_load(data_dir, &rows, e);
    if (r == 0)
        r = fn(&rows, ctx, e);
    if (r == 0) {
        _cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
        auth_rows_write(&rows, &text);
        r = buf_error(&text) ? buf_error(&text) : fs_write_file(&vfs_real, path, buf_view(&text), 0600);
        if (r < 0)
            err_set(e, "cannot write %s: %s", path, err_name(r));
    }
    vec_done(&rows.v);
    close(lock);
    return r;
}

static int add(struct auth_rows *rows, void *ctx, struct err *e)
{
    const struct auth_row *row = ctx;
    for (size_t i = 0; i < rows->v.n; i++)
        if (rows->v.v[i].token == row->token && strcmp(rows->v.v[i].name, row->name) == 0) {
            err_set(e, "there is a %s named %s already", row->token ? "token" : "user", row->name);
            return -EEXIST;
        }
    if (rows->v.n >= AUTH_ENTRIES_MAX) {
        err_set(e, "there are %d entries already", AUTH_ENTRIES_MAX);
        return -ENOSPC;
    }
    vec_push(&rows->v, *row);
    return 0;
}

static int begin(struct auth_row *row, struct str name, enum http_role role, bool token, struct err *e)
{
    if (!auth_name_ok(name)) {
        err_set(e, "\"" STR_FMT "\" is no name: 1 to %d letters, digits and . _ @ -", STR_ARG(name), AUTH_NAME_MAX);
        return -EINVAL;
    }
    if (role < HTTP_VIEWER || role > HTTP_ADMIN) {
        err_set(e, "the role must be viewer, operator or administrator");
        return -EINVAL;
    }
    *row = (struct auth_row){.token = token, .role = role, .created_ms = clock_now_ms(&clock_real)};
    memcpy(row->name, name.p, name.n);
    return 0;
}

int auth_user_add(const char *data_dir, struct str name, enum http_role role, struct str password, struct err *e)
{
    struct auth_row row;
    int r = begin(&row, name, role, false, e);
    if (r < 0)
        return r;
    if (password.n < PASSWORD_MIN || password.n > PASSWORD_MAX) {
        err_set(e, "a password has %d to %d bytes", PASSWORD_MIN, PASSWORD_MAX);
        return -EINVAL;
    }
    r = auth_password_hash(password, row.secret);
    if (r < 0) {
        err_set(e, "cannot hash the password: %s", err_name(r));
        return r;
    }
    return change(data_dir, add, &row, e);
}

int auth_token_add(const char *data_dir, struct str name, enum http_role role, char ret_token[AUTH_TOKEN_BYTES],
                   struct err *e)
{
    struct auth_row row;
    int r = begin(&row, name, role, true, e);
    if (r < 0)
        return r;
    char secret[SECRET_TEXT], text[AUTH_TOKEN_BYTES];
    uint8_t sum[SHA256_BYTES];
    auth_secret(secret);
    (void)snprintf(text, sizeof(text), "hune_%s", secret);
    auth_sha256(str_of(text), sum);
    auth_hex(sum, sizeof(sum), row.secret);
    r = change(data_dir, add, &row, e);
    if (r == 0)
        memcpy(ret_token, text, sizeof(text));
    explicit_bzero(secret, sizeof(secret));
    explicit_bzero(text, sizeof(text));
    return r;
}

struct wanted {
    bool token;
    struct str name;
};

static int drop(struct auth_rows *rows, void *ctx, struct err *e)
{
    const struct wanted *w = ctx;
    for (size_t i = 0; i < rows->v.n; i++)
        if (rows->v.v[i].token == w->token && str_eqz(w->name, rows->v.v[i].name)) {
            vec_del(&rows->v, i);
            return 0;
        }
    err_set(e, "there is no %s named " STR_FMT, w->token ? "token" : "user", STR_ARG(w->name));
    return -ENOENT;
}

int auth_delete(const char *data_dir, bool token, struct str name, struct err *e)
{
    struct wanted w = {.token = token, .name = name};
    return change(data_dir, drop, &w, e);
}

int auth_list(const char *data_dir, struct arena *a, struct auth_entry **ret, size_t *ret_n, struct err *e)
{
    struct auth_rows rows = {0};
    int r = auth_rows_load(data_dir, &rows, e);
    if (r < 0)
        return r;
    struct auth_entry *v = ARENA_ARRAY(a, struct auth_entry, rows.v.n + 1);
    for (size_t i = 0; i < rows.v.n; i++)
        v[i] = (struct auth_entry){.token = rows.v.v[i].token,
                                   .name = arena_str(a, str_of(rows.v.v[i].name)),
                                   .role = rows.v.v[i].role,
                                   .created_ms = rows.v.v[i].created_ms};
    *ret = v;
    *ret_n = rows.v.n;
    vec_done(&rows.v);
    return 0;
}

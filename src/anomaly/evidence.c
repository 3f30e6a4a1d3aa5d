// SPDX-License-Identifier: Apache-2.0
/* Pictures of the moment: the alert's expression over a while, kept as JSON so that they outlive the samples'
 * retention. */
#include "anomaly/anomaly_int.h"

#include "base/limits.h"
#include "base/mem.h"
#include "codec/f64.h"

#define SERIES_MAX 12
#define POINTS_MAX 121
#define EVIDENCE_MEMORY (16 << 20)

/* PromQL's outermost level only: quotes, brackets and braces are skipped over. Returns the next top-level position. */
static size_t skip_nested(struct str s, size_t i)
{
    char c = s.p[i];
    if (c == '"' || c == '\'' || c == '`') {
        for (i++; i < s.n && s.p[i] != c; i++)
            if (s.p[i] == '\\' && c != '`')
                i++;
        return MIN(i + 1, s.n);
    }
    if (c == '(' || c == '[' || c == '{') {
        int depth = 0;
        while (i < s.n) {
            char d = s.p[i];
            if (d == '"' || d == '\'' || d == '`') {
                i = skip_nested(s, i);
                continue;
            }
            depth += d == '(' || d == '[' || d == '{';
            depth -= d == ')' || d == ']' || d == '}';
            i++;
            if (depth == 0)
                break;
        }
        return i;
    }
    return i + 1;
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':';
}

/* A set operator or a comparison's modifier at the top makes the comparison no plain one. */
static bool is_stop_word(struct str w)
{
    static const char *const words[] = {"and", "or", "unless", "bool", "on", "ignoring"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_ieq(w, str_of(words[i])))
            return true;
    return false;
}

void evidence_split(struct str expr, struct str *ret_expr, struct str *ret_op, struct str *ret_threshold)
{
    struct str s = str_trim(expr);
    *ret_expr = s;
    *ret_op = *ret_threshold = STR("");
    size_t at = 0, len = 0, found = 0;
    for (size_t i = 0; i < s.n;) {
        char c = s.p[i], d = i + 1 < s.n ? s.p[i + 1] : 0;
        if (c == '#')
            return; /* a comment: leave it whole */
        if (is_word_char(c)) {
            size_t b = i;
            while (i < s.n && is_word_char(s.p[i]))
                i++;
            if (is_stop_word(str_sub(s, b, i)))
                return;
            continue;
        }
        size_t op = (c == '=' && d == '=') || (c == '!' && d == '=') || (c == '>' && d == '=') || (c == '<' && d == '=')
                        ? 2
                    : c == '>' || c == '<' ? 1
                                           : 0;
        if (op) {
            at = i;
            len = op;
            found++;
            i += op;
            continue;
        }
        i = skip_nested(s, i);
    }
    if (found != 1)
        return;
    struct str left = str_trim(str_sub(s, 0, at)), right = str_trim(str_sub(s, at + len, s.n));
    if (!left.n || !right.n)
        return;
    *ret_expr = left;
    *ret_op = str_sub(s, at, at + len);
    *ret_threshold = right;
}

/* Is this series about the alert? Labels that both have must agree. */
static bool about(struct labels l, const struct json *alert)
{
    for (size_t i = 0; i < l.n; i++) {
        if (str_eqz(l.v[i].name, LABEL_NAME))
            continue;
        for (size_t k = 0; alert && k < alert->n; k++)
            if (str_eq(alert->keys[k], l.v[i].name) &&
                (alert->items[k].kind != JSON_STRING || !str_eq(alert->items[k].s, l.v[i].value)))
                return false;
    }
    return true;
}

static void put_series(struct jw *w, const struct query_series *s, struct str expr, struct str op, struct str threshold)
{
    _cleanup_buf_ struct buf name = BUF_INIT(1 << 16);
    labels_format_metric(&name, s->labels);
    jw_obj(w);
    jw_kstr(w, "name", name.n > 2 ? buf_view(&name) : expr);
    jw_kz(w, "unit", "");
    jw_kstr(w, "expr", expr);
    jw_kstr(w, "op", op);
    jw_kstr(w, "threshold", threshold);
    jw_key(w, "points");
    jw_arr(w);
    for (size_t i = 0; i < s->n; i++) {
        if (s->h && s->h[i])
            continue;
        char text[F64_TEXT_MAX];
        size_t n = f64_write(text, s->v[i]);
        jw_arr(w);
        jw_i64(w, s->t[i]);
        jw_str(w, str_make(text, n));
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

bool evidence_take(struct query_engine *q, struct str expr, struct str labels, int64_t from_ms, int64_t to_ms,
                   struct buf *out)
{
    if (!q || !expr.n || to_ms <= from_ms)
        return false;
    struct str left, op, threshold;
    evidence_split(expr, &left, &op, &threshold);
    _cleanup_arena_ struct arena *a = arena_new(EVIDENCE_MEMORY), *la = arena_new(1 << 20);
    const struct json *alert = NULL;
    struct err e = {0};
    if (labels.n && json_parse(labels, la, &alert, &e) != 0)
        alert = NULL;
    int64_t step = MAX((to_ms - from_ms) / (POINTS_MAX - 1), 1000);
    struct query_request req = {
        .expr = left, .start_ms = from_ms, .end_ms = to_ms, .step_ms = step, .timeout_ms = 10000, .limit = 1000};
    struct query_result res = {0};
    if (query_eval(q, &req, a, &res, &e) != 0 || res.kind != QUERY_MATRIX)
        return false;
    struct jw w;
    jw_init(&w, out);
    jw_arr(&w);
    size_t kept = 0;
    for (size_t i = 0; i < res.n_series && kept < SERIES_MAX; i++)
        if (res.series[i].n && about(res.series[i].labels, alert)) {
            put_series(&w, &res.series[i], left, op, threshold);
            kept++;
        }
    jw_end(&w);
    return kept && !buf_error(out);
}

// SPDX-License-Identifier: Apache-2.0
#include "model/relabel.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"

const char *const relabel_action_names[RELABEL_ACTION_COUNT + 1] = {
    "replace",  "keep",      "drop",      "keepequal", "dropequal", "hashmod",
    "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase", NULL,
};

/* MD5 (RFC 1321): hashmod is defined by it, so that targets are shared out as Prometheus would. Not for secrets. */
static const uint32_t md5_k[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};
static const uint8_t md5_shift[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static void md5_block(uint32_t h[4], const uint8_t *p)
{
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3];
    for (unsigned i = 0; i < 64; i++) {
        uint32_t f;
        unsigned g;
        switch (i / 16) {
        case 0:
            f = (b & c) | (~b & d);
            g = i;
            break;
        case 1:
            f = (d & b) | (~d & c);
            g = (5 * i + 1) % 16;
            break;
        case 2:
            f = b ^ c ^ d;
            g = (3 * i + 5) % 16;
            break;
        default:
            f = c ^ (b | ~d);
            g = 7 * i % 16;
        }
        f += a + md5_k[i] + get_u32le(p + (size_t)g * 4);
        a = d;
        d = c;
        c = b;
        unsigned s = md5_shift[i / 16][i % 4];
        b += f << s | f >> (32 - s);
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
}

/* The last eight bytes of the digest as a big-endian number. */
static uint64_t md5_tail(struct str s)
{
    uint32_t h[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    size_t at = 0;
    for (; s.n - at >= 64; at += 64)
        md5_block(h, (const uint8_t *)s.p + at);
    uint8_t last[128] = {0};
    size_t left = s.n - at;
    if (left)
        memcpy(last, s.p + at, left);
    last[left] = 0x80;
    size_t n = left < 56 ? 64 : 128;
    put_u64le(last + n - 8, (uint64_t)s.n * 8);
    for (size_t i = 0; i < n; i += 64)
        md5_block(h, last + i);
    return (uint64_t)__builtin_bswap32(h[2]) << 32 | __builtin_bswap32(h[3]);
}

/* A label name that may hold references: each $name or ${name} counts as one good character. */
static bool target_template_valid(struct str s, bool legacy)
{
    char flat[512];
    size_t n = 0;
    for (size_t i = 0; i < s.n && n < sizeof(flat); i++) {
        if (s.p[i] != '$' || i + 1 >= s.n) {
            flat[n++] = s.p[i];
            continue;
        }
        size_t j = i + 1;
        bool brace = s.p[j] == '{';
        j += brace;
        size_t from = j;
        while (j < s.n && (s.p[j] == '_' || (s.p[j] >= '0' && s.p[j] <= '9') || (s.p[j] >= 'a' && s.p[j] <= 'z') ||
                           (s.p[j] >= 'A' && s.p[j] <= 'Z')))
            j++;
        if (j == from || (brace && (j >= s.n || s.p[j] != '}'))) {
            flat[n++] = s.p[i];
            continue;
        }
        flat[n++] = 'a';
        i = brace ? j : j - 1;
    }
    struct str f = str_make(flat, n);
    return legacy ? label_name_legacy(f) : f.n > 0 && utf8_valid(f);
}

static bool uses_target(enum relabel_action a)
{
    return a == RELABEL_REPLACE || a == RELABEL_HASHMOD || a == RELABEL_LOWERCASE || a == RELABEL_UPPERCASE ||
           a == RELABEL_KEEPEQUAL || a == RELABEL_DROPEQUAL;
}

int relabel_rule_check(struct relabel_rule *r, struct err *e)
{
    const char *action = relabel_action_names[r->action];
    if (!r->separator_set)
        r->separator = STR(";");
    if (!r->pattern_set)
        r->pattern = STR("(.*)");
    if (!r->replacement_set)
        r->replacement = STR("$1");
    bool default_pattern = str_eq(r->pattern, STR("(.*)")), default_replacement = str_eq(r->replacement, STR("$1"));
    if (r->action == RELABEL_HASHMOD && r->modulus == 0) {
        err_set(e, "relabel configuration for hashmod requires non-zero modulus");
        return -EINVAL;
    }
    if (uses_target(r->action) && str_empty(r->target)) {
        err_set(e, "relabel configuration for %s action requires 'target_label' value", action);
        return -EINVAL;
    }
    bool bad_target = false;
    if (r->action == RELABEL_REPLACE)
        bad_target = !target_template_valid(r->target, r->legacy_names);
    else if (uses_target(r->action))
        bad_target = r->legacy_names ? !label_name_legacy(r->target) : !utf8_valid(r->target);
    if (bad_target) {
        err_set(e, "\"" STR_FMT "\" is invalid 'target_label' for %s action", STR_ARG(str_sub(r->target, 0, 200)),
                action);
        return -EINVAL;
    }
    if ((r->action == RELABEL_LOWERCASE || r->action == RELABEL_UPPERCASE || r->action == RELABEL_KEEPEQUAL ||
         r->action == RELABEL_DROPEQUAL) &&
        !default_replacement) {
        err_set(e, "'replacement' can not be set for %s action", action);
        return -EINVAL;
    }
    if (r->action == RELABEL_LABELMAP && !target_template_valid(r->replacement, r->legacy_names)) {
        err_set(e, "\"" STR_FMT "\" is invalid 'replacement' for labelmap action",
                STR_ARG(str_sub(r->replacement, 0, 200)));
        return -EINVAL;
    }
    if ((r->action == RELABEL_KEEPEQUAL || r->action == RELABEL_DROPEQUAL) &&
        (!default_pattern || r->modulus || !str_eq(r->separator, STR(";")))) {
        err_set(e, "%s action requires only 'source_labels' and `target_label`, and no other fields", action);
        return -EINVAL;
    }
    if ((r->action == RELABEL_LABELDROP || r->action == RELABEL_LABELKEEP) &&
        (r->n_sources || !str_empty(r->target) || r->modulus || !str_eq(r->separator, STR(";")) ||
         !default_replacement)) {
        err_set(e, "%s action requires only 'regex', and no other fields", action);
        return -EINVAL;
    }
    for (size_t i = 0; i < r->n_sources; i++)
        if (str_empty(r->sources[i]) ||
            (r->legacy_names ? !label_name_legacy(r->sources[i]) : !utf8_valid(r->sources[i]))) {
            err_set(e, "\"" STR_FMT "\" is not a valid label name", STR_ARG(str_sub(r->sources[i], 0, 200)));
            return -EINVAL;
        }
    return regex_new(r->pattern, REGEX_ANCHORED | REGEX_DOT_NL, &r->re, e);
}

void relabel_rule_done(struct relabel_rule *r)
{
    r->re = regex_free(r->re);
}

static struct str joined(const struct relabel_rule *r, const struct labels_builder *b, struct arena *a)
{
    if (r->n_sources == 0)
        return STR("");
    if (r->n_sources == 1)
        return lb_get(b, r->sources[0]);
    size_t n = 0;
    for (size_t i = 0; i < r->n_sources; i++)
        n += lb_get(b, r->sources[i]).n + r->separator.n;
    char *out = arena_alloc(a, n + 1), *p = out;
    for (size_t i = 0; i < r->n_sources; i++) {
        struct str s = lb_get(b, r->sources[i]);
        if (i && r->separator.n)
            p = mempcpy(p, r->separator.p, r->separator.n);
        if (s.n)
            p = mempcpy(p, s.p, s.n);
    }
    return str_make(out, (size_t)(p - out));
}

/* Full Unicode folding would need tables; the two-byte ranges people use in labels (Latin-1, Greek, Cyrillic) follow
 * the simple rule "distance 32", the rest stays as it is. */
static struct str change_case(struct str s, bool up, struct arena *a)
{
    char *out = arena_alloc(a, s.n + 1);
    for (size_t i = 0; i < s.n;) {
        uint32_t c;
        size_t k = utf8_decode(str_sub(s, i, s.n), &c);
        if (k == 0) {
            out[i] = s.p[i];
            i++;
            continue;
        }
        bool lower = (c >= 'a' && c <= 'z') || (c >= 0xe0 && c <= 0xfe && c != 0xf7) ||
                     (c >= 0x3b1 && c <= 0x3c9 && c != 0x3c2) || (c >= 0x430 && c <= 0x44f);
        bool upper = (c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7) ||
                     (c >= 0x391 && c <= 0x3a9 && c != 0x3a2) || (c >= 0x410 && c <= 0x42f);
        if (up && lower)
            c -= 32;
        else if (!up && upper)
            c += 32;
        char enc[4];
        size_t m = utf8_encode(c, enc);
        ASSERT(m == k);
        memcpy(out + i, enc, k);
        i += k;
    }
    return str_make(out, s.n);
}

static struct str expand(const struct relabel_rule *r, struct str value, struct str template, struct arena *a,
                         bool *matched)
{
    _cleanup_buf_ struct buf out = BUF_INIT((size_t)limit(label_value_bytes));
    *matched = regex_expand(r->re, value, template, &out);
    return *matched && !buf_error(&out) ? arena_str(a, buf_view(&out)) : STR("");
}

static bool apply(const struct relabel_rule *r, struct labels_builder *b, struct arena *a)
{
    struct str value = joined(r, b, a);
    switch (r->action) {
    case RELABEL_KEEP:
        return regex_match(r->re, value);
    case RELABEL_DROP:
        return !regex_match(r->re, value);
    case RELABEL_KEEPEQUAL:
        return str_eq(lb_get(b, r->target), value);
    case RELABEL_DROPEQUAL:
        return !str_eq(lb_get(b, r->target), value);
    case RELABEL_REPLACE: {
        bool matched;
        if (!r->pattern_set && !r->replacement_set && str_chr(r->target, '$') < 0) { /* a plain copy */
            lb_set(b, r->target, value);
            return true;
        }
        struct str target = r->target;
        if (str_chr(target, '$') >= 0) {
            target = expand(r, value, r->target, a, &matched);
            if (!matched)
                return true;
        }
        struct str out = expand(r, value, r->replacement, a, &matched);
        if (!matched || str_empty(target) || (r->legacy_names ? !label_name_legacy(target) : !utf8_valid(target)))
            return true;
        lb_set(b, target, out);
        return true;
    }
    case RELABEL_LOWERCASE:
    case RELABEL_UPPERCASE:
        lb_set(b, r->target, change_case(value, r->action == RELABEL_UPPERCASE, a));
        return true;
    case RELABEL_HASHMOD:
        lb_set(b, r->target, arena_fmt(a, "%llu", (unsigned long long)(md5_tail(value) % r->modulus)));
        return true;
    case RELABEL_LABELMAP: {
        struct labels before = lb_labels(b, a);
        for (size_t i = 0; i < before.n; i++) {
            bool matched;
            struct str name = expand(r, before.v[i].name, r->replacement, a, &matched);
            if (matched && !str_empty(name))
                lb_set(b, name, before.v[i].value);
        }
        return true;
    }
    case RELABEL_LABELDROP:
    case RELABEL_LABELKEEP: {
        struct labels before = lb_labels(b, a);
        for (size_t i = 0; i < before.n; i++)
            if (regex_match(r->re, before.v[i].name) == (r->action == RELABEL_LABELDROP))
                lb_del(b, before.v[i].name);
        return true;
    }
    case RELABEL_ACTION_COUNT:
        break;
    }
    BUG("relabel action %d", (int)r->action);
}

bool relabel_apply(const struct relabel_rule *rules, size_t n, struct labels_builder *b, struct arena *a)
{
    for (size_t i = 0; i < n; i++)
        if (!apply(&rules[i], b, a))
            return false;
    return true;
}

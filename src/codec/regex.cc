// SPDX-License-Identifier: Apache-2.0
extern "C" {
#include "base/limits.h"
#include "base/mem.h"
#include "codec/regex.h"
}

#include <memory>
#include <re2/re2.h>
#include <string>
#include <vector>

/* Most patterns people write need no automaton. Recognised on the source text, anchored patterns only:
 *   literal, a|b|c (optionally in one group), prefix.*, prefix.+, .*suffix, .+suffix, .*, .+ */
enum class shape { automaton, alternatives, prefix_any, any_suffix };

struct regex {
    std::unique_ptr<RE2> re;
    unsigned flags;
    shape kind = shape::automaton;
    size_t least = 0; /* bytes that .+ wants besides the literal */
    std::string literal;
    std::vector<std::string> words;
    std::vector<struct str> word_views;
    std::string prefix;
    std::vector<std::string> group_names;
};

#define ALTERNATIVES_MAX 1000

static bool meta(char c)
{
    return strchr("\\.+*?()|[]{}^$", c) != nullptr && c != 0;
}

static bool literal_text(const std::string &s)
{
    for (char c : s)
        if (meta(c))
            return false;
    return true;
}

static void find_shape(struct regex *r, const std::string &pattern)
{
    if (!(r->flags & REGEX_ANCHORED) || !(r->flags & REGEX_DOT_NL))
        return;
    std::string p = pattern;
    /* Prometheus anchors with ^(?:...)$; people add their own anchors and one group. */
    if (p.size() > 1 && p.front() == '^')
        p.erase(0, 1);
    if (!p.empty() && p.back() == '$' && (p.size() < 2 || p[p.size() - 2] != '\\'))
        p.pop_back();
    if (p.size() >= 2 && p.front() == '(' && p.back() == ')') {
        std::string inner = p.substr(p.compare(0, 3, "(?:") == 0 ? 3 : 1);
        inner.pop_back();
        if (inner.find_first_of("()\\") == std::string::npos)
            p = inner;
    }
    auto words_only = [&] {
        for (char c : p)
            if (meta(c) && c != '|')
                return false;
        return true;
    };
    if (words_only()) {
        r->kind = shape::alternatives;
        for (size_t from = 0;;) {
            size_t bar = p.find('|', from);
            r->words.push_back(p.substr(from, bar == std::string::npos ? bar : bar - from));
            if (bar == std::string::npos)
                break;
            from = bar + 1;
        }
        for (const auto &w : r->words)
            r->word_views.push_back(str_make(w.data(), w.size()));
        return;
    }
    if (p.size() >= 2) {
        std::string head = p.substr(0, p.size() - 2), tail = p.substr(2);
        std::string last = p.substr(p.size() - 2), first = p.substr(0, 2);
        if ((last == ".*" || last == ".+") && literal_text(head)) {
            r->kind = shape::prefix_any;
            r->literal = head;
            r->least = last == ".+" ? 1 : 0;
        } else if ((first == ".*" || first == ".+") && literal_text(tail)) {
            r->kind = shape::any_suffix;
            r->literal = tail;
            r->least = first == ".+" ? 1 : 0;
        }
    }
}

extern "C" int regex_new(struct str pattern, unsigned flags, struct regex **ret, struct err *e)
{
    if (pattern.n > (size_t)limit(regex_bytes)) {
        err_set(e, "regular expression of %zu bytes, at most %lld allowed (limit regex_bytes)", pattern.n,
                (long long)limit(regex_bytes));
        return -EINVAL;
    }
    RE2::Options o;
    o.set_log_errors(false);
    o.set_dot_nl(flags & REGEX_DOT_NL);
    o.set_max_mem(limit(regex_memory));
    auto r = std::make_unique<struct regex>();
    r->flags = flags;
    std::string text(pattern.p ? pattern.p : "", pattern.n);
    r->re = std::make_unique<RE2>(text, o);
    if (!r->re->ok()) {
        err_set(e, "error parsing regexp: %s: `%s`", r->re->error().c_str(), r->re->error_arg().c_str());
        return -EINVAL;
    }
    find_shape(r.get(), text);
    if (r->kind == shape::prefix_any)
        r->prefix = r->literal;
    else if (r->kind == shape::alternatives && r->words.size() == 1)
        r->prefix = r->words[0];
    else if (r->kind == shape::automaton && (flags & REGEX_ANCHORED)) {
        std::string max;
        if (!r->re->PossibleMatchRange(&r->prefix, &max, 64))
            r->prefix.clear();
        /* [min, max] bounds every match; what both start with is a prefix of all. */
        size_t n = 0;
        while (n < r->prefix.size() && n < max.size() && r->prefix[n] == max[n])
            n++;
        r->prefix.resize(n);
    }
    r->group_names.resize((size_t)r->re->NumberOfCapturingGroups() + 1);
    for (const auto &g : r->re->CapturingGroupNames())
        r->group_names[(size_t)g.first] = g.second;
    *ret = r.release();
    return 0;
}

extern "C" struct regex *regex_free(struct regex *re)
{
    delete re;
    return nullptr;
}

/* `.` matches a code point: with invalid UTF-8 RE2 would refuse bytes that these shapes accept; label values are valid. */
extern "C" bool regex_match(const struct regex *re, struct str text)
{
    switch (re->kind) {
    case shape::alternatives:
        for (const struct str &w : re->word_views)
            if (str_eq(w, text))
                return true;
        return false;
    case shape::prefix_any:
        return text.n >= re->literal.size() + re->least &&
               (re->literal.empty() || memcmp(text.p, re->literal.data(), re->literal.size()) == 0);
    case shape::any_suffix:
        return text.n >= re->literal.size() + re->least &&
               memcmp(text.p + text.n - re->literal.size(), re->literal.data(), re->literal.size()) == 0;
    case shape::automaton:
        break;
    }
    re2::StringPiece piece(text.p ? text.p : "", text.n);
    return re->re->Match(piece, 0, text.n, re->flags & REGEX_ANCHORED ? RE2::ANCHOR_BOTH : RE2::UNANCHORED, nullptr, 0);
}

extern "C" bool regex_alternatives(const struct regex *re, const struct str **ret, size_t *ret_n)
{
    if (re->kind != shape::alternatives || re->word_views.size() > ALTERNATIVES_MAX)
        return false;
    *ret = re->word_views.data();
    *ret_n = re->word_views.size();
    return true;
}

extern "C" struct str regex_prefix(const struct regex *re)
{
    return str_make(re->prefix.data(), re->prefix.size());
}

#define GROUPS_MAX 256

static bool match_groups(const struct regex *re, struct str text, size_t from, re2::StringPiece *groups, size_t n)
{
    re2::StringPiece piece(text.p ? text.p : "", text.n);
    return re->re->Match(piece, from, text.n, re->flags & REGEX_ANCHORED ? RE2::ANCHOR_BOTH : RE2::UNANCHORED, groups,
                         (int)n);
}

static size_t group_count(const struct regex *re)
{
    size_t n = re->group_names.size();
    return n > GROUPS_MAX ? GROUPS_MAX : n;
}

static bool word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Go's expand: $name takes the longest run of word characters; ${name}; $$; a malformed one stays as it is. */
static void expand(const struct regex *re, const re2::StringPiece *groups, size_t n, struct str tmpl, struct buf *out)
{
    while (tmpl.n) {
        ptrdiff_t dollar = str_chr(tmpl, '$');
        if (dollar < 0) {
            buf_str(out, tmpl);
            return;
        }
        buf_put(out, tmpl.p, (size_t)dollar);
        tmpl = str_sub(tmpl, (size_t)dollar + 1, tmpl.n);
        if (tmpl.n && tmpl.p[0] == '$') {
            buf_putc(out, '$');
            tmpl = str_sub(tmpl, 1, tmpl.n);
            continue;
        }
        bool brace = tmpl.n && tmpl.p[0] == '{';
        struct str rest = brace ? str_sub(tmpl, 1, tmpl.n) : tmpl;
        size_t len = 0;
        while (len < rest.n && word_char(rest.p[len]))
            len++;
        if (len == 0 || (brace && (len == rest.n || rest.p[len] != '}'))) {
            buf_putc(out, '$');
            continue;
        }
        struct str name = str_sub(rest, 0, len);
        tmpl = str_sub(rest, len + (brace ? 1 : 0), rest.n);
        size_t index = 0;
        bool number = true;
        for (size_t i = 0; i < name.n && number; i++) {
            number = name.p[i] >= '0' && name.p[i] <= '9' && index < 1000000;
            index = index * 10 + (size_t)(name.p[i] - '0');
        }
        if (number && !(name.n > 1 && name.p[0] == '0')) {
            if (index < n && groups[index].data())
                buf_put(out, groups[index].data(), groups[index].size());
            continue;
        }
        for (size_t i = 1; i < n; i++)
            if (str_eq(str_make(re->group_names[i].data(), re->group_names[i].size()), name) && groups[i].data())
                buf_put(out, groups[i].data(), groups[i].size());
    }
}

extern "C" bool regex_expand(const struct regex *re, struct str text, struct str replacement, struct buf *out)
{
    re2::StringPiece groups[GROUPS_MAX];
    size_t n = group_count(re);
    if (!match_groups(re, text, 0, groups, n))
        return false;
    expand(re, groups, n, replacement, out);
    return true;
}

extern "C" void regex_replace_all(const struct regex *re, struct str text, struct str replacement, struct buf *out)
{
    re2::StringPiece groups[GROUPS_MAX];
    size_t n = group_count(re), at = 0, copied = 0;
    ptrdiff_t last_end = -1;
    while (at <= text.n && match_groups(re, text, at, groups, n)) {
        size_t begin = groups[0].data() ? (size_t)(groups[0].data() - (text.p ? text.p : groups[0].data())) : at;
        size_t end = begin + groups[0].size();
        /* As Go: an empty match right after the last one does not count. */
        if (end > begin || (ptrdiff_t)begin != last_end) {
            buf_put(out, text.p + copied, begin - copied);
            expand(re, groups, n, replacement, out);
            copied = end;
        }
        last_end = (ptrdiff_t)end;
        if (end > begin) {
            at = end;
        } else {
            at = end + 1;
            while (at < text.n && ((unsigned char)text.p[at] & 0xc0) == 0x80)
                at++;
        }
    }
    if (copied < text.n)
        buf_put(out, text.p + copied, text.n - copied);
}

extern "C" bool regex_find(const struct regex *re, struct str text, size_t from, struct str *out, size_t n)
{
    re2::StringPiece groups[GROUPS_MAX];
    n = n > GROUPS_MAX ? GROUPS_MAX : n;
    if (from > text.n || !match_groups(re, text, from, groups, n))
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = str_make(groups[i].data(), groups[i].size());
    return true;
}

extern "C" size_t regex_groups(const struct regex *re)
{
    return re->group_names.size();
}

extern "C" const char *regex_group_name(const struct regex *re, size_t i)
{
    return i < re->group_names.size() && !re->group_names[i].empty() ? re->group_names[i].c_str() : nullptr;
}

extern "C" bool regex_group_name_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!word_char(name.p[i]))
            return false;
    return name.n > 0;
}

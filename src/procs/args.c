// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

#include "base/parse.h"
#include <signal.h>

const char *args_data_dir;

struct args args_of(int argc, char **argv)
{
    return (struct args){.verb = argv[0], .argc = argc, .argv = argv, .at = 1};
}

enum args_kind args_next(struct args *a, const char **ret_word)
{
    for (;;) {
        a->inline_value = NULL;
        if (a->at >= a->argc || a->bad)
            return ARGS_END;
        char *w = a->argv[a->at++];
        if (w[0] != '-' || w[1] == 0) {
            *ret_word = w;
            return ARGS_WORD;
        }
        if (strcmp(w, "--") == 0)
            return ARGS_REST;
        a->name = w;
        char *eq = strchr(w, '=');
        if (eq && w[1] == '-')
            a->inline_value = eq + 1;
        *ret_word = w;
        if (!args_is(a, "--data.dir", 0))
            return ARGS_FLAG;
        args_data_dir = args_value(a);
    }
}

bool args_is(const struct args *a, const char *long_name, char short_name)
{
    size_t n = strcspn(a->name, "=");
    if (a->name[1] == '-')
        return strlen(long_name) == n && strncmp(a->name, long_name, n) == 0;
    return short_name && a->name[1] == short_name && a->name[2] == 0;
}

const char *args_value(struct args *a)
{
    if (a->inline_value)
        return a->inline_value;
    if (a->at >= a->argc) {
        complain(word(W_WANTS_VALUE), a->verb, a->name);
        a->bad = true;
        return NULL;
    }
    return a->argv[a->at++];
}

static bool bad_value(struct args *a, const char *v, enum word what)
{
    complain(word(W_BAD_VALUE), a->verb, a->name, v, word(what));
    a->bad = true;
    return false;
}

bool args_u64(struct args *a, uint64_t *ret)
{
    const char *v = args_value(a);
    if (!v)
        return false;
    return parse_u64(str_of(v), ret) || bad_value(a, v, W_A_NUMBER);
}

bool args_duration_ms(struct args *a, uint64_t *ret)
{
    const char *v = args_value(a);
    if (!v)
        return false;
    int64_t ms;
    if (parse_u64(str_of(v), ret))
        return true;
    if (!parse_duration_ms(str_of(v), &ms) || ms < 0)
        return bad_value(a, v, W_A_DURATION);
    *ret = (uint64_t)ms;
    return true;
}

bool args_signal(struct args *a, const char *text, int *ret)
{
    uint64_t n;
    if (parse_u64(str_of(text), &n) && n > 0 && n < NSIG) {
        *ret = (int)n;
        return true;
    }
    struct str name = str_of(text);
    if (str_starts(name, STR("SIG")))
        name = str_sub(name, 3, name.n);
    for (int s = 1; s < NSIG; s++) {
        const char *abbrev = sigabbrev_np(s);
        if (abbrev && str_ieq(name, str_of(abbrev))) {
            *ret = s;
            return true;
        }
    }
    a->name = a->name ? a->name : "signal";
    return bad_value(a, text, W_A_SIGNAL);
}

int args_unknown(struct args *a)
{
    complain(word(W_UNKNOWN_FLAG), a->verb, a->name, a->verb);
    a->bad = true;
    return 2;
}

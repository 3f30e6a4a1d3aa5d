// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

#include <stdarg.h>

static const char *const words[W_COUNT][2] = {
#define X(id, en, fr) [W_##id] = {en, fr},
    WORDS(X)
#undef X
};

bool procs_french(void)
{
    static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *v = getenv(names[i]);
        if (v && *v)
            return strncmp(v, "fr", 2) == 0;
    }
    return false;
}

const char *word_in(enum word w, bool french)
{
    ASSERT(w < W_COUNT);
    return words[w][french];
}

const char *word(enum word w)
{
    static int french = -1;
    if (french < 0)
        french = procs_french();
    return word_in(w, french);
}

const char *state_word(enum control_state s)
{
    static const enum word w[CS_COUNT] = {
        [CS_STOPPED] = W_S_stopped,   [CS_LAUNCHING] = W_S_launching, [CS_ONLINE] = W_S_online,
        [CS_STOPPING] = W_S_stopping, [CS_WAITING] = W_S_waiting,     [CS_ERRORED] = W_S_errored,
    };
    return word(w[s]);
}

void complain(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

/* stop, restart, delete, reset: one action on the processes that selectors name. */
int verb_act(int argc, char **argv)
{
    const char *verb = procs_find(argv[0])->name;
    enum control_action action = strcmp(verb, "stop") == 0      ? CA_STOP
                                 : strcmp(verb, "restart") == 0 ? CA_RESTART
                                 : strcmp(verb, "delete") == 0  ? CA_DELETE
                                                                : CA_RESET;
    struct args a = args_of(argc, argv);
    VEC(const char *) selectors = {0};
    const char *w;
    bool silent = false;
    int r = 0;
    for (enum args_kind k; r == 0 && (k = args_next(&a, &w)) != ARGS_END;)
        if (k == ARGS_WORD)
            vec_push(&selectors, w);
        else if (k == ARGS_FLAG && args_is(&a, "--silent", 's'))
            silent = true;
        else if (k == ARGS_FLAG)
            r = args_unknown(&a);
    if (a.bad)
        r = 2;
    if (r == 0 && selectors.n == 0) {
        complain(word(W_WANTS_TARGET), verb);
        r = 2;
    }
    struct control_client *c = r == 0 ? client_open(action == CA_RESTART ? NEED_START : NEED_RUNNING) : NULL;
    struct plist l = {0};
    struct pick p = {0};
    if (r == 0)
        r = c && plist_read(c, false, &l) ? 0 : 1;
    for (size_t i = 0; r == 0 && i < selectors.n; i++)
        r = pick_add(&p, &l, selectors.v[i], true) ? 0 : 1;
    if (r == 0)
        r = act_and_wait(c, action, &p, silent);
    if (c && r == 0 && !silent)
        r = print_list(c);
    vec_done(&p.v);
    vec_done(&selectors);
    plist_done(&l);
    control_close(c);
    return r;
}

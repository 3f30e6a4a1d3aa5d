// SPDX-License-Identifier: Apache-2.0
#include "ui/ui.h"
#include "ui/ui_int.h"

/* First segments of the page's own addresses (web/src/lib/routes.ts), then Prometheus' user interface links, which the
 * page translates: alerts point at /graph?g0.expr=... for years. Anything else is an honest 404 of the server. */
static const char *const view_segments[] = {
    "",          "alerts",  "anomalies", "services",
    "processes", "explore", "events",    "settings",
    "graph",     "query",   "targets",   "rules",
    "config",    "flags",   "status",    "tsdb-status",
    "login",     "classic", "new",       "service-discovery",
};

static const struct ui_asset *exact(struct str path)
{
    size_t lo = 0, hi = ui_table_n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int order = str_cmp(ui_table[mid].path, path);

        if (order == 0) {
            return &ui_table[mid];
        } else if (order < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return NULL;
}

const struct ui_asset *ui_find(struct str path)
{
    if (str_empty(path) || path.p[0] != '/') {
        return NULL;
    }
    const struct ui_asset *found = exact(path);
    if (found) {
        return found;
    }
    struct str segment;
    (void)str_cut(str_sub(path, 1, path.n), '/', &segment, NULL); /* without a slash the whole is the segment */
    for (size_t i = 0; i < sizeof(view_segments) / sizeof(view_segments[0]); i++) {
        if (str_eqz(segment, view_segments[i])) {
            return exact(STR("/index.html"));
        }
    }
    return NULL;
}

const struct ui_asset *ui_assets(size_t *ret_n)
{
    *ret_n = ui_table_n;
    return ui_table;
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The page's built files (sources in web/), embedded in the binary. Everything here is constant data: borrowed for
 * ever, any thread, nothing can fail. Compressed forms are made at build time; NULL-length `gzip` or `brotli` means
 * that the form would not be smaller. */
#include "base/str.h"

struct ui_asset {
    struct str path; /* "/assets/index-3f2a91c0.js" */
    struct str type; /* Content-Type, charset included */
    struct str etag; /* strong validator of the identity form, quotes included */
    bool immutable;  /* the name holds a hash of the content: cache for a year; else revalidate each time */
    struct str body, gzip, brotli;
};

/* The file at `path` (no query string). Addresses of views ("/", "/anomalies/ANO-20261122-001", and the Prometheus ones
 * such as "/graph") give index.html, since the page routes itself. NULL: no such file or view. O(log files). */
const struct ui_asset *ui_find(struct str path);

/* All files, sorted by path; for listings and tests. */
const struct ui_asset *ui_assets(size_t *ret_n);

// SPDX-License-Identifier: Apache-2.0
#pragma once
/* A store in memory behind model/source.h: the obvious one, for tests. One thread; snapshots see later changes. */
#include "model/source.h"

struct memsource;
struct memsource *memsource_new(void);
struct memsource *memsource_free(struct memsource *m);
struct source *memsource_source(struct memsource *m);
/* Add one sample (copied); a sample at the same time is replaced. h: a histogram instead of v, or NULL. st: 0 = none.
 */
void memsource_add(struct memsource *m, struct labels l, int64_t t, double v, const struct histogram *h, int64_t st);
/* The same with the series as text: `name{a="b"}`; aborts when it cannot be read. */
void memsource_addz(struct memsource *m, const char *series, int64_t t, double v);
size_t memsource_series(const struct memsource *m);

// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Name cache of the HTTP client, shared by all multis of the process: libcurl's own threaded resolver may block the
 * thread that removes a transfer whose look-up still runs (curl#3371, #4852), so names are looked up here first and
 * handed over. */
#include "base/buf.h"
#include "base/error.h"

enum resolve_state { RESOLVE_HIT, RESOLVE_PENDING, RESOLVE_FAILED };

/* Look `host` up. HIT: appends "addr,addr" (v6 in brackets) to out. PENDING: a look-up runs on a helper thread;
 * wake(ctx) is called from there when it ends, unless resolve_forget(ctx) came first. FAILED: the reason is in *e. Any
 * thread. */
enum resolve_state resolve_name(struct str host, struct buf *out, void (*wake)(void *ctx), void *ctx, struct err *e);
/* No more wake calls for ctx once this returns. */
void resolve_forget(void *ctx);
/* For tests: replaces getaddrinfo. Returns 0 or an EAI_ code, appends addresses. NULL restores the real one. */
void resolve_set_lookup(int (*fn)(const char *host, struct buf *out));

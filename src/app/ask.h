// SPDX-License-Identifier: Apache-2.0
#pragma once
/* For verbs that talk to a running server over its HTTP API: where it is, the question, the answer or words for people.
 * Single-threaded, blocking, one question at a time. */
#include "base/arena.h"
#include "codec/json.h"

struct ask {
    const char *url;        /* --url, else $HUNE_URL, else what the keeper says, else http://127.0.0.1:4863 */
    const char *data_dir;   /* --data.dir */
    const char *token_file; /* --token-file, else $HUNE_TOKEN itself */
    bool json;              /* --json: print answers as they came */
    struct arena *arena;    /* answers live here */
};

/* The words all such verbs share in their help. */
extern const char ask_help_en[], ask_help_fr[];
/* Take a shared option at argv[*i] (both --x=v and --x v): 1 taken, 0 none of ours, -1 its value is missing (said). */
int ask_option(struct ask *a, int argc, char **argv, int *i);
/* "--name=value" or "--name value"; NULL when argv[*i] is another. Sets *bad when the value is missing. */
const char *ask_value(const char *name, int argc, char **argv, int *i, bool *bad);

/* GET, POST, PATCH of "/api/hune/v1" + path. 0 with the parsed answer (and its text in *ret_text, may be NULL); 1 after
 * the reason was printed. body empty = none. */
int ask_server(struct ask *a, const char *method, struct str path, struct str body, const struct json **ret,
               struct str *ret_text);
/* Append s percent-encoded for a query string or a path segment. */
void ask_encode(struct buf *b, struct str s);
/* "2026-11-22 10:00:05" in local time, or "-" for 0 and for null. */
struct str ask_time(struct arena *a, const struct json *o, const char *key);
/* "1h 30m" of a member in milliseconds, or "-". */
struct str ask_duration(struct arena *a, const struct json *o, const char *key);

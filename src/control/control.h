// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The keeper's protocol, and its two clients: a blocking one for verbs and one on a loop for the server.
 *
 * A message is a frame of 12 bytes of head (u32 length of the body, u16 type, u16 zero, u32 id; little-endian) and a
 * body of fields (u16 tag, u32 length, bytes; numbers are 8 bytes). Unknown tags are skipped, unknown types refused, so
 * either side may be newer. Requests carry an id > 0 and get answers with the same id, the last one CONTROL_OK or
 * CONTROL_FAIL; what the keeper says by itself carries id 0. Layout and every message: README.md. Only a peer with the
 * keeper's user id (or root) is listened to. */
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "sys/loop.h"
#include <stdint.h>

#define CONTROL_VERSION 1
#define CONTROL_HEAD_BYTES 12
#define CONTROL_FIELD_BYTES 6

/* X(NAME, number, who says it, what) */
#define CONTROL_TYPES(X)                                                                                               \
    X(OK, 1, "keeper", "done; last answer to a request")                                                               \
    X(FAIL, 2, "keeper", "refused; TEXT says why; last answer")                                                        \
    X(PING, 3, "client", "answered by OK with VERSION, PID")                                                           \
    X(INFO, 4, "client", "answered by OK with what runs: keeper, server, counts")                                      \
    X(LIST, 5, "client",                                                                                               \
      "processes with an id >= ID (WITH_ENV: environments too): PROC..., then OK with NEXT when cut")                  \
    X(PROC, 6, "keeper", "one process as it is now")                                                                   \
    X(ADD, 7, "client", "add an application (a spec) and start it unless NO_START; OK with an ID for each instance")   \
    X(ACT, 8, "client", "ACTION on every ID; OK at once, the result comes as STATE events")                            \
    X(SUBSCRIBE, 9, "client", "TOPICS wanted from now on, logs of the given IDs only (none: all)")                     \
    X(STATE, 10, "keeper", "a process changed: EVENT, with the fields of PROC; its spec only when added")              \
    X(LOG, 11, "keeper", "BYTES that process ID wrote to STREAM: whole lines, or a piece of one longer than 4 KiB")    \
    X(LOST, 12, "keeper", "a slow reader missed COUNT bytes of logs or COUNT2 events")                                 \
    X(SAVE, 13, "client", "write the dump file; OK with COUNT")                                                        \
    X(RESURRECT, 14, "client", "add what the dump file names and does not run yet; OK with COUNT")                     \
    X(KILL, 15, "client", "stop everything, then the keeper; OK when it begins, end of stream when done")              \
    X(JOB, 16, "client", "run a short-lived child: ARG..., ENV..., CWD, INPUT, TIMEOUT_MS; JOB_OUT..., then OK")       \
    X(JOB_OUT, 17, "keeper", "BYTES a job wrote to STREAM")                                                            \
    X(JOB_KILL, 18, "client", "end the job that was asked for with request ID")                                        \
    X(REPORT, 19, "client", "the server says what it is: STATE, ADDRESS, TEXT")                                        \
    X(SERVER_DIED, 20, "keeper", "an earlier server ended: CODE, SIGNAL, UPTIME_MS, PID, AT_MS, TEXT = last stderr")   \
    X(SERVER_ACT, 21, "client", "ACTION (restart, stop, start) on the server itself")                                  \
    X(FLUSH, 22, "client", "empty the log files of every ID")

enum control_type {
#define X(name, number, who, doc) CONTROL_##name = number,
    CONTROL_TYPES(X)
#undef X
};

/* X(NAME, number, kind, what); kind: U number, S bytes; a '*' in the text marks a field that may come several times */
#define CONTROL_TAGS(X)                                                                                                \
    X(TEXT, 1, S, "reason or last output, for people")                                                                 \
    X(VERSION, 2, S, "program version")                                                                                \
    X(PID, 3, U, "process id, 0 = none")                                                                               \
    X(ID, 4, U, "* process id of the keeper (pm_id)")                                                                  \
    X(NEXT, 5, U, "ask again from here")                                                                               \
    X(ACTION, 6, U, "enum control_action")                                                                             \
    X(TOPICS, 7, U, "bits of enum control_topic")                                                                      \
    X(EVENT, 8, U, "enum control_event")                                                                               \
    X(STATE, 9, U, "enum control_state")                                                                               \
    X(STREAM, 10, U, "1 = stdout, 2 = stderr")                                                                         \
    X(BYTES, 11, S, "raw output")                                                                                      \
    X(COUNT, 12, U, "")                                                                                                \
    X(COUNT2, 13, U, "")                                                                                               \
    X(SIGNAL, 14, U, "signal number")                                                                                  \
    X(CODE, 15, U, "exit code")                                                                                        \
    X(UPTIME_MS, 16, U, "how long it ran")                                                                             \
    X(AT_MS, 17, U, "Unix milliseconds")                                                                               \
    X(INSTANCE, 18, U, "index within its application, from 0")                                                         \
    X(RESTARTS, 19, U, "since it was added or reset")                                                                  \
    X(UNSTABLE, 20, U, "restarts in a row before min_uptime")                                                          \
    X(CREATED_MS, 21, U, "when it was added")                                                                          \
    X(STARTED_MS, 22, U, "when the present process began, 0 = none")                                                   \
    X(DELAY_MS, 23, U, "until the next start")                                                                         \
    X(EXITED, 24, U, "1: CODE and SIGNAL tell of the last end")                                                        \
    X(SERVER_STATE, 25, U, "enum control_state")                                                                       \
    X(SERVER_PID, 26, U, "")                                                                                           \
    X(SERVER_RESTARTS, 27, U, "")                                                                                      \
    X(SERVER_UPTIME_MS, 28, U, "")                                                                                     \
    X(ADDRESS, 29, S, "URL of the page")                                                                               \
    X(SERVER_TEXT, 30, S, "why the server last ended, or what it says of itself")                                      \
    X(WITH_ENV, 31, U, "1: with environments")                                                                         \
    X(NO_START, 32, U, "1: add without starting")                                                                      \
    X(INPUT, 33, S, "standard input of a job")                                                                         \
    X(TIMEOUT_MS, 34, U, "")                                                                                           \
    X(LOG_LOST, 35, U, "bytes of output that could not be written (disk full)")                                        \
    X(NAME, 64, S, "of the application")                                                                               \
    X(NAMESPACE, 65, S, "")                                                                                            \
    X(ARG, 66, S, "* argument vector, from argv[0]; the first is the program")                                         \
    X(ENV, 67, S, "* NAME=value")                                                                                      \
    X(CWD, 68, S, "")                                                                                                  \
    X(SCRIPT, 69, S, "what the user named, for tables")                                                                \
    X(INTERPRETER, 70, S, "for tables: node, python3, none ...")                                                       \
    X(INSTANCES, 71, U, "")                                                                                            \
    X(AUTORESTART, 72, U, "")                                                                                          \
    X(MAX_RESTARTS, 73, U, "unstable ones in a row before it is given up")                                             \
    X(MIN_UPTIME_MS, 74, U, "")                                                                                        \
    X(RESTART_DELAY_MS, 75, U, "")                                                                                     \
    X(BACKOFF_MS, 76, U, "first step of the exponential back-off")                                                     \
    X(KILL_TIMEOUT_MS, 77, U, "")                                                                                      \
    X(KILL_SIGNAL, 78, U, "")                                                                                          \
    X(STOP_EXIT_CODE, 79, U, "*")                                                                                      \
    X(OUT_FILE, 80, S, "absolute path")                                                                                \
    X(ERR_FILE, 81, S, "absolute path")                                                                                \
    X(LOG_BYTES, 82, U, "budget of all log files of the application")                                                  \
    X(SET_UID, 83, U, "user id + 1")                                                                                   \
    X(SET_GID, 84, U, "group id + 1")                                                                                  \
    X(INSTANCE_VAR, 85, S, "environment variable that holds INSTANCE")                                                 \
    X(SERVER_ARG, 86, S, "* an argument of the server")                                                                \
    X(DATA_DIR, 87, S, "")

enum control_tag {
#define X(name, number, kind, doc) CT_##name = number,
    CONTROL_TAGS(X)
#undef X
};

enum control_state { CS_STOPPED, CS_LAUNCHING, CS_ONLINE, CS_STOPPING, CS_WAITING, CS_ERRORED, CS_COUNT };
extern const char *const control_state_names[CS_COUNT]; /* pm2's words: "stopped", "launching", "online", "stopping",
                                                           "waiting restart", "errored" */

enum control_event {
    CE_STARTED = 1, /* exec succeeded */
    CE_ONLINE,      /* ready */
    CE_EXITED,      /* CODE / SIGNAL, UPTIME_MS; STATE tells what follows (waiting, stopped, errored) */
    CE_FAILED,      /* could not be started; TEXT */
    CE_STOPPING,
    CE_STOPPED,
    CE_GIVEN_UP, /* errored: too many unstable restarts */
    CE_ADDED,
    CE_DELETED,
    CE_ADOPTED, /* found alive by a new keeper */
    CE_KILLED,  /* ignored its stop signal: SIGKILL after kill_timeout */
    CE_COUNT
};
extern const char *const control_event_names[CE_COUNT];

enum control_action { CA_START = 1, CA_STOP, CA_RESTART, CA_DELETE, CA_RESET, CA_SIGNAL };
enum control_topic { TOPIC_STATES = 1, TOPIC_LOGS = 2, TOPIC_SERVER = 4 };

/* ---- frames and fields: pure, allocate nothing but the buf's memory ---- */

struct control_frame {
    uint16_t type;
    uint32_t id;
    struct str body;
};

/* First frame of `in`. 0: taken, *ret_used bytes, body borrowed from `in` and well-formed; 1: not complete yet;
 * -EMSGSIZE: longer than max; -EBADMSG: not a frame. */
MUST_USE int control_parse(struct str in, size_t max, struct control_frame *ret, size_t *ret_used);
/* Next field; false at the end. The body must come from control_parse(). */
bool control_field(struct str *body, uint16_t *ret_tag, struct str *ret_value);
uint64_t control_number(struct str value); /* 0 unless 8 bytes */
/* First field with the tag; empty / dflt when absent. */
struct str control_get(struct str body, enum control_tag tag);
uint64_t control_get_u64(struct str body, enum control_tag tag, uint64_t dflt);

/* begin, put..., end; errors stick in the buf. A buf may hold several frames. */
size_t control_begin(struct buf *b, enum control_type type, uint32_t id);
void control_put(struct buf *b, enum control_tag tag, struct str value);
void control_put_u64(struct buf *b, enum control_tag tag, uint64_t value);
void control_end(struct buf *b, size_t begin);

/* A process as PROC and STATE tell it; strings borrowed from the message. */
struct control_proc {
    uint32_t id, instance, instances;
    pid_t pid;
    enum control_state state;
    enum control_event event; /* STATE only, else 0 */
    uint64_t restarts, unstable, uptime_ms, delay_ms, log_lost;
    int64_t created_ms, started_ms, at_ms;
    bool exited; /* exit_code and exit_signal are known */
    int exit_code, exit_signal;
    struct str name, namespace_, script, interpreter, cwd, out_file, err_file, text;
    bool autorestart;
    uint64_t max_restarts, min_uptime_ms, restart_delay_ms, backoff_ms, kill_timeout_ms, kill_signal;
    struct str body; /* for ARG, ENV, STOP_EXIT_CODE: walk with control_field() */
};
void control_proc_read(struct str body, struct control_proc *ret);

/* ---- where things are ---- */

/* The data folder: flag, else $HUNE_DATA_DIR, else ~/.hune; absolute. malloc'd; NULL with a reason when there is no
 * HOME. */
char *control_data_dir(const char *flag, struct err *e);
/* DIR/keeper/control.sock; malloc'd. */
char *control_socket_path(const char *data_dir);
/* A listening or connected, non-blocking, close-on-exec stream socket; paths longer than a sockaddr are fine. Or
 * -errno. */
MUST_USE int control_socket_listen(const char *path);
MUST_USE int control_socket_connect(const char *path);

/* ---- blocking client ---- */

struct control_client;
/* 0; -ECONNREFUSED or -ENOENT when no hune runs there; else -errno with a reason. */
MUST_USE int control_open(const char *data_dir, int timeout_ms, struct control_client **ret, struct err *e);
struct control_client *control_close(struct control_client *c);
/* Send the frames in b and empty it. */
MUST_USE int control_send(struct control_client *c, struct buf *b);
/* Next frame, borrowed until the next call. 0; -ETIMEDOUT; -EPIPE at the end of the stream; timeout_ms -1 = for ever.
 */
MUST_USE int control_recv(struct control_client *c, int timeout_ms, struct control_frame *ret);
/* Send b (one request) and wait for its OK: every other frame that arrives goes to fn (may be NULL). 0 with the OK's
 * body borrowed in *ret; 1 when the keeper refused, with its words in *e; else -errno. */
MUST_USE int control_ask(struct control_client *c, struct buf *b, int timeout_ms,
                         void (*fn)(void *ctx, const struct control_frame *f), void *ctx, struct str *ret,
                         struct err *e);
int control_fd(const struct control_client *c);
uint32_t control_next_id(struct control_client *c); /* for control_begin() */

/* ---- the server's side: a session on a loop that connects again by itself ---- */

struct control_session;

/* Every callback runs on the loop's thread; strings are borrowed for the call; any may be NULL. */
struct control_handler {
    void (*connected)(void *ctx); /* subscribed; the process list follows as `process` calls with event 0 */
    void (*disconnected)(void *ctx, int neg_errno);
    void (*process)(void *ctx, const struct control_proc *p); /* snapshot (event 0) or change */
    void (*log)(void *ctx, uint32_t id, int stream, struct str bytes);
    void (*lost)(void *ctx, uint64_t log_bytes, uint64_t events);
    void (*server_died)(void *ctx, int code, int signal, uint64_t uptime_ms, int64_t at_ms, struct str last_stderr);
};

/* Everything about a session is for the loop's thread (use loop_post() from others). h and ctx are borrowed until
 * _free. */
struct control_session *control_session_new(struct loop *l, const char *data_dir, uint32_t topics,
                                            const struct control_handler *h, void *ctx);
struct control_session *control_session_free(struct control_session *s);
bool control_session_up(const struct control_session *s);
/* Tell the keeper what this server is; repeated by itself after a reconnect. */
void control_session_report(struct control_session *s, enum control_state state, struct str address, struct str text);
/* Answer to a request: r = 0, or 1 with the keeper's reason in text, or -errno (-EPIPE: connection lost). */
typedef void (*control_done_fn)(void *ctx, int r, struct str text);
/* action on one process (all of them: id UINT32_MAX); signum for CA_SIGNAL. */
void control_session_act(struct control_session *s, enum control_action action, uint32_t id, int signum,
                         control_done_fn fn, void *ctx);

struct control_job {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
    const char *const *envp; /* NULL: the keeper's */
    const char *cwd;         /* NULL: the data folder */
    struct str input;
    uint64_t timeout_ms; /* 0 = 30 s; then SIGKILL to its whole tree */
    void (*output)(void *ctx, int stream, struct str bytes);
    /* r = 0: it ran, code or signal (timed_out: ours); 1: could not be started, text; -errno: connection lost. Once. */
    void (*done)(void *ctx, int r, int code, int signal, bool timed_out, struct str text);
    void *ctx;
};
/* Returns the request id (for _job_kill), 0 when there is no connection (done is not called). Copies everything. */
uint32_t control_session_job(struct control_session *s, const struct control_job *j);
void control_session_job_kill(struct control_session *s, uint32_t id);

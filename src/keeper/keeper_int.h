// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the files of the keeper share. One thread, one loop, one struct keeper. */
#include "base/buf.h"
#include "base/error.h"
#include "base/vec.h"
#include "control/control.h"
#include "keeper/keeper.h"
#include "keeper/machine_int.h"
#include "sys/loop.h"
#include "sys/spawn.h"

#define KEEPER_NAME_BYTES 128             /* application and namespace names */
#define KEEPER_INSTANCES 256              /* of one application */
#define KEEPER_CONNS 64                   /* clients at once */
#define KEEPER_JOBS 64                    /* jobs at once */
#define KEEPER_LINE_BYTES 4096            /* longer lines are passed on in pieces */
#define KEEPER_TAIL_BYTES 1024            /* of stderr, remembered as the last words */
#define KEEPER_CONN_LOG_BYTES (1 << 20)   /* waiting for a client: beyond this, log bytes are dropped and counted */
#define KEEPER_CONN_EVENT_BYTES (2 << 20) /* the same for events */
#define KEEPER_SERVER_ID 0xfffffffeU      /* pm_id of the server itself, never listed */

struct keeper;
struct app;
struct proc;

/* ---- logs.c: what children write ---- */

#define LOG_SEGMENTS 64
/* Log files of one application: a current file per stream, and rotated segments, oldest first. */
struct logfile {
    char *path;
    int fd;         /* -1: could not be opened; every byte is then counted as lost */
    uint64_t bytes; /* in the current file */
    bool plain;     /* a regular file: it may be rotated */
    bool at_line_start;
};
struct logset {
    struct logfile file[2]; /* 0 = stdout, 1 = stderr; the same file for both: file[1].path == NULL */
    uint64_t budget, segment_bytes, next_seq;
    struct {
        uint64_t seq, bytes;
        int which;
    } seg[LOG_SEGMENTS];
    size_t n_seg;
    uint64_t lost_bytes;
};
void logset_open(struct logset *s, const char *out_path, const char *err_path, uint64_t budget);
void logset_close(struct logset *s);
void logset_write(struct logset *s, int which, const char *p, size_t n);
void logset_flush(struct logset *s); /* empty the current files, delete the segments */
void logset_check(const struct logset *s);

/* One output of one process: a named pipe that outlives the keeper (see README.md), read here. */
struct stream {
    struct proc *proc;
    int which;    /* 0 = stdout, 1 = stderr */
    int fd;       /* our end, read and write, so that it never hangs up; -1 = none */
    int child_fd; /* the child's end when the pipe has no name; else -1 */
    char *fifo;   /* its name; NULL: an anonymous pipe */
    struct loop_io *io;
    size_t n_part;
    char part[KEEPER_LINE_BYTES]; /* a line without its end yet */
};
MUST_USE int stream_open(struct stream *s, struct proc *p, int which, struct err *e);
int stream_child_fd(struct stream *s); /* for one launch; close with stream_child_close() */
void stream_child_close(struct stream *s, int fd);
void stream_drain(struct stream *s); /* read what is there now, and pass on an unfinished line */
void stream_close(struct stream *s, bool remove);

/* ---- proc.c: applications and their processes ---- */

struct app {
    struct keeper *k;
    char *name;
    struct buf spec; /* fields of the specification, as sent by the client, checked */
    struct str namespace_, cwd, script, interpreter, instance_var;
    char *out_path, *err_path;
    uint32_t instances;
    bool set_ids, server;
    uid_t uid;
    gid_t gid;
    char **argv; /* NULL-terminated */
    char **env;  /* what all its processes share, NULL-terminated */
    size_t n_env;
    uint64_t spec_hash;
    struct machine_policy policy;
    int stop_codes[32];
    struct logset logs;
    uint32_t n_procs; /* alive or not, not deleted yet */
};

struct proc {
    struct app *app;
    uint32_t id, instance, slot; /* slot: place in keeper/pids */
    struct machine m;
    pid_t pid;
    uint64_t start_ticks;
    int pidfd; /* adopted processes only, else -1 */
    struct loop_io *pidfd_io;
    struct loop_timer *timer;
    struct stream out[2];
    char **envp;                    /* points to the app's, and to own[] */
    char *own[4];                   /* NAME=value that differ per process; own[0] is the marker */
    int64_t created_ms, started_ms; /* Unix; started_ms 0 = no process */
    size_t n_tail;
    char tail[KEEPER_TAIL_BYTES]; /* last bytes of stderr */
    char failure[256];            /* why it could not be started */
    bool adopted;
};

/* Check a specification (fields of ADD) and add the application with its processes, stopped. ids: wanted process ids in
 * order (resumption), or NULL. 0; 1 when refused, with the reason in *e. */
MUST_USE int app_add(struct keeper *k, struct str spec, const uint32_t *ids, size_t n_ids, struct app **ret,
                     struct err *e);
/* 0, or 1 with what is wrong with the specification. */
MUST_USE int spec_check(struct str spec, struct err *e);
struct app *app_find(const struct keeper *k, struct str name);
struct proc *proc_find(const struct keeper *k, uint32_t id);
void proc_feed(struct proc *p, enum machine_event e);
/* Signal to the whole tree of a process, or to its main process alone. */
size_t proc_signal_tree(struct proc *p, int signum);
void proc_reaped(struct keeper *k, pid_t pid, int status); /* from waitpid */
void proc_adopt(struct proc *p, pid_t pid, uint64_t start_ticks, int64_t started_ms);
bool proc_busy(const struct proc *p); /* has a process, or is about to */
void proc_put(struct buf *b, const struct proc *p, bool spec, bool env);
void app_free(struct app *a);
void proc_free(struct proc *p);

/* ---- store.c: what survives the keeper (doc/format/keeper.md) ---- */

MUST_USE int store_open(struct keeper *k, struct err *e); /* reads what an earlier keeper left */
void store_close(struct keeper *k);
uint32_t store_slot(struct keeper *k, uint32_t id);     /* place in keeper/pids for a new process */
void store_apps(struct keeper *k);                      /* keeper/apps: after an application came or went */
void store_pid(struct keeper *k, const struct proc *p); /* keeper/pids: after every change of a process */
void store_pid_clear(struct keeper *k, uint32_t slot);
void store_resume(struct keeper *k); /* at start: adopt what lives, restart what should live */
void store_forget(struct keeper *k); /* at a clean end */
MUST_USE int store_save(struct keeper *k, uint32_t *ret_n, struct err *e);
MUST_USE int store_resurrect(struct keeper *k, uint32_t *ret_n, struct err *e);
/* Copy the fields of a specification, and nothing else. */
void spec_copy(struct buf *to, struct str body);

/* ---- conn.c: the control socket; job.c ---- */

struct conn;
MUST_USE int conns_open(struct keeper *k, struct err *e);
void conns_close(struct keeper *k);
void conns_state(struct keeper *k, struct proc *p, enum control_event e);
void conns_log(struct keeper *k, const struct proc *p, int which, struct str bytes);
void conns_server_died(struct keeper *k);
/* A buffer to write frames for this client into; then conn_flush(). */
struct buf *conn_out(struct conn *c);
void conn_flush(struct conn *c);
size_t conn_waiting(const struct conn *c); /* bytes not sent yet */

struct job;
void job_start(struct keeper *k, struct conn *c, uint32_t request, struct str body);
void job_kill(struct keeper *k, const struct conn *c, uint32_t request);
bool job_reaped(struct keeper *k, pid_t pid, int status);
void jobs_drop(struct keeper *k, const struct conn *c);   /* its client went away (NULL: all) */
void jobs_resume(struct keeper *k, const struct conn *c); /* its client reads again */

/* ---- server.c: the server as a process like the others ---- */

MUST_USE int server_setup(struct keeper *k, struct err *e);
void server_start(struct keeper *k);
void server_note(struct keeper *k, enum control_event e);
void server_report(struct keeper *k, enum control_state state, struct str address, struct str text);
void server_output(struct keeper *k, struct str bytes);

/* ---- keeper.c ---- */

struct server_death {
    bool known; /* somebody should hear of it */
    int code, signal;
    uint64_t uptime_ms, pid;
    int64_t at_ms;
    struct buf text;
};

struct keeper {
    const struct keeper_options *o;
    struct loop *loop;
    char *data_dir, *keeper_dir, *log_dir;
    uint64_t keeper_id; /* random, kept in keeper/pids: marks our children */
    int64_t began_ms;
    VEC(struct app *) apps;
    VEC(struct proc *) procs; /* the server too */
    uint32_t next_id;
    struct proc *server;
    pid_t server_pid; /* of the last one started */
    bool server_was_ready;
    int exit_code;
    enum control_state server_state; /* what the server says of itself: LAUNCHING until it reports ONLINE */
    struct buf server_address, server_text;
    struct server_death death;
    int lock_fd, pids_fd, log_fd, tty_fd;
    bool tty_regular; /* our stderr is a file: writing never waits */
    uint64_t log_bytes;
    int listen_fd;
    struct loop_io *listen_io;
    struct loop_timer *listen_timer; /* out of descriptors: accept again later */
    struct conn *conns;
    struct job *jobs;
    size_t n_conns, n_jobs;
    struct buf old_pids;           /* keeper/pids as found at start; emptied when resumed */
    struct loop_timer *part_timer; /* passes on lines that wait for their end */
    bool part_armed;

    bool ending, ended_by_force;
    struct loop_timer *end_timer;
};

/* One line into keeper.log, and to stderr when in the foreground. */
void keeper_say(struct keeper *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void keeper_tty(struct keeper *k, struct str bytes); /* to stderr if somebody reads it; never waits */
void keeper_end(struct keeper *k);                   /* stop everything, then leave the loop; again: by force */
void keeper_end_step(struct keeper *k);              /* something ended: are we done? */

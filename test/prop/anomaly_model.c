// SPDX-License-Identifier: Apache-2.0
/* Random alerts, restarts and kills against an obvious model: sheets in an array. What must be equal at the end: which
 * sheets there are, their status, times, how often each came back, how many alerts still fire. */
#include "test.h"

#include "anomaly/anomaly.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/fs.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define T0 1763769600000LL /* 2025-11-22T00:00:00Z */
#define JOIN_MS (30 * 60000LL)
#define RECONCILE_MS (15 * 60000LL)

struct sheet {
    int key;
    bool resolved;
    int64_t detected_ms, resolved_ms;
    int reopened, active;
};
struct firing {
    int fp, sheet;
    uint64_t seen;
};
static VEC(struct sheet) sheets;
static VEC(struct firing) firing;
static VEC(struct event) queue; /* appended, not yet followed */

/* Fingerprint f belongs to alert name f % 3 on service f % 2. */
static int key_of(int fp)
{
    return fp % 6;
}

static void model_end(size_t i, int64_t t)
{
    struct sheet *s = &sheets.v[firing.v[i].sheet];
    vec_swap_del(&firing, i);
    if (--s->active == 0 && !s->resolved) {
        s->resolved = true;
        s->resolved_ms = MAX(t, s->detected_ms);
    }
}

static void model_event(const struct event *e, int fp)
{
    bool fires = str_eqz(e->kind, "alert.firing");
    for (size_t i = 0; i < firing.n; i++)
        if (firing.v[i].fp == fp) {
            if (fires && e->severity >= SEV_WARNING)
                firing.v[i].seen = e->seq;
            if (!fires)
                model_end(i, e->t_ms);
            return;
        }
    if (!fires || e->severity < SEV_WARNING)
        return;
    int at = -1;
    for (size_t i = 0; i < sheets.n; i++) {
        struct sheet *s = &sheets.v[i];
        if (s->key == key_of(fp) && (!s->resolved || s->resolved_ms >= e->t_ms - JOIN_MS))
            at = (int)i;
    }
    if (at < 0) {
        vec_push(&sheets, (struct sheet){.key = key_of(fp), .detected_ms = e->t_ms});
        at = (int)sheets.n - 1;
    } else if (sheets.v[at].resolved) {
        sheets.v[at].resolved = false;
        sheets.v[at].resolved_ms = 0;
        sheets.v[at].reopened++;
    }
    sheets.v[at].active++;
    vec_push(&firing, (struct firing){.fp = fp, .sheet = at, .seen = e->seq});
}

struct world {
    char *path;
    struct clock_fake clk;
    struct db *db;
    struct journal *j;
    struct anomalies *s;
    uint64_t start_seq;
    int64_t start_ms;
    bool reconciled;
};

static int try_enter(struct world *w)
{
    struct err e = {0};
    int r = db_open(w->path, NULL, &w->db, &e);
    if (!r)
        r = journal_open(w->db, &w->clk.clock, NULL, &w->j, &e);
    struct anomaly_deps d = {.clock = &w->clk.clock, .db = w->db, .journal = w->j};
    return r ? r : anomalies_open(&d, NULL, &w->s, &e);
}

static void enter(struct world *w)
{
    assert_int_equal(try_enter(w), 0);
    w->start_seq = journal_last_seq(w->j);
    w->start_ms = w->clk.ms;
    w->reconciled = false;
}

static void leave(struct world *w)
{
    anomalies_close(w->s);
    journal_close(w->j);
    db_close(w->db);
}

static int fp_of(const struct event *e)
{
    return e->subject.p[1] - 'a';
}

static void append(struct world *w, struct rand_state *rnd)
{
    static const char *const subjects[] = {"fa", "fb", "fc", "fd", "fe", "ff", "fg", "fh", "fi", "fj"};
    int fp = (int)rand_below(rnd, ARRAY_LEN(subjects));
    bool fires = rand_below(rnd, 2);
    char payload[256], service[8];
    snprintf(service, sizeof(service), "s%d", key_of(fp) % 2);
    int n = snprintf(payload, sizeof(payload), "{\"labels\":{\"alertname\":\"A%d\"},\"expr\":\"up == 0\",\"value\":%d}",
                     key_of(fp) / 2, fp);
    clock_fake_advance(&w->clk, 1 + (int64_t)rand_below(rnd, rand_below(rnd, 8) ? 120000 : 3600000));
    struct event e = {.kind = fires ? STR("alert.firing") : STR("alert.resolved"),
                      .severity = (enum severity)(SEV_INFO + rand_below(rnd, 3)),
                      .subject = str_of(subjects[fp]),
                      .service = str_of(service),
                      .summary = STR("x"),
                      .payload = str_make(payload, (size_t)n)};
    assert_int_equal(w->j->append(w->j, &e), 0);
    vec_push(&queue, e);
}

static void model_step(struct world *w)
{
    for (size_t i = 0; i < queue.n; i++)
        model_event(&queue.v[i], fp_of(&queue.v[i]));
    vec_reset(&queue);
    if (!w->reconciled && w->clk.ms >= w->start_ms + RECONCILE_MS) {
        for (size_t i = firing.n; i-- > 0;)
            if (firing.v[i].seen <= w->start_seq)
                model_end(i, w->start_ms);
        w->reconciled = true;
    }
}

static void compare(struct world *w)
{
    struct arena *a = arena_new(0);
    struct anomaly *v;
    size_t n;
    assert_int_equal(anomaly_list(w->s, &(struct anomaly_filter){.limit = 100000}, a, &v, &n), 0);
    assert_int_equal(n, sheets.n);
    for (size_t i = 0; i < n; i++) {
        const struct anomaly *x = &v[n - 1 - i]; /* newest first */
        const struct sheet *s = &sheets.v[i];
        assert_int_equal(x->detected_ms, s->detected_ms);
        assert_int_equal(x->status == ANOMALY_RESOLVED, s->resolved);
        assert_int_equal(x->resolved_ms, s->resolved_ms);
        assert_int_equal(x->reopened, s->reopened);
        assert_int_equal(x->alerts_active, s->active);
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq(v[n - 1 - k].id, x->id));
    }
    arena_free(a);
}

static void forget(void)
{
    vec_done(&sheets);
    vec_done(&firing);
    vec_done(&queue);
}

/* The follower is killed at random moments while it works through what waits; the result must be as if it never was. */
static void kills(void **state)
{
    (void)state;
    struct rand_state rnd;
    rand_seed(&rnd, test_seed());
    for (unsigned round = 0; round < test_rounds(3); round++) {
        struct world w = {.path = fs_join(test_dir(), "k.db")};
        clock_fake_init(&w.clk, T0);
        enter(&w);
        for (int i = 0; i < 150; i++)
            append(&w, &rnd);
        leave(&w);
        for (int i = 0; i < 12; i++) {
            int p[2];
            assert_int_equal(pipe(p), 0);
            pid_t pid = fork(); /* no thread lives here now */
            assert_true(pid >= 0);
            if (pid == 0) {
                if (try_enter(&w) == 0 && write(p[1], "x", 1) == 1)
                    anomalies_step(w.s);
                for (;;)
                    pause();
            }
            char ready;
            close(p[1]);
            assert_int_equal(read(p[0], &ready, 1), 1);
            close(p[0]);
            usleep((useconds_t)rand_below(&rnd, 20000));
            kill(pid, SIGKILL);
            int status;
            waitpid(pid, &status, 0);
        }
        enter(&w);
        assert_int_equal(anomalies_step(w.s), 0);
        model_step(&w);
        compare(&w);
        leave(&w);
        free(w.path);
        forget();
    }
}

static void restarts(void **state)
{
    (void)state;
    struct rand_state rnd;
    rand_seed(&rnd, test_seed());
    struct world w = {.path = fs_join(test_dir(), "r.db")};
    clock_fake_init(&w.clk, T0);
    enter(&w);
    for (unsigned round = 0; round < test_rounds(300); round++) {
        if (rand_below(&rnd, 12) == 0) {
            leave(&w);
            enter(&w);
        }
        append(&w, &rnd);
        if (rand_below(&rnd, 3) == 0) {
            assert_int_equal(anomalies_step(w.s), 0);
            model_step(&w);
            if (rand_below(&rnd, 8) == 0)
                compare(&w);
        }
    }
    assert_int_equal(anomalies_step(w.s), 0);
    model_step(&w);
    compare(&w);
    print_message("%zu sheets\n", sheets.n);
    leave(&w);
    free(w.path);
    forget();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kills), cmocka_unit_test(restarts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* The journal against an obvious model: an array. Random appends, posts, reopenings and filters. */
#include "test.h"

#include "base/mem.h"
#include "base/vec.h"
#include "db/db.h"
#include "sys/fs.h"

struct row {
    struct event e;
    char subject[16], summary[32], service[8];
};
static VEC(struct row) model;
static uint64_t heard; /* by the subscriber, since the last opening */
static bool order_broken;

static const char *const kinds[] = {"alert.firing", "alert.resolved", "anomaly.opened", "process.exited", "alerta.x"};

static void on_event(void *ctx, const struct event *e)
{
    (void)ctx;
    if (heard && e->seq != heard + 1)
        order_broken = true;
    heard = e->seq;
}

static bool model_match(const struct row *r, const struct event_filter *f)
{
    const struct event *e = &r->e;
    return (!f->kind_prefix.n || str_starts(e->kind, f->kind_prefix)) &&
           (!f->service.n || str_eqz(f->service, r->service)) && (!f->subject.n || str_eqz(f->subject, r->subject)) &&
           e->severity >= f->min_severity && (!f->from_ms || e->t_ms >= f->from_ms) &&
           (!f->to_ms || e->t_ms <= f->to_ms) && e->seq > f->after_seq && (!f->before_seq || e->seq < f->before_seq) &&
           (!f->text.n || str_find(str_of(r->summary), f->text) >= 0 || str_find(str_of(r->subject), f->text) >= 0);
}

static void check_filter(struct journal *j, const struct event_filter *f)
{
    struct arena *a = arena_new(0);
    struct event *v;
    size_t n, k = 0, want = f->limit ? f->limit : 100;
    assert_int_equal(j->list(j, f, a, &v, &n), 0);
    for (size_t i = 0; i < model.n && k < want; i++) {
        const struct row *r = &model.v[f->ascending ? i : model.n - 1 - i];
        if (!model_match(r, f))
            continue;
        assert_true(k < n);
        assert_int_equal(v[k].seq, r->e.seq);
        assert_int_equal(v[k].t_ms, r->e.t_ms);
        assert_true(str_eq(v[k].kind, r->e.kind));
        assert_true(str_eqz(v[k].summary, r->summary));
        k++;
    }
    assert_int_equal(k, n);
    arena_free(a);
}

static void random_acts(void **state)
{
    (void)state;
    struct rand_state rnd;
    rand_seed(&rnd, test_seed());
    char *path = fs_join(test_dir(), "j.db");
    struct clock_fake clk;
    clock_fake_init(&clk, 1700000000000);
    struct db *db = NULL;
    struct journal *j = NULL;
    struct err e = {0};
    for (unsigned round = 0; round < test_rounds(600); round++) {
        uint64_t what = rand_below(&rnd, 100);
        if (!db || what < 2) { /* close and open again */
            if (db) {
                assert_int_equal(journal_flush(j), 0);
                assert_true(heard == 0 || heard == model.n);
                journal_close(j);
                db_close(db);
            }
            assert_int_equal(db_open(path, NULL, &db, &e), 0);
            assert_int_equal(journal_open(db, &clk.clock, NULL, &j, &e), 0);
            heard = 0;
            j->subscribe(j, on_event, NULL);
            continue;
        }
        if (what < 70) {
            struct row r = {0};
            r.e = (struct event){.kind = str_of(kinds[rand_below(&rnd, ARRAY_LEN(kinds))]),
                                 .severity = (enum severity)rand_below(&rnd, 4),
                                 .t_ms = rand_below(&rnd, 2) ? 0 : clk.ms - (int64_t)rand_below(&rnd, 100000)};
            snprintf(r.subject, sizeof(r.subject), "s%d", (int)rand_below(&rnd, 5));
            snprintf(r.service, sizeof(r.service), "v%d", (int)rand_below(&rnd, 3));
            snprintf(r.summary, sizeof(r.summary), "%s n%d_%%", rand_below(&rnd, 2) ? "50%" : "a_b",
                     (int)rand_below(&rnd, 9));
            struct event ev = r.e;
            ev.subject = str_of(r.subject);
            ev.service = str_of(r.service);
            ev.summary = str_of(r.summary);
            if (what < 20) {
                j->post(j, &ev);
                assert_int_equal(journal_flush(j), 0);
                r.e.seq = model.n + 1;
                if (!r.e.t_ms)
                    r.e.t_ms = clk.ms;
            } else {
                assert_int_equal(j->append(j, &ev), 0);
                r.e.seq = ev.seq;
                r.e.t_ms = ev.t_ms;
                assert_int_equal(ev.seq, model.n + 1);
            }
            vec_push(&model, r);
            clock_fake_advance(&clk, (int64_t)rand_below(&rnd, 5000));
            continue;
        }
        struct event_filter f = {.ascending = rand_below(&rnd, 2), .limit = rand_below(&rnd, 30)};
        static const char *const texts[] = {"50%", "a_b", "n3_", "%", "zz"};
        static const char *const prefixes[] = {"alert.", "alert", "anomaly.", "x"};
        char subject[8], service[8];
        if (rand_below(&rnd, 2))
            f.kind_prefix = str_of(prefixes[rand_below(&rnd, ARRAY_LEN(prefixes))]);
        if (rand_below(&rnd, 3) == 0) {
            snprintf(subject, sizeof(subject), "s%d", (int)rand_below(&rnd, 6));
            f.subject = str_of(subject);
        }
        if (rand_below(&rnd, 3) == 0) {
            snprintf(service, sizeof(service), "v%d", (int)rand_below(&rnd, 4));
            f.service = str_of(service);
        }
        if (rand_below(&rnd, 3) == 0)
            f.text = str_of(texts[rand_below(&rnd, ARRAY_LEN(texts))]);
        f.min_severity = (enum severity)rand_below(&rnd, 4);
        if (rand_below(&rnd, 3) == 0)
            f.after_seq = rand_below(&rnd, model.n + 1);
        if (rand_below(&rnd, 3) == 0)
            f.before_seq = rand_below(&rnd, model.n + 2);
        if (rand_below(&rnd, 3) == 0)
            f.from_ms = clk.ms - (int64_t)rand_below(&rnd, 300000);
        if (rand_below(&rnd, 3) == 0)
            f.to_ms = clk.ms - (int64_t)rand_below(&rnd, 300000);
        check_filter(j, &f);
    }
    assert_false(order_broken);
    journal_close(j);
    db_close(db);
    vec_done(&model);
    free(path);
}

static void retention(void **state)
{
    (void)state;
    char *path = fs_join(test_dir(), "r.db");
    struct clock_fake clk;
    clock_fake_init(&clk, 1700000000000);
    struct db *db;
    struct journal *j;
    struct err e = {0};
    assert_int_equal(db_open(path, NULL, &db, &e), 0);
    assert_int_equal(journal_open(db, &clk.clock, &(struct journal_options){.retention_ms = 1000}, &j, &e), 0);
    struct event old = {.kind = STR("alert.firing")}, kept = {.kind = STR("anomaly.opened")};
    for (int i = 0; i < 700; i++)
        j->post(j, &old);
    assert_int_equal(journal_flush(j), 0);
    assert_int_equal(j->append(j, &kept), 0);
    assert_int_equal(kept.seq, 701);
    clock_fake_advance(&clk, 10000);
    struct event last = {.kind = STR("alert.resolved")};
    assert_int_equal(j->append(j, &last), 0);
    clock_fake_advance(&clk, 10000);
    assert_int_equal(journal_prune(j), 700);
    assert_int_equal(journal_prune(j), 0); /* the newest stays, however old */
    assert_int_equal(j->append(j, &last), 0);
    assert_int_equal(last.seq, 703);
    journal_close(j);
    db_close(db);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_acts), cmocka_unit_test(retention)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

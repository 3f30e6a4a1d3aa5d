// SPDX-License-Identifier: Apache-2.0
/* The whole room under a fake clock, with a fetcher and a sink of its own. */
#include "base/mem.h"
#include "scrape/scrape.h"
#include "test.h"
#include <stdio.h>

struct stored {
    char series[256];
    int64_t t;
    double v;
    bool exact;
};

struct world {
    struct clock_fake clock;
    struct sink sink;
    struct scrape_fetch fetch;
    struct scrape *s;
    VEC(struct stored) log;
    VEC(char *) series; /* index + 1 = ref */
    const char *body;   /* what targets answer; NULL = connection refused */
    const char *content_type;
    long status;
    char url[512], accept[512];
    size_t asked, with_labels;
    char metadata[256];
    bool forget; /* the store has forgotten all references */
    struct promfile *f;
};

static int append(struct sink *sink, struct sample_row *rows, size_t n, unsigned flags)
{
    struct world *w = CONTAINER_OF(sink, struct world, sink);
    for (size_t i = 0; i < n; i++) {
        struct sample_row *r = &rows[i];
        if (r->ref == 0 || w->forget) {
            if (r->labels.n == 0) {
                r->status = ROW_BAD_LABELS;
                continue;
            }
            w->with_labels++;
            struct buf b = BUF_INIT(4096);
            labels_format_metric(&b, r->labels);
            r->ref = 0;
            for (size_t k = 0; k < w->series.n; k++)
                if (strcmp(w->series.v[k], buf_cstr(&b)) == 0)
                    r->ref = k + 1;
            if (!r->ref) {
                vec_push(&w->series, str_dupz(buf_view(&b)));
                r->ref = w->series.n;
                r->created = true;
            }
            buf_done(&b);
        }
        r->status = ROW_OK;
        struct stored st = {.t = r->t, .v = r->v, .exact = flags & SINK_EXACT_ORDER};
        (void)snprintf(st.series, sizeof(st.series), "%s", w->series.v[r->ref - 1]);
        for (size_t k = 0; k < w->log.n; k++)
            if (strcmp(w->log.v[k].series, st.series) == 0 && w->log.v[k].t >= st.t)
                r->status = w->log.v[k].t == st.t ? ROW_DUP_VALUE : ROW_OUT_OF_ORDER;
        if (r->status == ROW_OK)
            vec_push(&w->log, st);
    }
    w->forget = false;
    return 0;
}

static void metadata(struct sink *sink, struct str metric, const struct metric_meta *m)
{
    struct world *w = CONTAINER_OF(sink, struct world, sink);
    size_t n = strlen(w->metadata);
    (void)snprintf(w->metadata + n, sizeof(w->metadata) - n, STR_FMT "|%s|%s|%s;", STR_ARG(metric), m->type, m->help,
                   m->unit);
}

static int start(struct scrape_fetch *f, const struct http_request *r, http_done_fn fn, void *ctx, void **ret,
                 struct err *e)
{
    struct world *w = CONTAINER_OF(f, struct world, fetch);
    w->asked++;
    (void)snprintf(w->url, sizeof(w->url), STR_FMT, STR_ARG(r->url));
    (void)snprintf(w->accept, sizeof(w->accept), STR_FMT, STR_ARG(r->headers[0].value));
    *ret = NULL;
    if (!w->body) {
        err_set(e, "connection refused");
        return -ECONNREFUSED;
    }
    struct http_response resp = {.status = w->status ? w->status : 200,
                                 .body = str_of(w->body),
                                 .content_type = str_of(w->content_type ? w->content_type : "text/plain"),
                                 .body_bytes = strlen(w->body)};
    fn(ctx, &resp);
    return 0;
}
static void cancel(struct scrape_fetch *f, void *call)
{
    (void)f;
    (void)call;
}
static void poll_nothing(struct scrape_fetch *f, int timeout_ms)
{
    (void)f;
    (void)timeout_ms;
}
static void wake(struct scrape_fetch *f)
{
    (void)f;
}

#define T0 1700000000000LL

static void configure(struct world *w, const char *text)
{
    struct err e = {0};
    struct promfile *f;
    if (promfile_parse(str_of(text), "p.yml", "", 0, &f, &e) < 0)
        fail_msg("%s", e.msg);
    promfile_unref(w->f);
    w->f = f;
    scrape_reload(w->s, f);
    for (size_t i = 0; i < f->n_scrapes; i++)
        for (size_t k = 0; k < f->scrapes[i].sds.n; k++) {
            const struct promfile_sd *sd = &f->scrapes[i].sds.v[k];
            struct target_group g = {
                .source = STR("static/0"), .labels = sd->labels, .targets = sd->targets, .n = sd->n_targets};
            struct target_sink *ts = scrape_target_sink(w->s);
            ts->update(ts, f->generation, f->scrapes[i].job, &g, 1);
        }
}

static struct world *world(const char *config)
{
    struct world *w = NEW(struct world);
    clock_fake_init(&w->clock, T0);
    w->sink = (struct sink){append, metadata};
    w->fetch = (struct scrape_fetch){start, cancel, poll_nothing, wake};
    struct scrape_options o = {.clock = &w->clock.clock, .sink = &w->sink, .fetch = &w->fetch};
    w->s = scrape_new(&o);
    if (config)
        configure(w, config);
    return w;
}

static void world_free(struct world *w)
{
    scrape_free(w->s);
    promfile_unref(w->f);
    for (size_t i = 0; i < w->series.n; i++)
        free(w->series.v[i]);
    vec_done(&w->series);
    vec_done(&w->log);
    free(w);
}

/* Live through ms milliseconds. */
static void live(struct world *w, int64_t ms)
{
    while (ms > 0) {
        int64_t wait = scrape_step(w->s);
        wait = wait < 1 ? 1 : wait;
        wait = MIN(wait, ms);
        clock_fake_advance(&w->clock, wait);
        ms -= wait;
    }
    (void)scrape_step(w->s);
}

/* One scrape of the only target (interval 10 s): the log holds that scrape alone afterwards. */
static void once(struct world *w, const char *body)
{
    w->body = body;
    size_t before = w->asked;
    for (int i = 0; i < 20 && w->asked == before; i++) {
        size_t n = w->log.n;
        live(w, 1000);
        if (w->asked != before && n) {
            memmove(w->log.v, w->log.v + n, (w->log.n - n) * sizeof(*w->log.v));
            w->log.n -= n;
        }
    }
    assert_int_equal(w->asked, before + 1);
}

static const struct stored *find(const struct world *w, const char *series)
{
    for (size_t i = w->log.n; i-- > 0;)
        if (strcmp(w->log.v[i].series, series) == 0)
            return &w->log.v[i];
    return NULL;
}

static void expect(const struct world *w, const char *series, double v)
{
    const struct stored *s = find(w, series);
    if (!s) {
        for (size_t i = 0; i < w->log.n; i++)
            print_message("  %s %g\n", w->log.v[i].series, w->log.v[i].v);
        fail_msg("no sample of %s", series);
    }
    if (isnan(v) ? !is_stale(s->v) : s->v != v)
        fail_msg("%s is %g, want %g", series, s->v, v);
}
#define STALE ((double)NAN)

#define ONE                                                                                                            \
    "scrape_configs: [{job_name: j, scrape_interval: 10s, static_configs: [{targets: ['h:1'], labels: {env: prod}}]}]"
#define L "{env=\"prod\", instance=\"h:1\", job=\"j\"}"

static void a_scrape_and_its_reports(void **state)
{
    (void)state;
    struct world *w = world(ONE);
    once(w, "# HELP a Some \\\\ help\n# TYPE a counter\na 1\nb{x=\"y\"} 2\n");
    assert_string_equal(w->url, "http://h:1/metrics");
    assert_non_null(strstr(w->accept, "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"));
    assert_non_null(strstr(w->accept, ",*/*;q=0.1"));
    assert_string_equal(w->metadata, "a|counter|Some \\ help|;");
    expect(w, "a" L, 1);
    expect(w, "b{env=\"prod\", instance=\"h:1\", job=\"j\", x=\"y\"}", 2);
    expect(w, "up" L, 1);
    expect(w, "scrape_samples_scraped" L, 2);
    expect(w, "scrape_samples_post_metric_relabeling" L, 2);
    expect(w, "scrape_series_added" L, 2);
    assert_non_null(find(w, "scrape_duration_seconds" L));
    assert_int_equal(w->log.n, 7);
    int64_t first = w->log.v[0].t;
    w->with_labels = 0;
    once(w, "# HELP a Some \\\\ help\n# TYPE a counter\na 3\nb{x=\"y\"} 4\n");
    expect(w, "a" L, 3);
    expect(w, "scrape_series_added" L, 0);
    assert_int_equal(w->log.v[0].t - first, 10000);
    assert_int_equal(w->with_labels, 0); /* references are enough */
    w->forget = true;
    once(w, "a 5\nb{x=\"y\"} 6\n");
    expect(w, "a" L, 5);
    expect(w, "b{env=\"prod\", instance=\"h:1\", job=\"j\", x=\"y\"}", 6);
    world_free(w);
}

static void vanished_series_end(void **state)
{
    (void)state;
    struct world *w = world(ONE);
    once(w, "a 1\nb 2\nc 3\n");
    once(w, "a 1\nc 3\n");
    expect(w, "b" L, STALE);
    expect(w, "a" L, 1);
    assert_int_equal(w->log.n, 8);
    once(w, "c 3\na 1\n"); /* order does not matter */
    assert_int_equal(w->log.n, 7);
    expect(w, "scrape_series_added" L, 0);
    once(w, "b 2\na 1\nc 1\n");
    expect(w, "b" L, 2);
    expect(w, "scrape_series_added" L, 1);
    once(w, "a 1\na 2\nb 1\nc 1\n"); /* the first of duplicates counts */
    expect(w, "a" L, 1);
    expect(w, "scrape_samples_scraped" L, 4);
    once(w, "");
    expect(w, "a" L, STALE);
    expect(w, "c" L, STALE);
    expect(w, "up" L, 1);
    world_free(w);
}

static void a_failed_scrape_ends_everything(void **state)
{
    (void)state;
    struct world *w = world(ONE);
    once(w, "a 1\nb 2\n");
    once(w, NULL);
    expect(w, "a" L, STALE);
    expect(w, "b" L, STALE);
    expect(w, "up" L, 0);
    expect(w, "scrape_samples_scraped" L, 0);
    once(w, NULL);
    assert_null(find(w, "a" L));
    once(w, "a 1\nb 2\n");
    expect(w, "a" L, 1);
    expect(w, "scrape_series_added" L, 0);
    once(w, "a 1\nnew{x=\"1\"} 2\nnew{x=\"1\"} 3\nb oops\n");
    expect(w, "up" L, 0);
    expect(w, "a" L, STALE);
    expect(w, "scrape_samples_scraped" L, 3);
    assert_null(find(w, "new{env=\"prod\", instance=\"h:1\", job=\"j\", x=\"1\"}"));
    struct scrape_listing list;
    struct arena *a = arena_new(0);
    scrape_targets(w->s, a, &list);
    assert_int_equal(list.n, 1);
    assert_int_equal(list.targets[0].health, TARGET_DOWN);
    assert_str(list.targets[0].last_error, "4:3: a number as value expected");
    arena_free(a);
    w->status = 503;
    once(w, "a 1\n");
    expect(w, "up" L, 0);
    w->status = 200;
    w->content_type = "text/html";
    once(w, "a 1\n");
    expect(w, "up" L, 0);
    w->content_type = "application/openmetrics-text; version=1.0.0";
    once(w, "a 1\n");
    expect(w, "up" L, 0);
    once(w, "a 1\n# EOF\n");
    expect(w, "a" L, 1);
    expect(w, "up" L, 1);
    world_free(w);
}

static void timestamps(void **state)
{
    (void)state;
    struct world *w = world(ONE);
    once(w, "a 1 1699999999000\nb 1\n");
    assert_int_equal(find(w, "a" L)->t, 1699999999000);
    once(w, "");
    assert_null(find(w, "a" L)); /* no marker for a series with timestamps */
    expect(w, "b" L, STALE);
    configure(w, "scrape_configs: [{job_name: j, scrape_interval: 10s, track_timestamps_staleness: true, "
                 "static_configs: [{targets: ['h:1'], labels: {env: prod}}]}]");
    once(w, "a 1 1700000000500\n");
    once(w, "");
    expect(w, "a" L, STALE);
    configure(w, "scrape_configs: [{job_name: j, scrape_interval: 10s, honor_timestamps: false, static_configs: "
                 "[{targets: ['h:1'], labels: {env: prod}}]}]");
    once(w, "a 1 1699999999999\n");
    assert_true(find(w, "a" L)->t > T0);
    world_free(w);
}

static void labels_and_limits(void **state)
{
    (void)state;
    struct world *w =
        world("scrape_configs:\n- job_name: j\n  scrape_interval: 10s\n  params: {m: [a, 'b c']}\n  sample_limit: 2\n"
              "  static_configs: [{targets: ['h:1', 'gone:1'], labels: {env: prod}}]\n"
              "  relabel_configs:\n  - {source_labels: [__address__], regex: 'gone.*', action: drop}\n"
              "  - {source_labels: [__param_m], target_label: m}\n"
              "  metric_relabel_configs:\n  - {source_labels: [__name__], regex: 'drop_.*', action: drop}\n"
              "  - {regex: secret, action: labeldrop}\n");
    once(w, "a{job=\"theirs\",secret=\"s\",exported_job=\"x\"} 1\ndrop_me 1\n");
    assert_string_equal(w->url, "http://h:1/metrics?m=a&m=b+c");
    expect(
        w,
        "a{env=\"prod\", exported_exported_job=\"theirs\", exported_job=\"x\", instance=\"h:1\", job=\"j\", m=\"a\"}",
        1);
    expect(w, "scrape_samples_scraped{env=\"prod\", instance=\"h:1\", job=\"j\", m=\"a\"}", 2);
    expect(w, "scrape_samples_post_metric_relabeling{env=\"prod\", instance=\"h:1\", job=\"j\", m=\"a\"}", 1);
    once(w, "a 1\nb 2\nc 3\n");
    expect(w, "up{env=\"prod\", instance=\"h:1\", job=\"j\", m=\"a\"}", 0);
    expect(w, "scrape_samples_scraped{env=\"prod\", instance=\"h:1\", job=\"j\", m=\"a\"}", 3);
    struct scrape_listing list;
    struct arena *a = arena_new(0);
    scrape_targets(w->s, a, &list);
    assert_int_equal(list.n, 2);
    assert_int_equal(list.pools[0].dropped, 1);
    bool dropped = list.targets[0].dropped;
    assert_true(dropped != list.targets[1].dropped);
    const struct scrape_target_info *t = &list.targets[dropped ? 1 : 0];
    assert_str(t->last_error, "sample limit exceeded");
    assert_str(labels_get(t->discovered, STR("__scrape_interval__")), "10s");
    assert_str(labels_get(t->discovered, STR("__address__")), "h:1");
    arena_free(a);
    configure(w, "scrape_configs: [{job_name: j, scrape_interval: 10s, honor_labels: true, label_limit: 5, "
                 "static_configs: [{targets: ['h:1'], labels: {env: prod}}]}]");
    once(w, "a{job=\"theirs\"} 1\n");
    expect(w, "a{env=\"prod\", instance=\"h:1\", job=\"theirs\"}", 1);
    expect(w, "up" L, 1);
    once(w, "a{x=\"1\",y=\"2\"} 1\n");
    expect(w, "up" L, 0);
    world_free(w);
}

static void a_removed_target_goes_stale_later(void **state)
{
    (void)state;
    struct world *w = world(ONE);
    once(w, "a 1\n");
    int64_t last = find(w, "a" L)->t;
    configure(w, "scrape_configs: []");
    vec_reset(&w->log);
    live(w, 19000);
    assert_int_equal(w->log.n, 0);
    live(w, 3000);
    expect(w, "a" L, STALE);
    expect(w, "up" L, STALE);
    assert_int_equal(find(w, "a" L)->t, last + 10000);
    assert_true(find(w, "a" L)->exact);
    size_t n = w->log.n;
    live(w, 60000);
    assert_int_equal(w->log.n, n);
    world_free(w);
}

static void a_target_that_comes_back_is_not_stale(void **state)
{
    (void)state;
    struct world *w = world(ONE);
    once(w, "a 1\n");
    configure(w, "scrape_configs: []");
    live(w, 5000);
    configure(w, ONE);
    vec_reset(&w->log);
    live(w, 60000);
    for (size_t i = 0; i < w->log.n; i++)
        assert_false(is_stale(w->log.v[i].v));
    expect(w, "a" L, 1);
    world_free(w);
}

static void reload_keeps_what_did_not_change(void **state)
{
    (void)state;
    struct world *w = world(ONE);
    once(w, "a 1\nb 1\n");
    w->with_labels = 0;
    configure(w, "# a comment\n" ONE);
    once(w, "a 2\nb 2\n");
    assert_int_equal(w->with_labels, 0);
    /* New relabelling: b disappears and ends, a goes on. */
    configure(w, "scrape_configs: [{job_name: j, scrape_interval: 10s, static_configs: [{targets: ['h:1'], labels: "
                 "{env: prod}}], "
                 "metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]}]");
    once(w, "a 3\nb 3\n");
    expect(w, "a" L, 3);
    expect(w, "b" L, STALE);
    world_free(w);
}

static void collect_two(void *ctx, struct metrics_out *o)
{
    o->family(o, STR("node_x"), STR("An \"x\"\nof two lines"), METRIC_GAUGE);
    struct metric_label l[] = {{STR("path"), STR("a\"b\\c\n")}, {STR("job"), STR("mine")}};
    o->sample(o, STR(""), l, *(int *)ctx, 7);
    o->family(o, STR("node_bad"), STR(""), METRIC_COUNTER);
    l[0].value = STR("\xff");
    o->sample(o, STR("_total"), l, 1, 8);
}

static void internal_targets(void **state)
{
    (void)state;
    struct world *w = world(NULL);
    int n = 2;
    struct scrape_internal i = {
        .job = STR("node"), .instance = STR("me"), .interval_ms = 5000, .fn = collect_two, .ctx = &n};
    uint64_t id = scrape_add_internal(w->s, &i);
    live(w, 1);
    expect(w, "node_x{exported_job=\"mine\", instance=\"me\", job=\"node\", path=\"a\\\"b\\\\c\\n\"}", 7);
    expect(w, "node_bad_total{instance=\"me\", job=\"node\", path=\"\xef\xbf\xbd\"}", 8);
    expect(w, "up{instance=\"me\", job=\"node\"}", 1);
    assert_non_null(strstr(w->metadata, "node_x|gauge|An \"x\"\nof two lines|;"));
    n = 1;
    live(w, 5000);
    expect(w, "node_x{exported_job=\"mine\", instance=\"me\", job=\"node\", path=\"a\\\"b\\\\c\\n\"}", STALE);
    expect(w, "node_x{instance=\"me\", job=\"node\", path=\"a\\\"b\\\\c\\n\"}", 7);
    struct arena *a = arena_new(0);
    struct scrape_meta *m;
    size_t n_m;
    scrape_metadata(w->s, NULL, 0, STR("node_bad"), 0, a, &m, &n_m);
    assert_int_equal(n_m, 1);
    assert_str(m[0].type, "counter");
    arena_free(a);
    vec_reset(&w->log);
    scrape_remove_internal(w->s, id);
    live(w, 20000);
    expect(w, "up{instance=\"me\", job=\"node\"}", STALE);
    world_free(w);
}

static void target_limit_is_reported(void **state)
{
    (void)state;
    struct world *w = world("scrape_configs: [{job_name: j, scrape_interval: 10s, target_limit: 1, static_configs: "
                            "[{targets: ['a:1', 'b:1']}]}]");
    w->body = "x 1\n";
    live(w, 11000);
    assert_int_equal(w->asked, 0);
    expect(w, "up{instance=\"a:1\", job=\"j\"}", 0);
    expect(w, "up{instance=\"b:1\", job=\"j\"}", 0);
    world_free(w);
}

/* Random bodies against the obvious model: after each scrape, exactly the series of the last body are live. */
static void staleness_agrees_with_a_model(void **state)
{
    (void)state;
    struct world *w = world(ONE);
    struct rand_state r;
    rand_seed(&r, test_seed());
    bool live_now[8] = {false};
    for (unsigned round = 0; round < test_rounds(300); round++) {
        char body[512] = "";
        size_t n = 0;
        bool in[8] = {false}, fails = rand_below(&r, 8) == 0;
        unsigned k = (unsigned)rand_below(&r, 10);
        for (unsigned i = 0; i < k; i++) {
            unsigned x = (unsigned)rand_below(&r, 8);
            in[x] = true;
            if (rand_below(&r, 4) == 0)
                n += (size_t)snprintf(body + n, sizeof(body) - n, "# TYPE s%u gauge\n", x);
            n += (size_t)snprintf(body + n, sizeof(body) - n, "s%u %u\n", x, round);
        }
        if (fails)
            (void)snprintf(body + n, sizeof(body) - n, "broken\n");
        once(w, body);
        if (getenv("HUNE_TEST_TRACE"))
            print_message("-- round %u\n%s", round, body);
        for (unsigned x = 0; x < 8; x++) {
            char series[128];
            (void)snprintf(series, sizeof(series), "s%u" L, x);
            if (in[x] && !fails)
                expect(w, series, round);
            else if (live_now[x])
                expect(w, series, STALE);
            else if (find(w, series))
                fail_msg("round %u: %s must not be written", round, series);
            live_now[x] = in[x] && !fails;
        }
        vec_reset(&w->log);
    }
    world_free(w);
}

/* The real thread and the real HTTP client: listings, additions and removals from here while it works. */
static void threads_talk_by_message(void **state)
{
    (void)state;
    struct world *w = world(NULL);
    scrape_free(w->s);
    struct scrape_options o = {.sink = &w->sink};
    w->s = scrape_new(&o);
    configure(w,
              "scrape_configs: [{job_name: j, scrape_interval: 50ms, static_configs: [{targets: ['127.0.0.1:1']}]}]");
    assert_int_equal(scrape_start(w->s), 0);
    int n = 2;
    bool down = false, up = false;
    for (int round = 0; round < 500 && !(down && up); round++) {
        struct scrape_internal i = {
            .job = STR("node"), .instance = STR("me"), .interval_ms = 5, .fn = collect_two, .ctx = &n};
        uint64_t id = scrape_add_internal(w->s, &i);
        struct timespec pause = {.tv_nsec = 10000000};
        (void)nanosleep(&pause, NULL);
        _cleanup_arena_ struct arena *a = arena_new(0);
        struct scrape_listing list;
        scrape_targets(w->s, a, &list);
        assert_int_equal(list.n, 2);
        for (size_t k = 0; k < list.n; k++) {
            down |= list.targets[k].health == TARGET_DOWN && list.targets[k].last_error.n > 0;
            up |= list.targets[k].health == TARGET_UP && list.targets[k].internal;
        }
        scrape_remove_internal(w->s, id);
    }
    assert_true(down && up);
    w->s = scrape_free(w->s);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scrape_and_its_reports),
        cmocka_unit_test(vanished_series_end),
        cmocka_unit_test(a_failed_scrape_ends_everything),
        cmocka_unit_test(timestamps),
        cmocka_unit_test(labels_and_limits),
        cmocka_unit_test(a_removed_target_goes_stale_later),
        cmocka_unit_test(a_target_that_comes_back_is_not_stale),
        cmocka_unit_test(reload_keeps_what_did_not_change),
        cmocka_unit_test(internal_targets),
        cmocka_unit_test(target_limit_is_reported),
        cmocka_unit_test(staleness_agrees_with_a_model),
        cmocka_unit_test(threads_talk_by_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* The bounded pool for slow requests. Threads start when work waits and none is free, and leave after 30 s without any,
 * so that an idle server holds none of their stacks. */
#include "net/server_int.h"

#include "base/limits.h"

#define IDLE_S 30

void workers_init(struct http_server *s)
{
    pthread_mutex_init(&s->work_lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->work_cond, &attr);
    pthread_cond_init(&s->work_idle, &attr);
    pthread_condattr_destroy(&attr);
    s->jobs_tail = &s->jobs;
}

void workers_done(struct http_server *s)
{
    ASSERT(s->n_threads == 0 && !s->jobs);
    pthread_mutex_destroy(&s->work_lock);
    pthread_cond_destroy(&s->work_cond);
    pthread_cond_destroy(&s->work_idle);
}

static struct http_req *take(struct http_server *s)
{
    struct http_req *r = s->jobs;
    if (r) {
        s->jobs = r->next_job;
        if (!s->jobs)
            s->jobs_tail = &s->jobs;
        metric_set(&server_metrics[M_QUEUE], (int64_t)--s->n_jobs);
        r->next_job = NULL;
    }
    return r;
}

static void *worker(void *arg)
{
    struct http_server *s = arg;
    pthread_mutex_lock(&s->work_lock);
    for (;;) {
        struct http_req *r = take(s);
        if (!r) {
            if (s->stopping)
                break;
            struct timespec until;
            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_sec += IDLE_S;
            s->n_waiting++;
            int w = pthread_cond_timedwait(&s->work_cond, &s->work_lock, &until);
            s->n_waiting--;
            if (w == ETIMEDOUT && !s->jobs)
                break;
            continue;
        }
        metric_set(&server_metrics[M_WORKERS], (int64_t)++s->n_running);
        pthread_mutex_unlock(&s->work_lock);
        if (s->stopping)
            req_refuse(r, 503, "the server is stopping");
        else if (r->cancelled)
            req_refuse(r, 499, "the client has gone"); /* while it waited: nobody wants the work */
        else
            r->job(r, r->job_ctx);
        server_resume(r); /* r may be gone from here on */
        pthread_mutex_lock(&s->work_lock);
        metric_set(&server_metrics[M_WORKERS], (int64_t)--s->n_running);
    }
    s->n_threads--;
    pthread_cond_broadcast(&s->work_idle);
    pthread_mutex_unlock(&s->work_lock);
    return NULL;
}

bool workers_add(struct http_server *s, struct http_req *r)
{
    bool ok = false;
    pthread_mutex_lock(&s->work_lock);
    if (!s->stopping && s->n_jobs < (size_t)limit(http_queue)) {
        bool need = s->n_waiting <= s->n_jobs && s->n_threads < (size_t)limit(http_workers);
        pthread_t t;
        if (need && thread_start(&t, "hune-http-work", worker, s) == 0) {
            pthread_detach(t);
            s->n_threads++;
        }
        if (s->n_threads) {
            *s->jobs_tail = r;
            s->jobs_tail = &r->next_job;
            r->next_job = NULL;
            metric_set(&server_metrics[M_QUEUE], (int64_t)++s->n_jobs);
            ok = true;
            pthread_cond_signal(&s->work_cond);
        }
    }
    pthread_mutex_unlock(&s->work_lock);
    return ok;
}

void workers_stop(struct http_server *s)
{
    pthread_mutex_lock(&s->work_lock);
    pthread_cond_broadcast(&s->work_cond);
    while (s->n_threads) /* they empty the queue first */
        pthread_cond_wait(&s->work_idle, &s->work_lock);
    pthread_mutex_unlock(&s->work_lock);
}

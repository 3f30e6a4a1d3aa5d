// SPDX-License-Identifier: Apache-2.0
#include "control/control.h"

#include "base/bytes.h"

const char *const control_state_names[CS_COUNT] = {
    [CS_STOPPED] = "stopped",   [CS_LAUNCHING] = "launching",     [CS_ONLINE] = "online",
    [CS_STOPPING] = "stopping", [CS_WAITING] = "waiting restart", [CS_ERRORED] = "errored",
};

const char *const control_event_names[CE_COUNT] = {
    [0] = "",
    [CE_STARTED] = "started",
    [CE_ONLINE] = "online",
    [CE_EXITED] = "exited",
    [CE_FAILED] = "failed",
    [CE_STOPPING] = "stopping",
    [CE_STOPPED] = "stopped",
    [CE_GIVEN_UP] = "given_up",
    [CE_ADDED] = "added",
    [CE_DELETED] = "deleted",
    [CE_ADOPTED] = "adopted",
    [CE_KILLED] = "killed",
};

int control_parse(struct str in, size_t max, struct control_frame *ret, size_t *ret_used)
{
    if (in.n < CONTROL_HEAD_BYTES)
        return 1;
    uint32_t n = get_u32le(in.p);
    if (n > max)
        return -EMSGSIZE;
    if (get_u16le(in.p + 6) != 0)
        return -EBADMSG;
    if (in.n - CONTROL_HEAD_BYTES < n)
        return 1;
    struct str body = str_make(in.p + CONTROL_HEAD_BYTES, n);
    /* Every field is checked here once, so that control_field() needs no error of its own. */
    for (size_t at = 0; at < body.n;) {
        if (body.n - at < CONTROL_FIELD_BYTES)
            return -EBADMSG;
        uint32_t len = get_u32le(body.p + at + 2);
        if (len > body.n - at - CONTROL_FIELD_BYTES)
            return -EBADMSG;
        at += CONTROL_FIELD_BYTES + len;
    }
    *ret = (struct control_frame){.type = get_u16le(in.p + 4), .id = get_u32le(in.p + 8), .body = body};
    *ret_used = CONTROL_HEAD_BYTES + (size_t)n;
    return 0;
}

bool control_field(struct str *body, uint16_t *ret_tag, struct str *ret_value)
{
    if (body->n < CONTROL_FIELD_BYTES)
        return false;
    uint32_t len = get_u32le(body->p + 2);
    ASSERT(len <= body->n - CONTROL_FIELD_BYTES);
    *ret_tag = get_u16le(body->p);
    *ret_value = str_make(body->p + CONTROL_FIELD_BYTES, len);
    *body = str_make(body->p + CONTROL_FIELD_BYTES + len, body->n - CONTROL_FIELD_BYTES - len);
    return true;
}

uint64_t control_number(struct str value)
{
    return value.n == 8 ? get_u64le(value.p) : 0;
}

struct str control_get(struct str body, enum control_tag tag)
{
    uint16_t t;
    struct str v;
    while (control_field(&body, &t, &v))
        if (t == tag)
            return v;
    return STR_NULL;
}

uint64_t control_get_u64(struct str body, enum control_tag tag, uint64_t dflt)
{
    struct str v = control_get(body, tag);
    return v.n == 8 ? get_u64le(v.p) : dflt;
}

size_t control_begin(struct buf *b, enum control_type type, uint32_t id)
{
    size_t at = b->n;
    uint8_t head[CONTROL_HEAD_BYTES] = {0};
    put_u16le(head + 4, (uint16_t)type);
    put_u32le(head + 8, id);
    buf_put(b, head, sizeof(head));
    return at;
}

void control_put(struct buf *b, enum control_tag tag, struct str value)
{
    uint8_t head[CONTROL_FIELD_BYTES];
    put_u16le(head, (uint16_t)tag);
    put_u32le(head + 2, (uint32_t)value.n);
    if (value.n > UINT32_MAX || buf_reserve(b, sizeof(head) + value.n) != 0) {
        b->err = -EMSGSIZE;
        return;
    }
    buf_put(b, head, sizeof(head));
    buf_put(b, value.p, value.n);
}

void control_put_u64(struct buf *b, enum control_tag tag, uint64_t value)
{
    char v[8];
    put_u64le(v, value);
    control_put(b, tag, str_make(v, 8));
}

void control_end(struct buf *b, size_t begin)
{
    if (buf_error(b))
        return; /* whoever sends looks at the error */
    put_u32le(b->p + begin, (uint32_t)(b->n - begin - CONTROL_HEAD_BYTES));
}

void control_proc_read(struct str body, struct control_proc *ret)
{
    struct control_proc p = {.body = body};
    uint16_t tag;
    struct str v;
    while (control_field(&body, &tag, &v)) {
        uint64_t u = control_number(v);
        switch (tag) {
        case CT_ID:
            p.id = (uint32_t)u;
            break;
        case CT_INSTANCE:
            p.instance = (uint32_t)u;
            break;
        case CT_INSTANCES:
            p.instances = (uint32_t)u;
            break;
        case CT_PID:
            p.pid = (pid_t)u;
            break;
        case CT_STATE:
            p.state = u < CS_COUNT ? (enum control_state)u : CS_ERRORED;
            break;
        case CT_EVENT:
            p.event = u < CE_COUNT ? (enum control_event)u : 0;
            break;
        case CT_RESTARTS:
            p.restarts = u;
            break;
        case CT_UNSTABLE:
            p.unstable = u;
            break;
        case CT_UPTIME_MS:
            p.uptime_ms = u;
            break;
        case CT_DELAY_MS:
            p.delay_ms = u;
            break;
        case CT_LOG_LOST:
            p.log_lost = u;
            break;
        case CT_CREATED_MS:
            p.created_ms = (int64_t)u;
            break;
        case CT_STARTED_MS:
            p.started_ms = (int64_t)u;
            break;
        case CT_AT_MS:
            p.at_ms = (int64_t)u;
            break;
        case CT_EXITED:
            p.exited = u != 0;
            break;
        case CT_CODE:
            p.exit_code = (int)u;
            break;
        case CT_SIGNAL:
            p.exit_signal = (int)u;
            break;
        case CT_NAME:
            p.name = v;
            break;
        case CT_NAMESPACE:
            p.namespace_ = v;
            break;
        case CT_SCRIPT:
            p.script = v;
            break;
        case CT_INTERPRETER:
            p.interpreter = v;
            break;
        case CT_CWD:
            p.cwd = v;
            break;
        case CT_OUT_FILE:
            p.out_file = v;
            break;
        case CT_ERR_FILE:
            p.err_file = v;
            break;
        case CT_TEXT:
            p.text = v;
            break;
        case CT_AUTORESTART:
            p.autorestart = u != 0;
            break;
        case CT_MAX_RESTARTS:
            p.max_restarts = u;
            break;
        case CT_MIN_UPTIME_MS:
            p.min_uptime_ms = u;
            break;
        case CT_RESTART_DELAY_MS:
            p.restart_delay_ms = u;
            break;
        case CT_BACKOFF_MS:
            p.backoff_ms = u;
            break;
        case CT_KILL_TIMEOUT_MS:
            p.kill_timeout_ms = u;
            break;
        case CT_KILL_SIGNAL:
            p.kill_signal = u;
            break;
        default:
            break; /* ARG, ENV ... stay in body; tags of a newer peer are skipped */
        }
    }
    *ret = p;
}

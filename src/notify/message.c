// SPDX-License-Identifier: Apache-2.0
/* What is sent: webhook version 4, Discord embeds, mail with a text and an HTML part. Our own default texts say what,
 * how bad, since when, on what, and where to look, in English or French; templates of the configuration take their
 * place where given. */
#include "notify/notify_int.h"
#include "base/format.h"
#include "sys/fs.h"

#define MESSAGE_MAX (8u << 20)
#define DISCORD_TITLE 256 /* characters; discord.com/developers/docs/resources/message, embed limits */
#define DISCORD_TEXT 4096
#define DISCORD_CONTENT 2000
#define SHOWN_ALERTS 20

static void put_time(struct buf *b, int64_t ms)
{
    time_format_go(b, ms, STR("2006-01-02T15:04:05.999999999Z07:00"), 0, STR("UTC"));
}

static void kv_time(struct jw *w, const char *key, int64_t ms)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    put_time(&b, ms ? ms : TIME_ZERO_MS);
    jw_kstr(w, key, buf_view(&b));
}

static struct str keep(struct notify_job *j, struct buf *b)
{
    struct str s = arena_str(j->mem, buf_view(b));
    buf_done(b);
    return s;
}

static int read_secret(struct notify_job *j, struct str file, struct str *ret, struct err *e)
{
    struct buf b = BUF_INIT(64 << 10);
    char *path = arena_strz(j->mem, file);
    int r = fs_read_file(path, &b);
    if (r)
        err_set(e, "%s: %s", path, err_name(r));
    else
        *ret = arena_str(j->mem, str_trim(buf_view(&b)));
    buf_done(&b);
    return r ? -EINVAL : 0;
}

static int target_url(struct notify_job *j, struct err *e)
{
    int r = 0;
    j->msg.url = j->in->url;
    if (j->in->url_file.n)
        r = read_secret(j, j->in->url_file, &j->msg.url, e);
    else
        r = job_expand(j, "url", j->in->url, false, &j->msg.url, e);
    return r;
}

/* ---- webhook ---- */

static void put_alert(struct jw *w, const struct job_alert *x)
{
    char fp[20];
    jw_obj(w);
    jw_kz(w, "status", x->a.resolved ? "resolved" : "firing");
    jw_key(w, "labels");
    labels_json(w, x->a.labels);
    jw_key(w, "annotations");
    labels_json(w, x->a.annotations);
    kv_time(w, "startsAt", x->a.starts_ms);
    kv_time(w, "endsAt", x->a.ends_ms);
    jw_kstr(w, "generatorURL", x->a.generator_url);
    snprintf(fp, sizeof(fp), "%016llx", (unsigned long long)x->fp);
    jw_kz(w, "fingerprint", fp);
    jw_end(w);
}

/* A payload of the user's own: the same shape, every text a template. */
static int put_payload(struct notify_job *j, struct jw *w, const struct yaml_node *n, struct err *e)
{
    struct str s;
    int r = 0;
    bool flag;
    switch (n->kind) {
    case YAML_NULL:
        jw_null(w);
        return 0;
    case YAML_SCALAR:
        if (!n->quoted && yaml_bool(n, &flag)) {
            jw_bool(w, flag);
            return 0;
        }
        r = job_expand(j, "payload", n->s, false, &s, e);
        if (!r)
            jw_str(w, s);
        return r;
    case YAML_SEQ:
        jw_arr(w);
        for (size_t i = 0; i < n->n && !r; i++)
            r = put_payload(j, w, n->items[i], e);
        jw_end(w);
        return r;
    case YAML_MAP:
        jw_obj(w);
        for (size_t i = 0; i < n->n && !r; i++) {
            jw_key_str(w, n->keys[i]->s);
            r = put_payload(j, w, n->items[i], e);
        }
        jw_end(w);
        return r;
    }
    return 0;
}

static int webhook(struct notify_job *j, struct err *e)
{
    struct buf b = BUF_INIT(MESSAGE_MAX);
    struct jw w;
    jw_init(&w, &b);
    int r = 0;
    if (j->in->payload && j->in->payload->kind != YAML_NULL) {
        r = put_payload(j, &w, j->in->payload, e);
    } else {
        size_t shown =
            j->in->max_alerts && (size_t)j->in->max_alerts < j->n_alerts ? (size_t)j->in->max_alerts : j->n_alerts;
        jw_obj(&w);
        jw_kstr(&w, "receiver", j->receiver);
        jw_kz(&w, "status", job_firing(j) ? "firing" : "resolved");
        jw_key(&w, "alerts");
        jw_arr(&w);
        for (size_t i = 0; i < shown; i++)
            put_alert(&w, &j->alerts[i]);
        jw_end(&w);
        jw_key(&w, "groupLabels");
        labels_json(&w, j->group_labels);
        jw_key(&w, "commonLabels");
        labels_json(&w, job_common(j, j->mem, false));
        jw_key(&w, "commonAnnotations");
        labels_json(&w, job_common(j, j->mem, true));
        jw_kstr(&w, "externalURL", j->n->o.external_url);
        jw_kz(&w, "version", "4");
        jw_kstr(&w, "groupKey", j->group_key);
        jw_ki64(&w, "truncatedAlerts", (int64_t)(j->n_alerts - shown));
        jw_kstr(&w, "notification_reason", j->reason);
        if (j->route_labels.n) {
            struct tval l = route_labels_of(j);
            jw_key(&w, "routeLabels");
            jw_obj(&w);
            for (size_t i = 0; i < l.map->n; i++) {
                jw_key_str(&w, l.map->v[i].key);
                jw_str(&w, l.map->v[i].value.s);
            }
            jw_end(&w);
        }
        jw_end(&w);
    }
    if (!r && buf_error(&b)) {
        err_set(e, "the message is longer than %u bytes; set max_alerts", MESSAGE_MAX);
        r = -EINVAL;
    }
    j->msg.body = keep(j, &b);
    j->msg.content_type = STR("application/json");
    j->msg.timeout_ms = j->in->timeout_ms;
    return r ? r : target_url(j, e);
}

/* ---- our own words ---- */

enum word {
    W_CRITICAL,
    W_WARNING,
    W_INFO,
    W_FIRING,
    W_RESOLVED,
    W_SINCE,
    W_LASTED,
    W_ON,
    W_SEE,
    W_RUNBOOK,
    W_MORE,
    W_VALUE,
    W_OPEN,
    W_ADVICE,
    W_COUNT
};
static const char *const words[2][W_COUNT] = {
    {"CRITICAL", "WARNING", "INFO", "FIRING", "RESOLVED", "since", "lasted", "on", "look at it", "runbook", "more",
     "value", "Open hune", "What to do"},
    {"CRITIQUE", "ATTENTION", "INFO", "EN COURS", "R\xc3\x89SOLU", "depuis",
     "dur\xc3\xa9"
     "e",
     "sur", "voir",
     "proc\xc3\xa9"
     "dure",
     "de plus", "valeur", "Ouvrir hune", "Que faire"},
};
/* A shape and a word, never a colour alone. */
static const char *const shapes[] = {"\xe2\x97\x8f", "\xe2\x97\x8f", "\xe2\x97\x86",
                                     "\xe2\x96\xb2"}; /* by enum severity */
static const unsigned colors[] = {0x607d8b, 0x1e88e5, 0xf9a825, 0xd32f2f};

struct look {
    bool fr, firing;
    enum severity worst;
    size_t n_firing, n_resolved;
};

static const char *say(const struct look *l, enum word w)
{
    return words[l->fr][w];
}

static struct look look_of(const struct notify_job *j)
{
    struct look l = {.fr = str_eqz(j->n->o.language, "fr")};
    for (size_t i = 0; i < j->n_alerts; i++) {
        enum severity s = severity_parse(labels_get(j->alerts[i].a.labels, STR("severity")));
        l.worst = MAX(l.worst, s);
        if (j->alerts[i].a.resolved)
            l.n_resolved++;
        else
            l.n_firing++;
    }
    l.firing = l.n_firing > 0;
    return l;
}

static const char *shape(const struct look *l)
{
    return l->firing ? shapes[l->worst] : "\xe2\x9c\x94";
}

static const char *level(const struct look *l)
{
    if (!l->firing)
        return say(l, W_RESOLVED);
    return l->worst == SEV_CRITICAL  ? say(l, W_CRITICAL)
           : l->worst == SEV_WARNING ? say(l, W_WARNING)
           : l->worst == SEV_INFO    ? say(l, W_INFO)
                                     : say(l, W_FIRING);
}

static struct str own_text(const struct look *l, struct labels annotations, const char *name)
{
    char fr[64];
    snprintf(fr, sizeof(fr), "%s_fr", name);
    struct str s = l->fr ? labels_get(annotations, str_of(fr)) : STR_NULL;
    return s.n ? s : labels_get(annotations, str_of(name));
}

static void title(const struct notify_job *j, const struct look *l, struct buf *b)
{
    struct labels c = job_common(j, j->mem, false), ann = job_common(j, j->mem, true);
    struct str name = labels_get(c, STR("alertname")), summary = own_text(l, ann, "summary");
    buf_fmt(b, "%s %s", shape(l), level(l));
    if (l->n_firing + l->n_resolved > 1)
        buf_fmt(b, " \xc3\x97%zu", l->firing ? l->n_firing : l->n_resolved);
    buf_z(b, ": ");
    if (summary.n)
        buf_str(b, summary);
    else if (name.n)
        buf_str(b, name);
    else if (j->n_alerts)
        buf_str(b, labels_get(j->alerts[0].a.labels, STR("alertname")));
}

static void when(const struct notify_job *j, const struct look *l, const struct alert *x, struct buf *b)
{
    int64_t now = clock_now_ms(j->n->o.clock);
    if (x->resolved) {
        buf_fmt(b, "%s ", say(l, W_LASTED));
        format_duration_human(b, MAX(x->ends_ms - x->starts_ms, 0));
    } else {
        buf_fmt(b, "%s ", say(l, W_SINCE));
        time_format_go(b, x->starts_ms, STR("2006-01-02 15:04:05 UTC"), 0, STR("UTC"));
        buf_z(b, " (");
        format_duration_human(b, MAX(now - x->starts_ms, 0));
        buf_putc(b, ')');
    }
}

/* Labels that tell this alert from others: no alertname, no severity. */
static void where(struct labels l, struct buf *b)
{
    bool any = false;
    for (size_t i = 0; i < l.n; i++) {
        if (str_eqz(l.v[i].name, "alertname") || str_eqz(l.v[i].name, "severity"))
            continue;
        if (any)
            buf_z(b, ", ");
        any = true;
        buf_fmt(b, STR_FMT "=" STR_FMT, STR_ARG(l.v[i].name), STR_ARG(l.v[i].value));
    }
}

static void page_url(const struct notify_job *j, struct buf *b)
{
    buf_str(b, j->n->o.external_url);
    buf_z(b, "/#/alerts?receiver=");
    url_query_escape(b, j->receiver);
}

static void plain_text(const struct notify_job *j, const struct look *l, struct buf *b, bool markdown)
{
    for (size_t i = 0; i < j->n_alerts && i < SHOWN_ALERTS; i++) {
        const struct alert *x = &j->alerts[i].a;
        struct look one = {
            .fr = l->fr, .firing = !x->resolved, .worst = severity_parse(labels_get(x->labels, STR("severity")))};
        struct str summary = own_text(l, x->annotations, "summary"), text = own_text(l, x->annotations, "description");
        struct str runbook = labels_get(x->annotations, STR("runbook_url"));
        const char *bold = markdown ? "**" : "";
        buf_fmt(b, "%s%s %s " STR_FMT "%s", bold, shape(&one), level(&one),
                STR_ARG(labels_get(x->labels, STR("alertname"))), bold);
        if (summary.n)
            buf_fmt(b, ": " STR_FMT, STR_ARG(summary));
        buf_putc(b, '\n');
        if (text.n)
            buf_fmt(b, STR_FMT "\n", STR_ARG(text));
        when(j, l, x, b);
        buf_fmt(b, "; %s ", say(l, W_ON));
        where(x->labels, b);
        buf_putc(b, '\n');
        if (runbook.n)
            buf_fmt(b, "%s: " STR_FMT "\n", say(l, W_RUNBOOK), STR_ARG(runbook));
        if (x->generator_url.n)
            buf_fmt(b, "%s: " STR_FMT "\n", say(l, W_SEE), STR_ARG(x->generator_url));
        buf_putc(b, '\n');
    }
    if (j->n_alerts > SHOWN_ALERTS)
        buf_fmt(b, "+ %zu %s\n", j->n_alerts - SHOWN_ALERTS, say(l, W_MORE));
    buf_fmt(b, "%s: ", say(l, W_OPEN));
    page_url(j, b);
    buf_putc(b, '\n');
}

/* ---- Discord ---- */

static struct str cut_chars(struct notify_job *j, struct str s, size_t max)
{
    size_t chars = 0, i = 0, last = 0;
    for (; i < s.n; i++)
        if (((unsigned char)s.p[i] & 0xc0) != 0x80) {
            if (chars == max - 1)
                last = i;
            if (chars++ == max)
                break;
        }
    return i < s.n ? arena_fmt(j->mem, STR_FMT "\xe2\x80\xa6", STR_ARG(str_sub(s, 0, last))) : s;
}

static int discord(struct notify_job *j, struct err *e)
{
    struct look l = look_of(j);
    struct str head = STR_NULL, text = STR_NULL, content = STR_NULL;
    int r;
    if (j->in->title.n) {
        if ((r = job_expand(j, "title", j->in->title, false, &head, e)))
            return r;
    } else {
        struct buf b = BUF_INIT(64 << 10);
        title(j, &l, &b);
        head = keep(j, &b);
    }
    if (j->in->message.n) {
        if ((r = job_expand(j, "message", j->in->message, false, &text, e)))
            return r;
    } else {
        struct buf b = BUF_INIT(1 << 20);
        plain_text(j, &l, &b, true);
        text = keep(j, &b);
    }
    if (j->in->content.n && (r = job_expand(j, "content", j->in->content, false, &content, e)))
        return r;
    struct buf b = BUF_INIT(MESSAGE_MAX), link = BUF_INIT(8192);
    struct jw w;
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kstr(&w, "content", cut_chars(j, content, DISCORD_CONTENT));
    if (j->in->username.n)
        jw_kstr(&w, "username", j->in->username);
    if (j->in->avatar_url.n)
        jw_kstr(&w, "avatar_url", j->in->avatar_url);
    jw_key(&w, "embeds");
    jw_arr(&w);
    jw_obj(&w);
    jw_kstr(&w, "title", cut_chars(j, head, DISCORD_TITLE));
    jw_kstr(&w, "description", cut_chars(j, text, DISCORD_TEXT));
    jw_ki64(&w, "color", l.firing ? colors[l.worst] : 0x2e7d32);
    page_url(j, &link);
    if (str_starts(buf_view(&link), STR("http")))
        jw_kstr(&w, "url", buf_view(&link));
    jw_end(&w);
    jw_end(&w);
    /* Nobody is pinged because a label reads @everyone; `content` is the team's own text. */
    jw_key(&w, "allowed_mentions");
    jw_raw(&w, content.n ? STR("{\"parse\":[\"roles\",\"users\",\"everyone\"]}") : STR("{\"parse\":[]}"));
    jw_end(&w);
    buf_done(&link);
    j->msg.body = keep(j, &b);
    j->msg.content_type = STR("application/json");
    return target_url(j, e);
}

/* ---- mail ---- */

static void html(const struct notify_job *j, const struct look *l, struct buf *b)
{
    struct buf t = BUF_INIT(1 << 20);
    buf_fmt(b,
            "<!DOCTYPE html><html lang=\"%s\"><head><meta charset=\"utf-8\"></head>"
            "<body style=\"margin:0;padding:24px;background:#f4f5f7;font-family:sans-serif;color:#1c1e21\">"
            "<div style=\"max-width:640px;margin:0 auto;background:#ffffff;border:1px solid #dddfe2\">"
            "<div style=\"padding:16px 20px;color:#ffffff;background:#%06x;font-size:18px;font-weight:bold\">",
            l->fr ? "fr" : "en", l->firing ? (l->worst == SEV_WARNING ? 0x9a6700 : colors[l->worst]) : 0x2e7d32);
    title(j, l, &t);
    html_escape(b, buf_view(&t));
    buf_z(b, "</div>");
    for (size_t i = 0; i < j->n_alerts && i < SHOWN_ALERTS; i++) {
        const struct alert *x = &j->alerts[i].a;
        struct look one = {
            .fr = l->fr, .firing = !x->resolved, .worst = severity_parse(labels_get(x->labels, STR("severity")))};
        struct str summary = own_text(l, x->annotations, "summary"), text = own_text(l, x->annotations, "description");
        struct str runbook = labels_get(x->annotations, STR("runbook_url"));
        buf_fmt(b, "<div style=\"padding:16px 20px;border-top:1px solid #dddfe2\"><b>%s %s ", shape(&one), level(&one));
        html_escape(b, labels_get(x->labels, STR("alertname")));
        buf_z(b, "</b>");
        if (summary.n) {
            buf_z(b, "<div style=\"margin-top:6px\">");
            html_escape(b, summary);
            buf_z(b, "</div>");
        }
        if (text.n) {
            buf_z(b, "<div style=\"margin-top:6px;color:#4b4f56\">");
            html_escape(b, text);
            buf_z(b, "</div>");
        }
        buf_reset(&t);
        when(j, l, x, &t);
        buf_z(b, "<div style=\"margin-top:8px;font-size:13px;color:#606770\">");
        html_escape(b, buf_view(&t));
        buf_z(b, "<br>");
        buf_reset(&t);
        where(x->labels, &t);
        html_escape(b, buf_view(&t));
        buf_z(b, "</div>");
        const struct {
            struct str url;
            enum word word;
        } links[] = {{runbook, W_RUNBOOK}, {x->generator_url, W_SEE}};
        for (size_t k = 0; k < ARRAY_LEN(links); k++) {
            if (!str_starts(links[k].url, STR("http://")) && !str_starts(links[k].url, STR("https://")))
                continue;
            buf_z(b, "<a style=\"margin-right:16px\" href=\"");
            html_escape(b, links[k].url);
            buf_fmt(b, "\">%s</a>", say(l, links[k].word));
        }
        buf_z(b, "</div>");
    }
    if (j->n_alerts > SHOWN_ALERTS)
        buf_fmt(b, "<div style=\"padding:16px 20px\">+ %zu %s</div>", j->n_alerts - SHOWN_ALERTS, say(l, W_MORE));
    buf_z(b, "<div style=\"padding:16px 20px;border-top:1px solid #dddfe2\"><a href=\"");
    buf_reset(&t);
    page_url(j, &t);
    html_escape(b, buf_view(&t));
    buf_fmt(b, "\">%s</a></div></div></body></html>", say(l, W_OPEN));
    buf_done(&t);
}

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_b64(struct buf *b, struct str s, size_t line)
{
    size_t col = 0;
    for (size_t i = 0; i < s.n; i += 3) {
        size_t k = MIN(s.n - i, 3);
        uint32_t v = 0;
        for (size_t q = 0; q < 3; q++)
            v = v << 8 | (q < k ? (unsigned char)s.p[i + q] : 0);
        for (size_t q = 0; q < 4; q++)
            buf_putc(b, q <= k ? b64[v >> (18 - 6 * q) & 63] : '=');
        if (line && (col += 4) >= line && i + 3 < s.n) {
            buf_z(b, "\r\n");
            col = 0;
        }
    }
}

/* One header line. Nothing in a value can begin another header: line ends become blanks; what is not plain ASCII
 * becomes encoded words (RFC 2047), at most 45 bytes each, cut between characters. */
static void put_header(struct buf *b, struct str name, struct str value)
{
    bool ascii = true;
    for (size_t i = 0; i < name.n; i++) /* only printable ASCII makes a header name (RFC 5322 3.6.8) */
        if (name.p[i] <= ' ' || name.p[i] == ':' || name.p[i] == 0x7f)
            return;
    for (size_t i = 0; i < value.n; i++)
        ascii &= (unsigned char)value.p[i] < 0x7f;
    buf_str(b, name);
    buf_z(b, ": ");
    if (ascii && value.n < 900) {
        for (size_t i = 0; i < value.n; i++)
            buf_putc(b, (unsigned char)value.p[i] < ' ' ? ' ' : value.p[i]);
    } else {
        for (size_t i = 0; i < value.n;) {
            size_t k = MIN(value.n - i, 45);
            while (i + k < value.n && k > 1 && ((unsigned char)value.p[i + k] & 0xc0) == 0x80)
                k--;
            char chunk[48];
            for (size_t q = 0; q < k; q++)
                chunk[q] = (unsigned char)value.p[i + q] < ' ' ? ' ' : value.p[i + q];
            buf_z(b, i ? "\r\n =?utf-8?B?" : "=?utf-8?B?");
            put_b64(b, str_make(chunk, k), 0);
            buf_z(b, "?=");
            i += k;
        }
    }
    buf_z(b, "\r\n");
}

static void put_part(struct buf *b, struct str boundary, const char *type, struct str body)
{
    buf_fmt(b, "--" STR_FMT "\r\nContent-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
            STR_ARG(boundary), type);
    put_b64(b, body, 76);
    buf_z(b, "\r\n");
}

/* The address inside `Name <a@b>`. */
static struct str bare_address(struct str s)
{
    s = str_trim(s);
    ptrdiff_t open = str_rchr(s, '<');
    if (open >= 0 && s.n && s.p[s.n - 1] == '>')
        s = str_sub(s, (size_t)open + 1, s.n - 1);
    return s;
}

static bool safe_address(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || s.p[i] == '<' || s.p[i] == '>')
            return false;
    ptrdiff_t at = str_rchr(s, '@');
    return at > 0 && (size_t)at + 1 < s.n;
}

static int email(struct notify_job *j, struct err *e)
{
    const struct integration *in = j->in;
    struct look l = look_of(j);
    struct str to, from, subject = STR_NULL, text = STR_NULL, page = STR_NULL;
    int r;
    if ((r = job_expand(j, "to", in->to, false, &to, e)) || (r = job_expand(j, "from", in->from, false, &from, e)))
        return r;
    for (size_t i = 0; i < in->headers.n; i++)
        if (str_ieq(in->headers.v[i].key, STR("subject")) &&
            (r = job_expand(j, "subject", in->headers.v[i].value, false, &subject, e)))
            return r;
    if (in->has_html && in->html.n && (r = job_expand(j, "html", in->html, true, &page, e)))
        return r;
    if (in->has_text && in->text.n && (r = job_expand(j, "text", in->text, false, &text, e)))
        return r;
    struct buf b = BUF_INIT(MESSAGE_MAX);
    if (!subject.n) {
        title(j, &l, &b);
        subject = keep(j, &b);
        b = (struct buf)BUF_INIT(MESSAGE_MAX);
    }
    if (!page.n && !in->has_html) {
        html(j, &l, &b);
        page = keep(j, &b);
        b = (struct buf)BUF_INIT(MESSAGE_MAX);
    }
    if (!text.n) {
        plain_text(j, &l, &b, false);
        text = keep(j, &b);
        b = (struct buf)BUF_INIT(MESSAGE_MAX);
    }
    /* envelope */
    struct str *rcpt = ARENA_ARRAY(j->mem, struct str, 1000);
    size_t n_rcpt = 0;
    for (struct str rest = to, one; rest.n && n_rcpt < 1000;) {
        str_cut(rest, ',', &one, &rest);
        struct str a = bare_address(one);
        if (!a.n)
            continue;
        if (!safe_address(a)) {
            err_set(e, "to: \"" STR_FMT "\" is no mail address", STR_ARG(str_sub(one, 0, 200)));
            return -EINVAL;
        }
        rcpt[n_rcpt++] = a;
    }
    struct str sender = bare_address(from);
    if (!n_rcpt || !safe_address(sender)) {
        err_set(e, "from: \"" STR_FMT "\" is no mail address", STR_ARG(str_sub(from, 0, 200)));
        return -EINVAL;
    }
    /* message */
    uint64_t id = hash_bytes(j->msg.idempotency_key.p, j->msg.idempotency_key.n),
             thread = hash_bytes(j->group_key.p, j->group_key.n);
    struct str domain = str_sub(sender, (size_t)str_rchr(sender, '@') + 1, sender.n);
    struct str boundary = arena_fmt(j->mem, "hune-%016llx", (unsigned long long)id);
    struct buf date = BUF_INIT(64);
    time_format_go(&date, clock_now_ms(j->n->o.clock), STR("Mon, 02 Jan 2006 15:04:05 -0700"), 0, STR("UTC"));
    put_header(&b, STR("From"), from);
    put_header(&b, STR("To"), to);
    put_header(&b, STR("Subject"), subject);
    put_header(&b, STR("Date"), buf_view(&date));
    buf_done(&date);
    put_header(&b, STR("Message-ID"),
               arena_fmt(j->mem, "<%016llx@" STR_FMT ">", (unsigned long long)id, STR_ARG(domain)));
    put_header(&b, STR("References"),
               arena_fmt(j->mem, "<hune-%016llx@" STR_FMT ">", (unsigned long long)thread, STR_ARG(domain)));
    put_header(&b, STR("Auto-Submitted"), STR("auto-generated"));
    put_header(&b, STR("X-Idempotency-Key"), j->msg.idempotency_key);
    if (l.firing && l.worst == SEV_CRITICAL)
        put_header(&b, STR("X-Priority"), STR("1"));
    for (size_t i = 0; i < in->headers.n; i++) {
        static const char *const own[] = {"subject",    "from",         "to",          "date",
                                          "message-id", "mime-version", "content-type"};
        bool taken = false;
        for (size_t k = 0; k < ARRAY_LEN(own); k++)
            taken |= str_ieq(in->headers.v[i].key, str_of(own[k]));
        struct str v;
        if (taken)
            continue;
        if ((r = job_expand(j, "header", in->headers.v[i].value, false, &v, e))) {
            buf_done(&b);
            return r;
        }
        put_header(&b, in->headers.v[i].key, v);
    }
    buf_fmt(&b, "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"" STR_FMT "\"\r\n\r\n",
            STR_ARG(boundary));
    put_part(&b, boundary, "text/plain", text);
    if (page.n)
        put_part(&b, boundary, "text/html", page);
    buf_fmt(&b, "--" STR_FMT "--\r\n", STR_ARG(boundary));
    bool over = buf_error(&b);
    struct str data = keep(j, &b);
    if (over) {
        err_set(e, "the mail is longer than %u bytes", MESSAGE_MAX);
        return -EINVAL;
    }
    struct str password = in->auth_password;
    if (in->auth_password_file.n && (r = read_secret(j, in->auth_password_file, &password, e)))
        return r;
    j->mail = (struct smtp_message){.smarthost = in->smarthost,
                                    .hello = in->hello,
                                    .from = sender,
                                    .to = rcpt,
                                    .n_to = n_rcpt,
                                    .username = in->auth_username,
                                    .password = password,
                                    .require_tls = in->require_tls && !in->implicit_tls,
                                    .implicit_tls = in->implicit_tls,
                                    .config = &in->http,
                                    .data = data,
                                    .timeout_ms = 30000};
    j->msg.mail = &j->mail;
    return 0;
}

int message_build(struct notify_job *j, struct err *e)
{
    int r = j->in->kind == KIND_WEBHOOK ? webhook(j, e) : j->in->kind == KIND_DISCORD ? discord(j, e) : email(j, e);
    if (r)
        return r;
    struct http_header *h = ARENA_ARRAY(j->mem, struct http_header, 3);
    h[0] = (struct http_header){.name = STR("Content-Type"), .value = j->msg.content_type};
    h[1] = (struct http_header){.name = STR("Idempotency-Key"), .value = j->msg.idempotency_key};
    h[2] = (struct http_header){.name = STR("User-Agent"), .value = STR("hune/" HUNE_VERSION)};
    j->msg.headers = h;
    j->msg.n_headers = 3;
    j->msg.receiver = j->receiver;
    j->msg.kind = str_of(j->in->kind_name);
    j->msg.index = j->in->index;
    j->msg.group_key = j->group_key;
    j->msg.http = &j->in->http;
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/map.h"
#include "base/vec.h"
#include "template/template.h"

/* ---- tree ---- */

enum node_kind {
    NODE_TEXT,
    NODE_ACTION,
    NODE_IF,
    NODE_WITH,
    NODE_RANGE,
    NODE_TEMPLATE,
    NODE_BREAK,
    NODE_CONTINUE,
    /* expressions */
    NODE_PIPE,
    NODE_COMMAND,
    NODE_DOT,
    NODE_NIL,
    NODE_CONST, /* bool, number, string */
    NODE_FIELD, /* .A.B: on dot */
    NODE_VAR,   /* $x.A.B */
    NODE_CHAIN, /* (pipeline).A.B */
    NODE_FUNC,
};

struct node;
struct node_list {
    struct node **v;
    size_t n;
};

struct node {
    enum node_kind kind;
    uint32_t pos, end; /* bytes of the template's text */
    struct str text;   /* NODE_TEXT; NODE_TEMPLATE: name; NODE_VAR: with $; NODE_FUNC: name */
    struct tval value; /* NODE_CONST */
    const struct template_func *func;
    struct node *pipe;          /* NODE_ACTION, IF, WITH, RANGE, TEMPLATE; NODE_CHAIN: the inner */
    struct node_list list, alt; /* bodies; alt = else */
    struct node **kids;         /* NODE_PIPE: commands; NODE_COMMAND: arguments */
    size_t n_kids;
    struct str *names; /* NODE_PIPE: declared variables; fields of FIELD, VAR, CHAIN */
    size_t n_names;
    bool assign; /* NODE_PIPE: `=` instead of `:=` */
};

struct tmpl {                      /* one named template */
    struct str name, file, source; /* file: the name it was parsed under */
    struct node_list body;
};

struct template_set {
    const struct template_set *parent;
    const struct template_func *funcs;
    struct arena *arena;
    struct map templates; /* name -> struct tmpl */
};

#define TEMPLATE_NEST_MAX 100  /* blocks and parentheses within each other */
#define TEMPLATE_DEPTH_MAX 400 /* nested bodies and calls while executing: about 400 KiB of stack */

const struct template_func *template_find_func(const struct template_set *s, struct str name);
const struct tmpl *template_find(const struct template_set *s, struct str name);
extern const struct template_func template_builtins[];

/* ---- execution ---- */

struct variable {
    struct str name;
    struct tval value;
};

enum html_state {
    HTML_TEXT,
    HTML_TAG_OPEN, /* after < */
    HTML_TAG,      /* inside a tag, between attributes */
    HTML_ATTR_NAME,
    HTML_AFTER_NAME,
    HTML_BEFORE_VALUE,
    HTML_VALUE,
    HTML_RAW, /* script, style, textarea, title: up to the end tag */
    HTML_COMMENT,
};
enum html_kind { HTML_PLAIN, HTML_URL, HTML_JS, HTML_CSS };

struct html_ctx {
    enum html_state state;
    enum html_kind kind;
    char delim; /* ", ' or 0 */
    char name[24];
    unsigned name_n;
    char element[16];
    unsigned element_n;
    bool closing, value_started, query; /* query: past ? or # of a URL */
    bool url_written;
    char js_quote;
};

struct template_run {
    const struct template_set *set;
    const struct template_exec *x;
    const struct tmpl *tmpl;
    const struct node *at;
    struct buf *out;
    size_t out_start;
    struct err *err;
    struct arena *arena;
    size_t arena_start;
    VEC(struct variable) vars;
    size_t steps;
    unsigned depth;
    bool failed, is_html;
    char fail[512];
    struct html_ctx html;
};

int template_error(struct template_run *r, const struct node *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void html_text(struct template_run *r, struct str s);             /* literal text: written, and the context follows */
void html_value(struct template_run *r, struct tval v);           /* a value, escaped for where we are */
struct str template_keep(struct template_run *r, struct buf *b);  /* copy into the arena */
struct tval template_view(struct template_run *r, struct tval v); /* objects to their view */
int template_printf(struct template_run *r, struct str fmt, const struct tval *args, size_t n, struct buf *b);
void template_sprint(struct template_run *r, const struct tval *args, size_t n, bool line, struct buf *b);
void go_quote(struct buf *b, struct str s);  /* strconv.Quote */
void duration_go(struct buf *b, int64_t ms); /* time.Duration.String */
const void *template_zone_find(struct str name);
void template_zone_at(struct tval time, int32_t *ret_offset_s, struct str *ret_abbrev);

// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "base/bytes.h"
#include "control/control.h"

#define MAX_BYTES 4096

static void test_round_trip(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(MAX_BYTES);
    size_t at = control_begin(&b, CONTROL_ADD, 7);
    control_put(&b, CT_NAME, STR("api"));
    control_put(&b, CT_ARG, STR("node"));
    control_put(&b, CT_ARG, STR("app.js"));
    control_put(&b, CT_ENV, STR(""));
    control_put_u64(&b, CT_INSTANCES, 3);
    control_end(&b, at);
    at = control_begin(&b, CONTROL_PING, 8);
    control_end(&b, at);
    assert_int_equal(buf_error(&b), 0);

    struct control_frame f;
    size_t used;
    assert_int_equal(control_parse(buf_view(&b), MAX_BYTES, &f, &used), 0);
    assert_int_equal(f.type, CONTROL_ADD);
    assert_int_equal(f.id, 7);
    assert_str(control_get(f.body, CT_NAME), "api");
    assert_str(control_get(f.body, CT_ARG), "node");
    assert_int_equal(control_get_u64(f.body, CT_INSTANCES, 1), 3);
    assert_int_equal(control_get_u64(f.body, CT_MAX_RESTARTS, 16), 16);
    assert_int_equal(control_get_u64(f.body, CT_NAME, 5), 5); /* a text is no number */
    uint16_t tag;
    struct str v, rest = f.body;
    size_t n = 0, args = 0;
    while (control_field(&rest, &tag, &v)) {
        n++;
        args += tag == CT_ARG;
    }
    assert_int_equal(n, 5);
    assert_int_equal(args, 2);

    struct str second = str_sub(buf_view(&b), used, b.n);
    assert_int_equal(control_parse(second, MAX_BYTES, &f, &used), 0);
    assert_int_equal(f.type, CONTROL_PING);
    assert_int_equal(f.body.n, 0);
    assert_int_equal(used, second.n);
    buf_done(&b);
}

/* Every prefix of a frame is "not complete", never an error and never a frame. */
static void test_cut_everywhere(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(MAX_BYTES);
    size_t at = control_begin(&b, CONTROL_ACT, 1);
    control_put_u64(&b, CT_ACTION, CA_STOP);
    control_put(&b, CT_TEXT, STR("why"));
    control_end(&b, at);
    struct control_frame f;
    size_t used = 99;
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(control_parse(str_make(b.p, n), MAX_BYTES, &f, &used), 1);
    assert_int_equal(used, 99);
    assert_int_equal(control_parse(buf_view(&b), MAX_BYTES, &f, &used), 0);
    buf_done(&b);
}

static void test_refused(void **state)
{
    (void)state;
    struct control_frame f;
    size_t used;
    uint8_t head[CONTROL_HEAD_BYTES + 8] = {0};
    put_u32le(head, MAX_BYTES + 1); /* too long is known from the head alone */
    assert_int_equal(control_parse(str_make((char *)head, CONTROL_HEAD_BYTES), MAX_BYTES, &f, &used), -EMSGSIZE);
    put_u32le(head, 8);
    put_u16le(head + 6, 1); /* reserved bits */
    assert_int_equal(control_parse(str_make((char *)head, sizeof(head)), MAX_BYTES, &f, &used), -EBADMSG);
    put_u16le(head + 6, 0);
    put_u32le(head + CONTROL_HEAD_BYTES + 2, 3); /* a field that is longer than the body */
    assert_int_equal(control_parse(str_make((char *)head, sizeof(head)), MAX_BYTES, &f, &used), -EBADMSG);
    put_u32le(head + CONTROL_HEAD_BYTES + 2, UINT32_MAX);
    assert_int_equal(control_parse(str_make((char *)head, sizeof(head)), MAX_BYTES, &f, &used), -EBADMSG);
    put_u32le(head + CONTROL_HEAD_BYTES + 2, 2); /* exactly fills it */
    assert_int_equal(control_parse(str_make((char *)head, sizeof(head)), MAX_BYTES, &f, &used), 0);
    put_u32le(head + CONTROL_HEAD_BYTES + 2, 1); /* leaves one byte that is no field */
    assert_int_equal(control_parse(str_make((char *)head, sizeof(head)), MAX_BYTES, &f, &used), -EBADMSG);
}

static void test_full_buffer(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(40);
    size_t at = control_begin(&b, CONTROL_ADD, 1);
    control_put(&b, CT_NAME, STR("twelve bytes"));
    control_put(&b, CT_ARG, STR("does not fit any more"));
    control_end(&b, at);
    assert_int_equal(buf_error(&b), -EMSGSIZE);
    buf_done(&b);
}

static void test_proc(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(MAX_BYTES);
    control_put_u64(&b, CT_ID, 4);
    control_put_u64(&b, CT_STATE, 99); /* of a newer keeper */
    control_put_u64(&b, CT_EVENT, 77);
    control_put_u64(&b, CT_PID, 1234);
    control_put(&b, CT_NAME, STR("api"));
    control_put_u64(&b, CT_EXITED, 1);
    control_put_u64(&b, CT_SIGNAL, 9);
    struct control_proc p;
    control_proc_read(buf_view(&b), &p);
    assert_int_equal(p.id, 4);
    assert_int_equal(p.state, CS_ERRORED);
    assert_int_equal(p.event, 0);
    assert_int_equal(p.pid, 1234);
    assert_str(p.name, "api");
    assert_true(p.exited);
    assert_int_equal(p.exit_signal, 9);
    buf_done(&b);
}

static void test_names_complete(void **state)
{
    (void)state;
    for (int i = 0; i < CS_COUNT; i++)
        assert_non_null(control_state_names[i]);
    for (int i = 0; i < CE_COUNT; i++)
        assert_non_null(control_event_names[i]);
}

static void test_data_dir(void **state)
{
    (void)state;
    struct err e = {0};
    setenv("HUNE_DATA_DIR", "/var/x", 1);
    char *d = control_data_dir(NULL, &e);
    assert_string_equal(d, "/var/x");
    free(d);
    d = control_data_dir("/flag", &e);
    assert_string_equal(d, "/flag");
    free(d);
    d = control_data_dir("relative", &e);
    assert_int_equal(d[0], '/');
    free(d);
    unsetenv("HUNE_DATA_DIR");
    setenv("HOME", "/home/u", 1);
    d = control_data_dir(NULL, &e);
    assert_string_equal(d, "/home/u/.hune");
    free(d);
    unsetenv("HOME");
    assert_null(control_data_dir(NULL, &e));
    assert_true(e.msg[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_full_buffer),
        cmocka_unit_test(test_proc),       cmocka_unit_test(test_names_complete),
        cmocka_unit_test(test_data_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

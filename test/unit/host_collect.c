// SPDX-License-Identifier: Apache-2.0
/* The host collector on this machine and on a recorded tree. With --print it writes text exposition
 * (test/e2e/test_host.py reads that). */
#include "base/mem.h"
#include "base/vec.h"
#include "host/host.h"
#include "test.h"
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct printer {
    struct metrics_out out;
    char family[160];
    struct buf text;
    size_t families, samples;
};

static void on_family(struct metrics_out *o, struct str name, struct str help, enum metric_type type)
{
    struct printer *p = CONTAINER_OF(o, struct printer, out);
    (void)snprintf(p->family, sizeof(p->family), STR_FMT, STR_ARG(name));
    buf_fmt(&p->text, "# HELP " STR_FMT " " STR_FMT "\n# TYPE " STR_FMT " %s\n", STR_ARG(name), STR_ARG(help),
            STR_ARG(name), metric_type_names[type]);
    p->families++;
}

static void on_sample(struct metrics_out *o, struct str suffix, const struct metric_label *l, size_t n, double v)
{
    struct printer *p = CONTAINER_OF(o, struct printer, out);
    buf_fmt(&p->text, "%s" STR_FMT, p->family, STR_ARG(suffix));
    for (size_t i = 0; i < n; i++) {
        buf_fmt(&p->text, "%c" STR_FMT "=\"", i ? ',' : '{', STR_ARG(l[i].name));
        for (size_t k = 0; k < l[i].value.n; k++) {
            if (l[i].value.p[k] == '"' || l[i].value.p[k] == '\\')
                buf_putc(&p->text, '\\');
            buf_putc(&p->text, l[i].value.p[k]);
        }
        buf_putc(&p->text, '"');
    }
    buf_fmt(&p->text, "%s %.17g\n", n ? "}" : "", v);
    p->samples++;
}

static void printer_init(struct printer *p)
{
    *p = (struct printer){.out = {on_family, on_sample}, .text = BUF_INIT(16 << 20)};
}

static void put(const char *dir, const char *path, const char *text)
{
    char full[1024];
    (void)snprintf(full, sizeof(full), "%s/%s", dir, path);
    for (char *s = full + strlen(dir) + 1; (s = strchr(s, '/')); s++) {
        *s = 0;
        (void)mkdir(full, 0700); /* may be there */
        *s = '/';
    }
    FILE *f = fopen(full, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

#define HAS(text, want)                                                                                                \
    do {                                                                                                               \
        if (!strstr(text, "\n" want "\n"))                                                                             \
            fail_msg("no line \"%s\" in\n%s", want, text);                                                             \
    } while (0)

static void a_recorded_tree(void **state)
{
    (void)state;
    const char *dir = test_dir();
    put(dir, "proc/stat",
        "cpu  3 3 3 3\ncpu0 100 200 300 400 50 6 7 8 9 10\ncpu1 1 1 1 1 1 1 1 1 0 0\nintr 55 1 2\nctxt 77\nbtime "
        "1700000000\nprocesses 9\nprocs_running 2\nprocs_blocked 1\n");
    put(dir, "proc/loadavg", "0.25 1.50 12.75 1/100 5\n");
    put(dir, "proc/meminfo", "MemTotal:       1000 kB\nActive(anon):     5 kB\nHugePages_Total:   3\n");
    put(dir, "proc/vmstat", "nr_free_pages 1\npgfault 5\npgpgin 6\noom_kill 7\npgmajfault 8\npswpin 9\n");
    put(dir, "proc/pressure/io",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n");
    put(dir, "proc/diskstats",
        "   8       0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n   8       1 sda1 1 1 1 1 1 1 1 1 1 1 1\n 259 0 "
        "nvme0n1 1 2 3 4 5 6 7 8 9 10 11\n 259 1 nvme0n1p1 1 2 3 4 5 6 7 8 9 10 11\n   7 0 loop0 0 0 0 0 0 0 0 0 0 0 "
        "0\n");
    put(dir, "proc/net/dev", "Inter-|\n face |\n  eth0: 10 1 2 3 4 5 6 7 20 8 9 10 11 12 13 14\n");
    put(dir, "proc/net/snmp", "Tcp: RtoAlgorithm InErrs CurrEstab\nTcp: 1 2 3\n");
    put(dir, "proc/net/netstat", "TcpExt: ListenDrops Other\nTcpExt: 4 5\n");
    put(dir, "proc/net/snmp6", "Udp6InErrors 6\nIp6InReceives 1\n");
    put(dir, "proc/net/sockstat", "sockets: used 16\nTCP: inuse 1 mem 2\n");
    put(dir, "proc/net/softnet_stat", "0000000a 00000001 0000000b 0 0 0 0 0 0 0 0 0 00000000\n");
    put(dir, "proc/net/arp",
        "IP address HW type Flags HW address Mask Device\n10.0.0.1 0x1 0x2 aa * eth0\n10.0.0.2 0x1 0x2 aa * eth0\n");
    put(dir, "proc/self/mounts",
        "/dev/sda1 / ext4 rw,relatime 0 0\nnone /with\\040blank tmpfs ro 0 0\nproc /proc proc rw 0 0\nnone "
        "/var/lib/docker/x tmpfs rw 0 0\n");
    put(dir, "sys/class/hwmon/hwmon0/name", "coretemp\n");
    put(dir, "sys/class/hwmon/hwmon0/temp1_input", "42500\n");
    put(dir, "sys/class/hwmon/hwmon0/temp1_label", "Package id 0\n");
    put(dir, "sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n");
    put(dir, "sys/class/thermal/thermal_zone0/temp", "41000\n");
    put(dir, "root/etc/os-release", "NAME=\"Some Linux\"\nID=some\nVERSION_ID=\"12.5\"\n");
    put(dir, "root/with blank/x", "");
    put(dir, "root/run/udev/data/b8:0", "E:ID_MODEL=Disk \"X\"\nE:ID_WWN=0x5\n");
    char proc[512], sys[512], root[512];
    (void)snprintf(proc, sizeof(proc), "%s/proc", dir);
    (void)snprintf(sys, sizeof(sys), "%s/sys", dir);
    (void)snprintf(root, sizeof(root), "%s/root", dir);
    struct host_options o = {.procfs = proc, .sysfs = sys, .rootfs = root};
    struct host *h = host_new(&o);
    struct printer p;
    for (int i = 0; i < 3; i++) { /* again and again: files stay open */
        printer_init(&p);
        host_collect(h, &p.out);
        if (i < 2)
            buf_done(&p.text);
    }
    const char *t = buf_cstr(&p.text);
    HAS(t, "node_cpu_seconds_total{cpu=\"0\",mode=\"system\"} 3");
    HAS(t, "node_cpu_guest_seconds_total{cpu=\"0\",mode=\"nice\"} 0.10000000000000001");
    HAS(t, "node_intr_total 55");
    HAS(t, "node_boot_time_seconds 1700000000");
    HAS(t, "node_load15 12.75");
    HAS(t, "node_memory_MemTotal_bytes 1024000");
    HAS(t, "node_memory_Active_anon_bytes 5120");
    HAS(t, "node_memory_HugePages_Total 3");
    HAS(t, "node_vmstat_pgmajfault 8");
    assert_null(strstr(t, "node_vmstat_nr_free_pages"));
    HAS(t, "node_pressure_io_waiting_seconds_total 1.5");
    HAS(t, "node_disk_read_bytes_total{device=\"sda\"} 1536");
    HAS(t, "node_disk_flush_requests_total{device=\"sda\"} 16");
    HAS(t, "node_disk_io_now{device=\"nvme0n1\"} 9");
    HAS(t, "node_disk_info{device=\"sda\",major=\"8\",minor=\"0\",model=\"Disk "
           "\\\"X\\\"\",path=\"\",revision=\"\",serial=\"\",wwn=\"0x5\"} 1");
    assert_null(strstr(t, "sda1\",major"));
    assert_null(strstr(t, "nvme0n1p1"));
    assert_null(strstr(t, "loop0"));
    HAS(t, "node_network_receive_bytes_total{device=\"eth0\"} 10");
    HAS(t, "node_network_transmit_bytes_total{device=\"eth0\"} 20");
    HAS(t, "node_netstat_Tcp_InErrs 2");
    HAS(t, "node_netstat_TcpExt_ListenDrops 4");
    HAS(t, "node_netstat_Udp6_InErrors 6");
    HAS(t, "node_sockstat_sockets_used 16");
    HAS(t, "node_softnet_times_squeezed_total{cpu=\"0\"} 11");
    HAS(t, "node_arp_entries{device=\"eth0\"} 2");
    HAS(t, "node_filesystem_readonly{device=\"none\",fstype=\"tmpfs\",mountpoint=\"/with blank\"} 1");
    assert_null(strstr(t, "docker"));
    HAS(t, "node_hwmon_temp_celsius{chip=\"coretemp\",sensor=\"temp1\"} 42.5");
    HAS(t, "node_hwmon_sensor_label{chip=\"coretemp\",label=\"Package id 0\",sensor=\"temp1\"} 1");
    HAS(t, "node_thermal_zone_temp{type=\"x86_pkg_temp\",zone=\"0\"} 41");
    HAS(t, "node_os_version{id=\"some\",id_like=\"\",name=\"Some Linux\"} 12.5");
    HAS(t, "node_scrape_collector_success{collector=\"filefd\"} 0");
    buf_done(&p.text);
    host_free(h);
}

static void this_machine(void **state)
{
    (void)state;
    struct host_options o = {.processes = true};
    struct host *h = host_new(&o);
    struct printer p;
    printer_init(&p);
    host_collect(h, &p.out);
    assert_true(p.samples > 150);
    const char *t = buf_cstr(&p.text);
    assert_non_null(strstr(t, "\nnode_memory_MemAvailable_bytes "));
    assert_non_null(strstr(t, "\nnode_filesystem_size_bytes{"));
    assert_non_null(strstr(t, "\nnode_uname_info{"));
    assert_non_null(strstr(t, "\nnode_processes_threads "));
    buf_done(&p.text);
    host_free(h);
}

static void process_trees(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t kid = fork();
    if (kid == 0) {
        char c;
        (void)close(fds[1]);
        _exit(read(fds[0], &c, 1) > 0);
    }
    (void)close(fds[0]);
    struct host_process p[3];
    pid_t pids[3] = {getpid(), kid, 0x3fffffff};
    assert_int_equal(host_process_sample(NULL, pids, 3, p), 0);
    assert_true(p[0].processes >= 1 && p[0].resident_bytes > 100000 && p[0].open_fds >= 3);
    assert_int_equal(p[1].processes, 1); /* asked for itself, so not part of its parent */
    assert_true(p[0].start_ms > 1600000000000 && p[1].start_ms >= p[0].start_ms);
    assert_int_equal(p[2].processes, 0);
    assert_int_equal(host_process_sample(NULL, pids, 1, p), 0);
    assert_true(p[0].processes >= 2);
    (void)close(fds[1]);
    assert_int_equal(waitpid(kid, NULL, 0), kid);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--print") == 0) {
        struct host *h = host_new(NULL);
        struct printer p;
        printer_init(&p);
        host_collect(h, &p.out);
        size_t n = fwrite(p.text.p, 1, p.text.n, stdout);
        int r = n == p.text.n ? 0 : 1;
        buf_done(&p.text);
        host_free(h);
        return r;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_recorded_tree), cmocka_unit_test(this_machine),
                                       cmocka_unit_test(process_trees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* Counters of the network stack. */
#include "host/host_int.h"
#include <unistd.h>

/* node_exporter's default choice of fields. */
static bool wanted(struct str proto, struct str field)
{
    static const struct {
        const char *proto, *fields;
    } rows[] = {
        {"Ip", " Forwarding "},
        {"Ip6", " InOctets OutOctets "},
        {"IpExt", " InOctets OutOctets "},
        {"Icmp", " InMsgs OutMsgs "},
        {"Icmp6", " InMsgs OutMsgs "},
        {"TcpExt", " TCPSynRetrans TCPTimeouts "},
        {"Tcp", " ActiveOpens InSegs OutSegs OutRsts PassiveOpens RetransSegs CurrEstab "},
        {"Udp", " InDatagrams OutDatagrams NoPorts RcvbufErrors SndbufErrors "},
        {"Udp6", " InDatagrams OutDatagrams NoPorts RcvbufErrors SndbufErrors "},
    };
    if (str_eqz(field, "InErrors") || str_eqz(field, "InErrs"))
        return true;
    if (str_eqz(proto, "TcpExt") && (str_starts(field, STR("Listen")) || str_starts(field, STR("Syncookies"))))
        return true;
    char padded[64];
    int n = snprintf(padded, sizeof(padded), " " STR_FMT " ", STR_ARG(field));
    if (n < 0 || (size_t)n >= sizeof(padded))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eqz(proto, rows[i].proto) && strstr(rows[i].fields, padded))
            return true;
    return false;
}

static void tell(struct host *h, struct str proto, struct str field, struct str value)
{
    char name[160];
    if (!wanted(proto, field) || proto.n + field.n > 120)
        return;
    (void)snprintf(name, sizeof(name), "node_netstat_" STR_FMT "_" STR_FMT, STR_ARG(proto),
                   STR_ARG(field)); /* bounded above */
    host_untyped(h, name, "Counter of the network stack.", host_num(value));
}

/* Pairs of lines: "Tcp: Name Name" and "Tcp: 1 2". */
static bool pairs(struct host *h, const char *file)
{
    struct str text, names, values, n, v;
    if (!host_read(h, 'p', file, &text))
        return false;
    while (str_line(&text, &names) && str_line(&text, &values)) {
        struct str proto;
        if (!host_word(&names, &proto) || !host_word(&values, &v) || !str_eq(proto, v) || proto.n < 2)
            continue;
        proto.n--;
        while (host_word(&names, &n) && host_word(&values, &v))
            tell(h, proto, n, v);
    }
    return true;
}

bool host_netstat(struct host *h)
{
    bool ok = pairs(h, "net/netstat");
    ok = pairs(h, "net/snmp") && ok;
    struct str text, line, key, v;
    if (!host_read(h, 'p', "net/snmp6", &text))
        return ok; /* no IPv6 here */
    while (str_line(&text, &line)) {
        ptrdiff_t six;
        if (host_word(&line, &key) && host_word(&line, &v) && (six = str_chr(key, '6')) >= 0)
            tell(h, str_sub(key, 0, (size_t)six + 1), str_sub(key, (size_t)six + 1, key.n), v);
    }
    return ok;
}

static bool sockets_of(struct host *h, const char *file)
{
    struct str text, line, proto, key, v;
    if (!host_read(h, 'p', file, &text))
        return false;
    double page = (double)sysconf(_SC_PAGESIZE);
    while (str_line(&text, &line)) {
        if (!host_word(&line, &proto) || proto.n < 2 || proto.n > 32)
            continue;
        proto.n--;
        while (host_word(&line, &key) && host_word(&line, &v)) {
            char name[128];
            int n = snprintf(name, sizeof(name), "node_sockstat_" STR_FMT "_" STR_FMT, STR_ARG(proto), STR_ARG(key));
            if (n < 0 || (size_t)n + 7 > sizeof(name))
                continue;
            host_gauge(h, name, "Sockets of this kind.", host_num(v));
            if (str_eqz(key, "mem")) {
                (void)snprintf(name + n, sizeof(name) - (size_t)n, "_bytes"); /* room checked above */
                host_gauge(h, name, "Memory of sockets of this kind.", host_num(v) * page);
            }
        }
    }
    return true;
}

bool host_sockstat(struct host *h)
{
    bool v4 = sockets_of(h, "net/sockstat");
    return sockets_of(h, "net/sockstat6") || v4;
}

bool host_arp(struct host *h)
{
    struct {
        struct str device;
        size_t n;
    } found[256];
    size_t n = 0;
    struct str text, line;
    if (!host_read(h, 'p', "net/arp", &text))
        return false;
    (void)str_line(&text, &line); /* the heading */
    while (str_line(&text, &line)) {
        struct str w = STR_NULL, last = STR_NULL;
        while (host_word(&line, &w))
            last = w;
        size_t i = 0;
        while (i < n && !str_eq(found[i].device, last))
            i++;
        if (i == n && n < ARRAY_LEN(found))
            found[n++].device = last, found[i].n = 0;
        if (i < n)
            found[i].n++;
    }
    if (n)
        host_family(h, "node_arp_entries", "Entries of the ARP table.", METRIC_GAUGE);
    for (size_t i = 0; i < n; i++)
        host_sample1(h, "device", found[i].device, (double)found[i].n);
    return true;
}

bool host_conntrack(struct host *h)
{
    static const char *const wanted_columns[] = {"found",         "invalid", "ignore",     "insert",
                                                 "insert_failed", "drop",    "early_drop", "search_restart"};
    struct str text, line, w;
    if (!host_read(h, 'p', "sys/net/netfilter/nf_conntrack_count", &text) || !host_word(&text, &w))
        return true; /* connection tracking is not in use */
    host_gauge(h, "node_nf_conntrack_entries", "Connections tracked.", host_num(w));
    if (host_read(h, 'p', "sys/net/netfilter/nf_conntrack_max", &text) && host_word(&text, &w))
        host_gauge(h, "node_nf_conntrack_entries_limit", "Most connections that can be tracked.", host_num(w));
    double sums[ARRAY_LEN(wanted_columns)] = {0};
    int column[ARRAY_LEN(wanted_columns)];
    for (size_t i = 0; i < ARRAY_LEN(column); i++)
        column[i] = -1;
    if (!host_read(h, 'p', "net/stat/nf_conntrack", &text) || !str_line(&text, &line))
        return true;
    for (int c = 0; host_word(&line, &w); c++)
        for (size_t i = 0; i < ARRAY_LEN(column); i++)
            if (str_eqz(w, wanted_columns[i]))
                column[i] = c;
    while (str_line(&text, &line))
        for (int c = 0; host_word(&line, &w); c++)
            for (size_t i = 0; i < ARRAY_LEN(column); i++)
                if (column[i] == c)
                    sums[i] += host_hexnum(w);
    for (size_t i = 0; i < ARRAY_LEN(column); i++) {
        char name[80];
        (void)snprintf(name, sizeof(name), "node_nf_conntrack_stat_%s", wanted_columns[i]); /* longest name fits */
        host_gauge(h, name, "Counter of connection tracking.", sums[i]);
    }
    return true;
}

bool host_udp_queues(struct host *h)
{
    static const char *const files[] = {"net/udp", "net/udp6"}, *const ips[] = {"v4", "v6"};
    bool said = false;
    for (int i = 0; i < 2; i++) {
        struct str text, line, w = STR_NULL;
        double tx = 0, rx = 0;
        if (!host_read(h, 'p', files[i], &text))
            continue;
        (void)str_line(&text, &line); /* the heading */
        while (str_line(&text, &line)) {
            for (int k = 0; k < 5 && host_word(&line, &w); k++)
                ;
            struct str a, b;
            if (str_cut(w, ':', &a, &b)) {
                tx += host_hexnum(a);
                rx += host_hexnum(b);
            }
        }
        if (!said)
            host_family(h, "node_udp_queues", "Bytes in the queues of UDP sockets.", METRIC_GAUGE);
        said = true;
        host_sample2(h, "ip", str_of(ips[i]), "queue", STR("rx"), rx);
        host_sample2(h, "ip", str_of(ips[i]), "queue", STR("tx"), tx);
    }
    return said;
}

// SPDX-License-Identifier: Apache-2.0
/* Network interfaces: one RTM_GETLINK dump answers what would be twenty small files per interface. Without netlink (a
 * sandbox may forbid it) /proc/net/dev gives the counters. */
#include "base/bytes.h"
#include "base/error.h"
#include "host/host_int.h"
#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINKS = 256 };
enum net_value {
    V_CARRIER,
    V_CHANGES,
    V_UPS,
    V_DOWNS,
    V_DORMANT,
    V_FLAGS,
    V_ID,
    V_LINK,
    V_MODE,
    V_MTU,
    V_GROUP,
    V_TYPE,
    V_QUEUE,
    V_UP,
    V_ASSIGN,
    V_NAME_ASSIGN,
    V_DEV_ID,
    V_SPEED,
    N_VALUES
};
struct iface {
    char name[32], address[64], broadcast[64], alias[64], duplex[12], state[16];
    bool has_stats;
    struct rtnl_link_stats64 stats;
    bool has[N_VALUES];
    double v[N_VALUES];
};

static void set(struct iface *l, enum net_value k, double v)
{
    l->has[k] = true;
    l->v[k] = v;
}

static void hardware_address(const struct rtattr *a, char *out, size_t cap)
{
    const unsigned char *p = RTA_DATA(a);
    size_t n = RTA_PAYLOAD(a), at = 0;
    out[0] = 0;
    for (size_t i = 0; i < n && at + 3 < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s%02x", i ? ":" : "", p[i]);
}

static uint32_t attr_u32(const struct rtattr *a)
{
    uint32_t v = 0;
    memcpy(&v, RTA_DATA(a), MIN(sizeof(v), RTA_PAYLOAD(a)));
    return v;
}

static void read_link(struct iface *l, const struct nlmsghdr *m)
{
    static const char *const states[] = {"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"};
    const struct ifinfomsg *info = NLMSG_DATA(m);
    int left = (int)IFLA_PAYLOAD(m);
    *l = (struct iface){.state = "unknown"};
    unsigned shown =
        info->ifi_flags & ~(unsigned)(IFF_RUNNING | IFF_LOWER_UP | IFF_DORMANT); /* sysfs does not show volatile ones */
    set(l, V_FLAGS, shown);
    set(l, V_ID, info->ifi_index);
    set(l, V_LINK, info->ifi_index);
    set(l, V_TYPE, info->ifi_type);
    bool running = info->ifi_flags & IFF_UP;
    for (const struct rtattr *a = IFLA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        switch (a->rta_type & NLA_TYPE_MASK) {
        case IFLA_IFNAME:
            (void)snprintf(l->name, sizeof(l->name), "%.*s", (int)RTA_PAYLOAD(a), (const char *)RTA_DATA(a));
            break;
        case IFLA_IFALIAS:
            (void)snprintf(l->alias, sizeof(l->alias), "%.*s", (int)RTA_PAYLOAD(a), (const char *)RTA_DATA(a));
            break;
        case IFLA_ADDRESS:
            hardware_address(a, l->address, sizeof(l->address));
            break;
        case IFLA_BROADCAST:
            hardware_address(a, l->broadcast, sizeof(l->broadcast));
            break;
        case IFLA_MTU:
            set(l, V_MTU, attr_u32(a));
            break;
        case IFLA_LINK:
            set(l, V_LINK, attr_u32(a));
            break;
        case IFLA_TXQLEN:
            set(l, V_QUEUE, attr_u32(a));
            break;
        case IFLA_GROUP:
            set(l, V_GROUP, attr_u32(a));
            break;
        case IFLA_LINKMODE:
            set(l, V_MODE, *(const unsigned char *)RTA_DATA(a));
            break;
        case IFLA_OPERSTATE: {
            unsigned s = *(const unsigned char *)RTA_DATA(a);
            (void)snprintf(l->state, sizeof(l->state), "%s", s < ARRAY_LEN(states) ? states[s] : "unknown");
            break;
        }
        case IFLA_CARRIER:
            if (running) /* sysfs refuses to tell of an interface that is down */
                set(l, V_CARRIER, *(const unsigned char *)RTA_DATA(a));
            break;
        case IFLA_CARRIER_CHANGES:
            set(l, V_CHANGES, attr_u32(a));
            break;
        case IFLA_CARRIER_UP_COUNT:
            set(l, V_UPS, attr_u32(a));
            break;
        case IFLA_CARRIER_DOWN_COUNT:
            set(l, V_DOWNS, attr_u32(a));
            break;
        case IFLA_STATS64:
            l->has_stats = true;
            memcpy(&l->stats, RTA_DATA(a), MIN(sizeof(l->stats), RTA_PAYLOAD(a)));
            break;
        default:
            break;
        }
    }
    if (running)
        set(l, V_DORMANT, (info->ifi_flags & IFF_DORMANT) != 0);
    set(l, V_UP, strcmp(l->state, "up") == 0);
}

static bool dump_links(struct host *h, struct iface *links, size_t *ret_n)
{
    if (h->netlink == -2)
        return false;
    if (h->netlink == -1) {
        h->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        if (h->netlink < 0) {
            h->netlink = -2;
            return false;
        }
        struct timeval patience = {.tv_sec = 1};
        (void)setsockopt(h->netlink, SOL_SOCKET, SO_RCVTIMEO, &patience,
                         sizeof(patience)); /* only makes us wait less */
    }
    struct {
        struct nlmsghdr m;
        struct ifinfomsg info;
    } ask = {.m = {.nlmsg_len = sizeof(ask),
                   .nlmsg_type = RTM_GETLINK,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                   .nlmsg_seq = (uint32_t)h->round}};
    if (send(h->netlink, &ask, sizeof(ask), 0) < 0)
        return false;
    buf_reset(&h->text);
    if (buf_reserve(&h->text, 64 << 10) < 0)
        return false;
    for (*ret_n = 0;;) {
        ssize_t n = recv(h->netlink, h->text.p, 64 << 10, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        size_t left = (size_t)n;
        for (struct nlmsghdr *m = (struct nlmsghdr *)(void *)h->text.p; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            if (m->nlmsg_seq != (uint32_t)h->round)
                continue; /* the rest of a question given up */
            if (m->nlmsg_type == NLMSG_DONE)
                return true;
            if (m->nlmsg_type == NLMSG_ERROR)
                return false;
            if (m->nlmsg_type == RTM_NEWLINK && *ret_n < LINKS)
                read_link(&links[(*ret_n)++], m);
        }
    }
}

/* Speed and duplex come from the driver, three values only from sysfs. */
static void ask_more(struct host *h, struct iface *l, int sock)
{
    static const struct {
        const char *file;
        enum net_value k;
    } files[] = {{"addr_assign_type", V_ASSIGN}, {"dev_id", V_DEV_ID}, {"name_assign_type", V_NAME_ASSIGN}};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[96];
        struct str s;
        (void)snprintf(path, sizeof(path), "class/net/%s/%s", l->name, files[i].file); /* names are below 32 bytes */
        if (host_read(h, 's', path, &s) && s.n)
            set(l, files[i].k, str_starts(s, STR("0x")) ? host_hexnum(str_sub(str_trim(s), 2, s.n)) : host_num(s));
    }
    if (sock < 0)
        return;
    union { /* the kernel writes link mode masks behind the settings */
        struct ethtool_link_settings s;
        uint32_t room[sizeof(struct ethtool_link_settings) / 4 + 3 * 128];
    } q = {.s = {.cmd = ETHTOOL_GLINKSETTINGS}};
    struct ifreq ifr = {.ifr_data = (char *)&q};
    (void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%.15s", l->name);
    if (ioctl(sock, SIOCETHTOOL, &ifr) < 0)
        return;
    q.s.link_mode_masks_nwords = (int8_t)-q.s.link_mode_masks_nwords; /* the first call tells how many it wants */
    q.s.cmd = ETHTOOL_GLINKSETTINGS;
    if (q.s.link_mode_masks_nwords <= 0 || ioctl(sock, SIOCETHTOOL, &ifr) < 0)
        return;
    if (l->has[V_CARRIER])
        set(l, V_SPEED, (double)(int32_t)q.s.speed * 1000 * 1000 / 8);
    (void)snprintf(l->duplex, sizeof(l->duplex), "%s",
                   q.s.duplex == DUPLEX_FULL   ? "full"
                   : q.s.duplex == DUPLEX_HALF ? "half"
                                               : "unknown");
}

static double stat_of(const struct rtnl_link_stats64 *s, int k)
{
    switch (k) {
    case 0:
        return (double)s->rx_bytes;
    case 1:
        return (double)s->rx_packets;
    case 2:
        return (double)s->rx_errors;
    case 3:
        return (double)(s->rx_dropped + s->rx_missed_errors);
    case 4:
        return (double)s->rx_fifo_errors;
    case 5:
        return (double)(s->rx_frame_errors + s->rx_length_errors + s->rx_over_errors + s->rx_crc_errors);
    case 6:
        return (double)s->rx_compressed;
    case 7:
        return (double)s->multicast;
    case 8:
        return (double)s->rx_nohandler;
    case 9:
        return (double)s->tx_bytes;
    case 10:
        return (double)s->tx_packets;
    case 11:
        return (double)s->tx_errors;
    case 12:
        return (double)s->tx_dropped;
    case 13:
        return (double)s->tx_fifo_errors;
    case 14:
        return (double)s->collisions;
    case 15:
        return (double)(s->tx_carrier_errors + s->tx_aborted_errors + s->tx_heartbeat_errors + s->tx_window_errors);
    default:
        return (double)s->tx_compressed;
    }
}
static const char *const stat_names[] = {
    "receive_bytes",    "receive_packets",    "receive_errs",      "receive_drop",      "receive_fifo",
    "receive_frame",    "receive_compressed", "receive_multicast", "receive_nohandler", "transmit_bytes",
    "transmit_packets", "transmit_errs",      "transmit_drop",     "transmit_fifo",     "transmit_colls",
    "transmit_carrier", "transmit_compressed"};

/* Columns of /proc/net/dev into the same shape. */
static bool read_proc(struct host *h, struct iface *links, size_t *ret_n)
{
    struct str text, line, w, name;
    size_t n = 0;
    if (!host_read(h, 'p', "net/dev", &text))
        return false;
    while (n < LINKS && str_line(&text, &line)) {
        double v[16] = {0};
        if (!str_cut(line, ':', &name, &line))
            continue;
        struct iface *l = &links[n++];
        *l = (struct iface){.has_stats = true};
        (void)snprintf(l->name, sizeof(l->name), STR_FMT, STR_ARG(str_sub(str_trim(name), 0, 31)));
        for (int i = 0; i < 16 && host_word(&line, &w); i++)
            v[i] = host_num(w);
        l->stats = (struct rtnl_link_stats64){.rx_bytes = (uint64_t)v[0],
                                              .rx_packets = (uint64_t)v[1],
                                              .rx_errors = (uint64_t)v[2],
                                              .rx_dropped = (uint64_t)v[3],
                                              .rx_fifo_errors = (uint64_t)v[4],
                                              .rx_frame_errors = (uint64_t)v[5],
                                              .rx_compressed = (uint64_t)v[6],
                                              .multicast = (uint64_t)v[7],
                                              .tx_bytes = (uint64_t)v[8],
                                              .tx_packets = (uint64_t)v[9],
                                              .tx_errors = (uint64_t)v[10],
                                              .tx_dropped = (uint64_t)v[11],
                                              .tx_fifo_errors = (uint64_t)v[12],
                                              .collisions = (uint64_t)v[13],
                                              .tx_carrier_errors = (uint64_t)v[14],
                                              .tx_compressed = (uint64_t)v[15]};
    }
    *ret_n = n;
    return true;
}

bool host_network(struct host *h)
{
    static const struct {
        enum net_value k;
        const char *name, *help;
        enum metric_type type;
    } rows[] = {
        {V_ASSIGN, "node_network_address_assign_type", "How the hardware address came about.", METRIC_GAUGE},
        {V_CARRIER, "node_network_carrier", "Whether the link is there.", METRIC_GAUGE},
        {V_CHANGES, "node_network_carrier_changes_total", "Times the link came or went.", METRIC_COUNTER},
        {V_DOWNS, "node_network_carrier_down_changes_total", "Times the link went.", METRIC_COUNTER},
        {V_UPS, "node_network_carrier_up_changes_total", "Times the link came.", METRIC_COUNTER},
        {V_DEV_ID, "node_network_device_id", "Number of the device behind a shared address.", METRIC_GAUGE},
        {V_DORMANT, "node_network_dormant", "Whether the interface waits for something outside.", METRIC_GAUGE},
        {V_FLAGS, "node_network_flags", "Flags of the interface.", METRIC_GAUGE},
        {V_ID, "node_network_iface_id", "Index of the interface.", METRIC_GAUGE},
        {V_LINK, "node_network_iface_link", "Index of the interface below.", METRIC_GAUGE},
        {V_MODE, "node_network_iface_link_mode", "Mode of the link.", METRIC_GAUGE},
        {V_MTU, "node_network_mtu_bytes", "Largest packet.", METRIC_GAUGE},
        {V_NAME_ASSIGN, "node_network_name_assign_type", "How the name came about.", METRIC_GAUGE},
        {V_GROUP, "node_network_net_dev_group", "Group of the interface.", METRIC_GAUGE},
        {V_TYPE, "node_network_protocol_type", "Protocol number of the hardware.", METRIC_GAUGE},
        {V_SPEED, "node_network_speed_bytes", "Speed of the link, bytes a second.", METRIC_GAUGE},
        {V_QUEUE, "node_network_transmit_queue_length", "Packets the transmit queue may hold.", METRIC_GAUGE},
        {V_UP, "node_network_up", "1 if the interface is up.", METRIC_GAUGE},
    };
    _Static_assert(sizeof(struct iface) * LINKS <= HOST_SCRATCH, "scratch too small");
    struct iface *links = (struct iface *)(void *)h->scratch;
    size_t n = 0;
    bool full = strcmp(h->procfs, "/proc") == 0 && dump_links(h, links, &n);
    if (!full && !read_proc(h, links, &n))
        return false;
    if (full) {
        int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        for (size_t i = 0; i < n; i++)
            ask_more(h, &links[i], sock);
        if (sock >= 0)
            (void)close(sock); /* nothing was sent */
        host_family(h, "node_network_info", "What an interface is.", METRIC_GAUGE);
        for (size_t i = 0; i < n; i++) {
            const struct metric_label l[] = {
                {STR("address"), str_of(links[i].address)}, {STR("broadcast"), str_of(links[i].broadcast)},
                {STR("device"), str_of(links[i].name)},     {STR("duplex"), str_of(links[i].duplex)},
                {STR("ifalias"), str_of(links[i].alias)},   {STR("operstate"), str_of(links[i].state)}};
            h->out->sample(h->out, STR(""), l, ARRAY_LEN(l), 1);
        }
    }
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        bool said = false;
        for (size_t i = 0; i < n; i++) {
            if (!links[i].has[rows[k].k])
                continue;
            if (!said)
                host_family(h, rows[k].name, rows[k].help, rows[k].type);
            said = true;
            host_sample1(h, "device", str_of(links[i].name), links[i].v[rows[k].k]);
        }
    }
    for (size_t k = 0; k < ARRAY_LEN(stat_names); k++) {
        char name[64];
        bool said = false;
        (void)snprintf(name, sizeof(name), "node_network_%s_total", stat_names[k]); /* longest name fits */
        for (size_t i = 0; i < n; i++) {
            if (!links[i].has_stats || (!full && k == 8)) /* /proc/net/dev has no column for nohandler */
                continue;
            if (!said)
                host_family(h, name, "Counter of a network interface.", METRIC_COUNTER);
            said = true;
            host_sample1(h, "device", str_of(links[i].name), stat_of(&links[i].stats, (int)k));
        }
    }
    return true;
}

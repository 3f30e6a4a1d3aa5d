// SPDX-License-Identifier: Apache-2.0
/* The machine itself: time, kernel, distribution, temperatures. */
#include "base/clock.h"
#include "host/host_int.h"
#include "sys/fs.h"
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>

bool host_time(struct host *h)
{
    struct timespec now;
    struct tm tm;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
    host_gauge(h, "node_time_seconds", "The machine's time, Unix seconds.",
               (double)now.tv_sec + (double)now.tv_nsec / 1e9);
    if (localtime_r(&now.tv_sec, &tm)) {
        host_family(h, "node_time_zone_offset_seconds", "Offset of the local time zone.", METRIC_GAUGE);
        host_sample1(h, "time_zone", str_of(tm.tm_zone), (double)tm.tm_gmtoff);
    }
    for (int dev = 0; dev < 8; dev++) {
        char path[96], id[16];
        struct str s, w;
        (void)snprintf(id, sizeof(id), "%d", dev);
        (void)snprintf(path, sizeof(path), "devices/system/clocksource/clocksource%d/available_clocksource", dev);
        if (!host_peek(h, 's', path, &s))
            break;
        host_family(h, "node_time_clocksource_available_info", "Clock sources there are.", METRIC_GAUGE);
        while (host_word(&s, &w))
            host_sample2(h, "clocksource", w, "device", str_of(id), 1);
        (void)snprintf(path, sizeof(path), "devices/system/clocksource/clocksource%d/current_clocksource", dev);
        if (host_peek(h, 's', path, &s)) {
            host_family(h, "node_time_clocksource_current_info", "The clock source in use.", METRIC_GAUGE);
            host_sample2(h, "clocksource", s, "device", str_of(id), 1);
        }
    }
    return true;
}

bool host_timex(struct host *h)
{
    struct timex t = {.modes = 0};
    int state = adjtimex(&t);
    if (state < 0)
        return false;
    const double ppm = 1000000.0 * 65536.0; /* scaled parts per million with a 16-bit fraction */
    double div = t.status & STA_NANO ? 1e9 : 1e6;
    host_gauge(h, "node_timex_sync_status", "Whether the clock is synchronised.", state != TIME_ERROR);
    host_gauge(h, "node_timex_offset_seconds", "Offset between the machine's clock and its reference.",
               (double)t.offset / div);
    host_gauge(h, "node_timex_frequency_adjustment_ratio", "Correction of the clock's frequency.",
               1 + (double)t.freq / ppm);
    host_gauge(h, "node_timex_maxerror_seconds", "Largest error the clock may have.", (double)t.maxerror / 1e6);
    host_gauge(h, "node_timex_estimated_error_seconds", "Error the clock is thought to have.",
               (double)t.esterror / 1e6);
    host_gauge(h, "node_timex_status", "Status bits of the clock.", t.status);
    host_gauge(h, "node_timex_loop_time_constant", "Time constant of the phase-locked loop.", (double)t.constant);
    host_gauge(h, "node_timex_tick_seconds", "Seconds between clock ticks.", (double)t.tick / 1e6);
    host_gauge(h, "node_timex_pps_frequency_hertz", "Frequency of the pulse-per-second signal.",
               (double)t.ppsfreq / ppm);
    host_gauge(h, "node_timex_pps_jitter_seconds", "Jitter of the pulse-per-second signal.", (double)t.jitter / div);
    host_gauge(h, "node_timex_pps_shift_seconds", "Interval of the pulse-per-second calibration.", t.shift);
    host_gauge(h, "node_timex_pps_stability_hertz", "Stability of the pulse-per-second signal.",
               (double)t.stabil / ppm);
    host_counter(h, "node_timex_pps_jitter_total", "Times the jitter limit was exceeded.", (double)t.jitcnt);
    host_counter(h, "node_timex_pps_calibration_total", "Pulse-per-second calibrations.", (double)t.calcnt);
    host_counter(h, "node_timex_pps_error_total", "Pulse-per-second calibration errors.", (double)t.errcnt);
    host_counter(h, "node_timex_pps_stability_exceeded_total", "Times the stability limit was exceeded.",
                 (double)t.stbcnt);
    host_gauge(h, "node_timex_tai_offset_seconds", "Offset of international atomic time.", t.tai);
    return true;
}

bool host_uname(struct host *h)
{
    struct utsname u;
    if (uname(&u) < 0)
        return false;
    const struct metric_label l[] = {{STR("domainname"), str_of(u.domainname)}, {STR("machine"), str_of(u.machine)},
                                     {STR("nodename"), str_of(u.nodename)},     {STR("release"), str_of(u.release)},
                                     {STR("sysname"), str_of(u.sysname)},       {STR("version"), str_of(u.version)}};
    host_family(h, "node_uname_info", "What uname(2) tells.", METRIC_GAUGE);
    h->out->sample(h->out, STR(""), l, ARRAY_LEN(l), 1);
    return true;
}

bool host_os(struct host *h)
{
    static const char *const keys[] = {"BUILD_ID",      "ID",      "ID_LIKE",          "IMAGE_ID",
                                       "IMAGE_VERSION", "NAME",    "PRETTY_NAME",      "VARIANT",
                                       "VARIANT_ID",    "VERSION", "VERSION_CODENAME", "VERSION_ID"};
    static const char *const labels[] = {"build_id",      "id",      "id_like",          "image_id",
                                         "image_version", "name",    "pretty_name",      "variant",
                                         "variant_id",    "version", "version_codename", "version_id"};
    struct metric_label l[ARRAY_LEN(keys)];
    struct str text, line, k, v;
    if (!host_peek(h, 'r', "etc/os-release", &text) && !host_peek(h, 'r', "usr/lib/os-release", &text))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        l[i] = (struct metric_label){str_of(labels[i]), STR("")};
    while (str_line(&text, &line)) {
        if (!str_cut(line, '=', &k, &v))
            continue;
        if (v.n >= 2 && (v.p[0] == '"' || v.p[0] == '\'') && v.p[v.n - 1] == v.p[0])
            v = str_sub(v, 1, v.n - 1);
        for (size_t i = 0; i < ARRAY_LEN(keys); i++)
            if (str_eqz(k, keys[i]))
                l[i].value = v;
    }
    host_family(h, "node_os_info", "The distribution.", METRIC_GAUGE);
    h->out->sample(h->out, STR(""), l, ARRAY_LEN(l), 1);
    struct str id = l[11].value; /* "12", "22.04", "15.1.2": the first two numbers */
    if (id.n && id.p[0] >= '0' && id.p[0] <= '9') {
        const struct metric_label few[] = {l[1], l[2], l[5]};
        host_family(h, "node_os_version", "Version of the distribution as a number.", METRIC_GAUGE);
        h->out->sample(h->out, STR(""), few, ARRAY_LEN(few), host_num(id));
    }
    return true;
}

bool host_selinux(struct host *h)
{
    double v;
    bool on = host_peek_f64(h, 's', "fs/selinux/enforce", &v);
    host_gauge(h, "node_selinux_enabled", "Whether SELinux is on.", on);
    if (on)
        host_gauge(h, "node_selinux_current_mode", "Whether SELinux enforces.", v);
    return true;
}

/* Numbered folders class/thermal/<stem>N. */
static void thermal(struct host *h, const char *stem, const char *const files[], const char *const names[],
                    const char *const help[], size_t n_files, const char *label, double scale)
{
    for (size_t k = 0; k < n_files; k++) {
        bool said = false;
        for (int i = 0; i < 64; i++) {
            char path[96], id[16], type[64];
            struct str s;
            double v;
            (void)snprintf(id, sizeof(id), "%d", i);
            (void)snprintf(path, sizeof(path), "class/thermal/%s%d/type", stem, i);
            if (!host_peek(h, 's', path, &s))
                break;
            (void)snprintf(type, sizeof(type), STR_FMT, STR_ARG(s)); /* a long type may be cut */
            (void)snprintf(path, sizeof(path), "class/thermal/%s%d/%s", stem, i, files[k]);
            if (!host_peek_f64(h, 's', path, &v))
                continue;
            if (!said)
                host_family(h, names[k], help[k], METRIC_GAUGE);
            said = true;
            host_sample2(h, "type", str_of(type), label, str_of(id), v * scale);
        }
    }
}

bool host_thermal(struct host *h)
{
    static const char *const zf[] = {"temp"}, *const zn[] = {"node_thermal_zone_temp"},
                             *const zh[] = {"Temperature of a zone, Celsius."};
    static const char *const cf[] = {"cur_state", "max_state"}, *const cn[] = {"node_cooling_device_cur_state",
                                                                               "node_cooling_device_max_state"};
    static const char *const ch[] = {"How hard a cooling device works.", "How hard a cooling device can work."};
    thermal(h, "thermal_zone", zf, zn, zh, 1, "zone", .001);
    thermal(h, "cooling_device", cf, cn, ch, 2, "name", 1);
    return true;
}

/* Sensors: <kind><number>_<property> files of class/hwmon/hwmonN. The chip is named as node_exporter does: by the
 * device's place in sysfs, else by its name. */
static void clean(char *s)
{
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '_'))
            *s = *s >= 'A' && *s <= 'Z' ? (char)(*s + 32) : '_';
}

static void chip_of(struct host *h, int i, char out[160])
{
    char path[128], link[512], full[768];
    struct str s;
    (void)snprintf(full, sizeof(full), "%s/class/hwmon/hwmon%d/device", h->sysfs, i);
    char *real = realpath(full, NULL);
    out[0] = 0;
    if (real) {
        (void)snprintf(link, sizeof(link), "%s", real);
        char *last = strrchr(link, '/');
        if (last && last > link) {
            *last = 0;
            const char *kind = strrchr(link, '/');
            (void)snprintf(out, 160, "%.79s_%.79s", kind ? kind + 1 : link, last + 1);
        }
    } else {
        (void)snprintf(path, sizeof(path), "class/hwmon/hwmon%d/name", i);
        if (host_peek(h, 's', path, &s))
            (void)snprintf(out, 160, STR_FMT, STR_ARG(str_sub(s, 0, 120)));
    }
    clean(out);
    free(real);
}

bool host_hwmon(struct host *h)
{
    static const struct {
        const char *kind, *property, *name, *help;
        double scale;
    } rows[] = {
        {"temp", "input", "node_hwmon_temp_celsius", "Temperature.", .001},
        {"temp", "max", "node_hwmon_temp_max_celsius", "Highest normal temperature.", .001},
        {"temp", "crit", "node_hwmon_temp_crit_celsius", "Critical temperature.", .001},
        {"temp", "crit_alarm", "node_hwmon_temp_crit_alarm_celsius", "Whether the temperature is critical.", .001},
        {"fan", "input", "node_hwmon_fan_rpm", "Turns a minute of a fan.", 1},
        {"fan", "min", "node_hwmon_fan_min_rpm", "Fewest normal turns of a fan.", 1},
        {"in", "input", "node_hwmon_in_volts", "Voltage.", .001},
        {"in", "min", "node_hwmon_in_min_volts", "Lowest normal voltage.", .001},
        {"in", "max", "node_hwmon_in_max_volts", "Highest normal voltage.", .001},
        {"curr", "input", "node_hwmon_curr_amps", "Current.", .001},
        {"power", "input", "node_hwmon_power_watt", "Power.", .000001},
        {"power", "average", "node_hwmon_power_average_watt", "Average power.", .000001},
        {"energy", "input", "node_hwmon_energy_joule_total", "Energy used.", .000001},
    };
    char chips[32][160];
    int n = 0;
    for (; n < 32; n++) {
        char path[96];
        struct str s;
        (void)snprintf(path, sizeof(path), "class/hwmon/hwmon%d/name", n);
        if (!host_peek(h, 's', path, &s))
            break;
        chip_of(h, n, chips[n]);
        if (n == 0)
            host_family(h, "node_hwmon_chip_names", "Names of sensor chips.", METRIC_GAUGE);
        if (host_peek(h, 's', path, &s))
            host_sample2(h, "chip", str_of(chips[n]), "chip_name", s, 1);
    }
    for (size_t k = 0; k <= ARRAY_LEN(rows); k++) {
        bool labels = k == ARRAY_LEN(rows), said = false;
        for (int i = 0; i < n; i++) {
            char dir[512];
            struct fs_names names;
            (void)snprintf(dir, sizeof(dir), "%s/class/hwmon/hwmon%d", h->sysfs, i);
            if (fs_list(dir, &names) < 0)
                continue;
            for (size_t f = 0; f < names.n; f++) {
                struct str file = str_of(names.v[f]), sensor, property, value;
                char path[256];
                if (!str_cut(file, '_', &sensor, &property))
                    continue;
                if (labels ? !str_eqz(property, "label")
                           : !str_eqz(property, rows[k].property) || !str_starts(sensor, str_of(rows[k].kind)) ||
                                 sensor.n == strlen(rows[k].kind) || sensor.p[strlen(rows[k].kind)] < '0' ||
                                 sensor.p[strlen(rows[k].kind)] > '9')
                    continue;
                (void)snprintf(path, sizeof(path), "class/hwmon/hwmon%d/%s", i, names.v[f]);
                if (!host_peek(h, 's', path, &value))
                    continue;
                if (!said)
                    host_family(h, labels ? "node_hwmon_sensor_label" : rows[k].name,
                                labels ? "Labels of sensors." : rows[k].help,
                                !labels && str_ends(str_of(rows[k].name), STR("_total")) ? METRIC_COUNTER
                                                                                         : METRIC_GAUGE);
                said = true;
                if (labels) {
                    const struct metric_label l[] = {
                        {STR("chip"), str_of(chips[i])}, {STR("label"), value}, {STR("sensor"), sensor}};
                    h->out->sample(h->out, STR(""), l, ARRAY_LEN(l), 1);
                } else {
                    host_sample2(h, "chip", str_of(chips[i]), "sensor", sensor, host_num(value) * rows[k].scale);
                }
            }
            fs_names_free(&names);
        }
    }
    return n > 0;
}

# SPDX-License-Identifier: Apache-2.0
# The house, lowest floor first. A room may use rooms of lower floors only (doc/adr/0002). Rooms not built yet are listed
# where they will stand.
set(HUNE_FLOOR_0 base)
set(HUNE_FLOOR_1 sys codec)
set(HUNE_FLOOR_2 model config)                                     # contracts
set(HUNE_FLOOR_3 net db template control forge draw)               # services
set(HUNE_FLOOR_4 promfile tsdb promql notify oncall anomaly support avail release deploy logs dash report auth keeper procs) # engines
set(HUNE_FLOOR_5 discover host ingest remote rules probe apps)     # producers
set(HUNE_FLOOR_6 scrape)                                           # producers that use producers
set(HUNE_FLOOR_7 ui)                                               # the page, embedded
set(HUNE_FLOOR_8 api)                                              # HTTP <-> engines
set(HUNE_FLOOR_9 app cmd)                                          # roles and wiring

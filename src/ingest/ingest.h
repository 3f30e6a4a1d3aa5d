// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Samples that others push: Prometheus remote write 1.0 (prometheus.WriteRequest) and 2.0
 * (io.prometheus.write.v2.Request), snappy block format. The whole body is checked before anything is stored; label
 * bytes are borrowed from it, never copied. */
#include "base/error.h"
#include "model/sink.h"

enum ingest_version { INGEST_V1, INGEST_V2 };

struct ingest_result {
    uint64_t samples, histograms, exemplars, metadata; /* taken (exemplars are counted as 0: none are stored) */
    uint64_t refused;                                  /* rows the store refused by rule */
    uint64_t duplicates;                               /* the same sample again: fine */
};

enum ingest_error {
    INGEST_E_BAD =
        1, /* 400: not snappy, not the message, labels that are none; or rows refused: what could be stored was */
    INGEST_E_TOO_LARGE, /* 413: unpacked over http_body_bytes */
};
/* 0 with *ret; INGEST_E_* with the reason (and *ret filled as far as things went); -errno of the sink: nothing of the
 * batch at hand was stored and the sender should try again. Any thread. */
MUST_USE int ingest_remote_write(struct sink *sink, struct str packed, enum ingest_version version,
                                 struct ingest_result *ret, struct err *e);
/* The same for an unpacked message (tests, fuzzing). */
MUST_USE int ingest_message(struct sink *sink, struct str message, enum ingest_version version,
                            struct ingest_result *ret, struct err *e);

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <stdbool.h>

enum tls_client_auth {
    TLS_CLIENT_NONE,
    TLS_CLIENT_ASKED,
    TLS_CLIENT_ANY,
    TLS_CLIENT_VERIFIED_IF_GIVEN,
    TLS_CLIENT_VERIFIED
};
/* Did the peer of this TLS session show what the listener demands? session: gnutls_session_t. */
bool tls_client_ok(void *session, enum tls_client_auth want);

// SPDX-License-Identifier: Apache-2.0
/* Client certificates of TLS listeners (wraps the part of GnuTLS that libmicrohttpd leaves to us). */
#include "net/tls_int.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

bool tls_client_ok(void *session, enum tls_client_auth want)
{
    unsigned n = 0, status = 0;
    if (want == TLS_CLIENT_NONE)
        return true;
    bool given = gnutls_certificate_get_peers(session, &n) != NULL && n > 0;
    if (!given)
        return want == TLS_CLIENT_ASKED || want == TLS_CLIENT_VERIFIED_IF_GIVEN;
    if (want == TLS_CLIENT_ASKED || want == TLS_CLIENT_ANY)
        return true;
    return gnutls_certificate_verify_peers2(session, &status) == GNUTLS_E_SUCCESS && status == 0;
}

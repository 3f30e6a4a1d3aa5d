# SPDX-License-Identifier: Apache-2.0
"""Prometheus' web configuration file: TLS, client certificates, bcrypt users, headers."""
import base64
import json
import ssl
import subprocess
import urllib.error
import urllib.request
import warnings

import pytest
from conftest import wait_for

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import crypt


def make_cert(folder, name, signer=None):
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    args = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert, "-days", "2", "-x509"]
    if signer:
        args += ["-CA", folder / f"{signer}.pem", "-CAkey", folder / f"{signer}.key"]
    r = subprocess.run(args, capture_output=True)
    if r.returncode:
        pytest.skip("openssl cannot make certificates: " + r.stderr.decode()[-200:])
    return cert, key


def get(h, path, context, user=None, method="GET", body=None):
    req = urllib.request.Request(f"https://127.0.0.1:{h.port}{path}", method=method, data=body)
    if user:
        req.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    try:
        with urllib.request.build_opener(urllib.request.HTTPSHandler(context=context)).open(req, timeout=10) as r:
            return r.status, dict(r.headers), r.read()
    except urllib.error.HTTPError as e:
        return e.code, dict(e.headers), e.read()
    except OSError:
        return 0, {}, b""


def serve(h, text):
    conf = h.file("web.yml", text)
    return h.spawn("server", f"--data.dir={h.data}", f"--web.listen-address=127.0.0.1:{h.port}", f"--web.config.file={conf}",
                   bin=h.server_bin)


def test_tls_and_users(hune_env):
    cert, _ = make_cert(hune_env.root, "server")
    password = crypt.crypt("s3cret", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=32))
    serve(hune_env, "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"
                    f"basic_auth_users: {{anna: '{password}'}}\n"
                    "http_server_config: {headers: {Strict-Transport-Security: max-age=31536000, X-Frame-Options: SAMEORIGIN}}\n")
    trust = ssl.create_default_context(cafile=cert)
    wait_for(lambda: get(hune_env, "/-/ready", trust)[0] == 200, 15, what="TLS")
    status, headers, _ = get(hune_env, "/api/v1/query?query=1", trust)
    assert status == 401 and headers["WWW-Authenticate"].startswith("Basic")
    assert headers["Strict-Transport-Security"] == "max-age=31536000" and headers["X-Frame-Options"] == "SAMEORIGIN"
    assert get(hune_env, "/api/v1/query?query=1", trust, "anna:wrong")[0] == 401
    status, _, body = get(hune_env, "/api/v1/query?query=1", trust, "anna:s3cret")
    assert status == 200 and json.loads(body)["status"] == "success"
    assert hune_env.http("/-/ready")[0] in (0, 400)  # no plain HTTP on that port
    old = ssl.create_default_context(cafile=cert)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    assert get(hune_env, "/-/ready", old)[0] == 0


def test_client_certificates(hune_env):
    ca, _ = make_cert(hune_env.root, "ca")
    make_cert(hune_env.root, "server")
    serve(hune_env, "tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequireAndVerifyClientCert,"
                    " client_ca_file: ca.pem}\n")
    plain = ssl.create_default_context(cafile=hune_env.root / "server.pem")
    known = ssl.create_default_context(cafile=hune_env.root / "server.pem")
    known.load_cert_chain(ca, hune_env.root / "ca.key")
    wait_for(lambda: get(hune_env, "/-/ready", known)[0] == 200, 15, what="TLS")
    assert get(hune_env, "/-/ready", plain)[0] in (0, 403)
    stranger_cert, stranger_key = make_cert(hune_env.root, "stranger")
    stranger = ssl.create_default_context(cafile=hune_env.root / "server.pem")
    stranger.load_cert_chain(stranger_cert, stranger_key)
    assert get(hune_env, "/-/ready", stranger)[0] in (0, 403)


@pytest.mark.parametrize("text,want", [
    ("tls_server_config: {cert_file: nothing.pem, key_file: nothing.key}\n", "nothing.pem"),
    ("tls_server_config: {cert_file: a.pem}\n", "key"),
    ("tls_server_config: {cert_file: a, key_file: b, client_auth_type: Maybe}\n", "client_auth_type"),
    ("http_server_config: {headers: {Set-Cookie: a}}\n", "Set-Cookie"),
    ("basic_auth_user: {}\n", "basic_auth_users"),
])
def test_bad_files(hune_env, text, want):
    p = serve(hune_env, text)
    assert p.wait(20) != 0
    words = (hune_env.root / f"spawn-{len(hune_env.started) - 1}.out").read_text()
    assert want in words and "web.yml" in words or "nothing.pem" in words, words

# SPDX-License-Identifier: Apache-2.0
"""What unit/net_client.c talks to: HTTP, HTTPS, an OAuth token address, SMTP with STARTTLS and AUTH; plain Python, loopback.
Prints "http https smtp" ports and the certificate's path, then serves until stdin closes."""
import base64, gzip, http.server, json, os, socketserver, ssl, subprocess, sys, tempfile, threading, time
from urllib.parse import parse_qs

work = tempfile.mkdtemp()
cert, key = work + "/cert.pem", work + "/key.pem"
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=hune.test", "-addext", "subjectAltName=DNS:hune.test", "-keyout", key, "-out", cert],
               check=True, stderr=subprocess.DEVNULL)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(cert, key)
tokens = 0


class Peer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, body=b"", status=200, headers=(), ctype="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", ctype)
        self.send_header("Content-Length", str(len(body)))
        for k, v in headers:
            self.send_header(k, v)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        global tokens
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        p = self.path
        if p == "/echo":
            h = {k.lower(): v for k, v in self.headers.items()}
            self.answer(json.dumps({"method": self.command, "headers": h, "body": body.decode("latin1"),
                                    "port": self.client_address[1]}).encode(), ctype="application/json")
        elif p == "/big":
            self.answer(b"x" * 100000)
        elif p == "/gzip":
            self.answer(gzip.compress(b"hello " * 1000), headers=[("Content-Encoding", "gzip")])
        elif p == "/bomb":
            self.answer(gzip.compress(bytes(1 << 24)), headers=[("Content-Encoding", "gzip")])
        elif p == "/gzip-cut":
            self.answer(gzip.compress(b"hello " * 1000)[:-6], headers=[("Content-Encoding", "gzip")])
        elif p == "/gzip-not":
            self.answer(b"hello", headers=[("Content-Encoding", "gzip")])
        elif p == "/gzip-two":
            self.answer(gzip.compress(b"one ") + gzip.compress(b"two"), headers=[("Content-Encoding", "gzip")])
        elif p == "/slow":
            time.sleep(3)
            self.answer(b"late")
        elif p == "/moved":
            self.answer(status=302, headers=[("Location", "/echo")])
        elif p == "/file":
            self.answer(status=302, headers=[("Location", "file:///etc/passwd")])
        elif p == "/busy":
            self.answer(b"no", status=503, headers=[("Retry-After", "7")])
        elif p == "/token":
            form = parse_qs(body.decode())
            who = base64.b64decode(self.headers["Authorization"].split()[1]).decode()
            if who != "me:s3cret" or form.get("grant_type") != ["client_credentials"] or form.get("scope") != ["a b"]:
                self.answer(b"{}", status=401)
                return
            tokens += 1
            self.answer(json.dumps({"access_token": f"tok{tokens}", "expires_in": 3600}).encode(), ctype="application/json")
        else:
            self.answer(b"nothing here", status=404)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def log_message(self, *a):
        pass


class Mail(socketserver.StreamRequestHandler):
    last = {}

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")
        self.wfile.flush()

    def handle(self):
        secure, mail = False, {"to": []}
        self.say("220 sink")
        while True:
            line = self.rfile.readline().decode().strip()
            verb = line.upper()
            if not line:
                return
            if verb.startswith("EHLO"):
                mail["hello"] = line[5:]
                self.say("250-sink")
                if not secure:
                    self.say("250-STARTTLS")
                self.say("250 AUTH PLAIN LOGIN")
            elif verb == "STARTTLS":
                self.say("220 go")
                self.connection = tls.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
                secure = True
            elif verb.startswith("AUTH PLAIN"):
                part = line.split(" ")[2:] or [""]
                if not part[0]:
                    self.say("334 ")
                    part = [self.rfile.readline().decode().strip()]
                mail["auth"] = base64.b64decode(part[0]).decode().split("\0")[1:]
                self.say("235 ok" if mail["auth"] == ["user", "pass"] else "535 wrong")
            elif verb.startswith("MAIL"):
                mail["from"] = line
                self.say("250 ok")
            elif verb.startswith("RCPT"):
                if "nobody" in line:
                    self.say("550 no such mailbox")
                else:
                    mail["to"].append(line)
                    self.say("250 ok")
            elif verb == "DATA":
                self.say("354 go")
                data = b""
                while not data.endswith(b"\r\n.\r\n"):
                    data += self.rfile.readline()
                mail["data"], mail["secure"] = data[:-3].replace(b"\r\n..", b"\r\n.").decode(), secure
                Mail.last = mail
                self.say("250 queued as 42")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("500 what")


class LastMail(Peer):
    def do_GET(self):
        if self.path == "/mail":
            self.answer(json.dumps(Mail.last).encode(), ctype="application/json")
        else:
            Peer.do_GET(self)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET


socketserver.BaseServer.handle_error = lambda *a: None  # a client that hangs up is part of the tests
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.daemon_threads = True
plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), LastMail)
safe = http.server.ThreadingHTTPServer(("127.0.0.1", 0), LastMail)
safe.socket = tls.wrap_socket(safe.socket, server_side=True)
mail = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
for s in (plain, safe, mail):
    threading.Thread(target=s.serve_forever, daemon=True).start()
print(plain.server_address[1], safe.server_address[1], mail.server_address[1], cert, flush=True)
sys.stdin.read()
for f in (cert, key):
    os.unlink(f)
os.rmdir(work)
os._exit(0)

# SPDX-License-Identifier: Apache-2.0
"""A mail server on loopback that keeps what it gets and refuses what a real one refuses: commands out of order, bad
addresses, lines that are too long, data without CRLF."""
import re
import socketserver
import threading

ADDRESS = re.compile(r"^(MAIL FROM|RCPT TO):\s*<([^<>\s]*)>", re.I)


class Sink:
    def __init__(self):
        self.messages = []
        sink = self

        class Session(socketserver.StreamRequestHandler):
            timeout = 20

            def say(self, line):
                self.wfile.write(line.encode() + b"\r\n")

            def handle(self):
                self.say("220 sink ESMTP")
                greeted, sender, to = False, None, []
                while True:
                    raw = self.rfile.readline(2000)
                    if not raw:
                        return
                    if not raw.endswith(b"\r\n") or len(raw) > 1000:
                        self.say("500 line too long or without CRLF")
                        return
                    line = raw[:-2].decode("utf-8", "replace")
                    word = line.split(" ")[0].upper()
                    if word in ("EHLO", "HELO"):
                        greeted = True
                        self.wfile.write(b"250-sink\r\n250 8BITMIME\r\n" if word == "EHLO" else b"250 sink\r\n")
                    elif word == "QUIT":
                        self.say("221 bye")
                        return
                    elif word in ("RSET", "NOOP"):
                        sender, to = None, []
                        self.say("250 ok")
                    elif line.upper().startswith(("MAIL FROM", "RCPT TO")):
                        m = ADDRESS.match(line)
                        if not greeted or not m or "@" not in m.group(2):
                            self.say("503 bad sequence or address")
                        elif line.upper().startswith("MAIL"):
                            sender, to = m.group(2), []
                            self.say("250 ok")
                        elif sender is None:
                            self.say("503 MAIL first")
                        else:
                            to.append(m.group(2))
                            self.say("250 ok")
                    elif word == "DATA":
                        if not to:
                            self.say("503 RCPT first")
                            continue
                        self.say("354 go on")
                        data = []
                        while True:
                            raw = self.rfile.readline(2000)
                            if raw == b".\r\n":
                                break
                            if not raw or not raw.endswith(b"\r\n") or len(raw) > 1000:
                                self.say("500 line too long or without CRLF")
                                return
                            data.append(raw[1:] if raw.startswith(b"..") else raw)
                        text = b"".join(data).decode("utf-8", "replace")
                        head = text.split("\r\n\r\n", 1)[0]
                        if not re.search(r"^From: ", head, re.M) or not re.search(r"^Date: ", head, re.M):
                            self.say("550 no From or Date")
                            continue
                        sink.messages.append({"from": sender, "to": to, "data": text})
                        sender, to = None, []
                        self.say("250 kept")
                    else:
                        self.say("502 not known")

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Session)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()

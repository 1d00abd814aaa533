"""A plugin in Python, over its own standard library: plugin.py unix PATH | plugin.py http | plugin.py stdio

Taxes `{"net": n}`, fails for 0, and takes `sleep_ms` if the call has that.
"""
import http.server
import json
import os
import socket
import socketserver
import sys
import threading
import time


def tax(data):
    time.sleep(data.get("sleep_ms", 0) / 1000)
    if data["net"] == 0:
        raise ValueError("nothing to tax: 0 < 1 & \u00fc")
    return {"gross": data["net"] * 122 // 100}


INFO = {"name": "tax", "version": "2.1.0", "description": "taxes", "capabilities": ["vat"]}


class Channel(socketserver.BaseRequestHandler):
    def handle(self):
        decoder, text, rest = json.JSONDecoder(), "", b""
        while True:
            got = self.request.recv(65536)
            if not got:
                return
            rest += got
            try:
                text, rest = text + rest.decode(), b""
            except UnicodeDecodeError:
                continue
            while True:
                text = text.lstrip()
                try:
                    asked, end = decoder.raw_decode(text)
                except ValueError:
                    break
                text = text[end:]
                self.request.sendall(json.dumps(self.answer(asked)).encode() + b"\n")

    def answer(self, asked):
        told = {"type": asked["type"], "request_id": asked["request_id"], "success": True}
        try:
            if asked["type"] == "execute":
                told["data"] = tax(asked["data"])
                told["headers"] = asked.get("headers", {})
                told["data"]["tenant"] = asked.get("headers", {}).get("X-Tenant", "")
            elif asked["type"] == "info":
                assert asked["data"] is None
                told["data"] = INFO
        except Exception as error:
            told.update(success=False, error=str(error))
        return told


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        told = {"request_id": asked["request_id"]}
        assert self.headers["X-Request-Id"] == asked["request_id"]
        try:
            told["data"] = dict(tax(asked["data"]), tenant=self.headers.get("X-Tenant", ""))
        except Exception as error:
            told["error"] = str(error)
        self.reply(told)

    def do_GET(self):
        self.reply(INFO if self.path.endswith("/info") else {"status": 1, "message": "OK"})

    def reply(self, told):
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def stdio():
    """One call after another, as plugins of the Go plugin manager do."""
    print("ready", file=sys.stderr, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        told = {"id": asked["id"]}
        try:
            if asked["method"] == "info":
                told["result"] = INFO
            elif asked["method"] == "health":
                told["result"] = {"status": 1, "message": "OK"}
            else:
                assert asked["context"]["request_id"] and asked["context"]["timeout"] > 0
                told["result"] = tax(asked["payload"])
                told["result"]["tenant"] = asked["context"].get("headers", {}).get("X-Tenant", "")
        except Exception as error:
            told["error"] = str(error)
        print(json.dumps(told), flush=True)


def main():
    if sys.argv[1] == "stdio":
        return stdio()
    if sys.argv[1] == "unix":
        socketserver.ThreadingUnixStreamServer.daemon_threads = True
        server = socketserver.ThreadingUnixStreamServer(sys.argv[2], Channel)
        print("unix:" + sys.argv[2], flush=True)
    else:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Http)
        print("http://127.0.0.1:%d/rpc/tax" % server.server_address[1], flush=True)
    # Ends with the program that started it.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()


main()

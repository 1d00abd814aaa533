"""A host in Python, over its own standard library: host.py unix:PATH | host.py tcp://ADDR | host.py http://ADDR |
host.py exec:PROGRAM

Calls a plugin that taxes `{"net": n}` and fails for 0, and prints how many answers were right.
"""
import json
import os
import socket
import subprocess
import sys
import urllib.request

right = 0


def check(condition, what):
    global right
    if not condition:
        sys.exit("wrong: %r" % (what,))
    right += 1


class Channel:
    def __init__(self, address, token=None):
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address[5:])
        else:
            host, port = address[6:].rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)))
        self.socket.settimeout(20)
        self.lines = self.socket.makefile("rb")

    def ask(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else json.dumps(text).encode())
        line = self.lines.readline()
        return json.loads(line) if line else None


def call(data, id="r-1", **more):
    return dict({"type": "execute", "request_id": id, "data": data}, **more)


def over_socket(address):
    channel = Channel(address)
    told = channel.ask({"type": "info", "request_id": "i", "data": None, "timeout_ms": 5000})
    check(told["success"] and told["data"]["name"] == "tax" and told["request_id"] == "i", told)
    told = channel.ask({"type": "ping", "request_id": "health-check", "data": None})
    check(told == {"type": "ping", "request_id": "health-check", "success": True}, told)
    for number in range(1, 20):
        told = channel.ask(call({"net": number * 100}, "r-%d" % number, timeout_ms=1500))
        check(told["success"] and told["data"] == {"gross": number * 122}, told)
        check(told["request_id"] == "r-%d" % number, told)
    told = channel.ask(call({"net": 0}))
    check(not told["success"] and told["error"] == "nothing to tax" and "data" not in told, told)
    told = channel.ask(call({"net": "x"}))
    check(not told["success"] and "no call" in told["error"], told)
    told = channel.ask({"type": "health", "request_id": "h", "data": None})
    check(told["success"], told)
    # Pretty-printed, and a byte at a time.
    for byte in json.dumps(call({"net": 200}), indent=2).encode():
        channel.socket.sendall(bytes([byte]))
    check(channel.ask(b"\n")["data"] == {"gross": 244}, "in parts")
    # Two at once are answered one after the other.
    two = json.dumps(call({"net": 100}, "a")) + json.dumps(call({"net": 200}, "b"))
    first = channel.ask(two.encode())
    check(first["request_id"] == "a", first)
    check(channel.ask(b"")["request_id"] == "b", "the second")
    # One that says all it has to say, then listens.
    channel = Channel(address)
    channel.socket.sendall(json.dumps(call({"net": 100})).encode())
    channel.socket.shutdown(socket.SHUT_WR)
    check(json.loads(channel.lines.readline())["data"] == {"gross": 122}, "half-closed")
    check(channel.lines.readline() == b"", "the end")
    told = Channel(address).ask(b"GET / HTTP/1.1\r\n\r\n")
    check(not told["success"], told)


def over_http(address):
    def post(body):
        request = urllib.request.Request(address, json.dumps(body).encode(), method="POST")
        return json.load(urllib.request.urlopen(request, timeout=20))

    for number in range(1, 20):
        told = post({"data": {"net": number * 100}, "request_id": "r", "timeout": "1m30s"})
        check(told == {"data": {"gross": number * 122}, "request_id": "r"}, told)
    told = post({"data": {"net": 0}, "request_id": "r", "timeout": "0s"})
    check(told == {"error": "nothing to tax", "request_id": "r"}, told)
    told = json.load(urllib.request.urlopen(address + "/info", timeout=20))
    check(told["name"] == "tax", told)
    told = json.load(urllib.request.urlopen(address + "/health", timeout=20))
    check(told["status"] == 1, told)


class Process:
    def __init__(self, address):
        cookie = {"AGILIRA_PLUGIN_MAGIC_COOKIE": "agilira-go-plugins-v1", "PLUGIN_PROTOCOL_VERSION": "1",
                  "PLUGIN_SERVER_ADDRESS": "", "PLUGIN_SERVER_PORT": "0", "PLUGIN_TYPE": "grpc"}
        self.child = subprocess.Popen([address[5:], "--stdio"], env=dict(os.environ, **cookie),
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, method, id, payload=None, **context):
        context = dict({"request_id": id, "timeout": 30000000000, "max_retries": 3}, **context)
        asked = {"id": id, "method": method, "payload": payload, "context": context}
        self.child.stdin.write(json.dumps(asked) + "\n")
        self.child.stdin.flush()

    def hear(self):
        return json.loads(self.child.stdout.readline())

    def ask(self, *asked, **context):
        self.say(*asked, **context)
        return self.hear()


def over_stdio(address):
    process = Process(address)
    told = process.ask("info", "i")
    check(told["id"] == "i" and told["result"]["name"] == "tax", told)
    check("multiplex" in told["result"]["capabilities"], told)
    for number in range(1, 20):
        told = process.ask("execute", "r-%d" % number, {"net": number * 100}, headers={"X-Tenant": "blue"})
        check(told == {"id": "r-%d" % number, "result": {"gross": number * 122}}, told)
    told = process.ask("execute", "f", {"net": 0})
    check(told == {"id": "f", "error": "nothing to tax"}, told)
    told = process.ask("health", "h")
    check(told["result"]["status"] == 1, told)
    # Many at once, in any order.
    for number in range(50):
        process.say("execute", "m-%d" % number, {"net": number * 100 + 100})
    for _ in range(50):
        told = process.hear()
        check(told["result"]["gross"] == int(told["id"][2:]) * 122 + 122, told)
    # It answers what it has, and ends.
    process.say("execute", "last", {"net": 100})
    process.child.stdin.close()
    check(process.hear()["id"] == "last", "the last")
    check(process.child.wait(20) == 0, "the end")


if sys.argv[1].startswith("exec:"):
    over_stdio(sys.argv[1])
    print("right:", right)
    sys.exit()
(over_http if sys.argv[1].startswith("http") else over_socket)(sys.argv[1])
print("right:", right)

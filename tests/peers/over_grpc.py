"""A plugin and a host in Python, over grpcio: over_grpc.py plugin SOCKET | over_grpc.py host ADDRESS

The plugin taxes `{"net": n}`, fails for 0, and takes `sleep_ms` if the call has that. The host calls such a
plugin, in JSON and in Protocol Buffers, and prints how many answers were right.
"""
import concurrent.futures
import json
import os
import sys
import threading
import time

import grpc

INFO = {"name": "tax", "version": "2.1.0", "description": "taxes", "capabilities": ["vat"]}


def execute(message, context):
    data, metadata = json.loads(message), dict(context.invocation_metadata())
    assert metadata["x-request-id"].startswith("req_"), metadata
    time.sleep(data.get("sleep_ms", 0) / 1000)
    if data["net"] == 0:
        # What becomes of an error that is no status.
        raise ValueError("nothing to tax: 0 < 1 & \u00fc")
    if data["net"] == 1:
        context.set_trailing_metadata([("grpc-retry-pushback-ms", "1500")])
        context.abort(grpc.StatusCode.UNAVAILABLE, "no rates")
    context.send_initial_metadata([("x-request-id", metadata["x-request-id"])])
    told = {"gross": data["net"] * 122 // 100, "tenant": metadata.get("x-tenant", "")}
    return json.dumps(told).encode()


def health(message, context):
    assert message == b""
    return b'{"status":2,"message":"cold"}'


class Plugin(grpc.GenericRpcHandler):
    methods = {"Execute": execute, "Health": health, "Info": lambda *_: json.dumps(INFO).encode()}

    def service(self, details):
        name = details.method.removeprefix("/PluginService/")
        found = self.methods.get(name)
        return found and grpc.unary_unary_rpc_method_handler(found)


def plugin():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(32), handlers=[Plugin()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.add_insecure_port("unix:" + sys.argv[2])
    server.start()
    print("grpc://127.0.0.1:%d" % port, flush=True)
    # Ends with the program that started it.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.wait_for_termination()


right = 0


def check(condition, what):
    global right
    if not condition:
        sys.exit("wrong: %r" % (what,))
    right += 1


def host(address):
    # Of a socket, it would be its path, which servers over h2 refuse.
    channel = grpc.insecure_channel(address, [("grpc.default_authority", "localhost")])
    # The keys of the Go plugin manager.
    own = {"metadata": [("x-username", "tax"), ("x-password", "s3cret")]}

    def call(path, message, **more):
        return channel.unary_unary(path)(message, timeout=20, **(own | more))

    def failed(path, message, **more):
        try:
            call(path, message, **more)
        except grpc.RpcError as error:
            return error.code(), error.details()

    for number in range(1, 20):
        told = call("/PluginService/Execute", json.dumps({"net": number * 100}).encode())
        check(json.loads(told) == {"gross": number * 122}, told)
        # `net = 100 * number` and `gross = 122 * number`, as varints.
        net, gross = number * 100, number * 122
        varint = lambda n: bytes([n]) if n < 128 else bytes([n % 128 | 128, n // 128])
        told = call("/plugin.PluginService/Execute", b"\x08" + varint(net))
        check(told == b"\x08" + varint(gross), told)
    for path, message in [
        ("/PluginService/Execute", b'{"net":0}'),
        ("/plugin.PluginService/Execute", b""),
    ]:
        told = failed(path, message)
        check(told == (grpc.StatusCode.UNKNOWN, "nothing to tax: 0 < 1 & \u00fc"), told)
    told = failed("/PluginService/Execute", b'{"net":"x"}')
    check(told[0] == grpc.StatusCode.INVALID_ARGUMENT and "no call" in told[1], told)
    told = failed("/PluginService/Nothing", b"")
    check(told[0] == grpc.StatusCode.UNIMPLEMENTED, told)
    check(json.loads(call("/PluginService/Info", b""))["name"] == "tax", "info")
    check(json.loads(call("/PluginService/Health", b""))["status"] == 1, "health")
    check(call("/grpc.health.v1.Health/Check", b"") == b"\x08\x01", "the standard")
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20, **own)
    check(next(watch) == b"\x08\x01", "watched: it serves")
    for status in [b"\x08\x02", b"\x08\x01"]:
        # Falls ill, or gets well.
        call("/PluginService/Execute", b'{"net":3}')
        check(next(watch) == status, "watched: it changes")
    watch.cancel()
    other = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\x0a\x01x", timeout=20, **own)
    check(next(other) == b"\x08\x03", "watched: no such service")
    other.cancel()
    for metadata in [[], [("x-username", "tax")], [("authorization", "Bearer s3cret")]]:
        told = failed("/PluginService/Execute", b'{"net":100}', metadata=metadata)
        check(told == (grpc.StatusCode.UNAUTHENTICATED, "not authorized"), told)
    execute = channel.unary_unary("/PluginService/Execute")
    calls = [execute.future(b'{"net":100}', **own) for _ in range(50)]
    check(all(json.loads(of.result(20)) == {"gross": 122} for of in calls), "many at once")
    # Refused by a limit of the plugin.
    told = failed("/PluginService/Execute", b'{"net":2}')
    check(told == (grpc.StatusCode.RESOURCE_EXHAUSTED, "[RATELIMIT_1501] rate limit exceeded"), told)
    print("right:", right)


host(sys.argv[2]) if sys.argv[1] == "host" else plugin()

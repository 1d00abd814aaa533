"""A server of Eureka in memory, for tests: `python3 eureka_server.py PORT`. There is no real one to be had."""

import json
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, quoteattr

lock = threading.Lock()
apps: dict[str, dict[str, dict]] = {}
leases: dict[tuple[str, str], tuple[float, float]] = {}
recent: list[tuple[float, dict]] = []
RECENT = 180.0
version = 0


def tell(action, info):
    global version
    version += 1
    recent.append((time.monotonic(), {**info, "actionType": action}))


def cancel(app, identity):
    info = apps.get(app, {}).pop(identity, None)
    leases.pop((app, identity), None)
    if not apps.get(app):
        apps.pop(app, None)
    if info is not None:
        tell("DELETED", info)
    return info is not None


def settle():
    now = time.monotonic()
    for (app, identity), (renewed, lasts) in list(leases.items()):
        if renewed + lasts < now:
            cancel(app, identity)
    recent[:] = [(at, info) for at, info in recent if at + RECENT > now]


def wrapped(instances):
    counts = Counter(info["status"] for of_app in apps.values() for info in of_app.values())
    by_app = {}
    for info in instances:
        by_app.setdefault(info["app"], []).append(info)
    return {
        "applications": {
            "versions__delta": str(version),
            "apps__hashcode": "".join(f"{status}_{count}_" for status, count in sorted(counts.items())),
            "application": [{"name": name, "instance": of_app} for name, of_app in by_app.items()],
        }
    }


def everything():
    return [info for of_app in apps.values() for info in of_app.values()]


def register(app, body):
    info = json.loads(body)["instance"]
    identity = info.get("instanceId") or info["hostName"]
    info.update(app=app, status=info.get("status", "UP"), lastUpdatedTimestamp=str(int(time.time() * 1000)))
    lasts = float(info.get("leaseInfo", {}).get("durationInSecs", 90))
    apps.setdefault(app, {})[identity] = info
    leases[app, identity] = (time.monotonic(), lasts)
    tell("ADDED", info)


def renew(app, identity):
    if (app, identity) not in leases:
        return 404
    leases[app, identity] = (time.monotonic(), leases[app, identity][1])
    return 200


def override(app, identity, status, overridden):
    info = apps.get(app, {}).get(identity)
    if info is None:
        return 404
    info.update(status=status, overriddenstatus=overridden)
    tell("MODIFIED", info)
    return 200


def route(method, path, query, body):
    """Returns the status, and what is answered."""
    value = query.get("value", ["UP"])[0]
    match method, path:
        case "GET", ["apps"]:
            return 200, wrapped(everything())
        case "GET", ["apps", "delta"]:
            return 200, wrapped([info for _, info in recent])
        case "GET", ["apps", app]:
            of_app = apps.get(app.upper())
            return (200, {"application": {"name": app.upper(), "instance": list(of_app.values())}}) if of_app else (404, None)
        case "GET", ["apps", app, identity]:
            info = apps.get(app.upper(), {}).get(identity)
            return (200, {"instance": info}) if info else (404, None)
        case "GET", ["instances", identity]:
            found = [info for info in everything() if info.get("instanceId") == identity]
            return (200, {"instance": found[0]}) if found else (404, None)
        case "GET", ["vips", vip]:
            found = [info for info in everything() if vip in info.get("vipAddress", "").split(",")]
            return (200, wrapped(found)) if found else (404, None)
        case "POST", ["apps", app]:
            register(app.upper(), body)
            return 204, None
        case "PUT", ["apps", app, identity]:
            return renew(app.upper(), identity), None
        case "DELETE", ["apps", app, identity]:
            return (200 if cancel(app.upper(), identity) else 404), None
        case "PUT", ["apps", app, identity, "status"]:
            return override(app.upper(), identity, value, value), None
        case "DELETE", ["apps", app, identity, "status"]:
            return override(app.upper(), identity, value, "UNKNOWN"), None
    return 404, None


def xml(name, value):
    """What a client gets that does not ask for JSON."""
    match value:
        case list():
            return "".join(xml(name, one) for one in value)
        case dict():
            attributes = "".join(f" {key[1:]}={quoteattr(str(of))}" for key, of in value.items() if key[0] == "@")
            inner = escape(str(value["$"])) if "$" in value else ""
            inner += "".join(xml(key, of) for key, of in value.items() if key[0] not in "@$")
            return f"<{name}{attributes}>{inner}</{name}>"
        case None:
            return ""
    return f"<{name}>{escape(str(value))}</{name}>"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        path = [unquote(part) for part in url.path.strip("/").split("/")]
        if path[:1] == ["eureka"]:
            path = path[1:]
        with lock:
            settle()
            status, told = route(self.command, path, parse_qs(url.query), body)
        takes_json = self.headers.get("Accept") == "application/json"
        if told is None:
            told = b""
        elif takes_json:
            told = json.dumps(told).encode()
        else:
            [(name, of)] = told.items()
            told = xml(name, of).encode()
        self.send_response(status)
        if told:
            kind = "application/json;charset=UTF-8" if takes_json else "application/xml"
            self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_POST = do_PUT = do_DELETE = answer


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

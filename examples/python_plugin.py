"""A plugin over a Unix socket, with nothing but the standard library: python_plugin.py PATH"""

import json
import socketserver
import sys


def tax(data):
    if data["net"] == 0:
        raise ValueError("nothing to tax")
    return {"gross": data["net"] * 122 // 100}


class Calls(socketserver.StreamRequestHandler):
    def handle(self):
        # Callers end each message with a newline; one call at a time on a connection.
        for line in self.rfile:
            call = json.loads(line)
            answer = {"type": call["type"], "request_id": call["request_id"], "success": True}
            try:
                if call["type"] == "execute":
                    answer["data"] = tax(call["data"])
                elif call["type"] == "info":
                    answer["data"] = {"name": "tax", "version": "1.0.0"}
            except Exception as error:
                answer.update(success=False, error=str(error))
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


with Server(sys.argv[1], Calls) as server:
    print("listening", flush=True)
    server.serve_forever()

"""A host that speaks multicast DNS: python-zeroconf at one address. It announces `py-1`, tells what it sees, and
leaves with a goodbye when its input ends."""
import socket, sys
from zeroconf import ServiceBrowser, ServiceInfo, Zeroconf

KIND = "_tax._tcp.local."
own = sys.argv[1]


def tell(what, name, info=None):
    pairs = {}
    if info:
        pairs = {key.decode(): (value or b"").decode() for key, value in info.properties.items()}
    place = f"{info.parsed_addresses()[0]}:{info.port}" if info else "-"
    print(what, name, place, *(f"{key}={value}" for key, value in sorted(pairs.items())), flush=True)


class Listener:
    def add_service(self, zeroconf, kind, name):
        tell("ADD", name, zeroconf.get_service_info(kind, name))

    def update_service(self, zeroconf, kind, name):
        tell("UPDATE", name, zeroconf.get_service_info(kind, name))

    def remove_service(self, zeroconf, kind, name):
        tell("REMOVE", name)


zeroconf = Zeroconf(interfaces=[own])
zeroconf.register_service(ServiceInfo(
    KIND, "py-1." + KIND, addresses=[socket.inet_aton(own)], port=9002,
    properties={"name": "tax", "id": "py-1", "zone": "b", "tags": "v2,eu"}, server="py.local."))
ServiceBrowser(zeroconf, KIND, Listener())
sys.stdin.read()
zeroconf.close()

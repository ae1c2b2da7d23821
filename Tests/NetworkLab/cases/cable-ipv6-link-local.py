import json

from network import run


def check(case):
    """Two machines that have link-local IPv6 addresses and nothing else connect, whatever the zones are called"""
    cable = case.cable()
    cable.b.ip("link set eth0 down", "link set eth0 name usb0", "link set usb0 up")
    interface = json.loads(run(["ip", "-n", cable.a.name, "-json", "addr", "show", "dev", "eth0"]))[0]
    address = next(entry["local"] for entry in interface["addr_info"] if entry["family"] == "inet6")
    case.serve(cable.a, "::")
    # RFC 6874: the percent sign of a zone is written %25 in a URL.
    first = case.connect("a", cable.a, f"ws://[{address}%25eth0]:8080/", "--as-host")
    first.wait_event("joined")
    case.exchange(first, case.connect("b", cable.b, f"ws://[{address}%25usb0]:8080/"))

from network import run


def check(case):
    """A machine on a network and a device that has nothing but the cable to it connect by their link-local addresses"""
    cable = case.cable(a=("169.254.10.1/16",), b=("169.254.10.2/16",))
    run(["ip", "link", "add", "wlan0", "netns", cable.a.name,
         "type", "veth", "peer", "name", "far", "netns", cable.a.name])
    cable.a.ip("addr add 192.0.2.7/24 dev wlan0", "link set wlan0 up", "link set far up",
               "route add default via 192.0.2.1 dev wlan0")
    case.pair(cable.a, cable.b, case.serve(cable.a, "169.254.10.1"))
